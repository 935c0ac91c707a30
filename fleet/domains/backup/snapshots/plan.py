"""Snapshots: what to take, and what to remove of what fleet took before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from fleet.core.plan import Note, Part, Step, Why
from fleet.domains.backup.assemble import datasets_of, items
from fleet.domains.backup.items import BackupFacts, GuestState, Item, Kind
from fleet.domains.backup.method import Method, method_of
from fleet.domains.backup.retention import Decision, Entry, brake, decide
from fleet.domains.backup.snapshots import steps
from fleet.domains.backup.spec import BackupSpec, Keep, Subject

#: Locks during which a guest's volumes come, go or change their names.
_NO_SNAPSHOT = frozenset({"create", "destroyed", "disk", "migrate", "rollback"})
#: Locks of a snapshot that is made or removed: what is left of one that was broken off.
_AT_WORK = frozenset({"snapshot", "snapshot-delete"})


@dataclass(frozen=True, slots=True)
class Taking:
    """What a run takes: the steps, each subject's method, and why others get nothing."""

    part: Part
    name: str
    methods: Mapping[str, Method] = field(default_factory=dict)  # of the subjects that get one
    skipped: Mapping[str, str] = field(default_factory=dict)  # excluded, archived only, a template
    refused: Mapping[str, str] = field(default_factory=dict)  # wanted, and not possible


def take(subjects: Sequence[Subject], facts: BackupFacts, name: str) -> Taking:
    """The snapshots of one run, all of the same name; never one of a subject that has it already."""
    methods: dict[str, Method] = {}
    skipped: dict[str, str] = {}
    refused: dict[str, str] = {}
    zfs: list[tuple[str, bool, tuple[str, ...]]] = []
    pct: list[tuple[int, str, tuple[str, ...]]] = []
    for subject in subjects:
        if subject.exclude is not None:
            skipped[subject.name] = subject.no_snapshots
        elif subject.snapshots is None:
            kind = skipped if subject.no_snapshots else refused
            kind[subject.name] = subject.no_snapshots or "hosts.yml has no policy for it"
        elif subject.vmid is None:
            if why := _against_dataset(subject, facts):
                refused[subject.name] = why
            else:
                methods[subject.name] = Method(Kind.ZFS, "zfs snapshot")
                zfs.append(("-", False, (subject.name,)))
        elif (guest := facts.guests.get(subject.vmid)) is None:
            refused[subject.name] = f"there is no guest {subject.vmid} on the node"
        else:
            method = method_of(guest, subject.snapshots)
            datasets = datasets_of(subject, facts)
            if method.kind is None:
                by_design = guest.template or subject.no_snapshots
                enough = "; if archives are enough: backup: {snapshots: {method: vzdump}}"
                kind = skipped if by_design else refused
                kind[subject.name] = method.why + (enough if subject.archives and not by_design else "")
            elif why := _against_guest(guest, method, datasets) or _against_pools(datasets, facts):
                refused[subject.name] = why
            else:
                methods[subject.name] = method
                if method.kind is Kind.ZFS:
                    zfs.append((str(guest.vmid), method.freeze, datasets))
                else:
                    pct.append((guest.vmid, tool_of(guest), datasets))
    taken = [step for step in (_zfs_step(zfs, name), _pct_step(pct, name)) if step]
    return Taking(
        Part(tuple(taken), tuple(_notes(methods, skipped, refused))), name, methods, skipped, refused
    )


def taken(subject: Subject, facts: BackupFacts, name: str) -> str:
    """Why a fresh read does not show this run's snapshot of a subject, whole and ours; empty: it does."""
    guest = facts.guests.get(subject.vmid) if subject.vmid is not None else None
    item = next((each for each in items(subject, facts) if each.name == name), None)
    if item is None:
        return "the snapshot is not there"
    if not item.ours:
        return f"a snapshot of this name is there that is not ours ({item.owner})"
    if item.kind is Kind.PCT:
        half = next((each.state for each in guest.snapshots if each.name == name), "") if guest else ""
        return f"the snapshot is half done ({half})" if half else ""
    missing = {*datasets_of(subject, facts)} - {part.dataset for part in item.parts}
    if missing:
        return f"the snapshot lacks {', '.join(sorted(missing))}"
    pools: dict[str, set[int]] = {}
    for part in item.parts:
        pools.setdefault(part.dataset.split("/")[0], set()).add(part.createtxg)
    return "its volumes were not snapshotted at once" if any(len(each) > 1 for each in pools.values()) else ""


