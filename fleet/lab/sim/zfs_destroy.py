"""`zfs destroy`: what may go, what depends on it, and what it says."""

from __future__ import annotations

from . import zfs_ops as ops
from .zfs_names import need
from .zfs_props import nice
from .zfs_tree import Tree, ZfsError, changing
from .zfs_usage import one_operand, options


def destroy(args: list[str]) -> int:
    """`zfs destroy`."""
    found, rest = options("destroy", args, "vpndfrR")
    flags = {letter for letter, _ in found}
    name = one_operand("destroy", rest, "dataset")
    with changing() as tree:
        if "#" in name:
            if name not in tree.bookmarks:
                raise ZfsError(f"bookmark '{name}' does not exist.")
            del tree.bookmarks[name]
        elif "@" in name:
            _destroy_snapshots(tree, name, flags)
        else:
            _destroy_dataset(tree, name, flags)
    return 0


def _destroy_dataset(tree: Tree, name: str, flags: set[str]) -> None:
    need(tree, name, "fv")
    recursive, clones = bool(flags & {"r", "R"}), "R" in flags
    if not recursive and "/" not in name:
        raise ZfsError(
            f"cannot destroy '{name}': operation does not apply to pools",
            f"use 'zfs destroy -r {name}' to destroy all datasets in the pool",
            f"use 'zpool destroy {name}' to destroy the pool itself",
        )
    depends = ops.dependents(tree, name)
    outside = [d for d in depends if not d.startswith((name + "/", name + "@"))]
    kind = tree.kind(name)
    if depends and not recursive:
        inside = [d for d in depends if d not in outside]
        raise ZfsError(
            f"cannot destroy '{name}': {kind} has children",
            "use '-r' to destroy the following datasets:",
            *inside,
        )
    if outside and not clones:
        raise ZfsError(
            f"cannot destroy '{name}': {kind} has dependent clones",
            "use '-R' to destroy the following datasets:",
            *outside,
        )
    for one in [*depends, name]:
        _tell(flags, "destroy", one)
        if "n" not in flags and ("/" in one or "@" in one):
            ops.destroy(tree, one)


def _tell(flags: set[str], verb: str, name: str) -> None:
    """The line of -v, -p or -n -v for one object."""
    if "p" in flags:
        print(f"{verb}\t{name}")
    elif "v" in flags:
        print(f"{'would' if 'n' in flags else 'will'} {verb} {name}")


def _destroy_snapshots(tree: Tree, spec: str, flags: set[str]) -> None:
    """DATASET@A,B%C: the snapshots named, and those of the datasets below with -r."""
    base, _, names = spec.partition("@")
    need(tree, base, "fv")
    gone: list[str] = []
    for one in [base, *(tree.below(base) if flags & {"r", "R"} else [])]:
        gone += _chosen(tree, one, names)
    if not gone:
        raise ZfsError("could not find any snapshots to destroy; check snapshot names.")
    clones = [c for s in gone for c in ops.dependents(tree, s)]
    if clones and "R" not in flags:
        first = next(s for s in gone if ops.dependents(tree, s))
        raise ZfsError(
            f"cannot destroy '{first}': snapshot has dependent clones",
            "use '-R' to destroy the following datasets:",
            *ops.dependents(tree, first),
        )
    for one in gone:
        if tree.snapshots[one]["holds"]:
            raise ZfsError(f"cannot destroy snapshot {one}: dataset is busy")
    reclaim = sum(tree.used(s) for s in gone)
    for one in gone:
        _tell(flags, "destroy", one)
    if "p" in flags:
        print(f"reclaim\t{reclaim}")
    elif "v" in flags:
        print(f"{'would' if 'n' in flags else 'will'} reclaim {nice(reclaim)}")
    if "n" not in flags:
        for one in [*clones, *gone]:
            ops.destroy(tree, one)


def _chosen(tree: Tree, base: str, spec: str) -> list[str]:
    """The existing snapshots of one dataset that `a,b%c` names."""
    own = tree.snaps(base)
    chosen: list[str] = []
    for part in spec.split(","):
        first, percent, last = part.partition("%")
        if not percent:
            chosen += [s for s in own if s == f"{base}@{first}"]
            continue
        labels = [s.partition("@")[2] for s in own]
        start = labels.index(first) if first in labels else 0 if not first else len(own)
        stop = labels.index(last) if last in labels else len(own) - 1 if not last else -1
        chosen += own[start : stop + 1]
    return chosen
