"""Where a job's program, folders and files are on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.schedule import units
from fleet.schedule.jobs import Job
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
    """The working directory, and what is run there."""
    made = place(hosts)
    return made.folder, made.program


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
    assert "\nAfter=network-online.target pve-cluster.service\n" in service(job(), root)
    assert f"\nEnvironment=HOME={Path.home()}\n" in service(job(), root)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    other = place(tmp_path / "hosts.yml")
    assert (other.units, other.user) == (f"{tmp_path}/systemd/user", True)
    assert "network-online.target" not in service(job(), other)  # there is none in a user's systemd
    assert "HOME" not in service(job(), other)


SNAPSHOT, DUMP = job("n", "02:00 UTC"), replace(job(), task="backup.dump", words=("backup.dump",))
SEND = replace(job(), task="backup.send", words=("backup.send",))


def words(folder: Path, what: Job, script: str) -> tuple[str, ...]:
    """The command line of a job of the fleet in this folder, where the program is this script."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (folder / "hosts.yml").touch()
    return replace(place(folder / "hosts.yml"), program=(str(program),)).words(what)


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [(SNAPSHOT, DUMP, True), (SEND, SEND, True), (SEND, SNAPSHOT, False), (DUMP, SEND, False)],
)
def test_jobs_of_one_fleet_wait_for_each_other_and_transfers_for_transfers(
    tmp_path: Path, first: Job, second: Job, waits: bool
) -> None:
    log = tmp_path / "log"
    script = f"echo begins >>{log}; sleep 0.5; echo ends >>{log}"
    both = [subprocess.Popen(words(tmp_path, each, script)) for each in (first, second)]
    assert [each.wait(20) for each in both] == [0, 0]
    said = log.read_text().split()
    assert (said == ["begins", "ends"] * 2) is waits


def test_a_run_that_has_waited_too_long_begins_and_is_told_who_holds_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "WAIT", 0)
    with subprocess.Popen([FLOCK or "flock", str(tmp_path), "sleep", "30"]) as other:
        try:
            line = words(tmp_path, SNAPSHOT, 'echo "$@"; exit 8')
            done = subprocess.run(line, capture_output=True, text=True)
        finally:
            other.kill()
    assert (done.returncode, done.stdout) == (8, f"backup.snapshot --inventory {tmp_path}/hosts.yml\n")


def test_waiting_for_others_is_no_part_of_the_time_that_a_run_is_given(tmp_path: Path) -> None:
    there = place(fleet(tmp_path) / "hosts.yml")
    assert f"\nTimeoutStartSec={units.WAIT + SNAPSHOT.limit}\n" in service(SNAPSHOT, there)
    assert f"\nTimeoutStartSec={SNAPSHOT.limit}\n" in service(SNAPSHOT, replace(there, flock=""))


def test_a_job_hands_its_exit_code_on(tmp_path: Path) -> None:
    assert subprocess.run(words(tmp_path, SNAPSHOT, "exit 3")).returncode == 3
