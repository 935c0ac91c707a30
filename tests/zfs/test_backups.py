"""The tasks of backups over SSH on real OpenZFS: the runs of the lab, and what only the real one can show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.backups import run
from fleet.backups.choice import chosen
from fleet.backups.run import working
from fleet.core.errors import Refused
from fleet.inventory import Inventory
from tests import thorough
from tests.road import backups, copies, fleets, restores
from tests.zfs.node import Ct, Node

pytestmark = [pytest.mark.zfs, pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]

ALPHA, BETA = Ct(101, "alpha"), Ct(102, "beta", disks=2)
ROOTFS = ALPHA.datasets[0]
ALL = (*ALPHA.datasets, *BETA.datasets, "tank/data")
Made = Callable[..., Inventory]


@pytest.fixture
def made(node: Node, tmp_path: Path) -> Made:
    """Makes the node's guests anew; the inventory of hosts.yml with what it says of backups."""

    def make(**backup: Any) -> Inventory:
        node.make((ALPHA, BETA))
        mounts = {"mp9": "/data,mp=/data"}
        data = fleets.fleet(
            {
                "alpha": fleets.guest(101, **mounts),
                "beta": fleets.guest(102, **mounts, mp1="guests:1,mp=/srv1"),
            },
            storage={
                **fleets.BASE["storage"],
                "datasets": {"tank/guests": {}, "tank/data": {"mountpoint": "/data"}},
                "storages": {
                    "local": {"given": True},
                    "guests": {"type": "zfspool", "pool": "tank/guests", "content": ["rootdir", "images"]},
                },
            },
            node={"name": "pve", "address": "zfs-vm", "memory": "32G"},
            backup={**backups.POLICY, **backup},
        )
        inventory = fleets.read(tmp_path, data)
        machine = node.machine
        return replace(
            inventory,
            node=replace(
                inventory.node,
                address="127.0.0.1",
                port=machine.port,
                identity_file=machine.key,
                known_hosts=machine.known_hosts,
            ),
        )

    return make


REPLICA = {
    "replicas": {"usb": {"target": "usb/replica", "schedule": "04:00", "prune-backups": "keep-last=2"}}
}


def replicated(made: Made, node: Node) -> Inventory:
    """The node with tank/data going to the other pool; only that."""
    inventory = made(**REPLICA)
    node.machine.ok("zfs create -o canmount=off -o readonly=on usb/replica")
    subjects = tuple(
        replace(each, replicas=("usb",)) if each.name == "tank/data" else each
        for each in inventory.backups.subjects
    )
    return replace(inventory, backups=replace(inventory.backups, subjects=subjects))


# ── taking ────────────────────────────────────────────────────────────────────────────────────────


def test_one_run_is_one_transaction_of_all_volumes_marked_and_recorded(made: Made, node: Node) -> None:
    report = backups.snapshot(made())
    assert report.exit_code == 0, report
    paths = " ".join(f"{dataset}@{report.name}" for dataset in ALL)
    assert len(set(node.machine.ok(f"zfs get -Hp -o value createtxg {paths}").split())) == 1
    owner = node.machine.ok("cat /var/lib/fleet/installation").strip()
    marks = node.machine.ok(f"zfs get -H -o value,source fleet:owner {paths}")
    assert marks == f"{owner}\tlocal\n" * len(ALL)
    guids = set(node.machine.ok(f"zfs get -Hp -o value guid {paths}").split())
    assert (
        set(node.machine.ok("awk '$2 == \"made\" { print $5 }' /var/lib/fleet/backups.log").split()) == guids
    )


