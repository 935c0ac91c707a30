"""Drills: which backups are restored to prove that they can be, and on which numbers. Pure.

The range of the policy belongs to drills alone: a guest in it that no drill made stops them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleet.core.errors import Refused, UsageError
from fleet.core.plan import Part, Step
from fleet.domains.backup.assemble import archive_items, items
from fleet.domains.backup.items import BackupFacts, Item
from fleet.domains.backup.proofs import of_item
from fleet.domains.backup.restore import steps
from fleet.domains.backup.restore.config import Link
from fleet.domains.backup.restore.plan import Copy, Node, Request, left_copies, restore_guest
from fleet.domains.backup.spec import Drill, Subject


@dataclass(frozen=True, slots=True)
class Health:
    """The service that a guest is declared to run: its kind, its name, the folder of a Compose stack."""

    kind: str = "-"
    name: str = "-"
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Drilling:
    """What a drill does: a part for each backup, the copies, and why others get none; all by `shown`."""

    parts: Mapping[str, Part] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)
    items: Mapping[str, Item] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


def leftovers(drill: Drill, node: Node, *, but: Sequence[int] = ()) -> Part:
    """Destroys the copies that drills have left in their range; Refused where anybody else is in it."""
    first, last = drill.vmids
    ours = {copy.vmid: copy for copy in left_copies(node, drill.vmids)}
    if others := sorted(vmid for vmid in node.guests if first <= vmid <= last and vmid not in ours):
        raise Refused(
            f"the VMIDs {first}-{last} belong to drills (backup.drill.vmids of hosts.yml), and no drill made"
            f" {', '.join(map(str, others))}: nothing is restored there"
        )
    return Part(tuple(_scrap(copy, drill) for vmid, copy in sorted(ours.items()) if vmid not in but))


def sample(
    subjects: Sequence[Subject], facts: BackupFacts, number: int | None, *, archives: bool = False
) -> tuple[tuple[Subject, Item], ...]:
    """So many of the subjects' newest snapshots and newest archives (None: all): those first that were proven
    longest ago. `archives`: no snapshots.
    """
    there = [
        (subject, item)
        for subject in subjects
        for item in newest(subject, facts)
        if item.archive is not None or not archives
    ]
    there.sort(key=lambda each: (_proven_at(each[1], facts), not each[0].critical, each[0].name))
    return tuple(there if number is None else there[:number])


def newest(subject: Subject, facts: BackupFacts) -> tuple[Item, ...]:
    """The newest snapshot and the newest archive of a subject that fleet made, whole; what there is."""
    kinds = (items(subject, facts), archive_items(subject, facts))
    found = (next((item for item in there if item.ours and item.whole), None) for there in kinds)
    return tuple(item for item in found if item is not None)


def _proven_at(item: Item, facts: BackupFacts) -> int:
    proof = facts.proven.get((item.subject, of_item(item)))
    return proof.at if proof else 0


def shown(item: Item) -> str:
    """What a backup is called: `plex@fleet-daily-20261123t070000z`."""
    return f"{item.subject}@{item.name}"


def drill(
    chosen: Sequence[tuple[Subject, Item]],
    configs: Mapping[str, str],
    health: Mapping[str, Health],
    facts: BackupFacts,
    node: Node,
    policy: Drill,
) -> Drilling:
    """Restores each to a number of the range, without a network or on the isolated bridge, and proves it.

    `configs`: the text of the guest's configuration, by `shown`; `health`: by subject.
    """
    parts: dict[str, Part] = {}
    copies: dict[str, int] = {}
    refused: dict[str, str] = {}
    request = Request(
        link=Link.NONE if policy.bridge is None else Link.UP,
        bridge=policy.bridge,
        devices=False,
        purpose="drill",
        within=policy.vmids,
    )
    for subject, item in chosen:
        if subject.vmid is None:
            parts[shown(item)] = Part((steps.prove_dataset(item.parts[0], subject.name, facts.now),))
            continue
        storage = policy.storage if item.archive is not None else None
        # Nothing but an isolated bridge is joined, so the original's addresses are no obstacle.
        alone = replace(node, guests=node.guests | frozenset(copies.values()), addresses={}, copies=())
        try:
            made = restore_guest(
                subject, item, configs[shown(item)], facts, alone, replace(request, storage=storage)
            )
        except (Refused, UsageError) as error:
            refused[shown(item)] = str(error)
            continue
        service = health.get(subject.name, Health())
        proof = steps.prove(
            made.vmid,
            made.mark,
            f"drill {subject.name} ({made.vmid})",
            item,
            since=facts.now,
            original=subject.vmid if subject.vmid in facts.guests else None,
            service=(service.kind, service.name, service.directory),
            paths=made.paths,
            needs=tuple(step.id for step in made.part.steps),
        )
        parts[shown(item)] = Part((*made.part.steps, proof), made.part.notes)
        copies[shown(item)] = made.vmid
    return Drilling(parts, copies, {shown(item): item for _, item in chosen}, refused)


def _scrap(copy: Copy, policy: Drill) -> Step:
    return steps.scrap(copy.vmid, copy.mark, policy.vmids)
