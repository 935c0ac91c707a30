"""`zfs diff`: what came, went, changed and moved between a snapshot and a later one, or what is there now.

ZFS knows a file by its number; here one that went and one that came are the same where size, mode and time of
change are.
"""

from __future__ import annotations

import os

from . import zfs_data, zfs_payload
from .zfs_control import NAME as CONTROL
from .zfs_names import check_name, need
from .zfs_tree import Tree, ZfsError, load
from .zfs_usage import UsageError, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .zfs_payload import Entry

_LETTERS = {"d": "/", "f": "F", "l": "@"}


def diff(args: list[str]) -> int:
    """`zfs diff`."""
    found, rest = options("diff", args, "FHth")
    flags = {letter for letter, _ in found}
    if not rest or len(rest) > 2:
        raise UsageError("diff", "too many arguments" if rest else "must provide at least one snapshot name")
    if "t" in flags:
        raise ZfsError("this lab does not simulate `zfs diff -t`")
    tree = load()
    old, new = _ends(tree, *rest)
    base = new.partition("@")[0]
    mount = tree.datasets[base]["mounted"] or f"/{base}"
    inside = {path[len(mount) + 1 :] for path in _mounted(tree, mount)}
    before = _tree(zfs_data.files(tree, old), inside)
    after = _tree(zfs_data.files(tree, new), inside)
    for mark, entry, moved in _changes(before, after):
        kind = f"{_LETTERS[entry['k']]}\t" if "F" in flags else ""
        words = [_shown(f"{mount}/{path}", "h" in flags) for path in (entry["p"], moved) if path is not None]
        print(f"{mark}\t{kind}" + ("\t" if "H" in flags else " -> ").join(words))
    return 0


def _mounted(tree: Tree, mount: str) -> list[str]:
    return [str(tree.datasets[name]["mounted"]) for name in zfs_data.mounted_below(tree, mount)]


def _ends(tree: Tree, first: str, second: str | None = None) -> tuple[str, str]:
    """The names in full of the snapshot and of what it is compared with."""
    if first[0] == "@" and second is None:
        raise UsageError("diff")
    base = (first if first[0] != "@" else second or "").partition("@")[0]
    need(tree, base, "f")
    if second is None:
        check_name(f"Badly formed snapshot name {first}", first, "s", new=False)
        second = base
    if "@" not in first or second.endswith("@"):
        raise ZfsError("Unable to determine which snapshots to compare: invalid name")
    old = first if first[0] != "@" else base + first
    new = second if second[0] != "@" else base + second
    if new.partition("@")[0] != base:
        raise ZfsError("Not an earlier snapshot from the same fs: invalid name")
    need(tree, old, "s")
    need(tree, new, "fs")
    if "@" in new and tree.snapshots[new]["txg"] <= tree.snapshots[old]["txg"]:
        raise ZfsError("Unable to obtain diffs: ", "   Not an earlier snapshot from the same fs")
    return old, new


def _tree(root: str, inside: set[str]) -> dict[str, Entry]:
    """What is in a file system, without what is mounted in it."""
    if not os.path.isdir(root):
        return {}
    return {
        path: entry
        for path, entry in zfs_payload.entries(root)
        if path.partition("/")[0] != CONTROL and not any(path.startswith(place + "/") for place in inside)
    }


def _changes(before: dict[str, Entry], after: dict[str, Entry]) -> list[tuple[str, Entry, str | None]]:
    """(what happened, entry, where it moved to) of all that differs."""
    came = {path: entry for path, entry in after.items() if path not in before}
    found: list[tuple[str, Entry, str | None]] = []
    for path in sorted(set(before) - set(after)):
        entry = before[path]
        moved = next((new for new, other in came.items() if _alike(entry, other)), None)
        if moved is None:
            found.append(("-", entry, None))
        else:
            del came[moved]
            found.append(("R", entry, moved))
    found += [("+", entry, None) for entry in came.values()]
    listed, was = _listings(after), _listings(before)
    for path, entry in after.items():
        if path in before and (
            {**before[path], "t": 0} != {**entry, "t": 0}
            or (entry["k"] == "f" and before[path]["t"] != entry["t"])
            or listed.get(path) != was.get(path)
        ):
            found.append(("M", entry, None))
    return found


def _alike(one: Entry, other: Entry) -> bool:
    return {**one, "p": ""} == {**other, "p": ""} and one["k"] == "f"


def _listings(entries: dict[str, Entry]) -> dict[str, list[str]]:
    """The names in each directory."""
    found: dict[str, list[str]] = {}
    for path in sorted(entries):
        if path:
            found.setdefault(path.rpartition("/")[0], []).append(path)
    return found


def _shown(path: str, plain: bool) -> str:
    """A path as it is printed: what is not plain ASCII as octal numbers."""
    if plain:
        return path
    return "".join(
        chr(byte) if 32 < byte < 127 and byte != 92 else f"\\{byte:04o}" for byte in os.fsencode(path)
    )
