"""The last lines of a run say whether the host is now as hosts.yml says, and what is left where it is not."""

from __future__ import annotations

from fleet.core.plan import Difference, Note, Plan, Step, Why
from fleet.render.run import run_lines

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
