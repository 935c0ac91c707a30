"""Replicas: what to send where, and what to remove of what was sent before. Nothing is ever forced."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from fleet.core.plan import Note, Part, Step, Why
from fleet.domains.backup.items import BackupFacts
from fleet.domains.backup.method import own_volumes
from fleet.domains.backup.names import VALID
from fleet.domains.backup.replicas import names, steps
from fleet.domains.backup.replicas.compare import Side, divergence, sides
from fleet.domains.backup.replicas.facts import Copy, Place, ReplicaFacts
from fleet.domains.backup.retention import Decision, Entry, brake, decide
from fleet.domains.backup.spec import BackupSpec, Subject


@dataclass(frozen=True, slots=True)
class Sending:
    """What a run sends; and what should be sent and is not, with the reason, by `SOURCE to REPLICA`."""

    part: Part
    sides: tuple[Side, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def send(
    spec: BackupSpec,
    wanted: Sequence[Subject],
    facts: BackupFacts,
    found: ReplicaFacts,
    *,
    only: str = "",
) -> Sending:
    """Each replica gets the newest snapshot of ours of each dataset that it lacks. `only`: one replica."""
    refused = dict(_without_datasets(wanted, facts, only))
    notes: list[Note] = []
    made: list[Step] = []
    here = sides(spec, wanted, facts, found, only)
    for side in here:
        name = shown(side)
        if why := _against(side, facts, found):
            refused[name] = why
        elif side.has_newest and not (side.found and side.found.token):
            made += _bookmarked(side)
        elif side.newest is not None and side.is_ahead and not (side.found and side.found.token):
            text = "it has a newer snapshot of the source already; the next of ours will follow that"
            notes.append(Note(name, Why.UNCHANGED, text))
        else:
            made += _transfers(side, facts, found)
    notes += [Note(name, Why.REFUSED, why) for name, why in refused.items()]
    return Sending(Part(tuple(made), tuple(notes)), here, refused)


def shown(side: Side) -> str:
    """What a source and its replica are called: `tank/data to usb`."""
    return f"{side.dataset} to {side.replica.name}"


def _without_datasets(wanted: Sequence[Subject], facts: BackupFacts, only: str) -> Iterator[tuple[str, str]]:
    """What cannot be on a replica: volumes that are not ZFS's, guests that are not there."""
    for subject in wanted:
        replicas = [name for name in subject.replicas if only in ("", name)]
        if not replicas or subject.exclude is not None:
            continue
        if subject.vmid is None:
            missing = "" if subject.name in facts.datasets else "there is no such dataset"
        elif (guest := facts.guests.get(subject.vmid)) is None:
            missing = f"there is no guest {subject.vmid} on this node"
        else:
            others = [each for each in own_volumes(guest) if each.dataset not in facts.datasets]
            missing = ", ".join(
                f"{each.key} ({each.volid}) is no ZFS dataset of this node" for each in others
            )
        if missing:
            yield from ((f"{subject.name} to {name}", missing) for name in replicas)


def _against(side: Side, facts: BackupFacts, found: ReplicaFacts) -> str:
    """Why nothing can be sent; empty: it can."""
    if not (facts.complete and found.complete):
        return "the node's answer was not whole"
    if problem := found.places.get(side.replica.name, Place(problem="it was not read")).problem:
        return f"{side.replica.name} cannot be read: {problem}"
    if side.newest is None:
        return "it has no snapshot of ours yet: `inv backup.snapshot` takes one"
    if side.found is None:
        return ""
    token = side.found.token
    of_ours = token is not None and token.snapshot.partition("@")[0] == side.dataset
    if side.found.mark != names.mark(facts.installation, side.dataset) and not (
        # What is left of a first transfer carries no mark yet; its token says what it is of.
        of_ours and not side.found.mark and not side.found.copies
    ):
        return f"{side.target} exists there and is not ours (fleet:replica is {side.found.mark or 'not set'})"
    known = token is not None and any(each.guid == token.guid for each in side.snapshots)
    if token and not (of_ours and known and not token.stale):
        why = token.stale or f"it is of {token.snapshot}, which is not there any more"
        where = f" on {side.replica.host}" if side.replica.host else ""
        return f"an interrupted transfer cannot go on: {why}; drop it{where}: zfs receive -A {side.target}"
    if not token and not side.found.copies:
        return f"{side.target} exists there and has no snapshot: ZFS receives into it only by force"
    why = "" if token else divergence(side)
    if not why:
        return ""
    return (
        f"the two have diverged: {why}; nothing was changed; to go on, remove there what is newer than what"
        f" both have, or keep it: zfs rename {side.target} {side.target}.old, and all is sent anew"
    )