def test_a_running_guests_volumes_are_of_one_moment_and_it_runs_on(made: Made, node: Node) -> None:
    inventory = made()
    node.start(BETA)
    report = backups.snapshot(inventory, limit=("beta",))
    assert report.exit_code == 0, report
    assert report.frozen > 0
    first, second = (
        int(node.machine.ok(f"cat /{dataset}/.zfs/snapshot/{report.name}/count")) for dataset in BETA.datasets
    )
    if report.frozen < 5000:  # then the node lets it go, come what may; a slow emulated machine can meet that
        assert first - 1 <= second <= first
    assert node.machine.ok("cat /sys/fs/cgroup/lxc/102/cgroup.freeze") == "0\n"
    now = f"cat /{BETA.datasets[0]}/count"
    node.machine.ok(f"was=$({now}); until [ $({now}) -gt $was ]; do sleep 0.1; done", timeout=20)


def test_a_full_pool_is_a_failure_that_removes_nothing_and_names_it(made: Made, node: Node) -> None:
    inventory = made()
    for label in ("one", "two", "three"):
        assert backups.snapshot(inventory, label=label).exit_code == 0
    before = node.snapshots(ROOTFS)
    assert len(before) == 2
    node.machine.ok(
        "free=$(zfs get -Hp -o value available tank);"
        "zfs create -o reservation=$((free - 8000000)) tank/rest &&"
        "zfs create -o compression=off tank/filler;"
        "dd if=/dev/zero of=/tank/filler/f bs=1M count=20 2>/dev/null;"
        "dd if=/dev/zero of=/tank/filler/g bs=4k 2>/dev/null; sync",
        timeout=200,
    )
    report = backups.snapshot(inventory, label="four")
    assert report.exit_code == 3
    assert set(report.failed) == {"alpha", "beta", "tank/data"}
    assert all("out of space" in said for said in report.failed.values())
    assert node.snapshots(ROOTFS) == before


# ── keeping ───────────────────────────────────────────────────────────────────────────────────────

_HUNDRED = r"""
id=$(cat /var/lib/fleet/installation); now=$(date +%s); day=100
while [ $day -gt 0 ]; do
    at=$((now - day * 86400)); date -s @$at >/dev/null
    name=fleet-daily-$(date -u +%Y%m%dt%H%M%Sz)
    zfs snapshot -o fleet:owner=$id -o fleet:set=$name DATASET@$name || exit
    guid=$(zfs get -Hp -o value guid DATASET@$name)
    echo "$at made $name DATASET@$name $guid" >>/var/lib/fleet/backups.log
    day=$((day - 1))
done
date -s @$now >/dev/null
zfs snapshot DATASET@by-hand; zfs snapshot DATASET@autosnap_2026-11-01_00:00:01_daily
"""


@thorough.only
def test_of_a_hundred_days_the_policy_keeps_its_own_and_all_that_is_held_cloned_pinned_or_foreign(
    made: Made, node: Node
) -> None:
    inventory = made(snapshots={"schedule": "02:00", "prune-backups": "keep-last=1,keep-daily=7"})
    backups.snapshot(inventory, limit=("beta",))  # makes the installation's id
    node.machine.ok(_HUNDRED.replace("DATASET", ROOTFS), timeout=200)
    there = node.snapshots(ROOTFS)
    daily = [name for name in there if name.startswith("fleet-daily-")]
    held, cloned, pinned = daily[10], daily[20], daily[30]
    node.machine.ok(
        f"zfs hold keep {ROOTFS}@{held} && zfs clone {ROOTFS}@{cloned} tank/clone &&"
        f"zfs set fleet:pinned=2100-01-01 {ROOTFS}@{pinned}"
    )
    stopped = backups.rotate(inventory)
    assert stopped.exit_code == 6, stopped
    assert set(stopped.braked) == {"alpha"}
    assert node.snapshots(ROOTFS) == there
    with working(inventory, "backup.rotate") as work:
        done = run.prune(work, chosen(inventory, (), ()), allowed=200)
    assert done.exit_code == 0, done
    assert node.snapshots(ROOTFS) == [held, cloned, pinned, *daily[-8:], *there[100:]]
    removed = node.machine.ok("grep -c ' removed ' /var/lib/fleet/backups.log")
    assert int(removed) == 100 - 8 - 3


