"""One container on this node: loading and saving its configuration, its locks, whether it runs."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager

from . import conf, errors, files, machine, paths, vmlist
from .conf import Config
from .errors import ConfigMissing, Die

LOCK_TIMEOUT = 10.0  # seconds
RESERVE_TIMEOUT = 5.0  # seconds, when a new configuration is reserved


def path(vmid: int) -> str:
    """The configuration file, as Proxmox names it."""
    return f"{paths.PVE}/nodes/{machine.node()}/lxc/{vmid}.conf"


def exists(vmid: int) -> bool:
    """Whether this node has a configuration for the VMID."""
    return os.path.exists(paths.real(path(vmid)))


def load(vmid: int) -> Config:
    """The configuration; ConfigMissing if there is none.

    Lines that do not parse are warned about on stderr.
    """
    try:
        with open(paths.real(path(vmid)), "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        raise ConfigMissing(machine.node(), vmid) from None
    errors.left(0)
    return conf.parse(raw, vmid, lambda text: print(text, file=sys.stderr))


def save(vmid: int, config: Config) -> None:
    """Write the configuration."""
    for key, value in config.keys.items():
        if key != "description" and "\n" in value:
            raise Die(f"detected invalid newline inside property '{key}'", 255)
    new = not exists(vmid)
    files.write(path(vmid), conf.render(config))
    if new:
        vmlist.refresh()


def delete(vmid: int) -> None:
    """Remove the configuration."""
    files.remove(path(vmid))
    vmlist.refresh()


def locked(vmid: int, timeout: float = LOCK_TIMEOUT) -> AbstractContextManager[None]:
    """Hold the lock of the configuration file."""
    return files.locked(f"{paths.LOCKS}/pve-config-{vmid}.lock", timeout)


def check_lock(config: Config) -> None:
    """Refuse where the configuration has a `lock:`."""
    if "lock" in config.keys:
        raise Die(f"CT is locked ({config.keys['lock']})")


def set_lock(vmid: int, name: str) -> Config:
    """Write `lock: NAME` into an unlocked configuration; the configuration."""
    with locked(vmid):
        config = load(vmid)
        check_lock(config)
        config.keys["lock"] = name
        save(vmid, config)
        return config


def remove_lock(vmid: int, name: str | None = None) -> None:
    """Take `lock:` out again: a lock of this name, or any."""
    with locked(vmid):
        config = load(vmid)
        lock = config.keys.get("lock")
        if lock is None:
            wanted = f"lock '{name}'" if name else "any lock"
            raise Die(f"no lock found trying to remove {wanted}")
        if name is not None and lock != name:
            raise Die(f"found lock '{lock}' trying to remove lock '{name}'")
        del config.keys["lock"]
        save(vmid, config)


def check_protection(config: Config, what: str) -> None:
    """Refuse where the protection flag is set."""
    if config.keys.get("protection") == "1":
        raise Die(f"{what} - protection mode enabled")


def running(vmid: int) -> bool:
    """Whether the container runs (Proxmox reads /proc/net/unix to its end, which leaves errno 0)."""
    from . import runtime

    errors.left(0)
    return vmid in runtime.running()


def is_template(config: Config) -> bool:
    """Whether the container is a template."""
    return config.keys.get("template") == "1"


def unprivileged(config: Config) -> bool:
    """Whether the container is unprivileged."""
    return config.keys.get("unprivileged") == "1"


def create_and_lock(vmid: int, force: bool) -> None:
    """Reserve the VMID with a configuration that holds nothing but `lock: create`."""
    with locked(vmid, RESERVE_TIMEOUT):
        if force and exists(vmid):
            config = load(vmid)
            check_lock(config)
        else:
            check_unused(vmid)
            config = Config()
        config.keys["lock"] = "create"
        save(vmid, config)


def check_unused(vmid: int) -> None:
    """Refuse a VMID that any guest of the cluster has."""
    found = vmlist.guests().get(vmid)
    if found is not None:
        raise Die(f"{found.title} {vmid} already exists on node '{found.node}'")
