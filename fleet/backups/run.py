"""A run of backups on a node: lock, read, act, read again; what a fresh read shows is what was done."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from fleet.backups.health import unproven
from fleet.backups.reading import Reading, read
from fleet.core.errors import ExitCode, Stopped, UsageError
from fleet.core.plan import Part, Plan, join
from fleet.core.probe import Probe
from fleet.domains.backup import replicas
from fleet.domains.backup.assemble import items
from fleet.domains.backup.items import Pool
from fleet.domains.backup.method import Method
from fleet.domains.backup.names import snapshot_name
from fleet.domains.backup.retention import Decision
from fleet.domains.backup.snapshots.plan import Rotation, Taking, apart, residue, rotate, take, taken
from fleet.domains.backup.spec import BackupSpec, Keep, Subject
from fleet.host.apply import Result, Watcher, apply, hearing_stop
from fleet.host.guarded import Outcome
from fleet.host.journal import Journal
from fleet.host.lock import NODE
from fleet.host.shell import Shell
from fleet.inventory import Inventory
from fleet.render.lines import is_terminal
from fleet.render.run import watching
from fleet.run import connected, locked, run_id, settled

Showing = AbstractContextManager[Watcher]

#: How full a pool may be before it is a warning, and before it is an alarm (percent).
FULL, TOO_FULL = 80, 90

_SAID = re.compile(r"fleet: (?P<what>[a-z]+) (?P<who>\S+) ?(?P<text>.*)")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run of snapshots; all of it by a fresh read of the host."""

    name: str  # of the snapshots; empty where only removed
    taken: Mapping[str, Method] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)  # by subject: why it has no new snapshot
    skipped: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by subject
    kept: Mapping[str, str] = field(default_factory=dict)  # by subject@snapshot: why it could not be removed
    braked: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()  # what a person has to look at
    decisions: Mapping[str, tuple[Decision, ...]] = field(default_factory=dict)
    unproven: tuple[str, ...] = ()  # subjects whose restore was not proven in time
    frozen: int = 0  # milliseconds that containers were held still, the longest time
    seconds: float = 0.0
    executions: int = 0

    @property
    def exit_code(self) -> int:
        """0; 3 where something failed or a person has to look; 6 where only the brake stood in the way."""
        if self.failed or self.kept or self.alarms:
            return ExitCode.SOME_FAILED
        return ExitCode.REFUSED if self.braked else ExitCode.DONE


class HasExitCode(Protocol):
    """How a run ended."""

    @property
    def exit_code(self) -> int:
        """As that of the process."""


Ended = TypeVar("Ended", bound=HasExitCode)


class Work:
    """One run on a node of which it holds locks: reads, and applies steps."""

    def __init__(
        self,
        inventory: Inventory,
        shell: Shell,
        journal: Journal,
        run: str,
        locks: Sequence[str],
        check: Callable[[], None],
    ) -> None:
        self.inventory = inventory
        self.shell = shell
        self.journal = journal
        self.exit_code: int = ExitCode.DONE  # what the journal says of the run
        self._locks = locks
        self._check = check
        self._run = run
        self._parts = 0

    def done(self, report: Ended) -> Ended:
        """The report, whose exit code is that of the run."""
        self.exit_code = report.exit_code
        return report

    def read(self, *, archives: bool = False, more: Sequence[Probe] = ()) -> Reading:
        """A fresh read, once no job of an earlier run is on the host."""
        return settled(
            self.shell,
            lambda: read(self.shell, self.inventory, archives=archives, more=more),
            lambda reading: reading.facts.jobs,
            self._locks,
        )

    def apply(
        self, *parts: Part, jobs: int, quiet: bool = True, show: Callable[[], Showing] | None = None
    ) -> tuple[Result, ...]:
        """The results of the steps of these parts; `quiet`: nothing is shown but on a terminal.

        `show`: shows them in another way. Stopped after Ctrl-C, so that nothing is begun that would follow.
        """
        plan = join(self.inventory.node.name, parts)
        if not plan:
            return ()
        self._parts += 1
        run = f"{self._run}-{self._parts}"
        stopped: list[bool] = []
        with show() if show else _watching(plan, quiet=quiet) as watcher:
            results = apply(
                self.shell,
                plan,
                run=run,
                jobs=jobs,
                watcher=hearing_stop(self.journal.watch(watcher), lambda: stopped.append(True)),
                check=self._check,
            )
        if stopped:
            raise Stopped(_stopped(results))
        return results


def _stopped(results: Sequence[Result]) -> str:
    if any(result.outcome is Outcome.DETACHED for result in results):
        return "stopped by Ctrl-C: what was running goes on on the node, and the next run follows it"
    return "stopped by Ctrl-C: what was running has come to its end, nothing more was begun"


