"""Units as systemd itself reads them: its checker finds no fault, and a real manager runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.core.errors import Refused
from fleet.schedule.units import made_for, service, timer
from tests.schedule.conftest import job, place

ROOT = Path(__file__).resolve().parents[2]
ANALYZE = shutil.which("systemd-analyze")
SYSTEMD = next((str(each) for each in Path("/").glob("*/systemd/systemd")), "")
UNSHARE = subprocess.run(["unshare", "-UrmCpf", "true"], capture_output=True).returncode == 0

#: A folder that every kind of quoting has to get right.
ODD = "my fl%eet $HOME @ 100%n"


def program(folder: Path) -> Path:
    """An `inv` that writes down how it was called."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "inv"
    made.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "seen = [sys.argv[1:], os.getcwd(), os.environ.get('FLEET_NOTIFY_URL')]\n"
        "open(os.environ['HOME'] + '/seen', 'w').write(json.dumps(seen))\nsys.exit(3)\n"
    )
    made.chmod(0o755)
    return made


@pytest.mark.skipif(
    ANALYZE is None, reason="NO systemd-analyze: unit files are not checked by systemd itself"
)
@pytest.mark.parametrize("folder", ["plain", ODD])
def test_systemd_finds_no_fault_with_the_units(folder: str, tmp_path: Path) -> None:
    where = place(tmp_path / folder, tmp_path, str(program(tmp_path / folder)))
    where = replace(where, home=str(tmp_path / folder), flock="/usr/bin/flock")
    made = job("fleet-pve-snapshot", "mon..fri 02:00 America/New_York", "--schedule", "mon..fri 02:00")
    files = [tmp_path / f"{made.name}.{kind}" for kind in ("timer", "service")]
    for file, text in zip(files, (timer(made, where), service(made, where)), strict=True):
        file.write_text(text)
    done = subprocess.run([str(ANALYZE), "verify", *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_first_line_says_for_whom_a_unit_was_made(tmp_path: Path) -> None:
    where = place(tmp_path / ODD, tmp_path)
    for text in (timer(job(), where), service(job(), where)):
        assert made_for(text) == where.hosts
    assert made_for("[Unit]\nDescription=fleet: made by `inv schedule.install` from x\n") is None
    assert made_for("") is None


def test_units_hold_no_secret_but_the_file_that_does(tmp_path: Path) -> None:
    where = place(tmp_path / "fleet", tmp_path)
    text = service(job(), where)
    assert f"EnvironmentFile=-{where.environment}\n" in text
    assert [line for line in text.splitlines() if line.startswith("Environment=")] == [
        "Environment=HOME=/root"
    ]


@pytest.mark.parametrize("folder", ["new\nline", "bell\a", "end\\", "blank "])
def test_a_path_that_no_unit_can_hold_is_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no timer can be made"):
        place(tmp_path / folder / "x", tmp_path, str(tmp_path / folder))


def test_a_program_with_quotes_in_its_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="quotes or backslashes"):
        service(job(), place(tmp_path, tmp_path, "/it's/inv"))


#: A new world of mounts, processes and control groups: a manager would take over those that it finds.
OUTER = """
mount -t tmpfs none /run && mkdir -p /run/systemd/system && mount -t cgroup2 none /sys/fs/cgroup || exit 9
mine=/sys/fs/cgroup/fleet-test-$NUMBER
mkdir "$mine" || exit 9
(
    echo 0 >"$mine/cgroup.procs" || exit 9
    world='umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup || exit 9; exec "$@"'
    exec unshare -Cm sh -c "$world" sh \\
        unshare -U --map-user=1000 --map-group=1000 "$@"
)
code=$?
find "$mine" -depth -type d -exec rmdir {} +
exit $code
"""
INNER = r"""
rm -rf "$XDG_RUNTIME_DIR"; mkdir -p -m 700 "$XDG_RUNTIME_DIR"
"$0" --user --log-target=null & manager=$!
tries=0
until systemctl --user is-system-running >"$HOME/said" 2>&1; do
    tries=$((tries + 1)); [ $tries -lt 300 ] || { cat "$HOME/said"; exit 9; }; sleep 0.1
done
"$1" -c "$2"; code=$?
kill $manager; wait $manager
exit $code
"""
WITH_A_MANAGER = """
import dataclasses, json, os, subprocess, time
from pathlib import Path
from fleet.schedule import found, plan
from fleet.schedule.machine import local_shell, place, run
from fleet.schedule.status import row_data, rows
from tests.schedule.conftest import job
from tests.schedule.test_units import ODD, program

home = Path(os.environ["HOME"])
folder = home / ODD
inv = program(folder)
(folder / "hosts.yml").touch()
(folder / ".env").write_text("FLEET_NOTIFY_URL='ntfys://a:b@host/?x=1&y=$2'")
where = dataclasses.replace(place(folder / "hosts.yml"), program=(str(inv),))
jobs = [job("fleet-pve-snapshot", "02:00 America/New_York", "--schedule", "mon $x %n 02:00")]
shell = local_shell()
def look(jobs):
    seen = found.read(shell, where, [each.name for each in jobs])
    return seen, plan.plan(jobs, where, seen, machine="here", year=2026)
said = {"user": where.user, "units": where.units}
first = look(jobs)
said["before"] = row_data(rows(jobs, *first))
said["installed"] = [result.outcome for result in run(shell, first[1], lambda _: None)]
said["again"] = [step.action for step in look(jobs)[1].steps]
subprocess.run(["systemctl", "--user", "start", "fleet-pve-snapshot.service"], capture_output=True)
said["seen"] = json.loads((home / "seen").read_text())
said["after"] = row_data(rows(jobs, *look(jobs)))
Path(where.units, "fleet-pve-snapshot.timer").write_text(Path(where.units, "fleet-pve-snapshot.timer")
    .read_text().replace("=02:00", "=05:00"))
changed = look(jobs)[1]
said["changed"] = [[step.action, [str(each.was) for each in step.because]] for step in changed.steps]
said["restored"] = [result.outcome for result in run(shell, changed, lambda _: None)]
said["then"] = [step.action for step in look(jobs)[1].steps]
said["removed"] = [result.outcome for result in run(shell, look([])[1], lambda _: None)]
said["left"] = os.listdir(where.units)
said["timers"] = subprocess.run(["systemctl", "--user", "list-timers", "--all", "fleet-*"],
    capture_output=True, text=True).stdout
(home / "report").write_text(json.dumps(said))
"""


@pytest.mark.skipif(
    not SYSTEMD or not UNSHARE,
    reason="NO REAL systemd, or no namespace to run one in: timers meet stand-ins only",
)
def test_a_real_systemd_installs_runs_shows_and_removes_a_job(tmp_path: Path) -> None:
    """A manager of user units, in namespaces of its own: nothing of this machine is touched."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "NUMBER": str(os.getpid()),
    }
    words = ["unshare", "-UrmCpf", "--mount-proc", "sh", "-c", OUTER, "outer"]
    words += ["sh", "-c", INNER, SYSTEMD, sys.executable, WITH_A_MANAGER]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    if done.returncode == 9:
        pytest.skip(f"NO REAL systemd could be started: {done.stdout} {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((home / "report").read_text())

    assert said["user"] is True
    assert [(row["state"], row["next"]) for row in said["before"]] == [("missing", None)]
    assert (said["installed"], said["again"]) == (["done"], [])
    folder = str(home / ODD)
    words = ["backup.snapshot", "--schedule", "mon $x %n 02:00", "--inventory", f"{folder}/hosts.yml"]
    assert said["seen"] == [words, folder, "ntfys://a:b@host/?x=1&y=$2"]
    [row] = said["after"]
    assert (row["state"], row["result"]) == ("installed", "exit 3")
    assert row["last"] is not None
    assert row["next"] is not None
    assert said["changed"] == [["update", ["05:00 America/New_York"]]]
    assert (said["restored"], said["then"]) == (["done"], [])
    assert (said["removed"], said["left"]) == (["done"], [])
    assert "0 timers listed" in said["timers"]
