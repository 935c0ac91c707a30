"""snapshot, delsnapshot and rollback of a container (pve-guest-common AbstractConfig.pm)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import clock, container, costs, files, mounts, pct_power, replication, tasks
from .cli import Arguments
from .conf import Config, Section
from .errors import Die
from .mounts import Mount
from .tasks import Out

VZDUMP = "vzdump"  # the snapshot of a backup: of the volumes only that the backup takes along
_RESERVED = ("current", VZDUMP)
_NOT_COPIED = ("description", "digest", "lock", "snaptime", "snapstate")


def backed_up(point: Mount) -> tuple[bool, str]:
    """Whether a backup takes a mount point along, and why (mountpoint_backup_enabled)."""
    if point.key == "rootfs":
        return True, "rootfs"
    if point.kind != "volume":
        return False, "not a volume"
    return (True, "enabled") if point.props.get("backup") == "1" else (False, "disabled")


def _points(section: Section, name: str | None = None) -> list[Mount]:
    """The mount points that a snapshot of this name is about."""
    return [point for point in mounts.of(section.keys) if name != VZDUMP or backed_up(point)[0]]


def _volumes(section: Section, name: str | None = None) -> list[Mount]:
    return [point for point in _points(section, name) if point.kind == "volume"]


def check_feature(section: Section, name: str | None = None) -> None:
    """Refuse where a mount point is no volume, or on a storage without snapshots."""
    from . import storage

    for point in _points(section, name):
        if point.kind != "volume" or not storage.has_feature(point.volume, "snapshot"):
            raise Die("snapshot feature is not available")


# --- making one ---


def snapshot(arguments: Arguments) -> int:
    """`pct snapshot`."""
    vmid = arguments.vmid()
    name = arguments.values["snapname"]
    if name in _RESERVED:
        raise Die(f"unable to use snapshot name '{name}' (reserved name)")
    description = arguments.take("description")
    return tasks.run("vzsnapshot", str(vmid), lambda out: create(vmid, name, description, out))


def create(vmid: int, name: str, description: str | None, out: Out) -> None:
    """Take a snapshot; a running container stands still meanwhile. What fails is cleaned up."""
    from . import storage

    section = _prepare(vmid, name, description, out)
    costs.spend("snapshot")
    running = container.running(vmid)
    taken: list[str] = []
    failure: Die | None = None
    try:
        if running:
            pct_power.freeze(vmid)
        for point in _volumes(section, name):
            storage.snapshot(point.volume, name)
            taken.append(point.key)
    except Die as error:
        failure = error
    if running:
        pct_power.thaw(vmid, out)
    if failure is not None:
        out.write("snapshot create failed: starting cleanup\n")
        try:
            remove(vmid, name, True, out, taken)
        except Die as error:
            out.write(error.message.rstrip("\n") + "\n")
        raise failure
    _commit(vmid, name)


def _prepare(vmid: int, name: str, description: str | None, out: Out) -> Section:
    """Write the snapshot's section, incomplete, and the lock; the section."""
    with container.locked(vmid):
        config = container.load(vmid)
        if container.is_template(config):
            raise Die("you can't take a snapshot if it's a template")
        container.check_lock(config)
        if name in config.snapshots:
            raise Die(f"snapshot name '{name}' already used")
        check_feature(config, name)
        for other in sorted(config.snapshots):
            if config.snapshots[other].keys.get("parent") == name:
                out.write(
                    f"deleting parent '{name}' reference from '{other}' to avoid bogus snapshot cycle.\n"
                )
                del config.snapshots[other].keys["parent"]
        section = copy_section(config)
        section.keys["snaptime"] = str(int(clock.now()))
        section.keys["snapstate"] = "prepare"
        if description:
            section.keys["description"] = description
        config.snapshots[name] = section
        config.keys["lock"] = "snapshot"
        container.save(vmid, config)
        return section


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


def _commit(vmid: int, name: str) -> None:
    """Declare a snapshot complete."""
    with container.locked(vmid):
        config = container.load(vmid)
        if config.keys.get("lock") != "snapshot":
            raise Die("missing snapshot lock")
        if name not in config.snapshots:
            raise Die(f"snapshot '{name}' does not exist")
        if config.snapshots[name].keys.get("snapstate") != "prepare":
            raise Die("wrong snapshot state")
        del config.keys["lock"]
        del config.snapshots[name].keys["snapstate"]
        config.keys["parent"] = name
        container.save(vmid, config)


def describe(vmid: int, name: str, description: str | None) -> int:
    """Change the description of a snapshot (PUT .../snapshot/NAME/config)."""
    with container.locked(vmid):
        config = container.load(vmid)
        container.check_lock(config)
        section = _section(config, name)
        if description is not None:
            section.keys["description"] = description
        container.save(vmid, config)
    return 0


# --- deleting one ---


def delsnapshot(arguments: Arguments) -> int:
    """`pct delsnapshot`."""
    vmid = arguments.vmid()
    name, force = arguments.values["snapname"], arguments.flag("force")

    def work(out: Out) -> None:
        if force:
            remove(vmid, name, True, out)
        else:
            with migration_lock(vmid):
                remove(vmid, name, False, out)

    return tasks.run("vzdelsnapshot", str(vmid), work)


class NoMigrationLock(Die):
    """Somebody else holds the migration lock of a guest."""


