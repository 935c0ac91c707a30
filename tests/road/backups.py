"""Backups on the lab: a small fleet, and its runs through fleet's Python interface."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.backups import run
from fleet.backups.choice import chosen
from fleet.backups.run import Report, working
from fleet.inventory import Inventory, load
from tests.road import fleets
from tests.road.operator import ROOT
from tests.road.world import World

#: `bound` has a bind mount, so ZFS takes its snapshots; `plain` and the stopped `still` are Proxmox's own.
GUESTS: Mapping[str, Mapping[str, Any]] = {
    "bound": fleets.guest(100, mp0="/data,mp=/data", mp1="docker:1,mp=/docker"),
    "plain": fleets.guest(101, mp1="docker:1,mp=/docker,backup=1"),
    "still": fleets.guest(102, template="alpine", started=False),
}
POLICY: Mapping[str, Any] = {"snapshots": {"schedule": "02:00", "prune-backups": "keep-last=2"}}


def fleet(**changes: Any) -> dict[str, Any]:
    """hosts.yml of these guests with a policy that keeps two."""
    return fleets.fleet(GUESTS, **{"backup": dict(POLICY), **changes})


def snapshot(inventory: Inventory, *, label: str = "daily", limit: tuple[str, ...] = ()) -> Report:
    """`inv backup.snapshot`."""
    with working(inventory, "backup.snapshot") as work:
        return run.snapshot(work, chosen(inventory, limit, ()), label=label)


def rotate(inventory: Inventory) -> Report:
    """`inv backup.rotate`."""
    with working(inventory, "backup.rotate") as work:
        return run.prune(work, chosen(inventory, (), ()))


def snapshots(world: World) -> set[str]:
    """Every ZFS snapshot of the node."""
    return set(world.run("zfs list -H -o name -t snapshot").split())


def sections(world: World, vmid: int) -> set[str]:
    """The snapshots in a guest's configuration."""
    return {
        line[1:-1]
        for line in world.config(vmid).splitlines()
        if line.startswith("[") and line != "[pve:pending]"
    }


def killed_at(event: int, hosts: Path, what: str) -> bool:
    """Whether a process that runs this task killed itself when it wrote its nth line into the journal."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.road.backups", str(hosts), str(event), what],
        cwd=ROOT,
        timeout=120,
        capture_output=True,
    )
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr.decode()
    return done.returncode == -signal.SIGKILL


def _main(hosts: str, event: str, what: str) -> None:
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
    {"snapshot": snapshot, "rotate": rotate}[what](load(Path(hosts)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
