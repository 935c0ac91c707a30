"""Jobs: what is detached, found, followed, killed and removed. The cuts are in test_cuts.py."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from fleet.core.errors import HostError
from fleet.core.probe import compose, split
from fleet.host.jobs import Job, JobResult, follow, jobs_probe, read_jobs, run_job
from fleet.host.local import LocalTransport
from fleet.host.script import ScriptShell
from fleet.host.shell import Shell
from tests.host.conftest import until


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the jobs, in a place of this test."""
    monkeypatch.setenv("FLEET_RUN", str(tmp_path / "run"))
    return tmp_path / "run" / "jobs"


def listed(shell: Shell) -> tuple[Job, ...]:
    return read_jobs(split(shell.run(compose([jobs_probe()], "mark")).out, "mark")["jobs"])


def test_a_job_is_one_execution_and_leaves_nothing(here: ScriptShell, jobs: Path) -> None:
    heard: list[str] = []
    result = run_job(
        here, "a-1", "a title", "echo out; echo err >&2; echo; printf last; exit 3", heard.append
    )
    assert result == JobResult(3, "out\nerr\n\nlast\n")
    assert heard == ["out", "err", "", "last"]
    assert here.executions == 1
    assert list(jobs.iterdir()) == []


def test_a_job_has_no_stdin_and_the_usual_umask(here: ScriptShell) -> None:
    assert run_job(here, "a-1", "t", "cat; umask; pwd").log == "0022\n/\n"


def test_a_script_of_any_text_is_run_as_it_is(here: ScriptShell) -> None:
    script = "cat <<'EOF'\n$HOME `ls` \\ 'é' \"\nEOF\n" + ":\n" * 100_000 + "echo end"
    assert run_job(here, "a-1", "t", script).log == "$HOME `ls` \\ 'é' \"\nend\n"


def test_a_title_is_one_line_whatever_it_holds(here: ScriptShell, jobs: Path) -> None:
    seen: list[str] = []
    run_job(
        here,
        "a-1",
        "it's $(a)\n| title",
        "echo x",
        lambda line: seen.append((jobs / "a-1/title").read_text()),
    )
    assert seen == ["it's $(a) | title\n"]


def test_a_job_keeps_its_files_to_itself(here: ScriptShell, jobs: Path) -> None:
    modes: dict[str, int] = {}

    def look(line: str) -> None:
        modes.update(
            {path.name: path.stat().st_mode & 0o777 for path in [jobs / "a-1", *(jobs / "a-1").iterdir()]}
        )

    run_job(here, "a-1", "t", "echo go; sleep 0.1", look)
    assert modes == {"a-1": 0o700, "script": 0o600, "log": 0o600, "pid": 0o600, "title": 0o600}


def test_megabytes_of_log_come_whole(here: ScriptShell) -> None:
    result = run_job(
        here, "a-1", "t", "i=0; while [ $i -lt 3000 ]; do printf '%01000d\\n' $i; i=$((i + 1)); done"
    )
    lines = result.log.splitlines()
    assert [int(line) for line in lines] == list(range(3000))
    assert len(result.log) == 3000 * 1001


def test_a_killed_job_is_said_to_be_killed_and_nobody_waits_for_ever(here: ScriptShell, jobs: Path) -> None:
    def kill(line: str) -> None:
        os.kill(int((jobs / "a-1/pid").read_text().split()[0]), signal.SIGKILL)

    assert run_job(here, "a-1", "t", "echo one; sleep 30; echo two", kill) == JobResult(None, "one\n")
    assert list(jobs.iterdir()) == []


def test_a_process_id_that_is_used_again_is_not_mistaken_for_the_job(here: ScriptShell, jobs: Path) -> None:
    folder = jobs / "old"
    folder.mkdir(parents=True)
    (folder / "title").write_text("an old job\n")
    (folder / "log").write_text("half")
    (folder / "pid").write_text(f"{os.getpid()} 12345\n")
    (found,) = listed(here)
    assert found == Job("old", "an old job", running=False, code=None)
    assert follow(here, found) == JobResult(None, "half\n")


