"""Transfers as they go on: on a terminal a bar with rate and time left, in a pipe a line for each."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fleet.core.plan import Step
from fleet.host.apply import Result, Watcher
from fleet.render.lines import Line, is_terminal, printable, show
from fleet.render.run import stopping_text

#: What a transfer says of itself: fleet/host/send.sh, and vzdump of a VM (PVE/VZDump/QemuServer.pm).
_SENT = re.compile(r"fleet: sent (?P<done>\d+) (?P<total>\d+)")
_READ = re.compile(r"INFO:\s+\d+% \((?P<done>\d+(\.\d+)? \w+) of (?P<total>\d+(\.\d+)? \w+)\) .*")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def progress(line: str) -> tuple[int, int] | None:
    """How many bytes of how many; None for a line that says nothing of it."""
    if match := _SENT.fullmatch(line.strip()):
        return int(match["done"]), int(match["total"])
    if match := _READ.fullmatch(line.strip()):
        done, total = _bytes(match["done"]), _bytes(match["total"])
        return None if done is None or total is None else (done, total)
    return None


def _bytes(text: str) -> int | None:
    """`1.2 GiB` in bytes."""
    number, _, unit = text.partition(" ")
    return int(float(number) * 1024 ** _UNITS.index(unit)) if unit in _UNITS else None


@contextmanager
def transferring() -> Iterator[Watcher]:
    """A watcher of transfers, which shows them on stderr while the block runs."""
    if is_terminal(sys.stderr):
        with _bars() as watcher:
            yield watcher
    else:
        yield _plain()


@contextmanager
def following(title: str) -> Iterator[Callable[[str], None]]:
    """Takes the lines of a job that is followed; on a terminal a bar shows how far it is."""
    step = Step(title, title, "", (), (), (), ())
    if not is_terminal(sys.stderr):
        yield lambda _line: None
        return
    with _bars() as watcher:
        watcher.started(step)
        yield lambda line: watcher.said(step, line)


def ended_line(result: Result) -> Line:
    """How one transfer ended."""
    return Line(
        f"{result.outcome:<11} {result.step.subject}: {result.step.action}  {result.seconds:.1f} s",
        "green" if result.outcome == "done" else "yellow",
    )


def _plain() -> Watcher:
    lock = threading.Lock()

    def tell(line: Line) -> None:
        with lock:
            show([line], sys.stderr)

    return Watcher(
        started=lambda _step: None,
        said=lambda _step, _line: None,
        ended=lambda result: tell(ended_line(result)),
        stopping=lambda running: tell(Line(stopping_text(running))),
    )


@contextmanager
def _bars() -> Iterator[Watcher]:
    from rich.console import Console  # noqa: PLC0415 - rich costs 0.1 s, which a pipe need not pay
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True, highlight=False)
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    rows: dict[str, TaskID] = {}
    lock = threading.Lock()
    with bars:

        def started(step: Step) -> None:
            with lock:
                rows[step.id] = bars.add_task(_name(step), total=None)

        def said(step: Step, line: str) -> None:
            there = progress(line)
            with lock:
                if step.id not in rows:
                    return
                if there:
                    done, total = there
                    bars.update(rows[step.id], completed=min(done, total), total=total)
                elif line.strip():
                    text = f"{_name(step)}: {printable(line.strip())}"
                    bars.update(rows[step.id], description=text[: max(20, console.width - 70)])

        def ended(result: Result) -> None:
            with lock:
                if result.step.id in rows:
                    bars.remove_task(rows.pop(result.step.id))
                line = ended_line(result)
                console.print(line.text, style=line.style or None, markup=False, soft_wrap=True)

        def stopping(running: int) -> None:
            console.print(stopping_text(running), style="yellow")

        yield Watcher(started, said, ended, stopping)


def _name(step: Step) -> str:
    return f"{step.subject}: {step.action}" if step.action else printable(step.subject)
