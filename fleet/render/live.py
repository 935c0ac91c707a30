"""The live view of a run: one row for each running step, a bar for all; what ended scrolls up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from fleet.core.plan import Step
from fleet.host.apply import Result, Watcher
from fleet.render.lines import printable
from fleet.render.run import result_lines, stopping_text


@contextmanager
def live(total: int) -> Iterator[Watcher]:
    """A watcher that draws on the terminal of stderr while the block runs."""
    console = Console(stderr=True, highlight=False)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    rows: dict[str, TaskID] = {}
    lock = threading.Lock()
    with progress:
        overall = progress.add_task("all steps", total=total, count=f"0/{total}")

        def started(step: Step) -> None:
            with lock:
                rows[step.id] = progress.add_task(f"{step.subject}: {step.action}", total=None, count="")

        def said(step: Step, line: str) -> None:
            with lock:
                if step.id in rows and line.strip():
                    text = f"{step.subject}: {step.action}: {printable(line.strip())}"
                    progress.update(rows[step.id], description=text[: max(20, console.width - 45)])

        def ended(result: Result) -> None:
            with lock:
                if result.step.id in rows:
                    progress.remove_task(rows.pop(result.step.id))
                progress.advance(overall)
                progress.update(overall, count=f"{progress.tasks[0].completed:.0f}/{total}")
                for line in result_lines(result):
                    console.print(line.text, style=line.style or None, markup=False, soft_wrap=True)

        def stopping(running: int) -> None:
            console.print(stopping_text(running), style="yellow")

        yield Watcher(started, said, ended, stopping)
