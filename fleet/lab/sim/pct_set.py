"""`pct set` and `pct unlock`."""

from __future__ import annotations

import re

from . import container, costs, errors, network, schema
from .cli import Arguments
from .errors import Die, ParamError
from .formats import split_list
from .pct_update import check_readable, update


def set_options(arguments: Arguments) -> int:
    """Change a container's configuration; no task."""
    vmid = arguments.vmid()
    digest = arguments.take("digest")
    values = arguments.values
    if not values:
        raise Die("no options specified")
    delete, revert = (split_list(values.pop(name, "")) for name in ("delete", "revert"))
    _check_bridges(values)
    _check_names(values, delete, revert)
    with container.locked(vmid):
        config = container.load(vmid)
        container.check_lock(config)
        if digest is not None and digest != config.digest:
            raise Die("detected modified configuration - file changed by other user? Try again.")
        running = container.running(vmid)
        problems = update(vmid, config, running, values, delete, revert)
        if problems:
            raise ParamError(problems, errors.leftover())
        costs.spend("write config")
        container.save(vmid, config)
        check_readable(container.load(vmid))
        if running:
            _tell_guest(vmid)
    return 0


def _tell_guest(vmid: int) -> None:
    """Let the running container and the node see new limits and interfaces."""
    from . import guest_facts

    guest_facts.describe(vmid)


def _check_bridges(values: dict[str, str]) -> None:
    for key in sorted(values):
        if re.fullmatch(r"net\d+", key):
            network.check_bridge(key, network.parse(values[key]))


def _check_names(values: dict[str, str], delete: list[str], revert: list[str]) -> None:
    """Refuse to delete or revert what is no key, or what is set at the same time."""
    errors.left(0)
    for option, names in (("delete", delete), ("revert", revert)):
        for name in names:
            if not schema.is_config_key(name):
                raise ParamError({option: f"unknown option '{name}'"})
            if name in values:
                raise ParamError({option: f"you can't use '-{name}' and -{option} {name}' at the same time"})


def unlock(arguments: Arguments) -> int:
    """`pct unlock`: take out any `lock:`."""
    container.remove_lock(arguments.vmid())
    return 0