def _bookmarked(side: Side) -> Iterator[Step]:
    """What the replica has last is remembered; and nothing to do where it is."""
    newest = side.newest
    assert newest is not None
    path = names.bookmark(side.replica, side.dataset, newest.name)
    if not any(each.path == path and each.guid == newest.guid for each in side.bookmarks):
        yield steps.remember(side, newest)


def _transfers(side: Side, facts: BackupFacts, found: ReplicaFacts) -> Iterator[Step]:
    """One transfer, or two where an interrupted one has to be brought to its end first."""
    newest = side.newest
    assert newest is not None
    raw, volume = side.dataset in found.encrypted, side.dataset in found.volumes
    last = side.last.guid if side.last else ""
    base = side.base
    needs: tuple[str, ...] = ()
    token = side.found.token if side.found else None
    begun = next((each for each in side.snapshots if token and each.guid == token.guid), None)
    if token and begun:
        stream = steps.rest(begun, token)
        yield steps.send(side, stream, facts.installation, raw=raw, volume=volume, newest=last)
        if begun.createtxg >= newest.createtxg:
            return
        base, last, needs = steps.based_on(begun), begun.guid, (steps.send_id(side, stream),)
    yield steps.send(
        side,
        steps.whole(newest, base),
        facts.installation,
        raw=raw,
        volume=volume,
        newest=last,
        needs=needs,
    )


# ── removing ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Pruning:
    """What goes on the replicas, for each copy the rule that says so, and where that was too much."""

    part: Part
    decisions: Mapping[str, tuple[Decision, ...]]  # by `SOURCE to REPLICA`, newest first; `id` is the name
    braked: Mapping[str, str] = field(default_factory=dict)


def prune(
    spec: BackupSpec,
    here: Sequence[Side],
    facts: BackupFacts,
    found: ReplicaFacts,
    *,
    failed: Collection[str] = (),
    allowed: int | None = None,
) -> Pruning:
    """What goes of the copies that fleet made; nothing where the source `failed` to be sent in this run.

    Never what both sides have last: the next increment starts from it.
    """
    decisions: dict[str, tuple[Decision, ...]] = {}
    braked: dict[str, str] = {}
    removing: list[Step] = []
    whole = facts.complete and found.complete
    for side in here:
        name = shown(side)
        if side.found is None or side.found.mark != names.mark(facts.installation, side.dataset):
            continue
        copies = tuple(reversed(side.found.copies))
        last = side.last
        made = decide(
            [_entry(side, copy, found) for copy in copies],
            side.replica.keep,
            ZoneInfo(spec.timezone),
            now=facts.now,
            newest=spec.newest,
            this_run=last.name if last else "",
        )
        if name in failed or not whole:
            why = "it was not brought up to date" if whole else "an answer was not whole"
            made = tuple(Decision(each.id, False, f"{why}: nothing is removed") for each in made)
        stop = brake(made, spec.brake)
        if stop and (allowed is None or sum(each.remove for each in made) > allowed):
            braked[name] = stop
        decisions[name] = made
        why_of = {each.id: each.reason for each in made if each.remove}
        going = [(copy, why_of[copy.name]) for copy in copies if copy.name in why_of]
        if going and last is not None and name not in braked:
            removing.append(steps.remove(side, going, facts.installation, last.guid))
    notes = tuple(Note(name, Why.REFUSED, why) for name, why in braked.items())
    return Pruning(Part(tuple(removing), notes), decisions, braked)


def _entry(side: Side, copy: Copy, found: ReplicaFacts) -> Entry:
    path = f"{names.place(side.replica)}{side.target}@{copy.name}"
    uncounted = "" if (path, copy.guid) in found.sent and VALID.fullmatch(copy.name) else "not sent by fleet"
    blocks = []
    if copy is side.last or copy is side.common:
        blocks.append("what both sides have last")
    if copy.userrefs:
        blocks.append("held")
    if copy.clones:
        blocks.append(f"cloned as {', '.join(copy.clones)}")
    if side.found and side.found.token:
        blocks.append("a transfer was interrupted")
    return Entry(copy.name, copy.creation, copy.createtxg, uncounted, "; ".join(blocks))
