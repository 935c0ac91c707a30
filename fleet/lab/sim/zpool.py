"""`zpool`: list, status, get, scrub; what only real disks have is not simulated."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from . import clock, machine
from .zfs_props import nice
from .zfs_tree import Tree, ZfsError, changing, load
from .zfs_usage import properties

_USAGE = {
    "list": "\tlist [-gHLpPv] [-j [--json-int, --json-pool-key-guid]] [-o property[,...]] [-T d|u] [pool] "
    "... \n"
    "\t    [interval [count]]\n",
    "status": "\tstatus [-dDegiLPpstvx] [-c script1[,script2,...]] ...\n\t    [-j|--json [--json-flat-vdevs] "
    "[--json-int] "
    "[--json-pool-key-guid]] ...\n\t    [-T d|u] [pool] [interval [count]]\n",
    "get": '\tget [-Hp] [-j [--json-int, --json-pool-key-guid]] [-o "all" | field[,...]] '
    '<"all" | property[,...]> <pool> ...\n',
    "set": "\tset <property=value> <pool>\n",
    "scrub": "\tscrub [-e | -s | -p | -C] [-w] <-a | <pool> [<pool> ...]>\n",
    "version": "\tversion [-j]\n",
}
_COLUMNS = {
    "name": ("NAME", False),
    "size": ("SIZE", True),
    "allocated": ("ALLOC", True),
    "free": ("FREE", True),
    "checkpoint": ("CKPOINT", True),
    "expandsize": ("EXPANDSZ", True),
    "fragmentation": ("FRAG", True),
    "capacity": ("CAP", True),
    "dedupratio": ("DEDUP", True),
    "health": ("HEALTH", True),
    "altroot": ("ALTROOT", False),
    "guid": ("GUID", True),
    "ashift": ("ASHIFT", True),
    "autotrim": ("AUTOTRIM", False),
    "readonly": ("RDONLY", False),
    "autoexpand": ("EXPAND", False),
    "autoreplace": ("REPLACE", False),
    "comment": ("COMMENT", False),
    "delegation": ("DELEGATION", False),
    "failmode": ("FAILMODE", False),
    "listsnapshots": ("LISTSNAPS", False),
    "leaked": ("LEAKED", True),
    "freeing": ("FREEING", True),
    "version": ("VERSION", True),
    "bootfs": ("BOOTFS", False),
    "cachefile": ("CACHEFILE", False),
    "multihost": ("MULTIHOST", False),
    "compatibility": ("COMPATIBILITY", False),
    "load_guid": ("LOAD_GUID", True),
}
_ALIASES = {
    "alloc": "allocated",
    "cap": "capacity",
    "frag": "fragmentation",
    "expandsz": "expandsize",
    "dedup": "dedupratio",
    "ckpoint": "checkpoint",
    "listsnaps": "listsnapshots",
    "rdonly": "readonly",
    "expand": "autoexpand",
    "replace": "autoreplace",
}
_SETTABLE = {
    "ashift": "0",
    "autotrim": "off",
    "autoexpand": "off",
    "autoreplace": "off",
    "comment": "-",
    "delegation": "on",
    "failmode": "wait",
    "listsnapshots": "off",
    "bootfs": "-",
    "cachefile": "-",
    "multihost": "off",
    "compatibility": "off",
    "altroot": "-",
}
_GET_ORDER = (
    "size",
    "capacity",
    "altroot",
    "health",
    "guid",
    "version",
    "bootfs",
    "delegation",
    "autoreplace",
    "cachefile",
    "failmode",
    "listsnapshots",
    "autoexpand",
    "dedupratio",
    "free",
    "allocated",
    "readonly",
    "ashift",
    "comment",
    "expandsize",
    "freeing",
    "fragmentation",
    "leaked",
    "multihost",
    "checkpoint",
    "load_guid",
    "autotrim",
    "compatibility",
)


class _Usage(ZfsError):
    def __init__(self, verb: str, message: str) -> None:
        super().__init__(message, f"usage:\n{_USAGE[verb].rstrip(chr(10))}", code=2)


def _options(verb: str, args: list[str], spec: str) -> tuple[list[tuple[str, str]], list[str]]:
    import getopt

    try:
        found, rest = getopt.gnu_getopt(args, spec)
    except getopt.GetoptError as error:
        letter = error.opt[:1] or "-"
        message = (
            f"missing argument for '{letter}' option"
            if letter + ":" in spec
            else f"invalid option '{letter}'"
        )
        raise _Usage(verb, message) from None
    return [(letter[1:], value) for letter, value in found], rest


def value_of(tree: Tree, pool: str, key: str, literal: bool) -> tuple[str, str]:
    """(value, source) of a pool's property."""
    node = tree.pools[pool]
    size, used = int(node["size"]), tree.used(pool)

    def number(value: int) -> str:
        return str(value) if literal else nice(value)

    computed = {
        "name": pool,
        "size": number(size),
        "allocated": number(used),
        "free": number(size - used),
        "checkpoint": "-",
        "expandsize": "-",
        "fragmentation": "0" if literal else "0%",
        "health": _health(pool),
        "guid": str(node["guid"]),
        "capacity": f"{used * 100 // size}{'' if literal else '%'}",
        "dedupratio": "1.00" if literal else "1.00x",
        "leaked": "0",
        "freeing": "0",
        "version": "-",
        "readonly": "off",
        "load_guid": str(node["guid"]),
    }
    if key in computed:
        return computed[key], "default" if key in ("version",) else "-"
    props: dict[str, Any] = node.get("props", {})
    return (str(props[key]), "local") if key in props else (_SETTABLE[key], "default")


