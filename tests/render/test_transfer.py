"""Transfers shown as they go on: what a line says of how far it is, and one line for each in a pipe."""

from __future__ import annotations

import time

import pytest

from fleet.core.command import command
from fleet.core.plan import Check, Step
from fleet.host.apply import Result
from fleet.host.guarded import Outcome
from fleet.render.transfer import following, progress, transferring

STEP = Step(
    "send tank/data@x usb",
    "tank/data to usb",
    "send",
    (),
    (Check(command("true"), "so"),),
    (),
    (command("true"),),
)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("fleet: sent 1024 20049512", (1024, 20049512)),
        (
            "INFO:  12% (1.2 GiB of 10.0 GiB) in 3s, read: 409.6 MiB/s, write: 300.0 MiB/s",
            (1288490188, 10737418240),
        ),
        ("INFO: creating vzdump archive '/backups/dump/vzdump-lxc-107.tar.zst'", None),
        ("fleet: sent", None),
        ("cannot receive: dataset is busy", None),
    ],
)
def test_a_line_says_how_far_a_transfer_is_or_nothing(line: str, found: tuple[int, int] | None) -> None:
    assert progress(line) == found


def test_in_a_pipe_each_transfer_is_one_line_and_its_progress_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with transferring() as watcher:
        watcher.started(STEP)
        for bytes_ in range(0, 1000, 100):
            watcher.said(STEP, f"fleet: sent {bytes_} 1000")
        watcher.ended(Result(STEP, Outcome.DONE, (), 12.0))
    said = capsys.readouterr()
    assert said.err == "done        tank/data to usb: send  12.0 s\n"
    assert said.out == ""


def test_on_a_terminal_a_bar_shows_bytes_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with transferring() as watcher:
        watcher.started(STEP)
        watcher.said(STEP, "fleet: sent 0 2097152")
        watcher.said(STEP, "fleet: sent 1048576 2097152")
        shown = until(capsys, "1.0/2.0 MiB")
        watcher.said(STEP, "[bold]no markup[/bold]\x1b[2J")
        shown += until(capsys, "[bold]no markup")
        watcher.ended(Result(STEP, Outcome.DONE, (), 1.0))
    shown += capsys.readouterr().err
    assert "tank/data to usb: send" in shown
    assert "send  1.0 s" in shown
    assert "\x1b[2J" not in shown


def test_a_job_that_an_earlier_run_left_is_shown_as_far_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with following("tank/data to usb: send") as said:
        said("fleet: sent 1048576 2097152")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with following("tank/data to usb: send") as said:
        said("fleet: sent 1048576 2097152")
        assert "tank/data to usb: send" in until(capsys, "1.0/2.0 MiB")


def until(capsys: pytest.CaptureFixture[str], text: str) -> str:
    """What is drawn, up to this text, which must come."""
    shown, deadline = "", time.monotonic() + 20
    while text not in shown:
        assert time.monotonic() < deadline, shown
        time.sleep(0.02)
        shown += capsys.readouterr().err
    return shown
