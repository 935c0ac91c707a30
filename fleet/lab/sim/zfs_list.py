"""`zfs list`: which datasets, which properties, their values, and the columns."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .zfs_names import need
from .zfs_props import PROPS, canonical, is_user, show
from .zfs_tree import Tree, ZfsError, load
from .zfs_usage import UsageError, options

_KINDS = {
    "filesystem": "f",
    "fs": "f",
    "volume": "v",
    "vol": "v",
    "snapshot": "s",
    "snap": "s",
    "bookmark": "b",
    "all": "fvsb",
}
_HIDDEN = ("inconsistent",)  # what `all` does not name
_LETTER = {"filesystem": "f", "volume": "v", "snapshot": "s", "bookmark": "b"}


def value_of(tree: Tree, name: str, key: str, literal: bool) -> tuple[str, str] | None:
    """(value, source) of a native or user property as printed; None where the dataset does not have it."""
    if key == "name":
        return name, "-"
    if key == "inconsistent":
        return str(int(bool(node_of(tree, name.partition("@")[0]).get("receiving", {}).get("new")))), "-"
    prop = PROPS.get(key)
    if prop is None:
        return tree.source(name, key) if "#" not in name else None
    kind = tree.kind(name)
    if _LETTER[kind] not in prop.types:
        return None
    if key == "volsize" and tree.kind(name.partition("@")[0]) != "volume":
        return None
    if key == "mounted":
        return "yes" if tree.datasets[name]["mounted"] else "no", "-"
    computed = _COMPUTED.get(key)
    if computed is None:
        found = tree.source(name, key)
        if found is None:
            return None
        value, source = found
        return show(key, value, literal), "-" if key in (
            "volsize",
            "volblocksize",
        ) and kind == "snapshot" else source
    figure = computed(tree, name)
    return None if figure is None else (show(key, figure, literal), "-")


def node_of(tree: Tree, name: str) -> dict[str, Any]:
    """The dataset, snapshot or bookmark of a name that exists."""
    node = tree.find(name)
    assert node is not None
    return node


def _clones(tree: Tree, name: str) -> str | None:
    return ",".join(tree.clones(name)) or None


def _resume_token(tree: Tree, name: str) -> str | None:
    if not tree.datasets[name].get("receiving", {}).get("resumable"):
        return None
    from . import zfs_token

    return zfs_token.of_dataset(tree, name)


def _children_used(tree: Tree, name: str) -> str:
    return str(
        tree.used(name)
        - tree.by_dataset(name)
        - tree.by_snapshots(name, tree.snaps(name))
        - tree.by_refreservation(name)
    )


_COMPUTED: dict[str, Callable[[Tree, str], str | None]] = {
    "type": lambda tree, name: tree.kind(name),
    "creation": lambda tree, name: str(node_of(tree, name)["created"]),
    "used": lambda tree, name: str(tree.used(name)),
    "available": lambda tree, name: str(tree.available(name)),
    "referenced": lambda tree, name: str(tree.referenced(node_of(tree, name))),
    "compressratio": lambda _tree, _name: "1.00x",
    "refcompressratio": lambda _tree, _name: "1.00x",
    "origin": lambda tree, name: tree.datasets[name]["origin"] or None,
    "clones": _clones,
    "receive_resume_token": _resume_token,
    "createtxg": lambda tree, name: str(node_of(tree, name)["txg"]),
    "objsetid": lambda tree, name: str(node_of(tree, name)["txg"] + 53),
    "guid": lambda tree, name: str(node_of(tree, name)["guid"]),
    "usedbydataset": lambda tree, name: str(tree.by_dataset(name)),
    "usedbysnapshots": lambda tree, name: str(tree.by_snapshots(name, tree.snaps(name))),
    "usedbychildren": _children_used,
    "usedbyrefreservation": lambda tree, name: str(tree.by_refreservation(name)),
    "written": lambda tree, name: str(tree.written(name)),
    "logicalused": lambda tree, name: str(tree.used(name)),
    "logicalreferenced": lambda tree, name: str(tree.referenced(node_of(tree, name))),
    "defer_destroy": lambda tree, name: "on" if node_of(tree, name).get("defer") else "off",
    "userrefs": lambda tree, name: str(len(node_of(tree, name)["holds"])),
    "filesystem_count": lambda _tree, _name: "none",
    "snapshot_count": lambda _tree, _name: "none",
}


def order(tree: Tree, name: str) -> tuple[str, bool, int, str]:
    """The sort key of a listing: by name, snapshots after their dataset and by age."""
    base, at, _ = name.partition("@")
    return base, bool(at), node_of(tree, name)["txg"] if at else 0, name


def select(
    tree: Tree, names: list[str], kinds: str, depth: int | None, below: str | None = None
) -> tuple[list[str], list[str]]:
    """(datasets in order, errors): those named, and down to `depth` levels below them.

    None is all levels, -1 none. What is named may be of `kinds`; below it only those of `below` are listed.
    """
    below = kinds if below is None else below
    errors: list[str] = []
    chosen: set[str] = set()
    recursing = depth is None or depth >= 0
    for given in names or sorted(tree.pools):
        try:
            name = _path_to_dataset(tree, given) if given.startswith(("/", "./")) else given
            need(tree, name, "fv" + kinds if recursing else kinds)
        except ZfsError as error:
            errors.append(str(error))
            continue
        if not recursing or "@" in name or "#" in name:
            chosen.add(name)
        else:
            chosen.update(_walk(tree, name, below, depth))
    return sorted(chosen, key=lambda n: order(tree, n)), errors


def _walk(tree: Tree, name: str, kinds: str, depth: int | None) -> list[str]:
    """A dataset and what is below it, of the wanted kinds; a snapshot is one level below its dataset."""
    base = name.count("/")
    found: list[str] = []
    for one in [name, *tree.below(name)]:
        level = one.count("/") - base
        if depth is not None and level > depth:
            continue
        if _LETTER[tree.kind(one)] in kinds:
            found.append(one)
        if depth is None or level < depth:
            found += tree.snaps(one) if "s" in kinds else []
            found += tree.marks(one) if "b" in kinds else []
    return found


def _path_to_dataset(tree: Tree, path: str) -> str:
    """The file system that a path is on."""
    import os

    from . import paths

    if not os.path.lexists(paths.real(path)):
        raise ZfsError(f"cannot open '{path}': No such file or directory")
    real = os.path.normpath(path)
    on = [
        (d["mounted"], n)
        for n, d in tree.datasets.items()
        if d["mounted"] and (real + "/").startswith(d["mounted"].rstrip("/") + "/")
    ]
    if not on:
        raise ZfsError(f"{path}: not a ZFS filesystem")
    return max(on)[1]


def property_names(verb: str, text: str) -> list[str]:
    """Full names of a comma list; `space` and unknown names as zfs takes them."""
    names: list[str] = []
    for given in text.split(","):
        if given == "space":
            names += [
                "name",
                "available",
                "used",
                "usedbysnapshots",
                "usedbydataset",
                "usedbyrefreservation",
                "usedbychildren",
            ]
            continue
        name = given if is_user(given) or given in _HIDDEN else canonical(given)
        if name is None:
            raise UsageError(verb, f"bad property list: invalid property '{given}'")
        names.append(name)
    return names


def kinds_of(verb: str, text: str) -> str:
    """The letters of the types that `-t` names."""
    for word in text.split(","):
        if word not in _KINDS:
            raise UsageError(verb, f"invalid type '{word}'")
    return "".join(_KINDS[word] for word in text.split(","))


def depth_of(verb: str, text: str) -> int:
    """The number that `-d` gives."""
    if not text.isdigit():
        raise UsageError(verb, f"{text} is not an integer")
    return int(text)


def show_list(args: list[str]) -> int:
    """`zfs list`."""
    found, names = options("list", args, "jHS:d:o:prs:t:", {"json": "j", "json-int": "int"})
    fields, kinds, given_kinds, depth = "name,used,available,referenced,mountpoint", "fvs", False, -1
    sort: list[tuple[str, bool]] = []
    for letter, value in found:
        if letter == "o":
            fields = value
        elif letter == "t":
            kinds, given_kinds = kinds_of("list", value), True
        elif letter == "d":
            depth = depth_of("list", value)
        elif letter in "sS":
            key = value if is_user(value) else canonical(value)
            if key is None:
                raise UsageError("list", f"invalid property '{value}'")
            sort.append((key, letter == "S"))
    flags = {letter for letter, _ in found}
    if "int" in flags and "j" not in flags:
        raise UsageError("list", "'--json-int' only works with '-j' option")
    keys = _list_keys(fields)
    reach = reach_of(names, kinds if given_kinds else "fvs", "r" in flags, depth if "d" in flags else None)
    below = "fv" if not given_kinds else kinds  # snapshots only when asked for: listsnapshots is off
    tree = load(measured=True)
    chosen, errors = select(tree, names, kinds, reach, below)
    for key, backwards in reversed(sort):
        chosen = _sorted(tree, chosen, key, backwards)
    if "j" not in flags:
        _print_rows(tree, chosen, keys, "H" in flags, "p" in flags)
    elif not errors:
        from . import zfs_json

        zfs_json.show(tree, chosen, keys, "p" in flags, "int" in flags)
    sys.stdout.flush()
    for error in errors:
        print(error, file=sys.stderr)
    if not chosen and not errors and "H" not in flags:
        print("no datasets available", file=sys.stderr)
    return 1 if errors else 0


def _list_keys(fields: str) -> list[str]:
    return ["name", *PROPS] if fields == "all" else property_names("list", fields)


def reach_of(names: list[str], kinds: str, recursive: bool, depth: int | None) -> int | None:
    """How deep to go: None everything below, -1 only what is named (see zfs_do_list and zfs_for_each)."""
    if depth is not None:
        return depth
    if recursive or not names:
        return None
    return 1 if set(kinds) in ({"s"}, {"b"}) else -1


def _sorted(tree: Tree, names: list[str], key: str, backwards: bool) -> list[str]:
    """Names in the order of a property, numbers as such; those without it are last either way."""
    values: dict[str, tuple[int, str]] = {}
    for name in names:
        found = value_of(tree, name, key, literal=True)
        if found is not None:
            values[name] = (int(found[0]) if found[0].isdigit() else 0, found[0])
    ordered = sorted((n for n in names if n in values), key=lambda n: values[n], reverse=backwards)
    return ordered + [name for name in names if name not in values]


def _print_rows(tree: Tree, names: list[str], keys: list[str], plain: bool, literal: bool) -> None:
    rows = [[(value_of(tree, name, key, literal) or ("-", ""))[0] for key in keys] for name in names]
    if plain:
        for row in rows:
            print("\t".join(row))
        return
    if not rows:
        return
    heads = [PROPS[key].column if key in PROPS else key.upper() for key in keys]
    right = [key in PROPS and PROPS[key].right for key in keys]
    widths = [_width(key, [row[i] for row in rows], literal) for i, key in enumerate(keys)]
    for row in [heads, *rows]:
        cells = [text.rjust(widths[i]) if right[i] else text.ljust(widths[i]) for i, text in enumerate(row)]
        if not right[-1]:
            cells[-1] = row[-1]
        print("  ".join(cells))


def _width(key: str, values: list[str], literal: bool) -> int:
    """The width of a column: fixed for numbers and lists, else the longest value."""
    prop = PROPS.get(key)
    start = prop.width if prop else len(key)
    if prop and not prop.flexible and not literal:
        return start
    return max(start, *(len(v) for v in values)) if values else start
