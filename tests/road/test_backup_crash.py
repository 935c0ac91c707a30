"""Exhaustive: a run of snapshots cut at every execution, killed at every event, and inside every command.

Each time a plain rerun is whole, nothing that fleet did not make is gone, nothing that the policy keeps is
gone, no guest is locked or frozen, and no job stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.inventory import Inventory
from tests import thorough
from tests.road import backups, fleets, operator
from tests.road.world import State, World

FOREIGN = frozenset(
    {
        "tank/guests/subvol-100-disk-0@by-hand",
        "tank/guests/subvol-100-disk-0@fleet-daily-20200101t000000z",
        "tank/docker/subvol-100-disk-0@autosnap_2026-01-01_00:00:00_daily",
        "tank/data@__replicate_1-0_1700000000__",
        "tank/guests/subvol-101-disk-0@byhand",
    }
)
SUBJECTS = {"bound", "plain", "still", "tank/data"}


class Scene:
    """The node with two sets of snapshots and some of others; the next run takes one set and removes one."""

    def __init__(self, world: World, prepared: State, folder: Path) -> None:
        self.world = world
        world.restore(prepared)
        self.hosts = fleets.write(folder, backups.fleet())
        self.inventory: Inventory = fleets.read(folder, backups.fleet())
        operator.settle(self.inventory)
        world.run("pct snapshot 101 byhand")
        for path in sorted(FOREIGN - {"tank/guests/subvol-101-disk-0@byhand"}):
            world.run(f"zfs snapshot {path}")
        self.old = [backups.snapshot(self.inventory, label=label).name for label in ("one", "two")]
        self.start = world.state()
        begun = world.lab.exec_count()
        report = backups.snapshot(self.inventory, label="three")
        assert report.exit_code == 0, report
        assert set(report.removed) == SUBJECTS
        self.executions = world.lab.exec_count() - begun
        self.events = 2 + 2 * 4  # begin and end of the run; start and end of its four steps

    def rerun(self, case: str) -> None:
        """The plain rerun of a broken run, and all that must hold after it."""
        self.world.lab.faults.clear()
        assert _thaws(self.world), case
        report = backups.snapshot(self.inventory, label="again")
        assert report.exit_code == 0, f"{case}: {report}"
        assert set(report.taken) == SUBJECTS, case
        paths = backups.snapshots(self.world)
        assert paths >= FOREIGN, f"{case}: {FOREIGN - paths} is gone"
        for dataset in ("tank/guests/subvol-100-disk-0", "tank/docker/subvol-100-disk-0", "tank/data"):
            ours = {path for path in paths - FOREIGN if path.startswith(f"{dataset}@")}
            assert f"{dataset}@{report.name}" in ours, case
            assert len(ours) == 2, f"{case}: keep-last=2 leaves {ours}"
        assert len(backups.sections(self.world, 101)) == 3, case  # two, and one by hand
        assert self.world.leftovers() == [], case
        assert self.world.lab.still_frozen() == [], case


def _thaws(world: World) -> bool:
    """Whether the watchdog on the host lets all go by itself."""
    for _ in range(80):
        if not world.lab.still_frozen():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def scene(_world: World, prepared: State, tmp_path: Path) -> Scene:
    """The scene, set up anew for each test."""
    return Scene(_world, prepared, tmp_path)


@pytest.fixture
def crash_cases(record_property: Callable[[str, object], None]) -> Callable[[int, str], None]:
    """Counts cases, for the summary that pytest prints at its end (tests/conftest.py)."""
    return lambda cases, what: record_property("crash cases", f"{cases}, {what}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", thorough.MOMENTS)
def test_a_link_cut_at_any_execution_of_a_run_of_snapshots_is_mended_by_the_next(
    scene: Scene, when: str, crash_cases: Callable[[int, str], None]
) -> None:
    cases = 0
    for number in thorough.cases(scene.executions):
        for ms in thorough.of(60, 0, 200) if when == "during" else (0,):
            scene.world.restore(scene.start)
            scene.world.lab.faults.drop(when, nth=number, ms=ms)
            case = f"link cut {when} execution {number} ({ms} ms)"
            try:
                backups.snapshot(scene.inventory, label="three")
            except FleetError as error:
                assert error.exit_code == 4, f"{case}: {error}"
            scene.rerun(case)
            cases += 1
    crash_cases(cases, f"snapshots, the link cut {when} each of {scene.executions} executions")
    assert cases


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_operator_killed_at_any_event_of_a_run_of_snapshots_leaves_nothing_that_the_next_does_not_settle(
    scene: Scene, crash_cases: Callable[[int, str], None]
) -> None:
    cases = 0
    for event in thorough.cases(scene.events):
        scene.world.restore(scene.start)
        assert backups.killed_at(event, scene.hosts, "snapshot"), f"event {event} of {scene.events}"
        scene.rerun(f"killed at event {event}")
        cases += 1
    crash_cases(cases, "snapshots, the operator killed at each event")
    assert cases


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", ["zfs", "pct"])
def test_a_command_killed_in_a_run_of_snapshots_harms_nothing(
    scene: Scene, command: str, crash_cases: Callable[[int, str], None]
) -> None:
    """What a killed `pct delsnapshot` leaves locked is said, with its repair, and never repaired unasked."""
    cases = 0
    for number in thorough.cases(8):
        scene.world.restore(scene.start)
        scene.world.lab.faults.kill(command, nth=number, ms=20)
        case = f"{command} number {number} killed"
        backups.snapshot(scene.inventory, label="three")
        scene.world.lab.faults.clear()
        assert backups.snapshots(scene.world) >= FOREIGN, case
        assert _thaws(scene.world), case
        report = backups.snapshot(scene.inventory, label="again")
        assert set(report.taken) | set(report.failed) == SUBJECTS, case
        for name, why in report.failed.items():
            assert "lock" in why, f"{case}: {name}: {why}"
        assert backups.snapshots(scene.world) >= FOREIGN, case
        cases += 1
    crash_cases(cases, f"snapshots, {command} killed on the host")
