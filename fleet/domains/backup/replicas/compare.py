"""How far a replica is behind its source: both sides compared by guid, never by name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fleet.domains.backup.assemble import datasets_of, items
from fleet.domains.backup.items import BackupFacts, ZfsSnapshot
from fleet.domains.backup.names import parse_name
from fleet.domains.backup.replicas import names
from fleet.domains.backup.replicas.facts import Bookmark, Copy, Place, ReplicaFacts, Target
from fleet.domains.backup.spec import BackupSpec, Replica, Subject


@dataclass(frozen=True, slots=True)
class Base:
    """What an incremental stream starts from: a snapshot of the source, or a bookmark of it."""

    path: str
    guid: str


@dataclass(frozen=True, slots=True)
class Side:
    """A source dataset and what one replica has of it."""

    subject: Subject
    replica: Replica
    dataset: str
    target: str  # the dataset on the replica
    found: Target | None  # None: it is not there yet
    newest: ZfsSnapshot | None  # of ours, on the source
    snapshots: tuple[ZfsSnapshot, ...]  # of everybody, on the source, oldest first
    bookmarks: tuple[Bookmark, ...]

    @property
    def last(self) -> Copy | None:
        """The newest copy on the replica: the only one that an increment can follow."""
        return self.found.copies[-1] if self.found and self.found.copies else None

    @property
    def common(self) -> Copy | None:
        """The newest copy that the source still has as a snapshot."""
        there = {each.guid for each in self.snapshots}
        copies = reversed(self.found.copies) if self.found else ()
        return next((copy for copy in copies if copy.guid in there), None)

    @property
    def base(self) -> Base | None:
        """What the source has of the replica's newest copy: the snapshot, else a bookmark."""
        if self.last is None:
            return None
        for snapshot in self.snapshots:
            if snapshot.guid == self.last.guid:
                return Base(snapshot.path, snapshot.guid)
        for mark in self.bookmarks:
            if mark.guid == self.last.guid:
                return Base(mark.path, mark.guid)
        return None

    @property
    def has_newest(self) -> bool:
        """The replica has the newest snapshot that there is to send."""
        copies = self.found.copies if self.found else ()
        return self.newest is not None and any(copy.guid == self.newest.guid for copy in copies)

    @property
    def is_ahead(self) -> bool:
        """What the replica has last is a snapshot of the source that is newer than ours."""
        of_last = next((each for each in self.snapshots if self.last and each.guid == self.last.guid), None)
        return bool(of_last and self.newest and of_last.createtxg > self.newest.createtxg)


def sides(
    spec: BackupSpec,
    wanted: Sequence[Subject],
    facts: BackupFacts,
    found: ReplicaFacts,
    only: str = "",
) -> tuple[Side, ...]:
    """Each dataset of each subject with each of its replicas; with `only` those of one replica."""
    return tuple(
        _side(subject, spec.replicas[name], dataset, facts, found)
        for subject in wanted
        for name in (subject.replicas if subject.exclude is None else ())
        if name in spec.replicas and only in ("", name)
        for dataset in datasets_of(subject, facts)
    )


def _side(subject: Subject, replica: Replica, dataset: str, facts: BackupFacts, found: ReplicaFacts) -> Side:
    target = names.target(replica, dataset)
    ours = [
        part for item in items(subject, facts) if item.ours for part in item.parts if part.dataset == dataset
    ]
    return Side(
        subject=subject,
        replica=replica,
        dataset=dataset,
        target=target,
        found=found.places.get(replica.name, Place()).targets.get(target),
        newest=max(ours, key=lambda part: part.createtxg, default=None),
        snapshots=facts.snapshots.get(dataset, ()),
        bookmarks=found.bookmarks.get(dataset, ()),
    )


def held(sides: Iterable[Side], installation: str) -> Mapping[tuple[str, str], int]:
    """By dataset and replica, of when (epoch seconds) the newest copy there is that fleet sent."""
    found: dict[tuple[str, str], int] = {}
    for side in sides:
        copies = (
            side.found.copies
            if side.found and side.found.mark == names.mark(installation, side.dataset)
            else ()
        )
        if made := [copy.creation for copy in copies if parse_name(copy.name)]:
            found[side.dataset, side.replica.name] = max(made)
    return found


def divergence(side: Side) -> str:
    """Why no increment can follow what the replica has, in words that name both sides; empty: one can."""
    last = side.last
    if last is None or side.base is not None:
        return ""
    ours = f"{side.newest.path} of {_when(side.newest.creation)}" if side.newest else "no snapshot of ours"
    theirs = f"{side.target}@{last.name} of {_when(last.creation)}"
    said = f"the newest on the replica is {theirs}, the newest here {ours}"
    common = side.common
    if common is None:
        return f"they have no snapshot and no bookmark in common: {said}"
    newer = (
        [copy.name for copy in side.found.copies if copy.createtxg > common.createtxg] if side.found else []
    )
    return (
        f"the replica has {', '.join(newer)}, which the source does not have: {said};"
        f" the newest that both have is @{common.name}"
    )


def common(
    spec: BackupSpec, wanted: Sequence[Subject], facts: BackupFacts, found: ReplicaFacts
) -> Mapping[str, Mapping[str, str]]:
    """The snapshots of the sources that a replica still needs: why, by subject and name of the snapshot.

    The newest that both have, what a stream that goes on or was interrupted is of, and of a replica that
    cannot be read everything that may be one of those.
    """
    needed: dict[str, dict[str, list[str]]] = {}
    for side in sides(spec, wanted, facts, found):
        for name, why in _needed(side, found):
            reasons = needed.setdefault(side.subject.name, {}).setdefault(name, [])
            if why not in reasons:
                reasons.append(why)
    return {
        subject: {name: "; ".join(reasons) for name, reasons in by_name.items()}
        for subject, by_name in needed.items()
    }


def _needed(side: Side, found: ReplicaFacts) -> list[tuple[str, str]]:
    replica = side.replica
    prefix = f"{names.place(replica)}{side.target}@"
    begun = {guid for path, guid in found.sending if path.startswith(prefix)}
    on_its_way = [
        (each.name, f"it is being sent to {replica.name}") for each in side.snapshots if each.guid in begun
    ]
    return [*on_its_way, *_common(side, found, prefix)]


def _common(side: Side, found: ReplicaFacts, prefix: str) -> list[tuple[str, str]]:
    replica = side.replica
    if not found.complete or found.places.get(replica.name, Place(problem="not read")).problem:
        since = _last_known(side)
        if since is None and not any(path.startswith(prefix) for path, _ in found.sent):
            return []  # nothing was ever sent there
        return [
            (each.name, f"{replica.name} cannot be read and may need it")
            for each in side.snapshots
            if since is None or each.createtxg >= since
        ]
    guids = {side.common.guid: f"newest common with {replica.name}"} if side.common else {}
    if side.found and side.found.token:
        token = side.found.token
        guids |= {token.base: f"an interrupted transfer to {replica.name} needs it"} if token.base else {}
        guids |= {token.guid: f"an interrupted transfer to {replica.name} is of it"} if token.guid else {}
    return [(each.name, guids[each.guid]) for each in side.snapshots if each.guid in guids]


def _last_known(side: Side) -> int | None:
    """When, as the bookmarks tell, the replica was last sent something (createtxg)."""
    marks = [each.createtxg for each in side.bookmarks if names.replica_of(each.name) == side.replica.name]
    return max(marks, default=None)


def _when(epoch: int) -> str:
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S} UTC"