def apart(taking: Taking, subjects: Sequence[Subject], facts: BackupFacts) -> Mapping[str, int]:
    """The pools in which a run's snapshots by ZFS are of several transactions, and of how many."""
    pools: dict[str, set[int]] = {}
    for subject in subjects:
        method = taking.methods.get(subject.name)
        if method is None or method.kind is not Kind.ZFS:
            continue
        for part in (
            part for item in items(subject, facts) if item.name == taking.name for part in item.parts
        ):
            pools.setdefault(part.dataset.split("/")[0], set()).add(part.createtxg)
    return {pool: len(found) for pool, found in sorted(pools.items()) if len(found) > 1}


def residue(subjects: Sequence[Subject], before: BackupFacts, after: BackupFacts) -> Mapping[str, str]:
    """The guests locked for a snapshot that were not so before the run, and what to do, by name."""
    left = {}
    for subject in subjects:
        was, guest = (facts.guests.get(subject.vmid or 0) for facts in (before, after))
        if guest is not None and guest.lock in _AT_WORK and (was is None or was.lock != guest.lock):
            left[subject.name] = _held(guest)
    return left


# ── removing ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a run removes, and for each backup of each subject whether it stays and the rule that says so."""

    part: Part
    decisions: Mapping[str, tuple[Decision, ...]]  # by subject, newest first; `id` is the snapshot's name
    braked: Mapping[str, str] = field(default_factory=dict)  # by subject: why nothing of it is removed


def rotate(
    spec: BackupSpec,
    subjects: Sequence[Subject],
    facts: BackupFacts,
    *,
    this_run: str = "",
    failed: Collection[str] = (),
    keep: Keep | None = None,
    allowed: int | None = None,
    common: Mapping[str, Mapping[str, str]] | None = None,
) -> Rotation:
    """What goes. `failed`: subjects that lose nothing. `keep`: instead of each subject's own policy.

    `allowed`: so many removals of a subject the operator has agreed to. `common`: by subject and snapshot,
    why a replica still needs it.
    """
    decisions: dict[str, tuple[Decision, ...]] = {}
    braked: dict[str, str] = {}
    zfs: list[tuple[str, Item, str]] = []
    pct: list[tuple[int, str, Item, str]] = []
    for subject in subjects:
        if subject.snapshots is None or subject.exclude is not None:
            continue
        policy = keep or subject.snapshots.keep
        there = items(subject, facts)
        made = _decided(spec, there, facts, policy, this_run, (common or {}).get(subject.name, {}))
        away = _against_pools(datasets_of(subject, facts), facts)
        if subject.name in failed or away or not facts.complete:
            why = away or ("its snapshot failed" if facts.complete else "the host's answer was not whole")
            made = tuple(Decision(each.id, False, f"{why}: nothing is removed") for each in made)
        stop = brake(made, spec.brake)
        if stop and (allowed is None or sum(each.remove for each in made) > allowed):
            braked[subject.name] = stop
        decisions[subject.name] = made
        why_of = {each.id: each.reason for each in made if each.remove}
        for item in there if subject.name not in braked else ():
            if item.name in why_of and item.kind is Kind.ZFS:
                zfs.append(("-" if subject.vmid is None else str(subject.vmid), item, why_of[item.name]))
            elif item.name in why_of and subject.vmid is not None:
                tool = tool_of(facts.guests[subject.vmid])
                pct.append((subject.vmid, tool, item, why_of[item.name]))
    removing: list[Step] = []
    if zfs:
        removing.append(steps.drop_zfs(zfs, _counted(len({item.subject for _, item, _ in zfs}))))
    if pct:
        removing.append(steps.drop_pct(pct, _counted(len({item.subject for _, _, item, _ in pct}))))
    notes = tuple(Note(name, Why.REFUSED, why) for name, why in braked.items())
    return Rotation(Part(tuple(removing), notes), decisions, braked)


