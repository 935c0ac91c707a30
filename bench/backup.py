"""A run of `inv backup.snapshot`, which takes and removes one of each, next to a loop and to sanoid."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from homelab import INV, ROOT, Fleet, build
from measure import Contestant, Sample, machine, run

from fleet import lab

ZFS_VM = ROOT / "scripts" / "zfs-vm"
FLEET, LOOP, SANOID = "`inv backup.snapshot`", "loop of pct and zfs over ssh", "`sanoid --cron`"
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Figures:
    """What runs of one contestant with so many snapshots a guest cost."""

    samples: list[Sample] = field(default_factory=list)
    executions: list[int] = field(default_factory=list)
    frozen: list[float] = field(default_factory=list)  # seconds: the longest that a container was held still


Results = dict[tuple[str, int, str], Figures]  # where, snapshots, who


def main() -> None:
    """Measure in the lab and on real OpenZFS, write the table."""
    options = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the labs are taken down then, too
    results: Results = {}
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        folder = Path(name)
        try:
            in_lab(folder, options, results)
        finally:
            for known in lab.known():
                lab.down(known)
        if not options.no_vm:
            on_zfs(folder, options, results)
    text = report(results)
    options.output.write_text(text, encoding="utf-8")
    print(text)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="bench/backup", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--counts", type=numbers, default=(7, 100, 1000), help="snapshots a guest, in the lab"
    )
    parser.add_argument("--vm-counts", type=numbers, default=(7, 100), help="the same, on real OpenZFS")
    parser.add_argument("--runs", type=int, default=5, help="runs of fleet and of sanoid")
    parser.add_argument("--slow-runs", type=int, default=2, help="runs of the loop")
    parser.add_argument("--no-vm", action="store_true", help="leave real OpenZFS and sanoid out")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "backup.md", help="file to write")
    return parser.parse_args(words)


def numbers(text: str) -> tuple[int, ...]:
    """7,100 as numbers."""
    return tuple(int(part) for part in text.split(","))


def set_name(number: int) -> str:
    """The name of a set of old, one an hour."""
    return f"fleet-daily-{_FIRST + timedelta(hours=number):%Y%m%dt%H%M%Sz}"


def fleet_run(folder: Path, environment: Mapping[str, str]) -> tuple[Sample, dict[str, float]]:
    """One run of fleet that must succeed, and what it says of itself."""
    said = folder / "said.json"
    words = ("sh", "-c", f"{INV} backup.snapshot --yes-remove 1000000 --json >{said}")
    sample = run(Contestant(FLEET, 28, words, 1, folder, environment))
    return sample, json.loads(said.read_text(encoding="utf-8"))


def keeping(folder: Path, count: int) -> None:
    """Let the folder's hosts.yml keep so many."""
    path = folder / "hosts.yml"
    text = path.read_text(encoding="utf-8")
    policy = f'snapshots: {{schedule: "02:00", prune-backups: "keep-last={count}"}}'
    text, times = re.subn(r"^  snapshots: \{schedule.*$", f"  {policy}", text, flags=re.MULTILINE)
    assert times == 1, "hosts.yml: `  snapshots: {schedule` is not there once"
    path.write_text(text, encoding="utf-8")


# ── the lab ───────────────────────────────────────────────────────────────────────────────────────


def in_lab(folder: Path, options: argparse.Namespace, results: Results) -> None:
    """The 28 guests of the reference homelab, where each command costs what it costs on a real node."""
    fleet = build(folder, (28,))[28]
    keeping(fleet.folder, max(options.counts) + 1)
    _realistic(fleet, on=False)
    fleet_run(fleet.folder, {})  # makes the installation's id, and a first snapshot of each
    there = 1
    for count in options.counts:
        _realistic(fleet, on=False)
        seed(fleet, range(there - 1, count - 1))
        there = count
        _realistic(fleet, on=True)
        keeping(fleet.folder, count)
        figures = results.setdefault(("lab", count, FLEET), Figures())
        for _ in range(options.runs):
            before = len(fleet.lab.frozen())
            sample, said = fleet_run(fleet.folder, {})
            note(figures, sample, int(said["executions"]), fleet.lab.frozen()[before:])
        figures = results.setdefault(("lab", count, LOOP), Figures())
        for number in range(options.slow_runs + 1):
            before = len(fleet.lab.frozen())
            sample, executions = loop(fleet, folder)
            if number:  # the first run has nothing to delete
                note(figures, sample, executions, fleet.lab.frozen()[before:])


def note(figures: Figures, sample: Sample, executions: int, frozen: Sequence[tuple[int, float]]) -> None:
    """Add one run."""
    figures.samples.append(sample)
    figures.executions.append(executions)
    figures.frozen.append(max((seconds for _, seconds in frozen), default=0.0))
    print(f"{sample.wall:8.2f} s  {executions} executions", file=sys.stderr)


