"""Archives on values: who is dumped, what counts as dumped, and what may be removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from fleet.core.plan import Impact, Step
from fleet.domains.backup import archives
from fleet.domains.backup.archives.steps import pin
from fleet.domains.backup.assemble import archive_items
from fleet.domains.backup.items import Archive, BackupFacts
from fleet.domains.backup.names import snapshot_name
from fleet.domains.backup.spec import ArchivePolicy, Brake, Keep, Subject
from tests.domains.backup_values import ID, NOW, at, facts, guest, spec

SET = snapshot_name("dump", NOW)
POLICY = ArchivePolicy("03:00", Keep(last=2), "backups")
OTHER = "f" * 32


def subject(vmid: int = 101, **changes: object) -> Subject:
    """A critical guest."""
    made = Subject(f"ct{vmid}", vmid, critical=True, archives=POLICY)
    return replace(made, **changes)  # type: ignore[arg-type]


def archive(
    days_ago: int,
    vmid: int = 101,
    *,
    owner: str = ID,
    protected: bool = True,
    size: int = 1000,
    more: str = "",
) -> Archive:
    """An archive of fleet's."""
    made = at(days_ago)
    return Archive(
        volid=f"backups:backup/vzdump-lxc-{vmid}-{made}.tar.zst",
        vmid=vmid,
        created=made,
        size=size,
        notes=f"fleet: owner={owner} set={snapshot_name('dump', made)} ct{vmid}{more}",
        protected=protected,
    )


def by_hand(days_ago: int, vmid: int = 101) -> Archive:
    """An archive that somebody made in the web interface."""
    return replace(archive(days_ago, vmid), volid=f"backups:backup/by-hand-{vmid}-{days_ago}", notes="ct101")


def node(found: Iterable[Archive] = (), **changes: object) -> BackupFacts:
    """A node with container 101 and these archives, all of ours in the record."""
    found = tuple(found)
    recorded = frozenset(each.volid for each in found if ID in each.notes)
    made = facts([guest(101), guest(102)])
    return replace(
        made,
        **{"archives": {"backups": found}, "recorded": made.recorded | recorded, **changes},  # type: ignore[arg-type]
    )


def removed(found: BackupFacts, **options: object) -> list[str]:
    """The archives that a run would remove."""
    pruning = archives.prune(spec(subject()), [subject()], found, **{"this_run": SET, **options})  # type: ignore[arg-type]
    return [step.id.removeprefix("remove ") for step in pruning.part.steps]


def words(step: Step) -> tuple[str, ...]:
    (command,) = step.do
    return tuple(map(str, command.words))


# ── dumping ───────────────────────────────────────────────────────────────────────────────────────


def test_each_guest_with_archives_is_a_step_of_its_own() -> None:
    planned = archives.dump([subject(101), subject(102), Subject("plain", 103)], node(), SET)
    assert [step.id for step in planned.part.steps] == ["dump ct101", "dump ct102"]
    assert words(planned.part.steps[0]) == ("fleet_dump", SET, "101", "backups", "snapshot", "zstd", "")
    assert not planned.refused


def test_mode_compress_and_bwlimit_are_the_policys() -> None:
    policy = replace(POLICY, mode="stop", compress="gzip", bwlimit=5000)
    (step,) = archives.dump([subject(archives=policy)], node(), SET).part.steps
    assert words(step)[4:] == ("stop", "gzip", "5000")
    assert step.impact is Impact.OFFLINE


def test_a_guest_that_is_not_on_this_node_is_a_failure_not_an_empty_success() -> None:
    planned = archives.dump([subject(199)], node(), SET)
    assert not planned.part.steps
    assert "no guest 199" in planned.refused["ct199"]


def test_an_excluded_guest_is_not_dumped() -> None:
    assert not archives.dump([subject(exclude="throw-away")], node(), SET).part.steps


def test_the_second_plan_of_a_run_is_empty() -> None:
    found = node([archive(0)])
    assert archives.dumped(subject(), found, SET) == ""
    assert not archives.dump([subject()], found, SET).part.steps


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (archive(1), "no archive"),
        (archive(0, size=0), "empty"),
        (archive(0, protected=False), "not protected"),
        (archive(0, owner=OTHER), "no archive"),
    ],
)
def test_only_a_whole_archive_of_ours_and_of_this_run_counts(made: Archive, why: str) -> None:
    assert why in archives.dumped(subject(), node([made]), SET)


def test_an_archive_that_is_not_in_the_record_does_not_count() -> None:
    assert archives.dumped(subject(), node([archive(0)], recorded=frozenset()), SET)


def test_a_storage_that_could_not_be_listed_says_nothing_of_its_archives() -> None:
    assert "unknown" in archives.dumped(subject(), node(archives={}), SET)


