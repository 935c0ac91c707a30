"""Restores on real OpenZFS: full copies by send and receive, datasets, files, drills of datasets."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from fleet.backups import getting
from fleet.domains.backup.restore.choice import named
from fleet.domains.backup.restore.plan import Request
from fleet.inventory import Inventory
from fleet.run import connected
from tests import thorough
from tests.road import backups, restores
from tests.zfs.node import Node
from tests.zfs.test_backups import BETA, ROOTFS, Made, made

pytestmark = [pytest.mark.zfs, pytest.mark.slow, pytest.mark.timeout(900, func_only=True), thorough.only]

__all__ = ["made"]


def everything(node: Node) -> set[str]:
    """Each dataset and snapshot with its guid."""
    return set(node.machine.ok("zfs list -Hp -t all -o name,guid").splitlines())


def test_a_full_copy_is_received_whole_and_depends_on_nothing(made: Made, node: Node) -> None:
    inventory = made()
    for name in BETA.datasets:
        node.machine.ok(f"zfs set recordsize=16K acltype=posix xattr=sa {name}")
    backups.snapshot(inventory)
    before = everything(node)
    done = restores.restore(inventory, "beta@latest", Request(full=True))
    assert done.exit_code == 0, done
    for number in range(2):
        copy = f"tank/guests/subvol-{done.planned.vmid}-disk-{number}"
        assert node.machine.ok(f"cat /{copy}/name") == "beta\n"
        said = node.get(copy, "origin", "refquota", "recordsize", "acltype", "mounted")
        assert said == {
            "origin": "-",
            "refquota": str(1 << 30),
            "recordsize": "16384",
            "acltype": "posix",
            "mounted": "yes",
        }
        assert node.snapshots(copy) == []
    assert before <= everything(node)


def test_a_clone_has_the_properties_that_its_files_rely_on(made: Made, node: Node) -> None:
    inventory = made()
    node.machine.ok(f"zfs set acltype=posix recordsize=16K {ROOTFS}")
    backups.snapshot(inventory)
    done = restores.restore(inventory, "alpha@latest")
    assert done.exit_code == 0, done
    said = node.get(f"tank/guests/subvol-{done.planned.vmid}-disk-0", "acltype", "recordsize", "refquota")
    assert said == {"acltype": "posix", "recordsize": "16384", "refquota": str(1 << 30)}


def test_going_back_keeps_the_volumes_own_properties_and_its_older_snapshots(made: Made, node: Node) -> None:
    inventory = made()
    node.machine.ok(f"zfs set acltype=posix recordsize=16K com.example:note=mine {ROOTFS}")
    first, second = (backups.snapshot(inventory, label=label).name for label in ("one", "two"))
    before = node.get(ROOTFS, "acltype", "recordsize", "refquota", "mountpoint")
    done = restores.restore(inventory, "alpha@latest", in_place=True)
    assert done.exit_code == 0, done
    assert node.get(ROOTFS, "acltype", "recordsize", "refquota", "mountpoint") == before
    assert node.get(ROOTFS, "origin")["origin"] == "-"
    assert node.snapshots(ROOTFS) == [first, second]
    report = backups.snapshot(inventory, label="three")
    assert report.exit_code == 0, report


def test_a_dataset_is_cloned_beside_itself_and_its_snapshot_read(made: Made, node: Node) -> None:
    inventory = made(drill={"vmids": "900-904", "max-age": "30d"})
    name = backups.snapshot(inventory).name
    node.machine.ok("echo later >/data/made")
    assert restores.restore(inventory, "tank/data@latest").exit_code == 0
    copy = f"/mnt/fleet/tank-data-restored-{name}"
    assert node.machine.ok(f"cat {copy}/made") != "later\n"
    node.machine.ok(f"echo mine >{copy}/made")
    done = restores.drill(inventory, "tank/data")
    assert done.proven == {f"tank/data@{name}": "files"}


def test_files_come_out_of_the_hidden_folder_of_a_snapshot(made: Made, node: Node, tmp_path: Path) -> None:
    inventory = made()
    node.machine.ok(f"head -c 300000 /dev/urandom >/{ROOTFS}/blob; mkfifo /{ROOTFS}/pipe; mkdir /{ROOTFS}/d")
    node.machine.ok(f"mv /{ROOTFS}/blob /{ROOTFS}/pipe /{ROOTFS}/d")
    backups.snapshot(inventory)
    whole = node.machine.ok(f"sha256sum </{ROOTFS}/d/blob").split()[0]
    node.machine.ok(f"rm -r /{ROOTFS}/d")
    got = get(inventory, "alpha@latest", "/d", tmp_path / "d")
    assert digest(tmp_path / "d/blob") == whole
    assert len(got) == 1


def get(inventory: Inventory, item: str, path: str, dest: Path) -> tuple[str, ...]:
    """`inv backup.get`; what was left out."""
    with connected(inventory) as shell:
        wanted = named(item, inventory.backups.subjects)
        return getting.get(shell, inventory, wanted, path, dest, replace=False)[0].left_out


def digest(path: Path) -> str:
    """Its SHA-256."""
    return sha256(path.read_bytes()).hexdigest()
