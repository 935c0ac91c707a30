"""`zfs`: the verbs that change datasets; listing is in zfs_list."""

from __future__ import annotations

import sys
from collections.abc import Callable

from . import zfs_ops as ops
from .zfs_props import PROPS, ZERO_IS_NONE, BadValue, canonical, is_user, nice, parse_size
from .zfs_tree import Tree, ZfsError, changing, load

_USAGE = {
    "clone": "\tclone [-p[p]u] [-o property=value] ... <snapshot> <filesystem|volume>\n",
    "create": (
        "\tcreate [-Pnp[p]uv] [-o property=value] ... <filesystem>\n"
        "\tcreate [-Pnp[p]sv] [-b blocksize] [-o property=value] ... -V <size> <volume>\n"
    ),
    "destroy": (
        "\tdestroy [-fnpRrv] <filesystem|volume>\n"
        "\tdestroy [-dnpRrv] <filesystem|volume>@<snap>[%<snap>][,...]\n"
        "\tdestroy <filesystem|volume>#<bookmark>\n"
    ),
    "inherit": "\tinherit [-rS] <property> <filesystem|volume|snapshot> ...\n",
    "promote": "\tpromote <clone-filesystem>\n",
    "rename": (
        "\trename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>\n"
        "\trename -p[p] [-f] <filesystem|volume> <filesystem|volume>\n"
        "\trename -u [-f] <filesystem> <filesystem>\n"
        "\trename -r <snapshot> <snapshot>\n"
    ),
    "bookmark": "\tbookmark [-r] <snapshot|bookmark> <newbookmark>\n",
    "list": (
        "\tlist [-Hp] [-j [--json-int]] [-r|-d max] [-o property[,...]] [-s property]...\n"
        "\t    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ...\n"
    ),
    "set": "\tset [-u] <property=value> ... <filesystem|volume|snapshot> ...\n",
    "get": (
        '\tget [-rHp] [-j [--json-int]] [-d max] [-o "all" | field[,...]]\n'
        "\t    [-t type[,...]] [-s source[,...]]\n"
        '\t    <"all" | property[,...]> [filesystem|volume|snapshot|bookmark] ...\n'
    ),
    "mount": "\tmount [-j]\n\tmount [-flvO] [-o opts] <-a|-R filesystem|filesystem>\n",
    "unmount": "\tunmount [-fu] <-a | filesystem|mountpoint>\n",
    "rollback": "\trollback [-rRf] <snapshot>\n",
    "snapshot": "\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...\n",
    "hold": "\thold [-r] <tag> <snapshot> ...\n",
    "holds": "\tholds [-rHp] <snapshot> ...\n",
    "release": "\trelease [-r] <tag> <snapshot> ...\n",
    "version": "\tversion [-j]\n",
}
_ALIASES = {"snap": "snapshot", "umount": "unmount"}


class UsageError(ZfsError):
    """A wrong call: the message and the verb's usage on stderr, exit 2."""

    def __init__(self, verb: str, *lines: str) -> None:
        super().__init__(*lines, usage(verb).rstrip("\n"), code=2)


def usage(verb: str) -> str:
    """The usage text of a verb, of all of zfs for an empty one."""
    if not verb:
        return (
            "usage: zfs command args ...\nwhere 'command' is one of the following:\n\n"
            + "".join(["\tversion [-j]\n\n", *(text for name, text in _USAGE.items() if name != "version")])
            + "\nEach dataset is of the form: pool/[dataset/]*dataset[@name]\n"
            + _more_help()
        )
    text = f"usage:\n{_USAGE[verb]}"
    return text + (_property_list() if verb in ("set", "get", "inherit", "list") else _more_help())


def _more_help() -> str:
    return (
        "\nFor the property list, run: zfs set|get\n"
        "\nFor the delegated permission list, run: zfs allow|unallow\n"
        "\nFor further help on a command or topic, run: zfs help [<topic>]\n"
    )


