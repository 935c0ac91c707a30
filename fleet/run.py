"""One run against a node: lock, follow what earlier runs left running, read, plan, ask, apply, read again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from fleet.converge import Facts, gather
from fleet.core.errors import ExitCode, HostError, LinkLost, Locked, StalePlan, Unreachable
from fleet.core.plan import LEFT_OVER, Note, Plan, Step, Why
from fleet.core.probe import Probe
from fleet.host import jobs as host_jobs
from fleet.host.apply import Result, apply, hearing_stop
from fleet.host.connect import connect
from fleet.host.guarded import Outcome, outcome
from fleet.host.jobs import Job
from fleet.host.journal import Journal
from fleet.host.lock import NODE, TRANSFERS, NodeLock
from fleet.host.shell import Shell
from fleet.inventory import Inventory
from fleet.render.lines import Line, show
from fleet.render.run import watching
from fleet.render.transfer import following

Planner = Callable[[Facts], Plan]
Read = TypeVar("Read")

#: How the names of jobs begin, by the locks that their run holds.
_KINDS = {frozenset({NODE}): "", frozenset({TRANSFERS}): "transfer-", frozenset({NODE, TRANSFERS}): "alone-"}


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a run: the plan, each step's result, and what a fresh read still asks for."""

    plan: Plan
    results: tuple[Result, ...]
    left: Plan
    seconds: float
    stopped: bool = False  # by Ctrl-C

    @property
    def unsettled(self) -> tuple[Step, ...]:
        """The steps that the fresh read still asks for, the failed ones included."""
        return self.left.steps

    @property
    def exit_code(self) -> int:
        """0 all done; 3 some steps failed or are left; 6 only a safety rule stood in the way; 130 stopped."""
        if self.stopped:
            return ExitCode.STOPPED
        bad = {Outcome.FAILED, Outcome.STALE, Outcome.NOT_RUN, Outcome.DETACHED}
        if self.left.steps or any(result.outcome in bad for result in self.results):
            return ExitCode.SOME_FAILED
        return exit_code_of(self.left.notes)


def exit_code_of(notes: Sequence[Note]) -> int:
    """6 where a safety rule refused something, 3 where a lock or what only a hand can do is left, else 0."""
    if any(note.why is Why.REFUSED for note in notes):
        return ExitCode.REFUSED
    return ExitCode.SOME_FAILED if any(note.why in LEFT_OVER for note in notes) else ExitCode.DONE


@contextmanager
def connected(inventory: Inventory) -> Iterator[Shell]:
    """A shell on the inventory's node, let go of at the end."""
    shell = connect(inventory.node)
    try:
        yield shell
    finally:
        shell.close()


def execute(
    inventory: Inventory,
    what: str,
    planner: Planner,
    *,
    jobs: int,
    agree: Callable[[Plan], None],
    waits: bool = False,
    saved: Plan | None = None,
    more: Sequence[Probe] = (),
    locks: Sequence[str] = (NODE,),
) -> Run:
    """Plan from a fresh read under the node's lock, ask `agree`, apply, and read again.

    `waits`: `agree` may wait for somebody, who must keep nobody else from the node: it is asked before the
    lock is taken; StalePlan where the plan is another one then.
    `saved`: runs the steps of this plan instead; StalePlan where the host or hosts.yml has changed since.
    `more`: probes whose answers the planner needs, too.
    """
    began = time.monotonic()
    with connected(inventory) as shell:
        if waits:
            fresh = planner(_unlocked(shell, inventory, what, more, locks))
            if saved is not None:
                refuse_stale(saved, fresh)
            agree(fresh)
            if not fresh:
                return Run(fresh, (), fresh, time.monotonic() - began)
            saved = fresh
        with locked(shell, what, locks) as check:
            plan = planner(_gathered(shell, inventory, more, locks))
            if saved is not None:
                refuse_stale(saved, plan)
            if not waits:
                agree(plan)
            if not plan:
                return Run(plan, (), plan, time.monotonic() - began)
            run = run_id(locks)
            with Journal(inventory.node.name, run) as journal:
                journal.write("run", what=what, steps=len(plan.steps))
                stopped: list[bool] = []
                with watching(len(plan.steps)) as watcher:
                    heard = hearing_stop(journal.watch(watcher), lambda: stopped.append(True))
                    results = apply(shell, plan, run=run, jobs=jobs, watcher=heard, check=check)
                left = replace(plan, steps=(), notes=())
                if not any(result.outcome is Outcome.DETACHED for result in results):
                    left = planner(_gathered(shell, inventory, more, locks))
                over = Run(plan, results, left, time.monotonic() - began, bool(stopped))
                journal.write("end", exit=over.exit_code, seconds=round(over.seconds, 2))
    return over


