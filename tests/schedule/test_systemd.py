"""Timers: made once, kept as hosts.yml says, and never at the cost of what others made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.core.plan import Difference, Why
from fleet.host.guarded import Outcome
from fleet.schedule.plan import plan
from tests.schedule.conftest import Box, job, place

SNAPSHOT, DUMP = job(), job("fleet-pve-dump", "03:00 UTC")


def because(box: Box, *jobs: object) -> list[tuple[str, str, tuple[Difference, ...]]]:
    """Each step that would be taken: what of, what, and why."""
    steps = box.look(jobs)[1].steps  # type: ignore[arg-type]
    return [(step.subject, step.action, step.because) for step in steps]


def test_a_job_becomes_a_service_and_a_timer_that_is_on(box: Box) -> None:
    made, results = box.install([SNAPSHOT])
    assert [(step.subject, step.action) for step in made.steps] == [("fleet-pve-snapshot", "create")]
    assert [result.outcome for result in results] == [Outcome.DONE]
    assert sorted(path.name for path in box.units.iterdir()) == [
        "fleet-pve-snapshot.service",
        "fleet-pve-snapshot.timer",
    ]
    assert box.calls == [
        "daemon-reload",
        "enable fleet-pve-snapshot.timer",
        "start fleet-pve-snapshot.timer",
    ]
    timer = (box.units / "fleet-pve-snapshot.timer").read_text()
    assert "\nOnCalendar=02:00 UTC\nPersistent=true\nRandomizedDelaySec=5min\n" in timer


def test_installing_again_changes_nothing(box: Box) -> None:
    box.install([SNAPSHOT, DUMP])
    calls = box.calls
    made, results = box.install([SNAPSHOT, DUMP])
    assert (made.steps, results) == ((), ())
    assert [note.why for note in made.notes] == [Why.UNCHANGED, Why.UNCHANGED]
    assert box.calls == calls


def test_a_schedule_that_changed_is_shown_with_both_sides(box: Box) -> None:
    box.install([SNAPSHOT])
    later = job(event="04:30 UTC")
    assert because(box, later) == [
        ("fleet-pve-snapshot", "update", (Difference("OnCalendar", "02:00 UTC", "04:30 UTC"),))
    ]
    box.install([later])
    assert box.calls[-1] == "restart fleet-pve-snapshot.timer"
    assert because(box, later) == []


def test_what_was_changed_by_hand_is_put_back(box: Box) -> None:
    box.install([SNAPSHOT])
    service = box.units / "fleet-pve-snapshot.service"
    good = service.read_text()
    service.write_text(good.replace("TimeoutStartSec=3600", "TimeoutStartSec=1\nNice=19"))
    [(_, action, differences)] = because(box, SNAPSHOT)
    assert action == "update"
    assert differences == (Difference("TimeoutStartSec", "1", "3600"), Difference("Nice", "19", None))
    box.install([SNAPSHOT])
    assert service.read_text() == good


def test_a_timer_that_was_switched_off_is_switched_on(box: Box) -> None:
    box.install([SNAPSHOT])
    (box.state / "active").write_text("")
    assert because(box, SNAPSHOT) == [("fleet-pve-snapshot", "update", (Difference("timer", "off", "on"),))]
    box.install([SNAPSHOT])
    assert because(box, SNAPSHOT) == []


def test_a_unit_that_fleet_did_not_make_is_never_overwritten(box: Box) -> None:
    box.units.mkdir()
    theirs = box.units / "fleet-pve-snapshot.timer"
    theirs.write_text("[Timer]\nOnCalendar=daily\n")
    made, _ = box.install([SNAPSHOT, DUMP])
    assert [step.subject for step in made.steps] == ["fleet-pve-dump"]
    [refused] = [note for note in made.notes if note.why is Why.REFUSED]
    assert "not made by fleet" in refused.text
    assert theirs.read_text() == "[Timer]\nOnCalendar=daily\n"
    assert not (box.units / "fleet-pve-snapshot.service").exists()


def test_a_link_in_a_units_place_is_not_written_through(box: Box, tmp_path: Path) -> None:
    box.units.mkdir()
    (box.units / "fleet-pve-snapshot.timer").symlink_to(tmp_path / "elsewhere")
    _, [result] = box.install([SNAPSHOT])
    assert result.outcome is Outcome.STALE
    assert not (tmp_path / "elsewhere").exists()


def test_units_of_another_fleet_are_left_alone(box: Box, tmp_path: Path) -> None:
    other = place(tmp_path / "other", box.units)
    box.install([DUMP], other)
    made, _ = box.install([DUMP])
    assert made.steps == ()
    assert str(tmp_path / "other") in made.notes[0].text
    made, _ = box.install([])
    assert made.steps == ()
    assert len(list(box.units.iterdir())) == 2


def test_a_fleet_that_has_moved_takes_its_units_along(box: Box, tmp_path: Path) -> None:
    before = place(tmp_path / "before", box.units)
    box.install([SNAPSHOT], before)
    Path(before.hosts).unlink()
    made, [result] = box.install([SNAPSHOT])
    assert (made.steps[0].action, result.outcome) == ("update", Outcome.DONE)
    assert box.look([SNAPSHOT])[1].steps == ()


def test_only_what_was_made_for_this_inventory_is_removed(box: Box, tmp_path: Path) -> None:
    box.install([SNAPSHOT])
    box.install([DUMP], place(tmp_path / "other", box.units))
    (box.units / "fleet-of-cars.timer").write_text("[Timer]\nOnCalendar=daily\n")
    (box.units / "nightly.service").write_text("[Service]\n")
    made, results = box.install([])
    assert [(step.subject, step.action) for step in made.steps] == [("fleet-pve-snapshot", "remove")]
    assert results[0].outcome is Outcome.DONE
    assert box.calls[-2:] == ["disable --now fleet-pve-snapshot.timer", "daemon-reload"]
    assert sorted(path.name for path in box.units.iterdir()) == [
        "fleet-of-cars.timer",
        "fleet-pve-dump.service",
        "fleet-pve-dump.timer",
        "nightly.service",
    ]
    assert box.install([])[0].steps == ()


def test_a_job_that_is_no_longer_wanted_is_removed_by_the_next_install(box: Box) -> None:
    box.install([SNAPSHOT, DUMP])
    made, _ = box.install([SNAPSHOT])
    assert [(step.subject, step.action) for step in made.steps] == [("fleet-pve-dump", "remove")]


def test_what_changed_since_the_plan_is_not_overwritten(box: Box) -> None:
    made = box.look([SNAPSHOT])[1]
    box.units.mkdir()
    (box.units / "fleet-pve-snapshot.service").write_text("theirs\n")
    [result] = box.apply(made)
    assert result.outcome is Outcome.STALE
    assert (box.units / "fleet-pve-snapshot.service").read_text() == "theirs\n"
    assert not (box.units / "fleet-pve-snapshot.timer").exists()


def test_a_file_without_a_last_newline_hides_no_other(box: Box) -> None:
    box.install([SNAPSHOT])
    (box.units / "fleet-a.timer").write_text("[Timer]")
    found, made = box.look([SNAPSHOT])
    assert made.steps == ()
    assert found.files[str(box.units / "fleet-a.timer")] == "[Timer]"


def test_lines_of_an_earlier_crontab_go_when_timers_come(box: Box) -> None:
    box.boot(systemd=False)
    box.crontab.write_text("# mine\n")
    box.install([SNAPSHOT])
    box.boot(systemd=True)
    made, results = box.install([SNAPSHOT])
    assert [(step.subject, step.action) for step in made.steps] == [
        ("crontab", "remove"),
        ("fleet-pve-snapshot", "create"),
    ]
    assert {result.outcome for result in results} == {Outcome.DONE}
    assert box.crontab.read_text() == "# mine\n"


def test_a_machine_with_neither_systemd_nor_cron_is_an_error(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.boot(systemd=False)
    found = replace(box.look([])[0], cron=False)
    with pytest.raises(FleetError, match="here: nothing here runs jobs by itself"):
        plan([SNAPSHOT], box.place, found, machine="here", year=2026)


def test_variables_that_a_timer_would_miss_are_said_by_name(box: Box) -> None:
    _, made = box.look([SNAPSHOT], variables=("FLEET_NOTIFY_URL",))
    [note] = [note for note in made.notes if note.subject == "secrets"]
    assert f"FLEET_NOTIFY_URL=... into {box.place.environment}" in note.text

    environment = Path(box.place.environment)
    environment.write_text("FLEET_NOTIFY_URL='ntfys://marker-3f9a7c51@ntfy.sh'\n")
    environment.chmod(0o644)
    found, made = box.look([SNAPSHOT], variables=("FLEET_NOTIFY_URL",))
    [note] = [note for note in made.notes if note.subject == "secrets"]
    assert "chmod 600" in note.text
    assert "marker-3f9a7c51" not in repr((found, made))

    environment.chmod(0o600)
    assert not [note for note in box.look([SNAPSHOT])[1].notes if note.subject == "secrets"]


def test_a_user_whose_timers_end_with_the_session_is_told_of_linger(box: Box) -> None:
    found = box.look([SNAPSHOT])[0]
    made = plan([SNAPSHOT], box.place, replace(found, linger=False), machine="here", year=2026)
    assert any("loginctl enable-linger" in note.text for note in made.notes)


def test_a_systemd_that_does_not_answer_this_user_is_said(box: Box) -> None:
    box.boot(systemd=False)
    found = replace(box.look([SNAPSHOT])[0], booted=True)
    made = plan([SNAPSHOT], box.place, found, machine="here", year=2026)
    assert any("instead of `su`" in note.text for note in made.notes)
