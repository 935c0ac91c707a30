"""Replicas end to end: sent by guid, resumed, remembered, pruned; nothing there or here is ever forced."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.backups.health import declared, due_of, look
from fleet.domains.backup.coverage import coverage
from fleet.domains.backup.spec import Keep
from fleet.inventory import Inventory
from fleet.run import connected
from tests.road import backups, copies, fleets, operator
from tests.road.test_inv import Inv
from tests.road.world import State, World

ROOT = "tank/guests/subvol-100-disk-0"
COPY = "tank/replica/tank:guests:subvol-100-disk-0"
TO = f"{ROOT} to here"
DATA, DATA_COPY, DATA_TO = "tank/data", "tank/replica/tank:data", "tank/data to here"
SOURCES = (
    ROOT,
    "tank/docker/subvol-100-disk-0",
    "tank/guests/subvol-101-disk-0",
    "tank/docker/subvol-101-disk-0",
    "tank/guests/subvol-102-disk-0",
    "tank/data",
)


@pytest.fixture(scope="module")
def made(_world: World, prepared: State, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The node with its guests, and a dataset for their copies."""
    _world.restore(prepared)
    operator.settle(fleets.read(tmp_path_factory.mktemp("made"), backups.fleet()))
    _world.run("zfs create -o canmount=off -o readonly=on tank/replica")
    _world.run("for n in 1 2 3 4; do head -c 300000 /dev/urandom >/data/$n; done")
    return _world.state()


@pytest.fixture
def hosts(_world: World, made: State, tmp_path: Path) -> Path:
    """The node as made, and its hosts.yml."""
    _world.restore(made)
    return fleets.write(tmp_path, backups.fleet())


@pytest.fixture
def inventory(hosts: Path) -> Inventory:
    """Its inventory, with a replica on the same node that keeps two."""
    return copies.read(hosts, copies.spec())


@pytest.fixture
def node(_world: World, hosts: Path) -> World:
    """The node as made."""
    return _world


def guid(node: World, path: str) -> str:
    return node.run(f"zfs get -Hp -o value guid {path}").strip()


def snapshots_of(node: World, dataset: str) -> list[str]:
    """The names of a dataset's snapshots, oldest first."""
    listed = node.run(f"zfs list -H -d 1 -t snapshot -s createtxg -o name {dataset}").split()
    return [path.partition("@")[2] for path in listed]


def bookmarks_of(node: World, dataset: str) -> list[str]:
    return node.run(f"zfs list -H -d 1 -t bookmark -o name {dataset}").split()


# ── what is sent ──────────────────────────────────────────────────────────────────────────────────


def test_each_dataset_gets_a_copy_that_is_read_only_marked_and_not_mounted(
    node: World, inventory: Inventory
) -> None:
    taken = backups.snapshot(inventory)
    report = copies.send(inventory)
    assert report.exit_code == 0, report
    assert set(report.made) == {f"{source} to here" for source in SOURCES}
    owner = (node.root / "var/lib/fleet/installation").read_text().strip()
    for source in SOURCES:
        target = f"tank/replica/{source.replace('/', ':')}"
        assert guid(node, f"{target}@{taken.name}") == guid(node, f"{source}@{taken.name}")
        properties = node.run(
            f"zfs get -H -o value,source readonly,fleet:replica,canmount,mounted {target}"
        ).split()
        assert properties == ["on", "local", f"{owner}:{source}", "local", "noauto", "local", "no", "-"]
        assert bookmarks_of(node, source) == [f"{source}#fleet-here-{taken.name[-16:]}"]
    assert node.leftovers() == []


@pytest.mark.slow
def test_the_second_run_has_nothing_to_do(node: World, inventory: Inventory) -> None:
    backups.snapshot(inventory)
    copies.send(inventory)
    before = node.run("zfs list -H -t all -o name,guid")
    report = copies.send(inventory)
    assert report.exit_code == 0
    assert not report.made
    assert len(report.same) == len(SOURCES)
    assert node.run("zfs list -H -t all -o name,guid") == before


