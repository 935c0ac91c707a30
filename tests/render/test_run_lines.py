"""The last lines of a run say whether the host is now as hosts.yml says, and what is left where it is not."""

from __future__ import annotations

import pytest

from fleet.core.errors import ExitCode
from fleet.core.plan import Difference, Note, Plan, Step, Why
from fleet.render.run import run_data, run_lines
from fleet.run import Run

GROW = Step("plex.grow", "plex (120)", "grow", (Difference("rootfs.size", "8G", "12G"),), (), (), ())
LOCKED = Note("loki (130)", Why.LOCKED, "Proxmox holds lock: create")


def said(left: Plan) -> list[str]:
    return [line.text for line in run_lines((), left, 1.0)]


def test_only_an_empty_second_plan_is_called_as_declared() -> None:
    assert said(Plan("pve")) == [
        "0 steps in 1.0 s: nothing done",
        "read again: the host is as hosts.yml says",
    ]


def test_a_step_that_is_left_is_named_with_both_sides() -> None:
    assert said(Plan("pve", steps=(GROW,)))[1:] == [
        "read again: 1 step left",
        "  plex (120): grow: rootfs.size: 8G -> 12G",
    ]


def test_what_fleet_may_not_change_is_left_and_named() -> None:
    assert said(Plan("pve", notes=(LOCKED,)))[1:] == [
        "read again: nothing more to do, but the host is not as hosts.yml says",
        "  loki (130): locked: Proxmox holds lock: create",
    ]


def test_what_is_as_declared_or_not_ours_is_no_rest() -> None:
    notes = (Note("swag (100)", Why.UNCHANGED, "running"), Note("x (900)", Why.UNMANAGED, "not in hosts.yml"))
    assert said(Plan("pve", notes=notes))[-1] == "read again: the host is as hosts.yml says"


PENDING = Note("web (100)", Why.PENDING, "effective after a restart: features")
RUNS = Note("db (101)", Why.NEEDS_RESTART, "it is running, hosts.yml wants it stopped")
VOLUME = Note("web (100)", Why.BY_HAND, "its volume is left attached")


def test_what_waits_for_a_restart_is_named_and_not_called_as_declared() -> None:
    assert said(Plan("pve", notes=(PENDING, RUNS)))[1:] == [
        "read again: the host is as hosts.yml says, except for what waits for --restart",
        "  web (100): pending: effective after a restart: features",
        "  db (101): needs restart: it is running, hosts.yml wants it stopped",
    ]
    assert said(Plan("pve", notes=(PENDING, LOCKED)))[1:] == [
        "read again: nothing more to do, but the host is not as hosts.yml says",
        "  web (100): pending: effective after a restart: features",
        "  loki (130): locked: Proxmox holds lock: create",
    ]


def test_the_last_lines_say_what_was_reached_where_that_is_not_the_whole_of_hosts_yml() -> None:
    gone = run_lines((), Plan("pve"), 1.0, "web is gone; hosts.yml still has it")
    assert [line.text for line in gone][1:] == ["read again: web is gone; hosts.yml still has it"]


@pytest.mark.parametrize(
    ("note", "code"),
    [
        (PENDING, ExitCode.DONE),
        (RUNS, ExitCode.DONE),
        (LOCKED, ExitCode.SOME_FAILED),
        (VOLUME, ExitCode.SOME_FAILED),
        (Note("x (102)", Why.REFUSED, "it exists, but fleet does not manage it"), ExitCode.REFUSED),
    ],
)
def test_the_exit_code_tells_what_is_left_from_what_only_waits_for_a_restart(note: Note, code: int) -> None:
    left = Plan("pve", notes=(note,))
    assert Run(Plan("pve", steps=(GROW,)), (), left, 1.0).exit_code == code
    assert left.differs
    data = run_data((), left, 1.0, code)
    assert data["notes"] == [{"subject": note.subject, "why": note.why, "text": note.text}]


def test_a_plan_without_steps_or_such_notes_differs_in_nothing() -> None:
    assert Plan("pve", steps=(GROW,)).differs
    assert not Plan("pve", notes=(Note("swag (100)", Why.UNCHANGED, "running"),)).differs
