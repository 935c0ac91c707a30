"""The storages of the node as pct and pvesm use them: volumes by volid, whatever the storage's type.

Refusals are Die with pve-storage's text. `out` is where a command's progress goes (the task's output).
Directories that come back are real paths, those for people (`path`) are paths of the node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from . import ext4, files, storage_cfg
from .errors import Die
from .storage_base import Backend, Volume, Writer
from .storage_cfg import Section
from .storage_names import Name, parse_volid

__all__ = [
    "StorageError",
    "Volume",
    "alloc",
    "clone_linked",
    "copy_full",
    "delete_snapshot",
    "exists",
    "fill",
    "free",
    "has_feature",
    "has_snapshot_feature",
    "make_base",
    "parse_volid",
    "path",
    "resize",
    "rollback",
    "rollback_possible",
    "root_dir",
    "size",
    "snapshot",
    "snapshot_dir",
    "template_path",
    "usage",
    "volumes",
]

StorageError = Die
_CONTENT = (
    "rootdir",
    "images",
    "vztmpl",
    "iso",
    "backup",
    "snippets",
    "import",
)  # in the order in which Proxmox looks for them


def backend(storage: str, active: bool = True) -> Backend:
    """The storage of this id, activated; Die if it does not exist, is off, or cannot be used."""
    section = storage_cfg.get(storage)
    return backend_of(section, active)


def backend_of(section: Section, active: bool = True) -> Backend:
    """The storage that a section declares."""
    if active:
        check_enabled(section)
    made = _make(section)
    if active:
        made.activate()
    return made


def _make(section: Section) -> Backend:
    if section.type == "zfspool":
        from .storage_zfs import ZfsPool

        return ZfsPool(section)
    if section.type == "lvmthin":
        from .storage_lvm import LvmThin

        return LvmThin(section)
    if section.type in ("dir", "btrfs"):
        if section.type == "btrfs":
            from .storage_btrfs import Btrfs

            return Btrfs(section)
        from .storage_file import Directory

        return Directory(section)
    raise Die(f"storage '{section.id}' of type {section.type} is not online")


def check_enabled(section: Section) -> None:
    """Refuse a storage that is switched off, or not for this node."""
    from . import machine

    if section.disabled:
        raise Die(f"storage '{section.id}' is disabled")
    if not section.here():
        raise Die(f"storage '{section.id}' is not available on node '{machine.node()}'")


@contextmanager
def locked(storage: str) -> Iterator[None]:
    """Hold the storage's lock, which Proxmox takes for allocations and removals."""
    with files.locked(f"/var/lock/pve-manager/pve-storage-{storage}", 10):
        yield


def _volume(volid: str) -> tuple[Backend, str]:
    """(activated storage, volume name) of a volid."""
    storage, name = parse_volid(volid)
    return backend(storage), name


def parse_name(volid: str) -> Name:
    """What a volid's volume name says."""
    storage, name = parse_volid(volid)
    return backend(storage, active=False).parse(name)


def content(storage: str) -> tuple[str, ...]:
    """What a storage may hold."""
    return storage_cfg.get(storage).content


def alloc(storage: str, vmid: int, size_bytes: int, out: Writer) -> str:
    """Make the volume of a container, printing what mkfs prints; gives its volid.

    0 bytes is a subvol without limit.
    """
    section = storage_cfg.get(storage)
    if "rootdir" not in section.content:
        raise Die(f"content type 'rootdir' is not available or configured on storage '{storage}'")
    store = backend_of(section)
    subvol = section.type == "zfspool" or (not size_bytes and section.type in ("dir", "btrfs"))
    with locked(storage):
        name = store.alloc(vmid, "subvol" if subvol else "raw", None, size_bytes, out)
    if not subvol:
        with _freed_on_failure(f"{storage}:{name}"):
            make_filesystem(store, name, out)
    return f"{storage}:{name}"


@contextmanager
def _freed_on_failure(volid: str) -> Iterator[None]:
    """Free a new volume if what is done to it fails, be it that the task is aborted."""
    try:
        yield
    except Die:
        free(volid)
        raise


