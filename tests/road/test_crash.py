"""Exhaustive: a run that makes three guests and changes three, cut at every execution, killed at every event.

Each time a plain rerun converges: nothing is lost or doubled, and no lock, job or half-written file stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.inventory import Inventory
from tests import thorough
from tests.road import fleets, operator
from tests.road.world import State, World

BEFORE = fleets.fleet(
    {
        "a": fleets.guest(100, mp0="/data,mp=/data"),
        "b": fleets.guest(101, mp1="docker:1,mp=/docker", raw=["lxc.cap.drop: sys_time"]),
        "c": fleets.guest(102, template="alpine", started=False),
    }
)
AFTER = fleets.fleet(
    {
        "a": fleets.guest(100, mp0="/data,mp=/data", memory=512, description="100% changed: ä\nin two lines"),
        "b": fleets.guest(
            101, mp1="docker:2,mp=/docker", raw=["lxc.cap.drop: sys_boot"], features="nesting=1,fuse=1"
        ),
        "c": fleets.guest(102, template="alpine", rootfs="guests:2", tags="changed"),
        "d": fleets.guest(103, mp1="docker:1,mp=/docker"),
        "e": fleets.guest(104, template="alpine", started=False, raw=["lxc.cap.drop: sys_time"]),
        "f": fleets.guest(105, mp0="/data,mp=/data", depends_on=["d"]),
    }
)


class Scene:
    """The node before the run, the run's hosts.yml, and what is true after a run that nothing disturbed."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.start = _converged(world, folder)
        self.hosts = fleets.write(folder, AFTER)
        self.inventory: Inventory = fleets.read(folder, AFTER)
        begun = world.lab.exec_count()
        self.events = len(operator.settle(self.inventory, restart=True).results) * 2 + 2
        self.executions = world.lab.exec_count() - begun
        self.expected = self.truth()

    def truth(self) -> object:
        """What must come out of every case alike: guests, their configurations, what runs, every volume."""
        configs = {vmid: _stable(self.world.config(vmid)) for vmid in self.world.names()}
        return (
            dict(self.world.names()),
            configs,
            sorted(self.world.running()),
            sorted(self.world.volumes()),
        )

    def rerun(self, case: str) -> None:
        """The plain rerun of a broken run, whose last plan must be empty, and all that must hold after it."""
        self.world.lab.faults.clear()
        operator.settle(self.inventory, restart=True)
        assert self.truth() == self.expected, case
        assert self.world.leftovers() == [], case


def _converged(world: World, folder: Path) -> State:
    operator.settle(fleets.read(folder, BEFORE))
    return world.state()


def _stable(config: str) -> str:
    """The configuration without the address that Proxmox makes up."""
    return re.sub(r"hwaddr=[0-9A-F:]+", "hwaddr=", config)


@pytest.fixture
def scene(world: World, tmp_path: Path) -> Scene:
    """The scene, set up anew for each test."""
    return Scene(world, tmp_path)


@pytest.fixture
def crash_cases(record_property: Callable[[str, object], None]) -> Callable[[int, str], None]:
    """Counts cases, for the summary that pytest prints at its end (tests/conftest.py)."""
    return lambda cases, what: record_property("crash cases", f"{cases}, {what}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", thorough.MOMENTS)
def test_a_link_cut_at_any_execution_is_mended_by_a_plain_rerun(
    scene: Scene, when: str, crash_cases: Callable[[int, str], None]
) -> None:
    cases = 0
    for number in range(1, scene.executions + 1):
        for ms in thorough.of(120, 0) if when == "during" else (0,):
            scene.world.restore(scene.start)
            scene.world.lab.faults.drop(when, nth=number, ms=ms)
            case = f"link cut {when} execution {number} ({ms} ms)"
            try:
                operator.apply(scene.inventory, restart=True)
            except FleetError as error:
                assert error.exit_code == 4, f"{case}: {error}"
            scene.rerun(case)
            cases += 1
    crash_cases(cases, f"the link cut {when} each of {scene.executions} executions")
    assert cases >= 15


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("jobs", thorough.of(4, 1))
def test_an_operator_killed_at_any_event_leaves_nothing_that_a_rerun_does_not_settle(
    scene: Scene, jobs: int, crash_cases: Callable[[int, str], None]
) -> None:
    cases = 0
    for event in range(1, scene.events + 1):
        scene.world.restore(scene.start)
        assert operator.killed_at(event, scene.hosts, jobs=jobs), f"event {event} of {scene.events}"
        scene.rerun(f"killed at event {event}, {jobs} jobs")
        cases += 1
    crash_cases(cases, f"the operator killed at each event of a run with {jobs} jobs")
    assert cases >= 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_command_of_proxmox_killed_in_the_middle_is_settled_or_said(
    scene: Scene, crash_cases: Callable[[int, str], None]
) -> None:
    """A killed `pct create` leaves what Proxmox leaves: fleet names it, harms nothing, and does the rest."""
    cases = 0
    for number in range(1, 14):
        for ms in thorough.of(30, 70):
            scene.world.restore(scene.start)
            volumes = scene.world.volumes()
            scene.world.lab.faults.kill("pct", nth=number, ms=ms)
            case = f"pct call {number} killed after {ms} ms"
            operator.apply(scene.inventory, restart=True)
            scene.world.lab.faults.clear()
            run = operator.apply(scene.inventory, restart=True)
            names = list(scene.world.names().values())
            assert len(names) == len(set(names)), case
            assert volumes <= scene.world.volumes(), case
            locked = {note.subject for note in run.left.notes if note.why == "locked"}
            assert {step.subject for step in run.left.steps} <= locked or not run.left.steps, case
            if not locked:
                assert operator.plan(scene.inventory, restart=True).steps == (), case
            cases += 1
    crash_cases(cases, "a pct command killed")
    assert cases >= 13
