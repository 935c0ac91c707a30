"""Exhaustive: runs of dump and send cut at every execution, and their operator killed at every event.

Each time a plain rerun is whole: every guest has its archive, every replica its newest snapshot and its
bookmark, nothing that fleet did not make is gone, nothing is left locked, and no job stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.inventory import Inventory
from tests import thorough
from tests.road import backups, copies, fleets, operator
from tests.road.world import State, World

SOURCES = ("tank/data", "tank/guests/subvol-102-disk-0")
FOREIGN = (
    "tank/data@by-hand",
    "tank/data@fleet-daily-20200101t000000z",
    "tank/guests/subvol-102-disk-0@autosnap_2026-01-01_00:00:00_daily",
    "tank/replica@theirs",
    "tank/replica/theirs@fleet-daily-20200101t000000z",
)


class Scene:
    """The node before the run that is broken: everything was dumped and sent once, and snapshotted since."""

    def __init__(self, world: World, prepared: State, folder: Path, subjects: tuple[str, ...]) -> None:
        self.world = world
        self.subjects = subjects
        world.restore(prepared)
        self.hosts = fleets.write(folder, backups.fleet())
        operator.settle(fleets.read(folder, backups.fleet()))
        self.inventory: Inventory = copies.read(self.hosts, copies.few(*subjects))
        world.run("head -c 400000 /dev/urandom >/data/file; zfs create -o canmount=off tank/replica")
        world.run("zfs create -o canmount=off tank/replica/theirs")
        for path in FOREIGN:
            world.run(f"zfs snapshot {path}")
        world.run("zfs bookmark tank/data@by-hand tank/data#theirs")
        world.run("vzdump 102 --storage local --compress zstd --protected 1 --notes-template theirs")
        self.foreign = copies.archives(world)

    def foreign_is_there(self, case: str) -> None:
        paths = set(self.world.run("zfs list -H -t snapshot,bookmark -o name").split())
        assert {*FOREIGN, "tank/data#theirs"} <= paths, case
        assert self.foreign <= copies.archives(self.world), case


class Sending(Scene):
    """The next run sends two increments, and removes the copy before from each."""

    def __init__(self, world: World, prepared: State, folder: Path) -> None:
        super().__init__(world, prepared, folder, ("still", "tank/data"))
        self.old = backups.snapshot(self.inventory, label="one").name
        assert copies.send(self.inventory).exit_code == 0
        world.run("head -c 300000 /dev/urandom >/data/more")
        self.new = backups.snapshot(self.inventory, label="two").name
        self.start = world.state()
        begun = world.lab.exec_count()
        report = copies.send(self.inventory)
        assert report.exit_code == 0, report
        assert len(report.removed) == 2
        self.executions = world.lab.exec_count() - begun
        self.events = 2 + 2 * 4  # begin and end of the run; start and end of its four steps

    def rerun(self, case: str) -> None:
        """The plain rerun of a broken run, and all that must hold after it."""
        self.world.lab.faults.clear()
        report = copies.send(self.inventory)
        assert report.exit_code == 0, f"{case}: {report}"
        for source in SOURCES:
            target = f"tank/replica/{source.replace('/', ':')}"
            listed = self.world.run(f"zfs list -H -d 1 -t snapshot -o name,guid {target}").split()
            assert listed[::2] == [f"{target}@{self.new}"], case
            guid = self.world.run(f"zfs get -Hp -o value guid {source}@{self.new}").strip()
            assert listed[1] == guid, case
            marks = self.world.run(f"zfs list -H -d 1 -t bookmark -o name,guid {source}").split()
            ours = [name for name in marks if "#fleet-" in name]
            assert ours == [f"{source}#fleet-here-{self.new[-16:]}"], case
            assert guid in marks, case
        self.foreign_is_there(case)
        assert self.world.leftovers() == [], case


class Dumping(Scene):
    """The next run archives two guests, and removes the archive before of each."""

    def __init__(self, world: World, prepared: State, folder: Path) -> None:
        super().__init__(world, prepared, folder, ("plain", "still"))
        assert copies.dump(self.inventory, label="one").exit_code == 0
        self.start = world.state()
        begun = world.lab.exec_count()
        report = copies.dump(self.inventory, label="two")
        assert report.exit_code == 0, report
        assert len(report.removed) == 2
        self.executions = world.lab.exec_count() - begun
        self.events = 2 + 2 * 4

    def rerun(self, case: str) -> None:
        """The plain rerun of a broken run, and all that must hold after it."""
        self.world.lab.faults.clear()
        report = copies.dump(self.inventory, label="again")
        assert report.exit_code == 0, f"{case}: {report}"
        assert set(report.made) == {"plain", "still"}, case
        ours = sorted(copies.archives(self.world) - self.foreign)
        assert [name.split("-")[2] for name in ours] == ["101", "102"], f"{case}: {ours}"
        self.foreign_is_there(case)
        assert self.world.leftovers() == [], case


SCENES: Mapping[str, Callable[[World, State, Path], Sending | Dumping]] = {"send": Sending, "dump": Dumping}
RUNS: Mapping[str, Callable[[Inventory], object]] = {"send": copies.send, "dump": copies.dump}


@pytest.fixture(params=["send", "dump"])
def scene(
    request: pytest.FixtureRequest, _world: World, prepared: State, tmp_path: Path
) -> Sending | Dumping:
    """The scene, set up anew for each test."""
    return SCENES[request.param](_world, prepared, tmp_path)


@pytest.fixture
def crash_cases(record_property: Callable[[str, object], None]) -> Callable[[int, str], None]:
    """Counts cases, for the summary that pytest prints at its end (tests/conftest.py)."""
    return lambda cases, what: record_property("crash cases", f"{cases}, {what}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("when", thorough.of("during", "before", "after"))
def test_a_link_cut_at_any_execution_is_mended_by_the_next_run(
    scene: Sending | Dumping, when: str, crash_cases: Callable[[int, str], None]
) -> None:
    what = "send" if isinstance(scene, Sending) else "dump"
    cases = 0
    for number in thorough.cases(scene.executions):
        for ms in thorough.of(250, 0) if when == "during" else (0,):
            scene.world.restore(scene.start)
            scene.world.lab.faults.drop(when, nth=number, ms=ms)
            case = f"{what}: link cut {when} execution {number} ({ms} ms)"
            try:
                RUNS[what](scene.inventory)
            except FleetError as error:
                assert error.exit_code == 4, f"{case}: {error}"
            scene.rerun(case)
            cases += 1
    crash_cases(cases, f"the link cut {when} each of {scene.executions} executions of {what}")
    assert cases


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_operator_killed_at_any_event_leaves_nothing_that_the_next_run_does_not_settle(
    scene: Sending | Dumping, crash_cases: Callable[[int, str], None]
) -> None:
    what = "send" if isinstance(scene, Sending) else "dump"
    cases = 0
    for event in thorough.cases(scene.events):
        scene.world.restore(scene.start)
        assert copies.killed_at(event, scene.hosts, what, *scene.subjects), f"event {event} of {scene.events}"
        scene.rerun(f"{what}: killed at event {event}")
        cases += 1
    crash_cases(cases, f"the operator of {what} killed at each event")
    assert cases
