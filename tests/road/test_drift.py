"""Somebody works on the host by hand between the plan and its steps: skipped, refused, or planned anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.converge import gather, make_plan
from fleet.core.command import command
from fleet.core.errors import StalePlan
from fleet.core.plan import Plan, Why
from fleet.host.apply import Result, Watcher, apply
from fleet.host.guarded import Outcome
from fleet.inventory import Inventory
from fleet.run import connected
from tests.road import fleets, operator
from tests.road.world import State, World

Hand = Callable[[World], object]

BEFORE = fleets.fleet({"web": fleets.guest(100), "db": fleets.guest(101)})
AFTER = fleets.fleet({"web": fleets.guest(100, memory=512), "db": fleets.guest(101, memory=384)})
CREATED = fleets.fleet(
    {"web": fleets.guest(100), "db": fleets.guest(101), "new": fleets.guest(102, started=False)}
)


@pytest.fixture(scope="module")
def converged(_world: World, tmp_path_factory: pytest.TempPathFactory) -> State:
    """Two guests that run, as hosts.yml said."""
    _world.restore(_world.fresh)
    operator.settle(fleets.read(tmp_path_factory.mktemp("hosts"), BEFORE))
    return _world.state()


@pytest.fixture
def node(_world: World, converged: State) -> World:
    """The node with these two."""
    _world.restore(converged)
    return _world


def then(
    inventory: Inventory, world: World, hand: Hand, *, restart: bool = False
) -> tuple[Plan, dict[str, Result]]:
    """Plan, let somebody work on the host, then apply that very plan: what became of each step."""
    with connected(inventory) as shell:
        plan = make_plan(inventory, gather(shell, inventory), restart=restart)
        hand(world)
        quiet = Watcher(lambda _s: None, lambda _s, _l: None, lambda _r: None, lambda _n: None)
        results = apply(shell, plan, run="drift", jobs=4, watcher=quiet, check=lambda: None)
    return plan, {result.step.id: result for result in results}


def moved_away(world: World) -> None:
    elsewhere = world.root / "etc/pve/nodes/pve2/lxc"
    elsewhere.mkdir(parents=True)
    world.path(100).rename(elsewhere / "100.conf")


BY_HAND: dict[str, tuple[Hand, Outcome]] = {
    "memory edited": (lambda world: world.edit(100, "memory: 256", "memory: 300"), Outcome.STALE),
    "a line added": (
        lambda world: world.edit(100, "^onboot.*$|^cores: 1$", "cores: 1\nonboot: 1"),
        Outcome.STALE,
    ),
    "locked": (lambda world: world.edit(100, r"\Aarch", "lock: backup\narch"), Outcome.STALE),
    "tag taken": (lambda world: world.edit(100, "^tags: fleet$", "tags: theirs"), Outcome.STALE),
    "migrated away": (moved_away, Outcome.STALE),
    "destroyed": (lambda world: world.run("pct stop 100 && pct destroy 100"), Outcome.STALE),
    "done already": (lambda world: world.run("pct set 100 --memory 512"), Outcome.SKIPPED),
    "stopped": (lambda world: world.run("pct stop 100"), Outcome.DONE),
    "restarted": (lambda world: world.run("pct reboot 100"), Outcome.DONE),
}


@pytest.mark.parametrize("what", BY_HAND)
def test_what_was_done_by_hand_since_the_plan_is_never_overwritten(
    node: World, tmp_path: Path, what: str
) -> None:
    hand, outcome = BY_HAND[what]
    after_hand: list[str] = []

    def and_look(world: World) -> None:
        hand(world)
        after_hand.append(world.config(100) if world.path(100).exists() else "gone")

    _, results = then(fleets.read(tmp_path, AFTER), node, and_look)
    found = results["containers.web.set"]
    assert found.outcome is outcome, found.log
    assert results["containers.db.set"].outcome is Outcome.DONE
    assert "memory: 384\n" in node.config(101)
    if outcome in (Outcome.STALE, Outcome.SKIPPED):
        assert (node.config(100) if node.path(100).exists() else "gone") == after_hand[0]
    if outcome is Outcome.STALE:
        assert found.log[0].startswith("no longer so: "), found.log
    assert node.leftovers() == (["100: lock: backup"] if what == "locked" else [])


@pytest.mark.parametrize(
    "what", [what for what, (_, outcome) in BY_HAND.items() if outcome is not Outcome.SKIPPED]
)
def test_a_saved_plan_is_stale_after_it_and_a_new_one_takes_it_in(
    node: World, tmp_path: Path, what: str
) -> None:
    inventory = fleets.read(tmp_path, AFTER)
    saved = operator.plan(inventory)
    BY_HAND[what][0](node)
    volumes, configs = node.volumes(), {vmid: node.config(vmid) for vmid in node.names()}
    if what == "restarted":  # a restart changes nothing that a plan stands on
        assert operator.apply(inventory, saved=saved).exit_code == 0
        return
    with pytest.raises(StalePlan, match=r"guest 100 changed since; plan again"):
        operator.apply(inventory, saved=saved)
    assert {vmid: node.config(vmid) for vmid in node.names()} == configs
    run = operator.apply(inventory)
    assert run.exit_code == {"locked": 3, "tag taken": 6, "migrated away": 6}.get(what, 0)
    assert volumes <= node.volumes()
    assert sorted(node.names().values()) == (["db"] if what == "migrated away" else ["db", "web"])


def test_a_saved_plan_is_run_as_it_was_saved_and_is_stale_once_it_was_run(
    node: World, tmp_path: Path
) -> None:
    inventory = fleets.read(tmp_path, AFTER)
    saved = operator.plan(inventory)
    run = operator.apply(inventory, saved=saved)
    assert (run.exit_code, run.plan) == (0, saved)
    with pytest.raises(StalePlan):
        operator.apply(inventory, saved=saved)


def test_a_saved_plan_is_stale_where_hosts_yml_has_changed(node: World, tmp_path: Path) -> None:
    saved = operator.plan(fleets.read(tmp_path, AFTER))
    with pytest.raises(StalePlan, match=r"hosts\.yml changed"):
        operator.apply(fleets.read(tmp_path, BEFORE), saved=saved)


def test_a_saved_plan_that_holds_another_command_is_refused(node: World, tmp_path: Path) -> None:
    inventory = fleets.read(tmp_path, AFTER)
    saved = operator.plan(inventory)
    first = replace(saved.steps[0], do=(command("touch", "/root/planted"),))
    with pytest.raises(StalePlan, match=f"these steps are others: {first.id}; plan again"):
        operator.apply(inventory, saved=replace(saved, steps=(first, *saved.steps[1:])))
    assert node.run("ls /root/planted || echo absent").strip().endswith("absent")


def test_a_vmid_that_somebody_took_since_the_plan_is_left_to_them(node: World, tmp_path: Path) -> None:
    theirs = "hostname: theirs\nmemory: 64\n"
    _, results = then(
        fleets.read(tmp_path, CREATED), node, lambda world: world.path(102).write_text(theirs) and None
    )
    assert results["containers.new.create"].outcome is Outcome.STALE
    assert node.config(102) == theirs


def test_a_guest_that_was_started_by_hand_needs_no_start(node: World, tmp_path: Path) -> None:
    node.run("pct stop 100")
    _, results = then(fleets.read(tmp_path, BEFORE), node, lambda world: world.run("pct start 100") and None)
    assert results["containers.web.start"].outcome is Outcome.SKIPPED
    assert 100 in node.running()


def test_a_restart_that_somebody_did_is_not_done_again(node: World, tmp_path: Path) -> None:
    waiting = fleets.read(tmp_path, fleets.fleet({"web": fleets.guest(100, features="nesting=1,fuse=1")}))
    operator.settle(waiting)
    hand: Hand = lambda world: world.run("pct reboot 100") and None  # noqa: E731
    plan, results = then(waiting, node, hand, restart=True)
    assert [step.action for step in plan.steps] == ["restart"]
    assert results["containers.web.restart"].outcome is Outcome.SKIPPED


def test_a_raw_line_of_a_running_guest_waits_until_its_restart(node: World, tmp_path: Path) -> None:
    def wanted(**settings: str) -> Inventory:
        web = fleets.guest(100, raw=["lxc.cap.drop: sys_boot"], **settings)
        return fleets.read(tmp_path, fleets.fleet({"web": web, "db": fleets.guest(101)}))

    def waiting(inventory: Inventory) -> list[tuple[str, str]]:
        notes = [note for note in operator.plan(inventory).notes if note.why is Why.PENDING]
        return [(note.subject, note.differences[0].key) for note in notes]

    operator.apply(wanted())
    assert waiting(wanted()) == [("web (100)", "raw")]
    restarted = operator.apply(wanted(), restart=True)
    assert [(result.step.id, result.outcome) for result in restarted.results] == [
        ("containers.web.restart", Outcome.DONE)
    ]
    mounted = wanted(mp0="/data,mp=/data")
    operator.apply(mounted)  # plugged into the running container
    assert waiting(mounted) == []
