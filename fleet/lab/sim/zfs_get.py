"""`zfs get`: properties with their sources."""

from __future__ import annotations

import sys

from .zfs_list import depth_of, kinds_of, node_of, property_names, reach_of, select, value_of
from .zfs_props import PROPS, is_user, show
from .zfs_tree import Tree, load, received_of
from .zfs_usage import UsageError, options

_COLUMNS = ("name", "property", "value", "received", "source")
_SOURCES = ("local", "default", "inherited", "received", "temporary", "none")


def show_get(args: list[str]) -> int:
    """`zfs get`."""
    found, rest = options("get", args, "d:o:s:rt:Hp")
    kinds, given_kinds, depth = "fvsb", False, -1
    columns: list[str] = ["name", "property", "value", "source"]
    sources: set[str] = set(_SOURCES)
    for letter, value in found:
        if letter == "t":
            kinds, given_kinds = kinds_of("get", value), True
        elif letter == "d":
            depth = depth_of("get", value)
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
    reach = reach_of(names, kinds if given_kinds else "fvsb", "r" in flags, depth if "d" in flags else None)
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
    own = node_of(tree, name)
    keys = set(own["props"]) | set(received_of(own))
    while base:
        keys |= set(tree.datasets[base]["props"]) | set(received_of(tree.datasets[base]))
        base = base.rpartition("/")[0]
    return sorted(k for k in keys if is_user(k))


def _received(tree: Tree, name: str, key: str, literal: bool) -> str:
    stored = node_of(tree, name).get("received", {}).get(key)
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