@contextmanager
def locked(shell: Shell, what: str, names: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Holds these locks of the node; what is yielded raises where one of them was lost."""
    with ExitStack() as stack:
        held = [stack.enter_context(NodeLock(shell, what, name=name)) for name in names]

        def check() -> None:
            for lock in held:
                lock.check()

        yield check


def run_id(locks: Sequence[str]) -> str:
    """A name for a run, of which those of its jobs are made: they say under which lock it runs."""
    return f"{_KINDS[frozenset(locks)]}{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"


def _gathered(shell: Shell, inventory: Inventory, more: Sequence[Probe], locks: Sequence[str]) -> Facts:
    return settled(shell, lambda: gather(shell, inventory, more), lambda facts: facts.jobs, locks)


def _unlocked(
    shell: Shell, inventory: Inventory, what: str, more: Sequence[Probe], locks: Sequence[str]
) -> Facts:
    """The facts of the node, whose locks are held only while jobs of earlier runs are followed."""
    facts = gather(shell, inventory, more)
    if _under(facts.jobs, locks):
        with locked(shell, what, locks):
            facts = _gathered(shell, inventory, more, locks)
    return facts


def settled(
    shell: Shell,
    read: Callable[[], Read],
    jobs: Callable[[Read], Sequence[Job]],
    locks: Sequence[str] = (NODE,),
) -> Read:
    """What is read, once no job of an earlier run, or one whose end nobody read, is on the host any more.

    `locks`: those that are held; a job under another one is somebody else's, and goes on.
    """
    found = read()
    of_ours = _under(jobs(found), locks)
    if not of_ours:
        return found
    for job in of_ours:
        show([Line(f"found on the host: {job.title}; following it")], sys.stderr)
        try:
            with following(job.title) as said:
                ended = host_jobs.follow(shell, job, said)
        except (LinkLost, Unreachable):
            raise
        except HostError:
            continue  # it ended in this moment, and somebody else has read how
        show([Line(f"it is over: {outcome(ended.code)}")], sys.stderr)
    return read()


def _under(jobs: Sequence[Job], locks: Sequence[str]) -> list[Job]:
    """Those whose run held one of these locks; Locked where the node would have to wait for a transfer."""
    under = [job for job in jobs if _locks_of(job) & set(locks)]
    for job in under:
        if NODE in locks and job.running and NODE not in _locks_of(job):
            raise Locked(f"{job.title} is going on on the node, without a run; try again once it is over")
    return under


def _locks_of(job: Job) -> frozenset[str]:
    """The locks that the run of a job held."""
    kinds = (locks for locks, kind in _KINDS.items() if kind and job.id.startswith(kind))
    return next(kinds, frozenset({NODE}))


def refuse_stale(saved: Plan, fresh: Plan) -> None:
    """StalePlan where what was read, or what is planned, is no longer what it was for the saved plan."""
    keys = {*saved.digests, *fresh.digests}
    changed = sorted(key for key in keys if saved.digests.get(key) != fresh.digests.get(key))
    if changed:
        raise StalePlan(
            f"the plan is stale, nothing was changed: {', '.join(changed)} changed since; plan again"
        )
    if (
        saved.steps != fresh.steps
    ):  # a file could hold any command: only what a plan made now holds, too, is run
        others = {
            step.id for step in (*saved.steps, *fresh.steps) if (step in saved.steps) != (step in fresh.steps)
        }
        raise StalePlan(
            "the plan is stale, nothing was changed: planned now, these steps are others: "
            f"{', '.join(sorted(others)) or 'their order'}; plan again"
        )