def test_a_second_client_follows_a_job_and_does_not_start_it_again(here: ScriptShell, tmp_path: Path) -> None:
    results: list[JobResult] = []
    script = f"echo ran >>{tmp_path}/runs; echo a; sleep 0.4; echo b"
    clients = [
        threading.Thread(
            target=lambda: results.append(run_job(ScriptShell(LocalTransport("pve")), "a-1", "t", script))
        )
        for _ in range(4)
    ]
    for client in clients:
        client.start()
    until(lambda: listed(here))
    assert listed(here) == (Job("a-1", "t", running=True),)
    for client in clients:
        client.join()
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert results == [JobResult(0, "a\nb\n")] * 4


def test_a_job_that_nobody_saw_end_is_found_with_its_code(here: ScriptShell, jobs: Path) -> None:
    class Gone(Exception):
        pass

    def leave(line: str) -> None:
        raise Gone

    with pytest.raises(Gone):
        run_job(here, "a-1", "t", "echo one; sleep 0.2; exit 5", leave)
    until((jobs / "a-1/rc").exists)
    (found,) = listed(here)
    assert found == Job("a-1", "t", running=False, code=5)
    assert follow(here, found) == JobResult(5, "one\n")
    assert listed(here) == ()


def test_a_job_that_is_gone_is_said_to_be_gone(here: ScriptShell) -> None:
    with pytest.raises(HostError, match="no longer on the host"):
        follow(here, Job("a-1", "t", running=True))


def test_a_host_that_was_restarted_has_lost_the_job_and_it_is_not_started_again(
    here: ScriptShell, jobs: Path, tmp_path: Path
) -> None:
    from fleet.core.errors import LinkLost

    class Cut:
        """A shell whose first script breaks off, after which the host has forgotten what was in /run."""

        executions = connections = 0

        def open(self, script: str) -> object:
            session = here.open(script)
            line = session.line

            def broken(timeout: float | None = None) -> str | None:
                said = line(timeout)
                if said == "one":
                    os.kill(int((jobs / "a-1/pid").read_text().split()[0]), signal.SIGKILL)
                    (jobs / "a-1").rename(tmp_path / "forgotten")
                    raise LinkLost("cut")
                return said

            session.line = broken  # type: ignore[method-assign]
            return session

    result = run_job(Cut(), "a-1", "t", f"echo ran >>{tmp_path}/runs; echo one; sleep 9")  # type: ignore[arg-type]
    assert result.code is None
    assert (tmp_path / "runs").read_text() == "ran\n"


def test_a_host_that_cannot_start_it_says_why(
    here: ScriptShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLEET_RUN", str(tmp_path / "file"))
    with pytest.raises(HostError, match=r"cannot start it: .*file"):
        run_job(here, "a-1", "t", "echo never")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "../x", "-x"])
def test_a_name_that_is_no_file_name_is_refused(here: ScriptShell, name: str) -> None:
    with pytest.raises(ValueError, match="not a name for a job"):
        run_job(here, name, "t", "true")


def test_an_idle_job_is_looked_at_a_few_times_a_second(
    here: ScriptShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = tmp_path / "bin" / "sleep"
    counting.parent.mkdir()
    counting.write_text(f'#!/bin/sh\necho "$1" >>{tmp_path}/sleeps\nexec /bin/sleep "$1"\n')
    counting.chmod(0o755)
    monkeypatch.setenv("PATH", f"{counting.parent}:{os.environ['PATH']}")
    run_job(here, "a-1", "t", "/bin/sleep 1.5")
    pauses = [float(line) for line in (tmp_path / "sleeps").read_text().split() if line != "0.02"]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 0.4
    assert len(pauses) <= 8