@pytest.mark.slow
def test_an_increment_follows_a_bookmark_when_the_source_has_lost_the_snapshot(
    node: World, inventory: Inventory
) -> None:
    first = backups.snapshot(inventory, label="one", limit=("bound",))
    assert copies.send(inventory, limit=("bound",)).exit_code == 0
    second = backups.snapshot(inventory, label="two", limit=("bound",))
    node.run(f"zfs destroy {ROOT}@{first.name}")
    report = copies.send(inventory, limit=("bound",))
    assert report.exit_code == 0, report
    assert snapshots_of(node, COPY) == [first.name, second.name]
    assert bookmarks_of(node, ROOT) == [f"{ROOT}#fleet-here-{second.name[-16:]}"]


@pytest.mark.slow
def test_the_replicas_own_policy_decides_what_stays_there(node: World, hosts: Path) -> None:
    wanted = copies.read(hosts, copies.spec(replicas=(replace(copies.HERE, keep=Keep(last=3)),)))
    names = []
    for label in ("one", "two", "three", "four", "five"):
        names.append(backups.snapshot(wanted, label=label, limit=("bound",)).name)
        report = copies.send(wanted, limit=("bound",))
        assert report.exit_code == 0, report
    assert snapshots_of(node, COPY) == names[2:]
    assert report.removed[TO] == (names[1],)
    assert snapshots_of(node, ROOT) == names[3:]


@pytest.mark.slow
def test_a_snapshot_that_somebody_made_by_hand_goes_along_nowhere_and_stays(
    node: World, inventory: Inventory
) -> None:
    backups.snapshot(inventory, label="one", limit=("bound",))
    copies.send(inventory, limit=("bound",))
    node.run(f"zfs snapshot {ROOT}@by-hand")
    backups.snapshot(inventory, label="two", limit=("bound",))
    assert copies.send(inventory, limit=("bound",)).exit_code == 0
    assert "by-hand" in snapshots_of(node, ROOT)
    assert "by-hand" not in snapshots_of(node, COPY)


# ── what is not ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_divergence_stops_names_both_sides_and_changes_nothing(node: World, inventory: Inventory) -> None:
    first = backups.snapshot(inventory, label="one", limit=("bound",))
    copies.send(inventory, limit=("bound",))
    node.run(f"zfs snapshot {COPY}@made-there")
    second = backups.snapshot(inventory, label="two", limit=("bound",))
    before = node.run("zfs list -H -t all -o name,guid")
    report = copies.send(inventory, limit=("bound",))
    assert report.exit_code == 3
    for text in ("diverged", "made-there", first.name, second.name):
        assert text in report.failed[TO]
    assert set(report.made) == {"tank/docker/subvol-100-disk-0 to here"}
    of_root = [line for line in before.splitlines() if ":subvol-100-disk-0" in line]
    assert set(of_root) <= set(node.run("zfs list -H -t all -o name,guid").splitlines())


@pytest.mark.slow
def test_a_source_that_was_made_anew_is_no_reason_to_replace_its_copy(
    node: World, inventory: Inventory
) -> None:
    backups.snapshot(inventory, label="one", limit=("bound",))
    copies.send(inventory, limit=("bound",))
    kept = snapshots_of(node, COPY)
    node.run(f"zfs destroy -r {ROOT} && zfs create {ROOT}")
    backups.snapshot(inventory, label="two", limit=("bound",))
    report = copies.send(inventory, limit=("bound",))
    assert report.exit_code == 3
    assert "in common" in report.failed[TO]
    assert snapshots_of(node, COPY) == kept


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["", "-o fleet:replica=0123:tank/data"])
def test_a_dataset_there_that_is_not_ours_is_refused(node: World, inventory: Inventory, mark: str) -> None:
    node.run(f"zfs create -o canmount=off {mark} {COPY} && zfs snapshot {COPY}@precious")
    backups.snapshot(inventory, limit=("bound",))
    report = copies.send(inventory, limit=("bound",))
    assert report.exit_code == 3
    assert "not ours" in report.failed[TO]
    assert snapshots_of(node, COPY) == ["precious"]


