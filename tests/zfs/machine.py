"""The machine with real OpenZFS that scripts/zfs-vm makes: up, a shell script run in it, down."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "zfs-vm"
#: Seconds: a build that another process is at, and the boot.
_BUILD, _BOOT = 1800, 240


class NoMachine(Exception):
    """It cannot be had here; says what is missing."""


@dataclass(frozen=True)
class Machine:
    """A machine that is up. `state`: the folder with its port, keys and console."""

    state: Path
    port: int

    @property
    def key(self) -> Path:
        """The key that root logs in with."""
        return self.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Its host key."""
        return self.state / "known_hosts"

    def run(self, script: str, *, stdin: str = "", timeout: float = 60) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of a shell script run as root there."""
        done = subprocess.run(
            [
                *("ssh", "-F", "none", "-p", str(self.port), "-i", str(self.key)),
                *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "IdentitiesOnly=yes"),
                *("-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR"),
                *(
                    "-o",
                    "ControlMaster=auto",
                    "-o",
                    f"ControlPath={self.state}/%C",
                    "-o",
                    "ControlPersist=60",
                ),
                *("root@127.0.0.1", script),
            ],
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout,
        )
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def ok(self, script: str, *, stdin: str = "", timeout: float = 60) -> str:
        """What a script that must succeed prints."""
        code, out, err = self.run(script, stdin=stdin, timeout=timeout)
        assert code == 0, f"{script}: {code}\n{out}\n{err}"
        return out


def up(state: Path) -> Machine:
    """A machine as it was made, whose files are built first if they are not; NoMachine where it cannot be."""
    missing = _zfs_vm(state, "missing", timeout=20).stdout.split()
    if missing:
        raise NoMachine(f"these Debian packages are missing: {' '.join(missing)}")
    made = _zfs_vm(state, "build", timeout=_BUILD)
    if made.returncode:
        raise NoMachine((made.stderr.strip() or "it could not be built").splitlines()[-1])
    done = _zfs_vm(state, "up", timeout=_BOOT)
    assert done.returncode == 0, done.stderr
    return Machine(state, int((state / "port").read_text()))


def down(state: Path) -> None:
    """Stop it; what it changed is forgotten."""
    _zfs_vm(state, "down", timeout=60)


def _zfs_vm(state: Path, verb: str, *, timeout: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLEET_ZFS_VM": str(state)}
    return subprocess.run(
        [SCRIPT, verb],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
