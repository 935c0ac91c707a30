"""What keeps a snapshot from being destroyed."""

from __future__ import annotations

from . import machine, zfs_streams
from .zfs_tree import Tree


def kept_by(tree: Tree, snap: str) -> str | None:
    """What keeps a snapshot from being destroyed, in the words of the node's zfs."""
    if tree.clones(snap):
        return "snapshot is cloned"
    if tree.snapshots[snap]["holds"]:
        if machine.zfs_number() < (2, 3, 3):
            return "dataset is busy"
        return f"it's being held. Run 'zfs holds -r {snap}' to see holders."
    return "dataset is busy" if zfs_streams.sending(tree.snapshots[snap]["guid"]) else None
