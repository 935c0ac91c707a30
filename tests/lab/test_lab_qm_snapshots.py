"""Snapshots of virtual machines: the same states, locks and refusals as those of containers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
FIRST, SECOND = "rpool/data/vm-300-disk-0", "rpool/data/vm-300-disk-1"


@pytest.fixture(scope="module")
def node(lab_home: object) -> Iterator[labs.Lab]:
    yield labs.reset("machines", machine="recording-zfs")
    labs.down("machines")


@pytest.fixture
def lab(node: labs.Lab) -> Iterator[labs.Lab]:
    assert node.run("qm create 300 --name vm --memory 512 --scsi0 local-zfs:1 --scsi1 local-zfs:1")[0] == 0
    yield node
    node.run(
        "for s in $(zfs list -H -o name -t snapshot -r rpool/data); do zfs release keep $s; done; "
        "qm unlock 300; qm destroy 300"
    )


def config(lab: labs.Lab) -> str:
    return lab.run("cat /etc/pve/qemu-server/300.conf")[1]


def snapshots(lab: labs.Lab) -> list[str]:
    return lab.run("zfs list -H -o name -t snapshot -r rpool/data")[1].split()


def test_a_snapshot_has_all_disks_and_its_description(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "qm snapshot 300 one --description 'fleet: owner=a set=b'; qm snapshot 300 two")
    assert {f"{FIRST}@one", f"{SECOND}@one"} <= set(snapshots(lab))
    listed = json.loads(ok(lab, "pvesh get /nodes/pve/qemu/300/snapshot --output-format json"))
    found = {entry["name"]: entry for entry in listed}
    assert found["one"]["description"].strip() == "fleet: owner=a set=b"
    assert found["two"]["parent"] == "one" and found["current"]["parent"] == "two"
    assert "lock" not in config(lab) and "snapstate" not in config(lab)


def test_a_snapshot_that_fails_is_cleaned_up(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"zfs snapshot {SECOND}@one")
    code, out, _ = lab.run("qm snapshot 300 one")
    assert code == 255 and "snapshot create failed: starting cleanup\n" in out
    assert snapshots(lab) == [f"{SECOND}@one"]
    assert "[one]" not in config(lab) and "lock" not in config(lab)


def test_a_held_disk_leaves_the_machine_locked_and_force_drops_the_snapshot(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"qm snapshot 300 one; zfs hold keep {SECOND}@one")
    assert lab.run("qm delsnapshot 300 one")[0] == 255
    assert "lock: snapshot-delete\n" in config(lab) and "snapstate: delete\n" in config(lab)
    assert snapshots(lab) == [f"{SECOND}@one"]
    assert lab.run("qm snapshot 300 two")[2] == "VM is locked (snapshot-delete)\n"
    ok(lab, "qm unlock 300; qm delsnapshot 300 one --force 1")
    assert "[one]" not in config(lab) and "lock" not in config(lab) and "unused" not in config(lab)
    assert snapshots(lab) == [f"{SECOND}@one"]


def test_only_the_newest_can_be_rolled_back_to(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "qm snapshot 300 one; qm set 300 --memory 1024; qm snapshot 300 two")
    code, _, err = lab.run("qm rollback 300 one")
    assert code == 255 and "is not most recent snapshot on 'local-zfs:vm-300-disk-0'" in err
    ok(lab, "qm delsnapshot 300 two; qm rollback 300 one")
    assert "memory: 512\n" in config(lab).partition("\n[")[0]
    assert "parent: one\n" in config(lab) and "lock" not in config(lab)


def test_the_description_of_a_snapshot_can_be_changed(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "qm snapshot 300 one; pvesh set /nodes/pve/qemu/300/snapshot/one/config --description new")
    shown = json.loads(ok(lab, "pvesh get /nodes/pve/qemu/300/snapshot/one/config --output-format json"))
    assert shown["description"].strip() == "new"
