"""The verbs of `zfs` about snapshots: snapshot, rollback, hold, release, holds, bookmark."""

from __future__ import annotations

from . import zfs_ops as ops
from .zfs_names import check_name, need
from .zfs_tree import ZfsError, changing, load
from .zfs_usage import UsageError, one_operand, options, properties


def snapshot(args: list[str]) -> int:
    """`zfs snapshot`."""
    found, rest = options("snapshot", args, "ro:")
    given = properties([value for letter, value in found if letter == "o"])
    if not rest:
        raise UsageError("snapshot", "missing snapshot argument")
    with changing(measured=True) as tree:
        names: list[str] = []
        for spec in rest:
            base, at, label = spec.partition("@")
            if not at:
                raise UsageError("snapshot")
            need(tree, base, "fv")
            below = tree.below(base) if ("r", "") in found else []
            names += [f"{one}@{label}" for one in [base, *below]]
        ops.snapshot(tree, names, given)
    return 0


def rollback(args: list[str]) -> int:
    """`zfs rollback`."""
    found, rest = options("rollback", args, "rRf")
    flags = {letter for letter, _ in found}
    name = one_operand("rollback", rest, "dataset")
    with changing() as tree:
        ops.rollback(tree, name, recursive=bool(flags & {"r", "R"}), with_clones="R" in flags)
    return 0


def hold(args: list[str]) -> int:
    """`zfs hold`."""
    return _hold_or_release("hold", args)


def release(args: list[str]) -> int:
    """`zfs release`."""
    return _hold_or_release("release", args)


def _hold_or_release(verb: str, args: list[str]) -> int:
    import time

    found, rest = options(verb, args, "r")
    if len(rest) < 2:
        raise UsageError(verb)
    tag, names = rest[0], rest[1:]
    if tag.startswith("."):
        raise ZfsError("tag may not start with '.'")
    for name in names:
        base, at, label = name.partition("@")
        if not at:
            raise ZfsError(f"'{name}' is not a snapshot")
        with changing() as tree:
            need(tree, base, "fv")
            wanted = [f"{one}@{label}" for one in [base, *(tree.below(base) if ("r", "") in found else [])]]
            there = [s for s in wanted if s in tree.snapshots]
            what = (
                f"cannot hold snapshot '{name}'"
                if verb == "hold"
                else f"cannot release hold from snapshot '{name}'"
            )
            if not there:
                raise ZfsError(f"{what}: dataset does not exist")
            for snap in there:
                holds = tree.snapshots[snap]["holds"]
                if verb == "hold" and tag in holds:
                    raise ZfsError(f"{what}: tag already exists on this dataset")
                if verb == "release" and tag not in holds:
                    raise ZfsError(f"{what}: no such tag on this dataset")
                if verb == "hold":
                    holds[tag] = int(time.time())
                else:
                    del holds[tag]
    return 0


def holds(args: list[str]) -> int:
    """`zfs holds`."""
    import time

    found, rest = options("holds", args, "rHp")
    flags = {letter for letter, _ in found}
    if not rest:
        raise UsageError("holds")
    tree = load()
    rows: list[tuple[str, str, str]] = []
    for name in rest:
        base, at, label = name.partition("@")
        if not at:
            raise ZfsError(f"'{name}' is not a snapshot")
        need(tree, base, "fv")
        for one in [base, *(tree.below(base) if "r" in flags else [])]:
            for tag, when in sorted(tree.snapshots.get(f"{one}@{label}", {"holds": {}})["holds"].items()):
                stamp = (
                    str(when) if "p" in flags else time.strftime("%a %b %e %k:%M %Y", time.localtime(when))
                )
                rows.append((f"{one}@{label}", tag, stamp))
    if "H" in flags:
        for row in rows:
            print("\t".join(row))
    elif rows:
        wide = max(len("NAME"), *(len(r[0]) for r in rows)), max(len("TAG"), *(len(r[1]) for r in rows))
        for row in [("NAME", "TAG", "TIMESTAMP"), *rows]:
            print(f"{row[0]:<{wide[0]}}  {row[1]:<{wide[1]}}  {row[2]}")
    return 0


def bookmark(args: list[str]) -> int:
    """`zfs bookmark`."""
    from .zfs_tree import new_guid

    _, rest = options("bookmark", args, "")
    if len(rest) < 2:
        raise UsageError("bookmark", "missing source argument" if not rest else "missing bookmark argument")
    source, target = rest[0], rest[1] if not rest[1].startswith("#") else rest[0].partition("@")[0] + rest[1]
    what = f"cannot create bookmark '{target}'"
    with changing() as tree:
        check_name(what, target, "b")
        node = tree.find(source)
        if node is None:
            raise ZfsError(
                f"{what}: dataset does not exist"
                if "@" in source or "#" in source
                else f"{what}: invalid bookmark or snapshot name"
            )
        if target in tree.bookmarks:
            raise ZfsError(f"{what}: bookmark exists")
        tree.bookmarks[target] = {
            "guid": new_guid() if "@" not in source else node["guid"],
            "txg": node["txg"],
            "created": node["created"],
            "props": {},
            "blocks": dict(node.get("blocks", {})),
        }
    return 0
