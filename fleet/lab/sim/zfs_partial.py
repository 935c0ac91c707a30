"""Datasets that are being received, and those of which only a part came.

A dataset's `receiving` is {"new": whether it exists only through this, "resumable": BOOL, "begin": what the
stream is of}; what came so far lies in a file of its own (zfs_token.spool).
"""

from __future__ import annotations

import os

from . import zfs_streams, zfs_token
from .zfs_tree import Tree, ZfsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def forget_dead(tree: Tree) -> None:
    """Drop what processes left that were killed while they received without -s."""
    for name, node in list(tree.datasets.items()):
        state = node.get("receiving")
        if state and not state["resumable"] and not zfs_streams.sending(node["guid"]):
            drop(tree, name)


def drop(tree: Tree, name: str) -> None:
    """Forget what came of a stream; a dataset that exists only through it goes."""
    node = tree.datasets[name]
    state: dict[str, Any] = node.pop("receiving")
    discard(node["guid"])
    if state["new"]:
        tree.drop(name)


def discard(guid: str) -> None:
    """Delete the file with what came of a stream."""
    file = zfs_token.spool(guid)
    if os.path.exists(file):
        os.unlink(file)


def abort(tree: Tree, name: str) -> None:
    """`zfs receive -A`."""
    node = tree.datasets[name]
    state = node.get("receiving")
    if not state or not state["resumable"]:
        raise ZfsError(f"'{name}' does not have any resumable receive state to abort")
    if zfs_streams.sending(node["guid"]):
        at = name if state["new"] else f"{name}/%recv"
        raise ZfsError(f"cannot destroy '{at}': dataset is busy")
    drop(tree, name)
