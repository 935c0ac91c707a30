"""Who hears of a run that ended before it began, or not as it should; over real HTTP, without a node."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.backups.telling import told
from fleet.core.errors import FleetError, InventoryError, UsageError
from fleet.inventory import Inventory
from fleet.notify import Report
from fleet.tasks import backup, backup_copies
from fleet.tasks.cli import Options, Task
from tests.inventory.small import WEB
from tests.inventory.test_backups import NODE, STORES
from tests.notify.receiver import Receiver

TOKEN = "marker3f9a7c51"
TOLD = """\
  dead-man: {snapshot: env:FLEET_PING, dump: env:FLEET_PING_DUMP}
notifications:
  critical: ["env:FLEET_JSON"]
  warning: ["env:FLEET_JSON"]
"""


@dataclass(frozen=True)
class Ended:
    exit_code: int


@pytest.fixture
def hosts(
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A hosts.yml whose runs tell the receiver."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("FLEET_JSON", f"json://user:{TOKEN}@127.0.0.1:{receiver.port}/notice")
    for end in ("", "_DUMP", "_HOURLY"):
        monkeypatch.setenv(f"FLEET_PING{end}", receiver.at(f"ping{end.lower()}"))
    path = tmp_path / "hosts.yml"
    path.write_text(f"{STORES}{NODE}{TOLD}{WEB}")
    return path


def run(hosts: Path, code: int = 0, job: str = "", **report: tuple[str, ...]) -> None:
    """A run of snapshots that ends with this code."""

    def said(_value: Ended, inventory: Inventory) -> Report:
        return Report("backup.snapshot", inventory.node.name, "summary", **report)

    told(hosts, "backup.snapshot", lambda _inventory: Ended(code), said, whole=True, job=job)


def pings(receiver: Receiver) -> list[str]:
    return [each.path for each in receiver.requests if each.path.startswith("/ping")]


def notices(receiver: Receiver) -> list[str]:
    return [json.loads(each.body)["message"] for each in receiver.requests if each.path == "/notice"]


@pytest.mark.parametrize(("code", "end"), [(0, ""), (3, "/fail"), (6, "/fail")])
def test_the_dead_man_hears_of_success_only_where_the_run_exits_with_0(
    hosts: Path, receiver: Receiver, code: int, end: str
) -> None:
    run(hosts, code, warnings=("plex: 12 removals at once: --yes-remove 12",) if code else ())
    assert pings(receiver) == ["/ping/start", f"/ping{end}"]
    if code:
        assert "--yes-remove 12" in receiver.requests[1].body


def test_a_hosts_yml_with_a_slip_is_told_to_those_whom_it_named_before(
    hosts: Path, receiver: Receiver
) -> None:
    run(hosts)
    receiver.requests.clear()
    hosts.write_text(hosts.read_text().replace("vmid: 100", "vmdi: 100"))
    with pytest.raises(InventoryError):
        run(hosts)
    assert pings(receiver) == ["/ping/fail"]
    [notice] = notices(receiver)
    assert "vmdi" in notice


@pytest.mark.parametrize("text", ["containers: [", None])
def test_a_hosts_yml_that_is_no_yaml_or_gone_is_told_of_too(
    hosts: Path, receiver: Receiver, text: str | None
) -> None:
    run(hosts)
    receiver.requests.clear()
    hosts.unlink() if text is None else hosts.write_text(text)
    with pytest.raises(FleetError):
        run(hosts)
    assert (pings(receiver), len(notices(receiver))) == (["/ping/fail"], 1)


def test_what_is_kept_for_that_are_references_without_a_secret(hosts: Path) -> None:
    run(hosts)
    [kept] = Path(os.environ["XDG_STATE_HOME"]).rglob("contacts/*.json")
    assert "env:FLEET_JSON" in kept.read_text()
    assert TOKEN not in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("task", "words", "says"),
    [
        (backup.snapshot, {"schedule": "05:00"}, "--schedule '05:00'"),
        (backup_copies.dump, {"schedule": "05:00"}, "no guest that this selects has archives at '05:00'"),
        (backup_copies.send, {"replica": "old"}, "hosts.yml has no replica old"),
    ],
)
def test_a_timer_of_a_schedule_that_hosts_yml_no_longer_has_is_told_of(
    hosts: Path, receiver: Receiver, task: Task, words: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError):
        task.body(Options(inventory=str(hosts)), **words)
    [notice] = notices(receiver)
    assert says in notice


def test_the_success_of_one_job_is_none_of_another(hosts: Path, receiver: Receiver) -> None:
    two = '{"02:00": env:FLEET_PING, hourly: env:FLEET_PING_HOURLY}'
    text = hosts.read_text().replace("snapshot: env:FLEET_PING,", f"snapshot: {two},")
    hosts.write_text(f'{text}    backup: {{snapshots: {{schedule: "hourly"}}}}\n')
    run(hosts, job="hourly")
    assert pings(receiver) == ["/ping_hourly/start", "/ping_hourly"]
    receiver.requests.clear()
    run(hosts)  # by hand
    assert pings(receiver) == []
