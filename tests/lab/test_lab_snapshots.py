"""Snapshots of containers: frozen meanwhile, their tree, and what a deletion leaves that fails half way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
ROOT, DATA = "rpool/data/subvol-100-disk-0", "rpool/data/subvol-100-disk-1"


@pytest.fixture(scope="module")
def node(lab_home: object) -> Iterator[labs.Lab]:
    found = labs.reset("snapshots", machine="recording-zfs")
    create = f"pct create 100 {TEMPLATE} --rootfs local-zfs:1 --mp0 local-zfs:1,mp=/data --features nesting=1"
    code, out, err = found.run(create)
    assert code == 0, f"{out}{err}"
    yield found
    labs.down("snapshots")


@pytest.fixture
def lab(node: labs.Lab) -> Iterator[labs.Lab]:
    yield node
    node.faults.clear()
    node.run(
        "echo 0 > /sys/fs/cgroup/lxc/100/cgroup.freeze; pct stop 100; pct unlock 100; "
        "rm -f /etc/pve/replication.cfg; "
        f"for d in {ROOT} {DATA}; do for s in $(zfs list -H -o name -t snapshot -r $d); do "
        "zfs release keep $s; done; done; "
        "for s in $(grep -o '^\\[[a-z0-9]*' /etc/pve/lxc/100.conf | tr -d '['); do pct unlock 100; "
        "pct delsnapshot 100 $s --force; done; "
        "for s in $(zfs list -H -o name -t snapshot -r rpool/data); do zfs destroy $s; done"
    )


def config(lab: labs.Lab) -> str:
    return lab.run("cat /etc/pve/lxc/100.conf")[1]


def section(lab: labs.Lab, name: str) -> str:
    return config(lab).partition(f"\n[{name}]\n")[2].partition("\n[")[0]


def snapshots(lab: labs.Lab) -> list[str]:
    return lab.run("zfs list -H -o name -t snapshot -r rpool/data")[1].split()


def test_a_running_container_is_frozen_once_and_only_meanwhile(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct start 100")
    before = len(lab.frozen())
    ok(lab, "pct snapshot 100 one")
    ((vmid, seconds),) = lab.frozen()[before:]
    assert vmid == 100 and seconds < 5
    assert lab.still_frozen() == []
    assert {f"{ROOT}@one", f"{DATA}@one"} <= set(snapshots(lab))


def test_a_container_that_does_not_freeze_has_no_snapshot_and_no_lock(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct start 100")
    lab.faults.freeze(100, ms=None)
    code, out, err = lab.run("pct snapshot 100 one")
    assert (code, err) == (255, "command failed: Operation not permitted\n")
    assert out == "snapshot create failed: starting cleanup\n"
    assert "one" not in config(lab) and "lock" not in config(lab) and snapshots(lab) == []
    assert lab.still_frozen() == []


def test_a_snapshot_that_fails_at_its_second_volume_takes_the_first_back(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"zfs snapshot {DATA}@one")
    code, out, _ = lab.run("pct snapshot 100 one")
    assert code == 255 and "snapshot create failed: starting cleanup\n" in out
    assert snapshots(lab) == [f"{DATA}@one"]
    assert "one" not in config(lab) and "lock" not in config(lab)


def test_a_held_snapshot_leaves_the_guest_locked_and_half_deleted(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"pct snapshot 100 one; zfs hold keep {DATA}@one")
    code, _, err = lab.run("pct delsnapshot 100 one")
    assert code == 255
    assert err.startswith("zfs error: cannot destroy snapshot rpool/data/subvol-100-disk-1@one: ")
    assert snapshots(lab) == [f"{DATA}@one"]
    assert "lock: snapshot-delete\n" in config(lab)
    left = section(lab, "one")
    assert "snapstate: delete\n" in left and "mp0: " in left
    assert "rootfs" not in left and "unused0: local-zfs:subvol-100-disk-0\n" in left
    assert lab.run("pct start 100")[2] == "CT is locked (snapshot-delete)\n"
    assert lab.run("pct delsnapshot 100 one")[2] == "CT is locked (snapshot-delete)\n"
    assert lab.run("pct snapshot 100 two")[2] == "CT is locked (snapshot-delete)\n"


def test_after_unlock_a_half_deleted_snapshot_is_removed_by_force_and_may_leave_an_orphan(
    lab: labs.Lab, ok: Ok
) -> None:
    ok(lab, f"pct snapshot 100 one; zfs hold keep {DATA}@one")
    lab.run("pct delsnapshot 100 one")
    ok(lab, "pct unlock 100")
    assert "incomplete snapshot (snapstate = delete)" in lab.run("pct rollback 100 one")[2]
    assert lab.run("pct delsnapshot 100 one")[0] == 255
    ok(lab, "pct unlock 100")
    out = ok(lab, "pct delsnapshot 100 one --force 1")
    assert out.startswith("zfs error: cannot destroy snapshot rpool/data/subvol-100-disk-1@one: ")
    assert "[one]" not in config(lab) and "lock" not in config(lab) and "unused" not in config(lab)
    assert snapshots(lab) == [f"{DATA}@one"]


def test_a_cloned_snapshot_cannot_be_deleted_and_says_so(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"pct snapshot 100 one; zfs clone {ROOT}@one rpool/data/mine")
    code, _, err = lab.run("pct delsnapshot 100 one")
    assert code == 255 and "zfs error: " in err
    assert "lock: snapshot-delete\n" in config(lab)
    ok(lab, "zfs destroy rpool/data/mine")


@pytest.mark.slow
def test_a_killed_deletion_leaves_what_a_failed_one_leaves(lab: labs.Lab) -> None:
    ms = 5
    while ms < 3000:  # how far it comes in that time depends on how busy the machine is
        lab.run("pct snapshot 100 one")
        lab.faults.kill("pct", nth=1, ms=ms)
        code, _, _ = lab.run("pct delsnapshot 100 one")
        lab.faults.clear()
        locked = code == 137 and "lock: snapshot-delete\n" in config(lab)
        if locked and "snapstate: delete\n" in section(lab, "one"):  # Proxmox writes the one before the other
            return
        lab.run("pct unlock 100; pct delsnapshot 100 one --force")
        ms += max(2, ms // 16)
    pytest.fail("no deletion was killed between its lock and its end")


@pytest.mark.slow
def test_a_killed_snapshot_leaves_its_lock_and_an_incomplete_section(lab: labs.Lab, ok: Ok) -> None:
    ms = 5
    while ms < 3000:
        lab.faults.kill("pct", nth=1, ms=ms)
        code, _, _ = lab.run("pct snapshot 100 one")
        lab.faults.clear()
        if code == 137 and "lock: snapshot\n" in config(lab):
            break
        lab.run("pct unlock 100; pct delsnapshot 100 one --force")
        ms += max(2, ms // 16)
    else:
        pytest.fail("no snapshot was killed between its lock and its end")
    assert "snapstate: prepare\n" in section(lab, "one")
    assert "parent: one" not in config(lab).partition("\n[")[0]
    assert lab.run("pct delsnapshot 100 one")[2] == "CT is locked (snapshot)\n"
    ok(lab, "pct unlock 100; pct delsnapshot 100 one --force 1")
    assert "[one]" not in config(lab) and snapshots(lab) == []


def test_children_get_the_parent_of_what_is_deleted_between(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct snapshot 100 one; pct snapshot 100 two; pct snapshot 100 three; pct delsnapshot 100 two")
    assert "parent: one\n" in section(lab, "three")
    assert "parent: three\n" in config(lab).partition("\n[")[0]
    listed = json.loads(ok(lab, "pvesh get /nodes/pve/lxc/100/snapshot --output-format json"))
    assert {entry["name"]: entry.get("parent") for entry in listed} == {
        "one": None,
        "three": "one",
        "current": "three",
    }


def test_the_description_of_a_snapshot_can_be_changed(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct snapshot 100 one --description 'fleet: owner=a set=b'")
    assert section(lab, "one").startswith("#fleet%3A owner=a set=b\n")
    ok(lab, "pvesh set /nodes/pve/lxc/100/snapshot/one/config --description 'other words'")
    (entry,) = [
        entry
        for entry in json.loads(ok(lab, "pvesh get /nodes/pve/lxc/100/snapshot --output-format json"))
        if entry["name"] == "one"
    ]
    assert entry["description"].rstrip("\n") == "other words"
    assert lab.run("pvesh set /nodes/pve/lxc/100/snapshot/none/config --description x")[0] != 0


def test_a_newer_snapshot_of_anybody_blocks_the_rollback_and_only_replications_are_removed(
    lab: labs.Lab, ok: Ok
) -> None:
    ok(lab, f"pct snapshot 100 one; zfs snapshot {DATA}@mine")
    blocked = lab.run("pct rollback 100 one")
    assert blocked == (
        255,
        "",
        "can't rollback, 'one' is not most recent snapshot on 'local-zfs:subvol-100-disk-1'\n",
    )
    assert "lock" not in config(lab)
    replicated = f"{DATA}@__replicate_100-0_1795371501__"
    ok(lab, f"zfs destroy {DATA}@mine; zfs snapshot {replicated}")
    assert lab.run("pct rollback 100 one")[0] == 255
    ok(lab, "printf 'local: 100-0\\n\\ttarget other\\n\\n' > /etc/pve/replication.cfg")
    code, out, err = lab.run("pct rollback 100 one")
    assert (code, err) == (0, "Task finished with 2 warning(s)!\n")
    assert "WARN: removing replication snapshot 'local-zfs:subvol-100-disk-1@__replicate_100-0_" in out
    assert replicated not in snapshots(lab)


def test_a_replication_job_that_never_ran_keeps_a_snapshot_from_being_deleted(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct snapshot 100 one; printf 'local: 100-0\\n\\ttarget other\\n\\n' > /etc/pve/replication.cfg")
    code, _, err = lab.run("pct delsnapshot 100 one")
    assert (code, err) == (255, "snapshot 'one' needed by replication job '100-0' - run replication first\n")
    assert "lock" not in config(lab) and "snapstate" not in config(lab)
    ok(lab, f"zfs snapshot {ROOT}@__replicate_100-0_1__; zfs snapshot {DATA}@__replicate_100-0_1__")
    ok(lab, "pct delsnapshot 100 one")


@pytest.mark.slow
def test_a_held_migration_lock_is_named(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct snapshot 100 one")
    code, _, err = lab.run(
        "mkdir -p /var/lock/pve-manager; flock /var/lock/pve-manager/pve-migrate-100 sleep 12 & sleep 0.3; "
        "pct delsnapshot 100 one",
        timeout=30,
    )
    assert (code, err) == (255, "Failed to obtain guest migration lock - replication running?\n")


def test_a_rollback_brings_the_files_and_the_configuration_back_and_stops_the_guest(
    lab: labs.Lab, ok: Ok
) -> None:
    ok(lab, "pct start 100; pct exec 100 -- sh -c 'echo then > /data/file'; pct snapshot 100 one")
    ok(lab, "pct exec 100 -- sh -c 'echo now > /data/file'; pct set 100 --onboot 1")
    ok(lab, "pct rollback 100 one")
    assert ok(lab, "pct status 100") == "status: stopped\n"
    ok(lab, "pct start 100")
    assert ok(lab, "pct exec 100 -- cat /data/file") == "then\n"
    assert "onboot" not in config(lab).partition("\n[")[0] and "parent: one\n" in config(lab)


def test_a_volume_that_only_the_snapshot_has_becomes_unused(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct set 100 --mp1 local-zfs:1,mp=/more; pct snapshot 100 one; pct set 100 --delete mp1")
    ok(lab, "pct delsnapshot 100 one")
    assert re.search(r"^unused0: local-zfs:subvol-100-disk-2$", config(lab), re.MULTILINE)
    ok(lab, "pct set 100 --delete unused0")


def test_a_clone_of_a_snapshot_has_its_files_and_its_mount_points(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct start 100; pct exec 100 -- sh -c 'echo then > /data/file; chown www-data /data/file'")
    ok(lab, "pct snapshot 100 one; pct exec 100 -- sh -c 'echo now > /data/file'")
    out = ok(lab, "pct clone 100 150 --snapname one --hostname copy")
    assert "create full clone of mountpoint mp0 (local-zfs:subvol-100-disk-1)\n" in out
    cloned = ok(lab, "cat /etc/pve/lxc/150.conf")
    assert "hostname: copy\n" in cloned and "snaptime" not in cloned and "lock" not in cloned
    assert "rootfs: local-zfs:subvol-150-disk-0,size=1G\n" in cloned
    assert "mp0: local-zfs:subvol-150-disk-1,mp=/data,size=1G\n" in cloned
    ok(lab, "pct start 150")
    assert ok(lab, "pct exec 150 -- sh -c 'cat /data/file; stat -c %U /data/file'") == "then\nwww-data\n"
    assert "lock" not in config(lab)
    ok(lab, "pct stop 150; pct destroy 150")


def test_a_template_takes_no_snapshot(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"pct create 151 {TEMPLATE} --rootfs local-zfs:1 --features nesting=1; pct template 151")
    assert lab.run("pct snapshot 151 one") == (255, "", "you can't take a snapshot if it's a template\n")
    ok(lab, "pct destroy 151")


def test_on_lvm_thin_any_snapshot_can_be_rolled_back_to(lab: labs.Lab, ok: Ok) -> None:
    facts = lab.root / "var/lib/fleet-lab/machine.json"
    known = json.loads(facts.read_text())
    facts.write_text(json.dumps({**known, "thinpools": [{"vg": "pve", "name": "data", "size": 100 << 30}]}))
    ok(lab, "pvesm add lvmthin local-lvm --vgname pve --thinpool data --content rootdir,images")
    ok(lab, f"pct create 160 {TEMPLATE} --rootfs local-lvm:1 --features nesting=1 --start 1")
    ok(lab, "pct exec 160 -- sh -c 'echo then > /root/f'")
    assert ok(lab, "pct snapshot 160 one") == '  Logical volume "snap_vm-160-disk-0_one" created.\n'
    ok(
        lab,
        "pct exec 160 -- sh -c 'echo now > /root/f'; pct snapshot 160 two; pct rollback 160 one --start 1",
    )
    assert ok(lab, "pct exec 160 -- cat /root/f") == "then\n"
    assert (
        ok(lab, "pct delsnapshot 160 one")
        == '  Logical volume "snap_vm-160-disk-0_one" successfully removed.\n'
    )
    assert ok(lab, "pct stop 160; pct destroy 160") == (
        '  Logical volume "snap_vm-160-disk-0_two" successfully removed.\n'
        '  Logical volume "vm-160-disk-0" successfully removed.\n'
    )
    ok(lab, "pvesm remove local-lvm")