def test_a_replica_without_its_dataset_says_how_to_make_it(node: World, inventory: Inventory) -> None:
    node.run("zfs destroy tank/replica")
    backups.snapshot(inventory, limit=("bound",))
    report = copies.send(inventory, limit=("bound",))
    assert report.exit_code == 3
    assert "zfs create" in report.failed[TO]


def test_a_bandwidth_limit_is_kept_or_said_and_never_passed_over(node: World, hosts: Path) -> None:
    slow = copies.read(hosts, copies.spec(replicas=(replace(copies.HERE, bwlimit=800),)))
    backups.snapshot(slow, limit=(DATA,))
    hidden = node.root / "usr/local/sbin/cstream"
    hidden.rename(hidden.with_name("cstream.away"))
    try:
        report = copies.send(slow, limit=(DATA,))
    finally:
        hidden.with_name("cstream.away").rename(hidden)
    assert report.exit_code == 3
    assert "cstream" in report.failed[DATA_TO]
    began = time.monotonic()
    assert copies.send(slow, limit=(DATA,)).exit_code == 0
    assert time.monotonic() - began > 1.2  # 1.2 MB at 800 KiB/s


def test_a_replica_whose_pool_is_away_says_that_and_not_to_make_anything(node: World, hosts: Path) -> None:
    away = copies.read(hosts, copies.spec(replicas=(replace(copies.HERE, dataset="usb/replica"),)))
    backups.snapshot(away, limit=(DATA,))
    report = copies.send(away, limit=(DATA,))
    assert report.exit_code == 3
    assert "no such pool" in report.failed[DATA_TO]
    assert "zfs create" not in report.failed[DATA_TO]


@pytest.mark.slow
def test_one_datasets_failure_stops_no_other(node: World, inventory: Inventory) -> None:
    backups.snapshot(inventory)
    node.run(f"zfs create -o canmount=off {COPY}")
    report = copies.send(inventory)
    assert set(report.failed) == {TO}
    assert len(report.made) == len(SOURCES) - 1


# ── interrupted transfers ─────────────────────────────────────────────────────────────────────────


def cut(node: World, stream: str, receive: str) -> None:
    """A transfer that broke off in the middle."""
    node.run(
        f"zfs send {stream} 2>/dev/null | head -c 500000 | zfs receive -s -u {receive} 2>/dev/null; true"
    )
    assert node.run(f"zfs get -H -o value receive_resume_token {DATA_COPY}").strip() != "-"


def test_an_interrupted_first_transfer_goes_on_and_is_marked(node: World, inventory: Inventory) -> None:
    taken = backups.snapshot(inventory, limit=(DATA,))
    cut(node, f"{DATA}@{taken.name}", DATA_COPY)
    report = copies.send(inventory, limit=(DATA,))
    assert report.exit_code == 0, report
    assert guid(node, f"{DATA_COPY}@{taken.name}") == guid(node, f"{DATA}@{taken.name}")
    owner = (node.root / "var/lib/fleet/installation").read_text().strip()
    marks = node.run(f"zfs get -H -o value,source fleet:replica,readonly {DATA_COPY}").split()
    assert marks == [f"{owner}:{DATA}", "local", "on", "local"]
    assert bookmarks_of(node, DATA) == [f"{DATA}#fleet-here-{taken.name[-16:]}"]


@pytest.mark.slow
def test_an_interrupted_increment_goes_on_and_the_newest_follows(node: World, inventory: Inventory) -> None:
    first = backups.snapshot(inventory, label="one", limit=(DATA,))
    copies.send(inventory, limit=(DATA,))
    node.run("head -c 900000 /dev/urandom >/data/more")
    second = backups.snapshot(inventory, label="two", limit=(DATA,))
    cut(node, f"-i {DATA}@{first.name} {DATA}@{second.name}", DATA_COPY)
    third = backups.snapshot(inventory, label="three", limit=(DATA,))
    assert {first.name, second.name, third.name} <= set(snapshots_of(node, DATA))  # its base and itself stay
    report = copies.send(inventory, limit=(DATA,))
    assert report.exit_code == 0, report
    assert snapshots_of(node, DATA_COPY) == [second.name, third.name]


