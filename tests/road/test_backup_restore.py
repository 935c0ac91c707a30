"""Restores end to end: copies, data back in place, files, drills; nothing is ever lost."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.backups import getting, restoring
from fleet.backups.restoring import Drilled
from fleet.backups.run import working
from fleet.core.command import command
from fleet.core.errors import ExitCode, FleetError, HostError, Refused, UsageError
from fleet.core.plan import Check, Part, Step
from fleet.domains.backup.items import Of
from fleet.domains.backup.restore import steps
from fleet.domains.backup.restore.choice import named
from fleet.domains.backup.restore.config import Link
from fleet.domains.backup.restore.drill import sample
from fleet.domains.backup.restore.plan import Request
from fleet.domains.backup.spec import ArchivePolicy, Keep
from fleet.host.fetch import Fetched
from fleet.host.guarded import Outcome
from fleet.inventory import Inventory
from fleet.inventory.values import Service
from fleet.run import connected
from tests.road import backups, copies, fleets, operator, restores
from tests.road.restores import DOCKER, ROOTFS
from tests.road.test_inv import Inv
from tests.road.world import State, World


@pytest.fixture(scope="module")
def made(_world: World, prepared: State, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The node with its guests, files in them, and two sets of snapshots, between which a file changed."""
    _world.restore(prepared)
    inventory = fleets.read(tmp_path_factory.mktemp("made"), restores.fleet())
    operator.settle(inventory)
    restores.write(_world, ROOTFS, "root/notes", "first")
    restores.write(_world, DOCKER, "app/compose.yaml", "services: {}")
    restores.write(_world, "tank/data", "films/a", "film")
    assert backups.snapshot(inventory, label="one").exit_code == 0
    restores.write(_world, ROOTFS, "root/notes", "second")
    restores.write(_world, ROOTFS, "root/newer", "new")
    assert backups.snapshot(inventory, label="two").exit_code == 0
    restores.write(_world, ROOTFS, "root/notes", "third")
    return _world.state()


@pytest.fixture
def hosts(_world: World, made: State, tmp_path: Path) -> Path:
    """The node as made, and its hosts.yml."""
    _world.restore(made)
    return fleets.write(tmp_path, restores.fleet())


@pytest.fixture
def inventory(hosts: Path) -> Inventory:
    """Its inventory."""
    return fleets.read(hosts.parent, restores.fleet())


@pytest.fixture
def node(_world: World, hosts: Path) -> World:
    """The node as made."""
    return _world


@pytest.fixture
def inv(hosts: Path) -> Inv:
    """`inv`, run in the folder of this hosts.yml."""
    (hosts.parent / "tasks.py").write_text((operator.ROOT / "tasks.py").read_text())
    return Inv(hosts.parent)


def names(node: World, dataset: str = ROOTFS) -> list[str]:
    """The names of a dataset's snapshots, oldest first."""
    return [line.partition("@")[2] for line in node.run(f"zfs list -H -o name -t snapshot {dataset}").split()]


def listed(folder: Path) -> list[str]:
    """The names in a folder of this machine, sorted."""
    return sorted(path.name for path in folder.iterdir())


# ── a copy beside the original ────────────────────────────────────────────────────────────────────


def test_a_guest_is_restored_beside_itself_and_the_original_is_not_touched(
    node: World, inventory: Inventory
) -> None:
    before, config = restores.datasets(node), node.config(100)
    done = restores.restore(inventory, "bound@latest", Request(start=True))
    assert done.exit_code == 0, done
    assert done.planned.vmid == 103
    assert restores.text(node, "tank/guests/subvol-103-disk-0", "root/notes") == "second"
    assert restores.text(node, "tank/docker/subvol-103-disk-0", "app/compose.yaml") == "services: {}"
    assert {100, 101, 103} <= node.running()
    assert node.config(100) == config
    after = restores.datasets(node)
    assert before.items() <= after.items()
    assert restores.text(node, ROOTFS, "root/notes") == "third"
    assert node.leftovers() == []