def _decided(
    spec: BackupSpec,
    there: Iterable[Item],
    facts: BackupFacts,
    keep: Keep,
    this_run: str,
    common: Mapping[str, str],
) -> tuple[Decision, ...]:
    entries = [_entry(item, facts.now, common) for item in there]
    return decide(
        entries, keep, ZoneInfo(spec.timezone), now=facts.now, newest=spec.newest, this_run=this_run
    )


def _entry(item: Item, now: int, common: Mapping[str, str]) -> Entry:
    uncounted = ""
    if not item.ours:
        uncounted = f"not fleet's ({item.owner})"
    elif item.pinned and item.pinned >= day(now):
        uncounted = f"pinned until {item.pinned}"
    blocked = "; ".join((*item.blocks, *((common[item.name],) if item.name in common else ())))
    return Entry(item.name, item.created, item.order, uncounted, blocked, item.whole)


def day(now: int) -> str:
    """The UTC date: a pin of a date holds until that day is over."""
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"


def tool_of(guest: GuestState) -> str:
    """The command for a guest of its kind."""
    return "pct" if guest.kind == "lxc" else "qm"


def _against_dataset(subject: Subject, facts: BackupFacts) -> str:
    missing = "" if subject.name in facts.datasets else "there is no such dataset"
    return missing or _against_pools((subject.name,), facts)


def _against_pools(datasets: Iterable[str], facts: BackupFacts) -> str:
    """A pool that is suspended answers nothing for as long as it is: the whole run would wait for it."""
    for name in sorted({dataset.split("/")[0] for dataset in datasets}):
        if name in facts.pools and facts.pools[name].health not in ("ONLINE", "DEGRADED"):
            return f"the pool {name} is {facts.pools[name].health}: see `zpool status {name}`"
    return ""


def _against_guest(guest: GuestState, method: Method, datasets: tuple[str, ...]) -> str:
    if guest.lock in _NO_SNAPSHOT or guest.lock in _AT_WORK:
        return _held(guest)
    own = [volume.dataset for volume in guest.volumes if volume.dataset]
    missing = [each for each in own if each not in datasets]
    if method.kind is Kind.ZFS and missing:
        return f"the host has no dataset {', '.join(missing)}"
    return ""


def _held(guest: GuestState) -> str:
    """Which lock, and what to do where nothing is at work on it and a broken-off command has left it."""
    unlock = f"where nothing is at work on it: `{tool_of(guest)} unlock {guest.vmid}`"
    again = ", then delete that snapshot again" if guest.lock == "snapshot-delete" else ""
    return f"Proxmox holds the lock {guest.lock} on it; {unlock}{again}"


def _zfs_step(groups: Sequence[tuple[str, bool, tuple[str, ...]]], name: str) -> Step | None:
    return steps.take_zfs(name, groups, _counted(len(groups))) if groups else None


def _pct_step(groups: Sequence[tuple[int, str, tuple[str, ...]]], name: str) -> Step | None:
    return steps.take_pct(name, groups, _counted(len(groups))) if groups else None


def _counted(number: int) -> str:
    return f"{number} guest or dataset" if number == 1 else f"{number} guests and datasets"


def _notes(
    methods: Mapping[str, Method], skipped: Mapping[str, str], refused: Mapping[str, str]
) -> Iterable[Note]:
    yield from (Note(name, Why.UNCHANGED, method.why) for name, method in methods.items())
    yield from (Note(name, Why.UNMANAGED, why) for name, why in skipped.items())
    yield from (Note(name, Why.REFUSED, why) for name, why in refused.items())
