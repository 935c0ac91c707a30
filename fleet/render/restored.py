"""What was restored, proven or fetched, as people and programs see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fleet.backups.restoring import Drilled, Restored
from fleet.host.fetch import Fetched
from fleet.render.lines import Line, counted, printable

_SHOWN = 10


def restored_lines(restored: Restored) -> Iterator[Line]:
    """The end of a restore: what there is now, or what is left to do."""
    item, vmid = restored.planned.item, restored.planned.vmid
    what = f"{item.subject}@{item.name}"
    if restored.exit_code:
        yield Line(f"{what} is not restored ({restored.seconds:.1f} s)", "red bold")
        for text in restored.left:
            yield Line(f"  left     {printable(text)}", "red")
        return
    where = f" as {vmid}" if vmid is not None else ""
    said = "is restored" if restored.results else "was restored before"
    yield Line(f"{what} {said}{where} ({restored.seconds:.1f} s)", "green")


def restored_data(restored: Restored) -> dict[str, Any]:
    """The same as JSON-ready data."""
    return {
        "exit": restored.exit_code,
        "subject": restored.planned.item.subject,
        "item": restored.planned.item.name,
        "vmid": restored.planned.vmid,
        "steps": [{"id": each.step.id, "outcome": each.outcome.value} for each in restored.results],
        "left": list(restored.left),
        "seconds": round(restored.seconds, 2),
    }


def drill_lines(drilled: Drilled) -> Iterator[Line]:
    """One summary line, then each backup that was restored, and what is wrong."""
    total = len(drilled.proven) + len(drilled.failed)
    said = f"{len(drilled.proven)} of {counted(total, 'backup')} restored and proven"
    bad = f", {len(drilled.failed)} FAILED" if drilled.failed else ""
    yield Line(f"{said}{bad} ({drilled.seconds:.1f} s)", "red bold" if drilled.exit_code else "green")
    for name, what in drilled.proven.items():
        yield Line(f"  proven   {name}{f' ({what})' if what else ''}")
        for note in drilled.notes.get(name, ()):
            yield Line(f"           {printable(note)}", "yellow")
    for name, why in drilled.failed.items():
        yield Line(f"  failed   {name}: {printable(why)}", "red")
    for vmid in drilled.kept:
        yield Line(f"  kept     {vmid}, to be looked at; the next drill destroys it", "yellow")
    for name in drilled.left:
        yield Line(f"  left     {name} could not be destroyed", "red")


def drill_data(drilled: Drilled) -> dict[str, Any]:
    """The end of a drill as JSON-ready data."""
    return {
        "exit": drilled.exit_code,
        "proven": dict(drilled.proven),
        "failed": dict(drilled.failed),
        "notes": {name: list(notes) for name, notes in drilled.notes.items()},
        "kept": list(drilled.kept),
        "left": list(drilled.left),
        "seconds": round(drilled.seconds, 2),
    }


def fetched_lines(fetched: Fetched, source: str, apart: tuple[str, ...]) -> Iterator[Line]:
    """What came, from where, and what did not."""
    size = f"{fetched.size / (1 << 20):.1f} MiB" if fetched.size >= 1 << 20 else f"{fetched.size} bytes"
    yield Line(f"{fetched.path}: {counted(fetched.files, 'file')}, {size}, of {source}", "green")
    for place in apart:
        yield Line(f"  not in it: {place} is a file system of its own; get it by its own path", "yellow")
    for text in fetched.left_out[:_SHOWN]:
        yield Line(f"  left out: {printable(text)}", "yellow")
    if len(fetched.left_out) > _SHOWN:
        yield Line(f"  left out: {len(fetched.left_out) - _SHOWN} more", "yellow")