def _health(pool: str) -> str:
    """ONLINE unless the lab was told otherwise (faults.json: {"pool_health": {POOL: "DEGRADED"}})."""
    return str(machine.faults().get("pool_health", {}).get(pool, "ONLINE"))


def _pools(tree: Tree, names: list[str]) -> tuple[list[str], list[str]]:
    """(the pools named, or all; errors)."""
    found = [n for n in names or sorted(tree.pools) if n in tree.pools]
    return found, [f"cannot open '{n}': no such pool" for n in names if n not in tree.pools]


def _keys(verb: str, text: str) -> list[str]:
    keys = [_ALIASES.get(word, word) for word in text.split(",")]
    bad = [key for key in keys if key not in _COLUMNS]
    if bad:
        raise _Usage(verb, f"bad property list: invalid property '{bad[0]}'")
    return keys


def _list(args: list[str]) -> int:
    found, names = _options("list", args, "gHLpPvo:T:")
    flags = {letter for letter, _ in found}
    default = (
        "name,size,allocated,free,checkpoint,expandsize,fragmentation,capacity,dedupratio,health,altroot"
    )
    keys = _keys("list", next((value for letter, value in found if letter == "o"), default))
    tree = load(measured=True)
    pools, problems = _pools(tree, names)
    rows = [[value_of(tree, pool, key, "p" in flags)[0] for key in keys] for pool in pools]
    if "H" in flags:
        for row in rows:
            print("\t".join(row))
    elif rows:
        widths = [
            max(len(_COLUMNS[k][0]), *(len(r[i]) for r in rows), 5 if _COLUMNS[k][1] and k != "health" else 0)
            for i, k in enumerate(keys)
        ]
        for row in [[_COLUMNS[k][0] for k in keys], *rows]:
            cells = [
                cell.rjust(w) if _COLUMNS[k][1] else cell.ljust(w)
                for cell, w, k in zip(row, widths, keys, strict=True)
            ]
            print("  ".join(cells).rstrip() if not _COLUMNS[keys[-1]][1] else "  ".join(cells))
    code = _finish(problems, not pools and not names and "H" not in flags)
    return 0 if pools else code  # a pool that is there makes up for those that are not


def _finish(problems: list[str], none: bool) -> int:
    """Say what was not found; the exit code."""
    sys.stdout.flush()
    for problem in problems:
        print(problem, file=sys.stderr)
    if none:
        print("no pools available")
    return 1 if problems else 0


def _status(args: list[str]) -> int:
    found, names = _options("status", args, "dDegiLPpstvxc:T:")
    tree = load(measured=True)
    pools, problems = _pools(tree, names)
    only_bad = ("x", "") in found
    if only_bad and not problems:
        bad = [pool for pool in pools if _health(pool) != "ONLINE"]
        if not bad:
            print(
                "all pools are healthy"
                if not names
                else "\n".join(f"pool '{pool}' is healthy" for pool in pools)
            )
            return 0
        pools = bad
    print("\n".join(_pool_status(tree, pool) for pool in pools), end="")
    return _finish(problems, not pools and not names)