def _realistic(fleet: Fleet, *, on: bool) -> None:
    path = fleet.lab.root / "var/lib/fleet-lab/machine.json"
    text = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**text, "realistic": on}), encoding="utf-8")


def seed(fleet: Fleet, sets: range) -> None:
    """Snapshots of old, as fleet would have made them: of the same datasets and guests as its last one."""
    taken = fleet.lab.root / "var/lib/fleet/backups.log"
    made = [line.split() for line in taken.read_text(encoding="utf-8").splitlines()]
    datasets = sorted(
        {words[3].partition("@")[0] for words in made if words[1] == "made" and "/" in words[3]}
    )
    names = [set_name(number) for number in sets]
    script = f"""id=$(cat /var/lib/fleet/installation)
for name in {" ".join(names)}; do
  zfs snapshot -o fleet:owner=$id -o fleet:set=$name {" ".join(f"{each}@$name" for each in datasets)} || exit
done
zfs list -Hp -o creation,name,guid -t snapshot | sort -n | awk '
  NR == FNR {{ there[$4] = 1; next }} {{ split($2, at, "@") }}
  !($2 in there) {{ print $1, "made", at[2], $2, $3 }}' /var/lib/fleet/backups.log - >/tmp/new
cat /tmp/new >>/var/lib/fleet/backups.log; rm /tmp/new"""
    code, out, err = fleet.lab.run(script, timeout=3600)
    assert code == 0, out + err
    for path in fleet.configs.glob("*.conf"):
        _sections(path, names, taken)


def _sections(path: Path, names: Sequence[str], record: Path) -> None:
    """Give a guest whose snapshots are Proxmox's own as many more, copies of the last, and older."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r"^\[(fleet-[^\]]+)\]\n(?:(?!\[).*\n?)*", text, re.MULTILINE)
    if not found:
        return
    section = found[0].rstrip("\n") + "\n"
    lines = []
    for name in names:
        at = int(datetime.strptime(name[-16:], "%Y%m%dt%H%M%Sz").replace(tzinfo=UTC).timestamp())
        text += "\n" + re.sub(r"^snaptime: .*$", f"snaptime: {at}", section, flags=re.MULTILINE).replace(
            found[1], name
        )
        lines.append(f"{at} made {name} {path.stem}@{name} -\n")
    path.write_text(text, encoding="utf-8")
    with record.open("a", encoding="utf-8") as file:
        file.writelines(lines)


def loop(fleet: Fleet, folder: Path) -> tuple[Sample, int]:
    """The loop over all guests, all on one connection that stays open; and its executions."""
    program, *words = fleet.lab.ssh_words()
    master = ("-o", "ControlMaster=auto", "-o", f"ControlPath={folder}/m", "-o", "ControlPersist=30")
    count = folder / "count"
    count.write_text("")
    argv = (str(ROOT / "bench/rivals/snapshots.sh"), "loop", *map(str, fleet.vmids))
    environment = {"NODE": shlex.join([program, *master, *words]), "COUNT": str(count)}
    sample = run(Contestant(LOOP, 28, argv, 1, folder, environment))
    return sample, len(count.read_text().split())


# ── real OpenZFS ──────────────────────────────────────────────────────────────────────────────────

_SANOID = """[tank/guests]
    use_template = all
    recursive = yes
    process_children_only = yes
[template_all]
    hourly = COUNT
    daily = 0
    monthly = 0
    yearly = 0
    frequently = 0
    autosnap = yes
    autoprune = yes
"""

# Both find as many snapshots as they keep, one an hour until now, so that each takes one and removes one.
_HOURS = r"""
id=$(cat /var/lib/fleet/installation); now=$(date +%s); at=$((now - COUNT * 3600))
: >/tmp/new
while [ "$at" -lt "$now" ]; do
    date -s @$at >/dev/null; set -- ; names=
    fleet=fleet-daily-$(date -u +%Y%m%dt%H%M%Sz); sanoid=autosnap_$(date +%Y-%m-%d_%H:%M:%S)_hourly
    zfs snapshot -o fleet:owner=$id -o fleet:set=$fleet $(sed "s/\$/@$fleet/" /tmp/datasets) || exit
    zfs snapshot $(sed "s/\$/@$sanoid/" /tmp/datasets) || exit
    at=$((at + 3600))
done
date -s @$now >/dev/null
zfs list -Hp -o creation,name,guid -t snapshot | awk '$2 ~ /@fleet-/ {
    split($2, at, "@"); print $1, "made", at[2], $2, $3 }' >>/var/lib/fleet/backups.log