@contextmanager
def migration_lock(vmid: int, timeout: float = container.LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the lock that replication and migration of a guest take."""
    held = files.locked(f"/var/lock/pve-manager/pve-migrate-{vmid}", timeout)
    try:
        held.__enter__()
    except Die:
        raise NoMigrationLock("Failed to obtain guest migration lock - replication running?", 255) from None
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def remove(vmid: int, name: str, force: bool, out: Out, taken: list[str] | None = None) -> None:
    """Delete a snapshot.

    What fails half way leaves `lock: snapshot-delete` and `snapstate: delete`; each volume that is done
    leaves the section at once. `force` goes on after failures. `taken` are the volume keys of a snapshot that
    could not be made, whose lock is still there.
    """
    from . import storage

    cleaning = taken is not None
    lock = "snapshot" if cleaning else "snapshot-delete"
    section = _section(container.load(vmid), name)
    if not cleaning:
        if not force:
            _check_replication(vmid, section, name)
        container.set_lock(vmid, lock)
    with container.locked(vmid):
        config = _with_lock(vmid, lock)
        if container.is_template(config):
            raise Die("you can't delete a snapshot if vm is a template")
        section = _section(config, name)
        section.keys["snapstate"] = "delete"
        container.save(vmid, config)
    costs.spend("snapshot")
    freed: list[str] = []
    for point in _points(section, name):
        if taken is None or point.key in taken:
            try:
                storage.delete_snapshot(point.volume, name)
                freed.append(point.volume)
            except Die as error:
                if not force:
                    raise
                out.write(error.message.rstrip("\n") + "\n")
        if not force:
            _forget_volume(vmid, name, point)
    _forget(vmid, name, lock, freed)


def _section(config: Config, name: str) -> Section:
    if name not in config.snapshots:
        raise Die(f"snapshot '{name}' does not exist")
    return config.snapshots[name]


def _with_lock(vmid: int, lock: str) -> Config:
    """The configuration, which must have this lock."""
    config = container.load(vmid)
    if config.keys.get("lock") != lock:
        raise Die(f"encountered invalid lock, expected '{lock}'")
    return config


def _check_replication(vmid: int, section: Section, name: str) -> None:
    """Refuse while a replication job has no snapshot of its own of a volume: it may need this one."""
    from . import storage

    for job in replication.jobs(vmid):
        for point in _volumes(section):
            if point.props.get("replicate") != "0" and storage.can_replicate(point.volume):
                known = storage.snapshots(point.volume)
                if not any(replication.is_snapshot(snap, job) for snap in known):
                    raise Die(f"snapshot '{name}' needed by replication job '{job}' - run replication first")


def _forget_volume(vmid: int, name: str, point: Mount) -> None:
    """Take a volume whose snapshot is gone out of the section, where it is unused from now on."""
    with container.locked(vmid):
        config = _with_lock(vmid, "snapshot-delete")
        section = _section(config, name)
        section.keys.pop(point.key, None)
        if point.kind == "volume":
            mounts.add_unused(section, point.volume)
        container.save(vmid, config)


def _forget(vmid: int, name: str, lock: str, freed: list[str]) -> None:
    """Take a snapshot out of the configuration, and the lock with it; its children get its parent."""
    with container.locked(vmid):
        config = _with_lock(vmid, lock)
        gone = _section(config, name)
        del config.snapshots[name]
        for section in (config, *config.snapshots.values()):
            if section.keys.get("parent") == name:
                if "parent" in gone.keys:
                    section.keys["parent"] = gone.keys["parent"]
                else:
                    del section.keys["parent"]
        del config.keys["lock"]
        current = {point.volume for point in mounts.of(config.keys)}
        for volume in freed:
            if volume not in current:
                mounts.add_unused(config, volume)
        container.save(vmid, config)


# --- going back to one ---


def rollback(arguments: Arguments) -> int:
    """`pct rollback`."""
    vmid = arguments.vmid()
    name, start = arguments.values["snapname"], arguments.flag("start")
    return tasks.run("vzrollback", str(vmid), lambda out: _rollback(vmid, name, start, out))


def _rollback(vmid: int, name: str, start: bool, out: Out) -> None:
    from . import storage

    with migration_lock(vmid):
        with container.locked(vmid):
            config = container.load(vmid)
            if container.is_template(config):
                raise Die("you can't rollback if vm is a template")
            section = _section(config, name)
            _remove_replicated(vmid, section, name, out)
            for point in _points(section):
                storage.rollback_possible(point.volume, name)
            if section.keys.get("snapstate"):
                raise Die(
                    f"unable to rollback to incomplete snapshot (snapstate = {section.keys['snapstate']})"
                )
            container.check_lock(config)
            if container.running(vmid):
                pct_power.stop_container(vmid)
                config = container.load(vmid)
            config.keys["lock"] = "rollback"
            container.save(vmid, config)
        costs.spend("rollback")
        for point in _points(section):
            storage.rollback(point.volume, name)
        with container.locked(vmid):
            config = container.load(vmid)
            if config.keys.get("lock") != "rollback":
                raise Die("got wrong lock")
            _restore(config, name)
            container.save(vmid, config)
    if start:
        pct_power.start_container(vmid, out)


def _remove_replicated(vmid: int, section: Section, name: str, out: Out) -> None:
    """Remove the snapshots of replication jobs that are newer, if nothing else is."""
    from . import storage

    if not replication.jobs(vmid):
        return
    removed = False
    for point in _volumes(section):
        newer = storage.newer_snapshots(point.volume, name)
        if newer and all(replication.is_snapshot(snap) for snap in newer):
            for snap in newer:
                out.warn(f"removing replication snapshot '{point.volume}@{snap}'")
                storage.delete_snapshot(point.volume, snap)
                removed = True
    if removed:
        out.warn(f"you shouldn't remove '{name}' before running the next replication!")


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
