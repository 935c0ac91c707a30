"""The node's lock: one holder, dead ones recognised, freed whatever becomes of the link."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from fleet.core.errors import HostError, Locked
from fleet.host.local import LocalTransport
from fleet.host.lock import NodeLock
from fleet.host.script import ScriptShell
from tests.host.conftest import Proxy, Sshd, until


@pytest.fixture(autouse=True)
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock's file, in a place of this test."""
    monkeypatch.setenv("FLEET_RUN", str(tmp_path / "run"))
    return tmp_path / "run" / "lock"


def other() -> ScriptShell:
    return ScriptShell(LocalTransport("pve"))


def holder(lock_file: Path) -> int:
    """The process that the record names; 0 while it is being written anew."""
    return int((lock_file.read_text().split() or ["0"])[0])


def test_the_lock_is_one_execution_and_free_again_at_once(here: ScriptShell, lock_file: Path) -> None:
    for _ in range(3):
        with NodeLock(here, "inv apply"):
            assert lock_file.read_text().endswith(" inv apply\n")
        assert lock_file.read_text() == ""
    assert here.executions == 3


def test_a_second_run_is_told_who_holds_it_since_when_and_for_what(
    here: ScriptShell, lock_file: Path
) -> None:
    with NodeLock(here, "inv provision.all --limit 'a b'", who="alice@laptop"):
        with pytest.raises(Locked) as locked, NodeLock(other(), "inv plan"):
            pass
        said = str(locked.value)
        assert locked.value.exit_code == 8
        assert "alice@laptop, running `inv provision.all --limit 'a b'` since 20" in said
        assert f"process {holder(lock_file)} on the node" in said
    with NodeLock(other(), "inv plan"):
        pass


def test_the_record_is_for_root_alone(here: ScriptShell, lock_file: Path) -> None:
    with NodeLock(here, "inv apply"):
        assert lock_file.stat().st_mode & 0o777 == 0o600
        assert lock_file.parent.stat().st_mode & 0o777 == 0o700


def test_a_holder_that_was_killed_is_recognised_said_and_taken_over(
    here: ScriptShell, lock_file: Path
) -> None:
    notices: list[str] = []
    with NodeLock(here, "inv apply", who="alice@laptop", heartbeat=60) as lost:
        os.kill(holder(lock_file), signal.SIGKILL)
        with NodeLock(other(), "inv plan", notice=notices.append):
            (notice,) = notices
            assert "its holder is dead: alice@laptop, running `inv apply`" in notice
            with pytest.raises(Locked, match=r"lost with the connection and cannot be taken again.*inv plan"):
                lost.check()


def test_a_record_of_another_boot_or_of_a_reused_process_id_holds_nothing(
    here: ScriptShell, lock_file: Path
) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    for record in (
        f"{os.getpid()} {started} 00000000-0000-0000-0000-000000000000 1700000000 run alice@laptop inv apply",
        f"{os.getpid()} {int(started) + 1} {boot} 1700000000 run alice@laptop inv apply",
        "garbage",
    ):
        lock_file.parent.mkdir(exist_ok=True)
        lock_file.write_text(record + "\n")
        notices: list[str] = []
        with NodeLock(here, "inv plan", notice=notices.append):
            assert len(notices) == 1


def test_a_holder_that_was_killed_is_replaced_by_its_own_run(here: ScriptShell, lock_file: Path) -> None:
    with NodeLock(here, "inv apply", heartbeat=60) as lock:
        first = holder(lock_file)
        os.kill(first, signal.SIGKILL)
        until(lambda: lock.check() or holder(lock_file) not in (0, first))
        with pytest.raises(Locked), NodeLock(other(), "inv plan"):
            pass
    assert lock_file.read_text() == ""


def test_the_heartbeat_takes_a_lost_lock_again_by_itself(here: ScriptShell, lock_file: Path) -> None:
    with NodeLock(here, "inv apply", heartbeat=0.1):
        first = holder(lock_file)
        os.kill(first, signal.SIGKILL)
        until(lambda: holder(lock_file) not in (0, first))


def test_a_lock_outlives_its_patience_while_its_run_lives(here: ScriptShell, lock_file: Path) -> None:
    with NodeLock(here, "inv apply", heartbeat=0.2, patience=1):
        first = holder(lock_file)
        time.sleep(1.5)
        assert holder(lock_file) == first


def test_the_lock_is_freed_when_the_run_fails(here: ScriptShell, lock_file: Path) -> None:
    with pytest.raises(ZeroDivisionError), NodeLock(here, "inv apply"):
        raise ZeroDivisionError
    assert lock_file.read_text() == ""


def test_a_node_that_cannot_be_locked_says_why(
    here: ScriptShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLEET_RUN", str(tmp_path / "file"))
    with pytest.raises(HostError, match=r"cannot be taken: .*file"), NodeLock(here, "inv apply"):
        pass


def test_a_cut_link_frees_the_lock_and_the_run_takes_it_again(
    cuttable: ScriptShell, remote: ScriptShell, proxy: Proxy, run_folder: Path
) -> None:
    with NodeLock(cuttable, "inv apply", heartbeat=60) as lock:
        first = holder(run_folder / "lock")
        proxy.cut()
        until(lambda: lock.check() or holder(run_folder / "lock") not in (0, first))
        assert cuttable.connections == 2
        with pytest.raises(Locked), NodeLock(remote, "inv plan"):
            pass


def test_a_connection_that_only_looks_open_frees_the_lock_in_bounded_time(
    sshd: Sshd, remote: ScriptShell, proxy: Proxy, run_folder: Path
) -> None:
    impatient = ScriptShell(sshd.transport(port=proxy.port, patience=0.1))
    lock = NodeLock(impatient, "inv apply", heartbeat=0.2, patience=1)
    lock.__enter__()
    proxy.frozen = True
    until(lambda: not (run_folder / "lock").read_text())
    with NodeLock(remote, "inv plan"):
        proxy.close()
    lock.__exit__(None, None, None)


def test_a_client_that_dies_frees_the_lock(
    cuttable: ScriptShell, remote: ScriptShell, proxy: Proxy, run_folder: Path
) -> None:
    lock = NodeLock(cuttable, "inv apply", heartbeat=60)
    lock.__enter__()
    proxy.close()
    until(lambda: not (run_folder / "lock").read_text())
    with NodeLock(remote, "inv plan"):
        pass
    lock.__exit__(None, None, None)
