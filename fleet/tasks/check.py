"""`inv check`: is hosts.yml right? Offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.tasks.cli import Options, inventory_path, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.core.errors import Problem
    from fleet.inventory.figures import Figures


@task("inventory", "json")
def check(options: Options) -> int:
    """Check hosts.yml and contact nothing: every error and warning at once, or the figures of the homelab."""
    from fleet.core.errors import ExitCode, InventoryError
    from fleet.inventory import load
    from fleet.inventory.figures import figures

    path = inventory_path(options)
    found: Sequence[Problem]
    counted: Figures | None = None
    try:
        inventory = load(path)
        found, counted = inventory.warnings, figures(inventory)
    except InventoryError as error:
        found = error.problems
    if options.json:
        print(_json(found, counted))
    else:
        for problem in found:
            print(problem)
        if counted is not None:
            print(f"{path.name}: {counted}")
        else:
            errors = sum(not problem.warning for problem in found)
            print(f"{path.name}: {errors} {'error' if errors == 1 else 'errors'}; nothing was contacted")
    return ExitCode.DONE if counted is not None else ExitCode.ERROR


def _json(found: Sequence[Problem], counted: Figures | None) -> str:
    import json
    from dataclasses import asdict

    return json.dumps(
        {
            "ok": counted is not None,
            "problems": [asdict(problem) for problem in found],
            "figures": asdict(counted) if counted is not None else None,
        },
        indent=1,
    )