def _property_list() -> str:
    lines = [
        "",
        "The following properties are supported:",
        "",
        f"\t{'PROPERTY':<21} EDIT  INHERIT   VALUES",
        "",
    ]
    for prop in sorted(PROPS.values(), key=lambda p: (p.how != "r", p.name)):
        edit = " NO    " if prop.how == "r" else "YES    "
        lines.append(f"\t{prop.name:<22} {edit}{'  YES   ' if prop.how == 'i' else '   NO   '}{prop.values}")
    return "\n".join(
        [
            *lines,
            "",
            "Sizes are specified in bytes with standard units such as K, M, G, etc.",
            "",
            "User-defined properties can be specified by using a name containing a colon (:).",
            "",
        ]
    )


def options(verb: str, args: list[str], spec: str) -> tuple[list[tuple[str, str]], list[str]]:
    """([(letter, value)], operands) by glibc's getopt, which takes options anywhere; `spec` as for getopt."""
    import getopt

    wants_value = {c for i, c in enumerate(spec) if spec[i + 1 : i + 2] == ":"}
    try:
        found, rest = getopt.gnu_getopt(args, spec)
    except getopt.GetoptError as error:
        if error.opt and error.opt[0] in wants_value:
            what = (
                "missing size argument" if verb == "create" else f"missing argument for '{error.opt}' option"
            )
            raise UsageError(verb, what) from None
        raise UsageError(verb, f"invalid option '{error.opt[:1] or '-'}'") from None
    return [(letter[1:], value) for letter, value in found], rest


def one_operand(verb: str, rest: list[str], what: str) -> str:
    """The only operand, or a usage error."""
    if not rest:
        raise UsageError(verb, f"missing {what} argument")
    if len(rest) > 1:
        raise UsageError(verb, "too many arguments")
    return rest[0]


def properties(pairs: list[str]) -> dict[str, str]:
    """{name: value} of property=value words."""
    result: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ZfsError("missing '=' for property=value argument")
        if name in result:
            raise ZfsError(f"property '{name}' specified multiple times")
        result[name] = value
    return result


def _size(what: str, text: str) -> int:
    try:
        return parse_size(text)
    except BadValue as error:
        raise ZfsError(f"bad {what} '{text}': {error}") from None


def _create(args: list[str]) -> int:
    found, rest = options("create", args, "PV:b:nso:puv")
    flags = {letter for letter, _ in found}
    given = properties([value for letter, value in found if letter == "o"])
    volsize = next((_size("volume size", v) for k, v in found if k == "V"), None)
    for letter, value in found:
        if letter == "b":
            given["volblocksize"] = str(_size("volume block size", value))
    if flags & {"b", "s"} and volsize is None:
        raise UsageError("create", "'-s' and '-b' can only be used when creating a volume")
    if "u" in flags and volsize is not None:
        raise UsageError("create", "'-u' can only be used when creating a filesystem")
    name = one_operand("create", rest, "filesystem" if volsize is None else "volume")
    with changing() as tree:
        if "p" in flags:
            if name in tree.datasets:
                return 0
            if "n" not in flags:
                ops.create_ancestors(tree, name)
        if flags & {"n", "v", "P"}:
            word = "create\t" if "P" in flags else "would create " if "n" in flags else "create "
            print(f"{word}{name}")
        if "n" not in flags:
            ops.create(tree, name, given, volsize=volsize, sparse="s" in flags, mounting="u" not in flags)
    return 0


def _destroy(args: list[str]) -> int:
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
    ops.need(tree, name, "fv")
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
    ops.need(tree, base, "fv")
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


def _snapshot(args: list[str]) -> int:
    found, rest = options("snapshot", args, "ro:")
    given = properties([value for letter, value in found if letter == "o"])
    if not rest:
        raise UsageError("snapshot", "missing snapshot argument")
    with changing() as tree:
        names: list[str] = []
        for spec in rest:
            base, at, label = spec.partition("@")
            if not at:
                raise UsageError("snapshot")
            ops.need(tree, base, "fv")
            below = tree.below(base) if ("r", "") in found else []
            names += [f"{one}@{label}" for one in [base, *below]]
        ops.snapshot(tree, names, given)
    return 0


def _rollback(args: list[str]) -> int:
    found, rest = options("rollback", args, "rRf")
    flags = {letter for letter, _ in found}
    name = one_operand("rollback", rest, "dataset")
    with changing() as tree:
        ops.rollback(tree, name, recursive=bool(flags & {"r", "R"}), with_clones="R" in flags)
    return 0


