"""Archives end to end: dumped one by one, verified by a fresh read, pruned; no other is ever touched."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fleet.backups.choice import chosen
from fleet.backups.copies import pin_archive
from fleet.backups.run import working
from fleet.core.plan import Part
from fleet.domains.backup.assemble import archive_items
from fleet.domains.backup.spec import BackupSpec, Brake
from fleet.host.guarded import Outcome
from fleet.inventory import Inventory
from tests.road import backups, copies, fleets, operator
from tests.road.world import State, World


@pytest.fixture(scope="module")
def made(_world: World, prepared: State, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The node with its guests."""
    _world.restore(prepared)
    operator.settle(fleets.read(tmp_path_factory.mktemp("made"), backups.fleet()))
    return _world.state()


@pytest.fixture
def hosts(_world: World, made: State, tmp_path: Path) -> Path:
    """The node as made, and its hosts.yml."""
    _world.restore(made)
    return fleets.write(tmp_path, backups.fleet())


@pytest.fixture
def inventory(hosts: Path) -> Inventory:
    """Its inventory, with archives of every guest of which two are kept."""
    return copies.read(hosts, copies.spec(replicas=()))


@pytest.fixture
def node(_world: World, hosts: Path) -> World:
    """The node as made."""
    return _world


def listed(node: World) -> dict[str, dict[str, object]]:
    """What Proxmox says of each archive on `local`."""
    text = node.run("pvesh get /nodes/localhost/storage/local/content --content backup --output-format json")
    return {each["volid"]: each for each in json.loads(text)}


def wait_a_second(node: World) -> None:
    """Archives are named by the second: the next one gets another name."""
    node.run('now=$(date +%s); while [ "$(date +%s)" = "$now" ]; do sleep 0.05; done')


def test_every_guest_gets_an_archive_that_is_protected_and_says_whose_it_is(
    node: World, inventory: Inventory
) -> None:
    report = copies.dump(inventory)
    assert report.exit_code == 0, report
    assert set(report.made) == {"bound", "plain", "still"}
    owner = (node.root / "var/lib/fleet/installation").read_text().strip()
    found = listed(node)
    assert {each["vmid"] for each in found.values()} == {100, 101, 102}
    for each in found.values():
        assert each["protected"] == 1
        assert str(each["notes"]).startswith(f"fleet: owner={owner} set=fleet-dump-")
    record = (node.root / "var/lib/fleet/backups.log").read_text()
    for volid in found:
        assert f" {volid} -" in record
    assert node.leftovers() == []


def test_a_storage_that_allows_too_few_protected_archives_is_said_before_vzdump_begins(
    node: World, inventory: Inventory
) -> None:
    node.run("pvesm set local --max-protected-backups 0")
    report = copies.dump(inventory, limit=("plain",))
    assert "max-protected-backups is 0" in report.failed["plain"]
    assert "pvesm set local --max-protected-backups 3" in report.failed["plain"]
    assert listed(node) == {}


@pytest.mark.slow
def test_the_policy_keeps_two_of_ours_and_every_foreign_archive(node: World, inventory: Inventory) -> None:
    node.run("vzdump 100 --storage local --compress zstd --notes-template by-hand")
    node.run("vzdump 101 --storage local --compress zstd --protected 1")
    foreign = copies.archives(node)
    reports = []
    for label in ("one", "two", "three"):
        wait_a_second(node)
        reports.append(copies.dump(inventory, limit=("bound", "plain"), label=label))
    assert [report.exit_code for report in reports] == [0, 0, 0], reports
    assert set(reports[2].removed) == {"bound", "plain"}
    assert foreign <= copies.archives(node)
    assert len(copies.archives(node)) == len(foreign) + 4
    notes = " ".join(str(each.get("notes", "")) for each in listed(node).values())
    assert set(re.findall(r"set=fleet-(\w+)-", notes)) == {"two", "three"}


def test_a_storages_own_prune_rules_remove_nothing_through_us(node: World, inventory: Inventory) -> None:
    node.run(
        "vzdump 100 --storage local --compress zstd; sleep 1; vzdump 100 --storage local --compress zstd"
    )
    node.run("pvesm set local --prune-backups keep-last=1")
    foreign = copies.archives(node)
    assert copies.dump(inventory, limit=("bound",)).exit_code == 0
    assert foreign <= copies.archives(node)


@pytest.mark.slow
def test_a_guest_that_fails_stops_no_other_and_loses_nothing(node: World, inventory: Inventory) -> None:
    for label in ("one", "two"):
        copies.dump(inventory, label=label)
        wait_a_second(node)
    before = copies.archives(node)
    node.run("zfs destroy -r tank/guests/subvol-100-disk-0")
    report = copies.dump(inventory, label="three")
    assert report.exit_code == 3
    assert set(report.failed) == {"bound"}
    assert set(report.made) == {"plain", "still"}
    assert "bound" not in report.removed
    assert {name for name in before if "-100-" in name} <= copies.archives(node)