def make_filesystem(store: Backend, name: str, out: Writer) -> None:
    """mkfs.ext4 in an image."""
    from .storage_file import Directory
    from .storage_lvm import LvmThin

    assert isinstance(store, Directory | LvmThin)
    store.format(name, out)


def free(volid: str, out: Writer | None = None) -> None:
    """Delete a volume; one that linked clones still need is refused.

    What the tools print goes to `out`, to stdout without one.
    """
    import sys

    store, name = _volume(volid)
    with locked(store.section.id):
        parsed = store.parse(name)
        if parsed.is_base and _has_clones(store, parsed):
            raise Die(f"base volume '{name}' is still in use by linked clones", 255)
        store.free(name, out or sys.stdout)


def _has_clones(store: Backend, base: Name) -> bool:
    """Whether a volume's name says that it depends on this base."""
    names = (store.parse(v.volid.partition(":")[2]) for v in store.images())
    return any(n.base == base.name and n.base_vmid == base.vmid for n in names)


def volumes(storage: str, vmid: int | None = None, kinds: tuple[str, ...] | None = None) -> list[Volume]:
    """The volumes of a storage, sorted by volid; of one guest, or of some content types only."""
    section = storage_cfg.get(storage)
    store = backend_of(section)
    wanted = tuple(kind for kind in kinds or _CONTENT if kind in section.content)
    found = _images(store, wanted, vmid)
    if section.path:
        from .storage_files import listed

        found += [
            v for kind in wanted if kind not in ("rootdir", "images") for v in listed(store, kind, vmid)
        ]
    return sorted(found, key=lambda v: v.volid.lower())


def _images(store: Backend, wanted: tuple[str, ...], vmid: int | None) -> list[Volume]:
    """The disks of guests: rootdir if the owner is a container, else images."""
    from . import vmlist

    if not {"rootdir", "images"} & set(wanted):
        return []
    guests = vmlist.guests()
    found = []
    for volume in store.images():
        owner = guests.get(volume.vmid or 0)
        kind = "rootdir" if owner is not None and owner.kind == "lxc" else "images"
        if kind in wanted and vmid in (None, volume.vmid):
            found.append(volume._replace(content=kind))
    return found


def exists(volid: str) -> bool:
    """Whether there is such a volume."""
    storage, name = parse_volid(volid)
    store = backend(storage)
    if store.parse(name).vtype == "images":
        return any(
            v.volid.rpartition("/")[2].rpartition(":")[2] == store.parse(name).name for v in store.images()
        )
    from . import paths

    return os.path.exists(paths.real(store.path(name)))


def path(volid: str, snap: str | None = None) -> str:
    """The path of a volume on the node; nothing is looked up."""
    storage, name = parse_volid(volid)
    return backend(storage, active=False).path(name, snap)


def template_path(volid: str) -> str:
    """The path on the node of a template or any other file, which must exist."""
    from . import paths

    storage, name = parse_volid(volid)
    found = backend(storage).path(name)
    if not os.path.isfile(paths.real(found)):
        raise Die(f"volume '{volid}' does not exist")
    return found


def real_path(volid: str) -> str:
    """The path to open of a volume; nothing is looked up."""
    from . import paths

    return paths.real(path(volid))


def root_dir(volid: str) -> str:
    """The directory with the files in a volume (a real path)."""
    store, name = _volume(volid)
    return store.root_dir(name)


def snapshot_dir(volid: str, snap: str) -> str:
    """The directory with the files in a snapshot of a volume (a real path)."""
    store, name = _volume(volid)
    return store.snapshot_dir(name, snap)


def size(volid: str) -> int:
    """Bytes of a volume; 0 for a subvol without limit."""
    store, name = _volume(volid)
    return store.size(name)


def fill(volid: str, used_bytes: int) -> None:
    """Note how many bytes a volume's content takes.

    The guest's real one, which the small tree of the lab stands for.
    """
    store, name = _volume(volid)
    store.fill(name, used_bytes)


