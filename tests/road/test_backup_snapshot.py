"""Snapshots end to end: taken at once, verified, rotated; nothing that fleet did not make is ever removed."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from fleet.core.errors import Locked, UsageError
from fleet.host.lock import NodeLock
from fleet.inventory import Inventory
from fleet.run import connected
from tests.road import backups, fleets, operator
from tests.road.test_inv import Inv, rest, until
from tests.road.world import State, World

BOUND = ("tank/guests/subvol-100-disk-0", "tank/docker/subvol-100-disk-0")


@pytest.fixture(scope="module")
def made(_world: World, prepared: State, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The node with its guests."""
    _world.restore(prepared)
    operator.settle(fleets.read(tmp_path_factory.mktemp("made"), backups.fleet()))
    return _world.state()


@pytest.fixture
def inventory(_world: World, made: State, tmp_path: Path) -> Inventory:
    """The node as made, and its hosts.yml."""
    _world.restore(made)
    return fleets.read(tmp_path, backups.fleet())


@pytest.fixture
def node(_world: World, inventory: Inventory) -> World:
    """The node as made."""
    return _world


def test_one_run_takes_everything_by_one_name_and_marks_it(node: World, inventory: Inventory) -> None:
    report = backups.snapshot(inventory)
    assert report.exit_code == 0, report
    assert set(report.taken) == {"bound", "plain", "still", "tank/data"}
    paths = backups.snapshots(node)
    assert {path.partition("@")[2] for path in paths} == {report.name}
    assert {f"{dataset}@{report.name}" for dataset in (*BOUND, "tank/data")} <= paths
    assert backups.sections(node, 101) == backups.sections(node, 102) == {report.name}
    assert backups.sections(node, 100) == set()
    owner = (node.root / "var/lib/fleet/installation").read_text().strip()
    for path in paths:
        assert node.run(f"zfs get -H -o value,source fleet:owner {path}").split() == [owner, "local"]


def test_what_zfs_takes_is_one_transaction(node: World, inventory: Inventory) -> None:
    report = backups.snapshot(inventory)
    paths = " ".join(f"{dataset}@{report.name}" for dataset in (*BOUND, "tank/data"))
    assert len(set(node.run(f"zfs get -Hp -o value createtxg {paths}").split())) == 1


def test_a_running_guest_is_frozen_for_less_than_the_nodes_own_limit_and_never_left_so(
    node: World, inventory: Inventory
) -> None:
    before = len(node.lab.frozen())
    report = backups.snapshot(inventory, limit=("bound",))
    (frozen,) = node.lab.frozen()[before:]
    assert frozen[0] == 100
    assert 0 < frozen[1] < 5
    assert 0 < report.frozen < 5000
    assert node.lab.still_frozen() == []


def test_a_guest_that_does_not_freeze_is_snapshotted_running_and_said(
    node: World, inventory: Inventory
) -> None:
    node.lab.faults.freeze(100, ms=None)
    report = backups.snapshot(inventory, limit=("bound",))
    assert report.exit_code == 0
    assert "bound" in report.taken
    assert any("did not stop in time" in text for text in report.warnings)
    assert node.lab.still_frozen() == []


def test_the_policy_keeps_two_and_foreign_snapshots_stay(node: World, inventory: Inventory) -> None:
    node.run(f"zfs snapshot {BOUND[0]}@by-hand {BOUND[1]}@autosnap_2026-01-01_00:00:00_daily")
    node.run(f"zfs snapshot {BOUND[0]}@fleet-daily-20260101t000000z")  # named as ours, and not ours
    node.run("pct snapshot 101 byhand")
    reports = [backups.snapshot(inventory, label=label) for label in ("one", "two", "three")]
    assert [report.exit_code for report in reports] == [0, 0, 0], reports
    assert set(reports[2].removed) == {"bound", "plain", "still", "tank/data"}
    paths = backups.snapshots(node)
    assert not any(reports[0].name in path for path in paths)
    for name in (reports[1].name, reports[2].name, "by-hand", "fleet-daily-20260101t000000z"):
        assert f"{BOUND[0]}@{name}" in paths
    assert backups.sections(node, 101) == {reports[1].name, reports[2].name, "byhand"}
    record = (node.root / "var/lib/fleet/backups.log").read_text().splitlines()
    removing = [line for line in record if " removing " in line]
    first = reports[0].name
    assert {line.split()[3] for line in removing} >= {f"101@{first}", f"{BOUND[0]}@{first}"}
    for line in removing:
        assert re.search(r" run=\d{8}T\d{6}-\d+-\d+ createtxg=[\d,]+ (beyond|superseded)", line), line
    assert not backups.rotate(inventory).removed