@contextmanager
def working(inventory: Inventory, what: str, locks: Sequence[str] = (NODE,)) -> Iterator[Work]:
    """The run of this command on the node: connected, these locks held, in the journal."""
    run = run_id(locks)
    with (
        connected(inventory) as shell,
        locked(shell, what, locks) as check,
        Journal(inventory.node.name, run) as journal,
    ):
        journal.write("run", what=what)
        work = Work(inventory, shell, journal, run, locks, check)
        yield work
        journal.write("end", exit=work.exit_code, executions=shell.executions)


def snapshot(
    work: Work,
    subjects: Sequence[Subject],
    *,
    label: str,
    keep: Keep | None = None,
    allowed: int | None = None,
    jobs: int = 4,
) -> Report:
    """Take a snapshot of all subjects, then remove what their policies no longer keep."""
    began = time.monotonic()
    before = work.read()
    name = new_name(label, before)
    taking = take(subjects, before.backups, name)
    results = work.apply(taking.part, jobs=jobs)
    more = replica_probes(before.spec)
    after = work.read(more=more) if results or more else before
    failed = _failed(taking, results, subjects, after)
    rotation = rotate(
        after.spec,
        subjects,
        after.backups,
        this_run=name,
        failed=failed,
        keep=keep,
        allowed=allowed,
        common=needed_by_replicas(after, subjects),
    )
    report = _rotated(work, rotation, subjects, before, after, jobs)
    said = [line for result in results for line in result.log]
    return Report(
        name=name,
        taken={each: method for each, method in taking.methods.items() if each not in failed},
        failed=failed,
        skipped=taking.skipped,
        removed=report.removed,
        kept=report.kept,
        braked=report.braked,
        warnings=(*_apart(said, taking, subjects, after), *_warnings(said, after), *report.warnings),
        alarms=(*_alarms(said, after), *report.alarms),
        decisions=report.decisions,
        unproven=unproven(after.spec, after.backups),
        frozen=max((int(each["who"]) for each in _said(said, "frozen")), default=0),
        seconds=time.monotonic() - began,
        executions=work.shell.executions,
    )


def prune(
    work: Work,
    subjects: Sequence[Subject],
    *,
    keep: Keep | None = None,
    allowed: int | None = None,
    jobs: int = 4,
) -> Report:
    """Remove what the policies no longer keep, and take nothing."""
    began = time.monotonic()
    reading = work.read(more=replica_probes(work.inventory.backups))
    rotation = rotate(
        reading.spec,
        subjects,
        reading.backups,
        keep=keep,
        allowed=allowed,
        common=needed_by_replicas(reading, subjects),
    )
    report = _rotated(work, rotation, subjects, reading, reading, jobs)
    return Report(
        name="",
        removed=report.removed,
        kept=report.kept,
        braked=report.braked,
        warnings=report.warnings,
        alarms=report.alarms,
        decisions=report.decisions,
        seconds=time.monotonic() - began,
        executions=work.shell.executions,
    )


def replica_probes(spec: BackupSpec) -> tuple[Probe, ...]:
    """What `needed_by_replicas` has to be read for."""
    return replicas.probes(spec.replicas.values())


def needed_by_replicas(reading: Reading, subjects: Sequence[Subject]) -> Mapping[str, Mapping[str, str]]:
    """The snapshots that replicas still need, by subject and name, of a reading with `replica_probes`."""
    found = replicas.read(reading.answers, reading.spec.replicas.values())
    return replicas.common(reading.spec, subjects, reading.backups, found)


def new_name(label: str, reading: Reading) -> str:
    """The name of a run's snapshots; UsageError for a label that cannot be part of one."""
    try:
        return snapshot_name(label, reading.backups.now)
    except ValueError as error:
        raise UsageError(f"--label: {error}") from None


def _failed(
    taking: Taking, results: Sequence[Result], subjects: Sequence[Subject], after: Reading
) -> dict[str, str]:
    """The subjects without a whole snapshot of this run, by a fresh read; the reason as the host said it."""
    said = {each["who"]: each["text"] for each in _said(_logs(results), "failed")}
    failed = dict(taking.refused)
    for subject in subjects:
        if subject.name in taking.methods and (why := taken(subject, after.backups, taking.name)):
            who = subject.name if subject.vmid is None else str(subject.vmid)
            # The last words are everybody's where nobody is named: the step itself could not run.
            failed[subject.name] = said.get(who) or ("" if said else _last_words(results)) or why
    return failed


