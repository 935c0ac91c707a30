"""`zfs snapshot` and `zfs bookmark`."""

from __future__ import annotations

from . import zfs_ops as ops
from .zfs_names import check_name, need
from .zfs_tree import Tree, ZfsError, changing
from .zfs_usage import UsageError, options, properties


def snapshot(args: list[str]) -> int:
    """`zfs snapshot`: all of them in one transaction group, or none."""
    found, rest = options("snapshot", args, "ro:")
    given = properties([value for letter, value in found if letter == "o"])
    recursive = ("r", "") in found
    if not rest:
        raise UsageError("snapshot", "missing snapshot argument")
    with changing(measured=True) as tree:
        names: dict[str, None] = {}
        for spec in rest:
            base, at, label = spec.partition("@")
            if not at:
                raise UsageError("snapshot")
            try:
                need(tree, base, "fv")
            except ZfsError as error:
                raise UsageError("snapshot", *error.lines) from None
            below = [one for one in tree.below(base) if not ops.partial(tree, one)] if recursive else []
            for one in [base, *below]:
                names.pop(f"{one}@{label}", None)
                names[f"{one}@{label}"] = None
        try:
            ops.snapshot(tree, list(names), given)
        except ZfsError as error:
            none = ["no snapshots were created"] if recursive or len(rest) > 1 else []
            raise ZfsError(*error.lines, *none) from None
    return 0


def bookmark(args: list[str]) -> int:
    """`zfs bookmark`."""
    _, rest = options("bookmark", args, "")
    if len(rest) < 2:
        raise UsageError("bookmark", "missing source argument" if not rest else "missing bookmark argument")
    source, target = _full_names(rest[0], rest[1])
    what = f"cannot create bookmark '{target}'"
    with changing() as tree:
        try:
            need(tree, source, "s" if "@" in source else "b")
        except ZfsError as error:
            raise UsageError("bookmark", *error.lines) from None
        check_name(what, target, "b")
        base = target.partition("#")[0]
        if base.partition("/")[0] != source.partition("/")[0].partition("@")[0].partition("#")[0]:
            raise ZfsError(f"{what}: bookmark is in a different pool")
        if base not in tree.datasets:
            raise ZfsError(f"{what}: dataset does not exist")
        if target in tree.bookmarks:
            raise ZfsError(f"{what}: bookmark exists")
        if not _is_ancestor(tree, source, base):
            raise ZfsError(f"{what}: source is not an ancestor of the new bookmark's dataset")
        node = tree.find(source)
        assert node is not None
        keys = ["guid", "txg", "created", "blocks"]
        if source.partition("@")[0].partition("#")[0] == base:
            keys.append("files")  # what a stream from the bookmark is compared with
        tree.bookmarks[target] = {key: node[key] for key in keys if key in node}
    return 0


def _is_ancestor(tree: Tree, source: str, base: str) -> bool:
    """Whether a snapshot or bookmark is of a dataset, or of what it was cloned from."""
    owner = source.partition("@")[0].partition("#")[0]
    one: str | None = base
    while one:
        if one == owner:
            return True
        origin = tree.datasets[one]["origin"]
        one = origin.partition("@")[0] if origin else None
    return False


def _full_names(source: str, target: str) -> tuple[str, str]:
    """Both names in full: one of them may lack the dataset, which is the other's."""
    if "@" not in source and "#" not in source:
        raise UsageError("bookmark", f"invalid source name '{source}': must contain a '@' or '#'")
    if "#" not in target:
        raise UsageError("bookmark", f"invalid bookmark name '{target}': must contain a '#'")
    if source[0] in "@#" and target[0] == "#":
        raise UsageError("bookmark", "either source or bookmark must be specified as full dataset paths")
    if target[0] == "#":
        return source, source.partition("@")[0].partition("#")[0] + target
    return (target.partition("#")[0] + source if source[0] in "@#" else source), target