def test_one_guests_failure_stops_no_other_and_removes_nothing_of_it(
    node: World, inventory: Inventory
) -> None:
    for label in ("one", "two"):
        backups.snapshot(inventory, label=label)
    before = {path for path in backups.snapshots(node) if path.startswith(BOUND)}
    node.run(f"zfs destroy -r {BOUND[1]}")
    report = backups.snapshot(inventory, label="three")
    assert report.exit_code == 3
    assert set(report.failed) == {"bound"}
    assert BOUND[1] in report.failed["bound"]
    assert set(report.taken) == {"plain", "still", "tank/data"}
    assert {path for path in before if path.startswith(BOUND[0])} <= backups.snapshots(node)
    assert "bound" not in report.removed


def test_a_held_snapshot_is_kept_and_its_guest_is_not_left_locked(node: World, inventory: Inventory) -> None:
    first = backups.snapshot(inventory, label="one")
    node.run(f"zfs hold keep {BOUND[0]}@{first.name} tank/guests/subvol-101-disk-0@{first.name}")
    for label in ("two", "three"):
        report = backups.snapshot(inventory, label=label)
    assert report.exit_code == 0
    assert f"{BOUND[0]}@{first.name}" in backups.snapshots(node)
    assert first.name in backups.sections(node, 101)
    assert node.leftovers() == []


def test_a_pinned_snapshot_stays_until_it_is_unpinned(node: World, inventory: Inventory, inv: Inv) -> None:
    inv.write(backups.GUESTS, backup=dict(backups.POLICY))
    first = backups.snapshot(inventory, label="one")
    inv("backup.pin", f"bound@{first.name}", "--until", "2099-01-31")
    for label in ("two", "three"):
        backups.snapshot(inventory, label=label)
    assert f"{BOUND[0]}@{first.name}" in backups.snapshots(node)
    assert "pinned until 2099-01-31" in inv("backup.rotate", "--check").stdout
    assert "bound@fleet-three-" in inv("backup.pin", "bound@latest", "--until", "2099-01-31").stdout
    inv("backup.unpin", "bound@latest")
    late = inv("backup.pin", f"bound@{first.name}", "--until", "2001-01-31", code=64)
    assert "2001-01-31 is over" in late.stderr
    inv("backup.unpin", f"bound@{first.name}")
    assert backups.rotate(inventory).removed["bound"] == (first.name,)


def test_a_copy_of_ours_that_somebody_made_is_not_removed(node: World, inventory: Inventory) -> None:
    """A clone's snapshots, or those of a dataset that carries our mark itself, only look like ours."""
    node.run(f"zfs set fleet:owner=$(cat /var/lib/fleet/installation 2>/dev/null || echo x) {BOUND[0]}")
    for label in ("one", "two", "three"):
        report = backups.snapshot(inventory, label=label, limit=("bound",))
    assert "bound" in report.failed  # what may only have inherited the mark does not count as ours
    assert len([path for path in backups.snapshots(node) if path.startswith(BOUND[0])]) == 3


def test_an_atomic_set_and_one_listing_not_a_round_trip_a_guest(node: World, inventory: Inventory) -> None:
    begun = node.lab.exec_count()
    report = backups.snapshot(inventory)
    assert report.executions <= 6
    assert node.lab.exec_count() - begun <= 6


def test_the_second_run_reports_the_first_and_exits_8(node: World, inventory: Inventory) -> None:
    with connected(inventory) as shell, NodeLock(shell, "backup.snapshot"), pytest.raises(Locked) as error:
        backups.snapshot(inventory)
    assert "backup.snapshot" in str(error.value)
    assert error.value.exit_code == 8


def test_who_matches_nothing_is_an_error(inventory: Inventory) -> None:
    with pytest.raises(UsageError):
        backups.snapshot(inventory, limit=("nobody",))


# ── as a user ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def inv(node: World, tmp_path: Path) -> Inv:
    """`inv` in a folder with this fleet."""
    (tmp_path / "tasks.py").write_text((operator.ROOT / "tasks.py").read_text())
    folder = Inv(tmp_path)
    folder.write(backups.GUESTS, backup=dict(backups.POLICY))
    return folder


def test_in_cron_a_good_run_says_one_line(inv: Inv) -> None:
    done = inv("backup.snapshot")
    assert len(done.stdout.splitlines()) == 1
    assert "4 snapshots taken" in done.stdout
    assert done.stderr == ""


def test_check_takes_nothing_and_shows_each_method(node: World, inv: Inv) -> None:
    before = backups.snapshots(node)
    shown = inv("backup.snapshot", "--check").stdout
    assert "mp0 is a bind mount" in shown
    assert "pct snapshot" in shown
    assert backups.snapshots(node) == before