def test_a_guest_of_another_node_is_a_failure(node: World, inventory: Inventory) -> None:
    other = node.root / "etc/pve/nodes/other/lxc"
    other.mkdir(parents=True)
    node.path(102).rename(other / "102.conf")
    report = copies.dump(inventory)
    assert report.exit_code == 3
    assert "no guest 102 on this node" in report.failed["still"]
    assert set(report.made) == {"bound", "plain"}


@pytest.mark.slow
def test_a_pinned_archive_stays(node: World, inventory: Inventory) -> None:
    copies.dump(inventory, limit=("bound",), label="one")
    (volid,) = listed(node)
    notes = str(listed(node)[volid]["notes"])
    node.run(
        f"pvesh set /nodes/localhost/storage/local/content/{volid} --notes '{notes} fleet: pinned=2099-01-31'"
    )
    for label in ("two", "three", "four"):
        wait_a_second(node)
        report = copies.dump(inventory, limit=("bound",), label=label)
        assert report.exit_code == 0, report
    assert volid in listed(node)
    assert len(listed(node)) == 3


@pytest.mark.slow
def test_an_archive_is_pinned_and_unpinned_and_the_rest_of_its_notes_stays(
    node: World, inventory: Inventory
) -> None:
    copies.dump(inventory, limit=("plain",))
    (volid,) = listed(node)
    owner = str(listed(node)[volid]["notes"])
    content = f"/nodes/localhost/storage/local/content/{volid}"
    node.run(f"pvesh set {content} --notes \"$(printf '%s\\nmy own line' '{owner}')\"")
    for until, pinned in (("2099-01-31", "2099-01-31"), ("2099-02-01", "2099-02-01"), ("-", "")):
        with working(inventory, "backup.pin") as work:
            (plain,) = chosen(work.inventory, ("plain",), ())
            item = archive_items(plain, work.read(archives=True).backups)[0]
            (result,) = work.apply(Part((pin_archive(work.shell, item, until),)), jobs=1)
            assert result.outcome is Outcome.DONE, result
            assert archive_items(plain, work.read(archives=True).backups)[0].pinned == pinned
    notes = json.loads(node.run(f"pvesh get {content} --output-format json"))["notes"]
    assert notes == f"{owner}\nmy own line"


@pytest.mark.slow
def test_a_pin_in_a_later_line_of_the_notes_is_seen_before_anything_is_removed(
    node: World, inventory: Inventory
) -> None:
    """Proxmox lists the first line only, so the plan cannot see it: the step on the node does."""
    copies.dump(inventory, limit=("bound",), label="one")
    (volid,) = listed(node)
    notes = str(listed(node)[volid]["notes"])
    node.run(
        f"pvesh set /nodes/localhost/storage/local/content/{volid}"
        f" --notes \"$(printf '%s\\nfleet: pinned=2099-01-31' '{notes}')\""
    )
    for label in ("two", "three"):
        wait_a_second(node)
        report = copies.dump(inventory, limit=("bound",), label=label)
    assert report.exit_code == 3
    assert any(volid in name for name in report.kept)
    assert volid in listed(node)
    assert listed(node)[volid]["protected"] == 1


@pytest.mark.slow
def test_an_archive_that_could_not_be_removed_is_protected_again(node: World, inventory: Inventory) -> None:
    for label in ("one", "two"):
        copies.dump(inventory, limit=("bound",), label=label)
        wait_a_second(node)
    node.lab.faults.kill("pvesm", nth=1)
    report = copies.dump(inventory, limit=("bound",), label="three")
    assert report.exit_code == 3
    assert len(report.kept) == 1
    assert len(listed(node)) == 3
    assert all(each["protected"] == 1 for each in listed(node).values())


@pytest.mark.slow
def test_too_many_removals_wait_for_the_operators_word(node: World, hosts: Path) -> None:
    many = copies.read(hosts, copies.spec(replicas=(), keep=9))
    for label in ("one", "two", "three"):
        copies.dump(many, limit=("bound",), label=label)
        wait_a_second(node)
    policy: BackupSpec = copies.spec(replicas=(), keep=1, brake=Brake(count=2))
    strict = copies.read(hosts, policy)
    report = copies.dump(strict, limit=("bound",), label="four")
    assert report.exit_code == 6
    assert "bound" in report.braked
    assert len(copies.archives(node)) == 4
    wait_a_second(node)
    agreed = copies.dump(strict, limit=("bound",), label="five", allowed=4)
    assert len(agreed.removed["bound"]) == 4
    assert len(copies.archives(node)) == 1


@pytest.mark.slow
def test_an_archive_whose_run_died_before_the_record_was_written_is_recorded_by_the_next(
    node: World, inventory: Inventory
) -> None:
    copies.dump(inventory, limit=("bound",), label="one")
    log = node.root / "var/lib/fleet/backups.log"
    lines = [line for line in log.read_text().splitlines() if " made " not in line]
    log.write_text("".join(f"{line}\n" for line in lines))
    (volid,) = listed(node)
    wait_a_second(node)
    assert copies.dump(inventory, limit=("bound",), label="two").exit_code == 0
    assert f" {volid} -" in log.read_text()
    wait_a_second(node)
    assert copies.dump(inventory, limit=("bound",), label="three").removed["bound"] == (volid,)