def test_a_copy_is_unplugged_starts_not_by_itself_and_shares_nothing(
    node: World, inventory: Inventory
) -> None:
    restores.restore(inventory, "bound@latest")
    config = node.config(103)
    assert "link_down=1" in config
    assert "onboot: 0" in config
    assert "/data" not in config
    assert "tags: fleet-restored" in config
    assert "refquota" not in config
    assert node.run("zfs get -Hp -o value refquota tank/guests/subvol-103-disk-0").strip() == str(1 << 30)
    assert node.run("zfs get -H -o value mounted tank/guests/subvol-103-disk-0").strip() == "yes"
    assert node.run("pct config 103")


def test_a_second_restore_of_the_same_backup_is_nothing_to_do(node: World, inventory: Inventory) -> None:
    restores.restore(inventory, "bound@latest")
    again = restores.restore(inventory, "bound@latest")
    assert (again.results, again.planned.vmid) == ((), 103)
    other = restores.restore(inventory, "bound@latest", Request(vmid=150))
    assert (other.exit_code, other.planned.vmid) == (0, 150)


def test_a_copy_that_somebody_goes_on_with_is_his_and_stays_as_it_is(
    node: World, inventory: Inventory
) -> None:
    restores.restore(inventory, "bound@latest")
    node.edit(103, "^tags: fleet-restored$", "tags: mine")
    config = node.config(103)
    again = restores.restore(inventory, "bound@latest")
    assert (again.exit_code, again.planned.vmid) == (0, 104)
    assert node.config(103) == config


def test_a_full_copy_depends_on_no_snapshot_and_has_none(node: World, inventory: Inventory) -> None:
    done = restores.restore(inventory, "bound@latest", Request(full=True))
    assert done.exit_code == 0, done
    assert restores.text(node, "tank/guests/subvol-103-disk-0", "root/notes") == "second"
    assert node.run("zfs get -H -o value origin tank/guests/subvol-103-disk-0").strip() == "-"
    assert names(node, "tank/guests/subvol-103-disk-0") == []
    assert len(names(node)) == 2


def test_a_snapshot_of_proxmox_is_cloned_by_proxmox_and_made_harmless(
    node: World, inventory: Inventory
) -> None:
    done = restores.restore(inventory, "plain@latest", Request(hostname="twin"))
    assert done.exit_code == 0, done
    config = node.config(103)
    assert "hostname: twin" in config
    assert "link_down=1" in config
    assert "tags: fleet-restored" in config
    assert "onboot: 0" in config
    assert "lock:" not in node.config(101)
    assert "mp1: docker:subvol-103-disk-0,mp=/docker" in config


def test_a_dataset_is_restored_beside_itself(node: World, inventory: Inventory) -> None:
    name = names(node, "tank/data")[-1]
    done = restores.restore(inventory, "tank/data@latest")
    assert done.exit_code == 0, done
    assert node.run(f"cat /mnt/fleet/tank-data-restored-{name}/films/a") == "film"
    assert restores.restore(inventory, "tank/data@latest").results == ()
    assert restores.text(node, "tank/data", "films/a") == "film"


def test_the_configuration_is_that_of_the_snapshots_time(node: World, inventory: Inventory) -> None:
    node.edit(100, "^memory: 256$", "memory: 512")
    restores.restore(inventory, "bound@latest")
    assert "memory: 256" in node.config(103)


def test_a_number_that_is_taken_meanwhile_is_not_overwritten(node: World, inventory: Inventory) -> None:
    wanted = named("bound@latest", inventory.backups.subjects)

    def taken(_plan: object) -> None:
        node.path(103).write_text("arch: amd64\nhostname: somebody\n", encoding="utf-8")

    with working(inventory, "backup.restore") as work:
        done = restoring.restore(work, wanted, Request(), taken)
    assert [result.outcome for result in done.results] == [Outcome.STALE]
    assert node.config(103) == "arch: amd64\nhostname: somebody\n"
    assert "tank/guests/subvol-103-disk-0" not in restores.datasets(node)


