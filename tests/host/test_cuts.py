"""The link is cut at every single moment: nothing runs twice or hangs, jobs come to their end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.core.errors import LinkLost
from fleet.core.probe import compose, split
from fleet.host.jobs import JobResult, follow, jobs_probe, read_jobs, run_job
from fleet.host.script import ScriptShell
from fleet.host.shell import Output
from tests.host.conftest import Proxy, Sshd


def cut_at(proxy: Proxy, moment: int) -> Callable[[], int]:
    """Cut the link when this many pieces have passed; says how many have."""
    passed = 0
    lock = threading.Lock()

    def watch(way: Proxy, data: bytes, upwards: bool) -> bool:
        nonlocal passed
        with lock:
            passed += 1
            if passed != moment:
                return False
        way.watch = None
        return True

    proxy.watch = watch
    return lambda: passed


def moments(shell: ScriptShell, proxy: Proxy, run: Callable[[], object]) -> Iterator[int]:
    """Every moment at which a run can be cut: as many as an undisturbed one has pieces, and one more."""
    shell.run(":")
    passed = cut_at(proxy, -1)
    run()
    for moment in range(1, passed() + 2):
        proxy.watch = None
        shell.run(":")  # connects
        yield moment


def settled(file: Path) -> list[str]:
    """The lines of a file that scripts may still be writing to."""
    time.sleep(0.1)
    return file.read_text().splitlines() if file.exists() else []


def test_a_link_that_broke_while_idle_is_mended_in_silence(cuttable: ScriptShell, proxy: Proxy) -> None:
    assert cuttable.run("echo one").out == "one\n"
    proxy.cut()
    assert cuttable.run("echo two").out == "two\n"
    assert (cuttable.connections, cuttable.executions) == (2, 2)


def test_a_link_that_breaks_during_a_script_is_said_and_the_next_script_runs(
    cuttable: ScriptShell, proxy: Proxy
) -> None:
    threading.Timer(0.4, proxy.cut).start()
    began = time.monotonic()
    with pytest.raises(LinkLost, match="broke while a script was running"):
        cuttable.run("echo half; sleep 60")
    assert time.monotonic() - began < 30
    assert cuttable.run("echo whole") == Output(0, "whole\n", "")


def test_a_host_that_is_stuck_is_given_up_in_bounded_time(
    cuttable: ScriptShell, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.host.ssh.way.KEEPALIVE", 0.2)
    monkeypatch.setattr("fleet.host.ssh.way.SILENCE", 0.5)
    assert cuttable.run("sleep 1; echo alive").out == "alive\n"
    # Connections stand and acknowledge, as those of a host do whose disks no longer answer.
    threading.Timer(0.4, lambda: setattr(proxy, "frozen", True)).start()
    began = time.monotonic()
    with pytest.raises(LinkLost):
        cuttable.run("sleep 60")
    assert time.monotonic() - began < 10
    proxy.frozen = False
    assert cuttable.run("echo back").out == "back\n"


def test_a_script_cut_at_any_moment_runs_at_most_once(
    cuttable: ScriptShell, proxy: Proxy, tmp_path: Path
) -> None:
    seen = {"answered": 0, "lost": 0}
    for moment in moments(
        cuttable, proxy, lambda: cuttable.run(f"echo line >>{tmp_path}/undisturbed; echo done")
    ):
        file = tmp_path / str(moment)
        cut_at(proxy, moment)
        try:
            output = cuttable.run(f"echo line >>{file}; echo done")
        except LinkLost:
            seen["lost"] += 1
            assert len(settled(file)) <= 1
        else:
            seen["answered"] += 1
            assert output.out == "done\n"
            assert settled(file) == ["line"]
    # Both kinds of moment were met: before anything ran (mended), and after.
    assert seen["answered"] > 1
    assert seen["lost"] > 1


def test_a_job_cut_at_any_moment_runs_once_and_its_end_is_known(
    cuttable: ScriptShell, proxy: Proxy, tmp_path: Path, run_folder: Path
) -> None:
    def job(name: str) -> JobResult:
        return run_job(
            cuttable, name, "a job", f"echo line >>{tmp_path / name}; echo out; sleep 0.05; exit 3"
        )

    for moment in moments(cuttable, proxy, lambda: job("undisturbed")):
        name = f"cut-{moment}"
        connections = cuttable.connections
        cut_at(proxy, moment)
        assert job(name) == JobResult(3, "out\n")
        assert settled(tmp_path / name) == ["line"]
        assert cuttable.connections <= connections + 1
    proxy.watch = None
    # What the host still has of them is over, and known to be.
    left = read_jobs(split(cuttable.run(compose([jobs_probe()], "mark")).out, "mark")["jobs"])
    assert not any(each.running for each in left)
    assert all(follow(cuttable, each).code == 3 for each in left)
    assert list((run_folder / "jobs").iterdir()) == []


def test_a_job_goes_on_while_nobody_listens_and_its_lines_come_once(
    cuttable: ScriptShell, proxy: Proxy, run_folder: Path
) -> None:
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        if line in ("2", "5"):
            proxy.cut()

    script = "for n in 1 2 3 4 5 6 7 8; do echo $n; sleep 0.1; done"
    assert run_job(cuttable, "counting", "count", script, hear).code == 0
    assert lines == list("12345678")
    assert cuttable.connections == 3


def test_a_host_that_stays_away_leaves_the_job_to_the_next_run(
    sshd: Sshd, remote: ScriptShell, proxy: Proxy, run_folder: Path
) -> None:
    def hear(line: str) -> None:
        proxy.close()

    impatient = ScriptShell(sshd.transport(port=proxy.port, patience=0.1))
    with pytest.raises(LinkLost, match="it was running when the connection broke"):
        run_job(impatient, "lonely", "a lonely job", "echo started; sleep 0.5; echo ended; exit 7", hear)
    (found,) = read_jobs(split(remote.run(compose([jobs_probe()], "mark")).out, "mark")["jobs"])
    assert (found.id, found.title) == ("lonely", "a lonely job")
    assert follow(remote, found) == JobResult(7, "started\nended\n")
