"""Exhaustive: a restore, a guest put back and a drill, cut at every execution, killed at every event.

Each time the same command once more is whole: the copy is there once, nothing that was there before is gone,
nothing that nobody owns stays, no guest is locked and no job is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.inventory import Inventory
from tests import thorough
from tests.road import backups, fleets, operator, restores
from tests.road.restores import ROOTFS
from tests.road.world import State, World


class Scene:
    """The node with one set of snapshots, a foreign one, and a file that has changed since."""

    def __init__(self, world: World, prepared: State, folder: Path) -> None:
        self.world = world
        world.restore(prepared)
        self.hosts = fleets.write(folder, restores.fleet())
        self.inventory: Inventory = fleets.read(folder, restores.fleet())
        operator.settle(self.inventory)
        world.run(f"zfs snapshot {ROOTFS}@by-hand")
        restores.write(world, ROOTFS, "root/notes", "then")
        assert backups.snapshot(self.inventory, label="one").exit_code == 0
        restores.write(world, ROOTFS, "root/notes", "now")
        self.start = world.state()
        self.before = restores.datasets(world)
        self.running = world.running()
        self.name = next(name for name in self.before if name.startswith(f"{ROOTFS}@fleet-one")).partition(
            "@"
        )[2]
        self.executions = 0
        self.events = 0

    def measure(self, run: Callable[[], object]) -> None:
        """Counts the executions and the journal's lines of a run that nothing disturbs."""
        journal = operator_journal()
        lines = len(journal.read_bytes().splitlines())
        begun = self.world.lab.exec_count()
        run()
        self.executions = self.world.lab.exec_count() - begun
        self.events = len(journal.read_bytes().splitlines()) - lines
        self.world.restore(self.start)

    def nothing_is_gone(self, case: str) -> None:
        """Every dataset and snapshot of before is there, whatever its name is now; no lock, no job."""
        now = restores.datasets(self.world)
        gone = {name for name, guid in self.before.items() if guid not in now.values()}
        assert not gone, f"{case}: {gone}"
        assert {100, 101, 102} <= set(self.world.names()), case
        assert self.world.leftovers() == [], case
        assert self.running <= self.world.running(), case


def operator_journal() -> Path:
    """The journal of this process's state folder."""
    return Path(os.environ["XDG_STATE_HOME"]) / "fleet/journal/pve.jsonl"


def restored(scene: Scene, case: str) -> None:
    """The same restore once more, after which there is one copy, whole."""
    scene.world.lab.faults.clear()
    done = restores.restore(scene.inventory, f"bound@{scene.name}")
    assert done.exit_code == 0, f"{case}: {done}"
    scene.nothing_is_gone(case)
    assert set(scene.world.names()) == {100, 101, 102, 103}, case
    assert restores.text(scene.world, "tank/guests/subvol-103-disk-0", "root/notes") == "then", case
    assert restores.text(scene.world, ROOTFS, "root/notes") == "now", case
    new = set(restores.datasets(scene.world)) - set(scene.before)
    assert new == {"tank/guests/subvol-103-disk-0", "tank/docker/subvol-103-disk-0"}, case
    assert "link_down=1" in scene.world.config(103), case


def put_back(scene: Scene, case: str) -> None:
    """The same once more, after which the guest runs with the data of then, and those of now are aside."""
    scene.world.lab.faults.clear()
    done = restores.restore(scene.inventory, f"bound@{scene.name}", in_place=True)
    assert done.exit_code == 0, f"{case}: {done}"
    scene.nothing_is_gone(case)
    assert restores.text(scene.world, ROOTFS, "root/notes") == "then", case
    now = restores.datasets(scene.world)
    (aside,) = (name for name, guid in now.items() if guid == scene.before[ROOTFS])
    assert restores.text(scene.world, aside, "root/notes") == "now", case


def drilled(scene: Scene, case: str) -> None:
    """The drill once more, after which all is proven and the node is as before."""
    scene.world.lab.faults.clear()
    done = restores.drill(scene.inventory, "bound")
    assert done.exit_code == 0, f"{case}: {done}"
    scene.nothing_is_gone(case)
    assert restores.datasets(scene.world) == scene.before, case
    assert set(scene.world.names()) == {100, 101, 102}, case
    assert scene.world.running() == scene.running, case