def test_the_original_running_with_its_address_keeps_the_copy_unplugged(
    node: World, inventory: Inventory
) -> None:
    with pytest.raises(Refused, match=r"192\.168\.0\.20"):
        restores.restore(inventory, "bound@latest", Request(link=Link.UP))
    node.run("pct stop 100")
    assert restores.restore(inventory, "bound@latest", Request(link=Link.UP)).exit_code == 0
    assert "link_down" not in node.config(103)


def test_an_archive_is_restored_without_unpacking_into_shared_data(node: World, inventory: Inventory) -> None:
    node.run("vzdump 100 --storage local --mode suspend --compress 0")
    before = node.run("find /data | sort")
    volid = node.run("pvesm list local --content backup | awk 'NR > 1 { print $1 }'").strip()
    policy = ArchivePolicy("03:00", Keep(last=2), "local")
    subjects = tuple(
        replace(each, archives=policy) if each.name == "bound" else each
        for each in inventory.backups.subjects
    )
    with_archives = replace(inventory, backups=replace(inventory.backups, subjects=subjects))
    done = restores.restore(with_archives, f"bound@{volid}")
    assert done.exit_code == 0, done
    assert restores.text(node, "tank/guests/subvol-103-disk-0", "root/notes") == "third"
    config = node.config(103)
    assert "/data" not in config
    assert "link_down=1" in config
    assert "lock:" not in config
    assert node.run("find /data | sort") == before
    got = get(with_archives, "bound@archive", "/root/notes", inventory.path.parent / "out")
    assert got.path.read_text() == "third"


@pytest.mark.slow
def test_a_guest_that_is_gone_comes_back_from_its_archive_and_is_fleets_again(
    inv: Inv, node: World, inventory: Inventory
) -> None:
    archived = replace(inventory, backups=copies.spec(replicas=()))
    assert copies.dump(archived, limit=("bound",)).exit_code == 0
    node.run("pct stop 100 && pct destroy 100")
    done = restores.restore(archived, "bound@archive", Request(vmid=100, link=Link.UP))
    assert done.exit_code == 0, done
    assert restores.text(node, ROOTFS, "root/notes") == "third"
    inv("provision.adopt", "bound", "--yes")
    operator.settle(inventory, restart=True)
    config = node.config(100)
    assert "mp0: /data,mp=/data" in config
    assert re.search(r"^tags: fleet\b", config, re.MULTILINE)
    assert 100 in node.running()
    mark = next(line for line in config.splitlines() if "owner=" in line)
    with working(inventory, "test") as work:
        (result,) = work.apply(Part((scrap(100, mark),)), jobs=1)
    assert (
        result.outcome is Outcome.FAILED
    )  # no copy any more, so nothing that a drill or a rerun would destroy


# ── in place ──────────────────────────────────────────────────────────────────────────────────────


def test_data_goes_back_in_place_and_nothing_is_lost(node: World, inventory: Inventory) -> None:
    before = restores.datasets(node)
    done = restores.restore(inventory, "bound@latest", in_place=True)
    assert done.exit_code == 0, done
    assert restores.text(node, ROOTFS, "root/notes") == "second"
    assert 100 in node.running()
    after = restores.datasets(node)
    (safety,) = {name for name in after if "fleet-before" in name and "@" not in name and "/guests/" in name}
    assert restores.text(node, safety, "root/notes") == "third"
    assert after[safety] == before[ROOTFS]
    assert {guid for name, guid in before.items() if "@" in name} <= set(after.values())
    assert names(node) == [name.partition("@")[2] for name in before if name.startswith(f"{ROOTFS}@")]
    assert node.leftovers() == []


def test_the_same_for_a_guest_whose_snapshots_are_proxmox_own(node: World, inventory: Inventory) -> None:
    restores.write(node, "tank/guests/subvol-101-disk-0", "root/x", "later")
    done = restores.restore(inventory, "plain@latest", in_place=True)
    assert done.exit_code == 0, done
    assert "x" not in node.run("ls /tank/guests/subvol-101-disk-0/root").split()
    assert len(backups.sections(node, 101)) == 2
    assert 101 in node.running()
    report = backups.snapshot(inventory, label="after")
    assert set(report.failed) == set(), report


