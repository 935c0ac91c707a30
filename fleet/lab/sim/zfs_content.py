"""What is in snapshots: copies of a dataset's files, one for all snapshots between which nothing changed.

A copy lies in /var/lib/fleet-lab/zfs-data/ID, and the snapshot names it as `files`. A dataset's `content` is
the signature of its files at its last snapshot with the ID of that copy.
"""

from __future__ import annotations

import os
import stat

from . import paths, zfs_data
from .zfs_control import NAME as CONTROL
from .zfs_tree import Tree, files_of, new_guid


def take(tree: Tree, base: str) -> str:
    """The ID of a copy of a file system's files as they are now."""
    node = tree.datasets[base]
    now = signature(tree, base)
    last = node.get("content")
    if last and last[0] == now and os.path.isdir(zfs_data.store(last[1])):
        return str(last[1])
    made = new_guid()
    copy(tree, base, zfs_data.store(made))
    node["content"] = [now, made]
    return made


def changed(tree: Tree, base: str) -> bool:
    """Whether a file system's files are others than at its last snapshot."""
    last = tree.datasets[base].get("content")
    return last is not None and last[0] != signature(tree, base)


def same_as(tree: Tree, base: str, files: str) -> None:
    """Note that a file system's files are now those of that copy."""
    tree.datasets[base]["content"] = [signature(tree, base), files]


def release(tree: Tree, base: str, files: str) -> None:
    """Delete a copy unless a snapshot or bookmark of the dataset still names it."""
    import shutil

    users = [*tree.snapshots.of(base).values(), *(tree.bookmarks[mark] for mark in tree.marks(base))]
    if not any(node.get("files") == files for node in users):
        shutil.rmtree(zfs_data.store(files), ignore_errors=True)


def part(tree: Tree, base: str, leaving: list[str]) -> None:
    """Give snapshots that leave a dataset copies of their own where one that stays has the same."""
    own = set(leaving)
    staying = [tree.snapshots[snap] for snap in tree.snaps(base) if snap not in own]
    shared = {node.get("files") for node in [*staying, *(tree.bookmarks[m] for m in tree.marks(base))]}
    for snap in leaving:
        if tree.snapshots[snap].get("files") in shared:
            made = new_guid()
            copy(tree, snap, zfs_data.store(made))
            tree.snapshots.changed(snap)["files"] = made
    tree.datasets[base].pop("content", None)


def _mounted_inside(tree: Tree, base: str) -> set[str]:
    """Where other file systems are mounted below the mount point of one."""
    where = tree.datasets[base]["mounted"]
    if not where:
        return set()
    return {paths.real(tree.datasets[name]["mounted"]) for name in zfs_data.mounted_below(tree, where)}


def signature(tree: Tree, base: str) -> str:
    """A text that is another one when a file of a file system was changed.

    A mount point counts as the empty directory that it is below what is mounted there.
    """
    import hashlib

    start = zfs_data.files(tree, base)
    skip = _mounted_inside(tree, base)
    digest = hashlib.blake2b(digest_size=12)
    if not os.path.isdir(start):
        return digest.hexdigest()
    digest.update(f"{os.stat(start).st_mode}".encode())
    pending = [start]
    while pending:
        directory = pending.pop()
        if directory in skip:
            continue
        with os.scandir(directory) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            if directory == start and entry.name == CONTROL:
                continue
            info = entry.stat(follow_symlinks=False)
            facts = f"{info.st_mode} {info.st_size} {info.st_ino} {info.st_ctime_ns}"
            if stat.S_ISDIR(info.st_mode):
                pending.append(entry.path)
                empty = entry.path in skip or not os.listdir(entry.path)
                facts = "" if empty else f"{info.st_mode} {_owner(entry.path)!r}"
            digest.update(f"{entry.path[len(start) :]}\0{facts}\n".encode())
    return digest.hexdigest()


def _owner(directory: str) -> bytes:
    """Who owns a directory, where that was changed. Not when: mounts below it are no change."""
    try:
        return os.getxattr(directory, "user.fleet.owner")
    except OSError:
        return b""


def copy(tree: Tree, source: str, target: str) -> None:
    """Copy the files of a dataset or snapshot to the new directory `target`.

    Without those of file systems mounted inside, and without sockets and devices.
    """
    import shutil

    start = zfs_data.files(tree, source)
    skip = set() if "@" in source else _mounted_inside(tree, source)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if not os.path.isdir(start):
        os.mkdir(target, 0o755)
        return

    def left_out(directory: str, names: list[str]) -> set[str]:
        """What is not copied of a directory."""
        if directory in skip:
            return set(names)
        found = {name for name in names if not _plain(f"{directory}/{name}")}
        return found | {CONTROL} if directory == start else found

    shutil.copytree(start, target, symlinks=True, ignore=left_out)


def _plain(path: str) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def replace(tree: Tree, name: str, snapshot: str) -> None:
    """Put the files of a snapshot in the place of those of its dataset (a rollback)."""
    import shutil

    node = tree.datasets[name]
    inner = sorted(zfs_data.mounted_below(tree, node["mounted"]), key=len) if node["mounted"] else []
    for other in reversed(inner):
        zfs_data.unmount(tree, other)
    place = zfs_data.files(tree, name)
    empty(place)
    source = zfs_data.files(tree, snapshot)
    if os.path.isdir(source):
        shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
    for other in inner:
        zfs_data.mount(tree, other)
    same_as(tree, name, files_of(tree.snapshots[snapshot]))


def empty(place: str) -> None:
    """Remove everything inside a directory but its control directory; it is made if it is missing."""
    import shutil

    os.makedirs(place, exist_ok=True)
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.name == CONTROL:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
