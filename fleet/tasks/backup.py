"""backup.snapshot, rotate, list, coverage, pin, unpin: snapshots of everything that hosts.yml declares."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleet.core.errors import ExitCode, HostError, UsageError
from fleet.tasks.cli import Options, inventory_path, task

if TYPE_CHECKING:
    from fleet.domains.backup.spec import Keep, Subject
    from fleet.host.apply import Result
    from fleet.inventory import Inventory

_KEEP = {
    f"keep_{name}": f"instead of the policy's: keep so many, as Proxmox's keep-{name}"
    for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")
}
_SELECTION = ("inventory", "limit", "exclude")


@task(
    *_SELECTION,
    "check",
    "json",
    "jobs",
    help={
        "label": "the middle part of the snapshots' names (default: daily)",
        "schedule": "only the guests and datasets whose snapshots hosts.yml schedules so",
        "yes_remove": "agree to so many removals of one guest where the brake would stop them",
        **_KEEP,
    },
)
def snapshot(
    options: Options,
    label: str = "daily",
    schedule: str = "",
    yes_remove: int = 0,
    keep_last: int = 0,
    keep_hourly: int = 0,
    keep_daily: int = 0,
    keep_weekly: int = 0,
    keep_monthly: int = 0,
    keep_yearly: int = 0,
) -> int:
    """Take a snapshot of every guest and dataset, then remove what the policies no longer keep."""
    from fleet.backups import run
    from fleet.backups.choice import snapshotted
    from fleet.backups.reading import read
    from fleet.backups.telling import report_of, told
    from fleet.domains.backup.snapshots.plan import take
    from fleet.render.backups import report_data, report_lines, taking_lines
    from fleet.render.lines import show
    from fleet.run import connected

    keep = _keep(keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    if options.check:
        inventory = _load(options)
        subjects = snapshotted(_subjects(inventory, options, schedule))
        with connected(inventory) as shell:
            reading = read(shell, inventory)
        taking = take(subjects, reading.backups, run.new_name(label, reading))
        show(taking_lines(taking))
        return ExitCode.SOME_FAILED if taking.refused else ExitCode.DONE

    def body(inventory: Inventory) -> run.Report:
        subjects = snapshotted(_subjects(inventory, options, schedule))
        with run.working(inventory, "backup.snapshot") as work:
            return work.done(
                run.snapshot(
                    work, subjects, label=label, keep=keep, allowed=yes_remove or None, jobs=options.jobs
                )
            )

    report = told(
        inventory_path(options),
        "backup.snapshot",
        body,
        lambda done, inventory: report_of(done, "backup.snapshot", inventory),
        whole=not options.limit and not options.exclude,
        job=schedule,
    )
    if options.json:
        print(json.dumps(report_data(report), indent=2))
    else:
        show(report_lines(report))
    return report.exit_code


@task(
    *_SELECTION,
    "check",
    "json",
    "jobs",
    help={
        "yes_remove": "agree to so many removals of one guest where the brake would stop them",
        **_KEEP,
    },
)
def rotate(
    options: Options,
    yes_remove: int = 0,
    keep_last: int = 0,
    keep_hourly: int = 0,
    keep_daily: int = 0,
    keep_weekly: int = 0,
    keep_monthly: int = 0,
    keep_yearly: int = 0,
) -> int:
    """Remove the snapshots that the policies no longer keep; --check says for each the rule that decides."""
    from fleet.backups import run
    from fleet.backups.choice import snapshotted
    from fleet.backups.reading import read
    from fleet.domains.backup.snapshots import plan
    from fleet.render.backups import decision_data, decision_lines, report_data, report_lines
    from fleet.render.lines import show
    from fleet.run import connected

    inventory = _load(options)
    subjects = snapshotted(_subjects(inventory, options))
    keep = _keep(keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    allowed = yes_remove or None
    if options.check:
        with connected(inventory) as shell:
            reading = read(shell, inventory, more=run.replica_probes(inventory.backups))
        rotation = plan.rotate(
            reading.spec,
            subjects,
            reading.backups,
            keep=keep,
            allowed=allowed,
            common=run.needed_by_replicas(reading, subjects),
        )
        if options.json:
            print(json.dumps(decision_data(rotation), indent=2))
        else:
            show(decision_lines(rotation))
        return ExitCode.REFUSED if rotation.braked else ExitCode.DONE
    with run.working(inventory, "backup.rotate") as work:
        report = work.done(run.prune(work, subjects, keep=keep, allowed=allowed, jobs=options.jobs))
    if options.json:
        print(json.dumps(report_data(report), indent=2))
    else:
        show(report_lines(report))
    return report.exit_code


@task(*_SELECTION, "json", name="list", help={"archives": "vzdump archives, too; about a second more"})
def list_(options: Options, archives: bool = False) -> int:
    """List every snapshot of each guest and dataset: age, size, method, and whose it is if not fleet's."""
    from zoneinfo import ZoneInfo

    from fleet.backups.reading import read
    from fleet.domains.backup.assemble import archive_items, items
    from fleet.render.backups import item_data, item_lines
    from fleet.render.lines import show
    from fleet.run import connected

    inventory = _load(options)
    subjects = _subjects(inventory, options)
    with connected(inventory) as shell:
        reading = read(shell, inventory, archives=archives)
    found = {
        subject.name: (
            *items(subject, reading.backups),
            *(archive_items(subject, reading.backups) if archives and subject.vmid is not None else ()),
        )
        for subject in subjects
    }
    if options.json:
        print(json.dumps(item_data(found, reading.backups.now), indent=2))
    else:
        show(item_lines(found, reading.backups.now, ZoneInfo(reading.spec.timezone), archives=archives))
    if not reading.backups.complete:
        node = inventory.node.name
        raise HostError(f"{node}: the list of snapshots was not whole: some may be missing here")
    return ExitCode.DONE