def _pool_status(tree: Tree, pool: str) -> str:
    health = _health(pool)
    scan = tree.pools[pool].get("scrubbed")
    when = (
        f"  scan: scrub repaired 0B in 00:00:01 with 0 errors on "
        f"{time.strftime('%a %b %e %H:%M:%S %Y', time.localtime(scan))}\n"
        if scan
        else ""
    )
    more = {
        "ONLINE": "",
        "DEGRADED": "status: One or more devices are faulted in response to persistent errors.\n"
        "\tSufficient replicas exist for the pool to continue functioning in a\n\tdegraded state.\n"
        "action: Replace the faulted device, or use 'zpool clear' to mark the device\n\trepaired.\n",
    }.get(health, "")
    disk = f"ata-{pool.upper()}_DISK1"
    width = max(len(pool), len(disk) + 2)
    rows = "".join(
        f"\t{name:<{width}}  {state:<8} {'0':>5} {'0':>5} {'0':>5}\n"
        for name, state in ((pool, health), (f"  {disk}", "ONLINE" if health == "ONLINE" else "FAULTED"))
    )
    return (
        f"  pool: {pool}\n state: {health}\n{more}{when}config:\n\n\t{'NAME':<{width}}  STATE     READ WRITE "
        f"CKSUM\n{rows}\n"
        "errors: No known data errors\n"
    )


def _get(args: list[str]) -> int:
    found, rest = _options("get", args, "Hpo:")
    flags = {letter for letter, _ in found}
    columns = next((value for letter, value in found if letter == "o"), "name,property,value,source").split(
        ","
    )
    if columns == ["all"]:
        columns = ["name", "property", "value", "source"]
    bad = [c for c in columns if c not in ("name", "property", "value", "source")]
    if bad:
        raise _Usage("get", f"invalid column name '{bad[0]}'")
    if not rest:
        raise _Usage("get", "missing property argument")
    keys = list(_GET_ORDER) if rest[0] == "all" else _keys("get", rest[0])
    tree = load(measured=True)
    pools, problems = _pools(tree, rest[1:])
    rows = []
    for pool in pools:
        for key in keys:
            value, source = value_of(tree, pool, key, "p" in flags)
            rows.append({"name": pool, "property": key, "value": value, "source": source})
    if "H" in flags:
        for row in rows:
            print("\t".join(row[c] for c in columns))
    elif rows:
        table = [{c: c.upper() for c in columns}, *rows]
        widths = {c: max(len(r[c]) for r in table) for c in columns}
        for row in table:
            print("  ".join([*(row[c].ljust(widths[c]) for c in columns[:-1]), row[columns[-1]]]))
    return _finish(problems, none=False)


def _set(args: list[str]) -> int:
    _, rest = _options("set", args, "")
    if len(rest) < 2:
        raise _Usage("set", "missing pool name" if rest else "missing property=value argument")
    given = properties([rest[0]])
    with changing() as tree:
        for pool in rest[1:]:
            if pool not in tree.pools:
                raise ZfsError(f"cannot open '{pool}': no such pool")
            for key, value in given.items():
                name = _ALIASES.get(key, key)
                if name not in _SETTABLE:
                    known = name in _COLUMNS
                    raise ZfsError(
                        f"cannot set property for '{pool}': "
                        + (f"'{key}' is readonly" if known else f"invalid property '{key}'")
                    )
                tree.pools[pool].setdefault("props", {})[name] = value
    return 0


def _scrub(args: list[str]) -> int:
    found, names = _options("scrub", args, "espCwa")
    if not names and ("a", "") not in found:
        raise _Usage("scrub", "missing pool name argument")
    with changing() as tree:
        for pool in names or sorted(tree.pools):
            if pool not in tree.pools:
                raise ZfsError(f"cannot open '{pool}': no such pool")
            if ("s", "") in found:
                raise ZfsError(f"cannot cancel scrubbing {pool}: there is no active scrub")
            tree.pools[pool]["scrubbed"] = int(clock.now())
    return 0


def _version(args: list[str]) -> int:
    from . import zfs

    _options("version", args, "")
    return zfs.run(["version"])


_VERBS: dict[str, Callable[[list[str]], int]] = {
    "list": _list,
    "status": _status,
    "get": _get,
    "set": _set,
    "scrub": _scrub,
    "version": _version,
}


def _usage() -> str:
    return (
        "usage: zpool command args ...\nwhere 'command' is one of the following:\n\n"
        + "".join(_USAGE.values())
        + "\nFor further help on a command or topic, run: zpool help [<topic>]\n"
    )


def main(argv: list[str]) -> int:
    """The command `zpool`."""
    try:
        if len(argv) < 2:
            raise ZfsError("missing command", _usage().rstrip("\n"), code=2)
        if argv[1] in ("help", "--help", "-?", "-h"):
            sys.stdout.write(_usage())
            return 0
        if argv[1] in ("-V", "--version"):
            return _version([])
        if argv[1] not in _VERBS:
            raise ZfsError(f"unrecognized command '{argv[1]}'", _usage().rstrip("\n"), code=2)
        return _VERBS[argv[1]](argv[2:])
    except ZfsError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        return error.code
