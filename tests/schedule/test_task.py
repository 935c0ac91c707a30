"""`inv schedule.*` as a process, for root, in a mount namespace whose /etc/systemd/system is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.notify import kept as kept_contacts
from tests.inventory.small import HEAD, WEB
from tests.schedule.conftest import Box

ROOT = Path(__file__).resolve().parents[2]
INV = Path(sys.executable).with_name("inv")
UNSHARE = subprocess.run(
    ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /etc/systemd/system"], capture_output=True
)
pytestmark = pytest.mark.skipif(
    UNSHARE.returncode != 0,
    reason="NO namespace with an /etc/systemd/system of its own: `inv schedule.*` not run",
)

BACKUP = """\
backup:
  timezone: America/New_York
  snapshots: {schedule: "02:00"}
notifications: {url: "env:FLEET_TEST_URL"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my fleet"
    made.mkdir()
    (made / "tasks.py").write_text((ROOT / "tasks.py").read_text())
    (made / "hosts.yml").write_text(HEAD + WEB + BACKUP)
    return made


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run it in the fleet's folder; $inv is inv."""
    begin = 'mount -t tmpfs none /etc/systemd/system && cd "$1" && inv=$2\n'
    words = ["unshare", "-Urm", "sh", "-c", begin + script, "sh", str(folder), str(INV)]
    environment = {**os.environ, "FLEET_TEST_UNITS": "/etc/systemd/system"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_install_status_and_remove_with_systemd(box: Box, folder: Path) -> None:
    done = shell(
        folder,
        "$inv schedule.install --check --detailed-exitcode >check; echo $? >>codes\n"
        "$inv schedule.install >refused 2>&1; echo $? >>codes\n"
        "ls /etc/systemd/system >nothing\n"
        "$inv schedule.install --yes >install 2>&1; echo $? >>codes\n"
        "cat /etc/systemd/system/fleet-pve-snapshot.service >service\n"
        "$inv schedule.install --yes --json >again; echo $? >>codes\n"
        "$inv schedule.status --json >status; echo $? >>codes\n"
        "$inv schedule.remove --yes --json >remove; echo $? >>codes\n"
        "ls /etc/systemd/system >left\n",
    )
    assert done.returncode == 0, done.stderr

    def said(name: str) -> str:
        return (folder / name).read_text()

    assert said("codes").split() == ["2", "6", "0", "0", "0", "0"]
    assert "+ create" in said("check")
    assert "OnCalendar: 02:00 America/New_York" in said("check")
    assert f"FLEET_TEST_URL=... into {folder}/.env" in said("check")
    assert "--yes" in said("refused")
    assert (said("nothing"), said("left")) == ("", "")
    assert "1 done" in said("install")
    assert f"WorkingDirectory={folder}\n" in said("service")
    assert f"\nEnvironmentFile=-{folder}/.env\n" in said("service")
    assert f'"{folder}" {INV} backup.snapshot --inventory "{folder}/hosts.yml"\n' in said("service")
    assert json.loads(said("again"))["steps"] == []
    [row] = json.loads(said("status"))
    assert (row["name"], row["state"]) == ("fleet-pve-snapshot", "installed")
    assert [step["outcome"] for step in json.loads(said("remove"))["steps"]] == ["done"]


def test_install_status_and_remove_with_cron(box: Box, folder: Path) -> None:
    box.boot(systemd=False)
    box.crontab.write_bytes(b"# theirs \xff\n")
    done = shell(
        folder,
        "$inv schedule.install --yes >install 2>&1; echo $? >>codes\n"
        'cp "$FLEET_TEST_STATE/crontab" crontab\n'
        "$inv schedule.status --json >status; echo $? >>codes\n"
        "$inv schedule.remove --yes >remove 2>&1; echo $? >>codes\n",
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "codes").read_text().split() == ["0", "0", "0"]
    crontab = (folder / "crontab").read_bytes()
    assert crontab.startswith(b"# theirs \xff\n# fleet: made by ")
    assert b" backup.snapshot --inventory " in crontab
    assert "cron knows no time zones" in (folder / "install").read_text()
    [row] = json.loads((folder / "status").read_text())
    assert row["state"] == "installed"
    assert row["next"] is not None
    assert box.crontab.read_bytes() == b"# theirs \xff\n"


def test_a_machine_with_neither_is_one_line_and_exit_1(box: Box, folder: Path) -> None:
    box.boot(systemd=False)
    (Path(os.environ["PATH"].partition(":")[0]) / "crontab").unlink()
    if subprocess.run(["sh", "-c", "command -v crontab"], capture_output=True).returncode == 0:
        pytest.skip("this machine has a crontab")
    done = shell(folder, "$inv schedule.install --yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "install cron" in done.stderr


def test_whom_to_tell_is_known_before_the_first_run(box: Box, folder: Path) -> None:
    done = shell(folder, "$inv schedule.install --yes")
    assert done.returncode == 0, done.stderr
    kept = kept_contacts(folder / "hosts.yml")
    assert kept is not None
    assert "env:FLEET_TEST_URL" in {f"{each.url.kind}:{each.url.target}" for each in kept.channels}