def _rotated(
    work: Work, rotation: Rotation, subjects: Sequence[Subject], first: Reading, before: Reading, jobs: int
) -> Report:
    """What a rotation removed, by a fresh read; and which guests are locked that were not at the `first`."""
    results = work.apply(rotation.part, jobs=jobs)
    after = work.read() if results else before
    said = {each["who"]: each["text"] for each in _said(_logs(results), "kept")}
    removed: dict[str, tuple[str, ...]] = {}
    kept: dict[str, str] = {}
    by_name = {subject.name: subject for subject in subjects}
    for name, decisions in rotation.decisions.items():
        if name in rotation.braked:
            continue
        wanted = [each.id for each in decisions if each.remove]
        there = {item.name: item for item in items(by_name[name], after.backups)}
        gone = tuple(each for each in wanted if each not in there) if after.backups.complete else ()
        if gone:
            removed[name] = gone
        for each in wanted:
            if not after.backups.complete:
                kept[f"{name}@{each}"] = "it was to go; whether it has gone could not be read"
            elif each in there:
                paths = (f"{by_name[name].vmid}@{each}", *(part.path for part in there[each].parts))
                kept[f"{name}@{each}"] = next(
                    (said[path] for path in paths if path in said), "it is still there"
                )
    return Report(
        name="",
        removed=removed,
        kept=kept,
        braked=rotation.braked,
        warnings=_warned(rotation, counted=True),
        alarms=(
            *_warned(rotation, counted=False),
            *(f"{name}: {why}" for name, why in residue(subjects, first.backups, after.backups).items()),
        ),
        decisions=rotation.decisions,
    )


def _warned(rotation: Rotation, *, counted: bool) -> tuple[str, ...]:
    """What retention found odd: of counted ones an order that cannot be, of others a date in the future."""
    return tuple(
        f"{name}@{each.id}: {each.reason}"
        for name, decisions in rotation.decisions.items()
        for each in decisions
        if each.warning and each.counted is counted
    )


def _apart(
    lines: Sequence[str], taking: Taking, subjects: Sequence[Subject], reading: Reading
) -> Iterator[str]:
    """Where what should be of one moment is not: what a guest and its data under a bind mount may rely on."""
    why = next((f": {each['who']} {each['text']}" for each in _said(lines, "apart")), "")
    pools = apart(taking, subjects, reading.backups)
    for pool, number in pools.items():
        yield f"what ZFS took in {pool} is of {number} moments, not of one{why}"
    if why and not pools:
        yield f"what ZFS took was not taken at once{why}"


def _warnings(lines: Sequence[str], reading: Reading) -> Iterator[str]:
    for what, text in (
        ("running", "did not stop in time: its snapshot is as after a power cut"),
        ("frozenbefore", "was frozen already: if nobody is at it, `lxc-unfreeze -n VMID` lets it go"),
        ("late", "ran again before the snapshot was complete: it is as after a power cut"),
    ):
        yield from (f"{_name(each['who'], reading)}: {text}" for each in _said(lines, what))
    yield from pool_warnings(reading.backups.pools.values())


def _alarms(lines: Sequence[str], reading: Reading) -> Iterator[str]:
    for each in _said(lines, "stuck"):
        yield f"{_name(each['who'], reading)}: it does not thaw: look at it now"
    yield from pool_alarms(reading.backups.pools.values())


def pool_warnings(pools: Iterable[Pool]) -> Iterator[str]:
    """Pools that have lost a disk, or are filling up."""
    for pool in pools:
        if pool.health != "ONLINE":
            yield f"the pool {pool.name} is {pool.health}"
        if FULL <= (pool.capacity or 0) < TOO_FULL:
            yield f"the pool {pool.name} is {pool.capacity} % full"


def pool_alarms(pools: Iterable[Pool]) -> Iterator[str]:
    """Pools that are nearly full."""
    for pool in pools:
        if (pool.capacity or 0) >= TOO_FULL:
            yield f"the pool {pool.name} is {pool.capacity} % full: soon nothing can be written there"


def _name(vmid: str, reading: Reading) -> str:
    guest = reading.backups.guests.get(int(vmid))
    return guest.name if guest else vmid


def _said(lines: Sequence[str], what: str) -> Iterator[re.Match[str]]:
    for line in lines:
        if (match := _SAID.fullmatch(line)) and match["what"] == what:
            yield match


def _logs(results: Sequence[Result]) -> list[str]:
    return [line for result in results for line in result.log]


def _last_words(results: Sequence[Result]) -> str:
    lines = [line for line in _logs(results) if not line.startswith("fleet: ")]
    return lines[-1] if lines else ""


def utc(now: int) -> str:
    """The time for people."""
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def _watching(plan: Plan, *, quiet: bool) -> Iterator[Watcher]:
    if quiet and not is_terminal(sys.stderr):
        yield Watcher(
            started=lambda _step: None,
            said=lambda _step, _line: None,
            ended=lambda _result: None,
            stopping=lambda _running: None,
        )
    else:
        with watching(len(plan.steps)) as watcher:
            yield watcher
