"""Is everything backed up? Each volume and dataset of the node is in exactly one state. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from fleet.domains.backup.ages import Age, Due, ages
from fleet.domains.backup.items import BackupFacts, GuestState, Kind, Volume
from fleet.domains.backup.method import method_of
from fleet.domains.backup.proofs import Proven, proofs
from fleet.domains.backup.spec import BackupSpec, Subject
from fleet.domains.backup.undeclared import Declared, exclusion, untaken


class State(StrEnum):
    """What becomes of a volume when the guest is lost."""

    PROTECTED = "protected"  # of every kind that hosts.yml wants there is a backup, in time
    LATE = "late"  # there are backups, and none since the last one was due
    NEVER = "never"  # hosts.yml wants a kind of which there is no backup yet
    EXCLUDED = "excluded"  # hosts.yml says so, with a reason
    UNCOVERED = "uncovered"  # nothing takes it, as hosts.yml and the node are


#: What a person has to do something about.
BAD = frozenset({State.LATE, State.NEVER, State.UNCOVERED})


@dataclass(frozen=True, slots=True)
class Row:
    """One volume or dataset. `ages`: of each kind of backup that hosts.yml wants of it."""

    subject: str
    volume: str  # rootfs, mp0, scsi0; empty for a dataset
    place: str  # guests:subvol-107-disk-0, /data, tank/data
    state: State
    how: str
    ages: tuple[Age, ...] = ()
    proven: tuple[Proven, ...] = ()  # of each kind of its backups: when a drill restored one


def coverage(spec: BackupSpec, facts: BackupFacts, declared: Declared, due: Due) -> tuple[Row, ...]:
    """A row for every volume of every guest and every dataset, but for copies that fleet made itself."""
    return tuple(_Coverage(spec, facts, declared, due).rows())


class _Coverage:
    def __init__(self, spec: BackupSpec, facts: BackupFacts, declared: Declared, due: Due) -> None:
        self._spec = spec
        self._facts = facts
        self._due = due
        self._untaken = untaken(declared, spec, facts)
        self._datasets = {each.name: each for each in spec.subjects if each.vmid is None}

    def rows(self) -> Iterator[Row]:
        for subject in self._spec.subjects:
            yield from self._of_guest(subject) if subject.vmid is not None else (self._of_dataset(subject),)
        declared = {each.vmid for each in self._spec.subjects}
        for vmid, guest in sorted(self._facts.guests.items()):
            if vmid not in declared and not guest.copy:
                yield from self._of_stranger(guest)
        for each in self._untaken:
            state = State.EXCLUDED if each.excluded else State.UNCOVERED
            below = f" (and {each.below} below it)" if each.below else ""
            yield Row(each.name, "", each.name, state, f"{each.why}{below}")

    # ── what hosts.yml declares ───────────────────────────────────────────────────────────────────

    def _of_guest(self, subject: Subject) -> Iterator[Row]:
        assert subject.vmid is not None
        guest = self._facts.guests.get(subject.vmid)
        if guest is None:
            if subject.exclude is None:
                text = "the guest is not on the node"
                yield Row(subject.name, "", str(subject.vmid), State.UNCOVERED, text)
            return
        for volume in guest.volumes:
            if volume.storage:
                made = ages(subject, self._spec, self._facts, self._due, volume)
                state, how = _volume_state(subject, guest, volume)
                yield self._row(subject, volume, state, how, made)
            else:
                state, how = self._bind_state(volume)
                yield Row(subject.name, volume.key, volume.volid, state, how)

    def _of_dataset(self, subject: Subject) -> Row:
        state, how, made = self._subject_state(subject)
        return self._row(subject, None, state, how, made)

    def _row(
        self, subject: Subject, volume: Volume | None, state: State, how: str, made: tuple[Age, ...]
    ) -> Row:
        state = _by_age(state, made)
        backed = state in (State.PROTECTED, State.LATE)
        return Row(
            subject.name,
            volume.key if volume else "",
            volume.volid if volume else subject.name,
            state,
            how,
            made if state not in (State.EXCLUDED, State.UNCOVERED) else (),
            proofs(subject, self._spec, self._facts) if backed else (),
        )

    def _subject_state(self, subject: Subject) -> tuple[State, str, tuple[Age, ...]]:
        """Of a declared dataset."""
        if subject.exclude is not None:
            return State.EXCLUDED, subject.exclude, ()
        if subject.snapshots is None:
            return State.UNCOVERED, "hosts.yml has no policy for it", ()
        if subject.name not in self._facts.datasets:
            return State.UNCOVERED, "the host has no such dataset", ()
        made = ages(subject, self._spec, self._facts, self._due)
        return _by_age(State.PROTECTED, made), _with_replicas("zfs snapshot", subject), made

    # ── what containers mount of the node ─────────────────────────────────────────────────────────

    def _bind_state(self, volume: Volume) -> tuple[State, str]:
        """A mount's data belongs to the dataset that is mounted there: it is covered as that is."""
        path = volume.volid
        for each in (path, *_folders(path)):
            if each in self._spec.excluded:
                return State.EXCLUDED, self._spec.excluded[each]
        if path.startswith("/dev/zvol/"):
            return self._dataset_state(path, path.removeprefix("/dev/zvol/"))
        if path.startswith("/dev/"):
            return State.UNCOVERED, f"a device of the node, of which nothing is taken{self._unless(path)}"
        there = {each.mounted: name for name, each in self._facts.details.items() if each.mounted}
        there |= self._facts.mounts
        at = next((each for each in (path, *_folders(path), "/") if each in there), "")
        if there.get(at) not in self._facts.datasets:
            where = f"on {there[at]}, which is not ZFS" if at else "on no dataset"
            return State.UNCOVERED, f"{path} is {where}: nothing of it is taken{self._unless(path)}"
        state, how = self._dataset_state(path, there[at])
        inside = sorted(name for at, name in there.items() if at.startswith(f"{path.rstrip('/')}/"))
        for name in inside if state is not State.UNCOVERED else ():
            if name in self._facts.datasets and self._dataset_state(path, name)[0] is State.UNCOVERED:
                return State.UNCOVERED, f"{name}, which is mounted in it, is not covered"
        return state, how

    def _dataset_state(self, path: str, name: str) -> tuple[State, str]:
        """Of what lies in a dataset, declared or not."""
        if subject := self._datasets.get(name):
            state, how, _ = self._subject_state(subject)
            if state is State.EXCLUDED:
                return state, f"its dataset {name} is: {how}"
            if state is State.UNCOVERED:
                return state, f"its dataset {name} is not: {how}"
            return state, f"with its dataset {name}"
        if reason := exclusion(name, self._spec):
            return State.EXCLUDED, f"its dataset {name} is: {reason}"
        return State.UNCOVERED, f"{path} is on {name}, of which nothing is taken"

    def _unless(self, key: str) -> str:
        return f"; if it need not be: backup: {{exclude: {{{key}: reason}}}}"

    # ── what hosts.yml does not declare ───────────────────────────────────────────────────────────

    def _of_stranger(self, guest: GuestState) -> Iterator[Row]:
        reason = self._spec.excluded.get(str(guest.vmid))
        kind = "container" if guest.kind == "lxc" else "VM"
        how = f"the {kind} {guest.vmid} is not in hosts.yml{self._unless(str(guest.vmid))}"
        for each in guest.volumes:
            state = State.UNCOVERED if reason is None else State.EXCLUDED
            yield Row(guest.name, each.key, each.volid, state, reason or how)