@task("inventory", "json")
def coverage(options: Options) -> int:
    """Show what is protected how; exit 3 where something is not, not yet, or not in time."""
    from fleet.backups.health import declared, due_of, health, look
    from fleet.domains.backup.archives import too_few
    from fleet.domains.backup.coverage import BAD
    from fleet.domains.backup.coverage import coverage as covered
    from fleet.render.backups import coverage_data, coverage_lines, health_lines, limit_lines
    from fleet.render.lines import Line, show
    from fleet.run import connected

    inventory = _load(options)
    with connected(inventory) as shell:
        seen = look(shell, inventory, there=True)
    spec, facts = seen.reading.spec, seen.reading.backups
    rows = covered(spec, facts, declared(inventory, seen.reading), due_of(spec))
    if options.json:
        print(json.dumps(coverage_data(rows), indent=2))
        show((Line(f"warning: could not be looked at: {each}") for each in seen.unread), sys.stderr)
    else:
        show(coverage_lines(rows))
        show(limit_lines(too_few(spec.subjects, facts)))
        show(health_lines(health(spec, facts, seen.unread)))
    good = not seen.unread and not any(row.state in BAD for row in rows)
    return ExitCode.DONE if good else ExitCode.SOME_FAILED


@task(
    "inventory",
    help={
        "snapshot": "NAME@ITEM, as backup.list --archives shows them, or NAME@latest, NAME@archive",
        "until": "the last day on which it may not be removed: 2027-01-31",
    },
)
def pin(options: Options, snapshot: str, until: str = "") -> int:
    """Keep a snapshot or an archive until a day, whatever its policy says."""
    from datetime import date

    try:
        day = date.fromisoformat(until)
    except ValueError:
        raise UsageError(f"--until {until!r}: write the day as 2027-01-31") from None
    return _pin(options, snapshot, day.isoformat())


