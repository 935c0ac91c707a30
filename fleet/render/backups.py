"""Backups as people and programs see them: a run's end, tables of items, of decisions and of coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fleet.backups.health import Health
from fleet.backups.run import Report
from fleet.domains.backup.ages import SNAPSHOT, Age
from fleet.domains.backup.coverage import BAD, Row, State
from fleet.domains.backup.items import Item, Of
from fleet.domains.backup.retention import Decision
from fleet.domains.backup.snapshots.plan import Rotation, Taking
from fleet.render.lines import Line, counted, printable, size_text

_NAMED = 8  # so many are named in a line
_STATES = {
    State.PROTECTED: "green",
    State.LATE: "red",
    State.NEVER: "yellow",
    State.EXCLUDED: "dim",
    State.UNCOVERED: "red bold",
}


# ── a run ─────────────────────────────────────────────────────────────────────────────────────────


def report_lines(report: Report) -> Iterator[Line]:
    """One summary line, then only what went wrong or wants a look."""
    parts = []
    if report.name:
        parts.append(f"{report.name}: {counted(len(report.taken), 'snapshot')} taken")
    if report.skipped:
        named = f" ({', '.join(report.skipped)})" if len(report.skipped) <= _NAMED else ""
        parts.append(f"{len(report.skipped)} skipped{named}")
    parts.append(f"{sum(map(len, report.removed.values()))} removed")
    if report.failed:
        parts.append(f"{len(report.failed)} FAILED")
    if report.frozen:
        parts.append(f"frozen {report.frozen / 1000:.2f} s")
    yield Line(f"{', '.join(parts)} ({report.seconds:.1f} s)", "red bold" if report.exit_code else "green")
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


def report_data(report: Report) -> dict[str, Any]:
    """The end of a run as JSON-ready data."""
    return {
        "name": report.name,
        "exit": report.exit_code,
        "taken": {name: {"method": method.kind, "why": method.why} for name, method in report.taken.items()},
        "failed": dict(report.failed),
        "skipped": dict(report.skipped),
        "removed": {name: list(gone) for name, gone in report.removed.items()},
        "kept": dict(report.kept),
        "braked": dict(report.braked),
        "alarms": list(report.alarms),
        "warnings": list(report.warnings),
        "frozen_seconds": report.frozen / 1000,
        "seconds": round(report.seconds, 2),
        "executions": report.executions,
    }


def taking_lines(taking: Taking) -> Iterator[Line]:
    """What a run would take, and how."""
    what = counted(len(taking.methods), "guest or dataset", "guests and datasets")
    yield Line(f"would take {taking.name} of {what}", "bold")
    width = max(map(len, (*taking.methods, *taking.skipped, *taking.refused)), default=0)
    for name, method in taking.methods.items():
        frozen = ", frozen for it" if method.freeze else ""
        yield Line(f"  {name:<{width}}  {method.why}{frozen}")
    for name, why in taking.skipped.items():
        yield Line(f"  {name:<{width}}  skipped: {why}", "dim")
    for name, why in taking.refused.items():
        yield Line(f"  {name:<{width}}  NOT POSSIBLE: {why}", "red")


# ── tables ────────────────────────────────────────────────────────────────────────────────────────


def decision_lines(rotation: Rotation, *, every: bool = True) -> Iterator[Line]:
    """For each backup: keep or remove, and the rule that says so."""
    rows = [
        (name, each.id, "remove" if each.remove else "keep", each.reason)
        for name, decisions in rotation.decisions.items()
        for each in decisions
        if every or each.remove
    ]
    yield from table(
        ("SUBJECT", "SNAPSHOT", "", "RULE"), rows, lambda row: "yellow" if row[2] == "remove" else ""
    )
    for name, why in rotation.braked.items():
        yield Line(f"{name}: nothing of it would be removed: {why}", "yellow")


def decision_data(rotation: Rotation) -> dict[str, Any]:
    """The same as JSON-ready data."""
    return {
        "decisions": {name: list(map(_decision, made)) for name, made in rotation.decisions.items()},
        "braked": dict(rotation.braked),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "name": decision.id,
        "remove": decision.remove,
        "reason": decision.reason,
        "warning": decision.warning,
    }


def item_lines(
    found: Mapping[str, Sequence[Item]], now: int, zone: ZoneInfo, *, archives: bool
) -> Iterator[Line]:
    """Every backup of each subject, newest first; then the age of the newest of ours."""
    rows = [
        (
            name,
            item.name,
            item.kind,
            _when(item.created, zone),
            age_text(now - item.created),
            size_text(item.size),
            item.owner if not item.ours else "",
            "; ".join((*([f"pinned until {item.pinned}"] if item.pinned else []), *item.blocks)),
        )
        for name, of_subject in found.items()
        for item in of_subject
    ]
    yield from table(
        ("SUBJECT", "NAME", "METHOD", "MADE", "AGE", "SIZE", "OWNER", "NOTE"),
        rows,
        lambda row: "dim" if row[6] else "",
    )
    without = [name for name, of_subject in found.items() if not any(map(_counts, of_subject))]
    if without:
        what = (
            "any backup of fleet's" if archives else "a snapshot of fleet's (--archives shows archives, too)"
        )
        yield Line(f"without {what}: {', '.join(without)}", "red")


def _counts(item: Item) -> bool:
    """Whether somebody may rely on it."""
    return item.ours and item.whole


def item_data(found: Mapping[str, Sequence[Item]], now: int) -> dict[str, Any]:
    """The same as JSON-ready data."""
    return {
        name: {
            "newest_age": min((now - item.created for item in of_subject if _counts(item)), default=None),
            "backups": [
                {
                    "name": item.name,
                    "method": item.kind,
                    "created": item.created,
                    "size": item.size,
                    "ours": item.ours,
                    "owner": item.owner,
                    "set": item.set,
                    "pinned": item.pinned or None,
                    "blocks": list(item.blocks),
                    "datasets": [part.dataset for part in item.parts],
                }
                for item in of_subject
            ],
        }
        for name, of_subject in found.items()
    }


def coverage_lines(rows: Sequence[Row]) -> Iterator[Line]:
    """The table of what is protected how; what is not comes last, with a line of figures."""
    order = (State.PROTECTED, State.EXCLUDED, State.NEVER, State.LATE, State.UNCOVERED)
    ordered = sorted(rows, key=lambda row: order.index(row.state))
    yield from table(
        ("SUBJECT", "VOLUME", "PLACE", "STATE", "HOW", "NEWEST", "PROVEN"),
        [
            (
                row.subject,
                row.volume,
                row.place,
                row.state.upper() if row.state in BAD else row.state,
                row.how,
                ages_text(row.ages),
                _proven_text(row),
            )
            for row in ordered
        ],
        lambda row: _STATES.get(State(row[3].lower()), ""),
    )
    counts = {state: sum(row.state is state for row in rows) for state in State}
    said = ", ".join(f"{number} {state}" for state, number in counts.items())
    yield Line(said, "red bold" if any(counts[state] for state in BAD) else "bold")


def limit_lines(too_few: Mapping[str, str]) -> Iterator[Line]:
    """The guests whose storage will not take as many archives as they are to have."""
    yield from (Line(f"{name}: {printable(why)}", "yellow") for name, why in too_few.items())


def _proven_text(row: Row) -> str:
    """`3 d (boots); archive never !`: of a snapshot where nothing else is said."""
    return "; ".join(
        f"{'' if each.of is Of.SNAPSHOT else f'{each.of} '}{age_text(each.age)}"
        f"{f' ({each.what})' if each.what else ''}{' !' if each.due else ''}"
        for each in row.proven
        if each.age is not None or each.due
    )


def health_lines(found: Health) -> Iterator[Line]:
    """One line of figures; then who is without a backup, late, or not proven to be restorable."""
    if not found.subjects:
        return
    oldest = f", none older than {age_text(found.newest)}" if found.newest is not None else ""
    yield Line(f"backups: {found.subjects - found.without} of {found.subjects}{oldest}")
    for names, text in (
        (found.never, "without a backup yet"),
        (found.late, "late, no backup since the last one was due"),
        (found.unread, "could not be looked at"),
        (found.unproven, "restore not proven in time, see `inv backup.drill`"),
    ):
        if names:
            shown = (
                ", ".join(names)
                if len(names) <= _NAMED
                else f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
            )
            yield Line(f"  {text}: {shown}", "yellow")


def health_data(found: Health) -> dict[str, Any]:
    """The same as JSON-ready data."""
    return {
        "subjects": found.subjects,
        "newest_age": found.newest,
        "never": list(found.never),
        "late": list(found.late),
        "unproven": list(found.unproven),
        "unread": list(found.unread),
    }


def coverage_data(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The same as JSON-ready data."""
    return [
        {
            "subject": row.subject,
            "volume": row.volume or None,
            "place": row.place,
            "state": row.state,
            "how": row.how,
            "ages": {age.what: age.seconds for age in row.ages},
            "late": [age.what for age in row.ages if age.late],
            "proven": {each.of: {"age": each.age, "what": each.what or None} for each in row.proven},
            "unproven": any(each.due for each in row.proven),
        }
        for row in rows
    ]


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    style: Callable[[Sequence[str]], str] = lambda _row: "",
) -> Iterator[Line]:
    """Columns that fit their contents; nothing where there are no rows."""
    if not rows:
        return
    shown = [tuple(printable(str(cell)) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in (titles, *shown)) for column in range(len(titles))]
    for number, row in enumerate((tuple(titles), *shown)):
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield Line(text, "bold" if number == 0 else style(row))


def ages_text(ages: Sequence[Age]) -> str:
    """`5 h`; with the kind where it is not only snapshots: `snapshot 5 h, archive never, usb 3 d LATE`."""
    only = [age.what for age in ages] == [SNAPSHOT]
    return ", ".join(
        f"{'' if only else f'{age.what} '}{age_text(age.seconds)}{' LATE' if age.late else ''}"
        for age in ages
    )


def age_text(seconds: int | None) -> str:
    """`3 d 4 h`, `12 min`; `never` for None."""
    if seconds is None:
        return "never"
    if seconds < 0:
        return "in the future"
    days, hours, minutes = seconds // 86_400, seconds % 86_400 // 3600, seconds % 3600 // 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _when(created: int, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(created, zone):%Y-%m-%d %H:%M %Z}"
