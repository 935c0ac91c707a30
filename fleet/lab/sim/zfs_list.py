"""`zfs list` and `zfs get`: which datasets, which properties, and the columns."""

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
_COLUMNS = ("name", "property", "value", "received", "source")
_SOURCES = ("local", "default", "inherited", "received", "temporary", "none")
_LETTER = {"filesystem": "f", "volume": "v", "snapshot": "s", "bookmark": "b"}


def value_of(tree: Tree, name: str, key: str, literal: bool) -> tuple[str, str] | None:
    """(value, source) of a native or user property as printed; None where the dataset does not have it."""
    if key == "name":
        return name, "-"
    prop = PROPS.get(key)
    if prop is None:
        return tree.source(name, key) if "#" not in name else None
    kind = tree.kind(name)
    if _LETTER[kind] not in prop.types:
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


def _node(tree: Tree, name: str) -> dict[str, Any]:
    node = tree.find(name)
    assert node is not None
    return node


def _clones(tree: Tree, name: str) -> str:
    return ",".join(tree.clones(name))


def _children_used(tree: Tree, name: str) -> str:
    return str(
        tree.used(name)
        - tree.by_dataset(name)
        - tree.by_snapshots(name, tree.snaps(name))
        - tree.by_refreservation(name)
    )


_COMPUTED: dict[str, Callable[[Tree, str], str | None]] = {
    "type": lambda tree, name: tree.kind(name),
    "creation": lambda tree, name: str(_node(tree, name)["created"]),
    "used": lambda tree, name: str(tree.used(name)),
    "available": lambda tree, name: str(tree.available(name)),
    "referenced": lambda tree, name: str(tree.referenced(_node(tree, name))),
    "compressratio": lambda _tree, _name: "1.00x",
    "refcompressratio": lambda _tree, _name: "1.00x",
    "origin": lambda tree, name: tree.datasets[name]["origin"] or None,
    "clones": _clones,
    "createtxg": lambda tree, name: str(_node(tree, name)["txg"]),
    "objsetid": lambda tree, name: str(_node(tree, name)["txg"] + 53),
    "guid": lambda tree, name: str(_node(tree, name)["guid"]),
    "usedbydataset": lambda tree, name: str(tree.by_dataset(name)),
    "usedbysnapshots": lambda tree, name: str(tree.by_snapshots(name, tree.snaps(name))),
    "usedbychildren": _children_used,
    "usedbyrefreservation": lambda tree, name: str(tree.by_refreservation(name)),
    "written": lambda tree, name: str(tree.written(name)),
    "logicalused": lambda tree, name: str(tree.used(name)),
    "logicalreferenced": lambda tree, name: str(tree.referenced(_node(tree, name))),
    "defer_destroy": lambda _tree, _name: "off",
    "userrefs": lambda tree, name: str(len(_node(tree, name)["holds"])),
    "filesystem_count": lambda _tree, _name: "none",
    "snapshot_count": lambda _tree, _name: "none",
}


def order(tree: Tree, name: str) -> tuple[str, bool, int, str]:
    """The sort key of a listing: by name, snapshots after their dataset and by age."""
    base = name.partition("@")[0].partition("#")[0]
    return base, name != base, _node(tree, name)["txg"] if name != base else 0, name


def select(tree: Tree, names: list[str], kinds: str, depth: int | None) -> tuple[list[str], list[str]]:
    """(datasets in order, errors): those named, and down to `depth` levels below them.

    None is all levels, -1 none.
    """
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
            chosen.update(_walk(tree, name, kinds, depth))
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
        name = given if is_user(given) else canonical(given)
        if name is None:
            raise UsageError(verb, f"bad property list: invalid property '{given}'")
        names.append(name)
    return names


def _kinds(verb: str, text: str) -> str:
    for word in text.split(","):
        if word not in _KINDS:
            raise UsageError(verb, f"invalid type '{word}'")
    return "".join(_KINDS[word] for word in text.split(","))


def _depth(verb: str, text: str) -> int:
    if not text.isdigit():
        raise UsageError(verb, f"{text} is not an integer")
    return int(text)


def show_list(args: list[str]) -> int:
    """`zfs list`."""
    found, names = options("list", args, "HS:d:o:prs:t:")
    fields, kinds, given_kinds, depth = "name,used,available,referenced,mountpoint", "fvs", False, -1
    sort: list[tuple[str, bool]] = []
    for letter, value in found:
        if letter == "o":
            fields = value
        elif letter == "t":
            kinds, given_kinds = _kinds("list", value), True
        elif letter == "d":
            depth = _depth("list", value)
        elif letter in "sS":
            key = value if is_user(value) else canonical(value)
            if key is None:
                raise UsageError("list", f"invalid property '{value}'")
            sort.append((key, letter == "S"))
    flags = {letter for letter, _ in found}
    keys = _list_keys(fields)
    reach = _reach(names, kinds if given_kinds else "fvs", "r" in flags, depth if "d" in flags else None)
    if not given_kinds and (not names or reach != -1):
        kinds = "fv"  # snapshots are listed only when asked for (the pool's listsnapshots is off)
    tree = load(measured=True)
    chosen, errors = select(tree, names, kinds, reach)
    for key, backwards in reversed(sort):
        chosen.sort(key=lambda n, key=key: _sortable(tree, n, key), reverse=backwards)  # type: ignore[misc]
    _print_rows(tree, chosen, keys, "H" in flags, "p" in flags)
    sys.stdout.flush()
    for error in errors:
        print(error, file=sys.stderr)
    if not chosen and not errors and "H" not in flags:
        print("no datasets available", file=sys.stderr)
    return 1 if errors else 0


