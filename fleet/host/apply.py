"""Runs the steps of a plan: what needs nothing more, side by side, each as a detached job on the host."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue

from fleet.core.errors import FleetError, LinkLost
from fleet.core.plan import Plan, Step
from fleet.host.guarded import GOOD, Outcome, explanation, guarded, outcome
from fleet.host.jobs import run_job
from fleet.host.shell import Shell


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one step: its log, and how long it took."""

    step: Step
    outcome: Outcome
    log: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told of the run while it goes on; all are called from several threads."""

    started: Callable[[Step], None]
    said: Callable[[Step, str], None]
    ended: Callable[[Result], None]
    stopping: Callable[[int], None]  # Ctrl-C: so many steps are still running


def hearing_stop(watcher: Watcher, stopped: Callable[[], None]) -> Watcher:
    """The watcher; `stopped` is called, too, when Ctrl-C stops the run."""

    def stopping(running: int) -> None:
        stopped()
        watcher.stopping(running)

    return replace(watcher, stopping=stopping)


def apply(
    shell: Shell, plan: Plan, *, run: str, jobs: int, watcher: Watcher, check: Callable[[], None]
) -> tuple[Result, ...]:
    """The result of every step, in the order of the plan; one failure stops only what needs that step.

    `check` is called before each step; where it raises, nothing more is started (the node's lock was lost).

    `run` names this run's jobs on the host; a job of the same name is followed, never started twice.
    The first Ctrl-C starts nothing more and waits for what runs; the second leaves it running on the host.
    """
    planned = frozenset(step.id for step in plan.steps)
    pending = dict(enumerate(plan.steps))
    results: dict[str, Result] = {}
    running: dict[str, Step] = {}
    ended: SimpleQueue[Result | BaseException] = SimpleQueue()
    stopping = False

    def work(number: int, step: Step) -> None:
        try:
            ended.put(_run(shell, run, number, step, watcher))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            ended.put(error)

    with _ctrl_c(lambda: ended.put(KeyboardInterrupt())):
        while pending or running:
            for number, step in tuple(pending.items()):
                if stopping or not _may_still_run(step, results):
                    del pending[number]
                    results[step.id] = Result(step, Outcome.NOT_RUN, _missing(step, results, stopping))
                    watcher.ended(results[step.id])
                elif len(running) < jobs and _ready(step, planned, results) and not _busy(step, running):
                    check()
                    del pending[number]
                    running[step.id] = step
                    watcher.started(step)
                    threading.Thread(target=work, args=(number, step), name=step.id, daemon=True).start()
            if not running:
                continue
            result = ended.get()
            if isinstance(result, KeyboardInterrupt):
                if stopping:
                    for step in running.values():
                        results[step.id] = Result(
                            step, Outcome.DETACHED, ("it goes on on the host; the next run follows it",)
                        )
                        watcher.ended(results[step.id])
                    break
                stopping = True
                watcher.stopping(len(running))
                continue
            if isinstance(result, BaseException):
                raise result
            del running[result.step.id]
            results[result.step.id] = result
            watcher.ended(result)
    return tuple(results[step.id] for step in plan.steps if step.id in results)


@contextmanager
def _ctrl_c(tell: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C is told, and interrupts nothing, while the block runs; it comes to the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _number, _frame: tell())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run(shell: Shell, run: str, number: int, step: Step, watcher: Watcher) -> Result:
    began = time.monotonic()
    try:
        done = run_job(
            shell,
            f"{run}-{number:04d}",
            f"{step.subject}: {step.action}",
            guarded(step, run),
            lambda line: watcher.said(step, line),
        )
    except LinkLost as error:
        return Result(step, Outcome.DETACHED, (str(error),), time.monotonic() - began)
    except FleetError as error:
        return Result(step, Outcome.FAILED, (str(error),), time.monotonic() - began)
    log = explanation(step, done.log)
    if done.code is None:
        log = (*log, "it was killed on the host before it ended")
    return Result(step, outcome(done.code), log, time.monotonic() - began)


def _ready(step: Step, planned: frozenset[str], results: dict[str, Result]) -> bool:
    return all(need not in planned or need in results for need in step.needs)


def _may_still_run(step: Step, results: dict[str, Result]) -> bool:
    return all(need not in results or results[need].outcome in GOOD for need in step.needs)


def _busy(step: Step, running: dict[str, Step]) -> bool:
    return any(other.subject == step.subject for other in running.values())


def _missing(step: Step, results: dict[str, Result], stopping: bool) -> tuple[str, ...]:
    failed = [need for need in step.needs if need in results and results[need].outcome not in GOOD]
    if failed:
        return (f"it needs {', '.join(failed)}, which did not succeed",)
    return ("the run was stopped",) if stopping else ()
