"""Late is what has no backup since the last time at which one was due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fleet.backups.health import GRACE, health, is_late
from fleet.domains.backup.items import Of, Proof
from fleet.domains.backup.spec import ArchivePolicy, Drill, Keep
from fleet.schedule.calendar import last_due, parse
from fleet.schedule.jobs import drilled_at_once
from tests.domains.backup_values import DAY, NOW, at, bind, daily, facts, guest, spec, subject_of, volume

ROOT = "tank/guests/subvol-101-disk-0"
BOUND = guest(101, volume(), bind())


def when(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("schedule", "zone", "now", "due"),
    [
        ("02:00", "UTC", "2026-11-23 01:59", "2026-11-22 02:00"),
        ("02:00", "UTC", "2026-11-23 02:00", "2026-11-23 02:00"),
        ("02:00", "America/New_York", "2026-11-23 06:59", "2026-11-22 07:00"),
        ("sun 03:30", "UTC", "2026-11-23 12:00", "2026-11-22 03:30"),
        ("*-*-01 04:00", "UTC", "2026-11-23 12:00", "2026-11-01 04:00"),
        ("*:0/15", "UTC", "2026-11-23 12:14", "2026-11-23 12:00"),
        ("yearly", "UTC", "2026-11-23 12:00", "2026-01-01 00:00"),
        ("02:00 Europe/Berlin", "America/New_York", "2026-11-23 01:00", "2026-11-23 01:00"),
    ],
)
def test_the_last_due_time_is_found(schedule: str, zone: str, now: str, due: str) -> None:
    assert last_due(parse(schedule), ZoneInfo(zone), when(now)) == when(due)


def test_a_date_that_never_comes_is_never_due() -> None:
    assert last_due(parse("*-02-30 04:00"), ZoneInfo("UTC"), NOW) is None


def test_a_backup_older_than_the_last_due_time_is_late_but_not_at_once() -> None:
    subject, policy = subject_of(BOUND), spec(subject_of(BOUND))
    due = last_due(parse("02:00"), ZoneInfo("UTC"), NOW)
    assert due is not None
    assert is_late(subject, DAY, policy, due + GRACE + 60)
    assert not is_late(subject, DAY, policy, due + GRACE - 60)
    assert not is_late(subject, 3600, policy, due + GRACE + 60)


def test_health_names_who_has_none_who_is_late_and_who_is_not_proven() -> None:
    other = guest(102, volume(vmid=102), bind())
    subjects = (subject_of(BOUND), subject_of(other), subject_of(guest(103), exclude="not needed"))
    policy = spec(*subjects, drill=Drill((9900, 9909), 30 * DAY))
    found = health(
        policy, facts([BOUND, other], [daily(ROOT, 3)], proven={("ct102", Of.SNAPSHOT): Proof(at(1))})
    )
    assert found.subjects == 2
    assert found.newest == 3 * DAY
    assert found.never == ("ct102",)
    assert found.late == ("ct101",)
    assert found.unproven == ("ct101",)
    assert not found.good


def test_an_archive_that_no_drill_restored_is_named_though_the_snapshot_was() -> None:
    subject = subject_of(BOUND, archives=ArchivePolicy("03:00", Keep(daily=7), "backups"))
    policy = spec(subject, drill=Drill((9900, 9909), 30 * DAY))
    one = {("ct101", Of.SNAPSHOT): Proof(at(1))}
    assert health(policy, facts([BOUND], [daily(ROOT, 0)], proven=one)).unproven == ("ct101 (archive)",)
    both = {**one, ("ct101", Of.ARCHIVE): Proof(at(1))}
    assert health(policy, facts([BOUND], [daily(ROOT, 0)], proven=both)).unproven == ()


@pytest.mark.parametrize(
    ("subjects", "schedule", "days", "number"),
    [(30, "sun 05:00", 30, 8), (3, "05:00", 30, 1), (30, "monthly", 30, 30), (0, "05:00", 30, 0)],
)
def test_a_drill_restores_so_many_that_no_proof_grows_too_old(
    subjects: int, schedule: str, days: int, number: int
) -> None:
    assert drilled_at_once(subjects, Drill((9900, 9909), days * DAY, schedule=schedule)) == number


def test_a_snapshot_of_somebody_else_is_no_backup() -> None:
    foreign = replace(daily(ROOT, 0), owner="")
    assert health(spec(subject_of(BOUND)), facts([BOUND], [foreign])).never == ("ct101",)
