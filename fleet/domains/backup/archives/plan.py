"""Archives: what to dump, and what to remove of what fleet dumped before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from fleet.core.plan import Note, Part, Step, Why
from fleet.domains.backup.archives import steps
from fleet.domains.backup.assemble import archive_items
from fleet.domains.backup.items import BackupFacts, Item
from fleet.domains.backup.retention import Decision, Entry, brake, decide
from fleet.domains.backup.spec import BackupSpec, Subject


@dataclass(frozen=True, slots=True)
class Dump:
    """What a run dumps: the steps, one a guest; and why guests that should be dumped are not, by name."""

    part: Part
    subjects: tuple[Subject, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def dump(wanted: Sequence[Subject], facts: BackupFacts, set_: str) -> Dump:
    """One archive of the set for each guest whose policy has archives and that has none of this set yet."""
    subjects = tuple(each for each in wanted if each.archives is not None and each.exclude is None)
    refused: dict[str, str] = {}
    made: list[Step] = []
    for subject in subjects:
        guest = facts.guests.get(subject.vmid) if subject.vmid is not None else None
        if guest is None:
            refused[subject.name] = f"there is no guest {subject.vmid} on this node: vzdump would skip it"
        elif dumped(subject, facts, set_):
            if why := _is_full(subject, facts):
                refused[subject.name] = why
            else:
                made.append(steps.dump(subject, guest, set_))
    notes = [Note(name, Why.REFUSED, why) for name, why in refused.items()]
    notes += [
        Note(name, Why.WARNING, why) for name, why in too_few(subjects, facts).items() if name not in refused
    ]
    return Dump(Part(tuple(made), tuple(notes)), subjects, refused)


def too_few(wanted: Sequence[Subject], facts: BackupFacts) -> dict[str, str]:
    """Of which guests the storage will not take as many archives as their policy keeps, by name, and why."""
    found = {}
    for subject in wanted:
        if subject.archives is None or subject.exclude is not None:
            continue
        limit, needed = facts.protected_limits.get(subject.archives.storage), _needed(subject, facts)
        if limit is not None and (needed is None or limit < needed):
            found[subject.name] = (
                f"max-protected-backups of {subject.archives.storage} is {limit}: vzdump will refuse before"
                f" anything is pruned; {_set_limit(subject.archives.storage, needed)}"
            )
    return found


def _is_full(subject: Subject, facts: BackupFacts) -> str:
    """Why vzdump would refuse now; empty: it would not."""
    assert subject.archives is not None
    storage = subject.archives.storage
    limit, protected = facts.protected_limits.get(storage), _protected(subject, facts)
    if limit is None or protected < limit:
        return ""
    return (
        f"vzdump would refuse: it has {protected} protected archives on {storage}, whose"
        f" max-protected-backups is {limit}; {_set_limit(storage, _needed(subject, facts))}"
    )


def _needed(subject: Subject, facts: BackupFacts) -> int | None:
    """How many protected archives have to be allowed: what the policy keeps, what others protect, a new one.

    None: without a limit.
    """
    assert subject.archives is not None
    keep = subject.archives.keep
    if keep.all:
        return None
    kept = sum((keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly))
    return kept + 1 + _protected(subject, facts, uncounted=True)


def _protected(subject: Subject, facts: BackupFacts, *, uncounted: bool = False) -> int:
    """The protected archives of a guest; `uncounted`: only those that its policy does not count."""
    assert subject.archives is not None
    there = {each.volid for each in facts.archives.get(subject.archives.storage, ()) if each.protected}
    of_guest = [item for item in archive_items(subject, facts) if item.name in there]
    return sum(not uncounted or bool(_entry(item, facts.now).uncounted) for item in of_guest)


def _set_limit(storage: str, needed: int | None) -> str:
    return f"on the node: pvesm set {storage} --max-protected-backups {-1 if needed is None else needed}"


def dumped(subject: Subject, facts: BackupFacts, set_: str) -> str:
    """Why a fresh read does not show this run's archive of a guest, whole and ours; empty: it does."""
    if subject.archives is None or subject.archives.storage not in facts.archives:
        return f"the archives on {subject.archives.storage if subject.archives else 'no storage'} are unknown"
    of_run = [each for each in archive_items(subject, facts) if each.ours and each.set == set_]
    for item in of_run:
        archive = item.archive
        assert archive is not None
        if not archive.size:
            return f"{archive.volid} is empty"
        if not archive.protected:
            return f"{archive.volid} is not protected"
        return ""
    return "there is no archive of it"


# ── removing ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Pruning:
    """What goes, for each archive of each guest the rule that says so, and whose removals were too many."""

    part: Part
    decisions: Mapping[str, tuple[Decision, ...]]  # by subject, newest first; `id` is the volid
    braked: Mapping[str, str] = field(default_factory=dict)  # by subject: why nothing of it is removed


def prune(
    spec: BackupSpec,
    wanted: Sequence[Subject],
    facts: BackupFacts,
    *,
    this_run: str,
    failed: Collection[str] = (),
    allowed: int | None = None,
) -> Pruning:
    """What goes of the archives that fleet made of these guests; nothing of those that failed.

    `allowed`: so many removals of a guest the operator has agreed to.
    """
    decisions: dict[str, tuple[Decision, ...]] = {}
    braked: dict[str, str] = {}
    removing: list[Step] = []
    for subject in wanted:
        if subject.archives is None or subject.exclude is not None:
            continue
        there = archive_items(subject, facts)
        made = decide(
            [_entry(item, facts.now) for item in there],
            subject.archives.keep,
            ZoneInfo(spec.timezone),
            now=facts.now,
            newest=spec.newest,
            this_run=next((item.name for item in there if item.ours and item.set == this_run), ""),
        )
        if subject.name in failed or not facts.complete:
            why = "its archive failed" if facts.complete else "the host's answer was not whole"
            made = tuple(Decision(each.id, False, f"{why}: nothing is removed") for each in made)
        stop = brake(made, spec.brake)
        if stop and (allowed is None or sum(each.remove for each in made) > allowed):
            braked[subject.name] = stop
        decisions[subject.name] = made
        why_of = {each.id: each.reason for each in made if each.remove}
        if subject.name not in braked:
            removing += [steps.remove(item, why_of[item.name]) for item in there if item.name in why_of]
    notes = tuple(Note(name, Why.REFUSED, why) for name, why in braked.items())
    return Pruning(Part(tuple(removing), notes), decisions, braked)


def _entry(item: Item, now: int) -> Entry:
    uncounted = ""
    if not item.ours:
        uncounted = f"not fleet's ({item.owner})"
    elif item.pinned and item.pinned >= f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}":
        uncounted = f"pinned until {item.pinned}"
    elif item.archive is not None and not item.archive.size:
        uncounted = "empty: it stands for no backup"
    return Entry(item.name, item.created, item.order, uncounted, "; ".join(item.blocks))
