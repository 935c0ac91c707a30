"""A run as it goes on: a live view on a terminal, plain lines in a pipe, nothing superfluous in either."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fleet.core.plan import LEFT_OVER, WAITING, Plan
from fleet.host.apply import Result, Watcher
from fleet.host.guarded import Outcome
from fleet.render.lines import Line, counted, is_terminal, printable, show
from fleet.render.plan import difference_text

_STYLES = {Outcome.DONE: "green", Outcome.SKIPPED: "dim", Outcome.FAILED: "red bold", Outcome.STALE: "red"}
_BAD = frozenset({Outcome.FAILED, Outcome.STALE, Outcome.NOT_RUN, Outcome.DETACHED})
_LOG_SHOWN = 12  # lines of a failed step's log; the journal has the rest


@contextmanager
def watching(total: int) -> Iterator[Watcher]:
    """A watcher that shows the run on stderr while the block runs."""
    if is_terminal(sys.stderr):
        from fleet.render.live import live  # noqa: PLC0415 - rich costs 0.1 s, which a pipe need not pay

        with live(total) as watcher:
            yield watcher
    else:
        yield _plain()


def result_lines(result: Result) -> Iterator[Line]:
    """One step's end; its log where something is to be learned from it."""
    took = f"  {result.seconds:.1f} s" if result.seconds else ""
    yield Line(
        f"{result.outcome:<11} {result.step.subject}: {result.step.action}{took}",
        _STYLES.get(result.outcome, "yellow"),
    )
    if result.outcome in _BAD:
        for line in result.log[-_LOG_SHOWN:]:
            yield Line(f"            {printable(line)}")
    else:
        for line in result.log:
            if "WARN" in line or "warning" in line.lower():
                yield Line(f"            {printable(line)}", "yellow")


AS_DECLARED = "the host is as hosts.yml says"


def run_lines(
    results: Sequence[Result], left: Plan, seconds: float, reached: str = AS_DECLARED
) -> Iterator[Line]:
    """The end of a run: how the steps ended, and what a fresh read of the host still asks for.

    `reached`: what is so now if nothing is left.
    """
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    said = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)
    yield Line(f"{counted(len(results), 'step')} in {seconds:.1f} s: {said or 'nothing done'}", "bold")
    if counts[Outcome.DETACHED]:
        return
    stays = [note for note in left.notes if note.why in LEFT_OVER | WAITING]
    if left:
        yield Line(f"read again: {counted(len(left.steps), 'step')} left", "red bold")
    elif any(note.why in LEFT_OVER for note in stays):
        yield Line("read again: nothing more to do, but the host is not as hosts.yml says", "yellow bold")
    elif stays:
        yield Line(f"read again: {reached}, except for what waits for --restart", "yellow bold")
    else:
        yield Line(f"read again: {reached}", "green")
    for step in left.steps:
        yield Line(f"  {step.subject}: {step.action}: {'; '.join(map(difference_text, step.because))}", "red")
    for note in stays:
        yield Line(f"  {note.subject}: {note.why}: {printable(note.text)}", "yellow")


def run_data(results: Sequence[Result], left: Plan, seconds: float, exit_code: int) -> dict[str, object]:
    """The end of a run as JSON-ready data."""
    return {
        "exit": exit_code,
        "seconds": round(seconds, 2),
        "steps": [
            {
                "id": result.step.id,
                "subject": result.step.subject,
                "action": result.step.action,
                "outcome": result.outcome.value,
                "seconds": round(result.seconds, 2),
                "log": list(result.log),
            }
            for result in results
        ],
        "left": [step.id for step in left.steps],
        "notes": [
            {"subject": note.subject, "why": note.why.value, "text": note.text}
            for note in left.notes
            if note.why in LEFT_OVER | WAITING
        ],
    }


def _plain() -> Watcher:
    lock = threading.Lock()

    def tell(lines: Sequence[Line]) -> None:
        with lock:
            show(lines, sys.stderr)

    return Watcher(
        started=lambda _step: None,
        said=lambda _step, _line: None,
        ended=lambda result: tell(tuple(result_lines(result))),
        stopping=lambda running: tell((Line(stopping_text(running)),)),
    )


def stopping_text(running: int) -> str:
    """What the first Ctrl-C says."""
    return (
        f"stopping: waiting for {counted(running, 'running step')}, nothing more is started; "
        "Ctrl-C again leaves them running on the host"
    )
