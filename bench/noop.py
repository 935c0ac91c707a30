"""A converged `inv plan` of many containers, next to other ways to read the same state of the same node."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import listing
from homelab import INV, ROOT, Fleet, build
from measure import Contestant, Samples, machine, memory, middle, ratio, rounds

from fleet import lab

RIVALS = ROOT / "bench" / "rivals"
ANSIBLE = ROOT / "bench" / ".venv-ansible" / "bin" / "ansible-playbook"
FLEET, CAT, SHORTEST = "`inv plan`", "`ssh NODE cat`, OpenSSH", "shortest Fabric script, one execution"
NAIVE, LOOP = "naive Fabric loop, `pct config` each", "Ansible, loop over the containers, default settings"
FORKS = "Ansible, a host a container, default settings (5 forks)"
EXPERT = "Ansible, one raw task, pipelining"
ORDER = (FLEET, SHORTEST, CAT, EXPERT, NAIVE, LOOP, FORKS)


def main() -> None:
    """Build the labs, measure, write the table."""
    options = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the labs are taken down then, too
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        folder = Path(name)
        try:
            fleets = build(folder, options.sizes)
            entries = [each for fleet in fleets.values() for each in contestants(folder, fleet, options)]
            # What is compared closely stands close together; what takes a minute ends the round.
            entries.sort(key=lambda each: (each.runs < options.runs, ORDER.index(each.name)))
            samples = measured(entries)
        finally:
            for known in lab.known():
                lab.down(known)
            forget_masters(folder)
    text = report(samples, options.sizes, listing.table(options.runs))
    options.output.write_text(text, encoding="utf-8")
    print(text)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="bench/noop",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--sizes", type=numbers, default=(28, 280, 2800), metavar="N,N", help="containers: multiples of 28"
    )
    parser.add_argument("--runs", type=int, default=7, help="runs of what takes less than 20 s")
    parser.add_argument("--slow-runs", type=int, default=3, help="runs of what takes more, at 28 containers")
    parser.add_argument(
        "--slow-at",
        type=numbers,
        default=(),
        metavar="N,N",
        help="also run what takes more once at these sizes",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results.md", help="file to write")
    return parser.parse_args(words)


def numbers(text: str) -> tuple[int, ...]:
    """28,280 as numbers."""
    return tuple(int(part) for part in text.split(","))


def contestants(folder: Path, fleet: Fleet, options: argparse.Namespace) -> Iterator[Contestant]:
    """Everybody who reads this fleet; those with a call a container only where they end within patience."""
    size, node = len(fleet.vmids), fleet.lab
    slow = options.slow_runs if size == 28 else int(size in options.slow_at)
    own = folder / f"rivals-{size}"
    own.mkdir()
    (own / "vmids").write_text(" ".join(map(str, fleet.vmids)), encoding="utf-8")
    inventory(own, fleet)
    (own / "ansible.cfg").write_text("", encoding="utf-8")
    where = (node.host, str(node.port), str(node.key))
    plan = (str(INV), "plan", "--detailed-exitcode")
    yield Contestant(FLEET, size, plan, options.runs, fleet.folder)
    if shutil.which("ssh"):
        yield Contestant(CAT, size, (*node.ssh_words(), "cat /etc/pve/lxc/*.conf"), options.runs, own)
    script = (sys.executable, str(RIVALS / "shortest.py"), *where, str(size))
    yield Contestant(SHORTEST, size, script, options.runs, own)
    yield playbook(EXPERT, fleet, own, "expert.yml", options.runs, ANSIBLE_PIPELINING="1")
    if slow:
        script = (sys.executable, str(RIVALS / "naive.py"), *where, str(own / "vmids"))
        yield Contestant(NAIVE, size, script, slow, own)
        yield playbook(LOOP, fleet, own, "loop.yml", slow)
        yield playbook(FORKS, fleet, own, "forks.yml", slow)


def playbook(name: str, fleet: Fleet, own: Path, file: str, runs: int, **settings: str) -> Contestant:
    """A playbook against the fleet; its connection stays open between runs, as Ansible does by default."""
    environment = {
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(own.parent / "cp"),
        "ANSIBLE_CONFIG": str(own / "ansible.cfg"),
    }
    argv = (str(ANSIBLE), "-i", str(own / "inventory.json"), str(RIVALS / file))
    return Contestant(name, len(fleet.vmids), argv, runs, own, {**environment, **settings})


def inventory(own: Path, fleet: Fleet) -> None:
    """Ansible's inventory: the node with the lines that each container has to have; a host a container."""
    wanted = [
        {"vmid": vmid, "lines": (fleet.configs / f"{vmid}.conf").read_text(encoding="utf-8").splitlines()}
        for vmid in fleet.vmids
    ]
    node = fleet.lab
    reach = {
        "ansible_host": node.host,
        "ansible_port": node.port,
        "ansible_user": node.user,
        "ansible_ssh_private_key_file": str(node.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={node.known_hosts} -o IdentitiesOnly=yes",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    groups = {
        "pve": {"hosts": {"node": {"containers": wanted}}},
        "containers": {"hosts": {f"ct{each['vmid']}": each for each in wanted}},
    }
    data = {"all": {"vars": reach, "children": groups}}
    (own / "inventory.json").write_text(json.dumps(data), encoding="utf-8")


def measured(entries: Iterable[Contestant]) -> Samples:
    """All samples by name and size."""
    samples: Samples = {}
    for each, sample in rounds(tuple(entries)):
        samples.setdefault((each.name, each.size), []).append(sample)
        print(f"{each.size:5} {sample.wall:8.2f} s  {each.name}", file=sys.stderr)
    return samples


def forget_masters(folder: Path) -> None:
    """End the connections that Ansible left open."""
    for path in (folder / "cp").glob("*"):
        subprocess.run(
            ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "x"], capture_output=True, check=False
        )


