"""Archives and replicas on the lab: a small fleet whose policy is a value, and its runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from fleet.backups import copies
from fleet.backups.choice import chosen
from fleet.backups.copies import Copies
from fleet.backups.run import working
from fleet.domains.backup.spec import ArchivePolicy, BackupSpec, Brake, Keep, Replica, SnapshotPolicy, Subject
from fleet.host.lock import TRANSFERS
from fleet.inventory import Inventory, load
from tests.road.operator import ROOT
from tests.road.world import World

#: A replica on the pool of the node itself, and one on another host.
HERE = Replica("here", "tank/replica", None, "04:00", Keep(last=2))
NAS = Replica("nas", "backup/pve", "nas", "04:00", Keep(last=2))


def spec(*, replicas: tuple[Replica, ...] = (HERE,), keep: int = 2, **changes: object) -> BackupSpec:
    """What is wanted of the guests of tests.road.backups: archives and replicas; of tank/data replicas."""
    names = tuple(each.name for each in replicas)
    snapshots = SnapshotPolicy("02:00", Keep(last=2))
    archives = ArchivePolicy("03:00", Keep(last=keep), "local")
    guests = (("bound", 100), ("plain", 101), ("still", 102))
    made = BackupSpec(
        timezone="UTC",
        subjects=(
            *(
                Subject(name, vmid, critical=True, snapshots=snapshots, archives=archives, replicas=names)
                for name, vmid in guests
            ),
            Subject("tank/data", None, snapshots=snapshots, replicas=names),
        ),
        replicas={each.name: each for each in replicas},
        brake=Brake(count=20, percent=100),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def read(hosts: Path, wanted: BackupSpec) -> Inventory:
    """The file's inventory with this policy."""
    return replace(load(hosts), backups=wanted)


def dump(
    inventory: Inventory, *, limit: tuple[str, ...] = (), label: str = "dump", allowed: int | None = None
) -> Copies:
    """`inv backup.dump`."""
    with working(inventory, "backup.dump") as work:
        return copies.dump(work, chosen(inventory, limit, ()), label=label, allowed=allowed)


def send(inventory: Inventory, *, limit: tuple[str, ...] = (), only: str = "") -> Copies:
    """`inv backup.send`."""
    with working(inventory, "backup.send", (TRANSFERS,)) as work:
        return copies.send(work, chosen(inventory, limit, ()), only=only)


def archives(world: World) -> set[str]:
    """The archives on the storage local."""
    return {path.name for path in (world.root / "var/lib/vz/dump").glob("vzdump-*.tar.zst")}


def few(*names: str) -> BackupSpec:
    """What is wanted of these subjects only; one archive and one copy are kept."""
    made = spec(keep=1, replicas=(replace(HERE, keep=Keep(last=1)),))
    return replace(made, subjects=tuple(each for each in made.subjects if each.name in names))


def killed_at(event: int, hosts: Path, what: str, *names: str) -> bool:
    """Whether a process that runs this task on `few` killed itself at its nth line of the journal."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.road.copies", str(hosts), str(event), what, *names],
        cwd=ROOT,
        timeout=120,
        capture_output=True,
    )
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr.decode()
    return done.returncode == -signal.SIGKILL


def _main(hosts: str, event: str, what: str, *names: str) -> None:
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
    inventory = read(Path(hosts), few(*names))
    if what == "dump":
        dump(inventory)
    else:
        send(inventory)


if __name__ == "__main__":
    _main(*sys.argv[1:])