def test_a_clock_that_went_back_stops_no_snapshot(made: Made, node: Node) -> None:
    inventory = made()
    first = backups.snapshot(inventory, label="one")
    node.machine.ok("date -s @$(($(date +%s) - 90000))")
    try:
        second = backups.snapshot(inventory, label="two")
    finally:
        node.machine.ok("date -s @$(($(date +%s) + 90000))")
    assert second.failed == {}
    assert set(node.snapshots(ROOTFS)) >= {first.name, second.name}


def test_inv_shows_every_snapshot_and_whose_it_is(made: Made, node: Node, tmp_path: Path) -> None:
    made()
    (tmp_path / "tasks.py").write_text("from fleet.tasks import namespace\n")
    home = node.ssh_config()
    node.machine.ok(f"zfs snapshot {ROOTFS}@autosnap_2026-11-01_00:00:01_daily")

    def inv(*words: str) -> str:
        done = subprocess.run(
            [Path(sys.executable).with_name("inv"), *words],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = inv("backup.snapshot")
    assert len(said.splitlines()) == 1, said
    listed = json.loads(inv("backup.list", "--json", "--limit", "alpha"))
    text = json.dumps(listed)
    assert "fleet-daily-" in text
    assert "sanoid" in text


# ── sending ───────────────────────────────────────────────────────────────────────────────────────


def copy_of(node: Node) -> str:
    """The dataset that the copy of tank/data is."""
    (name,) = node.machine.ok("zfs list -H -o name -r usb/replica | tail -n +2").split()
    return name


def guids(node: Node, dataset: str) -> dict[str, str]:
    """The guid of each snapshot, by name."""
    return {name: node.get(f"{dataset}@{name}", "guid")["guid"] for name in node.snapshots(dataset)}


def test_a_copy_on_another_pool_is_the_same_snapshots_and_goes_on_by_increments(
    made: Made, node: Node
) -> None:
    inventory = replicated(made, node)
    first = backups.snapshot(inventory, label="one")
    report = copies.send(inventory)
    assert report.exit_code == 0, report
    copy = copy_of(node)
    assert guids(node, copy) == guids(node, "tank/data")
    assert node.get(copy, "readonly", "mounted") == {"readonly": "on", "mounted": "no"}
    node.machine.ok("head -c 300000 /dev/urandom >/data/more")
    second = backups.snapshot(inventory, label="two")
    report = copies.send(inventory)
    assert report.exit_code == 0, report
    assert guids(node, copy) == guids(node, "tank/data")
    assert {first.name, second.name} == set(guids(node, copy))
    node.machine.ok(f"zfs destroy tank/data@{first.name}; zfs destroy tank/data@{second.name}")
    third = backups.snapshot(inventory, label="three")
    report = copies.send(inventory)  # from the bookmark
    assert report.exit_code == 0, report
    assert node.snapshots(copy)[-1] == third.name


def test_a_stream_that_broke_off_goes_on_from_its_token(made: Made, node: Node) -> None:
    inventory = replicated(made, node)
    node.machine.ok("head -c 300000 /dev/urandom >/data/a")
    first = backups.snapshot(inventory, label="one")
    assert copies.send(inventory).exit_code == 0
    copy = copy_of(node)
    node.machine.ok("head -c 8000000 /dev/urandom >/data/b; sync")
    second = backups.snapshot(inventory, label="two")
    node.machine.run(
        f"zfs send -i @{first.name} tank/data@{second.name} | head -c 4000000 | zfs receive -s -u {copy}"
    )
    token = node.get(copy, "receive_resume_token")["receive_resume_token"]
    assert re.fullmatch(r"1-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+", token)
    report = copies.send(inventory)
    assert report.exit_code == 0, report
    assert guids(node, copy)[second.name] == guids(node, "tank/data")[second.name]
    assert node.get(copy, "receive_resume_token")["receive_resume_token"] == "-"
    assert node.machine.run(f"zfs list {copy}/%recv")[0] != 0
    sums = node.machine.ok(
        f"zfs clone -o mountpoint=/mnt/look {copy}@{second.name} usb/look;"
        "cmp /mnt/look/b /data/b && echo same"
    )
    assert sums == "same\n"


def test_a_copy_that_somebody_went_on_with_is_left_as_it_is_and_said(made: Made, node: Node) -> None:
    inventory = replicated(made, node)
    backups.snapshot(inventory, label="one")
    assert copies.send(inventory).exit_code == 0
    copy = copy_of(node)
    node.machine.ok(f"zfs snapshot {copy}@theirs")
    before = guids(node, copy)
    backups.snapshot(inventory, label="two")
    report = copies.send(inventory)
    assert report.exit_code == 3
    assert guids(node, copy) == before
    assert any("theirs" in said for said in report.failed.values()), report


@thorough.only
def test_a_target_that_is_full_fails_keeps_what_came_and_goes_on_later(made: Made, node: Node) -> None:
    inventory = replicated(made, node)
    node.machine.ok("head -c 20000000 /dev/urandom >/data/b; sync; zfs set quota=8M usb/replica")
    taken = backups.snapshot(inventory)
    report = copies.send(inventory)
    assert report.exit_code == 3, report
    assert node.snapshots("tank/data") == [taken.name]
    node.machine.ok("zfs set quota=none usb/replica")
    report = copies.send(inventory)
    assert report.exit_code == 0, report
    assert guids(node, copy_of(node)) == guids(node, "tank/data")


# ── restoring ─────────────────────────────────────────────────────────────────────────────────────


@thorough.only
def test_a_guest_with_a_bind_mount_is_restored_beside_itself(made: Made, node: Node) -> None:
    inventory = made()
    taken = backups.snapshot(inventory)
    node.machine.ok(f"for d in {' '.join(BETA.datasets)}; do echo later >/$d/name; done")
    before = node.machine.ok("zfs list -Hp -t all -o name,guid")
    done = restores.restore(inventory, f"beta@{taken.name}")
    assert done.exit_code == 0, done
    vmid = done.planned.vmid
    names = [f"tank/guests/subvol-{vmid}-disk-{n}" for n in range(2)]
    assert [node.machine.ok(f"cat /{name}/name") for name in names] == ["beta\n"] * 2
    assert [node.get(name, "origin")["origin"] for name in names] == [
        f"{dataset}@{taken.name}" for dataset in BETA.datasets
    ]
    config = node.machine.ok(f"cat /etc/pve/lxc/{vmid}.conf")
    assert "/data" not in config
    assert set(before.splitlines()) <= set(node.machine.ok("zfs list -Hp -t all -o name,guid").splitlines())
    kept = backups.snapshot(inventory, label="two")
    backups.snapshot(inventory, label="three")
    report = backups.snapshot(inventory, label="four")  # the first is cloned now, and stays
    assert report.exit_code in (0, 3)
    assert taken.name in node.snapshots(BETA.datasets[0])
    assert kept.name not in node.snapshots(ROOTFS)


@thorough.only
def test_a_guest_is_put_back_in_place_and_its_present_state_is_kept(made: Made, node: Node) -> None:
    inventory = made()
    taken = backups.snapshot(inventory)
    node.machine.ok(f"echo later >/{ROOTFS}/name")
    done = restores.restore(inventory, f"alpha@{taken.name}", in_place=True)
    assert done.exit_code == 0, done
    assert node.machine.ok(f"cat /{ROOTFS}/name") == "alpha\n"
    assert "later" in node.machine.ok("cat /tank/guests/*/name")


@thorough.only
def test_a_newer_snapshot_stands_against_going_back_and_is_named(made: Made, node: Node) -> None:
    inventory = made()
    taken = backups.snapshot(inventory)
    node.machine.ok(f"zfs snapshot {ROOTFS}@by-hand")
    before = node.machine.ok("zfs list -Hp -t all -o name,guid")
    with pytest.raises(Refused, match=f"{ROOTFS}@by-hand"):
        restores.restore(inventory, f"alpha@{taken.name}", in_place=True)
    assert node.machine.ok("zfs list -Hp -t all -o name,guid") == before
