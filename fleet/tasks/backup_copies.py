"""backup.dump and backup.send: archives on a storage, copies on a replica."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleet.core.errors import ExitCode, UsageError
from fleet.tasks.cli import Options, inventory_path, task

if TYPE_CHECKING:
    from fleet.domains.backup.spec import Subject
    from fleet.inventory import Inventory

_SELECTION = ("inventory", "limit", "exclude")
_YES_REMOVE = "agree to so many removals of one guest or dataset where the brake would stop them"


@task(
    *_SELECTION,
    "check",
    "json",
    help={
        "label": "the middle part of the run's name, which stands in the archives' notes (default: dump)",
        "schedule": "only the guests whose archives hosts.yml schedules so",
        "yes_remove": _YES_REMOVE,
    },
)
def dump(options: Options, label: str = "dump", schedule: str = "", yes_remove: int = 0) -> int:
    """Archive the guests whose policy has archives, one after another, then remove what is no longer kept."""
    from fleet.backups import copies, run
    from fleet.backups.reading import read
    from fleet.backups.telling import report_of_copies, told
    from fleet.domains.backup import archives
    from fleet.render.copies import copies_data, copies_lines, planned_data, planned_lines
    from fleet.render.lines import show
    from fleet.run import connected

    if options.check:
        inventory = _load(options)
        subjects = _archived(inventory, options, schedule)
        with connected(inventory) as shell:
            reading = read(shell, inventory, archives=True)
        planned = archives.dump(subjects, reading.backups, run.new_name(label, reading))
        pruning = archives.prune(
            reading.spec, subjects, reading.backups, this_run="", allowed=yes_remove or None
        )
        if options.json:
            print(json.dumps(planned_data(planned.part, pruning.decisions, pruning.braked), indent=2))
        else:
            show(planned_lines(planned.part, pruning.decisions, pruning.braked))
        return ExitCode.SOME_FAILED if planned.refused else ExitCode.DONE

    def body(inventory: Inventory) -> copies.Copies:
        subjects = _archived(inventory, options, schedule)
        with run.working(inventory, "backup.dump") as work:
            return work.done(copies.dump(work, subjects, label=label, allowed=yes_remove or None))

    report = told(
        inventory_path(options),
        "backup.dump",
        body,
        lambda done, inventory: report_of_copies(done, "backup.dump", inventory),
        whole=not options.limit and not options.exclude,
        job=schedule,
    )
    if options.json:
        print(json.dumps(copies_data(report), indent=2))
    else:
        show(copies_lines(report))
    return report.exit_code


@task(
    *_SELECTION,
    "check",
    "json",
    help={"replica": "only this replica of hosts.yml", "yes_remove": _YES_REMOVE},
)
def send(options: Options, replica: str = "", yes_remove: int = 0) -> int:
    """Send replicas the newest snapshots that they lack, then remove what is no longer kept there."""
    from fleet.backups import copies, run
    from fleet.backups.reading import read
    from fleet.backups.telling import report_of_copies, told
    from fleet.domains.backup import replicas
    from fleet.host.lock import TRANSFERS
    from fleet.render.copies import copies_data, copies_lines, planned_data, planned_lines
    from fleet.render.lines import show
    from fleet.run import connected

    if options.check:
        inventory = _load(options)
        subjects = _sent(inventory, options, replica)
        places = inventory.backups.replicas
        with connected(inventory) as shell:
            reading = read(shell, inventory, more=replicas.probes(places.values()))
        found = replicas.read(reading.answers, places.values())
        planned = replicas.send(reading.spec, subjects, reading.backups, found, only=replica)
        pruning = replicas.prune(
            reading.spec, planned.sides, reading.backups, found, allowed=yes_remove or None
        )
        if options.json:
            print(json.dumps(planned_data(planned.part, pruning.decisions, pruning.braked), indent=2))
        else:
            show(planned_lines(planned.part, pruning.decisions, pruning.braked))
        return ExitCode.SOME_FAILED if planned.refused else ExitCode.DONE

    def body(inventory: Inventory) -> copies.Copies:
        subjects = _sent(inventory, options, replica)
        # Days may go into a first transfer: snapshots are taken and removed beside it.
        with run.working(inventory, "backup.send", (TRANSFERS,)) as work:
            return work.done(copies.send(work, subjects, only=replica, allowed=yes_remove or None))

    report = told(
        inventory_path(options),
        "backup.send",
        body,
        lambda done, inventory: report_of_copies(done, "backup.send", inventory),
        whole=not options.limit and not options.exclude,
        job=replica,
    )
    if options.json:
        print(json.dumps(copies_data(report), indent=2))
    else:
        show(copies_lines(report))
    return report.exit_code


def _load(options: Options) -> Inventory:
    from fleet.inventory import load

    return load(inventory_path(options))


def _archived(inventory: Inventory, options: Options, schedule: str) -> tuple[Subject, ...]:
    """The guests that are meant and have archives; UsageError for none."""
    from fleet.backups.choice import chosen

    found = tuple(
        each
        for each in chosen(inventory, options.limit, options.exclude)
        if each.archives is not None and (not schedule or each.archives.schedule == schedule)
    )
    if not found:
        when = f" at {schedule!r}" if schedule else ""
        raise UsageError(f"no guest that this selects has archives{when} in hosts.yml")
    return found


def _sent(inventory: Inventory, options: Options, replica: str) -> tuple[Subject, ...]:
    """The guests and datasets that are meant and have a replica; UsageError for none."""
    from fleet.backups.choice import chosen

    places = inventory.backups.replicas
    if replica and replica not in places:
        raise UsageError(f"hosts.yml has no replica {replica}: {', '.join(sorted(places)) or 'it has none'}")
    found = tuple(
        each
        for each in chosen(inventory, options.limit, options.exclude)
        if each.exclude is None and any(replica in ("", name) for name in each.replicas)
    )
    if not found:
        raise UsageError("no guest and no dataset that this selects has a replica in hosts.yml")
    return found
