"""Where the files of a dataset are.

Mount points are real directories, unmounted trees and snapshots lie in a store.

A mounted file system's files are at its mount point; what was there before is set aside and comes back at the
unmount, as under a real mount. /var/lib/fleet-lab/zfs-data/GUID holds the files of an unmounted file system
or of a snapshot, GUID.under what a mount hides.
"""

from __future__ import annotations

import os
import re

from . import paths, zfs_control
from .zfs_tree import EMPTY, Tree, ZfsError, files_of, new_block


def store(guid: str) -> str:
    """The directory that keeps the files of an unmounted file system or of a snapshot."""
    return paths.real(f"/var/lib/fleet-lab/zfs-data/{guid}")


def mount(tree: Tree, name: str) -> bool:
    """Mount a file system where its properties say, if they do.

    False if it is mounted already or not to be.
    """
    node = tree.datasets[name]
    where = tree.mountpoint(name)
    canmount = tree.local(name, "canmount")
    if (
        node["type"] != "filesystem"
        or node["mounted"]
        or where in ("none", "legacy", "/")
        or canmount == "off"
    ):
        return False
    place, kept = paths.real(where), store(node["guid"])
    if os.path.lexists(place) and not os.path.isdir(place):
        raise ZfsError(f"cannot mount '{where}': failed to create mountpoint: Not a directory")
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    if os.path.isdir(place) and os.listdir(place):
        if (tree.source(name, "overlay") or ("on", ""))[0] == "off":
            raise ZfsError(f"cannot mount '{where}': directory is not empty")
        os.rename(place, kept + ".under")
    elif os.path.isdir(place):
        os.rmdir(place)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.isdir(kept):
        os.rename(kept, place)
    else:
        os.mkdir(place, 0o755)
    node["mounted"] = where
    zfs_control.appear(tree, name)
    return True


def unmount(tree: Tree, name: str) -> bool:
    """Unmount a file system and what is mounted below it; False if it was not mounted."""
    node = tree.datasets[name]
    where = node["mounted"]
    if not where:
        return False
    for other in sorted(mounted_below(tree, where), key=len, reverse=True):
        unmount(tree, other)
    place, kept = paths.real(where), store(node["guid"])
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    zfs_control.vanish(place)
    if os.path.isdir(place):
        os.rename(place, kept)
    under = kept + ".under"
    if os.path.isdir(under):
        os.rename(under, place)
    else:
        os.makedirs(place, exist_ok=True)
    node["mounted"] = None
    return True


def mounted_below(tree: Tree, where: str) -> list[str]:
    """The file systems mounted below a directory."""
    prefix = where.rstrip("/") + "/"
    return [n for n, d in tree.datasets.items() if d["mounted"] and d["mounted"].startswith(prefix)]


def files(tree: Tree, name: str) -> str:
    """The directory where the files of a dataset or snapshot are now."""
    if "@" in name:
        return store(files_of(tree.snapshots[name]))
    node = tree.datasets[name]
    return paths.real(node["mounted"]) if node["mounted"] else store(node["guid"])


def remove(tree: Tree, name: str) -> None:
    """Remove the files of a dataset, and its mount point as zfs destroy does."""
    import shutil

    if tree.datasets[name]["mounted"]:
        place = paths.real(tree.datasets[name]["mounted"])
        unmount(tree, name)
        if os.path.isdir(place) and not os.listdir(place):
            os.rmdir(place)
    shutil.rmtree(store(tree.datasets[name]["guid"]), ignore_errors=True)


_GUEST = re.compile(r".*/(?:subvol|basevol|vm|base)-\d+-[^/]+")


def measure(tree: Tree) -> None:
    """Let mounted file systems refer to what lies in them.

    Not guests' volumes, whose sizes storage.fill tells. What came since the last snapshot is one block, so
    that a snapshot keeps its share.
    """
    for name, node in tree.datasets.items():
        if node["mounted"] is None or _GUEST.fullmatch(name):
            continue
        size = EMPTY + _content(tree, node["mounted"])
        blocks = node["blocks"]
        change = size - sum(blocks.values())
        if not change:
            continue
        kept = {block for snap in tree.snapshots.of(name).values() for block in snap["blocks"]}
        kept.update(tree.origin_blocks(name))
        fresh = [block for block in blocks if block.startswith("live-") and block not in kept]
        live = fresh[0] if fresh else f"live-{new_block()}"
        blocks[live] = blocks.get(live, 0) + max(change, 0)
        gone = max(-change, 0)
        for block in [live, *(b for b in blocks if b.startswith("live-") and b != live)]:
            if not gone:
                break
            taken = min(blocks[block], gone)
            gone -= taken
            rest = blocks.pop(block) - taken
            if rest:  # a block that a snapshot keeps whole is left to it
                target = live if block in kept else block
                blocks[target] = blocks.get(target, 0) + rest
        tree.touched()


def _content(tree: Tree, where: str) -> int:
    """Bytes of the files in a mounted file system, by their apparent sizes, without those mounted inside."""
    skip = {paths.real(tree.datasets[n]["mounted"]) for n in mounted_below(tree, where)}
    total, start = 0, paths.real(where)
    for top, dirs, names in os.walk(start):
        dirs[:] = [d for d in dirs if f"{top}/{d}" not in skip]
        for name in names:
            try:
                total += os.lstat(f"{top}/{name}").st_size
            except FileNotFoundError:
                continue
    return total
