"""Faults of pools, datasets and the clock, on a node that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
HOUR = 3600


@pytest.fixture(scope="module")
def lab(lab_home: Path) -> labs.Lab:
    found = labs.reset("zfs-faults", machine="recording-zfs")
    template = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
    code, _, err = found.run(f"pct create 100 {template} --rootfs local-zfs:1 --hostname web")
    assert code == 0, err
    return found


@pytest.fixture(autouse=True)
def _no_faults(lab: labs.Lab) -> Iterator[None]:
    yield
    lab.faults.clear()


def test_a_full_pool_takes_no_snapshot_by_zfs_or_by_pct(lab: labs.Lab) -> None:
    lab.faults.disk_full("rpool")
    assert lab.run("zfs snapshot rpool/data@full") == (
        1,
        "",
        "cannot create snapshot 'rpool/data@full': out of space\n",
    )
    code, _, err = lab.run("pct snapshot 100 full")
    assert code != 0
    assert "zfs error: cannot create snapshot 'rpool/data/subvol-100-disk-0@full': out of space" in err
    lab.faults.disk_full()
    assert lab.run("zfs snapshot rpool/data@full && zfs destroy rpool/data@full")[0] == 0


def test_a_degraded_pool_says_so_and_works(lab: labs.Lab, ok: Ok) -> None:
    lab.faults.pool_health("rpool")
    assert ok(lab, "zpool list -Hp -o health rpool") == "DEGRADED\n"
    assert " state: DEGRADED\n" in ok(lab, "zpool status -x")
    ok(lab, "zfs snapshot rpool/data@d && zfs destroy rpool/data@d")
    lab.faults.pool_health("rpool", "ONLINE")
    assert ok(lab, "zpool status -x") == "all pools are healthy\n"
    with pytest.raises(ValueError, match="DEGRADED"):
        lab.faults.pool_health("rpool", "BROKEN")


def test_a_busy_dataset_cannot_be_unmounted_or_destroyed(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "zfs create rpool/used && touch /rpool/used/file")
    lab.faults.zfs_busy("rpool/used")
    said = "cannot unmount '/rpool/used': pool or dataset is busy\n"
    assert lab.run("zfs unmount rpool/used") == (1, "", said)
    assert lab.run("zfs destroy rpool/used") == (1, "", said)
    assert (lab.root / "rpool/used/file").exists()
    lab.faults.zfs_busy()
    ok(lab, "zfs destroy rpool/used")


def test_a_dataset_that_a_process_is_in_is_busy(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "zfs create rpool/cd")
    said = "cannot unmount '/rpool/cd': pool or dataset is busy\n"
    assert lab.run("cd /rpool/cd && zfs destroy rpool/cd") == (1, "", said)
    assert lab.run("exec 3>/rpool/cd/open; zfs unmount rpool/cd") == (1, "", said)
    ok(lab, "zfs destroy rpool/cd")


def test_one_verb_of_zfs_is_slow(lab: labs.Lab, ok: Ok) -> None:
    lab.faults.zfs_slow("snapshot", 0.7)
    began = time.monotonic()
    ok(lab, "zfs snapshot rpool/data@slow")
    assert time.monotonic() - began > 0.7
    assert lab.run("timeout 0.3 zfs snap rpool/data@late")[0] == 124
    assert "rpool/data@late" not in ok(lab, "zfs list -H -o name -t snapshot")


@pytest.mark.parametrize("ahead", [30 * 24 * HOUR, -2 * HOUR])
def test_the_whole_node_sees_the_clock_that_was_moved(lab: labs.Lab, ok: Ok, ahead: int) -> None:
    lab.faults.clock(ahead)
    now = time.time() + ahead
    assert abs(int(ok(lab, "date +%s")) - now) < 5
    label = f"clock{abs(ahead)}"
    ok(lab, f"zfs snapshot rpool/data@{label} && zfs hold keep rpool/data@{label}")
    made = ok(
        lab, f"zfs get -Hp -o value creation rpool/data@{label}; zfs holds -Hp rpool/data@{label}"
    ).split()
    assert abs(int(made[0]) - now) < 5
    assert abs(int(made[-1]) - now) < 5
    ok(lab, f"pct snapshot 100 {label}")
    assert (
        abs(int(ok(lab, f"sed -n '/^.{label}./,$ s/^snaptime: //p' /etc/pve/lxc/100.conf").split()[0]) - now)
        < 9
    )
    newest = ok(lab, "tail -n 1 /var/log/pve/tasks/index")
    assert abs(int(newest.split(":")[4], 16) - now) < 9
    lab.faults.clock(0)
    assert abs(int(ok(lab, "date +%s")) - time.time()) < 5


def test_date_counts_from_the_moved_clock_but_leaves_moments_alone(lab: labs.Lab, ok: Ok) -> None:
    lab.faults.clock(24 * HOUR)
    now = int(time.time())
    assert abs(int(ok(lab, "date -d '2 hours ago' +%s")) - (now + 22 * HOUR)) < 5
    assert (
        ok(lab, "date -u -d @86400 +%F; date --date='2026-03-01 12:00' '+%F %H'")
        == "1970-01-02\n2026-03-01 12\n"
    )
    assert lab.run("date --reference=/etc/hostname")[0] == 1


def test_clearing_the_faults_sets_the_clock_right(lab: labs.Lab, ok: Ok) -> None:
    lab.faults.clock(HOUR)
    lab.faults.clear()
    assert abs(int(ok(lab, "date +%s")) - time.time()) < 5