@pytest.mark.slow
def test_a_token_of_a_snapshot_that_is_gone_is_said_with_the_command_that_drops_it(
    node: World, inventory: Inventory
) -> None:
    first = backups.snapshot(inventory, label="one", limit=(DATA,))
    cut(node, f"{DATA}@{first.name}", DATA_COPY)
    node.run(f"zfs destroy {DATA}@{first.name}")
    backups.snapshot(inventory, label="two", limit=(DATA,))
    report = copies.send(inventory, limit=(DATA,))
    assert report.exit_code == 3
    assert f"zfs receive -A {DATA_COPY}" in report.failed[DATA_TO]
    node.run(f"zfs receive -A {DATA_COPY}")
    assert copies.send(inventory, limit=(DATA,)).exit_code == 0


# ── what rotation leaves for replicas ─────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_newest_common_snapshot_is_not_rotated_away(node: World, inventory: Inventory) -> None:
    first = backups.snapshot(inventory, label="one", limit=("bound",))
    copies.send(inventory, limit=("bound",))
    for label in ("two", "three", "four"):
        backups.snapshot(inventory, label=label, limit=("bound",))
    assert first.name in snapshots_of(node, ROOT)
    assert len(snapshots_of(node, ROOT)) == 3
    copies.send(inventory, limit=("bound",))
    backups.rotate(inventory)
    assert first.name not in snapshots_of(node, ROOT)


@pytest.mark.slow
def test_of_a_replica_that_does_not_answer_nothing_that_it_may_need_is_rotated_away(
    node: World, hosts: Path
) -> None:
    here = copies.read(hosts, copies.spec())
    first = backups.snapshot(here, label="one", limit=("bound",))
    copies.send(here, limit=("bound",))
    node.run("zfs rename tank/replica tank/elsewhere")
    for label in ("two", "three", "four"):
        backups.snapshot(here, label=label, limit=("bound",))
    assert len(snapshots_of(node, ROOT)) == 4
    assert first.name in snapshots_of(node, ROOT)


@pytest.mark.slow
def test_a_host_that_cannot_be_reached_is_a_failure_and_stops_no_other_replica(
    node: World, hosts: Path
) -> None:
    away = replace(copies.NAS, host="nosuchhost.invalid")
    both = copies.read(hosts, copies.spec(replicas=(copies.HERE, away)))
    backups.snapshot(both, limit=("bound",))
    report = copies.send(both, limit=("bound",))
    assert report.exit_code == 3
    assert f"{ROOT} to nas" in report.failed
    assert TO in report.made


# ── as a user ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def inv(node: World, tmp_path: Path) -> Inv:
    """`inv` in a folder whose hosts.yml has archives of `still`, and a replica of it and of tank/data."""
    assert node
    (tmp_path / "tasks.py").write_text((operator.ROOT / "tasks.py").read_text())
    folder = Inv(tmp_path)
    data = backups.fleet(
        backup={
            **backups.POLICY,
            "archives": {"schedule": "03:00", "storage": "local", "prune-backups": "keep-last=1"},
            "replicas": {
                "here": {"target": "tank/replica", "schedule": "04:00", "prune-backups": "keep-last=2"}
            },
        }
    )
    data["containers"]["still"] = {**data["containers"]["still"], "backup": {"critical": True}}
    data["storage"]["datasets"]["tank/data"]["backup"] = {"replicas": ["here"]}
    fleets.write(tmp_path, data)
    return folder


