"""The journal: every event on disk, in order, readable after a crash, without secrets."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from fleet.core.command import command
from fleet.core.errors import FleetError
from fleet.core.plan import Check, Difference, Impact, Step
from fleet.host.apply import Result, Watcher
from fleet.host.guarded import Outcome
from fleet.host.journal import Journal, read

STEP = Step(
    id="guests.plex.memory",
    subject="plex (120)",
    action="update",
    because=(),
    done=(Check(command("true"), "it is so"),),
    expect=(),
    do=(command("pct", "set", "120", "--memory", "4096"),),
    impact=Impact.LIVE,
)


class Secret(str):
    """A secret that is a text, too, so that it could slip through."""


@dataclass(frozen=True)
class Key:
    value: str


def test_events_come_back_in_order_with_their_time_and_run(tmp_path: Path) -> None:
    with Journal("pve", "run-1", folder=tmp_path) as journal:
        journal.write("run", what="inv apply", steps=2)
        journal.write("end", exit=0, seconds=1.5)
    events = list(read("pve", folder=tmp_path))
    assert [(event["event"], event["run"]) for event in events] == [("run", "run-1"), ("end", "run-1")]
    assert events[0]["what"] == "inv apply"
    assert datetime.fromisoformat(events[0]["at"]).tzinfo is not None


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with Journal("pve", "run-1", folder=tmp_path / "new") as journal:
        journal.write("run")
    assert (tmp_path / "new/pve.jsonl").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("secret", [Secret("hunter2"), Key("hunter2"), b"hunter2"])
def test_a_value_of_any_secret_type_never_gets_in(tmp_path: Path, secret: object) -> None:
    with Journal("pve", "run-1", folder=tmp_path) as journal:
        journal.write("run", password=secret, listed=[secret], table={"key": secret, "other": (1, secret)})
    text = (tmp_path / "pve.jsonl").read_text()
    assert "hunter2" not in text
    assert json.loads(text)["password"] == f"<{type(secret).__name__}>"


def test_a_line_torn_by_a_crash_is_left_out_and_harms_no_other(tmp_path: Path) -> None:
    with Journal("pve", "run-1", folder=tmp_path) as journal:
        journal.write("run")
    with (tmp_path / "pve.jsonl").open("ab") as file:
        file.write(b'{"at": "2026-01-01T00:00:00+00:00", "event": "sta')
    assert [event["event"] for event in read("pve", folder=tmp_path)] == ["run"]
    with Journal("pve", "run-2", folder=tmp_path) as journal:
        journal.write("again")
    assert [event["event"] for event in read("pve", folder=tmp_path)] == ["run", "again"]


def test_a_step_is_written_down_with_what_it_is_done_for(tmp_path: Path) -> None:
    why = Difference("plex@fleet-a", "fleet-a", None, reason="superseded in daily 2026-11-23")
    quiet = Watcher(lambda _: None, lambda _step, _line: None, lambda _: None, lambda _: None)
    with Journal("pve", "run-1", folder=tmp_path) as journal:
        journal.watch(quiet).started(replace(STEP, because=(why,)))
    (event,) = read("pve", folder=tmp_path)
    assert event["because"] == [
        {
            "key": "plex@fleet-a",
            "was": "fleet-a",
            "want": None,
            "reason": "superseded in daily 2026-11-23",
        }
    ]


@pytest.mark.parametrize("key", ["raw", "env", "description"])
def test_what_people_write_freely_does_not_get_in(tmp_path: Path, key: str) -> None:
    why = Difference(key, "PASSWORD=old", "PASSWORD=new", reason="hosts.yml says so")
    quiet = Watcher(lambda _: None, lambda _step, _line: None, lambda _: None, lambda _: None)
    with Journal("pve", "run-1", folder=tmp_path) as journal:
        journal.watch(quiet).started(replace(STEP, because=(why,)))
    assert "PASSWORD" not in (tmp_path / "pve.jsonl").read_text()
    (event,) = read("pve", folder=tmp_path)
    assert event["because"] == [{"key": key, "reason": "hosts.yml says so"}]


def test_lines_that_are_no_events_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "pve.jsonl").write_bytes(b'\n[1]\n"text"\n\xff\xfe\n{"event": "run"}\n')
    assert [event["event"] for event in read("pve", folder=tmp_path)] == ["run"]


def test_a_node_without_a_journal_has_no_events(tmp_path: Path) -> None:
    assert list(read("pve", folder=tmp_path)) == []


def test_threads_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    with Journal("pve", "run-1", folder=tmp_path) as journal:
        threads = [
            threading.Thread(target=lambda n=n: [journal.write("e", n=n, text="x" * 500) for _ in range(20)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = list(read("pve", folder=tmp_path))
    assert sorted(event["n"] for event in events) == sorted(list(range(8)) * 20)


def test_it_stands_where_the_system_wants_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Journal("pve", "run-1") as journal:
        journal.write("run")
    assert (tmp_path / "state/fleet/journal/pve.jsonl").exists()
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    with Journal("pve", "run-1") as journal:
        journal.write("run")
    assert (Path(os.environ["HOME"]) / ".local/state/fleet/journal/pve.jsonl").exists()


def test_each_step_is_written_down_before_it_starts_and_when_it_ends(tmp_path: Path) -> None:
    told: list[str] = []
    inner = Watcher(
        started=lambda step: told.append(f"started {[e['event'] for e in read('pve', folder=tmp_path)]}"),
        said=lambda step, line: told.append(line),
        ended=lambda result: told.append("ended"),
        stopping=lambda running: told.append("stopping"),
    )
    with Journal("pve", "run-1", folder=tmp_path) as journal:
        watcher = journal.watch(inner)
        watcher.started(STEP)
        watcher.said(STEP, "a line")
        watcher.ended(Result(STEP, Outcome.DONE, ("all well",), 1.234))
        watcher.ended(Result(STEP, Outcome.FAILED, tuple(f"line {n}" for n in range(30)), 2.0))
        watcher.stopping(1)
    assert told == ["started ['started']", "a line", "ended", "ended", "stopping"]
    started, done, failed = read("pve", folder=tmp_path)
    assert (started["step"], started["subject"], started["action"], started["impact"]) == (
        "guests.plex.memory",
        "plex (120)",
        "update",
        "live",
    )
    assert (done["outcome"], done["seconds"], "log" in done) == ("done", 1.23, False)
    assert (failed["outcome"], failed["log"][-1], len(failed["log"])) == ("failed", "line 29", 20)


def test_a_run_that_breaks_off_leaves_a_line_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Journal("pve", "run-1", folder=tmp_path):
        raise ZeroDivisionError
    (event,) = read("pve", folder=tmp_path)
    assert (event["event"], event["error"]) == ("failed", "ZeroDivisionError")


def test_a_journal_that_cannot_be_opened_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FleetError, match=r"the journal .*file/pve\.jsonl cannot be written"):
        Journal("pve", "run-1", folder=tmp_path / "file").__enter__()


def test_a_disk_that_is_full_stops_the_journal_and_not_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pve.jsonl").symlink_to("/dev/full")
    with Journal("pve", "run-1", folder=tmp_path) as journal:
        journal.write("run")
        journal.write("end")
    assert capsys.readouterr().err.count("No space left on device") == 1
