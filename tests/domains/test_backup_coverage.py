"""Protected, late, never made, excluded with a reason, or uncovered: every volume is exactly one of these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from fleet.domains.backup.coverage import Row, State, coverage
from fleet.domains.backup.items import BackupFacts, HostDataset, Of, Proof
from fleet.domains.backup.proofs import Proven
from fleet.domains.backup.spec import Drill, Keep, Replica, Subject
from fleet.domains.backup.undeclared import Declared
from fleet.render.backups import coverage_lines
from tests.domains.backup_values import (
    ARCHIVES,
    DAY,
    NOW,
    POLICY,
    at,
    bind,
    daily,
    facts,
    guest,
    place,
    spec,
    subject_of,
    volume,
)

ROOT = "tank/guests/subvol-101-disk-0"
DATA = Subject("tank/data", None, snapshots=POLICY)
DECLARED = Declared(
    pools=frozenset({"tank", "usb"}),
    datasets=frozenset({"tank/data", "tank/guests"}),
    holders=frozenset({"tank/guests"}),
    targets=frozenset({"usb/replica"}),
)
GIB = 1024**3


def due(_schedule: str, now: int) -> int:
    """Everything was due a day before; within the patience of coverage that is the day before that."""
    return now - DAY


def rows(found: BackupFacts, *subjects: Subject, declared: Declared = DECLARED, **changes: Any) -> list[Row]:
    return list(coverage(spec(*subjects, **changes), found, declared, due))


def state(found: BackupFacts, *subjects: Subject, **changes: Any) -> list[State]:
    return [row.state for row in rows(found, *subjects, **changes)]


def node(found: BackupFacts, more: Iterable[HostDataset], **changes: Any) -> BackupFacts:
    """The same node with these datasets, too."""
    details = {**found.details, **{each.name: each for each in more}}
    return replace(found, details=details, datasets=frozenset(details), **changes)


def of(found: BackupFacts, *names: str, **changes: Any) -> dict[str, State]:
    """The states of the datasets of the node that hosts.yml does not declare."""
    more = [place(name) for name in names]
    made = rows(node(found, more), DATA, **changes)
    return {row.subject: row.state for row in made if row.subject != "tank/data"}


# ── guests ────────────────────────────────────────────────────────────────────────────────────────


def test_a_guest_is_protected_once_it_has_what_hosts_yml_wants() -> None:
    one = guest()
    (row,) = rows(facts([one], [daily(ROOT, 2, owner="")]), subject_of(one))
    assert (row.state, row.how, row.ages[0].seconds) == (State.NEVER, "pct snapshot", None)
    bound = guest(101, volume(), bind())
    first, second = rows(facts([bound], [daily(ROOT, 1), daily("tank/data", 1)]), subject_of(bound), DATA)[:2]
    assert (first.state, first.how, first.ages[0].seconds) == (State.PROTECTED, "zfs snapshot, frozen", DAY)
    assert (second.state, second.how) == (State.PROTECTED, "with its dataset tank/data")


def test_a_backup_that_was_due_and_is_not_there_makes_it_late() -> None:
    bound = guest(101, volume(), bind())
    made = facts([bound], [daily(ROOT, 3), daily("tank/data", 3)])
    assert state(made, subject_of(bound), DATA) == [State.LATE] * 3


def test_a_volume_that_no_snapshot_has_yet_is_not_protected_by_those_of_its_neighbour() -> None:
    wide = guest(101, volume(), volume("mp1", number=1), bind())
    first, second = rows(facts([wide], [daily(ROOT, 1)]), subject_of(wide))[:2]
    assert (first.state, second.state) == (State.PROTECTED, State.NEVER)


def test_snapshots_every_night_do_not_hide_that_archives_were_never_made() -> None:
    bound = guest(101, volume(), bind())
    made = facts([bound], [daily(ROOT, 1)], archives={"backups": ()})
    row = rows(made, subject_of(bound, archives=ARCHIVES))[0]
    assert row.state is State.NEVER
    assert {age.what: age.seconds for age in row.ages} == {"snapshot": DAY, "archive": None}


def test_a_replica_counts_by_what_was_sent_there() -> None:
    bound = guest(101, volume(), bind())
    usb = {"usb": Replica("usb", "usb/replica", None, "04:00", Keep(last=2))}
    subject = subject_of(bound, replicas=("usb",))
    made = facts([bound], [daily(ROOT, 1)])
    for sent, expected in ((None, State.NEVER), (at(9), State.LATE), (at(1), State.PROTECTED)):
        known = {(ROOT, "usb"): sent} if sent else {}
        assert rows(replace(made, sent=known), subject, replicas=usb)[0].state is expected


def test_a_volume_that_no_replica_can_have_is_not_covered_by_those_of_its_neighbour() -> None:
    mixed = guest(101, volume(), volume("mp0", kind="lvmthin", storage="lvm"))
    usb = {"usb": Replica("usb", "usb/replica", None, "04:00", Keep(last=2))}
    made = replace(facts([mixed], [daily(ROOT, 1)]), sent={(ROOT, "usb"): at(1)})
    row = rows(made, subject_of(mixed, replicas=("usb",)), replicas=usb)[1]
    assert (row.volume, row.ages[-1].what, row.ages[-1].seconds) == ("mp0", "usb", None)
    assert row.state is State.NEVER


def test_archives_do_not_cover_up_that_a_snapshot_has_become_impossible() -> None:
    odd = guest(101, volume(), volume("mp9", kind="dir", storage="local"))
    (root, _) = rows(facts([odd], [daily(ROOT, 0)]), subject_of(odd, archives=ARCHIVES))
    assert root.state is State.UNCOVERED
    assert "mp9 is on local (dir)" in root.how


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
    first, second = rows(facts([on_dir]), subject_of(on_dir, archives=ARCHIVES, folder="local"))
    assert (first.state, first.how) == (State.PROTECTED, "vzdump to backups")
    assert second.state is State.UNCOVERED
    assert "backup=1" in second.how


def test_an_excluded_guest_is_excluded_in_its_own_words() -> None:
    one = guest()
    (row,) = rows(facts([one]), subject_of(one, exclude="made anew from hosts.yml"))
    assert (row.state, row.how) == (State.EXCLUDED, "made anew from hosts.yml")


def test_a_guest_that_hosts_yml_does_not_know_is_uncovered_until_a_reason_is_written() -> None:
    machine = guest(900, kind="qemu")
    (row,) = rows(facts([machine]))
    assert row.state is State.UNCOVERED
    assert "the VM 900 is not in hosts.yml" in row.how
    (row,) = rows(facts([machine]), excluded={"900": "can be installed anew"})
    assert (row.state, row.how) == (State.EXCLUDED, "can be installed anew")


def test_a_copy_that_fleet_restored_asks_for_no_backup() -> None:
    assert not rows(facts([guest(900, copy=True)]))


def test_a_restore_that_was_not_proven_for_too_long_is_said() -> None:
    bound = guest(101, volume(), bind())
    drill = Drill((9900, 9909), 30 * DAY)
    made = facts([bound], [daily(ROOT, 1)])
    never = rows(made, subject_of(bound), drill=drill)[0]
    assert never.proven == (Proven(Of.SNAPSHOT, None, "", True),)
    proven = {("ct101", Of.SNAPSHOT): Proof(at(31), "boots")}
    old = rows(replace(made, proven=proven), subject_of(bound), drill=drill)[0]
    assert old.proven == (Proven(Of.SNAPSHOT, NOW - at(31), "boots", True),)
    proven = {("ct101", Of.SNAPSHOT): Proof(at(3), "boots")}
    fresh = rows(replace(made, proven=proven), subject_of(bound), drill=drill)[0]
    assert not any(each.due for each in fresh.proven)


def test_a_clone_of_a_snapshot_proves_no_archive() -> None:
    bound = guest(101, volume(), bind())
    proven = {("ct101", Of.SNAPSHOT): Proof(at(3), "service")}
    row = rows(
        facts([bound], [daily(ROOT, 1)], proven=proven),
        subject_of(bound, archives=ARCHIVES),
        drill=Drill((9900, 9909), 30 * DAY),
    )[0]
    assert [(each.of, each.due) for each in row.proven] == [(Of.SNAPSHOT, False), (Of.ARCHIVE, True)]
    text = "\n".join(line.text for line in coverage_lines([row]))
    assert "3 d (service); archive never !" in text


def test_a_guest_that_is_only_archived_needs_no_proof_of_a_snapshot() -> None:
    one = guest(101, volume(kind="dir", storage="local"))
    proven = {("ct101", Of.ARCHIVE): Proof(at(3), "boots")}
    subject = subject_of(one, archives=ARCHIVES, folder="local")
    (row,) = rows(facts([one], proven=proven), subject, drill=Drill((9900, 9909), 30 * DAY))
    assert [(each.of, each.due) for each in row.proven] == [(Of.ARCHIVE, False)]


# ── what containers mount of the node ─────────────────────────────────────────────────────────────


def mounted(
    path: str, *subjects: Subject, more: Iterable[HostDataset] = (), **changes: Any
) -> tuple[State, str]:
    """The state of a bind mount of this path, on a node with these datasets, too."""
    bound = guest(101, volume(), bind(path))
    found = facts([bound], [daily("tank/data", 1), daily("tank/data/films", 1)])
    films = place("tank/data/films", "/data/films")
    found = node(replace(found, mounts=changes.pop("mounts", {})), [films, *more])
    row = rows(found, subject_of(bound), DATA, *subjects, **changes)[1]
    return row.state, row.how


FILMS = Subject("tank/data/films", None, snapshots=POLICY)
NO_FILMS = Subject("tank/data/films", None, exclude="can be bought again")


def test_a_bind_mount_is_covered_as_the_deepest_dataset_that_exists_there() -> None:
    assert mounted("/data/films/new", NO_FILMS)[0] is State.EXCLUDED
    assert mounted("/data/films/new", FILMS)[0] is State.PROTECTED
    assert mounted("/data/films/new")[0] is State.UNCOVERED
    assert mounted("/data/papers")[0] is State.PROTECTED


def test_a_dataset_that_nothing_takes_makes_what_it_is_mounted_in_uncovered() -> None:
    mixed, how = mounted("/data")
    assert mixed is State.UNCOVERED
    assert "tank/data/films" in how
    assert mounted("/data", FILMS)[0] is State.PROTECTED
    assert mounted("/data", NO_FILMS)[0] is State.PROTECTED
    assert mounted("/data", excluded={"tank/data/films": "can be bought again"})[0] is State.PROTECTED


def test_another_file_system_mounted_in_a_dataset_is_not_covered_by_it() -> None:
    found, how = mounted("/data/nas/x", mounts={"/data/nas": "nas:/export (nfs4)"})
    assert found is State.UNCOVERED
    assert "nas:/export (nfs4)" in how
    assert mounted("/elsewhere")[0] is State.UNCOVERED
    assert mounted("/elsewhere", excluded={"/elsewhere": "a scratch disk"}) == (
        State.EXCLUDED,
        "a scratch disk",
    )


def test_a_dataset_that_is_not_mounted_covers_nothing_at_its_mountpoint() -> None:
    gone = place("tank/data", mounted="")
    assert mounted("/data/papers", more=[gone], mounts={"/": "/dev/sda1 (ext4)"})[0] is State.UNCOVERED


def test_a_device_of_the_node_is_uncovered_until_a_reason_is_written() -> None:
    found, how = mounted("/dev/sdb1")
    assert found is State.UNCOVERED
    assert "/dev/sdb1: reason" in how
    assert mounted("/dev/sdb1", excluded={"/dev/sdb1": "the backup disk"})[0] is State.EXCLUDED
    volume = Subject("tank/vol", None, snapshots=POLICY)
    assert mounted("/dev/zvol/tank/vol", volume, more=[place("tank/vol", mounted="")])[0] is State.NEVER


# ── datasets that hosts.yml does not declare ──────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["tank/undeclared", "tank/data/films", "tank/guests/backup-of-mine"])
def test_a_dataset_that_nothing_takes_is_uncovered(name: str) -> None:
    assert of(facts(), name) == {name: State.UNCOVERED}
    assert of(facts(), name, excluded={name: "scratch"}) == {name: State.EXCLUDED}


def test_folders_of_datasets_volumes_of_guests_and_copies_are_not_uncovered() -> None:
    assert not of(facts(), "usb", "usb/replica", "tank/guests/vm-900-disk-0", "tank/guests/base-901-disk-0")
    copies = [
        place("usb/replica/tank:data", copy=True),
        place("tank/data-restored", copy=True),
        place("tank/guests/fleet-before-20261122t175320z.subvol-101-disk-0", copy=True),
    ]
    assert state(node(facts(), copies)) == []


def test_below_a_volume_of_a_guest_nothing_is_taken() -> None:
    name = "tank/guests/subvol-101-disk-0/inner"
    assert of(facts([guest()]), name)[name] is State.UNCOVERED


def test_a_folder_that_holds_data_itself_is_uncovered() -> None:
    found = node(facts(), [place("tank", own=5 * GIB)])
    (row,) = rows(found)
    assert (row.subject, row.state) == ("tank", State.UNCOVERED)
    assert "5120 MiB" in row.how
    assert state(found, excluded={"tank": "old"}) == [State.EXCLUDED]


def test_a_whole_branch_is_one_row() -> None:
    layers = [place("tank/docker"), *(place(f"tank/docker/{number}") for number in range(300))]
    (row,) = rows(node(facts(), layers))
    assert row.subject == "tank/docker"
    assert "300 below it" in row.how
    (row,) = rows(node(facts(), layers), excluded={"tank/docker": "layers, pulled again"})
    assert row.state is State.EXCLUDED


def test_a_declared_dataset_below_keeps_its_branch_from_being_one_row() -> None:
    deep = Declared(pools=frozenset({"tank"}), datasets=frozenset({"tank/a/b/c"}))
    found = node(facts(), [place(f"tank/{name}") for name in ("a", "a/b", "a/b/c", "a/x", "a/x/y")])
    names = {row.subject for row in rows(found, declared=deep)} - {"tank/data", "tank/guests"}
    assert names == {"tank/a/x"}


def test_the_system_of_the_node_and_pools_that_hosts_yml_does_not_use_drown_nobody() -> None:
    system = [
        place(f"rpool{name}") for name in ("", "/ROOT", "/ROOT/pve-1", "/swap", "/var-lib-vz", "/photos")
    ]
    assert not rows(node(facts(), system))
    used = replace(DECLARED, pools=DECLARED.pools | {"rpool"})
    assert {row.subject: row.state for row in rows(node(facts(), system), declared=used)} == {
        "rpool/ROOT": State.EXCLUDED,
        "rpool/swap": State.EXCLUDED,
        "rpool/var-lib-vz": State.EXCLUDED,
        "rpool/photos": State.UNCOVERED,
    }