def test_a_guest_with_as_many_protected_archives_as_are_allowed_is_refused_with_the_right_number() -> None:
    planned = archives.dump([subject()], node([archive(1), archive(2)], protected_limits={"backups": 2}), SET)
    assert not planned.part.steps
    assert "max-protected-backups is 2" in planned.refused["ct101"]
    assert "pvesm set backups --max-protected-backups 3" in planned.refused["ct101"]


def test_a_limit_below_the_policy_is_said_before_it_is_reached() -> None:
    for limit, said in ((2, True), (3, False)):
        found = node([archive(1)], protected_limits={"backups": limit})
        planned = archives.dump([subject()], found, SET)
        assert [step.id for step in planned.part.steps] == ["dump ct101"]
        assert ("ct101" in archives.too_few([subject()], found)) is said
        assert any("max-protected-backups 3" in note.text for note in planned.part.notes) is said


def test_what_others_protect_and_what_is_pinned_needs_a_place_of_its_own() -> None:
    pinned = archive(3, more=" fleet: pinned=2099-01-31")
    found = node([archive(1), pinned, by_hand(4)], protected_limits={"backups": 3})
    assert "--max-protected-backups 5" in archives.dump([subject()], found, SET).refused["ct101"]


def test_keeping_all_needs_a_storage_without_a_limit() -> None:
    policy = replace(POLICY, keep=Keep(all=True))
    found = node(protected_limits={"backups": 50})
    assert "--max-protected-backups -1" in archives.too_few([subject(archives=policy)], found)["ct101"]


# ── removing ──────────────────────────────────────────────────────────────────────────────────────


def test_the_policy_counts_only_ours_and_the_oldest_goes() -> None:
    found = node([archive(n) for n in range(4)] + [by_hand(5), by_hand(6)])
    assert set(removed(found)) == {archive(2).volid, archive(3).volid}


def test_a_foreign_archive_is_never_removed() -> None:
    found = node([archive(0), archive(1), archive(2, owner=OTHER), archive(3, owner=OTHER), by_hand(4)])
    assert removed(found) == []


def test_notes_alone_make_no_archive_ours() -> None:
    found = node([archive(n) for n in range(5)], recorded=frozenset({archive(0).volid, archive(4).volid}))
    assert removed(found) == []


def test_a_pinned_archive_stays_and_does_not_count() -> None:
    pinned = archive(3, more=" fleet: pinned=2099-01-31")
    past = archive(4, more=" fleet: pinned=2020-01-31")
    found = node([archive(0), archive(1), archive(2), pinned, past])
    assert set(removed(found)) == {archive(2).volid, past.volid}


@pytest.mark.parametrize(
    ("notes", "until", "after"),
    [
        ("fleet: owner=x set=y web", "2099-01-31", "fleet: owner=x set=y web fleet: pinned=2099-01-31"),
        ("mark\nmy own\nlines", "2099-01-31", "mark fleet: pinned=2099-01-31\nmy own\nlines"),
        ("mark fleet: pinned=2027-01-31\nx fleet: pinned=2028-01-31", "-", "mark\nx"),
        ("mark fleet: pinned=2027-01-31 end", "2099-01-31", "mark end fleet: pinned=2099-01-31"),
    ],
)
def test_an_archive_is_pinned_in_the_first_line_of_its_notes_and_the_rest_stays(
    notes: str, until: str, after: str
) -> None:
    item = archive_items(subject(), node([archive(1)]))[0]
    assert words(pin(item, notes, until))[-2:] == ("--notes", after)


def test_nothing_is_removed_of_a_guest_whose_archive_failed() -> None:
    assert removed(node([archive(n) for n in range(4)]), failed={"ct101"}) == []


def test_nothing_is_removed_where_a_listing_was_not_whole() -> None:
    assert removed(node([archive(n) for n in range(4)], complete=False)) == []


def test_the_brake_stops_a_flood_until_the_operator_agrees() -> None:
    found = node([archive(n) for n in range(9)])
    policy = spec(subject(), brake=Brake(count=3))
    pruning = archives.prune(policy, [subject()], found, this_run=SET)
    assert not pruning.part.steps
    assert "ct101" in pruning.braked
    agreed = archives.prune(policy, [subject()], found, this_run=SET, allowed=7)
    assert len(agreed.part.steps) == 7


def test_an_empty_archive_takes_no_place_of_a_real_one() -> None:
    found = node([archive(0, size=0), archive(1), archive(2)])
    assert removed(found, this_run="") == []


def test_a_removal_names_exactly_one_archive_and_its_time() -> None:
    found = node([archive(n) for n in range(3)])
    (step,) = archives.prune(spec(subject()), [subject()], found, this_run=SET).part.steps
    old = archive(2)
    set_, created = snapshot_name("dump", old.created), str(old.created)
    assert words(step) == (
        "fleet_drop_archive",
        set_,
        "backups",
        "101",
        old.volid,
        created,
        "beyond every rule",
    )
    assert [check.command.words[0] for check in step.expect] == ["fleet_archive_removable"]
