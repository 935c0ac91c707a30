"""`inv backup.snapshot` of 28 guests with many snapshots each, next to a loop of `pct snapshot`."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from homelab import INV, ROOT, Fleet, build
from measure import machine

from fleet import lab

#: The first of the snapshots that are there before anything is measured: one a day from here on.
_LONG_AGO = 1_600_000_000
_DAY = 86_400


@dataclass(frozen=True)
class Run:
    """One run: its wall clock (seconds), what it said of executions and of how long guests were frozen."""

    wall: float
    executions: int
    frozen: float


def main() -> None:
    """Build the lab, fill it, measure, write the table."""
    options = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the labs are taken down then, too
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        try:
            fleet = build(Path(name), [28])[28]
            rows = [(count, runs(fleet, count, options.runs)) for count in sorted(options.counts)]
            loops = [loop(fleet) for _ in range(options.slow_runs)]
        finally:
            for known in lab.known():
                lab.down(known)
    text = report(rows, loops, options)
    options.output.write_text(text, encoding="utf-8")
    print(text)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="bench/backup",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--counts",
        type=lambda text: tuple(int(part) for part in text.split(",")),
        default=(7, 100, 1000),
        metavar="N,N",
        help="so many snapshots of each guest and dataset are there, and are kept",
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each count")
    parser.add_argument("--slow-runs", type=int, default=2, help="runs of the loop")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "backup.md", help="file to write")
    return parser.parse_args(words)


def runs(fleet: Fleet, count: int, times: int) -> list[Run]:
    """Runs that each take a snapshot of everything and remove the oldest, where so many are kept."""
    hosts = fleet.folder / "hosts.yml"
    text = hosts.read_text(encoding="utf-8")
    # ZFS for all: so many snapshots of Proxmox's own would take a night to make at its pace.
    policy = f'  snapshots: {{schedule: "02:00", prune-backups: keep-last={count}, method: zfs}}'
    text, changed = re.subn(r"^  snapshots: \{.*\}$", policy, text, flags=re.MULTILINE)
    if changed != 1:
        raise SystemExit("hosts.yml: `  snapshots: {...}` is not there once")
    hosts.write_text(text, encoding="utf-8")
    measure(fleet)  # marks the node as ours
    fill(fleet, count)
    return [measure(fleet) for _ in range(times)]


def measure(fleet: Fleet) -> Run:
    """One run as cron runs it."""
    began = time.perf_counter()
    done = subprocess.run(
        [INV, "backup.snapshot", "--json"], cwd=fleet.folder, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"inv backup.snapshot: {done.returncode}\n{done.stdout}{done.stderr}")
    said = json.loads(done.stdout)
    return Run(wall, int(said["executions"]), float(said["frozen_seconds"]))


def fill(fleet: Fleet, count: int) -> None:
    """Makes fleet's own snapshots of the days gone by, until there are so many of everything."""
    newest = node(fleet, "zfs list -H -o name -t snapshot -s createtxg | tail -n 1").strip().partition("@")[2]
    datasets = node(fleet, f"zfs list -H -o name -t snapshot | sed -n 's/@{newest}$//p'").split()
    there = int(node(fleet, f"zfs list -H -o name -t snapshot -d 1 {datasets[0]} | wc -l"))
    names = [f"fleet-daily-{stamp(_LONG_AGO + day * _DAY)}" for day in range(there, count)]
    script = f"""
id=$(cat /var/lib/fleet/installation)
for name in {" ".join(names)}; do
  paths=$(for dataset in {" ".join(datasets)}; do echo "$dataset@$name"; done)
  zfs snapshot -o fleet:owner=$id -o fleet:set=$name $paths || exit
  for path in $paths; do echo "1600000000 making $name $path -"; done >>/var/lib/fleet/backups.log
done"""
    node(fleet, script)


def loop(fleet: Fleet) -> tuple[float, int]:
    """Seconds that a script takes that calls `pct` for each guest in turn, and for how many it works."""
    guests = [vmid for vmid in fleet.vmids if can(fleet, vmid)]
    began = time.perf_counter()
    for command in ("snapshot", "delsnapshot"):
        for vmid in guests:
            ssh(fleet, f"pct {command} {vmid} loop")
    return time.perf_counter() - began, len(guests)


def can(fleet: Fleet, vmid: int) -> bool:
    """Whether Proxmox takes snapshots of this guest: it has no bind mount."""
    return not re.search(r"^mp\d+: /", config(fleet, vmid), re.MULTILINE)


def config(fleet: Fleet, vmid: int) -> str:
    """A guest's configuration."""
    return (fleet.configs / f"{vmid}.conf").read_text(encoding="utf-8")


def node(fleet: Fleet, script: str) -> str:
    """What a script prints on the node, whatever time it takes."""
    code, out, err = fleet.lab.run(script, timeout=3600)
    if code:
        raise SystemExit(f"{err or out}")
    return out


def ssh(fleet: Fleet, command: str) -> None:
    """Runs a command on the node as a script of one's own would, over one kept connection."""
    where = fleet.lab
    words = [
        "ssh",
        "-p",
        str(where.port),
        "-i",
        str(where.key),
        "-o",
        f"UserKnownHostsFile={where.known_hosts}",
    ]
    words += ["-o", "ControlMaster=auto", "-o", f"ControlPath={fleet.folder}/%C", "-o", "ControlPersist=20"]
    subprocess.run(
        [*words, f"{where.user}@{where.host}", command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stamp(at: int) -> str:
    """The time as it stands in a name."""
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dt%H%M%Sz}"


def report(
    rows: Sequence[tuple[int, Sequence[Run]]],
    loops: Sequence[tuple[float, int]],
    options: argparse.Namespace,
) -> str:
    """The page."""
    seconds, guests = median(each[0] for each in loops), loops[0][1]
    of_28 = 28 * seconds / guests
    first = median(run.wall for run in rows[0][1])
    return f"""# What a run of snapshots costs

Made by `bench/backup --runs {options.runs} --slow-runs {options.slow_runs}` on {datetime.now(UTC):%Y-%m-%d}: {machine()};
load average at the end {os.getloadavg()[0]:.1f}.

In the lab, where each command of Proxmox takes as long as on a real node (`pct` about a second to start), and
ZFS's take what the simulation takes. Each run takes a snapshot of the 28 guests and the datasets of the
reference homelab and removes the oldest; whole processes, medians.

| Snapshots of each | Wall s (least to most) | Executions | Frozen s at most | x {rows[0][0]} snapshots |
|---|---|---|---|---|
{"".join(row(count, measured, first) for count, measured in rows)}
A loop of `pct snapshot` and `pct delsnapshot` over one kept SSH connection takes {seconds / guests:.1f} s a guest
({seconds:.0f} s for the {guests} guests without bind mounts; of the others Proxmox takes no snapshot), so {of_28:.0f} s for 28:
**{of_28 / first:.0f} times as long** as `inv backup.snapshot`, which verifies what it did by a fresh read besides.
"""


def row(count: int, measured: Sequence[Run], first: float) -> str:
    """A line of the table."""
    walls = [run.wall for run in measured]
    executions, frozen = median(run.executions for run in measured), max(run.frozen for run in measured)
    return (
        f"| {count:,} | {median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f}) | {executions:.0f}"
        f" | {frozen:.2f} | {median(walls) / first:.2f} |\n"
    )


if __name__ == "__main__":
    main()
