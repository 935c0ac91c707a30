"""Datasets within datasets, folders within mountpoints, and guests that stand on them, against the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet.converge import make_plan
from fleet.host.guarded import Outcome
from fleet.inventory import Inventory
from fleet.run import Run, execute
from tests.road import fleets, operator
from tests.road.world import State, World


def declared(folder: Path, datasets: dict[str, dict[str, Any]], **binds: str) -> Inventory:
    """A fleet with these datasets, and a guest for each bind source."""
    guests = {
        name: fleets.guest(100 + number, mp0=f"{source},mp=/mnt")
        for number, (name, source) in enumerate(binds.items())
    }
    return fleets.read(folder, fleets.fleet(guests, storage=fleets.storage(datasets)))


def limited(inventory: Inventory, *limit: str) -> Run:
    """`inv provision.all --yes --limit`."""
    return execute(
        inventory,
        "provision.all",
        lambda facts: make_plan(inventory, facts, limit=limit),
        jobs=4,
        agree=lambda _plan: None,
    )


def outcomes(run: Run) -> dict[str, Outcome]:
    return {result.step.id: result.outcome for result in run.results}


def test_a_parent_that_cannot_be_made_keeps_its_children_and_the_guests_on_them_from_being_made(
    world: World, prepared: State, tmp_path: Path
) -> None:
    world.restore(prepared)
    world.run("mkdir -p /shared/media && touch /shared/file")
    inventory = declared(
        tmp_path,
        {"tank/shared": {"mountpoint": "/shared"}, "tank/shared/media": {}},
        web="/shared/media",
    )
    run = operator.apply(inventory)
    assert outcomes(run) == {
        "storage.datasets.tank/shared": Outcome.STALE,
        "storage.datasets.tank/shared/media": Outcome.NOT_RUN,
        "containers.web.create": Outcome.NOT_RUN,
        "containers.web.start": Outcome.NOT_RUN,
    }
    assert not {name for name in world.volumes() if name.startswith("tank/shared")}
    assert world.names() == {}
    world.run("rm -r /shared/*")
    operator.settle(inventory)
    assert world.run("zfs get -H -o value mountpoint,mounted tank/shared/media") == "/shared/media\nyes\n"
    assert world.running() == {100}


@pytest.mark.parametrize("jobs", [1, 8])
def test_datasets_are_made_in_the_order_of_the_pool_and_of_the_file_tree(
    world: World, prepared: State, tmp_path: Path, jobs: int
) -> None:
    world.restore(prepared)
    datasets: dict[str, dict[str, Any]] = {
        "tank/a": {"mountpoint": "/z/media/films"},
        "tank/z": {"mountpoint": "/z", "recordsize": "1M"},
        "tank/z/media": {"owner": "5:6"},
        "tank/z/media/deep/er": {"mountpoint": "/y"},
    }
    operator.settle(declared(tmp_path, datasets), jobs=jobs)
    assert world.run("zfs list -H -o name,mountpoint,recsize -r tank/z tank/a").split() == [
        *("tank/a", "/z/media/films", "128K"),
        *("tank/z", "/z", "1M"),
        *("tank/z/media", "/z/media", "1M"),
        *("tank/z/media/deep", "/z/media/deep", "1M"),
        *("tank/z/media/deep/er", "/y", "1M"),
    ]
    assert world.run("stat -c %u:%g /z/media") == "5:6\n"


def test_a_limited_run_makes_the_dataset_around_a_bound_folder_or_leaves_the_guest(
    world: World, prepared: State, tmp_path: Path
) -> None:
    world.restore(prepared)
    world.run("mkdir -p /shared/films")
    inventory = declared(tmp_path, {"tank/shared": {"mountpoint": "/shared"}}, sub="/shared/films")
    run = limited(inventory, "sub")
    assert run.exit_code == 3
    assert outcomes(run)["storage.datasets.tank/shared"] is Outcome.STALE
    assert world.names() == {}
    world.run("rmdir /shared/films && zfs create -o mountpoint=/shared tank/shared && mkdir /shared/films")
    world.run("zfs unmount tank/shared && mkdir -p /shared/films")
    run = limited(inventory, "sub")
    assert run.exit_code == 6
    assert "tank/shared is not mounted" in " ".join(note.text for note in run.left.notes)
    assert world.names() == {}
    world.run("rmdir /shared/films && zfs mount tank/shared")
    assert limited(inventory, "sub").exit_code == 0
    assert world.running() == {100}


def test_a_guest_is_put_on_a_dataset_that_says_no_mountpoint_in_the_run_that_makes_both(
    world: World, prepared: State, tmp_path: Path
) -> None:
    world.restore(prepared)
    operator.settle(declared(tmp_path, {"tank/plain": {"owner": "100000:100000"}}, web="/tank/plain"))
    assert world.running() == {100}


def test_owner_and_the_whole_mode_are_set_where_the_pool_is_mounted(
    world: World, prepared: State, tmp_path: Path
) -> None:
    world.restore(prepared)
    world.run("zfs create tank/there && zfs set mountpoint=/mnt/tank tank && chmod 6775 /mnt/tank/there")
    both: dict[str, dict[str, Any]] = {
        name: {"owner": "7:8", "mode": "770"} for name in ("tank/there", "tank/new")
    }
    operator.settle(declared(tmp_path, both))
    assert world.run("stat -c '%u:%g %a' /mnt/tank/there /mnt/tank/new").split() == ["7:8", "770"] * 2


@pytest.mark.parametrize(
    "properties",
    [
        {"xattr": "on", "compression": "gzip-6", "acltype": "posixacl"},
        {"xattr": "sa", "compression": "zstd-fast-1", "acltype": "posix"},
        {"xattr": "dir", "compression": "zstd-3", "dnodesize": "1k", "recordsize": "1M"},
    ],
)
def test_values_that_zfs_prints_in_another_way_are_set_once(
    world: World, prepared: State, tmp_path: Path, properties: dict[str, Any]
) -> None:
    world.restore(prepared)
    world.run("zfs create -o xattr=off -o compression=lz4 -o recordsize=16K tank/there")
    operator.settle(declared(tmp_path, {"tank/there": properties, "tank/new": properties}))
