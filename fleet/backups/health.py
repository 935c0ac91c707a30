"""Are the backups as they should be? By their ages on the host, not by what a run says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from fleet.backups.reading import Reading, read
from fleet.domains.backup import replicas
from fleet.domains.backup.ages import SNAPSHOT, Age, Due, ages
from fleet.domains.backup.items import BackupFacts, Of
from fleet.domains.backup.proofs import proofs
from fleet.domains.backup.spec import BackupSpec
from fleet.domains.backup.undeclared import Declared
from fleet.host.shell import Shell
from fleet.inventory import Inventory
from fleet.schedule.calendar import last_due, parse


@dataclass(frozen=True, slots=True)
class Health:
    """What wants a look: no backup at all of a kind, none since the last due time, no proof in time.

    Who is named is a subject, with the kind where that is not its snapshots: `plex (archive)`.
    """

    subjects: int = 0  # those that hosts.yml wants backups of
    without: int = 0  # those of them that lack some kind
    newest: int | None = None  # seconds since the newest of the one that is worst off
    never: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()  # `plex`, and `plex (archive)` where that is what no drill restored
    unread: tuple[str, ...] = ()  # where backups may be that could not be looked for, and why

    @property
    def good(self) -> bool:
        """True if nothing does."""
        return not (self.never or self.late or self.unproven or self.unread)


@dataclass(frozen=True, slots=True)
class Look:
    """A read for the ages of all backups. `unread`: what could not be looked at."""

    reading: Reading
    unread: tuple[str, ...] = ()


def look(shell: Shell, inventory: Inventory, *, there: bool) -> Look:
    """One read of snapshots, archives and replicas. `there`: each replica is asked itself.

    Else what the node remembers of them counts: its bookmarks of what both have.
    """
    spec = inventory.backups
    places = tuple(spec.replicas.values())
    more = replicas.probes(places) if there else replicas.sent_probes(places)
    reading = read(shell, inventory, archives=True, more=more)
    facts = reading.backups
    storages = sorted({each.archives.storage for each in spec.subjects if each.archives})
    unread = [
        f"the archives on {each} could not be listed" for each in storages if each not in facts.archives
    ]
    if not facts.complete and not unread:
        unread.append("the node's answer was not whole")
    if there:
        found = replicas.read(reading.answers, places)
        sent = replicas.held(replicas.sides(spec, spec.subjects, facts, found), facts.installation)
        unread += [f"{name}: {place.problem}" for name, place in found.places.items() if place.problem]
    else:
        sent = replicas.sent(reading.answers) if places else {}
    return Look(replace(reading, backups=replace(facts, sent=sent)), tuple(unread))


def declared(inventory: Inventory, reading: Reading) -> Declared:
    """What hosts.yml and the node's storages say of datasets."""
    wanted = inventory.storage
    known = {
        name: dict(each.options)
        for name, each in reading.facts.storage.storages.items()
        if each.type == "zfspool"
    }
    known |= {
        each.name: dict(each.options) for each in wanted.storages if each.type == "zfspool" and not each.given
    }
    holders = {name: options["pool"] for name, options in known.items() if "pool" in options}
    datasets = frozenset(each.name for each in wanted.datasets)
    targets = frozenset(each.dataset for each in inventory.backups.replicas.values() if each.host is None)
    used = {holders[each.name] for each in wanted.storages if each.name in holders}
    return Declared(
        pools=frozenset({*wanted.pools, *(each.split("/")[0] for each in (*used, *datasets, *targets))}),
        datasets=datasets,
        holders=frozenset(holders.values()),
        targets=targets,
    )


def due_of(spec: BackupSpec) -> Due:
    """When schedules were last due, in the time zone of the policy."""

    def due(schedule: str, now: int) -> int | None:
        try:
            return last_due(parse(schedule), ZoneInfo(spec.timezone), now)
        except ValueError:  # systemd knows more forms: of those the schedule's own status tells
            return None

    return due


def health(spec: BackupSpec, facts: BackupFacts, unread: tuple[str, ...] = ()) -> Health:
    """The state of all backups in the facts."""
    due = due_of(spec)
    found = {each.name: made for each in spec.subjects if (made := ages(each, spec, facts, due))}
    known = [age.seconds for made in found.values() for age in made if age.seconds is not None]
    never = tuple(_named(found, lambda age: age.seconds is None))
    return Health(
        subjects=len(found),
        without=sum(any(age.seconds is None for age in made) for made in found.values()),
        newest=max(known, default=None),
        never=never,
        late=tuple(_named(found, lambda age: age.late)),
        unproven=tuple(
            each for each in unproven(spec, facts) if each not in never
        ),  # there is nothing to prove
        unread=unread,
    )


def unproven(spec: BackupSpec, facts: BackupFacts) -> tuple[str, ...]:
    """The subjects whose restore was not proven in time, with the kind where that is not their snapshots."""
    return tuple(
        subject.name if proof.of is Of.SNAPSHOT else f"{subject.name} ({proof.of})"
        for subject in spec.subjects
        for proof in proofs(subject, spec, facts)
        if proof.due
    )


def _named(found: Mapping[str, tuple[Age, ...]], which: Callable[[Age], bool]) -> Iterator[str]:
    for name, made in found.items():
        for age in filter(which, made):
            yield name if age.what == SNAPSHOT else f"{name} ({age.what})"
