"""`pct clone` and `pct template`."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from . import container, costs, errors, mounts, network, paths, tasks
from .cli import Arguments
from .conf import Config, Section
from .errors import Die, UsageError
from .mounts import Mount
from .pct_read import snapshot_of
from .tasks import Out

_NOT_CLONED = ("lock", "parent", "snaptime", "snapstate", "template")


def clone(arguments: Arguments) -> int:
    """Copy a container, fully or as a linked clone."""
    vmid = arguments.vmid()
    new = int(arguments.values["newid"])
    snap, storage = arguments.take("snapname"), arguments.take("storage")
    full = arguments.take("full")
    config = container.set_lock(vmid, "disk")
    try:
        try:
            container.create_and_lock(new, False)
        except Die as error:
            raise Die(error.message, 255) from None
        try:
            source, points, is_full = _check(vmid, config, snap, storage, full)
        except Die as error:
            container.delete(new)
            raise Die(
                error.message, errors.ENOENT
            ) from None  # removing the reserved configuration looks for more of it
    except Die:
        container.remove_lock(vmid, "disk")
        raise
    made = Config(_cloned_keys(source), list(source.lxc))
    for name in ("hostname", "description"):
        value = arguments.take(name)
        if value is not None:
            made.keys[name] = value

    def work(out: Out) -> None:
        try:
            _copy(vmid, new, made, points, snap, storage, is_full, out)
        finally:
            container.remove_lock(vmid, "disk")

    return tasks.run("vzclone", str(vmid), work)


def _check(
    vmid: int, config: Config, snap: str | None, storage: str | None, full: str | None
) -> tuple[Section, list[Mount], bool]:
    """(what is cloned, its volumes, whether fully); Die where it cannot be."""
    from . import storage as storages

    running = container.running(vmid)
    is_full = full == "1" if full is not None else not container.is_template(config)
    if storage is not None and not is_full:
        raise Die("parameter 'storage' not allowed for linked clones")
    source = snapshot_of(config, snap) if snap is not None else config
    points = mounts.of(source.keys)
    for point in points:
        if point.kind != "volume":
            raise Die(f"unable to clone mountpoint '{point.key}' (type {point.kind})")
    for point in points:
        if is_full:
            if running and snap is None:
                raise Die("Full clone of a running container is only possible from a snapshot")
        elif not storages.has_feature(point.volume, "clone", snap):
            raise Die(f"Linked clone feature for '{point.volume}' is not available")
    return source, points, is_full


def _cloned_keys(source: Section) -> dict[str, str]:
    """The keys of the new container: as they are, but for MAC addresses and what belongs to the old one."""
    keys = {}
    for key, value in source.keys.items():
        if re.fullmatch(r"net\d+", key):
            keys[key] = network.render({**network.parse(value), "hwaddr": network.random_mac()})
        elif key not in _NOT_CLONED and not re.fullmatch(r"(?:rootfs|(?:mp|unused)\d+)", key):
            keys[key] = value
    return keys


def _copy(
    vmid: int,
    new: int,
    made: Config,
    points: list[Mount],
    snap: str | None,
    storage: str | None,
    full: bool,
    out: Out,
) -> None:
    from . import storage as storages

    volumes: list[str] = []
    try:
        out.write(f"creating a clone of container {vmid} with ID {new}\n")
        for point in points:
            if full:
                out.write(f"create full clone of mountpoint {point.key} ({point.volume})\n")
                costs.spend("clone")
                target = storage or mounts.storage_of(point.volume)
                volume = storages.copy_full(point.volume, target, new, out, snap=snap)
            else:
                out.write(f"create linked clone of mount point {point.key} ({point.volume})\n")
                volume = storages.clone_linked(point.volume, new, snap)
            volumes.append(volume)
            made.keys[point.key] = replace(point, props={**point.props, "volume": volume}).text()
        with container.locked(new):
            container.save(new, made)
            os.makedirs(paths.real(f"{paths.LXC}/{new}"), exist_ok=True)
    except Die as error:
        for volume in volumes:
            storages.free(volume)
        container.delete(new)
        if isinstance(error, tasks.Broken) or error.message == "received interrupt":
            raise
        raise Die(f"clone failed: {error.message}") from None


def template(arguments: Arguments) -> int:
    """Turn a stopped container into a template; Proxmox forgets to look at the task's result."""
    from . import storage

    vmid = arguments.vmid()
    with container.locked(vmid):
        config = container.load(vmid)
        container.check_lock(config)
        if config.snapshots:
            raise Die("unable to create template, because CT contains snapshots")
        if container.is_template(config):
            raise Die("you can't convert a template to a template")
        if container.running(vmid):
            raise Die("you can't convert a CT to template if the CT is running")

        def work(_: Out) -> None:
            points = [point for point in mounts.of(config.keys) if point.kind == "volume"]
            for point in points:
                if not storage.has_feature(point.volume, "template"):
                    raise Die(f"template feature is not available for '{point.volume}'")
            for point in points:
                base = storage.make_base(point.volume)
                config.keys[point.key] = replace(point, props={**point.props, "volume": base}).text()
            config.keys["template"] = "1"
            container.save(vmid, config)

        return tasks.run_unchecked("vztemplate", str(vmid), work)


def migrate(arguments: Arguments) -> int:
    """`pct migrate`: on a single node there is nowhere to go."""
    from . import machine

    vmid = arguments.vmid()
    target = arguments.values["target"]
    if target == machine.node():
        from .errors import ParamError

        raise ParamError({"target": "target is local node."})
    container.load(vmid)
    raise Die(f"no such cluster node '{target}'")


def remote_migrate(arguments: Arguments) -> int:
    """`pct remote-migrate`: the lab has no other cluster to talk to."""
    vmid = arguments.vmid()
    container.load(vmid)
    endpoint = dict(part.partition("=")[::2] for part in arguments.values["target-endpoint"].split(","))
    if "host" not in endpoint or "apitoken" not in endpoint:
        raise UsageError("unable to parse option")
    raise Die(
        f"500 Can't connect to {endpoint['host']}:{endpoint.get('port', '8006')} (Connection refused)", 255
    )