"""


def on_zfs(folder: Path, options: argparse.Namespace, results: Results) -> None:
    """28 stopped guests with bind mounts on the machine of scripts/zfs-vm; fleet over SSH, sanoid there."""
    sys.path.insert(0, str(ROOT))
    from tests.road import fleets  # noqa: PLC0415
    from tests.zfs import machine as machines  # noqa: PLC0415
    from tests.zfs.node import Ct, Node  # noqa: PLC0415

    real = machines.up(folder / "vm")
    try:
        node = Node(real, folder)
        guests = [Ct(100 + number, f"guest{number}") for number in range(28)]
        here = folder / "real"
        here.mkdir()
        (here / "tasks.py").write_text("from fleet.tasks import namespace\n", encoding="utf-8")
        home = {"HOME": str(node.ssh_config()), "XDG_STATE_HOME": str(folder / "state")}
        for count in options.vm_counts:
            node.make(guests)
            data = fleets.fleet(
                {each.name: fleets.guest(each.vmid, mp9="/data,mp=/data") for each in guests},
                node={"name": "pve", "address": "zfs-vm", "memory": "32G"},
                storage={
                    **fleets.BASE["storage"],
                    "datasets": {
                        "tank/guests": {},
                        "tank/data": {"mountpoint": "/data", "backup": {"exclude": "not sanoid's either"}},
                    },
                    "storages": {
                        "local": {"given": True},
                        "guests": {
                            "type": "zfspool",
                            "pool": "tank/guests",
                            "content": ["rootdir", "images"],
                        },
                    },
                },
                backup={"snapshots": {"schedule": "02:00", "prune-backups": f"keep-last={count}"}},
            )
            fleets.write(here, data)
            datasets = "\n".join(each.datasets[0] for each in guests)
            config = _SANOID.replace("COUNT", str(count))
            real.ok(
                "mkdir -p /etc/sanoid /var/lib/fleet; cat >/tmp/datasets <<'END'\n"
                f"{datasets}\nEND\ncat >/etc/sanoid/sanoid.conf <<'END'\n{config}END\n"
                "cp /usr/share/sanoid/sanoid.defaults.conf /etc/sanoid/ 2>/dev/null;"
                "tr -d - </proc/sys/kernel/random/uuid >/var/lib/fleet/installation"
            )
            real.ok(_HOURS.replace("COUNT", str(count)), timeout=3600)
            _measure_real(here, count, options, results, home)
    finally:
        machines.down(folder / "vm")


def _measure_real(
    here: Path,
    count: int,
    options: argparse.Namespace,
    results: Results,
    home: Mapping[str, str],
) -> None:
    own = results.setdefault(("real OpenZFS", count, FLEET), Figures())
    theirs = results.setdefault(("real OpenZFS", count, SANOID), Figures())
    # An hour later each time: sanoid takes one an hour, and reads its list of snapshots anew.
    words = ("ssh", "-F", f"{home['HOME']}/.ssh/config", "zfs-vm")
    later = "date -s @$(($(date +%s) + 3700)) >/dev/null; rm -rf /var/cache/sanoid/*"
    for _ in range(options.runs):
        subprocess.run([*words, later], check=True, timeout=60)
        sample = run(Contestant(SANOID, 28, (*words, "sanoid --cron"), 1, here, {}))
        note(theirs, sample, 1, ())
        sample, said = fleet_run(here, home)
        note(own, sample, int(said["executions"]), ())


# ── the table ─────────────────────────────────────────────────────────────────────────────────────


def report(results: Results) -> str:
    """The whole of backup.md."""
    words = " ".join(sys.argv[1:])
    lines = [
        "# What a run of backups costs",
        "",
        f"Made by `bench/backup{words and ' ' + words}` on {datetime.now(UTC):%Y-%m-%d}: {machine()};",
        f"load average at the end {os.getloadavg()[2]:.1f}.",
        "",
        "28 guests with so many snapshots each; a run takes one more of each and removes the oldest of each.",
        "Whole processes, measured from outside; medians. In the lab each command of Proxmox takes as long",
        "as on a real node. The loop does guest by guest what Proxmox's commands allow, and where they",
        "refuse (bind mounts) what `zfs` does, all on one connection that stays open. Real OpenZFS is the",
        "machine of `scripts/zfs-vm`, whose emulated processor is many times slower than a real one: there",
        "only the ratio means something; sanoid runs on it, fleet over SSH. Frozen: the longest that a",
        "container was held still in a run.",
        "",
        "| Where | Snapshots | How | Runs | Wall s (least to most) | x fleet | Executions | Frozen s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *rows(results), ""])


def rows(results: Results) -> Iterator[str]:
    """The table's lines."""
    for (where, count, who), found in results.items():
        walls = sorted(each.wall for each in found.samples)
        times = median(walls) / median(each.wall for each in results[where, count, FLEET].samples)
        frozen = f"{median(found.frozen):.2f}" if any(found.frozen) else "-"
        yield (
            f"| {where} | {count:,} | {who} | {len(walls)}"
            f" | {median(walls):.2f} ({walls[0]:.2f} to {walls[-1]:.2f}) | {times:.2f}"
            f" | {int(median(found.executions))} | {frozen} |"
        )


if __name__ == "__main__":
    main()