def _clone(args: list[str]) -> int:
    found, rest = options("clone", args, "o:pu")
    if not rest:
        raise UsageError("clone", "missing source dataset argument")
    if len(rest) == 1:
        raise UsageError("clone", "missing target dataset argument")
    if len(rest) > 2:
        raise UsageError("clone", "too many arguments")
    given = properties([value for letter, value in found if letter == "o"])
    flags = {letter for letter, _ in found}
    with changing() as tree:
        ops.need(tree, rest[0], "s")
        if "p" in flags:
            ops.create_ancestors(tree, rest[1])
        ops.clone(tree, rest[0], rest[1], given, mounting="u" not in flags)
    return 0


def _promote(args: list[str]) -> int:
    _, rest = options("promote", args, "")
    if not rest:
        raise UsageError("promote", "missing clone filesystem argument")
    name = one_operand("promote", rest, "clone filesystem")
    with changing() as tree:
        ops.need(tree, name, "fv")
        ops.promote(tree, name)
    return 0


def _rename(args: list[str]) -> int:
    found, rest = options("rename", args, "fpru")
    flags = {letter for letter, _ in found}
    if not rest:
        raise UsageError("rename", "missing source dataset argument")
    if len(rest) == 1:
        raise UsageError("rename", "missing target dataset argument")
    if len(rest) > 2:
        raise UsageError("rename", "too many arguments")
    if {"r", "p"} <= flags:
        raise UsageError("rename", "-p and -r options are mutually exclusive")
    if "r" in flags and "@" not in rest[0]:
        raise UsageError("rename", "source dataset for recursive rename must be a snapshot")
    with changing() as tree:
        ops.need(tree, rest[0], "s" if "r" in flags else "fv" if "p" in flags else "fvs")
        ops.rename(tree, rest[0], rest[1], recursive="r" in flags, parents="p" in flags)
    return 0


def _set(args: list[str]) -> int:
    _, rest = options("set", args, "u")
    if not rest:
        raise UsageError("set", "missing arguments")
    split = next((i for i, word in enumerate(rest) if "=" not in word), len(rest))
    if split == 0:
        raise UsageError("set", "missing property=value argument(s)")
    if split == len(rest):
        raise UsageError("set", "missing dataset name(s)")
    if any("=" in word for word in rest[split:]):
        raise UsageError("set", "invalid argument order")
    given = properties(rest[:split])
    return _each(rest[split:], lambda tree, name: ops.set_props(tree, name, given))


def _each(names: list[str], act: Callable[[Tree, str], None]) -> int:
    """Do something to each dataset named; one failure does not stop the rest."""
    code = 0
    for name in names:
        try:
            with changing() as tree:
                ops.need(tree, name)
                act(tree, name)
        except UsageError:
            raise
        except ZfsError as error:
            print(error, file=sys.stderr)
            code = 1
    return code


def _inherit(args: list[str]) -> int:
    found, rest = options("inherit", args, "rS")
    if not rest:
        raise UsageError("inherit", "missing property argument")
    if len(rest) < 2:
        raise UsageError("inherit", "missing dataset argument")
    given, received = rest[0], ("S", "") in found
    name = given if is_user(given) else canonical(given)
    if name is None:
        raise UsageError("inherit", f"invalid property '{given}'")
    prop = PROPS.get(name)
    if prop and prop.how == "r":
        raise ZfsError(f"{given} property is read-only")
    if prop and prop.how != "i" and not received:
        more = (
            (
                f"use 'zfs set {given}=none' to clear",
                f"use 'zfs inherit -S {given}' to revert to received value",
            )
            if name in ZERO_IS_NONE
            else ()
        )
        raise ZfsError(f"'{given}' property cannot be inherited", *more)

    def act(tree: Tree, dataset: str) -> None:
        """Inherit in one dataset, and below it with -r."""
        below = tree.below(dataset) if ("r", "") in found and "@" not in dataset else []
        for one in [dataset, *below]:
            ops.inherit(tree, one, name)

    return _each(rest[1:], act)