@pytest.mark.slow
def test_inv_sends_and_dumps_what_hosts_yml_says(node: World, inv: Inv) -> None:
    inv("backup.snapshot", "--limit", "still,tank/data")
    planned = json.loads(inv("backup.send", "--check", "--json").stdout)
    assert [step["action"] for step in planned["steps"]] == ["send", "send"]
    done = inv("backup.send")
    assert done.stdout.splitlines()[0].startswith("2 copies made, 0 removed")
    assert len(done.stderr.splitlines()) == 2
    again = json.loads(inv("backup.send", "--replica", "here", "--json").stdout)
    assert sorted(again["up_to_date"]) == [DATA_TO, "tank/guests/subvol-102-disk-0 to here"]
    assert "would dump still (102)" in inv("backup.dump", "--check").stdout
    dumped = inv("backup.dump", "--schedule", "03:00").stdout
    assert dumped.startswith("1 archive made, 0 removed")
    assert len(copies.archives(node)) == 1
    inv("backup.send", "--replica", "nosuch", code=64)
    inv("backup.dump", "--limit", "plain", code=64)
    inv("backup.dump", "--label", "No", code=64)


@pytest.mark.slow
def test_a_transfer_goes_on_without_its_operator_and_the_next_run_follows_it(node: World, inv: Inv) -> None:
    taken = inv("backup.snapshot", "--limit", DATA).stdout.split(":")[0]
    node.lab.faults.zfs_rate(150_000)
    first = inv.start("backup.send", "--limit", DATA)
    deadline = time.monotonic() + 60
    while "zfs receive" not in node.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.kill()
    first.communicate()
    node.lab.faults.clear()
    done = inv("backup.send", "--limit", DATA)
    assert "following it" in done.stderr
    assert snapshots_of(node, DATA_COPY) == [taken]
    assert "0 copies made, 1 up to date" in done.stdout
    assert node.leftovers() == []


def test_how_old_copies_are_is_known_from_the_replica_and_from_what_the_node_remembers(
    node: World, inventory: Inventory
) -> None:
    backups.snapshot(inventory)
    sources = {(dataset, "here") for dataset in SOURCES}
    with connected(inventory) as shell:
        assert not look(shell, inventory, there=True).reading.backups.sent
    assert copies.send(inventory).exit_code == 0
    with connected(inventory) as shell:
        there, remembered = (look(shell, inventory, there=each) for each in (True, False))
    assert set(there.reading.backups.sent) == sources
    assert there.reading.backups.sent == remembered.reading.backups.sent
    assert there.unread == ()
    rows = coverage(
        there.reading.spec,
        there.reading.backups,
        declared(inventory, there.reading),
        due_of(there.reading.spec),
    )
    assert not [row for row in rows if row.place.startswith("tank/replica")]
    node.run("zfs rename tank/replica tank/gone")
    with connected(inventory) as shell:
        (unread,) = look(shell, inventory, there=True).unread
    assert "tank/replica" in unread


@pytest.mark.slow
def test_snapshots_and_their_rotation_run_beside_a_transfer_and_a_second_transfer_does_not(
    node: World, inv: Inv
) -> None:
    first = inv("backup.snapshot", "--limit", DATA).stdout.split(":")[0]
    node.lab.faults.zfs_rate(40_000)
    sending = inv.start("backup.send", "--limit", DATA)
    deadline = time.monotonic() + 60
    while "zfs receive" not in node.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for label in ("two", "three"):
        done = inv(
            "backup.snapshot", "--limit", DATA, "--label", label, "--keep-last", "1", "--yes-remove", "9"
        )
        assert "following it" not in done.stderr
    assert sending.poll() is None
    left = {path for path in backups.snapshots(node) if path.startswith(f"{DATA}@")}
    assert f"{DATA}@{first}" in left
    assert len(left) == 2
    assert "running `backup.send`" in inv("backup.send", "--limit", DATA, code=8).stderr
    node.lab.faults.clear()
    said, errors = sending.communicate()
    assert sending.returncode == 0, said + errors
    assert snapshots_of(node, DATA_COPY) == [first]
    inv("backup.send", "--limit", DATA)
    assert len(snapshots_of(node, DATA_COPY)) == 2
