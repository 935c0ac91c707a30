"""The operator: runs fleet through its Python interface, in this process or in one that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fleet.converge import gather, make_plan
from fleet.core.plan import Plan
from fleet.inventory import Inventory, load
from fleet.run import Run, connected, execute

ROOT = Path(__file__).resolve().parents[2]


def plan(inventory: Inventory, *, restart: bool = False, limit: Sequence[str] = ()) -> Plan:
    """What a fresh read of the lab asks for."""
    with connected(inventory) as shell:
        return make_plan(inventory, gather(shell, inventory), restart=restart, limit=limit)


def apply(inventory: Inventory, *, restart: bool = False, jobs: int = 4, saved: Plan | None = None) -> Run:
    """`inv provision.all --yes`, or `inv apply FILE`."""
    return execute(
        inventory,
        "provision.all",
        lambda facts: make_plan(inventory, facts, restart=restart),
        jobs=jobs,
        agree=lambda _plan: None,
        saved=saved,
    )


def settle(inventory: Inventory, *, restart: bool = False, jobs: int = 4) -> Run:
    """The same, and nothing may be left to do."""
    run = apply(inventory, restart=restart, jobs=jobs)
    assert not run.left.steps, [(result.step.id, result.outcome, result.log) for result in run.results]
    return run


def killed_at(event: int, hosts: Path, *, jobs: int) -> bool:
    """Whether a process that runs provision.all killed itself when it wrote its nth line into the journal."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.road.operator", str(hosts), str(event), str(jobs)],
        cwd=ROOT,
        timeout=120,
        capture_output=True,
    )
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr.decode()
    return done.returncode == -signal.SIGKILL


def _main(hosts: str, event: str, jobs: str) -> None:
    from fleet.host.journal import Journal

    written = 0
    write = Journal.write

    def counting(self: Journal, name: str, **fields: object) -> None:
        nonlocal written
        write(self, name, **fields)
        written += 1
        if written == int(event):
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.write = counting  # type: ignore[method-assign, assignment]
    apply(load(Path(hosts)), restart=True, jobs=int(jobs))


if __name__ == "__main__":
    _main(*sys.argv[1:])
