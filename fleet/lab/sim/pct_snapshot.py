"""snapshot, delsnapshot and rollback of a container."""

from __future__ import annotations

import time

from . import container, costs, files, mounts, pct_power, tasks
from .cli import Arguments
from .conf import Config, Section
from .errors import Die
from .mounts import Mount
from .tasks import Out

_RESERVED = ("current", "vzdump")
_NOT_COPIED = ("description", "digest", "lock", "parent", "snaptime", "snapstate")


def _volumes(section: Section) -> list[Mount]:
    return [point for point in mounts.of(section.keys) if point.kind == "volume"]


def check_feature(section: Section, snap: str | None = None) -> None:
    """Refuse where a mount point is no volume, or on a storage without snapshots."""
    from . import storage

    for point in mounts.of(section.keys):
        if point.kind != "volume" or not storage.has_feature(point.volume, "snapshot", snap):
            raise Die("snapshot feature is not available")


def snapshot(arguments: Arguments) -> int:
    """`pct snapshot`."""
    vmid = arguments.vmid()
    name = arguments.values["snapname"]
    if name in _RESERVED:
        raise Die(f"unable to use snapshot name '{name}' (reserved name)")
    description = arguments.take("description")
    return tasks.run("vzsnapshot", str(vmid), lambda _: _snapshot(vmid, name, description))


def _snapshot(vmid: int, name: str, description: str | None) -> None:
    from . import storage

    with container.locked(vmid):
        config = container.load(vmid)
        if container.is_template(config):
            raise Die("you can't take a snapshot if it's a template")
        container.check_lock(config)
        if name in config.snapshots:
            raise Die(f"snapshot name '{name}' already used")
        check_feature(config)
        section = copy_section(config)
        section.keys["snaptime"] = str(int(time.time()))
        section.keys["snapstate"] = "prepare"
        if "parent" in config.keys:
            section.keys["parent"] = config.keys["parent"]
        if description is not None:
            section.keys["description"] = description
        config.snapshots[name] = section
        config.keys["lock"] = "snapshot"
        container.save(vmid, config)
    costs.spend("snapshot")
    taken: list[str] = []
    try:
        for point in _volumes(section):
            storage.snapshot(point.volume, name)
            taken.append(point.volume)
    except Die:
        for volume in taken:
            storage.delete_snapshot(volume, name)
        _forget(vmid, name)
        raise
    with container.locked(vmid):
        config = container.load(vmid)
        del config.keys["lock"]
        del config.snapshots[name].keys["snapstate"]
        config.keys["parent"] = name
        container.save(vmid, config)


def copy_section(config: Config) -> Section:
    """What a snapshot keeps of the current configuration.

    All but locks, the description, pending changes and unused volumes.
    """
    kept = {
        key: value
        for key, value in config.keys.items()
        if key not in _NOT_COPIED and not key.startswith("unused")
    }
    return Section(kept, list(config.lxc))


def _forget(vmid: int, name: str) -> None:
    """Take a snapshot out of the configuration, and the lock with it; its children get its parent."""
    with container.locked(vmid):
        config = container.load(vmid)
        gone = config.snapshots.pop(name)
        for section in (config, *config.snapshots.values()):
            if section.keys.get("parent") == name:
                if "parent" in gone.keys:
                    section.keys["parent"] = gone.keys["parent"]
                else:
                    del section.keys["parent"]
        config.keys.pop("lock", None)
        container.save(vmid, config)


def delsnapshot(arguments: Arguments) -> int:
    """`pct delsnapshot`."""
    vmid = arguments.vmid()
    name, force = arguments.values["snapname"], arguments.flag("force")
    return tasks.run("vzdelsnapshot", str(vmid), lambda out: _delete(vmid, name, force, out))


def _migration_lock(vmid: int) -> str:
    return f"/var/lock/pve-manager/pve-migrate-{vmid}"


def _delete(vmid: int, name: str, force: bool, out: Out) -> None:
    from . import storage

    with files.locked(_migration_lock(vmid), container.LOCK_TIMEOUT):
        with container.locked(vmid):
            config = container.load(vmid)
            if name not in config.snapshots:
                raise Die(f"snapshot '{name}' does not exist")
            container.check_lock(config)
            config.keys["lock"] = "snapshot-delete"
            config.snapshots[name].keys["snapstate"] = "delete"
            container.save(vmid, config)
        costs.spend("snapshot")
        for point in _volumes(config.snapshots[name]):
            try:
                storage.delete_snapshot(point.volume, name)
            except Die as error:
                if not force:
                    raise
                out.write(error.message + "\n")
        _forget(vmid, name)


def rollback(arguments: Arguments) -> int:
    """`pct rollback`."""
    vmid = arguments.vmid()
    name, start = arguments.values["snapname"], arguments.flag("start")
    return tasks.run("vzrollback", str(vmid), lambda out: _rollback(vmid, name, start, out))


def _rollback(vmid: int, name: str, start: bool, out: Out) -> None:
    from . import storage

    with files.locked(_migration_lock(vmid), container.LOCK_TIMEOUT):
        with container.locked(vmid):
            config = container.load(vmid)
            if container.is_template(config):
                raise Die("you can't rollback if vm is a template")
            if name not in config.snapshots:
                raise Die(f"snapshot '{name}' does not exist")
            section = config.snapshots[name]
            for point in _volumes(section):
                storage.rollback_possible(point.volume, name)
            container.check_lock(config)
            if section.keys.get("snapstate"):
                raise Die(
                    f"unable to rollback to incomplete snapshot (snapstate = {section.keys['snapstate']})"
                )
            config.keys["lock"] = "rollback"
            container.save(vmid, config)
            if container.running(vmid):
                pct_power.stop_container(vmid)
        costs.spend("rollback")
        for point in _volumes(section):
            storage.rollback(point.volume, name)
        with container.locked(vmid):
            config = container.load(vmid)
            _restore(config, name)
            container.save(vmid, config)
    if start:
        pct_power.start_container(vmid, out)


def _restore(config: Config, name: str) -> None:
    """The snapshot's configuration, with today's description and what is unused now."""
    kept = {
        key: value for key, value in config.keys.items() if key == "description" or key.startswith("unused")
    }
    volumes = {point.volume for point in _volumes(config)}
    config.replace(config.snapshots[name])
    for key in ("snaptime", "snapstate", "description", "parent"):
        config.keys.pop(key, None)
    config.keys |= kept
    config.keys["parent"] = name
    config.pending = {}
    for volume in sorted(volumes - {point.volume for point in _volumes(config)}):
        mounts.add_unused(config, volume)
