"""How old the newest backup of each kind is, and whether one that was due is missing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fleet.domains.backup.assemble import archive_items, items
from fleet.domains.backup.items import BackupFacts, GuestState, Item, Volume
from fleet.domains.backup.method import own_volumes
from fleet.domains.backup.spec import BackupSpec, Subject

#: The last time before another one (epoch seconds) at which a schedule was due; None: not for a year.
Due = Callable[[str, int], int | None]

_HOUR = 3600
#: How long after its time a run may take before what it should have made is missed (seconds); it may wait in
#: line for six hours (fleet/schedule/units.py).
GRACE = 8 * _HOUR
#: The same where whole guests or datasets are copied.
COPY_GRACE = 12 * _HOUR
#: How long the snapshots may take that a replica is sent right after (seconds).
_SNAPSHOTS_TAKE = 600

SNAPSHOT, ARCHIVE = "snapshot", "archive"


@dataclass(frozen=True, slots=True)
class Age:
    """Of one kind of backup that hosts.yml wants. `seconds`: since its newest whole one; None: never."""

    what: str  # snapshot, archive, or the name of a replica
    seconds: int | None
    late: bool = False  # none since the last one was due


def ages(
    subject: Subject, spec: BackupSpec, facts: BackupFacts, due: Due, volume: Volume | None = None
) -> tuple[Age, ...]:
    """The age of each kind that hosts.yml wants of a subject, or of one volume of it.

    Of archives only where their storage was read.
    """
    return () if subject.exclude is not None else tuple(_ages(subject, spec, facts, due, volume))


def _ages(
    subject: Subject, spec: BackupSpec, facts: BackupFacts, due: Due, volume: Volume | None
) -> Iterator[Age]:
    dataset = volume.dataset if volume else None
    guest = facts.guests.get(subject.vmid) if subject.vmid is not None else None
    if subject.snapshots and not subject.no_snapshots and not (guest and guest.template):
        holding = (each for each in items(subject, facts) if _holds(each, dataset))
        made = _newest(holding, facts.now)
        yield _age(SNAPSHOT, made, due(subject.snapshots.schedule, facts.now - GRACE), facts.now)
    if subject.archives and subject.archives.storage in facts.archives and (volume is None or volume.backup):
        made = _newest(archive_items(subject, facts), facts.now)
        yield _age(ARCHIVE, made, due(subject.archives.schedule, facts.now - COPY_GRACE), facts.now)
    for name in subject.replicas:
        sent = [facts.sent.get((each or "", name), 0) for each in _to_send(subject, guest, volume)]
        last = due(spec.replicas[name].schedule, facts.now - COPY_GRACE)
        if last is not None and subject.snapshots:  # it is of the snapshot that was there then
            last = due(subject.snapshots.schedule, last - _SNAPSHOTS_TAKE)
        yield _age(name, min(sent, default=0) or None, last, facts.now)


def _to_send(subject: Subject, guest: GuestState | None, volume: Volume | None) -> tuple[str | None, ...]:
    """The datasets that a replica is to have; None for a volume that is none, and is never sent."""
    if volume is not None:
        return (volume.dataset,)
    return tuple(each.dataset for each in own_volumes(guest)) if guest else (subject.name,)


def _age(what: str, made: int | None, due: int | None, now: int) -> Age:
    return Age(
        what, None if made is None else now - made, made is not None and due is not None and made < due
    )


def _newest(found: Iterator[Item] | tuple[Item, ...], now: int) -> int | None:
    """When the newest was made that is ours and whole; one dated in the future says nothing."""
    return max(
        (each.created for each in found if each.ours and each.whole and each.created <= now + 300),
        default=None,
    )


def _holds(item: Item, dataset: str | None) -> bool:
    """Whether a snapshot is of this dataset, too; one that has no part on ZFS is of the whole guest."""
    return dataset is None or not item.parts or any(part.dataset == dataset for part in item.parts)