@task(
    "inventory",
    help={"snapshot": "NAME@ITEM, as backup.list --archives shows them, or NAME@latest, NAME@archive"},
)
def unpin(options: Options, snapshot: str) -> int:
    """Let the policy decide again about a snapshot or an archive that was pinned."""
    return _pin(options, snapshot, "-")


@task("inventory", "check", "yes", help={"name": "a guest or dataset of hosts.yml"})
def adopt(options: Options, name: str) -> int:
    """Take over snapshots that a fleet made whose record is lost, as after a new installation of the node."""
    from fleet.backups import run
    from fleet.core.plan import Part
    from fleet.domains.backup.assemble import adoptable, items
    from fleet.domains.backup.snapshots import steps
    from fleet.tasks.cli import confirm

    inventory = _load(options)
    subject = next((each for each in inventory.backups.subjects if each.name == name), None)
    if subject is None:
        raise UsageError(f"{name!r} is no guest and no dataset of hosts.yml")
    with run.working(inventory, f"backup.adopt {name}") as work:
        found = adoptable(items(subject, work.read().backups))
        print("\n".join(f"{name}@{item.name}" for item in found) or f"{name}: there is nothing to adopt")
        if options.check or not found:
            return ExitCode.DONE
        confirm("Let fleet keep and remove these as its own, by the policy?", options)
        results = work.apply(Part((steps.adopt(found),)), jobs=1)
        work.exit_code = code = _code(results)
    return code


def _pin(options: Options, text: str, until: str) -> int:
    from fleet.backups import run
    from fleet.backups.copies import pin_archive
    from fleet.core.plan import Part
    from fleet.domains.backup.restore.choice import found, named
    from fleet.domains.backup.snapshots import steps
    from fleet.domains.backup.snapshots.plan import day

    inventory = _load(options)
    wanted = named(text, inventory.backups.subjects)
    with run.working(inventory, f"backup.pin {text}") as work:
        reading = work.read(archives=wanted.in_archives)
        item = found(wanted, reading.backups)
        said = f"{wanted.subject.name}@{item.name}"
        if not item.ours:
            raise UsageError(f"{said}: fleet pins only snapshots and archives of its own")
        if until != "-" and until < (today := day(reading.backups.now)):
            raise UsageError(f"--until {until} is over; write {today} (UTC) or a later day")
        archived = item.archive is not None
        step = (
            pin_archive(work.shell, item, until) if archived else steps.pin(item, wanted.subject.vmid, until)
        )
        results = work.apply(Part((step,)), jobs=1)
        work.exit_code = code = _code(results)
    if code == ExitCode.DONE:
        print(f"{said} is no longer pinned" if until == "-" else f"{said} is pinned until {until}")
    return code


def _code(results: Sequence[Result]) -> int:
    """0 where all steps did what they should, else 3, and their logs are shown."""
    from fleet.host.guarded import GOOD

    if all(result.outcome in GOOD for result in results):
        return ExitCode.DONE
    print("\n".join(line for result in results for line in result.log))
    return ExitCode.SOME_FAILED


def _load(options: Options) -> Inventory:
    from fleet.inventory import load

    return load(inventory_path(options))


def _subjects(inventory: Inventory, options: Options, schedule: str = "") -> tuple[Subject, ...]:
    """The guests and datasets that are meant; UsageError for none."""
    from fleet.backups.choice import chosen

    return chosen(inventory, options.limit, options.exclude, schedule)


def _keep(last: int, hourly: int, daily: int, weekly: int, monthly: int, yearly: int) -> Keep | None:
    """The policy of the command line; None where it has none."""
    from fleet.domains.backup.spec import Keep

    keep = Keep(last, hourly, daily, weekly, monthly, yearly)
    if min(last, hourly, daily, weekly, monthly, yearly) < 0:
        raise UsageError("--keep-...: a number of backups, 0 or more")
    return None if keep == Keep() else keep
