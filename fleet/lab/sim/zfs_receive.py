"""`zfs receive`: take in a stream, whole or resumable, and what it refuses."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack

from . import (
    zfs_content,
    zfs_data,
    zfs_partial,
    zfs_payload,
    zfs_rollback,
    zfs_stream,
    zfs_streams,
    zfs_token,
)
from .zfs_control import NAME as CONTROL
from .zfs_into import Into, Options, begin, commandline
from .zfs_names import need
from .zfs_props import nice
from .zfs_tree import Tree, ZfsError, changing
from .zfs_usage import UsageError, one_operand, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


def receive(args: list[str]) -> int:
    """`zfs receive`."""
    found, rest = options("receive", args, "o:x:dehMnuvFsAc")
    flags = {letter for letter, _ in found}
    if {"d", "e"} <= flags:
        raise UsageError("receive", "invalid option combination: -d and -e are mutually exclusive")
    name = one_operand("receive", rest, "snapshot")
    if "A" in flags:
        if flags & set("densu"):
            raise UsageError("receive", "invalid option")
        with changing() as tree:
            try:
                need(tree, name, "fv")
            except ZfsError as error:
                raise UsageError("receive", *error.lines) from None
            zfs_partial.abort(tree, name)
        return 0
    if "c" in flags:
        raise ZfsError("this lab does not simulate `zfs receive -c`")
    if sys.stdin.isatty():
        raise ZfsError(
            "Error: Backup stream can not be read from a terminal.", "You must redirect standard input."
        )
    wanted = commandline(name, flags, found)
    stream = sys.stdin.buffer
    try:
        zfs_stream.read_magic(stream)
        more = 1
        while more:
            first = zfs_stream.read_begin(stream)
            more = int(first["more"])
            _receive_one(stream, first, wanted)
    except zfs_stream.Broken as error:
        why = "failed to read from stream" if error.kind == "empty" else "invalid stream (bad magic number)"
        raise ZfsError(f"cannot receive: {why}") from None
    return 0


def _receive_one(stream: BinaryIO, first: zfs_stream.Begin, wanted: Options) -> None:
    """Receive one snapshot of a stream."""
    began = time.monotonic()
    length = int(first["size"]) - int(first["offset"])
    with ExitStack() as used:
        with changing(measured=True) as tree:
            into = begin(tree, first, wanted, lambda where: _say_where(first, where, wanted))
            if into.there and wanted.verbose:
                print(f"snap {into.snapshot} already exists; ignoring", flush=True)
            passing = into.there or wanted.dry
            if not passing and not used.enter_context(zfs_streams.in_use(into.guid, exclusive=True)):
                raise ZfsError(f"{into.what}: dataset is busy")
        if passing:
            _skip(stream, length, into)
            return
        _take_in(stream, length, into, wanted)
        _finish(first, into, wanted)
    if wanted.verbose:
        seconds = max(time.monotonic() - began, 1e-9)
        print(
            f"received {nice(length)} stream in {seconds:.2f} seconds ({nice(int(length / seconds))}/sec)",
            flush=True,
        )


def _say_where(first: zfs_stream.Begin, snapshot: str, wanted: Options) -> None:
    """The line of -v at the beginning."""
    if wanted.verbose:
        kind = "full" if first["fromguid"] == "0" else "incremental"
        word = "would receive" if wanted.dry else "receiving"
        print(f"{word} {kind} stream of {first['toname']} into {snapshot}", flush=True)


def _skip(stream: BinaryIO, length: int, into: Into) -> None:
    try:
        zfs_stream.read_payload(stream, length, lambda _piece: None)
    except zfs_stream.Broken:
        raise ZfsError(f"{into.what}: incomplete stream") from None


def _take_in(stream: BinaryIO, length: int, into: Into, wanted: Options) -> None:
    """Keep the bytes as they come; what is kept where they end early is resumable or gone."""
    spool = zfs_token.spool(into.guid)
    os.makedirs(os.path.dirname(spool), exist_ok=True)
    try:
        with open(spool, "ab") as file:

            def keep(piece: bytes) -> None:
                file.write(piece)
                file.flush()
                if into.full:
                    raise ZfsError(into.full)

            zfs_stream.read_payload(stream, length, keep)
            if into.full:
                raise ZfsError(into.full)
    except zfs_stream.Broken as error:
        raise _cut(into, wanted, error.kind) from None
    except ZfsError:
        _end_early(into, keep=wanted.resumable)
        raise


def _end_early(into: Into, *, keep: bool) -> str | None:
    """Leave a resumable state if asked for and if anything came, else nothing; its token."""
    with changing() as tree:
        if into.dataset not in tree.datasets:
            return None
        if keep and os.path.getsize(zfs_token.spool(into.guid)):
            return zfs_token.of_dataset(tree, into.dataset)
        zfs_partial.drop(tree, into.dataset)
    return None


def _cut(into: Into, wanted: Options, kind: str) -> ZfsError:
    """What is said of a stream that ended early or was damaged."""
    token = _end_early(into, keep=wanted.resumable and kind == "cut")
    if token is None:
        return ZfsError(
            f"{into.what}: " + ("checksum mismatch" if kind == "checksum" else "incomplete stream")
        )
    return ZfsError(
        f"{into.what}: checksum mismatch or incomplete stream.",
        "Partially received snapshot is saved.",
        "A resuming stream can be generated on the sending system by running:",
        f"    zfs send -t {token}",
    )


def _finish(first: zfs_stream.Begin, into: Into, wanted: Options) -> None:
    """Make the snapshot of what came."""
    with changing() as tree:
        state = tree.datasets[into.dataset].pop("receiving")
        if into.overwrite:
            _overwrite(tree, into, first)
        elif into.back_to:
            if not zfs_rollback.clear(tree, into.back_to, with_clones=False):
                raise ZfsError(f"{into.what}: unable to restore to destination")
            zfs_rollback.back(tree, into.back_to)
        node = tree.datasets[into.dataset]
        node["blocks"] = dict(first["blocks"])
        files = None
        if first["type"] == "filesystem":
            files = _unpack(tree, into)
        else:
            node["props"]["volsize"] = first["volsize"]
        if "props" in first:
            received = dict(first["props"])
            for key in wanted.without:
                if key in received and key not in wanted.hidden:
                    del received[key]
            node["received"] = received
        node["props"].update(wanted.given(tree.kind(into.dataset), into.what))
        node["hidden"] = sorted({*node.get("hidden", ()), *wanted.hidden})
        tree.snapshots[into.snapshot] = {
            "guid": first["toguid"],
            "txg": tree.next_txg(),
            "created": first["created"],
            "props": {"volsize": first["volsize"]} if first["volsize"] else {},
            "received": dict(first.get("snapprops", {})),
            "holds": {},
            "blocks": dict(first["blocks"]),
            **({"files": files} if files else {}),
        }
        tree.touched()
        zfs_partial.discard(into.guid)
        if state["new"] and not wanted.unmounted and (tree.local(into.dataset, "canmount") == "on"):
            zfs_data.mount(tree, into.dataset)


def _overwrite(tree: Tree, into: Into, first: zfs_stream.Begin) -> None:
    """Empty a dataset that -F lets a whole stream replace."""
    node = tree.datasets[into.dataset]
    node["type"] = first["type"]
    node.pop("content", None)
    if node["type"] == "filesystem":
        zfs_content.empty(zfs_data.files(tree, into.dataset))


def _unpack(tree: Tree, into: Into) -> str:
    """Put the files that came where the dataset's are; the ID of the new snapshot's copy."""
    place = zfs_data.files(tree, into.dataset)
    os.makedirs(place, exist_ok=True)
    try:
        with open(zfs_token.spool(into.guid), "rb") as payload:
            zfs_payload.apply(payload, place, CONTROL)
    except (zfs_payload.Damaged, KeyError):
        raise ZfsError(f"{into.what}: invalid backup stream") from None
    return zfs_content.take(tree, into.dataset)
