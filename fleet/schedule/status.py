"""What is installed, when each job ran last and how that ended, and when it runs next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

from fleet.core.plan import Plan, Why
from fleet.render.lines import Line
from fleet.schedule.found import Found, when
from fleet.schedule.jobs import Job
from fleet.schedule.units import CronJob

_STYLES = {"installed": "green", "changed": "yellow", "missing": "red", "not ours": "red"}


@dataclass(frozen=True, slots=True)
class Row:
    """One job. `result`: exit 0, running, timeout, ended (nobody knows how) ...; empty if it never ran."""

    name: str
    runs: str  # backup.snapshot --schedule 02:00
    event: str
    state: str  # installed, changed, missing, not ours, no longer wanted
    last: datetime | None = None
    result: str = ""
    next: datetime | None = None


def rows(jobs: Sequence[Job], found: Found, plan: Plan) -> tuple[Row, ...]:
    """The jobs as systemd knows them, and those that are installed and no longer wanted."""
    actions = {step.subject: step.action for step in plan.steps}
    refused = {note.subject for note in plan.notes if note.why is Why.REFUSED}
    wanted = tuple(
        Row(
            name=job.name,
            runs=" ".join(job.words),
            event=job.event,
            state="not ours"
            if job.name in refused
            else {"create": "missing", "update": "changed"}.get(actions.get(job.name, ""), "installed"),
            **_times(found.units, job.name),
        )
        for job in jobs
    )
    return (*wanted, *_unwanted(actions, found))


def cron_rows(
    lines: Sequence[CronJob], found: Found, plan: Plan, events: Iterable[Mapping[str, Any]], now: datetime
) -> tuple[Row, ...]:
    """The jobs as the crontab has them; `events` are the node's journal, where runs say how they ended."""
    ran = _runs(events)
    refused = any(note.subject == "crontab" and note.why is Why.REFUSED for note in plan.notes)
    local = now.astimezone(ZoneInfo(found.zone))
    made = []
    for each in lines:
        there = each.line in found.lines
        other = any(f" {' '.join(each.job.words)} " in line for line in found.lines)
        state = "installed" if there else "not ours" if refused else "changed" if other else "missing"
        last, result = ran.get(each.job.task, (None, ""))
        due = next(CronSim(each.fields, local)) if there else None
        made.append(Row(each.job.name, " ".join(each.job.words), each.job.event, state, last, result, due))
    actions = {step.subject: step.action for step in plan.steps}
    return (*made, *_unwanted(actions, found))


def row_lines(found: Sequence[Row]) -> Iterator[Line]:
    """A table; times by the clock of whoever reads it."""
    if not found:
        yield Line("hosts.yml has no schedules, and none are installed")
        return
    titles = ("JOB", "WHEN", "STATE", "LAST RUN", "RESULT", "NEXT RUN")
    cells = [
        (row.name, row.event, row.state, _time(row.last), row.result or "-", _time(row.next)) for row in found
    ]
    widths = [max(len(each[column]) for each in (titles, *cells)) for column in range(len(titles))]
    yield Line(_joined(titles, widths), "bold")
    for row, each in zip(found, cells, strict=True):
        bad = row.result not in ("", "running", "ended", "exit 0")
        yield Line(_joined(each, widths), "red" if bad else _STYLES.get(row.state, ""))


def row_data(found: Sequence[Row]) -> list[dict[str, object]]:
    """The rows as JSON-ready data, times in ISO 8601."""
    return [
        {
            "name": row.name,
            "runs": row.runs,
            "schedule": row.event,
            "state": row.state,
            "last": row.last.isoformat() if row.last else None,
            "result": row.result or None,
            "next": row.next.isoformat() if row.next else None,
        }
        for row in found
    ]


def _times(units: Mapping[str, Mapping[str, str]], name: str) -> dict[str, Any]:
    """Last run, its result and the next run, as systemctl shows them."""
    timer, service = units.get(f"{name}.timer", {}), units.get(f"{name}.service", {})
    ended = when(service.get("ExecMainExitTimestamp", ""))
    result = ""
    if service.get("ActiveState") in ("activating", "active"):
        result = "running"
    elif ended is not None:
        said, code = service.get("Result", "success"), service.get("ExecMainStatus", "0")
        result = said if said not in ("success", "exit-code") else f"exit {code}"
    return {
        "last": when(timer.get("LastTriggerUSec", "")) or when(service.get("ExecMainStartTimestamp", "")),
        "result": result,
        "next": when(timer.get("NextElapseUSecRealtime", "")),
    }


def _unwanted(actions: Mapping[str, str], found: Found) -> tuple[Row, ...]:
    """What is installed, and not in hosts.yml any more."""
    return tuple(
        Row(name, "", "", "no longer wanted", **_times(found.units, name))
        for name, action in actions.items()
        if action == "remove"
    )


def _runs(events: Iterable[Mapping[str, Any]]) -> dict[str, tuple[datetime, str]]:
    """Each task's last run: when it began, and how it ended."""
    tasks: dict[str, str] = {}
    found: dict[str, tuple[datetime, str]] = {}
    for event in events:
        run, task = str(event.get("run")), str(event.get("what"))
        match event.get("event"):
            case "run":
                tasks[run] = task
                found[task] = (datetime.fromisoformat(str(event["at"])), "")
            case "end" if run in tasks:
                code = event.get("exit")
                found[tasks[run]] = (found[tasks[run]][0], "ended" if code is None else f"exit {code}")
            case "failed" if run in tasks:
                found[tasks[run]] = (found[tasks[run]][0], f"failed: {event.get('error')}")
    return found


def _time(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z") if at else "-"


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
