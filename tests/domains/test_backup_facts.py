"""What the probes' answers mean, and when they mean that nothing may be removed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fleet.core.probe import Answer
from fleet.domains.backup.facts import probes, read
from fleet.domains.backup.items import Of, Proof
from tests.domains.backup_values import guest

SNAPSHOT = "tank/guests/subvol-101-disk-0@fleet-daily-20261122t070000z"
LINE = f"{SNAPSHOT}\t123456\t77\t1795330800\t1024\t4096\t0\t-\tabc\tfleet-daily-20261122t070000z\t-"

DATASETS = "".join(
    f"{name}\t{at}\t{mounted}\t{own}\n"
    for name, at, mounted, own in (
        ("tank", "none", "no", 98304),
        ("tank/guests", "/tank/guests", "yes", 98304),
        ("tank/guests/subvol-101-disk-0", "/tank/guests/subvol-101-disk-0", "yes", 2000000),
        ("tank/guests/vm-102-disk-0", "-", "-", 3000000),
        ("tank/root", "legacy", "yes", 1000),
    )
)


def answers(**texts: str | Answer) -> Mapping[str, Answer]:
    given = {
        "clock": "1795370000\n",
        "zfs-datasets": DATASETS,
        "zfs-pools": "tank\tONLINE\t12\t1000\n",
        "zfs-snapshots": f"{LINE}\n",
        "zfs-marked": "",
        "mounts": "",
        "backup-installation": "abc\n",
        "backup-record": f"{SNAPSHOT}\n",
        "backup-pins": "101@fleet-a 2099-01-31\n102@fleet-b 2099-01-31\n102@fleet-b -\n",
        "backup-proven": "plex fleet-daily-20261101t070000z 1795000000\n"
        "plex fleet-daily-20261120t070000z 1795300000 boots\n"
        "plex backups:backup/vzdump-lxc-120-2026_11_23-03_00_00.tar.zst 1795200000\n",
        **{name.replace("_", "-"): value for name, value in texts.items()},
    }
    return {name: Answer(value, 0) if isinstance(value, str) else value for name, value in given.items()}


def test_every_answer_becomes_a_value() -> None:
    facts = read(answers(), {})
    (snapshot,) = facts.snapshots["tank/guests/subvol-101-disk-0"]
    assert (snapshot.path, snapshot.guid, snapshot.createtxg, snapshot.owner) == (
        SNAPSHOT,
        "123456",
        77,
        "abc",
    )
    assert snapshot.clones == ()
    assert snapshot.pinned == ""
    assert facts.pools["tank"].capacity == 12
    assert facts.recorded == {SNAPSHOT}
    assert facts.pins == {"101@fleet-a": "2099-01-31", "102@fleet-b": "-"}
    assert facts.proven == {
        ("plex", Of.SNAPSHOT): Proof(1795300000, "boots"),
        ("plex", Of.ARCHIVE): Proof(1795200000),
    }
    assert (facts.now, facts.installation) == (1795370000, "abc")
    assert facts.complete


def test_snapshots_come_in_the_order_in_which_they_were_made() -> None:
    later = LINE.replace("\t77\t", "\t99\t").replace("20261122", "20261120")
    facts = read(answers(zfs_snapshots=f"{later}\n{LINE}\n"), {})
    assert [each.createtxg for each in facts.snapshots["tank/guests/subvol-101-disk-0"]] == [77, 99]


def test_a_snapshot_that_two_listings_show_is_there_once() -> None:
    facts = read(answers(zfs_snapshots=f"{LINE}\n{LINE}\n"), {})
    assert len(facts.snapshots["tank/guests/subvol-101-disk-0"]) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"zfs_snapshots": Answer(f"{LINE}\n", 1)},
        {"zfs_datasets": Answer(DATASETS, 1)},
        {"zfs_datasets": f"{DATASETS}warning: something\n"},
        {"zfs_marked": Answer("", 1)},
        {"zfs_snapshots": f"{LINE[:40]}\n"},
        {"zfs_snapshots": f"{LINE}\textra\n"},
        {"zfs_snapshots": LINE.replace("\t77\t", "\tmany\t") + "\n"},
        {"zfs_snapshots": "warning: something\n" + LINE + "\n"},
        {"zfs_snapshots": Answer(f"{LINE}\n", 1), "zfs_pools": Answer("", 1)},
        {"zfs_snapshots": Answer("", 1), "zfs_pools": Answer("", 1)},
    ],
)
def test_a_listing_that_failed_or_is_not_understood_is_not_complete(changed: dict[str, str | Answer]) -> None:
    assert not read(answers(**changed), {}).complete


def test_a_mark_that_a_snapshot_may_only_have_inherited_is_none() -> None:
    for marked in ("tank\tfleet:owner\n", "tank/guests/subvol-101-disk-0\tfleet:owner\n"):
        facts = read(answers(zfs_marked=marked), {})
        (snapshot,) = facts.snapshots["tank/guests/subvol-101-disk-0"]
        assert snapshot.owner == ""
    for marked in ("tank/other\tfleet:owner\n", "tank\tfleet:replica\n"):
        (snapshot,) = read(answers(zfs_marked=marked), {}).snapshots["tank/guests/subvol-101-disk-0"]
        assert snapshot.owner == "abc"


def test_a_faulted_pool_has_no_figures_and_stops_no_reading() -> None:
    facts = read(answers(zfs_pools="tank\tONLINE\t12\t1000\nusb\tFAULTED\t-\t-\n"), {})
    assert facts.pools["usb"].health == "FAULTED"
    assert facts.pools["usb"].free is None
    assert facts.complete


def test_a_node_without_zfs_has_nothing_to_list_and_that_is_complete() -> None:
    nothing = Answer("", 127)
    facts = read(
        answers(zfs_pools=nothing, zfs_datasets=nothing, zfs_snapshots=nothing, zfs_marked=nothing), {}
    )
    assert facts.complete
    assert not facts.snapshots


def test_a_guest_on_zfs_that_does_not_answer_is_not_a_node_without_zfs() -> None:
    nothing = Answer("", 1)
    failed = answers(zfs_pools=nothing, zfs_datasets=nothing, zfs_snapshots=nothing, zfs_marked=nothing)
    assert read(failed, {}).complete
    assert not read(failed, {101: guest(101)}).complete


def test_a_snapshot_of_another_guid_than_the_record_knows_is_another_one() -> None:
    for guid, replaced in (("123456", False), ("999", True), ("-", False)):
        facts = read(answers(backup_record=f"{SNAPSHOT} {guid}\n"), {})
        (snapshot,) = facts.snapshots["tank/guests/subvol-101-disk-0"]
        assert snapshot.replaced is replaced
        assert facts.recorded == {SNAPSHOT}


def test_names_of_datasets_are_words_in_the_script() -> None:
    texts = {probe.name: probe.sh for probe in probes(["tank/data", "tank/it's"])}
    assert "'tank/it'\"'\"'s'" in texts["zfs-snapshots"]


def test_datasets_say_where_they_are_mounted_what_they_hold_and_which_are_copies() -> None:
    marked = "tank/guests/vm-102-disk-0\tfleet:restored\ntank/guests\tfleet:replica\n"
    facts = read(answers(zfs_marked=marked), {})
    assert facts.datasets == set(facts.details)
    assert facts.details["tank/guests/subvol-101-disk-0"].own == 2000000
    assert {name for name, each in facts.details.items() if each.mounted} == {
        "tank/guests",
        "tank/guests/subvol-101-disk-0",
    }
    assert {name for name, each in facts.details.items() if each.copy} == {
        "tank/guests",
        "tank/guests/vm-102-disk-0",
    }


def test_mounts_are_those_of_the_kernel_with_blanks_in_their_paths() -> None:
    facts = read(answers(mounts="/root\ttank/root\n/mnt/my\\040nas\tnas:/export (nfs4)\n"), {})
    assert facts.mounts == {"/root": "tank/root", "/mnt/my nas": "nas:/export (nfs4)"}
