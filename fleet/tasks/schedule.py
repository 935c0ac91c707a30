"""schedule.install, status, remove: let this machine run the tasks of backups by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.core.errors import ExitCode
from fleet.tasks.cli import Options, confirm, inventory_path, task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleet.core.plan import Plan
    from fleet.inventory import Inventory
    from fleet.schedule.found import Found
    from fleet.schedule.jobs import Job
    from fleet.schedule.units import Place

_COMMON = ("inventory", "check", "commands", "json", "yes", "detailed_exitcode")


@task(*_COMMON)
def install(options: Options) -> int:
    """Let this machine run what hosts.yml schedules: timers where systemd is running, else crontab lines."""
    import sys

    from fleet.notify import contacts, keep
    from fleet.schedule.jobs import jobs

    inventory = _load(options)
    code = _make(options, inventory, jobs(inventory.backups, inventory.node.name))
    # The first run by itself may meet a slip in hosts.yml.
    if not options.check and (failed := keep(inventory.path, contacts(inventory))):
        print(failed, file=sys.stderr)
    return code


@task(*_COMMON)
def remove(options: Options) -> int:
    """Remove the timers or crontab lines that `schedule.install` made for this hosts.yml, and no others."""
    return _make(options, _load(options), ())


@task("inventory", "json", "detailed_exitcode")
def status(options: Options) -> int:
    """Show each job: whether it is installed as hosts.yml says, its last run, how it ended, its next run."""
    import json
    from datetime import UTC, datetime

    from fleet.host.journal import read
    from fleet.render.lines import show
    from fleet.schedule.jobs import jobs
    from fleet.schedule.status import cron_rows, row_data, row_lines, rows
    from fleet.schedule.units import cron_jobs

    inventory = _load(options)
    wanted = jobs(inventory.backups, inventory.node.name)
    place, look = _machine(inventory, wanted)
    found, plan = look()
    now = datetime.now(UTC)
    if found.systemd:
        shown = rows(wanted, found, plan)
    else:
        lines = cron_jobs(wanted, place, found.zone, now.year)
        shown = cron_rows(lines, found, plan, read(inventory.node.name), now)
    if options.json:
        print(json.dumps(row_data(shown), indent=1))
    else:
        show(row_lines(shown))
    return ExitCode.CHANGES_PENDING if plan and options.detailed_exitcode else ExitCode.DONE


def _make(options: Options, inventory: Inventory, wanted: Sequence[Job]) -> int:
    """Read this machine, plan, ask, act, and read again."""
    import json
    import sys
    import time

    from fleet.planfile import plan_data
    from fleet.render.lines import show
    from fleet.render.plan import plan_lines
    from fleet.render.run import result_lines, run_data, run_lines
    from fleet.run import exit_code_of
    from fleet.schedule.machine import good, local_shell, run

    began = time.monotonic()
    _, look = _machine(inventory, wanted)
    _, plan = look()
    if options.check or not plan:
        if options.json:
            print(json.dumps(plan_data(plan), indent=1))
        else:
            show(plan_lines(plan, commands=options.commands))
        pending = ExitCode.CHANGES_PENDING if plan and options.detailed_exitcode else ExitCode.DONE
        return exit_code_of(plan.notes) or pending
    if not options.json:
        show(plan_lines(plan, commands=options.commands))
    confirm("Change this machine's schedules so?", options)
    results = run(local_shell(), plan, lambda result: show(result_lines(result), sys.stderr))
    _, left = look()
    code = exit_code_of(left.notes) if good(results) and not left else ExitCode.SOME_FAILED
    seconds = time.monotonic() - began
    if options.json:
        print(json.dumps(run_data(results, left, seconds, code), indent=1))
    else:
        show(run_lines(results, left, seconds))
    return code


def _machine(inventory: Inventory, wanted: Sequence[Job]) -> tuple[Place, Callable[[], tuple[Found, Plan]]]:
    """Where jobs of this inventory run, and what reads this machine and plans."""
    import platform
    from datetime import UTC, datetime

    from fleet.schedule.found import read
    from fleet.schedule.machine import local_shell, place
    from fleet.schedule.plan import plan

    here = place(inventory.path)
    shell = local_shell()

    def look() -> tuple[Found, Plan]:
        found = read(shell, here, [job.name for job in wanted])
        year = datetime.now(UTC).year
        variables = _variables(inventory)
        return found, plan(wanted, here, found, machine=platform.node(), year=year, variables=variables)

    return here, look


def _variables(inventory: Inventory) -> tuple[str, ...]:
    """The environment variables that are needed to tell of a run."""
    from fleet.notify import channels

    urls = (
        *(channel.url for channel in channels(inventory)),
        *(url for each in inventory.dead_man.values() for url in each.values()),
    )
    return tuple(dict.fromkeys(url.target for url in urls if url.kind == "env"))


def _load(options: Options) -> Inventory:
    from fleet.inventory import load

    return load(inventory_path(options))
