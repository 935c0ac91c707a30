"""A lab for a worker's tests: brought up once, put back to what it was between tests in milliseconds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from fleet import lab
from fleet.lab.faults import tell_monitor
from tests.road import picture


class State:
    """A node at one moment: its files, and the containers that run. Hypothesis prints dataclasses whole."""

    def __init__(self, files: picture.Picture, running: frozenset[int]) -> None:
        self.files = files
        self.running = running


class World:
    """The lab `pve`, and what tests ask of it."""

    def __init__(self, up: lab.Lab) -> None:
        self.lab = up
        self.run("zfs list")  # the first call writes the pool's tree
        self.fresh = self.state()

    @property
    def root(self) -> Path:
        """The node's `/`."""
        return self.lab.root

    def run(self, script: str) -> str:
        """What a script prints inside the node, without SSH; it must succeed."""
        code, out, err = self.lab.run(script, timeout=60)
        assert code == 0, f"{script}\n{out}{err}"
        return out

    def state(self) -> State:
        """The node as it is."""
        return State(picture.take(self.root), self.running())

    def restore(self, state: State) -> None:
        """Make the node so again: nothing of what was done since is left, processes and faults included."""
        self.lab.faults.clear()
        self.lab.run("kill -9 -1", timeout=10)
        for vmid in self.running() - state.running:
            tell_monitor(self.root, f"stop {vmid}")
        picture.restore(self.root, state.files)
        for vmid in sorted(state.running - self.running()):
            tell_monitor(self.root, f"start {vmid}")

    # ── what is on the node ───────────────────────────────────────────────────────────────────────

    def running(self) -> frozenset[int]:
        """The containers that run."""
        return frozenset(
            int(path.name) for path in (self.root / "sys/fs/cgroup/lxc").glob("*") if path.name.isdigit()
        )

    def path(self, vmid: int) -> Path:
        """The config file of a container."""
        return self.root / "etc/pve/nodes/pve/lxc" / f"{vmid}.conf"

    def config(self, vmid: int) -> str:
        """The config file's text."""
        return self.path(vmid).read_text(encoding="utf-8")

    def edit(self, vmid: int, pattern: str, replacement: str) -> None:
        """Edit a config file by hand, as an operator does."""
        text, count = re.subn(pattern, replacement, self.config(vmid), flags=re.MULTILINE)
        assert count, f"{pattern} is not in\n{self.config(vmid)}"
        self.path(vmid).write_text(text, encoding="utf-8")

    def names(self) -> Mapping[int, str]:
        """The hostname of each container, by VMID; one that a killed `pct create` left is CT and its VMID."""
        names = {}
        for file in sorted((self.root / "etc/pve/nodes/pve/lxc").glob("*.conf")):
            found = re.search(r"^hostname: (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            names[int(file.stem)] = found[1] if found else f"CT{file.stem}"
        return names

    def volumes(self) -> frozenset[str]:
        """Every ZFS dataset there is."""
        tree = json.loads((self.root / "var/lib/fleet-lab/zfs.json").read_text(encoding="utf-8"))
        return frozenset(tree["datasets"])

    def leftovers(self) -> list[str]:
        """What a finished run must not leave: locks of Proxmox or of fleet, jobs, half-written files."""
        found = [
            f"{vmid}: {line}"
            for vmid in self.names()
            for line in self.config(vmid).splitlines()
            if line.startswith("lock:")
        ]
        run = self.root / "run/fleet"
        if (run / "lock").exists() and (run / "lock").read_text():
            found.append(f"lock: {(run / 'lock').read_text()}")
        found += [str(path.relative_to(self.root)) for path in (run / "jobs").glob("*")]
        found += [str(path.relative_to(self.root)) for path in run.glob("ssh-*")]
        found += [str(path.relative_to(self.root)) for path in (self.root / "etc/pve").rglob("*.tmp.*")]
        return found
