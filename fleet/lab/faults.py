"""Faults on demand: what a lab is told to do wrong, as one JSON file that is read at every execution.

    {"rules": [{"id": N, "action": "drop"|"hang", "when": "before"|"during"|"after", "ms": N,
                "at": N | "match": REGEX, "times": N | null}],
     "slow": FACTOR,                                   executions take that many times as long
     "disk_full": [STORAGE], "quorum_lost": BOOL,      read by the simulated commands
     "kill": [{"command": NAME, "at": N, "ms": N}],    the Nth call of it gets SIGKILL after so long
     "freeze": {"VMID": N | null},                     it freezes N milliseconds after it was asked, or never
     "pool_health": {POOL: STATE}, "zfs_busy": [DATASET],
     "zfs_slow": {VERB: SECONDS}, "zfs_rate": BYTES,   `zfs VERB` takes longer; bytes a second of a stream
     "clock": SECONDS,                                 the node's clock is ahead by so much
     "links": [{"id": N, "peer": HOST | null, "after": BYTES | null, "refuse": HOW | null,
                "times": N | null}]}                   connections of `ssh` on the node (peers.py)

Quorum lost makes /etc/pve read-only, too: the simulated commands say "Permission denied" as pmxcfs does, a
plain `echo >` says "Read-only file system".
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.lab import layout

_WHEN = ("before", "during", "after")
REFUSALS = ("hostkey", "publickey", "refused", "timeout", "unreachable")
STATES = ("ONLINE", "DEGRADED")


@dataclass(frozen=True)
class Rule:
    """One thing to do to the link: drop it or let it hang, at which execution."""

    id: int
    action: str
    when: str
    ms: int
    at: int | None
    match: str | None
    times: int | None

    def fits(self, number: int, command: str, hits: int) -> bool:
        """Whether it is meant for this execution, having been so `hits` times before."""
        if self.times is not None and hits >= self.times:
            return False
        return number == self.at if self.match is None else re.search(self.match, command) is not None


def rules(values: Mapping[str, Any]) -> list[Rule]:
    """The rules of a fault file."""
    return [Rule(**rule) for rule in values.get("rules", [])]


def read(file: Path) -> dict[str, Any]:
    """What a fault file says; {} where there is none."""
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return values


class Faults:
    """The faults of one lab. Nothing is wrong with a new lab."""

    def __init__(self, files: layout.Files) -> None:
        self._files = files

    @property
    def _clock(self) -> Path:
        return self._files.faults.with_name("clock")

    def current(self) -> dict[str, Any]:
        """What is set now."""
        return read(self._files.faults)

    def drop(
        self,
        when: str,
        *,
        nth: int | None = None,
        match: str | None = None,
        ms: int = 50,
        times: int | None = None,
    ) -> None:
        """Cut the link at the nth execution from now (1 is the next), or where the command matches.

        `when`: "before" the command runs, "during" it (`ms` after it began), or "after" it ran and before
        any answer is sent. A command that has answered and then waits for more input has run, too. `times`
        limits how often a `match` strikes.
        """
        self._rule("drop", when, nth, match, ms, times)

    def hang(
        self,
        when: str = "before",
        *,
        nth: int | None = None,
        match: str | None = None,
        times: int | None = None,
    ) -> None:
        """Never answer an execution, which has run ("after") or has not ("before"); the link stays up."""
        self._rule("hang", when, nth, match, 0, times)

    def slow(self, factor: float) -> None:
        """Make every execution take that many times as long; 1 is normal."""
        self._set("slow", factor)

    def disk_full(self, *storages: str) -> None:
        """No space is left on these storages; none: there is again."""
        self._set("disk_full", list(storages))

    def quorum(self, *, lost: bool) -> None:
        """Lose quorum, or have it back."""
        self._set("quorum_lost", lost)
        tell_monitor(self._files.root, f"quorum {0 if lost else 1}")

    def hold_config_lock(self, vmid: int) -> None:
        """Hold the config lock of a guest, as a process of Proxmox that is busy with it does."""
        tell_monitor(self._files.root, f"hold {vmid}")

    def release_config_lock(self, vmid: int) -> None:
        """Let the config lock of a guest go."""
        tell_monitor(self._files.root, f"release {vmid}")

    def kill(self, command: str, *, nth: int = 1, ms: int = 0) -> None:
        """Send SIGKILL to the nth call from now of a command (pct, zfs) and its children, `ms` into it."""
        values = self.current()
        counted = self._files.root / layout.RUN.lstrip("/") / "calls" / command
        so_far = counted.stat().st_size if counted.exists() else 0
        self._set("kill", [*values.get("kill", []), {"command": command, "at": so_far + nth, "ms": ms}])

    def freeze(self, vmid: int, *, ms: int | None) -> None:
        """Let a running container freeze only `ms` after it was asked to (None: never)."""
        self._set("freeze", {**self.current().get("freeze", {}), str(vmid): ms})

    def pool_health(self, pool: str, state: str = "DEGRADED") -> None:
        """Let a ZFS pool be DEGRADED (it goes on working), or ONLINE again."""
        if state not in STATES:
            raise ValueError(f"a pool is {' or '.join(STATES)}, not {state!r}")
        self._set("pool_health", {**self.current().get("pool_health", {}), pool: state})

    def zfs_busy(self, *datasets: str) -> None:
        """These datasets are in use: they cannot be unmounted, renamed or destroyed; none: all can again."""
        self._set("zfs_busy", list(datasets))

    def zfs_slow(self, verb: str, seconds: float) -> None:
        """Let each `zfs VERB` take so many seconds longer; 0 is normal."""
        self._set("zfs_slow", {**self.current().get("zfs_slow", {}), verb: seconds})

    def zfs_rate(self, rate: int) -> None:
        """Let `zfs send` write so many bytes a second; 0 is as fast as it can."""
        self._set("zfs_rate", rate)

    def clock(self, seconds: float) -> None:
        """Move the node's clock: `date`, snapshots and tasks are ahead (below 0: behind) by so much."""
        self._set("clock", seconds)
        if seconds:
            self._clock.write_text(f"{seconds}\n", encoding="ascii")  # for the node's `date`
        else:
            self._clock.unlink(missing_ok=True)

    def link(
        self,
        peer: str | None = None,
        *,
        after: int | None = None,
        refuse: str | None = None,
        times: int | None = None,
    ) -> None:
        """Break connections of `ssh` on the node to another (None: to any).

        Cut the next one when so many bytes have passed (both ways together), or refuse all of them: `refuse`
        is hostkey, publickey, refused, timeout or unreachable. `times` says how many are struck.
        """
        if (after is None) == (refuse is None):
            raise ValueError("say either after how many bytes a link is cut, or how connections are refused")
        if refuse is not None and refuse not in REFUSALS:
            raise ValueError(f"connections are refused by {', '.join(REFUSALS)}, not {refuse!r}")
        if times is None and after is not None:
            times = 1
        entry = {"id": time.time_ns(), "peer": peer, "after": after, "refuse": refuse, "times": times}
        self._set("links", [*self.current().get("links", []), entry])

    def clear(self) -> None:
        """Nothing is wrong any more. Config locks stay held."""
        if self.current().get("quorum_lost"):
            self.quorum(lost=False)
        self._files.faults.unlink(missing_ok=True)
        self._clock.unlink(missing_ok=True)

    def _rule(
        self, action: str, when: str, nth: int | None, match: str | None, ms: int, times: int | None
    ) -> None:
        if when not in _WHEN:
            raise ValueError(f"a fault strikes before, during or after an execution, not {when!r}")
        if (nth is None) == (match is None):
            raise ValueError("say either the how-manieth execution from now, or what its command matches")
        at = exec_count(self._files) + nth if nth is not None else None
        existing = self.current().get("rules", [])
        number = time.time_ns()  # the server counts how often each has struck
        self._set(
            "rules",
            [
                *existing,
                {
                    "id": number,
                    "action": action,
                    "when": when,
                    "ms": ms,
                    "at": at,
                    "match": match,
                    "times": times,
                },
            ],
        )

    def _set(self, key: str, value: object) -> None:
        temporary = self._files.faults.with_suffix(".new")
        temporary.write_text(json.dumps({**self.current(), key: value}), encoding="utf-8")
        temporary.replace(self._files.faults)


def exec_count(files: layout.Files) -> int:
    """How many executions over SSH have begun since the lab was made or reset."""
    try:
        with files.execs.open(encoding="utf-8") as lines:
            return sum('"command"' in line for line in lines)
    except FileNotFoundError:
        return 0


def tell_monitor(root: Path, line: str) -> str:
    """The monitor's answer to a line, without `ok`. OSError when it refuses or is not there."""
    directory = os.open(root / layout.RUN.lstrip("/"), os.O_PATH)  # a socket's path is at most 107 bytes long
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(f"/proc/self/fd/{directory}/monitor.sock")
        finally:
            os.close(directory)
        connection.sendall(f"{line}\n".encode())
        word, _, rest = connection.makefile().readline().strip().partition(" ")
    if word != "ok":
        raise OSError(rest or "the lab's monitor does not answer")
    return rest
