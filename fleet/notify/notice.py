"""What is told, and to whom: values, one notice a run and severity, never one a guest. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fleet.core.secret import Secret, redact
from fleet.render.lines import counted, printable

#: Discord takes 2,000 characters, ntfy 4,096 bytes: what is longer than this is cut, and the cut is said.
BODY = 1800
TITLE = 120
_LINE = 240
_CUT = 30  # characters of the line that says that there is more


class Severity(StrEnum):
    """How much a notice matters: each has a channel of its own."""

    CRITICAL = "critical"  # something failed
    WARNING = "warning"  # a person should look
    INFO = "info"
    SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told at once."""

    severity: Severity
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended, as far as people elsewhere are told of it. Each text is one line."""

    task: str  # backup.snapshot
    node: str
    summary: str  # 28 guests: 28 taken, 28 removed
    failed: tuple[str, ...] = ()  # plex (120): the pool is full
    warnings: tuple[str, ...] = ()  # drive (101): uncovered
    info: tuple[str, ...] = ()


def notices(report: Report) -> tuple[Notice, ...]:
    """What is told of a run: failures, warnings and news apart; success only without the first two."""
    where = f"{report.node}: {report.task}"
    told = []
    if report.failed:
        told.append(
            Notice(
                Severity.CRITICAL,
                f"{where}: {counted(len(report.failed), 'failure')}",
                (report.summary, *report.failed),
            )
        )
    if report.warnings:
        told.append(
            Notice(
                Severity.WARNING,
                f"{where}: {counted(len(report.warnings), 'warning')}",
                (report.summary, *report.warnings),
            )
        )
    if report.info:
        told.append(Notice(Severity.INFO, where, report.info))
    if not report.failed and not report.warnings:
        told.append(Notice(Severity.SUCCESS, f"{where}: done", (report.summary,)))
    return tuple(told)


def grouped(told: Iterable[Notice]) -> tuple[Notice, ...]:
    """At most one notice of each severity, the most severe first; those that are joined keep their titles."""
    found: dict[Severity, list[Notice]] = {}
    for notice in told:
        found.setdefault(notice.severity, []).append(notice)
    return tuple(_joined(found[severity]) for severity in Severity if severity in found)


def _joined(same: list[Notice]) -> Notice:
    if len(same) == 1:
        return same[0]
    title = f"{same[0].title} (and {len(same) - 1} more)"
    lines = tuple(line for notice in same for line in (notice.title, *notice.lines))
    return Notice(same[0].severity, title, lines)


def texts(notice: Notice, secrets: Iterable[Secret]) -> tuple[str, str]:
    """Title and body as they are sent: without secrets, without control characters, not too long."""
    secrets = tuple(secrets)
    body: list[str] = []
    room = BODY - _CUT
    for number, line in enumerate(notice.lines):
        text = _cut(printable(redact(line, secrets)), _LINE)
        if len(text) > room:
            body.append(f"... and {counted(len(notice.lines) - number, 'more line')}")
            break
        body.append(text)
        room -= len(text) + 1
    return _cut(printable(redact(notice.title, secrets)), TITLE), "\n".join(body)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
