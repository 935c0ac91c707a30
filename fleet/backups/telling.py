"""Who hears of a run: the dead-man switch at its start and end, people by notices when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from fleet import notify
from fleet.backups.run import Report
from fleet.core.errors import FleetError
from fleet.host.secrets import Secrets
from fleet.inventory import Inventory
from fleet.notify import Signal
from fleet.render.lines import Line, is_terminal, show

Value = TypeVar("Value")


def told(
    inventory: Inventory, task: str, body: Callable[[], Value], said: Callable[[Value], notify.Report]
) -> Value:
    """What `body` returns; those whom hosts.yml names hear how it ended, also where it raises.

    Nobody is told by notices where an operator watches on a terminal. What does not get through is said on
    stderr and changes nothing else.
    """
    secrets = Secrets(inventory.path.parent)
    _say(notify.tell(inventory.dead_man.get(task), Signal.START, secrets))
    try:
        value = body()
    except FleetError as error:
        failure = notify.Report(task, inventory.node.name, "it did not run", failed=(str(error),))
        _tell(inventory, secrets, failure)
        raise
    _tell(inventory, secrets, said(value))
    return value


def report_of(report: Report, task: str, inventory: Inventory) -> notify.Report:
    """A run of snapshots as people elsewhere are told of it."""
    removed = sum(map(len, report.removed.values()))
    return notify.Report(
        task=task,
        node=inventory.node.name,
        summary=f"{report.name}: {len(report.taken)} taken, {removed} removed in {report.seconds:.0f} s"
        if report.name
        else f"{removed} removed in {report.seconds:.0f} s",
        failed=tuple(_pairs(report.failed, report.kept)) + report.alarms,
        warnings=(*_pairs(report.braked), *report.warnings),
    )


def _pairs(*tables: Mapping[str, str]) -> Iterator[str]:
    for table in tables:
        yield from (f"{name}: {why}" for name, why in table.items())


def _tell(inventory: Inventory, secrets: Secrets, report: notify.Report) -> None:
    signal = Signal.SUCCESS if report.good else Signal.FAIL
    watcher = inventory.dead_man.get(report.task)
    _say(notify.tell(watcher, signal, secrets, "\n".join((report.summary, *report.failed))))
    if not is_terminal(sys.stderr):
        answers = notify.send(notify.notices(report), notify.channels(inventory), secrets)
        for line in notify.complaints(answers):
            _say(line)
    for line in secrets.warnings:
        _say(line)


def _say(text: str) -> None:
    if text:
        show([Line(f"warning: {text}", "yellow")], sys.stderr)