def usage(volid: str) -> tuple[int, int, int]:
    """(total, used, available) bytes as df shows them inside the guest."""
    from .storage_file import Directory
    from .storage_lvm import LvmThin

    store, name = _volume(volid)
    used = store.used(name)
    if store.parse(name).format == "subvol" and isinstance(store, Directory):
        total, available, taken = store.status()
        return total, taken, available
    if isinstance(store, Directory | LvmThin):
        room, made = store.filesystem(name), store.made(name)
        return ext4.total(room, made), used, ext4.available(room, used, made)
    total, available, _ = store.status()
    quota = store.size(name)
    return (quota, used, min(quota - used, available)) if quota else (used + available, used, available)


def resize(volid: str, size_bytes: int, running: bool, out: Writer) -> None:
    """Grow a volume and the file system in it; prints what the tools print."""
    store, name = _volume(volid)
    store.resize(name, size_bytes, running, out)


def has_feature(volid: str, feature: str, snap: str | None = None) -> bool:
    """Whether a volume (or its snapshot) can snapshot, clone, copy, template or rename."""
    storage, name = parse_volid(volid)
    return backend(storage, active=False).feature(name, feature, snap)


def has_snapshot_feature(volid: str) -> bool:
    """Whether a volume can be snapshotted."""
    return has_feature(volid, "snapshot")


def snapshot(volid: str, snap: str) -> None:
    """Take a snapshot."""
    store, name = _volume(volid)
    store.snapshot(name, snap)


def snapshots(volid: str) -> list[str]:
    """The snapshots of a volume on ZFS, the oldest first; none on other storages, which cannot replicate."""
    from .storage_zfs import ZfsPool

    store, name = _volume(volid)
    return store.snapshots(name) if isinstance(store, ZfsPool) else []


def newer_snapshots(volid: str, snap: str) -> list[str]:
    """The snapshots of a volume on ZFS that are newer than one of them."""
    known = snapshots(volid)
    return known[known.index(snap) + 1 :] if snap in known else []


def can_replicate(volid: str) -> bool:
    """Whether a volume's storage can be replicated: ZFS only."""
    return storage_cfg.get(parse_volid(volid)[0]).type == "zfspool"


def rollback_possible(volid: str, snap: str) -> None:
    """Refuse a rollback that the storage cannot do."""
    store, name = _volume(volid)
    store.rollback_possible(name, snap)


def rollback(volid: str, snap: str) -> None:
    """Take a volume back to a snapshot."""
    store, name = _volume(volid)
    store.rollback_possible(name, snap)
    store.rollback(name, snap)


def delete_snapshot(volid: str, snap: str) -> None:
    """Delete a snapshot."""
    store, name = _volume(volid)
    store.delete_snapshot(name, snap)


def clone_linked(volid: str, vmid: int, snap: str | None = None) -> str:
    """Make a linked clone for another guest; its volid."""
    store, name = _volume(volid)
    with locked(store.section.id):
        return f"{store.section.id}:{store.clone(name, vmid, snap)}"


def make_base(volid: str) -> str:
    """Turn a volume into a base of linked clones; its new volid."""
    store, name = _volume(volid)
    with locked(store.section.id):
        return f"{store.section.id}:{store.make_base(name)}"


def copy_full(volid: str, storage: str, vmid: int, out: Writer, *, snap: str | None = None) -> str:
    """Copy a volume (or a snapshot of it) into a new one for another guest, on `storage`.

    Prints rsync's statistics; the new volid.
    """
    import shutil

    from . import zfs_control
    from .rsync import statistics

    store, name = _volume(volid)
    source = store.root_dir(name) if snap is None else store.snapshot_dir(name, snap)
    new = alloc(storage, vmid, store.size(name), out)
    with _freed_on_failure(new):
        shutil.copytree(source, root_dir(new), symlinks=True, dirs_exist_ok=True, ignore=zfs_control.left_out)
        fill(new, store.used(name) * 1001 // 1000)  # files written anew take more (vm-zfs-2, 18)
        out.write(statistics(source, store.used(name)))
    return new
