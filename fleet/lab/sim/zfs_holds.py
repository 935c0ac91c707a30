"""`zfs hold`, `zfs release` and `zfs holds`."""

from __future__ import annotations

import sys
import time

from . import clock
from . import zfs_ops as ops
from .zfs_names import need
from .zfs_tree import Tree, ZfsError, changing, load
from .zfs_usage import UsageError, options


def hold(args: list[str]) -> int:
    """`zfs hold`."""
    return _hold_or_release("hold", args, "rt")


def release(args: list[str]) -> int:
    """`zfs release`."""
    return _hold_or_release("release", args, "r")


def _hold_or_release(verb: str, args: list[str], spec: str) -> int:
    """Do it to each snapshot named; one failure does not stop the rest."""
    found, rest = options(verb, args, spec)
    if len(rest) < 2:
        raise UsageError(verb)
    tag, names = rest[0], rest[1:]
    if verb == "hold" and tag.startswith("."):
        raise UsageError(verb, "tag may not start with '.'")
    code = 0
    for name in names:
        try:
            if "@" not in name:
                raise ZfsError(f"'{name}' is not a snapshot")
            with changing() as tree:
                (_hold if verb == "hold" else _release)(tree, name, tag, ("r", "") in found)
        except ZfsError as error:
            print(error, file=sys.stderr)
            code = 1
    return code


def _named(tree: Tree, name: str, recursive: bool) -> list[str]:
    """The existing snapshots that a name means, those of that name below its dataset too."""
    base, _, label = name.partition("@")
    need(tree, base, "fv")
    bases = [base, *(tree.below(base) if recursive else [])]
    return [f"{one}@{label}" for one in bases if f"{one}@{label}" in tree.snapshots]


def _hold(tree: Tree, name: str, tag: str, recursive: bool) -> None:
    wanted = _named(tree, name, recursive)
    if not wanted:
        raise ZfsError(f"cannot hold snapshot '{name}': dataset does not exist")
    if len(tag) >= 256:
        raise ZfsError(*(f"cannot hold snapshot '{one}': tag too long" for one in wanted))
    taken = [one for one in wanted if tag in tree.snapshots[one]["holds"]]
    if taken:
        raise ZfsError(
            *(f"cannot hold snapshot '{one}': tag already exists on this dataset" for one in taken)
        )
    now = int(clock.now())
    for one in wanted:
        tree.snapshots.changed(one)["holds"][tag] = now


def _release(tree: Tree, name: str, tag: str, recursive: bool) -> None:
    wanted = _named(tree, name, recursive)
    what = f"cannot release hold from snapshot '{name}'"
    if not wanted:
        raise ZfsError(f"{what}: dataset does not exist")
    held = [one for one in wanted if tag in tree.snapshots[one]["holds"]]
    if not held:
        raise ZfsError(f"{what}: no such tag on this dataset")
    for one in held:
        del tree.snapshots.changed(one)["holds"][tag]
        ops.destroy_deferred(tree, one)


def holds(args: list[str]) -> int:
    """`zfs holds`."""
    found, rest = options("holds", args, "rHp")
    flags = {letter for letter, _ in found}
    if not rest:
        raise UsageError("holds")
    tree, code = load(), 0
    snaps: list[str] = []
    for name in rest:
        try:
            if "@" not in name:
                raise ZfsError(f"'{name}' is not a snapshot")
            if "r" in flags:
                snaps += _named(tree, name, recursive=True)
            else:
                need(tree, name, "s")
                snaps.append(name)
        except ZfsError as error:
            print(error, file=sys.stderr)
            code = 1
    rows = [
        (snap, tag, str(when) if "p" in flags else _date(when))
        for snap in dict.fromkeys(snaps)
        for tag, when in sorted(tree.snapshots[snap]["holds"].items())
    ]
    if "H" in flags:
        for row in rows:
            print("\t".join(row))
    else:
        wide = max([0, *map(len, snaps)]), max([0, *(len(row[1]) for row in rows)])
        for row in [("NAME", "TAG", "TIMESTAMP"), *rows]:
            print(f"{row[0]:<{wide[0]}}  {row[1]:<{wide[1]}}  {row[2]}")
    if not snaps:
        print("no datasets available", file=sys.stderr)
    return code


def _date(when: int) -> str:
    return time.strftime("%a %b %e %H:%M %Y", time.localtime(when))
