"""backup.restore, backup.get, backup.drill: back from a backup, and the proof that it can be done."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from fleet.core.errors import ExitCode, Refused, UsageError
from fleet.tasks.cli import Options, confirm, inventory_path, task

if TYPE_CHECKING:
    from fleet.core.plan import Plan
    from fleet.inventory import Inventory

_ITEM = (
    "NAME@ITEM: a guest or dataset, and a snapshot, an archive, `latest` or `archive` (the newest of them)"
)


@task(
    "inventory",
    "check",
    "commands",
    "json",
    "yes",
    help={
        "item": _ITEM,
        "vmid": "the VMID of the copy (default: the next free one)",
        "hostname": "the host name of the copy (default: NAME-restored)",
        "storage": "where the copy's volumes go (default: where the original's are)",
        "full": "copy all data instead of cloning the snapshot, which then depends on nothing",
        "start": "start the copy once it is there",
        "connect": "leave its network plugged in; refused while the original runs with the same address",
        "binds": "give the copy the original's bind mounts, read-only; without it they are left out",
        "in_place": "the guest's name once more: put its own data back; its present state is kept aside",
    },
)
def restore(
    options: Options,
    item: str,
    vmid: int = 0,
    hostname: str = "",
    storage: str = "",
    full: bool = False,
    start: bool = False,
    connect: bool = False,
    binds: bool = False,
    in_place: str = "",
) -> int:
    """Restore a backup to a new VMID (a dataset: beside itself), unplugged; nothing is ever overwritten."""
    from fleet.backups import restoring, run
    from fleet.backups.reading import read
    from fleet.domains.backup.restore.choice import named
    from fleet.domains.backup.restore.config import Link
    from fleet.domains.backup.restore.plan import Request
    from fleet.host.lock import NODE, TRANSFERS
    from fleet.render.lines import show
    from fleet.render.restored import restored_data, restored_lines
    from fleet.run import connected

    inventory = _load(options)
    wanted = named(item, inventory.backups.subjects)
    if in_place and in_place != wanted.subject.name:
        name = wanted.subject.name
        raise Refused(f"putting {name} back in its place needs its name: --in-place={name}")
    if in_place and (vmid or hostname or storage or full or connect or binds):
        raise UsageError(
            "--in-place keeps the guest's number, name and volumes: the other options are of copies"
        )
    if hostname and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", hostname):
        raise UsageError(f"--hostname {hostname!r}: letters, digits and -, up to 63, not - at either end")
    if vmid and not 100 <= vmid <= 999_999_999:
        raise UsageError(f"--vmid {vmid}: a VMID is a number from 100 to 999999999")
    request = Request(
        vmid=vmid or None,
        hostname=hostname,
        storage=storage or None,
        full=full,
        start=start,
        link=Link.UP if connect else Link.DOWN,
        binds=binds,
    )
    goal = None if in_place else request
    if options.check:
        with connected(inventory) as shell:
            reading = read(shell, inventory, archives=wanted.in_archives, more=restoring.probes(wanted))
            _show(restoring.plan(shell, inventory, reading, wanted, goal).plan, options)
        return ExitCode.DONE

    def agree(plan: Plan) -> None:
        if not options.json:
            _show(plan, options)
        if plan:
            confirm(f"Restore {item}?", options)

    # In its place, datasets get other names: none of them may be on its way to a replica.
    locks = (NODE, TRANSFERS) if in_place else (NODE,)
    with run.working(inventory, f"backup.restore {item}", locks) as work:
        restored = work.done(restoring.restore(work, wanted, goal, agree))
    if options.json:
        print(json.dumps(restored_data(restored), indent=2))
    else:
        show(restored_lines(restored))
    return restored.exit_code


@task(
    "inventory",
    "yes",
    help={
        "item": _ITEM,
        "path": "a file or folder: its path inside the guest, or inside the dataset",
        "dest": "where it goes on this machine: a folder that is there, or a new name",
    },
)
def get(options: Options, item: str, path: str, dest: str) -> int:
    """Get a file or folder out of a backup onto this machine; nothing is overwritten without --yes."""
    from pathlib import Path

    from fleet.backups import getting
    from fleet.domains.backup.restore.choice import named
    from fleet.render.lines import show
    from fleet.render.restored import fetched_lines
    from fleet.run import connected

    inventory = _load(options)
    wanted = named(item, inventory.backups.subjects)
    with connected(inventory) as shell:
        fetched, source = getting.get(
            shell, inventory, wanted, path, Path(dest).expanduser(), replace=options.yes
        )
    show(fetched_lines(fetched, source.snapshot, source.apart))
    return ExitCode.DONE


@task(
    "inventory",
    "limit",
    "exclude",
    "json",
    "jobs",
    help={
        "sample": "so many of the newest snapshots and archives, those proven longest ago first (default: 1)",
        "all": "all of them instead of a sample",
        "archives": "only archives, no snapshots",
        "keep_failed": "leave the copy of what failed on the node, to be looked at",
    },
)
def drill(
    options: Options, sample: int = 1, all: bool = False, archives: bool = False, keep_failed: bool = False
) -> int:
    """Prove that backups can be restored: to scratch VMIDs, unplugged, started, looked at, destroyed."""
    from fleet.backups import restoring, run
    from fleet.backups.choice import chosen
    from fleet.backups.telling import report_of_drill, told
    from fleet.render.lines import show
    from fleet.render.restored import drill_data, drill_lines

    if sample < 1:
        raise UsageError(f"--sample {sample}: at least 1 backup has to be restored")

    def body(inventory: Inventory) -> restoring.Drilled:
        subjects = chosen(inventory, options.limit, options.exclude)
        with run.working(inventory, "backup.drill") as work:
            drilled = restoring.drill(
                work,
                subjects,
                number=None if all else sample,
                archives=archives,
                keep_failed=keep_failed,
                jobs=options.jobs,
            )
            return work.done(drilled)

    drilled = told(
        inventory_path(options),
        "backup.drill",
        body,
        report_of_drill,
        whole=not options.limit and not options.exclude,
    )
    if options.json:
        print(json.dumps(drill_data(drilled), indent=2))
    else:
        show(drill_lines(drilled))
    return drilled.exit_code


def _load(options: Options) -> Inventory:
    from fleet.inventory import load

    return load(inventory_path(options))


def _show(plan: Plan, options: Options) -> None:
    from fleet.render.lines import show
    from fleet.render.plan import plan_lines

    show(plan_lines(plan, commands=options.commands))
