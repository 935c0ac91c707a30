"""The Invoke tasks: thin functions that read options, call, render and return an exit code.

See fleet/tasks/cli.py for how a task is written; a new one gets its place in the namespace here.
"""

from __future__ import annotations

import sys

from invoke.collection import Collection

from fleet.tasks import (
    backup,
    backup_copies,
    backup_restore,
    check,
    init,
    inventory,
    lab,
    notify,
    provision,
    schedule,
)
from fleet.tasks.cli import Task
from fleet.tasks.program import take_over

# Invoke switches byte code files off for all that it loads; compiling fleet anew in every run would cost more
# than all of `inv --list`.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
take_over()


def _group(name: str, default: Task, *others: Task) -> Collection:
    """A collection whose name alone means its first task."""
    made = Collection(name, *others)
    made.add_task(default, default=True)
    return made


namespace = Collection(
    check.check,
    init.init,
    provision.plan,
    provision.apply,
    provision.status,
    _group("provision", provision.all_, provision.plan, provision.one, provision.adopt, provision.destroy),
    _group(
        "backup",
        backup.list_,
        backup.snapshot,
        backup.rotate,
        backup.coverage,
        backup.pin,
        backup.unpin,
        backup.adopt,
        backup_copies.dump,
        backup_copies.send,
        backup_restore.restore,
        backup_restore.get,
        backup_restore.drill,
    ),
    _group("schedule", schedule.status, schedule.install, schedule.remove),
    _group("notify", notify.test),
    _group("inventory", check.check, inventory.schema, inventory.reference),
    _group("lab", lab.status, lab.up, lab.down, lab.reset, lab.shell, lab.exec_, lab.fault),
)
