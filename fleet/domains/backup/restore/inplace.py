"""Restoring in place: a guest's data becomes that of a snapshot, and its present state stays. Pure.

`zfs rollback` destroys all that is newer. So none is used: the volume is snapshotted and set aside under
another name, a clone of the snapshot takes its name, and `zfs promote` gives it the older snapshots. What was
before is then one `zfs rename` away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fleet.core.errors import Refused
from fleet.core.plan import Note, Part, Why
from fleet.domains.backup.items import BackupFacts, GuestState, Item, Kind
from fleet.domains.backup.method import own_volumes
from fleet.domains.backup.names import snapshot_name
from fleet.domains.backup.owners import probable_owner
from fleet.domains.backup.restore import steps
from fleet.domains.backup.spec import Subject


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A rollback that was interrupted: the guest is locked until it is finished."""

    safety: str
    item: str
    was_running: bool


def back_in_place(
    subject: Subject, item: Item, facts: BackupFacts, unfinished: Unfinished | None = None
) -> Part:
    """Puts a guest back; Refused where something newer stands against it, with the list of it."""
    guest = facts.guests.get(subject.vmid) if subject.vmid is not None else None
    if subject.vmid is None:
        raise Refused(
            f"{subject.name} is a dataset that others use: restore it beside itself"
            " (without --in-place) and copy back what is needed"
        )
    if guest is None or guest.kind != "lxc":
        raise Refused(f"{subject.name} is not a container of this node")
    if item.kind is Kind.VZDUMP:
        raise Refused(
            "an archive is restored to a new VMID only: unpacking it in place destroys what is there first"
        )
    if guest.lock and not (unfinished and guest.lock == "rollback"):
        raise Refused(f"Proxmox holds the lock {guest.lock} on {subject.name}")
    volumes = tuple(volume.dataset for volume in own_volumes(guest))
    if not volumes or None in volumes:
        raise Refused(
            f"{subject.name} has volumes that are not on ZFS: restore to a new VMID, or on the node"
            f" `pct rollback {guest.vmid} {item.name}`"
        )
    if unfinished is not None:
        if unfinished.item != item.name:
            raise Refused(f"{subject.name} is being put back to {unfinished.item}: finish that first")
        back = tuple(_unfinished(facts, [each for each in volumes if each], item, unfinished.safety))
        return _part(subject, guest, item, unfinished.safety, back, unfinished.was_running)
    has = {part.dataset: part for part in item.parts}
    if missing := [each for each in volumes if each not in has]:
        raise Refused(f"{subject.name}@{item.name} does not hold {', '.join(map(str, missing))}")
    if newer := tuple(_newer(facts, guest, item)):
        raise Refused(
            f"{subject.name} has newer snapshots than {item.name}, which would no longer belong to it:\n"
            + "\n".join(f"  {path}  ({owner})" for path, owner in newer)
            + "\nrestore to a new VMID (without --in-place), or to the newest one"
        )
    safety = snapshot_name("before", facts.now)
    back = tuple(
        steps.VolumeBack(part.dataset, part.guid, aside(part.dataset, safety))
        for part in (has[each] for each in volumes if each)
    )
    return _part(subject, guest, item, safety, back, guest.running)


def aside(dataset: str, safety: str) -> str:
    """Where a volume's present state goes: a name that Proxmox does not take for one of its volumes."""
    parent, _, name = dataset.rpartition("/")
    return f"{parent}/{safety}.{name}"


def _part(
    subject: Subject,
    guest: GuestState,
    item: Item,
    safety: str,
    back: tuple[steps.VolumeBack, ...],
    was_running: bool,
) -> Part:
    name = f"{subject.name} ({guest.vmid})"
    kept = ", ".join(each.aside for each in back)
    notes = [
        Note(name, Why.WARNING, f"its present state is kept as {kept}; it is yours to remove"),
        Note(name, Why.WARNING, "only data goes back: its configuration stays as hosts.yml says"),
    ]
    binds = [f"{volume.volid} ({volume.key})" for volume in guest.volumes if not volume.storage]
    if binds:
        notes.append(Note(name, Why.WARNING, f"what is shared stays as it is: {', '.join(binds)}"))
    return Part(
        (steps.roll_back(guest.vmid, name, item, safety, was_running=was_running, volumes=back),),
        tuple(notes),
    )


def _newer(facts: BackupFacts, guest: GuestState, item: Item) -> Iterator[tuple[str, str]]:
    for part in item.parts:
        for snapshot in facts.snapshots.get(part.dataset, ()):
            if snapshot.createtxg > part.createtxg and snapshot.name != item.name:
                ours = snapshot.owner and snapshot.owner == facts.installation
                yield snapshot.path, "fleet" if ours else probable_owner(snapshot.name)
    in_zfs = {part.name for part in item.parts}
    for section in guest.snapshots:
        if section.time > item.created and section.name not in in_zfs:
            known = {
                snapshot.name for each in item.parts for snapshot in facts.snapshots.get(each.dataset, ())
            }
            if section.name not in known:
                yield f"{guest.vmid}@{section.name}", "pct snapshot"


def _unfinished(
    facts: BackupFacts, volumes: list[str], item: Item, safety: str
) -> Iterator[steps.VolumeBack]:
    """The volumes as an interrupted rollback left them: the snapshot is at either of the two names."""
    for dataset in volumes:
        there = aside(dataset, safety)
        found = [
            snapshot.guid
            for name in (dataset, there)
            for snapshot in facts.snapshots.get(name, ())
            if snapshot.name == item.name
        ]
        if not found:
            raise Refused(f"{dataset}@{item.name} is nowhere: neither there nor at {there}")
        yield steps.VolumeBack(dataset, found[0], there)
