"""What a run takes and removes, on values: methods, ownership, and who may never be removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.backups.choice import snapshotted
from fleet.core.command import Command
from fleet.core.errors import UsageError
from fleet.core.plan import Step, Why
from fleet.domains.backup.assemble import items
from fleet.domains.backup.items import Kind
from fleet.domains.backup.method import method_of
from fleet.domains.backup.names import parse_name, snapshot_name
from fleet.domains.backup.owners import probable_owner
from fleet.domains.backup.snapshots import steps
from fleet.domains.backup.snapshots.plan import apart, residue, rotate, take, taken
from fleet.domains.backup.spec import Brake, Keep, SnapshotPolicy, Subject
from tests.domains.backup_values import (
    ARCHIVES,
    ID,
    NOW,
    POLICY,
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

NAME = snapshot_name("daily", NOW)
ROOT = "tank/guests/subvol-101-disk-0"


def words(step: Step) -> tuple[str, ...]:
    (command,) = step.do
    assert isinstance(command, Command)
    return tuple(map(str, command.words))


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_carries_its_label_and_utc_time() -> None:
    assert NAME == "fleet-daily-20261122t175320z"
    assert parse_name(NAME) == ("daily", NOW)
    assert parse_name("fleet-daily-20261399t175320z") is None


@pytest.mark.parametrize("label", ["", "Daily", "a-b", "a" * 17, "1st", "a@b", "a b"])
def test_a_label_that_no_name_can_hold_is_an_error(label: str) -> None:
    with pytest.raises(ValueError, match="no label"):
        snapshot_name(label, NOW)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────


def test_proxmox_takes_the_snapshot_where_it_can() -> None:
    assert method_of(guest(), POLICY).kind is Kind.PCT
    assert method_of(guest(101, volume(kind="lvmthin")), POLICY).kind is Kind.PCT


def test_a_bind_mount_means_zfs_and_a_freeze() -> None:
    method = method_of(guest(101, volume(), bind()), POLICY)
    assert (method.kind, method.freeze) == (Kind.ZFS, True)
    assert "mp0 is a bind mount" in method.why


@pytest.mark.parametrize(
    ("state", "freeze"),
    [
        (guest(101, volume(), bind(), running=False), False),
        (guest(101, volume(), bind(), fuse=True), False),
        (guest(101, volume(), fuse=True), False),
    ],
)
def test_what_is_stopped_or_may_hang_is_not_frozen(state: object, freeze: bool) -> None:
    method = method_of(state, POLICY)  # type: ignore[arg-type]
    assert (method.kind, method.freeze) == (Kind.ZFS, freeze)


def test_where_nothing_can_snapshot_there_is_no_method_and_the_reason() -> None:
    method = method_of(guest(101, volume(kind="dir", storage="local"), bind()), POLICY)
    assert method.kind is None
    assert "rootfs is on local (dir), which has no snapshots" in method.why
    assert "rootfs is on local (dir), which is not ZFS" in method.why


def test_a_template_is_not_snapshotted() -> None:
    assert method_of(guest(template=True), POLICY).kind is None


@pytest.mark.parametrize(("said", "kind"), [("zfs", Kind.ZFS), ("pct", Kind.PCT), ("vzdump", None)])
def test_hosts_yml_can_say_the_method(said: str, kind: Kind | None) -> None:
    assert method_of(guest(), replace(POLICY, method=said)).kind is kind


def test_a_method_that_is_not_possible_is_not_replaced_by_another() -> None:
    assert method_of(guest(101, volume(), bind()), replace(POLICY, method="pct")).kind is None


# ── taking ────────────────────────────────────────────────────────────────────────────────────────


def test_all_that_zfs_takes_is_one_step_and_shared_datasets_are_taken_once() -> None:
    one, two = guest(101, volume(), bind()), guest(102, volume(vmid=102), bind())
    data = Subject("tank/data", None, snapshots=POLICY)
    taking = take([subject_of(one), subject_of(two), data], facts([one, two]), NAME)
    (step,) = taking.part.steps
    assert words(step)[1:] == (
        NAME,
        "5",
        f"101 freeze {ROOT}",
        "102 freeze tank/guests/subvol-102-disk-0",
        "- run tank/data",
    )


def test_guests_of_proxmox_own_way_are_one_step_too() -> None:
    one, two = guest(101), guest(102, kind="qemu")
    taking = take([subject_of(one), subject_of(two)], facts([one, two]), NAME)
    (step,) = taking.part.steps
    assert words(step)[3:] == (f"101 pct {ROOT}", "102 qm tank/guests/subvol-102-disk-0")


def test_never_two_methods_on_one_guest() -> None:
    states = [guest(101), guest(102, volume(vmid=102), bind()), guest(103, volume(vmid=103), fuse=True)]
    taking = take([subject_of(each) for each in states], facts(states), NAME)
    taken_by = [word.split()[0] for step in taking.part.steps for word in words(step)[3:]]
    assert sorted(taken_by) == ["101", "102", "103"]


def test_who_is_excluded_is_skipped_with_the_written_reason() -> None:
    state = guest()
    taking = take([subject_of(state, exclude="can be made anew")], facts([state]), NAME)
    assert not taking.part.steps
    assert taking.skipped == {"ct101": "excluded: can be made anew"}


def test_archives_excuse_no_guest_of_which_a_snapshot_has_become_impossible() -> None:
    odd = guest(101, volume(), volume("mp9", kind="dir", storage="local"), bind(key="mp8"))
    taking = take([subject_of(odd, archives=ARCHIVES)], facts([odd]), NAME)
    assert not taking.skipped
    assert "mp9 is on local (dir)" in taking.refused["ct101"]
    assert "method: vzdump" in taking.refused["ct101"]


def test_skipped_is_only_a_template_and_whom_hosts_yml_itself_gives_archives_instead() -> None:
    on_dir = guest(101, volume(kind="dir", storage="local"))
    for subject in (
        subject_of(on_dir, archives=ARCHIVES, folder="local"),
        subject_of(on_dir, archives=ARCHIVES, snapshots=replace(POLICY, method="vzdump")),
        subject_of(on_dir, archives=ARCHIVES, snapshots=None),
    ):
        taking = take([subject], facts([on_dir]), NAME)
        assert (set(taking.skipped), taking.refused) == ({"ct101"}, {})
    template = guest(101, template=True)
    assert set(take([subject_of(template)], facts([template]), NAME).skipped) == {"ct101"}
    assert set(take([subject_of(on_dir, folder="local")], facts([on_dir]), NAME).refused) == {"ct101"}


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        (Subject("gone", 999, snapshots=POLICY), "no guest 999"),
        (Subject("ct101", 101), "no policy"),
        (Subject("tank/other", None, snapshots=POLICY), "no such dataset"),
    ],
)
def test_what_is_wanted_and_not_possible_is_refused(subject: Subject, says: str) -> None:
    taking = take([subject], facts([guest()]), NAME)
    assert says in taking.refused[subject.name]
    assert taking.part.notes[0].why is Why.REFUSED


@pytest.mark.parametrize("lock", ["migrate", "rollback", "create", "snapshot-delete"])
def test_a_guest_whose_volumes_may_change_is_refused(lock: str) -> None:
    state = guest(lock=lock)
    assert lock in take([subject_of(state)], facts([state]), NAME).refused["ct101"]


def test_a_deletion_that_broke_off_is_said_with_its_repair() -> None:
    state = guest(lock="snapshot-delete")
    assert "pct unlock 101" in take([subject_of(state)], facts([state]), NAME).refused["ct101"]


def test_a_selection_of_which_nothing_can_be_taken_is_an_error_with_the_reasons() -> None:
    nothing = Subject("tank/backups", None, exclude="holds the archives")
    with pytest.raises(UsageError, match="tank/backups: excluded: holds the archives"):
        snapshotted([nothing])
    with pytest.raises(UsageError, match="ct101: archives only"):
        snapshotted([nothing, subject_of(guest(), archives=ARCHIVES, snapshots=None)])
    something = subject_of(guest())
    assert snapshotted([nothing, something]) == (nothing, something)


# ── what a fresh read shows ───────────────────────────────────────────────────────────────────────


def test_a_snapshot_counts_as_taken_only_if_it_is_whole_ours_and_atomic() -> None:
    state = guest(101, volume(), volume("mp1", number=1), bind())
    subject = subject_of(state)
    first, second = zfs(ROOT, NAME, NOW), zfs("tank/guests/subvol-101-disk-1", NAME, NOW)
    assert taken(subject, facts([state], [first, second]), NAME) == ""
    assert "not there" in taken(subject, facts([state]), NAME)
    assert "lacks tank/guests/subvol-101-disk-1" in taken(
        subject, facts([state], [first, zfs("tank/guests/subvol-101-disk-1", "other", NOW)]), NAME
    )
    assert "at once" in taken(subject, facts([state], [first, replace(second, createtxg=NOW + 1)]), NAME)
    assert "not ours" in taken(subject, facts([state], [replace(first, owner=""), second]), NAME)


def test_a_half_done_snapshot_of_proxmox_does_not_count() -> None:
    state = guest(snapshots=(section(NAME, NOW, state="prepare"),))
    assert "half done" in taken(subject_of(state), facts([state], [zfs(ROOT, NAME, NOW)]), NAME)


def test_a_run_of_zfs_whose_snapshots_are_not_of_one_transaction_a_pool_is_said() -> None:
    one, two, own = guest(101, volume(), bind()), guest(102, volume(vmid=102), bind()), guest(103)
    subjects = [subject_of(each) for each in (one, two, own)]
    taking = take(subjects, facts([one, two, own]), NAME)
    second, third = "tank/guests/subvol-102-disk-0", "tank/guests/subvol-103-disk-0"
    made = [zfs(ROOT, NAME, NOW), zfs(second, NAME, NOW), zfs(third, NAME, NOW + 5)]
    old = [daily(ROOT, 1), daily(second, 2)]
    assert apart(taking, subjects, facts([one, two, own], [*made, *old])) == {}
    made[1] = replace(made[1], createtxg=NOW + 1)
    assert apart(taking, subjects, facts([one, two, own], [*made, *old])) == {"tank": 2}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "snapshot", "`pct unlock 101`"),
        ("", "snapshot-delete", "`pct unlock 101`, then delete that snapshot again"),
        ("snapshot", "snapshot", ""),
        ("snapshot", "", ""),
        ("", "backup", ""),
    ],
)
def test_a_lock_that_a_run_leaves_is_said_with_the_way_out(before: str, after: str, said: str) -> None:
    first, last = guest(lock=before), guest(lock=after)
    left = residue([subject_of(first)], facts([first]), facts([last]))
    assert list(left) == (["ct101"] if said else [])
    assert left.get("ct101", "").endswith(said)


# ── whose is it ───────────────────────────────────────────────────────────────────────────────────


def test_ours_is_what_carries_the_mark_is_named_so_and_stands_in_the_record() -> None:
    state = guest(101, volume(), bind())
    subject = subject_of(state)
    mine = daily(ROOT, 1)
    (item,) = items(subject, facts([state], [mine]))
    assert item.ours
    for changed, recorded in (
        (replace(mine, owner="f" * 32), {mine.path}),
        (replace(mine, owner=""), {mine.path}),
        (mine, set()),
        (replace(mine, replaced=True), {mine.path}),
    ):
        (item,) = items(subject, facts([state], [changed], recorded=frozenset(recorded)))
        assert not item.ours
    named_otherwise = zfs(ROOT, "by-hand", at(1), owner=ID)
    (item,) = items(subject, facts([state], [named_otherwise]))
    assert not item.ours


def test_a_snapshot_of_proxmox_of_which_a_part_was_replaced_is_not_ours() -> None:
    part = zfs(ROOT, NAME, NOW)
    state = guest(snapshots=(section(NAME, NOW),))
    assert [each.ours for each in items(subject_of(state), facts([state], [part]))] == [True]
    replaced = replace(part, replaced=True)
    assert [each.ours for each in items(subject_of(state), facts([state], [replaced]))] == [False]


def test_nothing_goes_of_what_is_excluded_or_has_no_policy_whatever_keep_says() -> None:
    state = guest(101, volume(), bind())
    found = facts([state], [daily(ROOT, day) for day in range(5)])
    for changes in ({"exclude": "it can be made again"}, {"snapshots": None}):
        subject = subject_of(state, **changes)
        assert not rotate(spec(subject), [subject], found, keep=Keep(last=1), allowed=99).part.steps


def test_a_snapshot_that_lacks_what_was_to_be_in_it_is_not_whole() -> None:
    other = "fast/guests/subvol-101-disk-1"
    state = guest(101, volume(), replace(volume("mp0", number=1), dataset=other), bind())
    parts = [daily(ROOT, 1), daily(ROOT, 2), daily(other, 2)]
    found = facts([state], parts)
    # The other pool failed last night: the record says that it was to be there.
    asked = replace(found, recorded=found.recorded | {f"{other}@{parts[0].name}"})
    for each, whole in ((found, [True, True]), (asked, [False, True])):
        assert [item.whole for item in items(subject_of(state), each)] == whole
    half = guest(snapshots=(section(NAME, NOW, state="prepare"),))
    assert [item.whole for item in items(subject_of(half), facts([half]))] == [False]
    (rotated,) = rotate(
        spec(subject_of(state)), [subject_of(state)], asked, keep=Keep(last=1)
    ).decisions.values()
    assert [(each.remove, each.reason) for each in rotated] == [(False, "last 1/1"), (False, "last 1/1")]


def test_the_order_of_making_is_that_of_a_dataset_which_all_of_ours_have() -> None:
    other = "tank/guests/subvol-101-disk-1"
    state = guest(101, volume(), volume("mp0", number=1), bind())
    back = [daily(each, 1, creation=at(9), createtxg=10**10) for each in (ROOT, other)]
    foreign = zfs(other, "by-hand", at(3), ours=False)
    found = items(subject_of(state), facts([state], [*back, daily(ROOT, 2), daily(other, 2), foreign]))
    assert [each.name for each in sorted(found, key=lambda each: each.order) if each.ours] == [
        daily(ROOT, 2).name,
        back[0].name,
    ]


def test_the_order_of_making_of_a_guest_without_zfs_is_that_of_its_configuration() -> None:
    thin = replace(volume(kind="lvmthin"), dataset=None)
    names = [snapshot_name("daily", at(day)) for day in (3, 2, 9)]
    made = tuple(
        section(name, at(day), parent=parent)
        for name, day, parent in zip(names, (3, 2, 9), ("", *names), strict=False)
    )
    state = guest(101, thin, snapshots=made)
    found = items(subject_of(state), facts([state]))
    assert [each.name for each in sorted(found, key=lambda each: each.order)] == names
    circle = guest(101, thin, snapshots=tuple(replace(each, parent=each.name) for each in made))
    assert len(items(subject_of(circle), facts([circle]))) == 3


def test_without_an_installation_nothing_is_ours() -> None:
    state = guest(101, volume(), bind())
    (item,) = items(subject_of(state), facts([state], [daily(ROOT, 1, owner="")], installation=""))
    assert not item.ours


def test_a_snapshot_of_proxmox_is_one_item_with_its_zfs_snapshots() -> None:
    name = snapshot_name("daily", at(1))
    state = guest(snapshots=(section(name, at(1)),))
    (item,) = items(subject_of(state), facts([state], [zfs(ROOT, name, at(1))]))
    assert (item.kind, item.ours, len(item.parts)) == (Kind.PCT, True, 1)


def test_a_snapshot_of_proxmox_with_a_foreign_description_is_not_ours() -> None:
    name = snapshot_name("daily", at(1))
    state = guest(snapshots=(section(name, at(1), owner="e" * 32),))
    (item,) = items(subject_of(state), facts([state], [zfs(ROOT, name, at(1))]))
    assert not item.ours


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("autosnap_2026-11-23_02:00:01_daily", "sanoid"),
        ("syncoid_pve_2026-11-23:02:00:01", "syncoid"),
        ("zrepl_20261123_020000_000", "zrepl"),
        ("autodaily261123020001", "cv4pve-autosnap"),
        ("rep_default_2026-11-23_02:00:00", "pve-zsync"),
        ("__replicate_100-0_1732327200__", "Proxmox replication"),
        ("vzdump", "vzdump"),
        ("before-upgrade", "manual"),
    ],
)
def test_a_foreign_snapshot_is_shown_with_its_probable_owner(name: str, owner: str) -> None:
    assert probable_owner(name) == owner


# ── removing ──────────────────────────────────────────────────────────────────────────────────────


BOUND = guest(101, volume(), bind())
TEN = [daily(ROOT, days) for days in range(10)]


def removed(rotation: object) -> set[str]:
    return {each.id for made in rotation.decisions.values() for each in made if each.remove}  # type: ignore[attr-defined]


def test_what_the_policy_no_longer_keeps_is_removed_one_by_one_with_its_guid() -> None:
    rotation = rotate(spec(subject_of(BOUND)), [subject_of(BOUND)], facts([BOUND], TEN))
    (step,) = rotation.part.steps
    gone = TEN[8:]  # keep-last=1, keep-daily=7: eight stay
    assert removed(rotation) == {each.name for each in gone}
    assert sorted(" ".join(word.split()[:3]) for word in words(step)[1:]) == sorted(
        f"101 {each.path} {each.guid}" for each in gone
    )


def test_a_failed_snapshot_removes_nothing_of_that_guest_only() -> None:
    other = guest(102, volume(vmid=102), bind())
    twin = "tank/guests/subvol-102-disk-0"
    subjects = [subject_of(BOUND), subject_of(other)]
    found = facts([BOUND, other], [*TEN, *(daily(twin, days) for days in range(10))])
    rotation = rotate(spec(*subjects), subjects, found, failed={"ct101"})
    (step,) = rotation.part.steps
    assert all(word.startswith("102 ") for word in words(step)[1:])
    assert len(words(step)) == 3


def test_an_answer_that_was_not_whole_removes_nothing() -> None:
    rotation = rotate(spec(subject_of(BOUND)), [subject_of(BOUND)], facts([BOUND], TEN, complete=False))
    assert not rotation.part.steps
    assert not removed(rotation)


def test_foreign_snapshots_are_neither_removed_nor_counted() -> None:
    foreign = [zfs(ROOT, f"by-hand-{days}", at(days) + 5, ours=False) for days in range(30)]
    rotation = rotate(spec(subject_of(BOUND)), [subject_of(BOUND)], facts([BOUND], [*TEN, *foreign]))
    assert removed(rotation) == {each.name for each in TEN[8:]}


@pytest.mark.parametrize(
    "changes", [{"userrefs": 1}, {"clones": ("tank/guests/subvol-900-disk-0",)}, {"pinned": "2099-01-01"}]
)
def test_what_is_held_cloned_or_pinned_stays(changes: dict[str, object]) -> None:
    snapshots = [*TEN[:9], replace(TEN[9], **changes)]  # type: ignore[arg-type]
    rotation = rotate(spec(subject_of(BOUND)), [subject_of(BOUND)], facts([BOUND], snapshots))
    assert TEN[9].name not in removed(rotation)


def test_a_snapshot_on_a_storage_without_zfs_is_pinned_in_the_record() -> None:
    sections = tuple(section(each.name, each.creation) for each in TEN)
    state = guest(101, volume(kind="lvmthin"), snapshots=sections)
    subject = subject_of(state)
    item = items(subject, facts([state]))[-1]
    step = steps.pin(item, 101, "2099-01-31")
    assert words(step) == ("fleet_pin", "2099-01-31", f"101@{item.name}")
    for date, stays in (("", False), ("2099-01-31", True), ("-", False)):
        read = facts([state], pins={f"101@{item.name}": date})
        assert (item.name not in removed(rotate(spec(subject), [subject], read))) is stays


def test_a_pin_that_is_over_pins_no_more() -> None:
    snapshots = [*TEN[:9], replace(TEN[9], pinned="2020-01-01")]
    rotation = rotate(spec(subject_of(BOUND)), [subject_of(BOUND)], facts([BOUND], snapshots))
    assert TEN[9].name in removed(rotation)


def test_a_locked_guest_loses_nothing() -> None:
    locked = replace(BOUND, lock="backup")
    rotation = rotate(spec(subject_of(locked)), [subject_of(locked)], facts([locked], TEN))
    assert not rotation.part.steps


def test_what_a_replica_still_needs_stays() -> None:
    common = {"ct101": {TEN[9].name: "newest common with usb"}}
    rotation = rotate(spec(subject_of(BOUND)), [subject_of(BOUND)], facts([BOUND], TEN), common=common)
    assert removed(rotation) == {TEN[8].name}
    assert any("newest common with usb" in each.reason for each in rotation.decisions["ct101"])


def test_too_many_removals_need_the_operators_number() -> None:
    many = [daily(ROOT, days) for days in range(40)]
    subject = subject_of(BOUND)
    policy = spec(subject, brake=Brake(10, 50))
    rotation = rotate(policy, [subject], facts([BOUND], many))
    assert not rotation.part.steps
    assert "--yes-remove" in rotation.braked["ct101"]
    assert rotate(policy, [subject], facts([BOUND], many), allowed=32).part.steps
    assert not rotate(policy, [subject], facts([BOUND], many), allowed=31).part.steps


def test_the_command_line_can_say_another_policy() -> None:
    rotation = rotate(spec(subject_of(BOUND)), [subject_of(BOUND)], facts([BOUND], TEN), keep=Keep(last=9))
    assert removed(rotation) == {TEN[9].name}


def test_a_guest_that_is_excluded_now_loses_nothing() -> None:
    subject = subject_of(BOUND, exclude="no longer needed")
    rotation = rotate(spec(subject), [subject], facts([BOUND], TEN))
    assert not rotation.part.steps
    assert not rotation.decisions


def test_what_proxmox_made_is_removed_through_proxmox() -> None:
    state = guest(snapshots=tuple(section(each.name, each.creation) for each in TEN))
    rotation = rotate(spec(subject_of(state)), [subject_of(state)], facts([state], TEN))
    (step,) = rotation.part.steps
    assert words(step)[0] == "fleet_drop_pct"
    why = {each.id: each.reason for each in rotation.decisions[state.name]}
    assert sorted(words(step)[2:]) == sorted(
        f"101 pct {each.name} {each.path}={each.guid} -- createtxg={each.createtxg} {why[each.name]}"
        for each in TEN[8:]
    )


def test_each_removal_says_its_rule_to_the_node_and_to_the_journal() -> None:
    rotation = rotate(spec(subject_of(BOUND)), [subject_of(BOUND)], facts([BOUND], TEN))
    (step,) = rotation.part.steps
    why = {each.id: each.reason for each in rotation.decisions["ct101"]}
    assert sorted(words(step)[1:]) == sorted(
        f"101 {each.path} {each.guid} createtxg={each.createtxg} {why[each.name]}" for each in TEN[8:]
    )
    assert {each.was: each.reason for each in step.because} == {each.name: why[each.name] for each in TEN[8:]}


def test_an_unknown_policy_keeps_all() -> None:
    policy = SnapshotPolicy("02:00", Keep(all=True))
    subject = subject_of(BOUND, snapshots=policy)
    assert not rotate(spec(subject), [subject], facts([BOUND], TEN)).part.steps