def _list_keys(fields: str) -> list[str]:
    return ["name", *PROPS] if fields == "all" else property_names("list", fields)


def _reach(names: list[str], kinds: str, recursive: bool, depth: int | None) -> int | None:
    """How deep to go: None everything below, -1 only what is named (see zfs_do_list and zfs_for_each)."""
    if depth is not None:
        return depth
    if recursive or not names:
        return None
    return 1 if set(kinds) in ({"s"}, {"b"}) else -1


def _sortable(tree: Tree, name: str, key: str) -> tuple[bool, int, str]:
    """A value to sort by: numbers as such, absent values last."""
    found = value_of(tree, name, key, literal=True)
    if found is None:
        return True, 0, ""
    return False, int(found[0]) if found[0].isdigit() else 0, found[0]


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


def show_get(args: list[str]) -> int:
    """`zfs get`."""
    found, rest = options("get", args, "d:o:s:rt:Hp")
    kinds, given_kinds, depth = "fvsb", False, -1
    columns: list[str] = ["name", "property", "value", "source"]
    sources: set[str] = set(_SOURCES)
    for letter, value in found:
        if letter == "t":
            kinds, given_kinds = _kinds("get", value), True
        elif letter == "d":
            depth = _depth("get", value)
        elif letter == "o":
            columns = list(_COLUMNS) if value == "all" else value.split(",")
            bad = [c for c in columns if c not in _COLUMNS]
            if bad:
                raise UsageError("get", f"invalid column name '{bad[0]}'")
        elif letter == "s":
            sources = set(value.split(","))
            if sources - set(_SOURCES):
                raise UsageError("get", f"invalid source '{min(sources - set(_SOURCES))}'")
    if not rest:
        raise UsageError("get", "missing property argument")
    flags = {letter for letter, _ in found}
    everything = rest[0] == "all"
    keys = list(PROPS) if everything else property_names("get", rest[0])
    names = rest[1:]
    reach = _reach(names, kinds if given_kinds else "fvsb", "r" in flags, depth if "d" in flags else None)
    tree = load(measured=True)
    chosen, errors = select(tree, names, kinds, reach)
    rows = [
        row
        for name in chosen
        for row in _get_rows(tree, name, keys, everything, "p" in flags)
        if _source_kind(row["source"]) in sources
    ]
    _print_get(rows, chosen, columns, keys, "H" in flags)
    sys.stdout.flush()
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


def _source_kind(source: str) -> str:
    return "none" if source == "-" else source.split(maxsplit=1)[0]


def _get_rows(
    tree: Tree, name: str, keys: list[str], everything: bool, literal: bool
) -> list[dict[str, str]]:
    """The rows of one dataset; `all` leaves out what does not apply and adds the user properties."""
    names = [*keys, *(_user_keys(tree, name) if everything else [])]
    rows = []
    for key in names:
        found = value_of(tree, name, key, literal)
        if found is None and everything:
            continue
        value, source = found or ("-", "-")
        received = _received(tree, name, key, literal)
        rows.append({"name": name, "property": key, "value": value, "source": source, "received": received})
    return rows


def _user_keys(tree: Tree, name: str) -> list[str]:
    """The user properties that a dataset has or inherits, sorted."""
    if "#" in name:
        return []
    base = name.partition("@")[0]
    keys = set(_node(tree, name)["props"])
    while base:
        keys |= set(tree.datasets[base]["props"]) | set(tree.datasets[base]["received"])
        base = base.rpartition("/")[0]
    return sorted(k for k in keys if is_user(k))


def _received(tree: Tree, name: str, key: str, literal: bool) -> str:
    stored = _node(tree, name).get("received", {}).get(key)
    return "-" if stored is None else show(key, stored, literal) if key in PROPS else stored


def _print_get(
    rows: list[dict[str, str]], names: list[str], columns: list[str], keys: list[str], plain: bool
) -> None:
    if plain or not rows:
        for row in rows:
            print("\t".join(row[c] for c in columns))
        return
    longest = max([4, *(len(n) for n in names)])
    native = [k for k in keys if k in PROPS]
    widths = {
        "name": longest,
        "property": max([8, *(len(k) for k in keys), *(len(r["property"]) for r in rows)]),
        "value": max(
            [
                5,
                *(PROPS[k].width for k in native),
                *(
                    len(r["value"])
                    for r in rows
                    if r["property"] not in PROPS or PROPS[r["property"]].flexible
                ),
            ]
        ),
        "received": max([8, *(len(r["received"]) for r in rows)]),
        "source": longest + 14 if longest > 4 else 6,
    }
    for row in [{c: c.upper() for c in columns}, *rows]:
        cells = [row[c].ljust(widths[c]) for c in columns[:-1]]
        print("  ".join([*cells, row[columns[-1]]]))
