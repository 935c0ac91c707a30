"""The verbs of `pct` about volumes: resize, move-volume, mount, unmount, fsck, fstrim, rescan."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from . import container, costs, errors, linux, mounts, paths, sizes, storage_cfg, tasks, vmlist
from .cli import Arguments
from .conf import Config, volumes
from .errors import Die, ParamError
from .mounts import Mount
from .tasks import Out


def _check_digest(config: Config, digest: str | None) -> None:
    if digest is not None and digest != config.digest:
        raise Die("detected modified configuration - file changed by other user? Try again.")


def resize(arguments: Arguments) -> int:
    """`pct resize`: grow a volume; Proxmox forgets to look at the task's result."""
    from . import storage

    vmid = arguments.vmid()
    disk, text, digest = arguments.values["disk"], arguments.values["size"], arguments.take("digest")
    asked = sizes.parse_size(text.removeprefix("+"))
    assert asked is not None  # the option's pattern allows nothing else

    def check() -> tuple[Config, Mount, int]:
        config = container.load(vmid)
        container.check_lock(config)
        _check_digest(config, digest)
        point = mounts.parse(disk, config.keys.get(disk, ""))
        if point.kind != "volume":
            mounts.storage_of(point.volume)
        size = storage.size(point.volume)
        wanted = size + asked if text.startswith("+") else asked
        if wanted < size:
            raise Die("unable to shrink disk size")
        if wanted == size:
            raise Die("disk is already at specified size")
        return config, point, wanted

    def work(out: Out) -> None:
        with container.locked(vmid):
            config, point, wanted = check()
            costs.spend("resize")
            storage.resize(point.volume, wanted, container.running(vmid), out)
            config.keys[disk] = point.with_volume(point.volume, wanted).text()
            container.save(vmid, config)

    check()
    return tasks.run_unchecked("resize", str(vmid), work)


def move_volume(arguments: Arguments) -> int:
    """`pct move-volume`: to another storage, or to another container."""
    vmid = arguments.vmid()
    target, other = arguments.take("storage"), arguments.take("target-vmid")
    if target is not None and other is not None:
        raise Die("either set storage or target-vmid, but not both")
    if target is None and other is None:
        raise Die("target-vmid or storage must be specified")
    if other is not None:
        return _reassign(vmid, int(other), arguments)
    assert target is not None
    return _move(vmid, arguments.values["volume"], target, arguments.flag("delete"), arguments.take("digest"))


def _movable(config: Config, key: str) -> Mount:
    if key not in config.keys:
        raise Die(f"volume '{key}' for container is not set")
    point = mounts.parse(key, config.keys[key])
    if point.kind != "volume":
        raise Die(f"bind-mount '{point.volume}' cannot be moved")
    return point


def _move(vmid: int, key: str, target: str, delete: bool, digest: str | None) -> int:
    from . import storage

    if key.startswith("unused"):
        raise Die("cannot move volume 'unused', only configured volumes can be moved to another storage")
    with container.locked(vmid):
        config = container.load(vmid)
        container.check_lock(config)
        if container.running(vmid):
            raise Die("cannot move volumes of a running container")
        _check_digest(config, digest)
        point = _movable(config, key)
        if delete and any(point.volume in volumes(section.keys) for section in config.snapshots.values()):
            raise Die("you can't move a volume with snapshots and delete the source")
        if "rootdir" not in storage_cfg.get(target).content:
            raise Die(f"storage '{target}' does not support container directories")
        container.set_lock(vmid, "disk")

    def work(out: Out) -> None:
        try:
            costs.spend("clone")
            made = storage.copy_full(point.volume, target, vmid, out)
            with container.locked(vmid):
                now = container.load(vmid)
                now.keys[key] = replace(point, props={**point.props, "volume": made}).text()
                if delete:
                    storage.free(point.volume)
                else:
                    mounts.add_unused(now, point.volume)
                container.save(vmid, now)
        finally:
            container.remove_lock(vmid, "disk")

    return tasks.run("move_volume", str(vmid), work)


def _reassign(vmid: int, other: int, arguments: Arguments) -> int:
    """Give a volume to another container on the same storage: it gets a name of that container."""
    if vmid == other:
        raise ParamError({"target-vmid": "must be different than source VMID to reassign volume"})
    key = arguments.values["volume"]
    wanted = arguments.take("target-volume") or key
    source, target = container.load(vmid), container.load(other)
    for config in (source, target):
        container.check_lock(config)
    _check_digest(source, arguments.take("digest"))
    _check_digest(target, arguments.take("target-digest"))
    if container.running(vmid):
        raise Die("cannot move volumes of a running container")
    if key == "rootfs":
        raise Die("cannot move the rootfs to another container")
    point = _movable(source, key)
    if wanted in target.keys:
        raise Die(f"target volume key '{wanted}' is already in use for container '{other}'")

    def work(out: Out) -> None:
        from . import storage

        storage_id = mounts.storage_of(point.volume)
        made = storage.copy_full(point.volume, storage_id, other, out)
        storage.free(point.volume)
        del source.keys[key]
        container.save(vmid, source)
        target.keys[wanted] = (
            made
            if wanted.startswith("unused")
            else replace(point, props={**point.props, "volume": made}).text()
        )
        container.save(other, target)

    return tasks.run("move_volume", f"{vmid}-{key}-{other}-{wanted}", work)


