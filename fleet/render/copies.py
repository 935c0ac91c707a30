"""Archives and replicas as people and programs see them: what a run would do, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleet.backups.copies import Copies
from fleet.core.plan import Part
from fleet.domains.backup.retention import Decision
from fleet.render.backups import table
from fleet.render.lines import Line, counted, printable


def copies_lines(report: Copies) -> Iterator[Line]:
    """One summary line, what was made, then what went wrong or wants a look."""
    made = counted(len(report.made), report.what, {"copy": "copies"}.get(report.what, ""))
    parts = [f"{made} made"]
    if report.same:
        parts.append(f"{len(report.same)} up to date")
    parts.append(f"{sum(map(len, report.removed.values()))} removed")
    if report.failed:
        parts.append(f"{len(report.failed)} FAILED")
    yield Line(f"{', '.join(parts)} ({report.seconds:.1f} s)", "red bold" if report.exit_code else "green")
    for name, text in report.made.items():
        yield Line(f"  made     {name}: {printable(text)}")
    for name, why in report.failed.items():
        yield Line(f"  failed   {name}: {printable(why)}", "red")
    for name, why in report.kept.items():
        yield Line(f"  kept     {name}: {printable(why)}", "red")
    for name, why in report.braked.items():
        yield Line(f"  kept     {name}: {printable(why)}", "yellow")
    for text in report.alarms:
        yield Line(f"  look     {printable(text)}", "red")
    for text in report.warnings:
        yield Line(f"  warning  {printable(text)}", "yellow")


def copies_data(report: Copies) -> dict[str, Any]:
    """The same as JSON-ready data."""
    return {
        "exit": report.exit_code,
        "made": dict(report.made),
        "up_to_date": list(report.same),
        "failed": dict(report.failed),
        "removed": {name: list(gone) for name, gone in report.removed.items()},
        "kept": dict(report.kept),
        "braked": dict(report.braked),
        "alarms": list(report.alarms),
        "warnings": list(report.warnings),
        "seconds": round(report.seconds, 2),
        "executions": report.executions,
    }


def planned_lines(
    part: Part, decisions: Mapping[str, Sequence[Decision]], braked: Mapping[str, str]
) -> Iterator[Line]:
    """What a run would do: its steps, what stands against others, and what of before would go."""
    for step in part.steps:
        because = "; ".join(f"{each.want or each.was}, {each.reason}".rstrip(", ") for each in step.because)
        yield Line(f"would {step.action} {step.subject}: {printable(because)}")
    for note in part.notes:
        yield Line(
            f"{note.subject}: {note.why}: {printable(note.text)}", "red" if note.why == "refused" else "dim"
        )
    if not part.steps:
        yield Line("nothing to do", "dim")
    rows = [
        (name, each.id, "remove" if each.remove else "keep", each.reason)
        for name, made in decisions.items()
        for each in made
    ]
    yield from table(("OF", "BACKUP", "", "RULE"), rows, lambda row: "yellow" if row[2] == "remove" else "")
    for name, why in braked.items():
        yield Line(f"{name}: nothing of it would be removed: {printable(why)}", "yellow")


def planned_data(
    part: Part, decisions: Mapping[str, Sequence[Decision]], braked: Mapping[str, str]
) -> dict[str, Any]:
    """The same as JSON-ready data."""
    return {
        "steps": [{"id": step.id, "subject": step.subject, "action": step.action} for step in part.steps],
        "notes": [{"subject": note.subject, "why": note.why, "text": note.text} for note in part.notes],
        "decisions": {
            name: [{"name": each.id, "remove": each.remove, "reason": each.reason} for each in made]
            for name, made in decisions.items()
        },
        "braked": dict(braked),
    }