# ── the table ─────────────────────────────────────────────────────────────────────────────────────


def report(samples: Samples, sizes: Sequence[int], lists: str) -> str:
    """The whole of results.md."""
    words = " ".join(sys.argv[1:])
    return "\n".join(
        [
            "# What a converged check costs",
            "",
            f"Made by `bench/noop{words and ' ' + words}` on {datetime.now(UTC):%Y-%m-%d}: {machine()},",
            f"Fabric {version('fabric')}, {ansible_version()};",
            f"load average at the end {os.getloadavg()[2]:.1f}.",
            "",
            "All in the lab, where each command of Proxmox takes as long as on a real node (`pct config`",
            "about a second), all over SSH with the same key, nothing to change. Whole processes, measured",
            "from outside, in turn; medians. CPU is that of the process tree on the operator's side; memory",
            "is that of the largest single process. `x inv plan`: the median of the ratios of wall clock,",
            "and the ratio of CPU, to `inv plan` of as many containers in the same round. What calls `pct`",
            "once a container takes ten times as long for ten times as many, so it is measured at 28.",
            "",
            *rows(samples, sizes),
            "",
            *aims(samples, sizes),
            "",
            "## Before anything is done",
            "",
            lists,
            "",
        ]
    )


def rows(samples: Samples, sizes: Sequence[int]) -> Iterator[str]:
    """The table's lines, a block a size."""
    yield "| Containers | How | Runs | Wall s (least to most) | CPU s | Peak MiB | x inv plan: wall | CPU |"
    yield "|---|---|---|---|---|---|---|---|"
    for size in sizes:
        for (name, count), found in samples.items():
            if count == size:
                walls = sorted(each.wall for each in found)
                mid = middle(found)
                times = ratio(found, samples[FLEET, size])
                work = mid.cpu / middle(samples[FLEET, size]).cpu
                wall = f"{mid.wall:.2f} ({walls[0]:.2f} to {walls[-1]:.2f})"
                figures = f"{wall} | {mid.cpu:.2f} | {memory(mid)} | {times:.2f} | {work:.2f}"
                yield f"| {size:,} | {name} | {len(found)} | {figures} |"


def aims(samples: Samples, sizes: Sequence[int]) -> Iterator[str]:
    """What was aimed at, and what came out."""
    least = min(sizes)
    few = samples[FLEET, least]
    if (LOOP, least) in samples:
        loop = ratio(samples[LOOP, least], few)
        yield f"- Ansible with default settings takes {loop:.0f} times as long; aim: at least 20."
    shortest = 1 / ratio(samples[SHORTEST, least], few)
    yield f"- `inv plan` takes {shortest:.2f} times as long as the shortest Fabric script; aim: at most 2."
    for size in sizes:
        if size > least:
            times = ratio(samples[FLEET, size], few)
            work = middle(samples[FLEET, size]).cpu / middle(few).cpu
            aim = "; aim: at most 3" if size == 2800 else ""
            yield f"- {size:,} containers take {times:.2f} times as long as {least}, CPU {work:.2f}{aim}."


def ansible_version() -> str:
    """Which Ansible it is: `ansible-core 2.19.14`."""
    pinned = (ROOT / "bench" / "requirements-ansible.txt").read_text(encoding="utf-8")
    return pinned.split("\n")[1].replace("==", " ")


if __name__ == "__main__":
    main()
