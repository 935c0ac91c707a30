"""`zfs destroy`: what may go, what depends on it, and what it says."""

from __future__ import annotations

import sys

from . import zfs_ops as ops
from .zfs_busy import kept_by
from .zfs_names import need
from .zfs_props import nice
from .zfs_tree import Tree, ZfsError, changing
from .zfs_usage import one_operand, options


def destroy(args: list[str]) -> int:
    """`zfs destroy`."""
    found, rest = options("destroy", args, "vpndfrR")
    flags = {letter for letter, _ in found}
    name = one_operand("destroy", rest, "dataset")
    with changing(measured=bool(flags & {"v", "p"})) as tree:
        if "@" in name:
            return _snapshots(tree, name, flags)
        return _bookmark(tree, name, flags) if "#" in name else _dataset(tree, name, flags)


def _bookmark(tree: Tree, name: str, flags: set[str]) -> int:
    for letters, what in (({"n"}, "dryrun"), ({"d"}, "defer destroy"), ({"r", "R"}, "recursive")):
        if flags & letters:
            raise ZfsError(f"{what} is not supported with bookmark", code=255)
    if name not in tree.bookmarks:
        raise ZfsError(f"bookmark '{name}' does not exist.")
    ops.destroy_bookmark(tree, name)
    return 0


def _dataset(tree: Tree, name: str, flags: set[str]) -> int:
    need(tree, name, "s" if "d" in flags else "fv")
    recursive = bool(flags & {"r", "R"})
    if not recursive and "/" not in name:
        raise ZfsError(
            f"cannot destroy '{name}': operation does not apply to pools",
            f"use 'zfs destroy -r {name}' to destroy all datasets in the pool",
            f"use 'zpool destroy {name}' to destroy the pool itself",
        )
    depends = ops.dependents(tree, name)
    outside = [one for one in depends if not one.startswith((name + "/", name + "@"))]
    kind = tree.kind(name)
    if len(depends) > len(outside) and not recursive:
        raise ZfsError(
            f"cannot destroy '{name}': {kind} has children",
            "use '-r' to destroy the following datasets:",
            *(one for one in depends if one not in outside),
        )
    if outside and "R" not in flags:
        raise ZfsError(
            f"cannot destroy '{name}': {kind} has dependent clones",
            "use '-R' to destroy the following datasets:",
            *outside,
        )
    return _one_by_one(tree, [*depends, name], flags)


def _one_by_one(tree: Tree, names: list[str], flags: set[str]) -> int:
    """Destroy in this order, snapshots that follow each other at once; go on after what cannot be."""
    code = 0
    batch: list[str] = []
    for one in names:
        _tell(flags, one)
        if "n" in flags or ("/" not in one and "@" not in one):
            continue
        if "@" in one:
            batch.append(one)
            continue
        try:
            free(tree, batch)
            ops.destroy(tree, one, looking=True)
        except ZfsError as error:
            print(error, file=sys.stderr)
            code = 1
        batch = []
    try:
        free(tree, batch)
    except ZfsError as error:
        print(error, file=sys.stderr)
        code = 1
    return code


def _tell(flags: set[str], name: str) -> None:
    """The line of -v, -p or -n -v for one object."""
    if "p" in flags:
        print(f"destroy\t{name}")
    elif "v" in flags:
        print(f"{'would' if 'n' in flags else 'will'} destroy {name}")


def _snapshots(tree: Tree, spec: str, flags: set[str]) -> int:
    """DATASET@A,B%C: the snapshots named, and those of the datasets below with -r."""
    base, _, labels = spec.partition("@")
    need(tree, base, "fv")
    gone: dict[str, None] = {}
    cloned = False
    for one in [base, *(tree.below(base) if flags & {"r", "R"} else [])]:
        for snap in _chosen(tree, one, labels):
            depends = ops.dependents(tree, snap) if not flags & {"R", "d"} else []
            if depends:
                cloned = True
                print(f"cannot destroy '{snap}': snapshot has dependent clones", file=sys.stderr)
                print("use '-R' to destroy the following datasets:", *depends, sep="\n", file=sys.stderr)
            gone[snap] = None
            _tell(flags, snap)
    if cloned:
        return 1
    if not gone:
        raise ZfsError("could not find any snapshots to destroy; check snapshot names.")
    if "p" in flags:
        print(f"reclaim\t{_reclaimed(tree, list(gone))}")
    elif "v" in flags:
        print(f"{'would' if 'n' in flags else 'will'} reclaim {nice(_reclaimed(tree, list(gone)))}")
    if "n" in flags:
        return 0
    if "R" in flags:
        clones = dict.fromkeys(one for snap in gone for one in ops.dependents(tree, snap))
        if _one_by_one(tree, list(clones), flags):
            return 1
    free(tree, list(gone), defer="d" in flags)
    return 0


def _reclaimed(tree: Tree, snaps: list[str]) -> int:
    """Bytes that only these snapshots refer to."""
    chosen = set(snaps)
    total = 0
    for base in dict.fromkeys(snap.partition("@")[0] for snap in snaps):
        kept = set(tree.origin_blocks(base)) | set(tree.datasets[base]["blocks"])
        freed: dict[str, int] = {}
        for snap in tree.snaps(base):
            blocks = tree.snapshots[snap]["blocks"]
            if snap in chosen:
                freed |= blocks
            else:
                kept |= set(blocks)
            for clone in tree.clones(snap):
                kept |= set(tree.datasets[clone]["blocks"])
        total += sum(size for block, size in freed.items() if block not in kept)
    return total


def free(tree: Tree, snaps: list[str], defer: bool = False) -> None:
    """Destroy snapshots, all or none (ZfsError); with `defer` those that are kept are only marked."""
    kept = {snap: why for snap in snaps if snap in tree.snapshots and (why := kept_by(tree, snap))}
    if kept and not defer:
        raise ZfsError(*(f"cannot destroy snapshot {snap}: {why}" for snap, why in kept.items()))
    for snap in snaps:
        if snap in kept:
            tree.snapshots.changed(snap)["defer"] = True
        elif snap in tree.snapshots:
            ops.destroy(tree, snap)


def _chosen(tree: Tree, base: str, spec: str) -> list[str]:
    """The existing snapshots of one dataset that `a,b%c` names."""
    own = tree.snaps(base)
    chosen: list[str] = []
    for part in spec.split(","):
        first, percent, last = part.partition("%")
        if not percent:
            chosen += [f"{base}@{first}"] if f"{base}@{first}" in tree.snapshots else []
            continue
        labels = [snap.partition("@")[2] for snap in own]
        start = labels.index(first) if first in labels else 0 if not first else len(own)
        stop = labels.index(last) if last in labels else len(own) - 1 if not last else -1
        chosen += own[start : stop + 1]
    return list(dict.fromkeys(chosen))
