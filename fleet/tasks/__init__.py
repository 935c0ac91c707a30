"""The Invoke tasks: thin functions that read options, call, render and return an exit code.

See fleet/tasks/cli.py for how a task is written; a new one gets its place in the namespace here.
"""

from __future__ import annotations

import gc
import sys

from invoke.collection import Collection

from fleet.tasks import check, init, inventory, provision
from fleet.tasks.program import take_over

# Nearly all that a run makes lives until its end. Searching it for cycles as often as Python does by default takes
# a fifth of the time of a plan of many containers.
gc.set_threshold(100_000, 50, 100)

# Invoke switches byte code files off for all that it loads; compiling fleet anew in every run would cost more
# than all of `inv --list`.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
take_over()

namespace = Collection(
    check.check,
    init.init,
    check.check,
    provision.plan,
    provision.apply,
    provision.status,
    Collection(
        "inventory",
        check.check,
        inventory.schema,
        inventory.reference,
    ),
    Collection(
        "provision",
        provision.all_,
        provision.one,
        provision.adopt,
        provision.destroy,
    ),
    Collection("inventory", check.check, inventory.schema, inventory.reference),
)