def mount(arguments: Arguments) -> int:
    """`pct mount`: the volumes below /var/lib/lxc/ID/rootfs, and the lock `mounted`."""
    vmid = arguments.vmid()
    place = f"{paths.LXC}/{vmid}/rootfs"
    with container.locked(vmid):
        container.load(vmid)
        config = container.set_lock(vmid, "mounted")
        errors.left(0)
        os.makedirs(paths.real(place), exist_ok=True)
        if not paths.ROOT:
            _mount_all(config, place)
    print(f"mounted CT {vmid} in '{place}'")
    return 0


def _mount_all(config: Config, place: str) -> None:
    """Mount the root file system and in it all mount points; none of them if one cannot be."""
    from . import storage

    try:
        for point in mounts.of(config.keys):
            source = storage.root_dir(point.volume) if point.kind == "volume" else point.volume
            target = place if point.key == "rootfs" else f"{place}{point.target}"
            if not os.path.exists(source):
                raise Die(f"directory '{source}' does not exist")
            os.makedirs(target, exist_ok=True)
            linux.bind(source, target, read_only=point.props.get("ro") == "1")
    except (Die, OSError) as error:
        print("mounting container failed", file=sys.stderr)
        _unmount_all(place)
        raise Die(error.message if isinstance(error, Die) else str(error)) from None


def _unmount_all(place: str) -> None:
    """Unmount what is mounted at a place and below, the innermost first."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounted = [line.split()[1].replace("\\040", " ") for line in file]
    for target in reversed(mounted):
        if (target + "/").startswith(place + "/"):
            linux.unmount(target)


def unmount(arguments: Arguments) -> int:
    """`pct unmount`."""
    vmid = arguments.vmid()
    with container.locked(vmid):
        container.load(vmid)
        if not paths.ROOT:
            _unmount_all(f"{paths.LXC}/{vmid}/rootfs")
        container.remove_lock(vmid, "mounted")
    return 0


def fsck(arguments: Arguments) -> int:
    """`pct fsck`: a file system of the lab is always clean."""
    from . import storage

    vmid = arguments.vmid()
    device = arguments.take("device") or "rootfs"
    with container.locked(vmid):
        config = container.load(vmid)
        if container.running(vmid):
            raise Die("cannot run fsck when container is running")
        if device not in config.keys:
            raise Die(f"cannot run command on non-existing mount point {device}")
        point = mounts.parse(device, config.keys[device])
        found = storage.parse_name(point.volume) if point.kind == "volume" else None
        if found is not None and found.format != "raw":
            raise Die(f"unable to run fsck for '{point.volume}' (format == {found.format})")
        if found is None:
            raise Die(f"'{point.volume}' is not a block device")
        path = storage.path(point.volume)
        blocks = storage.size(point.volume) // 4096
        used = storage.usage(point.volume)[1] // 4096
        print("fsck from util-linux 2.41")
        print(f"{path}: clean, 11/{max(blocks // 4, 1)} files, {used}/{blocks} blocks")
    return 0


def fstrim(arguments: Arguments) -> int:
    """`pct fstrim`: how much of each volume is free."""
    from . import storage

    vmid = arguments.vmid()
    root_only = arguments.flag("ignore-mountpoints")
    with container.locked(vmid):
        config = container.set_lock(vmid, "fstrim")
        try:
            for point in mounts.of(config.keys):
                if (
                    point.kind != "volume"
                    or point.props.get("ro") == "1"
                    or (root_only and point.key != "rootfs")
                ):
                    continue
                available = storage.usage(point.volume)[2]
                place = f"{paths.LXC}/{vmid}/rootfs{'/' if point.key == 'rootfs' else point.target}"
                print(f"{place}: {_human(available)} ({available} bytes) trimmed")
        finally:
            container.remove_lock(vmid, "fstrim")
    return 0


def _human(size: int) -> str:
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.1f} {unit}".replace(".0 ", " ")
        value /= 1024
    return f"{value:.1f} TiB".replace(".0 ", " ")


def rescan(arguments: Arguments) -> int:
    """`pct rescan`: sizes as the storages have them, and volumes that no configuration names as unusedN."""
    only = arguments.take("vmid")
    dry = arguments.flag("dryrun")
    if dry:
        print("NOTE: running in dry-run mode, won't write changes out!")
    print("rescan volumes...")
    found = _volumes_by_owner()
    for vmid in [int(only)] if only is not None else vmlist.local():
        with container.locked(vmid):
            config = container.load(vmid)
            if _rescan(vmid, config, found.get(vmid, {})) and not dry:
                container.save(vmid, config)
    return 0


def _volumes_by_owner() -> dict[int, dict[str, int]]:
    from . import storage

    found: dict[int, dict[str, int]] = {}
    for name, section in storage_cfg.read().items():
        if "rootdir" in section.content and not section.disabled:
            for volume in storage.volumes(name, None, ("rootdir", "images")):
                if volume.vmid is not None:
                    found.setdefault(volume.vmid, {})[volume.volid] = volume.size
    return found


def _rescan(vmid: int, config: Config, have: dict[str, int]) -> bool:
    """Bring one configuration up to date; whether it changed."""
    changed = False
    for point in mounts.of(config.keys):
        size = have.get(point.volume)
        if size is not None and sizes.format_size(size) != point.props.get("size"):
            config.keys[point.key] = point.with_volume(point.volume, size).text()
            print(
                f"CT {vmid} ({point.key}): size of disk '{point.volume}' updated to {sizes.format_size(size)}"
            )
            changed = True
    named = volumes(config.keys) | {value for key, value in config.keys.items() if key.startswith("unused")}
    for section in config.snapshots.values():
        named |= volumes(section.keys)
    for volume in sorted(set(have) - named):
        mounts.add_unused(config, volume)
        print(f"CT {vmid}: add unreferenced volume '{volume}' as unused to config.")
        changed = True
    return changed
