"""Where things are: inside a lab's node, and in the lab's own directory on the machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

CODE = "/usr/local/lib/fleet-lab"
SIM = f"{CODE}/sim"  # the simulated commands
MACHINE = f"{CODE}/machine"  # what guests see of the machine, at /run/host: usr, the interpreter, SIM
PYTHON = f"{MACHINE}/python"  # the interpreter's prefix, where that is not /usr
SHIMS = "/usr/local/sbin"
STATE = "/var/lib/fleet-lab"
RUN = "/run/fleet-lab"

FAKED_PROC = ("meminfo", "cpuinfo", "sys/kernel/random/boot_id")  # of /proc, by files in STATE/proc

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def home() -> Path:
    """The directory that all labs of this user are in."""
    if given := os.environ.get("FLEET_LAB_HOME"):
        return Path(given).absolute()
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state).absolute() / "fleet" / "lab"


@dataclass(frozen=True)
class Files:
    """The files of one lab."""

    directory: Path

    @property
    def root(self) -> Path:
        """The node's file tree."""
        return self.directory / "root"

    @property
    def record(self) -> Path:
        """lab.json: options, and while it runs port and PIDs."""
        return self.directory / "lab.json"

    @property
    def host_key(self) -> Path:
        """The node's private host key."""
        return self.directory / "host_ed25519"

    @property
    def client_key(self) -> Path:
        """The private key that may log in."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The known_hosts file for any ssh client."""
        return self.directory / "known_hosts"

    @property
    def log(self) -> Path:
        """What the daemon has to say."""
        return self.directory / "daemon.log"

    @property
    def execs(self) -> Path:
        """One JSON line for each execution over SSH since the lab was made or reset."""
        return self.directory / "execs.jsonl"

    @property
    def faults(self) -> Path:
        """What is to go wrong, as faults.py describes it; inside it is /var/lib/fleet-lab/faults.json."""
        return self.root / STATE.lstrip("/") / "faults.json"

    @property
    def lock(self) -> Path:
        """Held while a lab is brought up, taken down or reset."""
        return self.directory.with_name(f".{self.directory.name}.lock")


def files(name: str) -> Files:
    """The files of the lab of that name; ValueError for a name that is none."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a lab: letters, digits, '-', '_' and '.' only, at most 64, "
            "beginning with a letter or digit"
        )
    return Files(home() / name)