def test_list_shows_age_size_method_and_the_probable_owner_of_what_is_foreign(node: World, inv: Inv) -> None:
    inv("backup.snapshot")
    node.run(f"zfs snapshot {BOUND[0]}@autosnap_2026-01-01_00:00:00_daily")
    assert "sanoid" in inv("backup.list").stdout
    listed = json.loads(inv("backup.list", "--json").stdout)
    assert {each["method"] for each in listed["plain"]["backups"]} == {"pct"}
    assert {each["owner"] for each in listed["bound"]["backups"]} == {"fleet", "sanoid"}
    assert 0 <= listed["bound"]["newest_age"] < 300


def test_coverage_exits_3_until_there_is_a_backup_of_everything(inv: Inv) -> None:
    assert "0 protected" in inv("backup.coverage", code=3).stdout
    inv("backup.snapshot")
    shown = inv("backup.coverage").stdout
    assert "0 late, 0 never, 0 excluded, 0 uncovered" in shown


def test_coverage_names_what_is_uncovered_and_exits_3(inv: Inv) -> None:
    guests = {**backups.GUESTS, "odd": fleets.guest(103, rootfs="local:1")}
    inv.write(guests, backup=dict(backups.POLICY))
    assert "UNCOVERED" in inv("backup.coverage", code=3).stdout


def test_coverage_knows_the_datasets_that_hosts_yml_does_not_declare(node: World, inv: Inv) -> None:
    inv("backup.snapshot")
    node.run("zfs create tank/data/films; zfs create tank/other; zfs create tank/other/inner")
    rows = {
        (row["subject"], row["volume"]): row
        for row in json.loads(inv("backup.coverage", "--json", code=3).stdout)
        if row["state"] == "uncovered"
    }
    assert set(rows) == {("bound", "mp0"), ("tank/data/films", None), ("tank/other", None)}
    reasons = {"tank/data/films": "can be bought again", "tank/other": "scratch"}
    inv.write(backups.GUESTS, backup={**backups.POLICY, "exclude": reasons})
    assert "can be bought again" in inv("backup.coverage").stdout


def test_a_selection_of_which_nothing_is_taken_is_an_error_and_says_why(inv: Inv) -> None:
    guests = {**backups.GUESTS, "odd": fleets.guest(103, backup={"exclude": "made anew"})}
    inv.write(guests, backup=dict(backups.POLICY))
    for verb in ("backup.snapshot", "backup.rotate"):
        assert "odd: excluded: made anew" in inv(verb, "--limit", "odd", code=64).stderr


def test_after_ctrl_c_what_runs_comes_to_its_end_and_nothing_is_begun_that_would_follow(
    node: World, inventory: Inventory, inv: Inv
) -> None:
    for label in ("one", "two"):
        backups.snapshot(inventory, label=label)
    before = backups.snapshots(node)
    node.lab.faults.hold_config_lock(101)
    run = inv.start("backup.snapshot", "--label", "three")  # a whole run keeps two
    until(lambda: "pct\0snapshot" in node.run("cat /proc/[0-9]*/cmdline || :"))
    os.killpg(run.pid, signal.SIGINT)
    time.sleep(0.3)
    node.lab.faults.release_config_lock(101)
    out, err = rest(run)
    assert run.returncode == 130, out + err
    assert "nothing more was begun" in err
    assert before < backups.snapshots(node)
    inv("backup.snapshot", "--label", "four")


def test_wrong_words_are_usage_errors(inv: Inv) -> None:
    inv("backup.snapshot", "--label", "No Such", code=64)
    inv("backup.snapshot", "--limit", "nobody", code=64)
    inv("backup.pin", "bound", "--until", "2099-01-01", code=64)
    inv("backup.pin", "bound@x", "--until", "tomorrow", code=64)
    inv("backup.snapshot", "--schedule", "noon", code=64)


def test_after_the_record_is_lost_nothing_is_removed_until_the_operator_adopts(
    node: World, inventory: Inventory, inv: Inv
) -> None:
    old = [backups.snapshot(inventory, label=label, limit=("bound",)).name for label in ("one", "two")]
    node.run("rm -r /var/lib/fleet")
    report = backups.snapshot(inventory, label="three", limit=("bound",))
    assert (report.exit_code, report.removed) == (0, {})
    listed = json.loads(inv("backup.list", "--json", "--limit", "bound").stdout)["bound"]["backups"]
    assert [each["ours"] for each in listed] == [True, False, False]
    assert inv("backup.adopt", "bound", code=6).stdout.split() == [f"bound@{name}" for name in reversed(old)]
    inv("backup.adopt", "bound", "--yes")
    assert backups.rotate(inventory).removed["bound"] == (old[0],)
