"""Protected, excluded with a reason, or uncovered: every volume is exactly one of these."""

from __future__ import annotations

from dataclasses import replace

from fleet.domains.backup.coverage import Row, State, coverage
from fleet.domains.backup.items import BackupFacts, Of, Proof
from fleet.domains.backup.proofs import Proven
from fleet.domains.backup.spec import ArchivePolicy, Drill, Keep, Subject
from fleet.render.backups import coverage_lines
from tests.domains.backup_values import (
    DAY,
    NOW,
    POLICY,
    at,
    bind,
    daily,
    facts,
    guest,
    spec,
    subject_of,
    volume,
)

ROOT = "tank/guests/subvol-101-disk-0"
ARCHIVES = ArchivePolicy("03:00", Keep(daily=7), "backups")
PLACES = {"tank/data": "/data", "tank/data/films": "/data/films"}


def rows(found: BackupFacts, *subjects: Subject, **changes: object) -> list[Row]:
    return list(coverage(spec(*subjects, **changes), found, PLACES))


def state(found: BackupFacts, *subjects: Subject) -> list[State]:
    return [row.state for row in rows(found, *subjects)]


def test_a_guest_with_a_method_is_protected_and_its_newest_has_an_age() -> None:
    one = guest()
    (row,) = rows(facts([one], [daily(ROOT, 2, owner="")]), subject_of(one))
    assert (row.state, row.how, row.age) == (State.PROTECTED, "pct snapshot", None)
    bound = guest(101, volume(), bind())
    first, second = rows(
        facts([bound], [daily(ROOT, 2)]), subject_of(bound), Subject("tank/data", None, snapshots=POLICY)
    )[:2]
    assert (first.state, first.how, first.age) == (State.PROTECTED, "zfs snapshot, frozen", 2 * DAY)
    assert (second.state, second.how) == (State.PROTECTED, "with its dataset tank/data")


def test_a_bind_mount_is_covered_as_its_nearest_dataset_is() -> None:
    bound = guest(101, volume(), bind("/data/films/new"))
    data = Subject("tank/data", None, snapshots=POLICY)
    films = Subject("tank/data/films", None, exclude="can be bought again")
    assert state(facts([bound]), subject_of(bound), data, films)[1] is State.EXCLUDED
    assert state(facts([bound]), subject_of(bound), data)[1] is State.UNCOVERED


def test_a_bind_mount_of_a_path_on_no_declared_dataset_is_uncovered() -> None:
    bound = guest(101, volume(), bind("/database"))
    _, row, _ = rows(facts([bound]), subject_of(bound), Subject("tank/data", None, snapshots=POLICY))
    assert row.state is State.UNCOVERED
    assert "/database is on no dataset" in row.how


def test_without_policy_or_method_it_is_uncovered_with_the_reason() -> None:
    one = guest()
    assert state(facts([one]), replace(subject_of(one), snapshots=None)) == [State.UNCOVERED]
    on_dir = guest(101, volume(kind="dir", storage="local"))
    (row,) = rows(facts([on_dir]), subject_of(on_dir))
    assert row.state is State.UNCOVERED
    assert "no snapshots" in row.how
    assert state(facts([]), Subject("gone", 7, snapshots=POLICY)) == [State.UNCOVERED]
    assert state(facts([]), Subject("tank/none", None, snapshots=POLICY)) == [State.UNCOVERED]


def test_archives_cover_the_volumes_that_vzdump_takes_along() -> None:
    on_dir = guest(
        101,
        volume(kind="dir", storage="local"),
        replace(volume("mp1", kind="dir", storage="local"), backup=False),
    )
    first, second = rows(facts([on_dir]), replace(subject_of(on_dir), archives=ARCHIVES))
    assert (first.state, first.how) == (State.PROTECTED, "vzdump to backups")
    assert second.state is State.UNCOVERED
    assert "backup=1" in second.how


def test_an_excluded_guest_is_excluded_in_its_own_words() -> None:
    one = guest()
    (row,) = rows(facts([one]), subject_of(one, exclude="made anew from hosts.yml"))
    assert (row.state, row.how) == (State.EXCLUDED, "made anew from hosts.yml")


def test_a_guest_that_hosts_yml_does_not_know_is_uncovered() -> None:
    stranger = guest(900)
    (row,) = coverage(spec(), facts([stranger]), PLACES, [stranger])
    assert row.state is State.UNCOVERED
    assert "not in hosts.yml" in row.how


def test_a_restore_that_was_not_proven_for_too_long_is_said() -> None:
    one = guest()
    drill = Drill((9900, 9909), 30 * DAY)
    (never,) = rows(facts([one]), subject_of(one), drill=drill)
    assert never.proven == (Proven(Of.SNAPSHOT, None, "", True),)
    proven = {("ct101", Of.SNAPSHOT): Proof(at(31), "boots")}
    (old,) = rows(facts([one], proven=proven), subject_of(one), drill=drill)
    assert old.proven == (Proven(Of.SNAPSHOT, NOW - at(31), "boots", True),)
    proven = {("ct101", Of.SNAPSHOT): Proof(at(3), "boots")}
    (fresh,) = rows(facts([one], proven=proven), subject_of(one), drill=drill)
    assert not any(each.due for each in fresh.proven)


def test_a_clone_of_a_snapshot_proves_no_archive() -> None:
    one = guest()
    proven = {("ct101", Of.SNAPSHOT): Proof(at(3), "service")}
    subject = subject_of(one, archives=ARCHIVES)
    (row,) = rows(facts([one], proven=proven), subject, drill=Drill((9900, 9909), 30 * DAY))
    assert [(each.of, each.due) for each in row.proven] == [(Of.SNAPSHOT, False), (Of.ARCHIVE, True)]
    text = "\n".join(line.text for line in coverage_lines([row]))
    assert "3 d (service); archive never !" in text


def test_a_guest_that_is_only_archived_needs_no_proof_of_a_snapshot() -> None:
    one = guest(101, volume(kind="dir", storage="local"))
    proven = {("ct101", Of.ARCHIVE): Proof(at(3), "boots")}
    subject = subject_of(one, archives=ARCHIVES)
    (row,) = rows(facts([one], proven=proven), subject, drill=Drill((9900, 9909), 30 * DAY))
    assert [(each.of, each.due) for each in row.proven] == [(Of.ARCHIVE, False)]
