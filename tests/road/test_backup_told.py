"""Who hears of a run, over real HTTP; and that no secret of hosts.yml is anywhere but where it belongs."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fleet.backups import telling
from fleet.core.errors import FleetError
from fleet.inventory import Inventory
from fleet.notify import Report
from tests.notify.receiver import Receiver, receiving
from tests.road import backups, fleets, operator
from tests.road.operator import ROOT
from tests.road.test_inv import Inv
from tests.road.world import State, World

MARKER = "marker3f9a7c51"
TOKEN = f"tk_{MARKER}0123456789abcdef0"
TOPICS = {each: f"homelab-{each}" for each in ("critical", "warning", "info", "success")}


@pytest.fixture(scope="module")
def made(_world: World, prepared: State, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The node with its guests."""
    _world.restore(prepared)
    operator.settle(fleets.read(tmp_path_factory.mktemp("made"), backups.fleet()))
    return _world.state()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real HTTP server."""
    with receiving() as made:
        yield made


@pytest.fixture
def inv(
    _world: World,
    made: State,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> Inv:
    """A fleet that tells a receiver of its runs: by ntfy, and as a dead-man switch."""
    _world.restore(made)
    (tmp_path / "tasks.py").write_text((ROOT / "tasks.py").read_text())
    write(tmp_path)
    monkeypatch.setenv("FLEET_NOTIFY_URL", f"ntfy://{TOKEN}@127.0.0.1:{receiver.port}")
    monkeypatch.setenv("FLEET_DEAD_MAN_URL", receiver.at(f"ping/{MARKER}-uuid"))
    return Inv(tmp_path)


def write(folder: Path, **notifications: Any) -> None:
    policy = {**backups.POLICY, "dead-man": {"snapshot": "env:FLEET_DEAD_MAN_URL"}}
    told = {"url": "env:FLEET_NOTIFY_URL", "topics": TOPICS, **notifications}
    fleets.write(folder, backups.fleet(backup=policy, notifications=told))


def break_(world: World, *vmids: int) -> None:
    """Somebody has destroyed a volume of each of these guests: no snapshot of them can be made."""
    for vmid in vmids:
        world.run(f"zfs destroy -r tank/docker/subvol-{vmid}-disk-0")


def pings(there: Receiver) -> list[str]:
    return [each.path for each in there.requests if each.path.startswith("/ping")]


def told(there: Receiver) -> list[dict[str, Any]]:
    """The notices, without what apprise adds."""
    found = [json.loads(each.body) for each in there.requests if not each.path.startswith("/ping")]
    return [{key: each[key] for key in ("topic", "title", "message")} for each in found]


def test_a_good_run_is_one_success_and_two_pings(inv: Inv, receiver: Receiver) -> None:
    done = inv("backup.snapshot")
    assert pings(receiver) == [f"/ping/{MARKER}-uuid/start", f"/ping/{MARKER}-uuid"]
    [notice] = told(receiver)
    assert notice["topic"] == "homelab-success"
    assert notice["title"] == "pve: backup.snapshot: done"
    assert "4 taken" in notice["message"]
    assert "warning" not in done.stderr


def test_all_guests_that_failed_are_one_notice(
    inv: Inv,
    receiver: Receiver,
    _world: World,
) -> None:
    break_(_world, 100, 101)
    inv("backup.snapshot", code=3)
    assert pings(receiver)[-1] == f"/ping/{MARKER}-uuid/fail"
    [notice] = told(receiver)
    assert (notice["topic"], notice["title"]) == ("homelab-critical", "pve: backup.snapshot: 2 failures")
    assert all(f"\n{name}: " in notice["message"] for name in ("bound", "plain"))


def test_a_node_that_is_not_there_is_told_of(
    inv: Inv,
    receiver: Receiver,
    _world: World,
) -> None:
    hosts = inv.folder / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("address: lab", "address: 127.0.0.1\n  port: 1"))
    inv("backup.snapshot", code=4)
    assert pings(receiver) == [f"/ping/{MARKER}-uuid/start", f"/ping/{MARKER}-uuid/fail"]
    assert [notice["topic"] for notice in told(receiver)] == ["homelab-critical"]


def test_receivers_that_fail_change_nothing_but_a_line_each(
    inv: Inv,
    receiver: Receiver,
) -> None:
    receiver.status = 500
    done = inv("backup.snapshot")
    lines = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 3
    assert sum("the dead-man switch was not told" in line for line in lines) == 2
    assert sum("notice not delivered: success (homelab-success)" in line for line in lines) == 1


def test_no_secret_is_in_command_lines_outputs_journals_or_on_the_node(
    inv: Inv,
    receiver: Receiver,
    _world: World,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = tmp_path_factory.mktemp("secrets")
    for name in ("one", "two"):
        (secrets / name).write_text(f"json://user:{MARKER}-{name}@127.0.0.1:{receiver.port}/{name}\n")
    (secrets / "one").chmod(0o644)
    write(inv.folder, critical=[f"file:{secrets}/one", f"command:cat {secrets}/two"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    break_(_world, 100)
    receiver.status = 500
    with command_lines() as seen:
        done = [
            inv("backup.snapshot", "--json", code=3),
            inv("backup.snapshot", "--check", code=3),
            inv("notify.test", code=3),
        ]
    used = " ".join(f"{each.path} {sorted(each.headers.items())}" for each in receiver.requests)
    assert f"Bearer {TOKEN}" in used  # they were used ...
    assert "/two" in used
    assert f"/ping/{MARKER}-uuid/fail" in used
    assert any("backup.snapshot" in line for line in seen)

    said = [text for each in done for text in (each.stdout, each.stderr)]
    said += [*seen, *(each.body for each in receiver.requests)]
    said += [*contents(Path(os.environ["XDG_STATE_HOME"])), *contents(_world.root / "var/lib")]
    said += [*contents(_world.root / "run"), *contents(_world.root / "tmp"), *contents(inv.folder)]
    assert len(said) > 20
    assert [text for text in said if MARKER in text] == []  # ... and are nowhere else
    assert "chmod 600" in done[0].stderr


def contents(folder: Path) -> Iterator[str]:
    """The text of each file below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_text(errors="replace")


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """The command lines of all processes that could be seen while the block ran."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(process.read_text(errors="replace").replace("\0", " "))

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield seen
        time.sleep(0.15)
    finally:
        over.set()
        watching.join()


def test_a_run_that_systemd_stops_is_told_of(inv: Inv, receiver: Receiver, tmp_path: Path) -> None:
    def stopped(_inventory: Inventory) -> NoReturn:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5)
        raise AssertionError("it was not stopped")

    with pytest.raises(FleetError, match="SIGTERM"):
        telling.told(inv.folder / "hosts.yml", "backup.snapshot", stopped, never, whole=True)
    assert pings(receiver)[-1] == f"/ping/{MARKER}-uuid/fail"
    assert "stopped by SIGTERM" in told(receiver)[0]["message"]


def test_a_fault_of_fleet_itself_is_told_of(inv: Inv, receiver: Receiver) -> None:
    def faulty(_inventory: Inventory) -> NoReturn:
        raise ZeroDivisionError(MARKER)

    with pytest.raises(ZeroDivisionError):
        telling.told(inv.folder / "hosts.yml", "backup.snapshot", faulty, never, whole=True)
    assert pings(receiver)[-1] == f"/ping/{MARKER}-uuid/fail"
    [notice] = told(receiver)
    assert "ZeroDivisionError" in notice["message"]
    assert MARKER not in notice["message"]


def never(_value: object, _inventory: Inventory) -> Report:
    raise AssertionError("there is nothing to report")
