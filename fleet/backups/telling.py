"""Who hears of a run: the dead-man switch at its start and end, people by notices when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from fleet import notify
from fleet.backups.copies import Copies
from fleet.backups.restoring import Drilled
from fleet.backups.run import HasExitCode, Report
from fleet.core.errors import ExitCode, FleetError, InventoryError
from fleet.host.secrets import Reference, Secrets
from fleet.inventory import Inventory, load
from fleet.notify import Contacts, Signal
from fleet.render.lines import Line, is_terminal, show

Value = TypeVar("Value", bound=HasExitCode)


def told(
    hosts: Path,
    task: str,
    body: Callable[[Inventory], Value],
    said: Callable[[Value, Inventory], notify.Report],
    *,
    whole: bool,
    job: str = "",
) -> Value:
    """What `body` makes of hosts.yml; those whom that names hear how it ended, also where it raises.

    `whole`: the run is about all that its job is about; `job`: the schedule or replica, where it is about
    one of several. Only of a whole run does the dead-man switch of this job hear: one by hand, of one guest,
    must not hide that the nightly one is missing. Nobody is told by notices where an operator watches on a
    terminal. What does not get through is said on stderr and changes nothing else.
    A hosts.yml that cannot be read is told to those whom it named when it last could be.
    """
    secrets = Secrets(hosts.parent)
    try:
        inventory = load(hosts)
    except Exception as error:
        if there := notify.kept(hosts):
            _tell_failure(there, _switch(there, task, job) if whole else None, secrets, task, error)
        raise
    there = notify.contacts(inventory)
    _say(notify.keep(hosts, there))
    switch = _switch(there, task, job) if whole else None
    _say(notify.tell(switch, Signal.START, secrets))
    try:
        with notify.terminated_is_an_error():
            value = body(inventory)
    except Exception as error:  # also what nobody expected: silence would look like success
        _tell_failure(there, switch, secrets, task, error)
        raise
    good = value.exit_code == ExitCode.DONE
    _tell(there, switch, secrets, said(value, inventory), Signal.SUCCESS if good else Signal.FAIL)
    return value


def _switch(there: Contacts, task: str, job: str) -> Reference | None:
    return there.dead_man.get(task, {}).get(job)


def _tell_failure(
    there: Contacts, switch: Reference | None, secrets: Secrets, task: str, error: Exception
) -> None:
    if isinstance(error, InventoryError):
        failed = tuple(str(problem) for problem in error.problems if not problem.warning)
    elif isinstance(error, FleetError):
        failed = ("; ".join(str(error).splitlines()),)
    else:
        failed = (f"fleet failed in a way it should not: {type(error).__name__}",)
    failure = notify.Report(task, there.node, "it did not come to its end", failed=failed)
    _tell(there, switch, secrets, failure, Signal.FAIL)


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


def _tell(
    there: Contacts, switch: Reference | None, secrets: Secrets, report: notify.Report, signal: Signal
) -> None:
    body = "\n".join((report.summary, *report.failed, *report.warnings))
    _say(notify.tell(switch, signal, secrets, body))
    if not is_terminal(sys.stderr):
        answers = notify.send(notify.notices(report), there.channels, secrets)
        for line in notify.complaints(answers):
            _say(line)
    for line in secrets.warnings:
        _say(line)


def _say(text: str) -> None:
    if text:
        show([Line(f"warning: {text}", "yellow")], sys.stderr)
