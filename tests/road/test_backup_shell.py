"""What backups do on the host, under real sh, where the host is not as it should be."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.core.command import command
from fleet.host.guarded import library

SET = "fleet-daily-20261123t070000z"


@dataclass
class Host:
    """A folder that stands for the node: fleet's state, and programs that say what they were asked."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "state" / "backups.log"

    @property
    def calls(self) -> list[str]:
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def program(self, name: str, body: str) -> None:
        """A program of this name, which writes down its words first."""
        file = self.root / "bin" / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.root}/calls"\n{body}\n')
        file.chmod(0o755)

    def run(
        self, *words: str, before: str = "", libraries: tuple[str, ...] = ("backup.sh",)
    ) -> subprocess.CompletedProcess[str]:
        """Calls a function of fleet's; `before` stands between the libraries and the call."""
        texts = [library(name) for name in ("prelude.sh", *libraries)]
        here = [text.replace("/etc/pve", f"{self.root}/pve") for text in texts]
        return subprocess.run(
            ["sh", "-c", "\n".join((*here, before, command(*words).sh()))],
            env={
                **os.environ,
                "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
                "FLEET_STATE": str(self.root / "state"),
                "FLEET_CGROUPS": str(self.root / "cgroups"),
            },
            capture_output=True,
            text=True,
            timeout=30,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A node with the guest 101."""
    for name in ("bin", "state", "pve/lxc", "cgroups"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "pve/lxc/101.conf").write_text("hostname: plain\nrootfs: guests:subvol-101-disk-0,size=8G\n")
    return Host(tmp_path)


# ── the record ────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_made_that_the_record_cannot_hold(host: Host) -> None:
    host.record.mkdir()  # as on a full disk: nothing can be written there
    host.program("zfs", "[ $1 = list ] && exit 1; exit 0")
    host.program("pct", "exit 0")
    for done in (
        host.run("fleet_take_zfs", SET, "5", "- run tank/data", "101 run tank/guests/subvol-101-disk-0"),
        host.run("fleet_take_pct", SET, "4", "101 pct tank/guests/subvol-101-disk-0"),
    ):
        assert f"fleet: failed 101 {host.record} cannot be written" in done.stdout
    assert not [call for call in host.calls if call.startswith(("zfs snapshot", "pct snapshot"))]


def test_a_line_that_a_full_disk_cut_short_spoils_no_other(host: Host) -> None:
    host.record.write_text("1795330800 making fleet-daily-20261123t07")
    assert host.run("fleet_record", "making", SET, f"tank/data@{SET}", "-").returncode == 0
    assert host.run("fleet_recorded", f"tank/data@{SET}").returncode == 0
    assert host.record.read_text().count("\n") == 2


def test_an_installation_that_a_power_cut_emptied_is_made_anew(host: Host) -> None:
    (host.root / "state/installation").touch()
    first = host.run("fleet_installation").stdout.strip()
    assert len(first) == 32
    assert host.run("fleet_installation").stdout.strip() == first


def test_without_an_installation_nothing_is_made(host: Host) -> None:
    (host.root / "state/installation").write_text("half\n")
    host.program("zfs", "exit 0")
    assert host.run("fleet_take_zfs", SET, "5", "- run tank/data").returncode != 0
    assert host.calls == []