def _mount(args: list[str]) -> int:
    from . import zfs_data

    found, rest = options("mount", args, "aflvOR:o:")
    everything = any(letter == "a" for letter, _ in found)
    if not everything and not rest:
        for name, node in sorted(load().datasets.items(), key=lambda item: item[1]["txg"]):
            if node["mounted"]:
                print(f"{name:<30}  {node['mounted']}")
        return 0
    with changing() as tree:
        if everything:
            for name in sorted(tree.datasets):
                if tree.datasets[name]["type"] == "filesystem" and tree.local(name, "canmount") == "on":
                    zfs_data.mount(tree, name)
            return 0
        name = one_operand("mount", rest, "filesystem")
        ops.need(tree, name, "f")
        where = tree.mountpoint(name)
        if where == "legacy":
            raise ZfsError(
                f"cannot mount '{name}': legacy mountpoint", "use mount(8) to mount this filesystem"
            )
        if where == "none":
            raise ZfsError(f"cannot mount '{name}': no mountpoint set")
        if tree.local(name, "canmount") == "off":
            raise ZfsError(f"cannot mount '{name}': 'canmount' property is set to 'off'")
        if not zfs_data.mount(tree, name):
            raise ZfsError(f"cannot mount '{name}': filesystem already mounted")
    return 0


def _unmount(args: list[str]) -> int:
    from . import zfs_data

    found, rest = options("unmount", args, "afu")
    with changing() as tree:
        if ("a", "") in found:
            for name in sorted(tree.datasets, reverse=True):
                zfs_data.unmount(tree, name)
            return 0
        name = one_operand("unmount", rest, "filesystem")
        if name.startswith("/"):
            at = [n for n, d in tree.datasets.items() if d["mounted"] == name]
            if not at:
                raise ZfsError(f"cannot unmount '{name}': not a ZFS filesystem")
            name = at[0]
        ops.need(tree, name, "f")
        where = tree.datasets[name]["mounted"]
        if where:
            ops.busy_check(tree, name, f"cannot unmount '{where}'")
        if not zfs_data.unmount(tree, name):
            raise ZfsError(f"cannot unmount '{name}': not currently mounted")
    return 0


def _hold(args: list[str]) -> int:
    return _hold_or_release("hold", args)


def _release(args: list[str]) -> int:
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
            ops.need(tree, base, "fv")
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


def _holds(args: list[str]) -> int:
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
        ops.need(tree, base, "fv")
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


def _bookmark(args: list[str]) -> int:
    from .zfs_tree import new_guid

    _, rest = options("bookmark", args, "")
    if len(rest) < 2:
        raise UsageError("bookmark", "missing source argument" if not rest else "missing bookmark argument")
    source, target = rest[0], rest[1] if not rest[1].startswith("#") else rest[0].partition("@")[0] + rest[1]
    what = f"cannot create bookmark '{target}'"
    with changing() as tree:
        ops.check_name(what, target, "b")
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


def _version(args: list[str]) -> int:
    options("version", args, "")
    print("zfs-2.3.4-pve1\nzfs-kmod-2.3.4-pve1")
    return 0


def _list(args: list[str]) -> int:
    from . import zfs_list

    return zfs_list.show_list(args)


def _get(args: list[str]) -> int:
    from . import zfs_list

    return zfs_list.show_get(args)


_VERBS: dict[str, Callable[[list[str]], int]] = {
    "create": _create,
    "destroy": _destroy,
    "snapshot": _snapshot,
    "rollback": _rollback,
    "clone": _clone,
    "promote": _promote,
    "rename": _rename,
    "list": _list,
    "get": _get,
    "set": _set,
    "inherit": _inherit,
    "mount": _mount,
    "unmount": _unmount,
    "hold": _hold,
    "holds": _holds,
    "release": _release,
    "bookmark": _bookmark,
    "version": _version,
}


def run(args: list[str]) -> int:
    """The exit code of `zfs ARGS`; the refusals of ZFS go to stderr."""
    try:
        if not args:
            raise ZfsError("missing command", usage("").rstrip("\n"), code=2)
        if args[0] in ("-?", "--help", "-h", "help"):
            sys.stdout.write(usage(""))
            return 0
        if args[0] in ("-V", "--version"):
            return _version([])
        verb = _ALIASES.get(args[0], args[0])
        if verb not in _VERBS:
            raise ZfsError(f"unrecognized command '{args[0]}'", usage("").rstrip("\n"), code=2)
        return _VERBS[verb](args[1:])
    except ZfsError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        return error.code


def main(argv: list[str]) -> int:
    """The command `zfs`."""
    return run(argv[1:])