def _volume_state(subject: Subject, guest: GuestState, volume: Volume) -> tuple[State, str]:
    """By what hosts.yml wants and the guest allows; not by what there is yet."""
    if subject.exclude is not None:
        return State.EXCLUDED, subject.exclude
    ways = []
    why = "hosts.yml has no policy for it"
    if subject.snapshots is not None:
        method = method_of(guest, subject.snapshots)
        why = method.why
        if method.kind is Kind.PCT:
            ways.append("pct snapshot" if guest.kind == "lxc" else "qm snapshot")
        elif method.kind is Kind.ZFS:
            ways.append("zfs snapshot" + (", frozen" if method.freeze else ""))
        elif not guest.template and not subject.no_snapshots:
            return State.UNCOVERED, why
    if subject.archives is not None:
        if volume.backup:
            ways.append(f"vzdump to {subject.archives.storage}")
        else:
            why = f"vzdump leaves {volume.key} out: it has no backup=1"
    return (State.PROTECTED, _with_replicas(" + ".join(ways), subject)) if ways else (State.UNCOVERED, why)


def _by_age(state: State, made: tuple[Age, ...]) -> State:
    """Protected is what has what hosts.yml wants, not what is to have it."""
    if state is not State.PROTECTED:
        return state
    if any(age.seconds is None for age in made):
        return State.NEVER
    return State.LATE if any(age.late for age in made) else state


def _with_replicas(how: str, subject: Subject) -> str:
    return f"{how} + zfs send to {', '.join(subject.replicas)}" if subject.replicas else how


def _folders(path: str) -> Iterator[str]:
    """The folders that a path is in, the nearest first; without the root."""
    while path := path.rpartition("/")[0]:
        yield path