def test_a_newer_snapshot_stands_against_it_and_is_named(node: World, inventory: Inventory) -> None:
    before = restores.datasets(node)
    node.run(f"zfs snapshot {DOCKER}@by-hand")
    with pytest.raises(Refused, match=f"{DOCKER}@by-hand"):
        restores.restore(inventory, "bound@latest", in_place=True)
    with pytest.raises(Refused, match=r"fleet-two-"):
        restores.restore(inventory, f"bound@{names(node)[0]}", in_place=True)
    assert restores.text(node, ROOTFS, "root/notes") == "third"
    assert before.items() <= restores.datasets(node).items()


# ── files ─────────────────────────────────────────────────────────────────────────────────────────


def get(inventory: Inventory, item: str, path: str, dest: Path, *, replace: bool = False) -> Fetched:
    """`inv backup.get`."""
    wanted = named(item, inventory.backups.subjects)
    with connected(inventory) as shell:
        return getting.get(shell, inventory, wanted, path, dest, replace=replace)[0]


def test_a_file_comes_out_of_the_snapshot_that_is_named(
    node: World, inventory: Inventory, tmp_path: Path
) -> None:
    first, second = names(node)
    assert get(inventory, f"bound@{first}", "/root/notes", tmp_path / "a").path.read_text() == "first"
    assert get(inventory, f"bound@{second}", "/root/notes", tmp_path / "b").path.read_text() == "second"
    assert get(inventory, "bound@latest", "/docker/app", tmp_path).files == 1
    assert (tmp_path / "app/compose.yaml").read_text() == "services: {}"
    assert get(inventory, "bound@latest", "/data/films/a", tmp_path / "film").path.read_text() == "film"
    assert get(inventory, "plain@latest", "/etc/passwd", tmp_path).size > 0


