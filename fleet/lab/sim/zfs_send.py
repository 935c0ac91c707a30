"""`zfs send`: one snapshot whole or from an earlier one, several in a row (-I, -R), or the rest of one (-t).

Redacted and saved streams, those with holds and those of file systems are not simulated, and refused.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

from . import zfs_data, zfs_payload, zfs_stream, zfs_streams, zfs_token
from .zfs_names import need
from .zfs_ops import destroy_deferred
from .zfs_progress import Progress, paced
from .zfs_props import PROPS, is_user, nice
from .zfs_tree import Tree, ZfsError, changing, load
from .zfs_usage import UsageError, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

_LONG = {
    "replicate": "R",
    "skip-missing": "s",
    "redact": "d",
    "props": "p",
    "parsable": "P",
    "dedup": "D",
    "proctitle": "V",
    "verbose": "v",
    "dryrun": "n",
    "large-block": "L",
    "embed": "e",
    "resume": "t",
    "compressed": "c",
    "raw": "w",
    "backup": "b",
    "holds": "h",
    "saved": "S",
    "exclude": "X",
}
_NOT_SIMULATED = {"s": "-s", "d": "--redact", "D": "-D", "h": "-h", "S": "--saved", "X": "-X"}
_OVERHEAD = 624  # bytes of a stream besides its content, as a real one's begin and end records


class _Part:
    """One snapshot of a stream: from what, to what, and the bytes of it."""

    def __init__(self, tree: Tree, source: str | None, target: str, begin: dict[str, Any]) -> None:
        self.source, self.target, self.begin = source, target, begin
        base = tree.find(source) if source else None
        if tree.kind(target.partition("@")[0]) == "volume":
            self.pieces: list[zfs_payload.Piece] = []
        else:
            old = zfs_data.store(base["files"]) if base and "files" in base else None
            self.pieces = zfs_payload.plan(old, zfs_data.files(tree, target))
        self.begin["size"] = zfs_payload.size(self.pieces)
        self.guids = [node["guid"] for node in (tree.find(target), base) if node]

    @property
    def estimate(self) -> int:
        """Bytes that are still to be sent."""
        return int(self.begin["size"]) - int(self.begin["offset"]) + _OVERHEAD


def send(args: list[str]) -> int:
    """`zfs send`."""
    found, rest = options("send", args, "i:I:RsDpVvnPLeht:cwbd:SX:", _LONG)
    flags = {letter for letter, _ in found}
    bases = [(letter, value) for letter, value in found if letter in "iI"]
    token = next((value for letter, value in found if letter == "t"), None)
    if len(bases) > 1:
        raise UsageError("send")
    if token is not None:
        if bases or flags & set("RpbhSd"):
            raise UsageError("send", "invalid flags combined with -t")
        if rest:
            raise UsageError("send", "too many arguments")
    elif len(rest) != 1:
        raise UsageError("send", "too many arguments" if rest else "missing snapshot argument")
    for letter in flags & set(_NOT_SIMULATED):
        raise ZfsError(f"this lab does not simulate `zfs send {_NOT_SIMULATED[letter]}`")
    if "n" not in flags and sys.stdout.isatty():
        raise ZfsError(
            "Error: Stream can not be written to a terminal.", "You must redirect standard output."
        )
    tree = load()
    if token is not None:
        parts = [_resumed(tree, token, flags)]
    elif "R" in flags:
        letter, base = bases[0] if bases else ("I", None)
        parts = _package(tree, letter, base, rest[0], flags | {"p"})
    elif bases and bases[0][0] == "I":
        parts = _row(tree, bases[0][1], rest[0], flags)
    else:
        parts = [_single(tree, bases[0][1] if bases else None, rest[0], flags)]
    _announce(parts, flags)
    if "n" in flags:
        return 0
    return _write(parts, flags)


# --- which snapshots


def _single(tree: Tree, source: str | None, target: str, flags: set[str]) -> _Part:
    need(tree, target, "fvs")
    if "@" not in target:
        if tree.datasets[target]["mounted"]:
            raise ZfsError(
                f"warning: cannot send '{target}': target is busy; if a filesystem, it must not be mounted"
            )
        raise ZfsError("this lab does not simulate `zfs send` of a filesystem, only of snapshots")
    what = f"warning: cannot send '{target}'"
    if source is not None:
        if "#" not in source and "@" not in source:
            print(
                "Warning: incremental source didn't specify type, assuming snapshot. "
                "Use '@' or '#' prefix to avoid ambiguity.",
                file=sys.stderr,
            )
            source = f"@{source}"
        if source[0] in "@#":
            source = target.partition("@")[0] + source
        _check_source(tree, source, target, what)
    return _Part(tree, source, target, _begin(tree, source, target, flags))


def _check_source(tree: Tree, source: str, target: str, what: str) -> None:
    """Refuse what is no earlier moment of the same file system, or of what it was cloned from."""
    if "@" in source:
        need(tree, source, "s")
    elif source not in tree.bookmarks:
        raise ZfsError(f"{what}: incremental source ({source}) does not exist")
    base, to = tree.find(source), tree.snapshots[target]
    assert base is not None
    mine = target.partition("@")[0]
    if base["txg"] >= to["txg"] or not _before(
        tree, source.partition("@")[0].partition("#")[0], mine, base["txg"]
    ):
        raise ZfsError(f"{what}: not an earlier snapshot from the same fs")


def _before(tree: Tree, owner: str, mine: str, txg: int) -> bool:
    """Whether a moment of `owner` is in the history of `mine`."""
    while owner != mine:
        origin = tree.datasets[mine]["origin"]
        if not origin or tree.snapshots[origin]["txg"] < txg:
            return False
        mine = origin.partition("@")[0]
    return True


def _row(tree: Tree, source: str, target: str, flags: set[str]) -> list[_Part]:
    """The snapshots between two, the last included, each from the one before it."""
    if "#" in source:
        raise ZfsError("Error: multiple snapshots cannot be sent from a bookmark.")
    if "@" not in target:
        raise ZfsError("Error: Unsupported flag with filesystem or bookmark.")
    base = target.partition("@")[0]
    need(tree, base, "fv")
    first = f"{base}@{_label(source, base)}"
    need(tree, first, "s")
    need(tree, target, "s")
    own = tree.snaps(base)
    if own.index(first) >= own.index(target):
        raise ZfsError(
            f"WARNING: could not send {target}:", f"incremental source ({first}) is not earlier than it"
        )
    row = own[own.index(first) : own.index(target) + 1]
    return [_Part(tree, one, other, _begin(tree, one, other, flags)) for one, other in pairwise(row)]


def _label(source: str, base: str) -> str:
    """The name of a snapshot of a dataset that was given in full, with an @ or bare."""
    owner, at, label = source.rpartition("@")
    if at and owner and owner != base:
        raise UsageError("send", "incremental source must be in same filesystem")
    return label


def _package(tree: Tree, letter: str, source: str | None, target: str, flags: set[str]) -> list[_Part]:
    """The snapshots of a dataset and of those below it, up to one that all of them have.

    From `source`, where a dataset has it; else its first one whole. Only the last with the letter i.
    """
    base, at, label = target.partition("@")
    if not at:
        raise ZfsError("Error: Unsupported flag with filesystem or bookmark.")
    if source is not None and "#" in source:
        raise ZfsError("Error: multiple snapshots cannot be sent from a bookmark.")
    need(tree, base, "fv")
    need(tree, target, "s")
    parts: list[_Part] = []
    for one in [base, *tree.below(base)]:
        own = tree.snaps(one)
        if f"{one}@{label}" not in own:
            raise ZfsError(
                f"cannot send {target} recursively: snapshot {one}@{label} does not exist",
                f"warning: cannot send '{target}': backup failed",
            )
        row: list[str | None] = [None, *own[: own.index(f"{one}@{label}") + 1]]
        first = f"{one}@{_label(source, base)}" if source is not None else None
        if first in row:
            row = row[row.index(first) :]
        if letter == "i" and len(row) > 1:
            row = [row[0], row[-1]]
        parts += [
            _Part(tree, before, snap, {**_begin(tree, before, snap, flags), "top": base})
            for before, snap in pairwise(row)
            if snap is not None
        ]
    return parts


def _resumed(tree: Tree, token: str, flags: set[str]) -> _Part:
    """The rest of a stream that broke off."""
    what = "cannot resume send"
    facts = zfs_token.parse(token)
    if facts is None:
        why = "invalid format" if token.count("-") < 3 else "incorrect checksum"
        raise ZfsError(f"{what}: resume token is corrupt ({why})")
    if flags & set("vPV"):
        _show_token(facts, sys.stdout if "n" in flags else sys.stderr)
    toname, base = str(facts["toname"]), str(facts["toname"]).partition("@")[0]
    target = _by_guid(tree, base, facts["toguid"], marks=False)
    if target is None:
        gone = (
            f"'{toname}' is no longer the same snapshot used in the initial send"
            if toname in tree.snapshots
            else f"'{toname}' used in the initial send no longer exists"
        )
        raise ZfsError(f"{what}: {gone}")
    source = None
    if facts["fromguid"] != "0":
        source = _by_guid(tree, base, facts["fromguid"], marks=True)
        if source is None:
            raise ZfsError(f"{what}: incremental source {int(facts['fromguid']):#x} no longer exists")
    begin = _begin(tree, source, target, {k for k in "wec" if facts.get(_FEATURES[k])})
    return _Part(tree, source, target, {**begin, "offset": int(facts["bytes"]), "resuming": True})


_FEATURES = {"w": "raw", "e": "embed", "c": "compress", "L": "large"}


def _by_guid(tree: Tree, base: str, guid: str, marks: bool) -> str | None:
    """The snapshot (or bookmark) with a guid, in the dataset of that name or else anywhere in its pool."""
    pool = base.partition("/")[0]
    bases = [base, *(n for n in tree.datasets if n.partition("/")[0] == pool and n != base)]
    for one in bases:
        for name in [*tree.snaps(one), *(tree.marks(one) if marks else [])]:
            node = tree.find(name)
            if node and node["guid"] == guid:
                return name
    return None


def _show_token(facts: dict[str, Any], out: TextIO) -> None:
    print("resume token contents:\nnvlist version: 0", file=out)
    for key in ("fromguid", "object", "offset", "bytes", "toguid"):
        if int(facts[key]):
            print(f"\t{key} = {int(facts[key]):#x}", file=out)
    print(f"\ttoname = {facts['toname']}", file=out)


# --- what is sent


def _begin(tree: Tree, source: str | None, target: str, flags: set[str]) -> dict[str, Any]:
    """The first record of a snapshot."""
    to, base = tree.snapshots[target], tree.find(source) if source else None
    name = target.partition("@")[0]
    raw = "w" in flags
    begin: dict[str, Any] = {
        "toname": target,
        "toguid": to["guid"],
        "fromguid": base["guid"] if base else "0",
        "clone": source is not None and source.partition("@")[0].partition("#")[0] != name,
        "created": to["created"],
        "type": tree.kind(name),
        "volsize": to["props"].get("volsize"),
        "blocks": to["blocks"],
        "offset": 0,
        "resuming": False,
        "more": 0,
        "raw": raw,
        **{_FEATURES[k]: raw or k in flags for k in "ecL"},
    }
    if flags & {"p", "b"}:
        begin["props"] = _sent(tree.datasets[name], received_only="b" in flags)
        begin["snapprops"] = {k: v for k, v in _sent(to, received_only="b" in flags).items() if is_user(k)}
    return begin


def _sent(node: dict[str, Any], received_only: bool) -> dict[str, str]:
    """The properties that go along: those set at the dataset itself, and those it has received."""
    received = dict(node.get("received", {}))
    values = received if received_only else {**received, **node["props"]}
    return {key: value for key, value in values.items() if is_user(key) or PROPS[key].how in "id"}


def _announce(parts: list[_Part], flags: set[str]) -> None:
    """What -v and -P say before anything is sent."""
    if not flags & {"v", "P"}:
        return
    out = sys.stdout if "n" in flags else sys.stderr
    for part in parts:
        source = part.source
        if source and len(parts) > 1:
            source = source.partition("@")[2]
        if "P" in flags:
            kind = f"incremental\t{source}" if source else "full"
            print(f"{kind}\t{part.target}\t{part.estimate}", file=out)
        else:
            at = "" if source and ("@" in source or "#" in source) else "@"
            head = f"send from {at}{source} to {part.target}" if source else f"full send of {part.target}"
            print(f"{head} estimated size is {nice(part.estimate)}", file=out)
    total = sum(part.estimate for part in parts)
    print(f"size\t{total}" if "P" in flags else f"total estimated size is {nice(total)}", file=out)
    out.flush()


def _write(parts: list[_Part], flags: set[str]) -> int:
    """Write the stream, keeping its snapshots from being destroyed meanwhile."""
    with ExitStack() as held:
        for part in parts:
            for guid in part.guids:
                held.enter_context(zfs_streams.in_use(guid, exclusive=False))
        try:
            out = sys.stdout.buffer
            out.write(zfs_stream.MAGIC)
            for number, part in enumerate(parts):
                part.begin["more"] = len(parts) - number - 1
                with Progress(part.target, flags) as progress:
                    write = paced(out.write, progress)
                    zfs_stream.write_begin(out.write, part.begin)
                    zfs_stream.write_payload(write, _rest(part))
                    out.flush()
        except OSError:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # zfs does not catch it, and dies without a word
            os.kill(os.getpid(), signal.SIGPIPE)
    targets = [part.target for part in parts if load().snapshots.get(part.target, {}).get("defer")]
    if targets:
        with changing() as tree:
            for target in targets:
                destroy_deferred(tree, target)
    return 0


def _rest(part: _Part) -> Iterator[bytes]:
    return zfs_payload.read(part.pieces, int(part.begin["offset"]))
