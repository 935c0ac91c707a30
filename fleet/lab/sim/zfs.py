"""`zfs`: which function answers for which verb, and create, clone, promote, rename, set, inherit, version."""

from __future__ import annotations

import sys
from collections.abc import Callable

from . import machine
from . import zfs_change as change
from . import zfs_ops as ops
from .zfs_names import need
from .zfs_props import PROPS, ZERO_IS_NONE, BadValue, canonical, is_user, parse_size
from .zfs_tree import Tree, ZfsError, changing
from .zfs_usage import UsageError, one_operand, options, properties, usage

_ALIASES = {"recv": "receive", "snap": "snapshot", "umount": "unmount"}


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


def _clone(args: list[str]) -> int:
    found, rest = options("clone", args, "o:p")
    if not rest:
        raise UsageError("clone", "missing source dataset argument")
    if len(rest) == 1:
        raise UsageError("clone", "missing target dataset argument")
    if len(rest) > 2:
        raise UsageError("clone", "too many arguments")
    given = properties([value for letter, value in found if letter == "o"])
    flags = {letter for letter, _ in found}
    with changing() as tree:
        need(tree, rest[0], "s")
        if "p" in flags:
            ops.create_ancestors(tree, rest[1])
        ops.clone(tree, rest[0], rest[1], given)
    return 0


def _promote(args: list[str]) -> int:
    _, rest = options("promote", args, "")
    if not rest:
        raise UsageError("promote", "missing clone filesystem argument")
    name = one_operand("promote", rest, "clone filesystem")
    with changing() as tree:
        need(tree, name, "fv")
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
        need(tree, rest[0], "s" if "r" in flags else "fv" if "p" in flags else "fvs")
        change.rename(tree, rest[0], rest[1], recursive="r" in flags, parents="p" in flags)
    return 0


def _set(args: list[str]) -> int:
    _, rest = options("set", args, "u")
    if not rest:
        raise UsageError("set", "missing arguments")
    split = next((i for i, word in enumerate(rest) if "=" not in word), len(rest))
    if len(rest) == 1 and split == 0:
        raise UsageError("set", "missing property=value argument(s)")
    if split == len(rest):
        raise UsageError("set", "missing dataset name(s)")
    if any("=" in word for word in rest[split:]):
        raise UsageError("set", "invalid argument order")
    given = properties(rest[:split])
    return _each(rest[split:], lambda tree, name: change.set_props(tree, name, given), 255)


def _each(names: list[str], act: Callable[[Tree, str], None], refused: int) -> int:
    """Do something to each dataset named; one failure does not stop the rest.

    The exit code is 1 where a dataset does not exist, `refused` where the act is.
    """
    code = 0
    for name in names:
        why = 1
        try:
            with changing(measured=True) as tree:
                need(tree, name)
                why = refused
                act(tree, name)
        except UsageError:
            raise
        except ZfsError as error:
            print(error, file=sys.stderr)
            code |= why
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
            change.inherit(tree, one, name, received)

    return _each(rest[1:], act, 1)


def _version(args: list[str]) -> int:
    options("version", args, "")
    version = machine.zfs_version()
    print(f"zfs-{version}\nzfs-kmod-{version}")
    return 0


_VERBS: dict[str, Callable[[list[str]], int]] = {
    "clone": _clone,
    "create": _create,
    "inherit": _inherit,
    "promote": _promote,
    "rename": _rename,
    "set": _set,
    "version": _version,
}
_ELSEWHERE = {
    "bookmark": "zfs_snapshots.bookmark",
    "destroy": "zfs_destroy.destroy",
    "diff": "zfs_diff.diff",
    "get": "zfs_get.show_get",
    "hold": "zfs_holds.hold",
    "holds": "zfs_holds.holds",
    "list": "zfs_list.show_list",
    "mount": "zfs_mount.mount",
    "release": "zfs_holds.release",
    "receive": "zfs_receive.receive",
    "rollback": "zfs_rollback.rollback",
    "send": "zfs_send.send",
    "snapshot": "zfs_snapshots.snapshot",
    "unmount": "zfs_mount.unmount",
}


def _handler(verb: str) -> Callable[[list[str]], int] | None:
    """The function of a verb; its module is imported when it is called for."""
    from importlib import import_module

    if verb not in _ELSEWHERE:
        return _VERBS.get(verb)
    module, _, name = _ELSEWHERE[verb].partition(".")
    found: Callable[[list[str]], int] = getattr(import_module(f".{module}", __package__), name)
    return found


def _linger(verb: str) -> None:
    """Take as long as the lab was told that this verb takes (faults.json: {"zfs_slow": {VERB: SECONDS}})."""
    seconds = machine.faults().get("zfs_slow", {}).get(verb)
    if seconds:
        import time

        time.sleep(seconds)


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
        handler = _handler(verb)
        if handler is None:
            raise ZfsError(f"unrecognized command '{args[0]}'", usage("").rstrip("\n"), code=2)
        _linger(verb)
        return handler(args[1:])
    except ZfsError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        return error.code


def main(argv: list[str]) -> int:
    """The command `zfs`."""
    return run(argv[1:])
