"""The steps of replicas; the functions that they call on the host are in fleet/host/send.sh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.core.command import Command, command
from fleet.core.plan import Check, Difference, Step
from fleet.domains.backup.items import ZfsSnapshot
from fleet.domains.backup.replicas import names
from fleet.domains.backup.replicas.compare import Base, Side
from fleet.domains.backup.replicas.facts import Copy, Token


@dataclass(frozen=True, slots=True)
class Stream:
    """One transfer: of which snapshot, from what. `token`: it goes on where it was interrupted."""

    name: str
    guid: str
    path: str
    base: Base | None = None
    token: str = ""


def whole(snapshot: ZfsSnapshot, base: Base | None) -> Stream:
    """The transfer of a snapshot, from nothing or from what both sides have."""
    return Stream(snapshot.name, snapshot.guid, snapshot.path, base)


def rest(snapshot: ZfsSnapshot, token: Token) -> Stream:
    """What is missing of an interrupted transfer."""
    return Stream(snapshot.name, snapshot.guid, snapshot.path, token=token.token)


def based_on(snapshot: ZfsSnapshot) -> Base:
    """What the next transfer starts from once this snapshot has arrived."""
    return Base(snapshot.path, snapshot.guid)


def send_id(side: Side, stream: Stream) -> str:
    """The id of the step that brings a snapshot to a replica."""
    return f"send {stream.path} {side.replica.name}"


def send(
    side: Side,
    stream: Stream,
    installation: str,
    *,
    raw: bool,
    volume: bool,
    newest: str,
    needs: tuple[str, ...] = (),
) -> Step:
    """Brings one snapshot of one dataset to a replica; there it then is a base for the next one.

    `newest`: the guid of the replica's newest copy before, empty where it has none.
    """
    replica = side.replica
    where, mark = _where(side), names.mark(installation, side.dataset)
    bookmark = names.bookmark(replica, side.dataset, stream.name)
    kind = "volume" if volume else "filesystem"
    starts = (
        f"resume {stream.token}" if stream.token else f"from {stream.base.path}" if stream.base else "full"
    )
    was = side.last.name if side.last else None
    expect = [
        Check(
            command("fleet_zfs", stream.path, "guid", stream.guid),
            f"{stream.path} is the snapshot that was read",
        ),
        Check(
            command("fleet_copy_as", *where, mark, newest or "-", stream.token or "-"),
            f"{side.target} on {replica.name} is as it was read, and ours",
        ),
    ]
    if stream.base:
        expect.append(
            Check(
                command("fleet_zfs", stream.base.path, "guid", stream.base.guid),
                f"{stream.base.path} is there",
            )
        )
    if replica.bwlimit:
        expect.append(Check(command("fleet_can", "cstream"), "cstream is there, which keeps to bwlimit"))
    return Step(
        id=send_id(side, stream),
        subject=f"{side.dataset} to {replica.name}",
        action="send",
        because=(Difference("newest copy", was, stream.name, reason=_shown(stream)),),
        done=(
            Check(command("fleet_copied", *where, stream.guid), f"{replica.name} has {stream.name}"),
            Check(command("fleet_zfs", bookmark, "guid", stream.guid), "a bookmark remembers what both have"),
        ),
        expect=tuple(expect),
        do=(
            command(
                "fleet_send", *where, mark, kind, "raw" if raw else "plain",
                str(replica.bwlimit or 0), stream.path, stream.guid, *starts.split(" ", 1),
            ),
            _remember(side, stream.path, stream.guid, bookmark),
        ),
        needs=needs,
    )  # fmt: skip


def remember(side: Side, snapshot: ZfsSnapshot) -> Step:
    """Bookmarks what the replica has already: the source may then lose the snapshot."""
    bookmark = names.bookmark(side.replica, side.dataset, snapshot.name)
    return Step(
        id=f"bookmark {snapshot.path} {side.replica.name}",
        subject=f"{side.dataset} to {side.replica.name}",
        action="bookmark",
        because=(Difference("bookmark", None, bookmark),),
        done=(Check(command("fleet_zfs", bookmark, "guid", snapshot.guid), "the bookmark is there"),),
        expect=(
            Check(command("fleet_zfs", snapshot.path, "guid", snapshot.guid), f"{snapshot.path} is there"),
            Check(command("fleet_copied", *_where(side), snapshot.guid), f"{side.replica.name} has it"),
        ),
        do=(_remember(side, snapshot.path, snapshot.guid, bookmark),),
    )


def remove(side: Side, copies: Sequence[tuple[Copy, str]], installation: str, newest: str) -> Step:
    """Removes copies, each by a command of its own; never `newest`, the guid of what both sides have last."""
    entries = [f"{copy.name}={copy.guid}" for copy, _ in copies]
    meant = [
        f"{entry} createtxg={copy.createtxg} {reason}"
        for entry, (copy, reason) in zip(entries, copies, strict=True)
    ]
    return Step(
        id=f"remove copies {side.target} {side.replica.name}",
        subject=f"{side.dataset} to {side.replica.name}",
        action="remove",
        because=tuple(Difference("copy", copy.name, None, reason=reason) for copy, reason in copies),
        done=(Check(command("fleet_copies_gone", *_where(side), *entries), "the copies are gone"),),
        expect=(),
        do=(
            command(
                "fleet_drop_copies", *_where(side), names.mark(installation, side.dataset), newest, *meant
            ),
        ),
    )


def _where(side: Side) -> tuple[str, str, str]:
    return side.replica.host or "-", side.replica.dataset, side.target


def _remember(side: Side, path: str, guid: str, bookmark: str) -> Command:
    """Bookmarks the snapshot, then removes the bookmarks of this replica that came before."""
    return command("fleet_remember", side.replica.name, path, bookmark, guid)


def _shown(stream: Stream) -> str:
    if stream.token:
        return "goes on where it was interrupted"
    return f"from {stream.base.path}" if stream.base else "the first one, whole"
