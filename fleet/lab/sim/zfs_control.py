"""`.zfs`, where the snapshots of a mounted file system can be read: `MOUNTPOINT/.zfs/snapshot/LABEL/...`.

On a real node it is not listed in its directory; here it is a symbolic link, which appears with the first
snapshot. Behind it, /var/lib/fleet-lab/zfs-ctl/GUID/snapshot holds a link to the files of each snapshot.
"""

from __future__ import annotations

import os

from . import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .zfs_tree import Tree

NAME = ".zfs"
_HOME = "/var/lib/fleet-lab/zfs-ctl"


def left_out(_directory: str, names: list[str]) -> set[str]:
    """What shutil.copytree is not to copy of a file system, for it is none of its files."""
    return {NAME} & set(names)


def update(tree: Tree, base: str, labels: list[str]) -> None:
    """Make or remove the links to snapshots of a dataset that came, changed or went."""
    node = tree.datasets[base]
    if node["type"] != "filesystem":
        return
    directory = paths.real(f"{_HOME}/{node['guid']}/snapshot")
    os.makedirs(directory, exist_ok=True)
    there = tree.snapshots.of(base)
    for label in labels:
        link = f"{directory}/{label}"
        if os.path.lexists(link):
            os.unlink(link)
        if label in there:
            os.symlink(f"../../../zfs-data/{there[label].get('files') or there[label]['guid']}", link)
    appear(tree, base)


def appear(tree: Tree, base: str) -> None:
    """Let `.zfs` be at the mount point of a mounted file system that has had a snapshot."""
    node = tree.datasets[base]
    target = paths.real(f"{_HOME}/{node['guid']}")
    place = paths.real(node["mounted"]) if node["mounted"] else ""
    if place and os.path.isdir(target) and os.path.isdir(place) and not os.path.lexists(f"{place}/{NAME}"):
        os.symlink(os.path.relpath(target, place), f"{place}/{NAME}")


def vanish(place: str) -> None:
    """Take `.zfs` away from a mount point."""
    if os.path.islink(f"{place}/{NAME}"):
        os.unlink(f"{place}/{NAME}")


def forget(guid: str) -> None:
    """Delete the links of a dataset that is gone."""
    import shutil

    shutil.rmtree(paths.real(f"{_HOME}/{guid}"), ignore_errors=True)
