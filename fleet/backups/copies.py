"""Runs that make copies: archives by vzdump, snapshots sent to replicas; a fresh read says what was done."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleet.backups.reading import Reading
from fleet.backups.run import Work, new_name
from fleet.core.command import command
from fleet.core.errors import ExitCode, HostError
from fleet.core.plan import Step
from fleet.domains.backup import archives, replicas
from fleet.domains.backup.assemble import archive_items
from fleet.domains.backup.items import Item
from fleet.domains.backup.retention import Decision
from fleet.domains.backup.spec import Subject
from fleet.host.apply import Result
from fleet.host.guarded import GOOD, Outcome
from fleet.host.shell import Shell
from fleet.render.lines import size_text
from fleet.render.transfer import transferring


@dataclass(frozen=True, slots=True)
class Copies:
    """What became of a run; all of it by a fresh read. Names are guests', or `SOURCE to REPLICA`."""

    what: str  # archive, copy
    made: Mapping[str, str] = field(default_factory=dict)  # what there is now
    same: tuple[str, ...] = ()  # nothing was to be done
    failed: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)  # by NAME: BACKUP, why it could not be removed
    braked: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    decisions: Mapping[str, tuple[Decision, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    executions: int = 0

    @property
    def exit_code(self) -> int:
        """0; 3 where something failed or a person has to look; 6 where only the brake stood in the way."""
        if self.failed or self.kept or self.alarms:
            return ExitCode.SOME_FAILED
        return ExitCode.REFUSED if self.braked else ExitCode.DONE


# ── archives ──────────────────────────────────────────────────────────────────────────────────────


def dump(work: Work, subjects: Sequence[Subject], *, label: str, allowed: int | None = None) -> Copies:
    """Archive each guest whose policy has archives, then remove what the policies no longer keep."""
    began = time.monotonic()
    before = work.read(archives=True)
    set_ = new_name(label, before)
    planned = archives.dump(subjects, before.backups, set_)
    results = work.apply(planned.part, jobs=1, show=transferring)
    failed = dict(planned.refused)
    if _left_running(results):
        failed |= {each.name: _GOES_ON for each in planned.subjects if each.name not in failed}
        return Copies("archive", failed=failed, seconds=time.monotonic() - began)
    after = work.read(archives=True) if results else before
    said = {result.step.id: _last_words(result) for result in results if result.outcome not in GOOD}
    for subject in planned.subjects:
        if subject.name not in failed and (why := archives.dumped(subject, after.backups, set_)):
            failed[subject.name] = said.get(f"dump {subject.name}") or why
    pruning = archives.prune(
        after.spec, planned.subjects, after.backups, this_run=set_, failed=failed, allowed=allowed
    )
    removing = work.apply(pruning.part, jobs=1)
    last = work.read(archives=True) if removing else after
    there = {each.name: _archives_of(each, last) for each in planned.subjects if last.backups.complete}
    removed, kept = _gone(pruning.decisions, pruning.braked, there, removing)
    return Copies(
        "archive",
        made={
            each.name: _archive_text(each, last, set_) for each in planned.subjects if each.name not in failed
        },
        failed=failed,
        removed=removed,
        kept=kept,
        braked=pruning.braked,
        warnings=(
            *_warnings((*results, *removing)),
            *(
                f"{name}: {why}"
                for name, why in archives.too_few(subjects, after.backups).items()
                if name not in failed
            ),
        ),
        alarms=_alarms(pruning.decisions),
        decisions=pruning.decisions,
        seconds=time.monotonic() - began,
        executions=work.shell.executions,
    )


def pin_archive(shell: Shell, item: Item, until: str) -> Step:
    """What pins an archive until a day (`-`: unpins it), by its notes: lists have only their first line."""
    content = f"/nodes/localhost/storage/{item.name.partition(':')[0]}/content/{item.name}"
    output = shell.run(command("pvesh", "get", content, "--output-format", "json").sh(), timeout=120)
    try:
        notes = json.loads(output.out).get("notes", "") if not output.code else None
    except (ValueError, AttributeError):
        notes = None
    if notes is None:
        raise HostError(f"{item.name}: its notes cannot be read: {output.err.strip() or output.out.strip()}")
    return archives.pin(item, str(notes), until)


def _archives_of(subject: Subject, reading: Reading) -> frozenset[str]:
    return frozenset(item.name for item in archive_items(subject, reading.backups))


def _archive_text(subject: Subject, reading: Reading, set_: str) -> str:
    items = archive_items(subject, reading.backups)
    return ", ".join(
        f"{item.name} ({size_text(item.size)})" for item in items if item.ours and item.set == set_
    )


# ── replicas ──────────────────────────────────────────────────────────────────────────────────────


def send(work: Work, subjects: Sequence[Subject], *, only: str = "", allowed: int | None = None) -> Copies:
    """Send each replica the newest snapshots that it lacks, then remove what its policy no longer keeps.

    `only`: the name of one replica.
    """
    began = time.monotonic()
    before, found = _read(work)
    sending = replicas.send(before.spec, subjects, before.backups, found, only=only)
    results = work.apply(sending.part, jobs=1, show=transferring)
    if _left_running(results):
        failed = dict(sending.refused) | {result.step.subject: _GOES_ON for result in results}
        return Copies("copy", failed=failed, seconds=time.monotonic() - began)
    after, found = _read(work) if results else (before, found)
    if any(result.outcome is Outcome.STALE for result in results):
        # Others remove snapshots meanwhile: what was to follow a long transfer may have gone by then.
        sending = replicas.send(after.spec, subjects, after.backups, found, only=only)
        results = (*results, *work.apply(sending.part, jobs=1, show=transferring))
        if _left_running(results):
            failed = dict(sending.refused) | {step.subject: _GOES_ON for step in sending.part.steps}
            return Copies("copy", failed=failed, seconds=time.monotonic() - began)
        after, found = _read(work)
    rest = replicas.send(after.spec, subjects, after.backups, found, only=only)
    said = {result.step.subject: _last_words(result) for result in results if result.outcome not in GOOD}
    arrived = _arrived(sending, rest)
    failed = dict(rest.refused)
    for step in rest.part.steps:
        if step.action != "send" or step.subject not in arrived:
            failed[step.subject] = "it was not sent"
    failed |= {name: text for name, text in said.items() if name in failed and text}
    pruning = replicas.prune(after.spec, rest.sides, after.backups, found, failed=failed, allowed=allowed)
    removing = work.apply(pruning.part, jobs=1)
    last, found = _read(work) if removing else (after, found)
    sides = replicas.sides(last.spec, subjects, last.backups, found, only)
    there = {
        replicas.shown(side): frozenset(copy.name for copy in side.found.copies)
        for side in sides
        if side.found and found.complete
    }
    removed, kept = _gone(pruning.decisions, pruning.braked, there, removing)
    acted = {result.step.subject for result in results if result.step.action == "send"}
    ends = {replicas.shown(side): side.last.name for side in sides if side.last}
    good = [name for name in ends if name not in failed]
    return Copies(
        "copy",
        made={name: ends[name] for name in good if name in acted},
        same=tuple(name for name in good if name not in acted),
        failed=failed,
        removed=removed,
        kept=kept,
        braked=pruning.braked,
        warnings=tuple(_warnings((*results, *removing))),
        alarms=_alarms(pruning.decisions),
        decisions=pruning.decisions,
        seconds=time.monotonic() - began,
        executions=work.shell.executions,
    )


def _arrived(planned: replicas.Sending, now: replicas.Sending) -> frozenset[str]:
    """Where the snapshot has arrived that was to be sent; there may be a newer one by now."""
    wanted = {replicas.shown(side): side.newest.guid for side in planned.sides if side.newest}
    return frozenset(
        replicas.shown(side)
        for side in now.sides
        if side.found and any(copy.guid == wanted.get(replicas.shown(side)) for copy in side.found.copies)
    )


def _read(work: Work) -> tuple[Reading, replicas.ReplicaFacts]:
    places = tuple(work.inventory.backups.replicas.values())
    reading = work.read(more=replicas.probes(places))
    return reading, replicas.read(reading.answers, places)


# ── both ──────────────────────────────────────────────────────────────────────────────────────────

_GOES_ON = "it goes on on the host; the next run follows it"


def _left_running(results: Sequence[Result]) -> bool:
    return any(result.outcome is Outcome.DETACHED for result in results)


def _gone(
    decisions: Mapping[str, tuple[Decision, ...]],
    braked: Mapping[str, str],
    there: Mapping[str, frozenset[str]],
    results: Sequence[Result],
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """What was to go and is gone, and what is still there and why, by name. `there`: what could be read."""
    removed: dict[str, tuple[str, ...]] = {}
    kept: dict[str, str] = {}
    lines = [line for result in results for line in result.log]
    for name, made in decisions.items():
        wanted = [each.id for each in made if each.remove] if name not in braked else []
        if name not in there:
            kept |= {
                f"{name}: {each}": "it was to go; whether it has gone could not be read" for each in wanted
            }
            continue
        if gone := tuple(each for each in wanted if each not in there[name]):
            removed[name] = gone
        for each in wanted:
            if each in there[name]:
                about = [line for line in lines if each in line]
                kept[f"{name}: {each}"] = about[-1] if about else "it is still there"
    return removed, kept


def _alarms(decisions: Mapping[str, tuple[Decision, ...]]) -> tuple[str, ...]:
    return tuple(
        f"{name}: {each.id}: {each.reason}"
        for name, made in decisions.items()
        for each in made
        if each.warning
    )


def _warnings(results: Sequence[Result]) -> list[str]:
    return [
        f"{result.step.subject}: {line}"
        for result in results
        if result.outcome in GOOD
        for line in result.log
        if "WARN" in line or "warning" in line.lower()
    ]


def _last_words(result: Result) -> str:
    """What a step that failed said last: what a command said of its failure, else what we say of it."""
    lines = [line for line in result.log if not line.startswith("fleet: sent ")]
    errors = [line for line in lines if line.startswith(("ERROR: Backup of", "cannot ", "no longer so:"))]
    return (errors or lines or [str(result.outcome)])[-1]
