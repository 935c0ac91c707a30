"""Restoring on the lab: the small fleet of backups.py with files in it, through fleet's interface."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet.backups import restoring
from fleet.backups.choice import chosen
from fleet.backups.restoring import Drilled, Restored
from fleet.backups.run import working
from fleet.domains.backup.restore.choice import named
from fleet.domains.backup.restore.plan import Request
from fleet.inventory import Inventory, load
from tests.road import backups
from tests.road.operator import ROOT
from tests.road.world import World

ROOTFS, DOCKER = "tank/guests/subvol-100-disk-0", "tank/docker/subvol-100-disk-0"


def fleet() -> dict[str, Any]:
    """hosts.yml of the small fleet, with a range of numbers for drills."""
    return backups.fleet(backup={**backups.POLICY, "drill": {"vmids": "900-904", "max-age": "30d"}})


def restore(
    inventory: Inventory, item: str, request: Request | None = None, *, in_place: bool = False
) -> Restored:
    """`inv backup.restore`."""
    wanted = named(item, inventory.backups.subjects)
    with working(inventory, "backup.restore") as work:
        goal = None if in_place else request or Request()
        return restoring.restore(work, wanted, goal, lambda _plan: None)


def drill(inventory: Inventory, *limit: str, keep_failed: bool = False, archives: bool = False) -> Drilled:
    """`inv backup.drill --all`."""
    with working(inventory, "backup.drill") as work:
        subjects = chosen(work.inventory, limit, ())
        return restoring.drill(
            work, subjects, number=None, keep_failed=keep_failed, archives=archives, jobs=4
        )


def write(world: World, dataset: str, name: str, text: str) -> None:
    """Write a file inside of a dataset that is mounted where its name says."""
    place = "/data" if dataset == "tank/data" else f"/{dataset}"
    world.run(f"mkdir -p $(dirname {place}/{name}) && printf %s '{text}' >{place}/{name}")


def text(world: World, dataset: str, name: str) -> str:
    """What the file holds."""
    place = "/data" if dataset == "tank/data" else f"/{dataset}"
    return world.run(f"cat {place}/{name}")


def datasets(world: World) -> dict[str, str]:
    """The guid of every dataset and snapshot that there is, by name."""
    lines = world.run("zfs list -Hp -t all -o name,guid").splitlines()
    return dict(line.split("\t") for line in lines)


def proven(world: World) -> list[tuple[str, str, str]]:
    """What the record of drills says: subject, backup, ok or failed."""
    file = world.root / "var/lib/fleet/proven"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [(words[1], words[2], words[3]) for words in (line.split() for line in lines)]


def killed_at(event: int, hosts: Path, what: str, item: str = "") -> bool:
    """Whether a process that runs this task killed itself when it wrote its nth line into the journal."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.road.restores", str(hosts), str(event), what, item],
        cwd=ROOT,
        timeout=120,
        capture_output=True,
    )
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr.decode()
    return done.returncode == -signal.SIGKILL


def _main(hosts: str, event: str, what: str, item: str) -> None:
    from fleet.host.journal import Journal

    written = 0
    write_down = Journal.write

    def counting(self: Journal, name: str, **fields: object) -> None:
        nonlocal written
        write_down(self, name, **fields)
        written += 1
        if written == int(event):
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.write = counting  # type: ignore[method-assign, assignment]
    runs: dict[str, Callable[[Inventory], object]] = {
        "restore": lambda inventory: restore(inventory, item),
        "in place": lambda inventory: restore(inventory, item, in_place=True),
        "drill": lambda inventory: drill(inventory, "bound"),
    }
    print(json.dumps(str(runs[what](load(Path(hosts))))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
