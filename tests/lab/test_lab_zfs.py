"""ZFS below Proxmox's guests on a node that runs: what a snapshot shows, and what copies leave out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
ROOT = "/rpool/data/subvol-100-disk-0"


@pytest.fixture(scope="module")
def lab(lab_home: Path) -> labs.Lab:
    found = labs.reset("zfs-guests", machine="recording-zfs")
    template = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
    code, _, err = found.run(f"pct create 100 {template} --rootfs local-zfs:1 --hostname web")
    assert code == 0, err
    return found


def test_files_of_a_guest_can_be_read_out_of_its_snapshot(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"echo before >{ROOT}/root/note; zfs snapshot rpool/data/subvol-100-disk-0@s")
    ok(lab, f"echo after >{ROOT}/root/note")
    assert ok(lab, f"cat {ROOT}/.zfs/snapshot/s/root/note") == "before\n"


def test_copies_of_a_guest_have_no_control_directory(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "echo written >/rpool/data/subvol-100-disk-0/root/note")
    ok(lab, "pct snapshot 100 copied")
    ok(lab, "pct clone 100 101 --snapname copied --full 1")
    assert "root" in ok(lab, "ls -A /rpool/data/subvol-101-disk-0").split()
    assert ".zfs" not in ok(lab, "ls -A /rpool/data/subvol-101-disk-0").split()
    archive = ok(
        lab, "vzdump 100 --mode stop --storage local --compress 0 >&2; ls /var/lib/vz/dump/*.tar"
    ).strip()
    members = ok(lab, f"tar -tf {archive}").splitlines()
    assert "./root/note" in members
    assert not [name for name in members if ".zfs" in name]


def test_a_hold_on_a_snapshot_of_proxmox_makes_its_deletion_fail_half_way(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct snapshot 100 held; zfs hold mine rpool/data/subvol-100-disk-0@held")
    code, _, err = lab.run("pct delsnapshot 100 held")
    assert code != 0
    assert "cannot destroy snapshot rpool/data/subvol-100-disk-0@held: it's being held." in err
    assert "lock: snapshot-delete" in ok(lab, "cat /etc/pve/lxc/100.conf")
    ok(lab, "zfs release mine rpool/data/subvol-100-disk-0@held; pct unlock 100; pct delsnapshot 100 held")
    assert "held" not in ok(lab, "zfs list -H -o name -t snapshot")


def test_a_raw_snapshot_that_is_newer_takes_away_proxmoxs_rollback(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct snapshot 100 mine; zfs snapshot rpool/data/subvol-100-disk-0@raw")
    code, _, err = lab.run("pct rollback 100 mine")
    assert code != 0
    assert "'mine' is not most recent snapshot on 'local-zfs:subvol-100-disk-0'" in err
    ok(lab, "zfs destroy rpool/data/subvol-100-disk-0@raw; pct rollback 100 mine")
