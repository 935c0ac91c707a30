"""Replicas on another host, over ssh from the node: the second lab `nas`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet import lab
from fleet.domains.backup.spec import Keep
from fleet.inventory import Inventory
from tests.road import backups, copies, fleets, operator
from tests.road.world import State, World

DATA, COPY, TO = "tank/data", "backup/pve/tank:data", "tank/data to nas"
LIMIT = (DATA,)


@pytest.fixture(scope="module")
def other(_world: World) -> Iterator[World]:
    """The other host, with a dataset for copies."""
    made = World(lab.reset("nas", machine="replica"))
    made.run("zfs create -o canmount=off -o readonly=on backup/pve")
    yield made
    lab.down("nas")


@pytest.fixture(scope="module")
def made(_world: World, prepared: State, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The node with some data."""
    _world.restore(prepared)
    operator.settle(fleets.read(tmp_path_factory.mktemp("made"), fleets.fleet({})))
    _world.run("head -c 900000 /dev/urandom >/data/file")
    return _world.state()


@pytest.fixture(scope="module")
def empty(other: World) -> State:
    """The other host without any copy."""
    return other.state()


@pytest.fixture
def nas(other: World, empty: State) -> World:
    """The other host without any copy."""
    other.restore(empty)
    return other


@pytest.fixture
def node(_world: World, made: State, nas: World) -> World:
    """The node as made."""
    assert nas
    _world.restore(made)
    return _world


@pytest.fixture
def hosts(node: World, tmp_path: Path) -> Path:
    """The node's hosts.yml."""
    assert node
    return fleets.write(tmp_path, backups.fleet())


@pytest.fixture
def inventory(hosts: Path) -> Inventory:
    """A replica on the other host that keeps two."""
    return copies.read(hosts, copies.spec(replicas=(copies.NAS,)))


def copies_on(nas: World, dataset: str = COPY) -> list[str]:
    """The names of the copies, oldest first."""
    listed = nas.run(f"zfs list -H -d 1 -t snapshot -s createtxg -o name {dataset}").split()
    return [path.partition("@")[2] for path in listed]


def guid(world: World, path: str) -> str:
    return world.run(f"zfs get -Hp -o value guid {path}").strip()


def test_what_is_sent_arrives_there_with_its_mark_and_the_next_follows_it(
    node: World, nas: World, inventory: Inventory
) -> None:
    first = backups.snapshot(inventory, label="one", limit=LIMIT)
    report = copies.send(inventory, limit=LIMIT)
    assert report.exit_code == 0, report
    assert guid(nas, f"{COPY}@{first.name}") == guid(node, f"{DATA}@{first.name}")
    owner = (node.root / "var/lib/fleet/installation").read_text().strip()
    found = nas.run(f"zfs get -H -o value,source fleet:replica,readonly,canmount,mounted {COPY}").split()
    assert found == [f"{owner}:{DATA}", "local", "on", "local", "noauto", "local", "no", "-"]
    second = backups.snapshot(inventory, label="two", limit=LIMIT)
    node.run(f"zfs destroy {DATA}@{first.name}")  # the bookmark is enough
    assert copies.send(inventory, limit=LIMIT).exit_code == 0
    assert copies_on(nas) == [first.name, second.name]
    again = copies.send(inventory, limit=LIMIT)
    assert again.same == (TO,)
    assert node.leftovers() == []


def test_a_link_to_the_other_host_that_breaks_is_gone_on_with_where_it_was(
    node: World, nas: World, inventory: Inventory
) -> None:
    taken = backups.snapshot(inventory, limit=LIMIT)
    node.lab.faults.link(peer="nas", after=500_000, times=20)
    broken = copies.send(inventory, limit=LIMIT)
    assert broken.exit_code == 3
    token = nas.run(f"zfs get -H -o value receive_resume_token {COPY}").strip()
    assert token != "-"
    node.lab.faults.clear()
    report = copies.send(inventory, limit=LIMIT)
    assert report.exit_code == 0, report
    assert copies_on(nas) == [taken.name]
    record = (node.root / "var/lib/fleet/backups.log").read_text()
    assert f"made {taken.name} nas:{COPY}@{taken.name} {guid(node, f'{DATA}@{taken.name}')}" in record


@pytest.mark.slow
def test_the_replicas_own_policy_removes_there_only_what_fleet_sent(
    node: World, nas: World, hosts: Path
) -> None:
    wanted = copies.read(hosts, copies.spec(replicas=(replace(copies.NAS, keep=Keep(last=1)),)))
    nas.run("zfs create backup/pve/other && zfs snapshot backup/pve/other@fleet-daily-20200101t000000z")
    names = []
    for label in ("one", "two"):
        names.append(backups.snapshot(wanted, label=label, limit=LIMIT).name)
        report = copies.send(wanted, limit=LIMIT)
    assert report.exit_code == 0, report
    assert report.removed[TO] == (names[0],)
    assert copies_on(nas) == names[1:]
    assert copies_on(nas, "backup/pve/other") == ["fleet-daily-20200101t000000z"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["publickey", "unreachable"])
def test_a_host_that_lets_nobody_in_is_said_in_its_own_words_and_nothing_is_rotated_away(
    node: World, inventory: Inventory, how: str
) -> None:
    first = backups.snapshot(inventory, label="one", limit=LIMIT)
    assert copies.send(inventory, limit=LIMIT).exit_code == 0
    node.lab.faults.link(peer="nas", refuse=how)
    for label in ("two", "three"):
        backups.snapshot(inventory, label=label, limit=LIMIT)
    report = copies.send(inventory, limit=LIMIT)
    assert report.exit_code == 3
    assert "nas cannot be read" in report.failed[TO]
    assert f"{DATA}@{first.name}" in backups.snapshots(node)
    node.lab.faults.clear()
    assert copies.send(inventory, limit=LIMIT).exit_code == 0


@pytest.mark.slow
def test_divergence_there_stops_and_names_both_sides(node: World, nas: World, inventory: Inventory) -> None:
    first = backups.snapshot(inventory, label="one", limit=LIMIT)
    copies.send(inventory, limit=LIMIT)
    nas.run(f"zfs snapshot {COPY}@made-there")
    backups.snapshot(inventory, label="two", limit=LIMIT)
    report = copies.send(inventory, limit=LIMIT)
    assert report.exit_code == 3
    assert "made-there" in report.failed[TO]
    assert copies_on(nas) == [first.name, "made-there"]