#: What is broken, and the run that mends it, by the name of the task.
RUNS: dict[str, tuple[Callable[[Scene], object], Callable[[Scene, str], None]]] = {
    "restore": (lambda scene: restores.restore(scene.inventory, f"bound@{scene.name}"), restored),
    "in place": (
        lambda scene: restores.restore(scene.inventory, f"bound@{scene.name}", in_place=True),
        put_back,
    ),
    "drill": (lambda scene: restores.drill(scene.inventory, "bound"), drilled),
}


@pytest.fixture
def scene(_world: World, prepared: State, tmp_path: Path) -> Scene:
    """The scene, set up anew for each test."""
    return Scene(_world, prepared, tmp_path)


@pytest.fixture
def crash_cases(record_property: Callable[[str, object], None]) -> Callable[[int, str], None]:
    """Counts cases, for the summary that pytest prints at its end (tests/conftest.py)."""
    return lambda cases, what: record_property("crash cases", f"{cases}, {what}")


def cut(scene: Scene, what: str, when: str, crash_cases: Callable[[int, str], None]) -> None:
    run, mended = RUNS[what]
    scene.measure(lambda: run(scene))
    cases = 0
    for number in thorough.cases(scene.executions):
        for ms in thorough.of(60, 30, 200) if when == "during" else (0,):
            scene.world.restore(scene.start)
            scene.world.lab.faults.drop(when, nth=number, ms=ms)
            case = f"{what}: link cut {when} execution {number} ({ms} ms)"
            try:
                run(scene)
            except FleetError as error:
                assert error.exit_code == 4, f"{case}: {error}"
            mended(scene, case)
            cases += 1
    crash_cases(cases, f"{what}, the link cut {when} each of {scene.executions} executions")
    assert cases


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", thorough.of("during", "before", "after"))
def test_a_link_cut_at_any_execution_of_a_restore_is_mended_by_the_same_command(
    scene: Scene, when: str, crash_cases: Callable[[int, str], None]
) -> None:
    cut(scene, "restore", when, crash_cases)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", thorough.of("during", "before", "after"))
def test_a_link_cut_while_a_guest_is_put_back_loses_nothing(
    scene: Scene, when: str, crash_cases: Callable[[int, str], None]
) -> None:
    cut(scene, "in place", when, crash_cases)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", thorough.of("during", "before", "after"))
def test_a_link_cut_in_a_drill_leaves_nothing_that_the_next_does_not_destroy(
    scene: Scene, when: str, crash_cases: Callable[[int, str], None]
) -> None:
    cut(scene, "drill", when, crash_cases)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", thorough.of("in place", "restore", "drill"))
def test_an_operator_killed_at_any_event_leaves_what_the_same_command_settles(
    scene: Scene, what: str, crash_cases: Callable[[int, str], None]
) -> None:
    run, mended = RUNS[what]
    scene.measure(lambda: run(scene))
    cases = 0
    for event in thorough.cases(scene.events):
        scene.world.restore(scene.start)
        assert restores.killed_at(event, scene.hosts, what, f"bound@{scene.name}"), f"event {event}"
        mended(scene, f"{what}: killed at event {event}")
        cases += 1
    crash_cases(cases, f"{what}, the operator killed at each event")
    assert cases


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", thorough.of("in place", "restore", "drill"))
def test_a_zfs_that_dies_in_the_middle_is_settled_by_the_same_command(
    scene: Scene, what: str, crash_cases: Callable[[int, str], None]
) -> None:
    run, mended = RUNS[what]
    cases = 0
    for number in thorough.cases(13):
        scene.world.restore(scene.start)
        scene.world.lab.faults.kill("zfs", nth=number, ms=25)
        with suppress(FleetError):
            run(scene)
        mended(scene, f"{what}: zfs call {number} killed")
        cases += 1
    crash_cases(cases, f"{what}, a zfs command killed")
    assert cases
