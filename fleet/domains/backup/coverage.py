"""Is everything backed up? Each volume is protected, excluded with a reason, or uncovered. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleet.domains.backup.assemble import archive_items, items
from fleet.domains.backup.items import BackupFacts, GuestState, Kind, Volume
from fleet.domains.backup.method import method_of
from fleet.domains.backup.proofs import Proven, proofs
from fleet.domains.backup.spec import BackupSpec, Subject

DAY = 86_400


class State(StrEnum):
    """What becomes of a volume when the guest is lost."""

    PROTECTED = "protected"
    EXCLUDED = "excluded"  # hosts.yml says so, with a reason
    UNCOVERED = "uncovered"


@dataclass(frozen=True, slots=True)
class Row:
    """One volume or dataset. `age`: seconds since its newest backup of ours; None: there is none yet."""

    subject: str
    volume: str  # rootfs, mp0, scsi0; empty for a dataset
    place: str  # guests:subvol-107-disk-0, /data, tank/data
    state: State
    how: str
    age: int | None = None
    proven: tuple[Proven, ...] = ()  # of each kind of its backups: when a drill restored one


def coverage(
    spec: BackupSpec,
    facts: BackupFacts,
    mountpoints: Mapping[str, str],
    undeclared: Sequence[GuestState] = (),
) -> tuple[Row, ...]:
    """A row for every volume of every guest and every dataset; `mountpoints`: of the declared datasets."""
    rows = [row for subject in spec.subjects for row in _rows(subject, spec, facts, mountpoints)]
    for guest in undeclared:
        rows += [
            Row(
                guest.name,
                each.key,
                each.volid,
                State.UNCOVERED,
                f"the guest {guest.vmid} is not in hosts.yml",
            )
            for each in guest.volumes
        ]
    return tuple(rows)


def _rows(
    subject: Subject, spec: BackupSpec, facts: BackupFacts, mountpoints: Mapping[str, str]
) -> Iterator[Row]:
    age, proven = _age(subject, facts), proofs(subject, spec, facts)
    if subject.vmid is None:
        state, how = _dataset_state(subject, facts)
        yield Row(subject.name, "", subject.name, state, how, age, proven if state is State.PROTECTED else ())
        return
    guest = facts.guests.get(subject.vmid)
    if guest is None:
        if subject.exclude is None:
            yield Row(subject.name, "", str(subject.vmid), State.UNCOVERED, "the guest is not on the node")
        return
    for volume in guest.volumes:
        if not volume.storage:
            state, how = _bind_state(volume, spec, mountpoints)
            yield Row(subject.name, volume.key, volume.volid, state, how)
        else:
            state, how = _volume_state(subject, guest, volume)
            yield Row(
                subject.name,
                volume.key,
                volume.volid,
                state,
                how,
                age,
                proven if state is State.PROTECTED else (),
            )


def _dataset_state(subject: Subject, facts: BackupFacts) -> tuple[State, str]:
    if subject.exclude is not None:
        return State.EXCLUDED, subject.exclude
    if subject.snapshots is None:
        return State.UNCOVERED, "hosts.yml has no policy for it"
    if subject.name not in facts.datasets:
        return State.UNCOVERED, "the host has no such dataset"
    return State.PROTECTED, _with_replicas("zfs snapshot", subject)


def _volume_state(subject: Subject, guest: GuestState, volume: Volume) -> tuple[State, str]:
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
    if subject.archives is not None:
        if volume.backup:
            ways.append(f"vzdump to {subject.archives.storage}")
        else:
            why = f"vzdump leaves {volume.key} out: it has no backup=1"
    return (State.PROTECTED, _with_replicas(" + ".join(ways), subject)) if ways else (State.UNCOVERED, why)


def _bind_state(volume: Volume, spec: BackupSpec, mountpoints: Mapping[str, str]) -> tuple[State, str]:
    """A bind mount's data belongs to a dataset: it is covered as that is."""
    path = volume.volid
    if path.startswith("/dev/"):
        return State.EXCLUDED, "a device of the host"
    holding = [
        name
        for name, at in mountpoints.items()
        if at and (path == at or path.startswith(f"{at.rstrip('/')}/"))
    ]
    if not holding:
        return State.UNCOVERED, f"{path} is on no dataset that hosts.yml declares"
    dataset = max(holding, key=lambda name: len(mountpoints[name]))
    subject = next((each for each in spec.subjects if each.name == dataset and each.vmid is None), None)
    if subject is None or (subject.snapshots is None and subject.exclude is None):
        return State.UNCOVERED, f"its dataset {dataset} has no policy"
    if subject.exclude is not None:
        return State.EXCLUDED, f"its dataset {dataset} is: {subject.exclude}"
    return State.PROTECTED, f"with its dataset {dataset}"


def _with_replicas(how: str, subject: Subject) -> str:
    return f"{how}, sent to {', '.join(subject.replicas)}" if subject.replicas else how


def _age(subject: Subject, facts: BackupFacts) -> int | None:
    made = [each.created for each in (*items(subject, facts), *archive_items(subject, facts)) if each.ours]
    past = [each for each in made if each <= facts.now + 300]
    return facts.now - max(past) if past else None
