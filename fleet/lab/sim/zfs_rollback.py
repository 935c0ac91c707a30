"""`zfs rollback`: back to a snapshot, and what of the newer ones goes for it."""

from __future__ import annotations

import sys

from . import zfs_content, zfs_streams
from .zfs_names import need
from .zfs_ops import dependents, destroy, destroy_bookmark
from .zfs_tree import Tree, ZfsError, changing
from .zfs_usage import one_operand, options

_SHOWN = 32  # newer snapshots and bookmarks that a refusal names


def rollback(args: list[str]) -> int:
    """`zfs rollback`; with -r some newer snapshots may be gone although it fails, as on a real node."""
    found, rest = options("rollback", args, "rRf")
    flags = {letter for letter, _ in found}
    name = one_operand("rollback", rest, "dataset")
    with changing(measured=True) as tree:
        need(tree, name, "s")
        if flags & {"r", "R"} and not clear(tree, name, with_clones="R" in flags):
            return 1
        back(tree, name)
    return 0


def newer(tree: Tree, name: str) -> list[str]:
    """The snapshots, then the bookmarks, made after a snapshot of the same dataset."""
    base, since = name.partition("@")[0], tree.snapshots[name]["txg"]
    return [
        *(s for s in tree.snaps(base) if tree.snapshots[s]["txg"] > since),
        *(b for b in tree.marks(base) if tree.bookmarks[b]["txg"] > since),
    ]


def clear(tree: Tree, name: str, with_clones: bool) -> bool:
    """Destroy what is newer than a snapshot, as far as that can be; whether all of it is gone."""
    later = newer(tree, name)
    clones = [clone for snap in later if "@" in snap for clone in dependents(tree, snap)]
    if clones and not with_clones:
        raise ZfsError(
            f"cannot rollback to '{name}': clones of previous snapshots exist",
            "use '-R' to force deletion of the following clones and dependents:",
            *clones,
        )
    whole = True
    for one in [*clones, *later]:
        if "#" in one:
            destroy_bookmark(tree, one)
            continue
        if "@" in one:
            node = tree.snapshots[one]
            if node["holds"] or tree.clones(one) or zfs_streams.sending(node["guid"]):
                print(f"cannot destroy '{one}': dataset is busy", file=sys.stderr)
                whole = False
                continue
        destroy(tree, one)
    return whole


def back(tree: Tree, name: str) -> None:
    """Take a dataset back to its newest snapshot; ZfsError names what is newer."""
    need(tree, name, "s")
    later = newer(tree, name)
    if later:
        more = [f"Output limited to {_SHOWN} snapshots/bookmarks"] if len(later) >= _SHOWN else []
        raise ZfsError(
            f"cannot rollback to '{name}': more recent snapshots or bookmarks exist",
            "use '-r' to force deletion of the following snapshots and bookmarks:",
            *later[:_SHOWN],
            *more,
        )
    base = name.partition("@")[0]
    if tree.datasets[base]["type"] == "filesystem":
        zfs_content.replace(tree, base, name)
    else:
        tree.datasets[base]["props"]["volsize"] = tree.snapshots[name]["props"]["volsize"]
    tree.datasets[base]["blocks"] = dict(tree.snapshots[name]["blocks"])
    tree.touched()
