"""Are the backups as they should be? By their ages on the host, not by what a run says of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from fleet.domains.backup.assemble import archive_items, items
from fleet.domains.backup.items import BackupFacts, Of
from fleet.domains.backup.proofs import proofs
from fleet.domains.backup.spec import BackupSpec, Subject
from fleet.schedule.calendar import last_due, parse

#: How long after its time a run may take before what it should have made is missed (seconds).
GRACE = 4 * 3600


@dataclass(frozen=True, slots=True)
class Health:
    """What wants a look, by subject: no backup at all, none since the last due time, no proof in time."""

    subjects: int = 0  # those that hosts.yml wants backups of
    newest: int | None = None  # seconds since the newest of the one that is worst off
    never: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()  # `plex`, and `plex (archive)` where that is what no drill restored

    @property
    def good(self) -> bool:
        """True if nothing does."""
        return not (self.never or self.late or self.unproven)


def health(spec: BackupSpec, facts: BackupFacts, *, archives: bool = False) -> Health:
    """The state of all backups; `archives`: the facts hold the archives, so that they count."""
    wanted = [
        each
        for each in spec.subjects
        if each.exclude is None and (each.snapshots or (archives and each.archives))
    ]
    ages = {each.name: _age(each, facts, archives=archives) for each in wanted}
    known = [age for age in ages.values() if age is not None]
    return Health(
        subjects=len(wanted),
        newest=max(known, default=None),
        never=tuple(name for name, age in ages.items() if age is None),
        late=tuple(each.name for each in wanted if is_late(each, ages[each.name], spec, facts.now)),
        unproven=tuple(_unproven(spec, facts)),
    )


def is_late(subject: Subject, age: int | None, spec: BackupSpec, now: int) -> bool:
    """Whether its newest backup is older than the last time at which one was due, with some patience."""
    if age is None or subject.snapshots is None:
        return False
    try:
        calendar = parse(subject.snapshots.schedule)
    except ValueError:  # systemd knows more forms: of those the schedule's own status tells
        return False
    due = last_due(calendar, ZoneInfo(spec.timezone), now - GRACE)
    return due is not None and now - age < due


def _age(subject: Subject, facts: BackupFacts, *, archives: bool) -> int | None:
    found = (*items(subject, facts), *(archive_items(subject, facts) if archives else ()))
    made = [each.created for each in found if each.ours and each.created <= facts.now + 300]
    return facts.now - max(made) if made else None


def _unproven(spec: BackupSpec, facts: BackupFacts) -> Iterator[str]:
    for subject in spec.subjects:
        for proof in proofs(subject, spec, facts):
            if proof.due:
                yield subject.name if proof.of is Of.SNAPSHOT else f"{subject.name} ({proof.of})"