def test_bytes_that_are_no_text_come_as_they_are(node: World, inventory: Inventory, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (node.root / "data/blob").write_bytes(data)
    backups.snapshot(inventory, label="blob", limit=("tank/data",))
    assert get(inventory, "tank/data@latest", "blob", tmp_path / "blob").path.read_bytes() == data


def test_what_is_there_is_replaced_only_when_asked(node: World, inventory: Inventory, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(Refused, match="--yes"):
        get(inventory, "bound@latest", "/root/notes", tmp_path)
    assert (tmp_path / "notes").read_text() == "mine"
    get(inventory, "bound@latest", "/root/notes", tmp_path, replace=True)
    assert (tmp_path / "notes").read_text() == "second"
    assert [path.name for path in tmp_path.glob(".fleet-get-*")] == []


def test_a_path_that_is_not_there_says_which_snapshots_have_it(
    node: World, inventory: Inventory, tmp_path: Path
) -> None:
    first, second = names(node)
    with pytest.raises(UsageError, match=f"these have it: {second}"):
        get(inventory, f"bound@{first}", "/root/newer", tmp_path)
    with pytest.raises(UsageError, match="neither has any other"):
        get(inventory, "bound@latest", "/root/never", tmp_path)


def test_links_are_not_followed_out_of_the_backup_nor_made_to_lead_out_here(
    node: World, inventory: Inventory, tmp_path: Path
) -> None:
    node.run(
        "cd /data && mkdir -p t/sub && ln -s /etc out && ln -s /etc/passwd t/abs && ln -s ../../x t/up"
        " && ln -s sub t/in && echo x >t/sub/file && ln t/sub/file t/hard"
    )
    backups.snapshot(inventory, label="links", limit=("tank/data",))
    with pytest.raises(HostError, match="a link"):
        get(inventory, "tank/data@latest", "out/passwd", tmp_path)
    got = get(inventory, "tank/data@latest", "t", tmp_path)
    assert listed(tmp_path / "t") == ["hard", "in", "sub"]
    assert (tmp_path / "t/hard").read_text() == "x\n"
    assert len(got.left_out) == 2
    with pytest.raises(Refused, match="nothing of it"):
        get(inventory, "tank/data@latest", "out", tmp_path / "o")


def test_a_link_here_is_not_followed_when_something_is_replaced(
    node: World, inventory: Inventory, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    dest = tmp_path / "dest"
    (dest / "app").mkdir(parents=True)
    (dest / "films").symlink_to(outside)
    with pytest.raises(Refused, match="no folder"):
        get(inventory, "tank/data@latest", "films", dest, replace=True)
    assert listed(outside) == []


def test_a_link_that_is_cut_leaves_nothing_here(node: World, inventory: Inventory, tmp_path: Path) -> None:
    node.run("head -c 30000000 /dev/urandom >/data/big")
    backups.snapshot(inventory, label="big", limit=("tank/data",))
    node.lab.faults.drop("during", nth=2, ms=60)
    with pytest.raises(FleetError) as error:
        get(inventory, "tank/data@latest", "big", tmp_path / "big")
    assert error.value.exit_code == ExitCode.UNREACHABLE
    assert listed(tmp_path) == ["hosts.yml"]
    node.lab.faults.clear()
    assert get(inventory, "tank/data@latest", "big", tmp_path / "big").size == 30_000_000


# ── drills ────────────────────────────────────────────────────────────────────────────────────────


def test_a_drill_proves_every_backup_and_leaves_nothing(node: World, inventory: Inventory) -> None:
    before, running = restores.datasets(node), node.running()
    done = restores.drill(inventory)
    assert done.exit_code == 0, done
    assert proven(done) == {"bound": "boots", "plain": "boots", "still": "boots", "tank/data": "files"}
    assert restores.datasets(node) == before
    assert node.running() == running
    assert set(node.names()) == {100, 101, 102}
    assert {(subject, how) for subject, _, how in restores.proven(node)} == {
        (name, "ok") for name in proven(done)
    }
    assert node.leftovers() == []


def proven(done: Drilled) -> dict[str, str]:
    """How far each guest and dataset was proven."""
    return {name.partition("@")[0]: what for name, what in done.proven.items()}


@pytest.mark.slow
def test_archives_are_proven_by_unpacking_them(node: World, inventory: Inventory) -> None:
    policy = copies.spec(replicas=(), drill=inventory.backups.drill)
    archived = replace(inventory, backups=policy)
    assert copies.dump(archived, limit=("bound",)).exit_code == 0
    before, shared = restores.datasets(node), node.run("find /data | sort")
    done = restores.drill(archived, "bound", "plain", archives=True)
    assert done.exit_code == 0, done
    (name,) = done.proven
    assert "bound@local:backup/vzdump-lxc-100-" in name or "bound@backups:backup/vzdump-lxc-100-" in name
    assert restores.datasets(node) == before
    assert node.run("find /data | sort") == shared
    assert set(node.names()) == {100, 101, 102}


def test_what_was_proven_is_read_again_and_the_others_come_first(node: World, inventory: Inventory) -> None:
    restores.drill(inventory, "bound")
    with working(inventory, "test") as work:
        reading = work.read()
    assert set(reading.backups.proven) == {("bound", Of.SNAPSHOT)}
    order = [subject.name for subject, _ in sample(inventory.backups.subjects, reading.backups, None)]
    assert order[-1] == "bound"


@pytest.mark.slow
def test_a_backup_whose_copy_is_not_as_healthy_as_the_original_fails_and_is_destroyed(
    node: World, inventory: Inventory
) -> None:
    """The stack's file is in the running original, and not in the snapshot."""
    restores.write(node, "tank/docker/subvol-101-disk-0", "plain/compose.yaml", "services: {}")
    done = restores.drill(with_service(inventory, "plain"), "plain", "bound")
    (failed,) = done.failed
    assert failed.startswith("plain@") and "compose" in done.failed[failed]
    assert set(proven(done)) == {"bound"}
    assert done.exit_code == ExitCode.SOME_FAILED
    assert set(node.names()) == {100, 101, 102}
    assert ("plain", "failed") in {(subject, how) for subject, _, how in restores.proven(node)}


@pytest.mark.slow
def test_the_copy_of_what_failed_is_kept_when_asked_and_goes_with_the_next_drill(
    node: World, inventory: Inventory
) -> None:
    restores.write(node, "tank/docker/subvol-101-disk-0", "plain/compose.yaml", "services: {}")
    done = restores.drill(with_service(inventory, "plain"), "plain", keep_failed=True)
    assert done.kept == (900,)
    assert 900 in node.names()
    restores.drill(inventory, "bound")
    assert set(node.names()) == {100, 101, 102}


def with_service(inventory: Inventory, name: str) -> Inventory:
    """The inventory, in which this guest runs a Compose stack."""
    declared = dict(inventory.declared)
    declared[name] = replace(declared[name], service=Service("compose", name, None, None, ()))
    return replace(inventory, declared=declared)


def test_a_strangers_guest_in_the_range_stops_the_drill(node: World, inventory: Inventory) -> None:
    node.path(902).write_text("arch: amd64\nhostname: stranger\n", encoding="utf-8")
    with pytest.raises(Refused, match="902"):
        restores.drill(inventory)
    assert set(node.names()) == {100, 101, 102, 902}


@pytest.mark.parametrize(
    "change",
    ["tags: fleet-restored>tags: keep", "tags: fleet-restored>tags: fleet;fleet-restored", "owner=>owner=0"],
)
def test_a_copy_that_somebody_made_his_own_is_not_destroyed(
    node: World, inventory: Inventory, change: str
) -> None:
    done = restores.restore(inventory, "bound@latest", Request(vmid=150))
    before, after = change.split(">")
    mark = next(line for line in node.config(150).splitlines() if "owner=" in line)
    node.edit(150, before, after)
    with working(inventory, "test") as work:
        results = work.apply(Part((scrap(150, mark),)), jobs=1)
    assert done.exit_code == 0
    assert results[0].outcome in (Outcome.FAILED, Outcome.STALE)
    assert 150 in node.names()


def test_a_guest_that_fleet_did_not_make_is_never_destroyed(node: World, inventory: Inventory) -> None:
    """Not even one that carries the description of a copy, but has no line in the record."""
    owner = (node.root / "var/lib/fleet/installation").read_text().strip()
    mark = f"#fleet%3A restore owner={owner} for=drill from=bound@x"
    node.edit(101, r"^arch: amd64$", f"{mark}\narch: amd64")
    node.edit(101, r"^tags: fleet$", "tags: fleet-restored")
    with working(inventory, "test") as work:
        results = work.apply(Part((scrap(101, mark),)), jobs=1)
    assert results[0].outcome is Outcome.FAILED
    assert 101 in node.names()
    assert "tank/guests/subvol-101-disk-0" in restores.datasets(node)


def scrap(vmid: int, mark: str) -> Step:
    """The step without its expectations: its script alone has to refuse."""
    step = steps.scrap(vmid, "x")
    return Step(
        id=step.id,
        subject=step.subject,
        action=step.action,
        because=(),
        done=(Check(command("fleet_free", str(vmid)), "gone"),),
        expect=(),
        do=(command("fleet_scrap", str(vmid), mark),),
    )


# ── the tasks ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_tasks_say_what_they_did(inv: Inv, node: World) -> None:
    checked = inv("backup.restore", "bound@latest", "--check")
    assert "subvol-103-disk-0" in checked.stdout
    assert set(node.names()) == {100, 101, 102}
    done = inv("backup.restore", "bound@latest", "--yes", "--json")
    assert json.loads(done.stdout)["vmid"] == 103
    assert "--yes" in inv("backup.restore", "plain@latest", code=ExitCode.REFUSED).stderr
    assert "bound" in inv("backup.restore", "bonud@latest", code=ExitCode.USAGE).stderr
    inv("backup.get", "bound@latest", "/root/notes", "here")
    assert (inv.folder / "here").read_text() == "second"
    drilled = inv("backup.drill", "--sample", "1", "--json")
    assert len(json.loads(drilled.stdout)["proven"]) == 1


def test_the_name_has_to_be_said_once_more_to_put_a_guest_back(inv: Inv, node: World) -> None:
    done = inv("backup.restore", "bound@latest", "--in-place=plain", "--yes", code=ExitCode.REFUSED)
    assert "--in-place=bound" in done.stderr
    assert restores.text(node, ROOTFS, "root/notes") == "third"
