"""Who hears of a run: the dead-man switch at its start and end, people by notices when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from fleet import notify
from fleet.backups.copies import Copies
from fleet.backups.restoring import Drilled
from fleet.backups.run import Report
from fleet.core.errors import FleetError
from fleet.host.secrets import Secrets
from fleet.inventory import Inventory
from fleet.inventory.secret import SecretRef
from fleet.notify import Signal
from fleet.render.lines import Line, is_terminal, show

Value = TypeVar("Value")


def told(
    inventory: Inventory,
    task: str,
    body: Callable[[], Value],
    said: Callable[[Value], notify.Report],
    *,
    whole: bool,
) -> Value:
    """What `body` returns; those whom hosts.yml names hear how it ended, also where it raises.

    `whole`: the run is about all that it could be about. Only of such a run does the dead-man switch hear:
    one by hand, of one guest, must not hide that the nightly one is missing. Nobody is told by notices where
    an operator watches on a terminal. What does not get through is said on stderr and changes nothing else.
    """
    secrets = Secrets(inventory.path.parent)
    switch = inventory.dead_man.get(task) if whole else None
    _say(notify.tell(switch, Signal.START, secrets))
    try:
        with notify.terminated_is_an_error():
            value = body()
    except Exception as error:  # also what nobody expected: silence would look like success
        known = isinstance(error, FleetError)
        why = str(error) if known else f"fleet failed in a way it should not: {type(error).__name__}"
        failure = notify.Report(task, inventory.node.name, "it did not come to its end", failed=(why,))
        _tell(inventory, switch, secrets, failure)
        raise
    _tell(inventory, switch, secrets, said(value))
    return value


def report_of(report: Report, task: str, inventory: Inventory) -> notify.Report:
    """A run of snapshots as people elsewhere are told of it."""
    removed = sum(map(len, report.removed.values()))
    return notify.Report(
        task=task,
        node=inventory.node.name,
        summary=f"{report.name}: {len(report.taken)} taken,"
        + (f" {len(report.skipped)} skipped," if report.skipped else "")
        + f" {removed} removed in {report.seconds:.0f} s"
        if report.name
        else f"{removed} removed in {report.seconds:.0f} s",
        failed=tuple(_pairs(report.failed, report.kept)) + report.alarms,
        warnings=(*_pairs(report.braked), *report.warnings),
        info=(f"restore not proven in time: {', '.join(report.unproven)}",) if report.unproven else (),
    )


def report_of_copies(report: Copies, task: str, inventory: Inventory) -> notify.Report:
    """A run of archives or replicas as people elsewhere are told of it."""
    removed = sum(map(len, report.removed.values()))
    return notify.Report(
        task=task,
        node=inventory.node.name,
        summary=f"{len(report.made)} made, {len(report.same)} up to date, {removed} removed in"
        f" {report.seconds:.0f} s",
        failed=tuple(_pairs(report.failed, report.kept)) + report.alarms,
        warnings=(*_pairs(report.braked), *report.warnings),
    )


def report_of_drill(drilled: Drilled, inventory: Inventory) -> notify.Report:
    """A drill as people elsewhere are told of it."""
    return notify.Report(
        task="backup.drill",
        node=inventory.node.name,
        summary=f"{len(drilled.proven)} of {len(drilled.proven) + len(drilled.failed)} restored and proven in"
        f" {drilled.seconds:.0f} s",
        failed=(*_pairs(drilled.failed), *drilled.left),
        info=tuple(f"{name}: {note}" for name, notes in drilled.notes.items() for note in notes),
    )


def _pairs(*tables: Mapping[str, str]) -> Iterator[str]:
    for table in tables:
        yield from (f"{name}: {why}" for name, why in table.items())


def _tell(inventory: Inventory, switch: SecretRef | None, secrets: Secrets, report: notify.Report) -> None:
    signal = Signal.SUCCESS if report.good else Signal.FAIL
    _say(notify.tell(switch, signal, secrets, "\n".join((report.summary, *report.failed))))
    if not is_terminal(sys.stderr):
        answers = notify.send(notify.notices(report), notify.channels(inventory), secrets)
        for line in notify.complaints(answers):
            _say(line)
    for line in secrets.warnings:
        _say(line)


def _say(text: str) -> None:
    if text:
        show([Line(f"warning: {text}", "yellow")], sys.stderr)
