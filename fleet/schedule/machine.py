"""The machine that fleet itself runs on: where things are there, and how its steps are run."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fleet.core.errors import LinkLost
from fleet.core.plan import Plan
from fleet.host.apply import Result
from fleet.host.guarded import GOOD, Outcome, explanation, guarded, outcome
from fleet.host.local import LocalTransport
from fleet.host.script import ScriptShell
from fleet.host.shell import Shell
from fleet.schedule.units import Place

#: systemd answers in a moment; a crontab program that asks something never does.
STEP_SECONDS = 60.0


def place(hosts: Path) -> Place:
    """Where this inventory's jobs would run: system units for root, the user's own for anybody else."""
    hosts = hosts.absolute()
    folder, program = _program(hosts.parent)
    user = os.geteuid() != 0
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Place(
        hosts=str(hosts),
        folder=str(folder),
        program=program,
        environment=str(hosts.parent / ".env"),
        units=f"{config}/systemd/user" if user else "/etc/systemd/system",
        user=user,
        home=str(Path.home()),
        # Runs that were missed are caught up all at once, and a node takes one at a time: they wait in line.
        flock=shutil.which("flock") or "",
    )


def local_shell() -> Shell:
    """A shell on this machine, as whoever runs fleet; after `su`, too, it finds the user's own systemd."""
    runtime = Path(f"/run/user/{os.geteuid()}")
    if runtime.is_dir():
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    return ScriptShell(LocalTransport(platform.node()))


def run(shell: Shell, plan: Plan, ended: Callable[[Result], None]) -> tuple[Result, ...]:
    """The results of the steps, one after the other; a failure stops nothing: no step needs another."""
    results = []
    for step in plan.steps:
        began = time.monotonic()
        try:
            output = shell.run(guarded(step), timeout=STEP_SECONDS)
            log = explanation(step, f"{output.out}\n{output.err}")
            result = Result(step, outcome(output.code), log, time.monotonic() - began)
        except LinkLost as error:
            result = Result(step, Outcome.FAILED, (str(error),), time.monotonic() - began)
        ended(result)
        results.append(result)
    return tuple(results)


def good(results: tuple[Result, ...]) -> bool:
    """True if every step did what it was there for."""
    return all(result.outcome in GOOD for result in results)


def _program(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The working directory, and the program that knows the tasks there: `inv` beside a tasks.py of fleet."""
    inv = Path(sys.executable).with_name("inv")
    for each in (folder, *folder.parents):
        tasks = each / "tasks.py"
        if inv.is_file() and tasks.is_file() and "fleet.tasks" in tasks.read_text(errors="replace"):
            return each, (str(inv),)
    return folder, (sys.executable, "-m", "fleet")
