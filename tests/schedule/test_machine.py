"""Where a job's program, folders and files are on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleet.schedule.machine import place
from fleet.schedule.units import service
from tests.schedule.conftest import job

INV = str(Path(sys.executable).with_name("inv"))
FLOCK = shutil.which("flock")


def fleet(folder: Path, tasks: str = "from fleet.tasks import namespace\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tasks.py").write_text(tasks)
    return folder


def program(hosts: Path) -> tuple[str, tuple[str, ...]]:
    """The working directory, and what is run there behind flock."""
    made = place(hosts)
    assert made.program[:2] == (FLOCK, str(hosts.parent))
    return made.folder, made.program[2:]


def test_inv_runs_where_the_fleets_tasks_are(tmp_path: Path) -> None:
    folder = fleet(tmp_path / "fleet")
    assert program(folder / "hosts.yml") == (str(folder), (INV,))
    assert program(folder / "sites" / "home.yml") == (str(folder), (INV,))


def test_without_tasks_of_fleets_fleet_itself_is_run(tmp_path: Path) -> None:
    plain = (str(tmp_path), (sys.executable, "-m", "fleet"))
    assert program(tmp_path / "hosts.yml") == plain
    fleet(tmp_path, "from celery import Celery\n")
    assert program(tmp_path / "hosts.yml") == plain


def test_all_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fleet(tmp_path / "fleet"))
    made = place(Path("hosts.yml"))
    paths = (made.hosts, made.folder, made.environment, made.units, *made.program)
    assert all(Path(path).is_absolute() for path in paths)
    assert made.environment == str(tmp_path / "fleet" / ".env")


def test_root_has_units_of_the_system_and_others_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    root = place(tmp_path / "hosts.yml")
    assert (root.units, root.user) == ("/etc/systemd/system", False)
    assert "network-online.target" in service(job(), root)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    other = place(tmp_path / "hosts.yml")
    assert (other.units, other.user) == (f"{tmp_path}/systemd/user", True)
    assert "network-online.target" not in service(job(), other)  # there is none in a user's systemd


def test_jobs_of_one_fleet_wait_for_each_other(tmp_path: Path) -> None:
    folder = fleet(tmp_path / "fleet")
    line = place(folder / "hosts.yml").program[:2]
    log = tmp_path / "log"
    words = [*line, "sh", "-c", f"echo begins >>{log}; sleep 0.2; echo ends >>{log}"]
    both = [subprocess.Popen(words) for _ in range(2)]
    began = time.monotonic()
    assert [each.wait(20) for each in both] == [0, 0]
    assert time.monotonic() - began >= 0.3
    assert log.read_text().split() == ["begins", "ends"] * 2


def test_flock_hands_the_exit_code_on(tmp_path: Path) -> None:
    line = place(fleet(tmp_path) / "hosts.yml").program[:2]
    assert subprocess.run([*line, "sh", "-c", "exit 3"]).returncode == 3
