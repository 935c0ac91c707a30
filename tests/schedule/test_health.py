"""Late is what has no backup since the last time at which one was due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fleet.backups.health import due_of, health
from fleet.backups.run import pool_alarms, pool_warnings
from fleet.domains.backup.ages import COPY_GRACE, GRACE, ages
from fleet.domains.backup.items import Archive, Of, Pool, Proof
from fleet.domains.backup.spec import Drill, Keep, Replica
from fleet.schedule.calendar import last_due, parse
from fleet.schedule.jobs import drilled_at_once
from tests.domains.backup_values import (
    ARCHIVES,
    DAY,
    ID,
    NOW,
    at,
    bind,
    daily,
    facts,
    guest,
    section,
    spec,
    subject_of,
    volume,
    zfs,
)

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


def late(now: int, made: int, **wanted: object) -> list[str]:
    """The kinds that are late of a guest whose backups of every kind are of this time."""
    subject = subject_of(BOUND, **wanted)
    policy = spec(subject, replicas={"usb": Replica("usb", "usb/replica", None, "04:00", Keep(last=2))})
    volid = "backups:backup/vzdump-lxc-101-x.tar.zst"
    archive = Archive(volid, 101, made, 1, notes=f"fleet: owner={ID} set=x")
    found = facts([BOUND], [zfs(ROOT, "fleet-daily-20261122t070000z", made)], now=now)
    found = replace(
        found,
        archives={"backups": (archive,)},
        recorded=found.recorded | {volid},
        sent={(ROOT, "usb"): made},
    )
    return [age.what for age in ages(subject, policy, found, due_of(policy)) if age.late]


def test_a_backup_older_than_the_last_due_time_is_late_but_not_at_once() -> None:
    due = last_due(parse("02:00"), ZoneInfo("UTC"), NOW)
    assert due is not None
    assert late(due + GRACE + 60, due - 60) == ["snapshot"]
    assert late(due + GRACE - 60, due - 60) == []
    assert late(due + GRACE + 60, due + 60) == []


def test_each_kind_is_late_by_its_own_schedule_whatever_the_others_are() -> None:
    due = last_due(parse("03:00"), ZoneInfo("UTC"), NOW)
    assert due is not None
    both = {"archives": ARCHIVES, "replicas": ("usb",)}
    # The replica of 04:00 is of the snapshot of 02:00, and that is what it should be.
    assert late(due + COPY_GRACE + 2 * 3600, due - 3600, **both) == ["archive"]
    assert late(due + COPY_GRACE + 2 * 3600, due - 2 * 3600, **both) == ["snapshot", "archive", "usb"]
    assert late(due + COPY_GRACE - 60, due - 3600, **both) == []


def test_what_is_half_done_is_no_newest_backup() -> None:
    half = section("fleet-daily-20261122t070000z", at(0), state="prepare")
    whole = section("fleet-daily-20261120t070000z", at(2))
    plain = guest(101, snapshots=(whole, half))
    parts = [zfs(ROOT, each.name, each.time) for each in (whole, half)]
    found = health(spec(subject_of(plain)), facts([plain], parts))
    assert found.newest == 2 * DAY
    assert found.late == ("ct101",)


def test_archives_that_were_not_looked_for_are_neither_there_nor_missing() -> None:
    subject = subject_of(BOUND, archives=ARCHIVES)
    made = facts([BOUND], [daily(ROOT, 0)])
    assert health(spec(subject), made).never == ()
    assert health(spec(subject), replace(made, archives={"backups": ()})).never == ("ct101 (archive)",)
    assert not health(spec(subject), made, ("the archives on backups could not be listed",)).good


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


def test_where_there_is_no_backup_yet_no_restore_is_asked_to_be_proven() -> None:
    policy = spec(subject_of(BOUND), drill=Drill((9900, 9909), 30 * DAY))
    found = health(policy, facts([BOUND]))
    assert (found.never, found.unproven) == (("ct101",), ())


def test_an_archive_that_no_drill_restored_is_named_though_the_snapshot_was() -> None:
    subject = subject_of(BOUND, archives=ARCHIVES)
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


@pytest.mark.parametrize(
    ("capacity", "warned", "alarmed"), [(79, 0, 0), (80, 1, 0), (89, 1, 0), (90, 0, 1), (None, 0, 0)]
)
def test_a_pool_that_fills_up_is_a_warning_and_then_an_alarm(
    capacity: int | None, warned: int, alarmed: int
) -> None:
    pool = Pool("tank", "ONLINE", capacity, 1)
    assert (len([*pool_warnings([pool])]), len([*pool_alarms([pool])])) == (warned, alarmed)
