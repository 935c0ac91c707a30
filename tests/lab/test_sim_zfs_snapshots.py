"""The simulated zfs: snapshots, holds, clones, bookmarks, what it lists, what it refuses, what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleet.lab.sim import zfs_tree
from tests.lab.simzfs import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A node with tank/a, tank/a/b and tank/c."""
    made = Host(tmp_path, monkeypatch)
    for name in ("tank/a", "tank/a/b", "tank/c"):
        made.ok(f"zfs create {name}")
    return made


def copies(host: Host) -> list[Path]:
    return list((host.root / "var/lib/fleet-lab/zfs-data").iterdir())


def names(host: Host, kinds: str = "snapshot") -> list[str]:
    return host.ok(f"zfs list -H -o name -t {kinds}").split()


# --- one command, one moment


def test_snapshots_of_one_command_share_the_createtxg_and_have_guids_of_their_own(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x tank/c@x")
    rows = [
        line.split("\t") for line in host.ok("zfs list -Hp -t snapshot -o name,createtxg,guid").splitlines()
    ]
    assert [row[0] for row in rows] == ["tank/a@x", "tank/c@x"]
    assert rows[0][1] == rows[1][1]
    assert rows[0][2] != rows[1][2]
    assert all(0 < int(row[2]) < 1 << 64 for row in rows)
    host.ok("zfs snapshot tank/a@y")
    assert int(host.get("createtxg", "tank/a@y")) > int(rows[0][1])


def test_a_name_that_is_taken_keeps_all_from_being_made(host: Host) -> None:
    host.ok("zfs snapshot tank/c@x")
    assert host.run("zfs snapshot tank/a@x tank/c@x") == (
        1,
        "",
        "cannot create snapshot 'tank/c@x': dataset already exists\nno snapshots were created\n",
    )
    assert names(host) == ["tank/c@x"]


@pytest.mark.parametrize("words", ["tank/a@x other@x", "tank/a@x tank/a@y"])
def test_two_pools_or_one_dataset_twice_are_refused(host: Host, words: str) -> None:
    assert host.run(f"zfs snapshot {words}") == (
        1,
        "",
        "cannot create snapshots : multiple snapshots of same fs not allowed\nno snapshots were created\n",
    )
    assert names(host, "snapshot") == []


def test_a_snapshot_of_no_dataset_is_a_wrong_call(host: Host) -> None:
    code, out, err = host.run("zfs snapshot tank/a@x tank/no@x")
    assert (code, out) == (2, "")
    assert err.startswith("cannot open 'tank/no': dataset does not exist\nusage:\n\tsnapshot ")
    assert names(host) == []


def test_a_full_pool_takes_no_snapshot(host: Host) -> None:
    host.fault(disk_full=["tank/c"])
    assert host.run("zfs snapshot tank/a@x tank/c@x") == (
        1,
        "",
        "cannot create snapshot 'tank/c@x': out of space\nno snapshots were created\n",
    )
    assert names(host) == []


def test_r_takes_the_datasets_below_too(host: Host) -> None:
    host.ok("zfs snapshot -r tank/a@x")
    assert names(host) == ["tank/a@x", "tank/a/b@x"]


# --- properties


def test_user_properties_of_a_snapshot_are_local_and_those_of_its_dataset_inherited(host: Host) -> None:
    host.ok("zfs set fleet:note=top tank/a")
    host.ok("zfs snapshot -o fleet:owner=me -o fleet:set=one tank/a/b@x")
    got = host.ok("zfs get -Hp -o property,value,source fleet:owner,fleet:note,fleet:none tank/a/b@x")
    assert got == "fleet:owner\tme\tlocal\nfleet:note\ttop\tinherited from tank/a\nfleet:none\t-\t-\n"
    assert host.ok(
        "zfs get -Hp -s local,received -o name,property fleet:owner,fleet:note -t snapshot -r tank"
    ) == ("tank/a/b@x\tfleet:owner\n")


def test_user_properties_of_a_snapshot_can_be_set_and_inherited_again(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x")
    host.ok("zfs set fleet:pinned=2027-01-31 tank/a@x")
    assert host.get("fleet:pinned", "tank/a@x") == "2027-01-31"
    host.ok("zfs inherit fleet:pinned tank/a@x")
    assert host.get("fleet:pinned", "tank/a@x") == "-"
    assert host.run("zfs set compression=off tank/a@x") == (
        255,
        "",
        "cannot set property for 'tank/a@x': this property can not be modified for snapshots\n",
    )


# --- lists


def test_snapshots_are_listed_by_dataset_and_age_and_can_be_sorted(host: Host) -> None:
    for name in ("tank/c@z", "tank/c@a", "tank/a@m"):
        host.ok(f"zfs snapshot {name}")
    assert names(host) == ["tank/a@m", "tank/c@z", "tank/c@a"]
    assert host.ok("zfs list -H -o name -t snapshot -S createtxg").split() == [
        "tank/a@m",
        "tank/c@a",
        "tank/c@z",
    ]
    host.ok("zfs hold keep tank/c@a")
    mixed = host.ok("zfs list -H -o name -t all -S userrefs -r tank/c").split()
    assert mixed == ["tank/c@a", "tank/c@z", "tank/c"], "what has no such property is last either way"


def test_all_that_backups_read_of_snapshots_is_there(host: Host) -> None:
    host.write("/tank/a/file", "x" * 5000)
    host.ok("zfs snapshot tank/a@x")
    host.write("/tank/a/file", "x" * 9000)
    host.ok("zfs clone tank/a@x tank/d")
    host.ok("zfs hold keep tank/a@x")
    host.ok("zfs bookmark tank/a@x #mark")
    columns = "name,type,used,referenced,written,userrefs,clones,defer_destroy,origin"
    rows = dict(line.split("\t", 1) for line in host.ok(f"zfs list -Hp -t all -o {columns}").splitlines())
    assert rows["tank/a@x"] == "snapshot\t0\t103304\t103304\t1\ttank/d\toff\t-"
    assert rows["tank/a#mark"] == "bookmark\t-\t103304\t-\t-\t-\t-\t-"
    assert rows["tank/a/b"] == "filesystem\t98304\t98304\t98304\t-\t-\t-\t-"
    assert rows["tank/d"] == "filesystem\t0\t103304\t0\t-\t-\t-\ttank/a@x"
    assert int(host.get("written", "tank/a")) == 4000
    assert host.get("clones", "tank/a@x") == "tank/d"


def test_lists_can_be_had_as_json(host: Host) -> None:
    host.ok("zfs snapshot -o fleet:set=one tank/a@x")
    found = json.loads(host.ok("zfs list -j --json-int -t snapshot -o name,userrefs,fleet:set"))
    row = found["datasets"]["tank/a@x"]
    assert (row["type"], row["pool"], row["dataset"], row["snapshot_name"]) == (
        "SNAPSHOT",
        "tank",
        "tank/a",
        "x",
    )
    assert row["createtxg"] == int(host.get("createtxg", "tank/a@x"))
    assert row["properties"] == {
        "userrefs": {"value": 0, "source": {"type": "NONE", "data": "-"}},
        "fleet:set": {"value": "one", "source": {"type": "LOCAL", "data": "-"}},
    }
    assert host.run("zfs list --json-int")[0] == 2


def test_datasets_that_do_not_exist_are_named_and_the_others_listed(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x tank/c@x")
    assert host.run("zfs list -H -o name -t snapshot tank/a tank/no tank/c tank/a@no") == (
        1,
        "tank/a@x\ntank/c@x\n",
        "cannot open 'tank/no': dataset does not exist\ncannot open 'tank/a@no': dataset does not exist\n",
    )
    assert host.run("zfs get -H -o name,value name tank/a tank/no")[0] == 1


def test_depth_counts_a_snapshot_as_one_level_below_its_dataset(host: Host) -> None:
    host.ok("zfs snapshot -r tank@x")
    assert host.ok("zfs list -H -o name -t snapshot -d 1 tank").split() == ["tank@x"]
    assert host.ok("zfs list -H -o name -t snapshot -d 2 tank").split() == ["tank@x", "tank/a@x", "tank/c@x"]


# --- what a snapshot holds


def test_a_snapshot_keeps_the_files_of_its_moment_where_zfs_shows_them(host: Host) -> None:
    host.write("/tank/a/file", "old")
    host.write("/tank/a/b/inner", "of another file system")
    host.ok("zfs snapshot tank/a@x")
    host.write("/tank/a/file", "new")
    assert host.read("/tank/a/.zfs/snapshot/x/file") == "old"
    assert not (host.root / "tank/a/.zfs/snapshot/x/b/inner").exists()
    host.ok("zfs rename tank/a@x tank/a@y")
    assert host.read("/tank/a/.zfs/snapshot/y/file") == "old"
    host.ok("zfs destroy tank/a@y")
    assert list((host.root / "tank/a/.zfs/snapshot").iterdir()) == []


def test_snapshots_without_a_change_between_them_share_one_copy(host: Host) -> None:
    host.write("/tank/a/file", "same")
    for label in "xyz":
        host.ok(f"zfs snapshot tank/a@{label}")
    host.write("/tank/a/file", "diff")
    host.ok("zfs snapshot tank/a@w")
    assert len(copies(host)) == 2
    host.ok("zfs destroy tank/a@x")
    host.ok("zfs destroy tank/a@z")
    assert host.read("/tank/a/.zfs/snapshot/y/file") == "same"
    host.ok("zfs destroy tank/a@y")
    assert host.read("/tank/a/.zfs/snapshot/w/file") == "diff"
    assert len(copies(host)) == 1


def test_a_rollback_brings_the_files_back_and_undoes_what_was_written(host: Host) -> None:
    host.write("/tank/a/file", "old")
    host.ok("zfs snapshot tank/a@x")
    host.write("/tank/a/file", "new and longer")
    assert int(host.get("written", "tank/a")) == 11
    host.ok("zfs rollback tank/a@x")
    assert host.read("/tank/a/file") == "old"
    assert host.get("written", "tank/a") == "0"


def test_a_rollback_with_r_that_fails_has_destroyed_what_it_could(host: Host) -> None:
    for label in "xyz":
        host.ok(f"zfs snapshot tank/a@{label}")
    host.ok("zfs bookmark tank/a@z #mark")
    host.ok("zfs hold keep tank/a@y")
    assert host.run("zfs rollback -r tank/a@x") == (1, "", "cannot destroy 'tank/a@y': dataset is busy\n")
    assert names(host, "snapshot,bookmark") == ["tank/a@x", "tank/a@y"]


def test_a_refused_rollback_names_32_of_what_is_newer(host: Host) -> None:
    for number in range(40):
        host.ok(f"zfs snapshot tank/a@n{number}")
    lines = host.run("zfs rollback tank/a@n0")[2].splitlines()
    assert lines[2] == "tank/a@n1"
    assert lines[-2:] == ["tank/a@n32", "Output limited to 32 snapshots/bookmarks"]
    assert len(lines) == 35


def test_diff_names_what_came_went_changed_and_moved(host: Host) -> None:
    for name in ("gone", "old", "same", "changed", "sub/inner"):
        host.write(f"/tank/c/{name}", f"{name} then")
    host.ok("zfs snapshot tank/c@x")
    (host.root / "tank/c/gone").unlink()
    (host.root / "tank/c/old").rename(host.root / "tank/c/new name")
    host.write("/tank/c/changed", "changed now")
    host.write("/tank/c/sub/more", "")
    lines = sorted(host.ok("zfs diff tank/c@x").splitlines())
    assert lines == [
        "+\t/tank/c/sub/more",
        "-\t/tank/c/gone",
        "M\t/tank/c/",
        "M\t/tank/c/changed",
        "M\t/tank/c/sub",
        "R\t/tank/c/old -> /tank/c/new\\0040name",
    ]
    host.ok("zfs snapshot tank/c@y")
    assert sorted(host.ok("zfs diff tank/c@x tank/c@y").splitlines()) == lines
    assert host.ok("zfs diff -FH tank/c@y") == ""
    assert host.run("zfs diff tank/c@no")[2] == "cannot open 'tank/c@no': dataset does not exist\n"


# --- holds, clones, deferred destruction


def test_a_held_snapshot_stays_until_its_last_hold_is_released(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x")
    host.ok("zfs hold one tank/a@x")
    host.ok("zfs hold two tank/a@x")
    assert host.run("zfs hold one tank/a@x") == (
        1,
        "",
        "cannot hold snapshot 'tank/a@x': tag already exists on this dataset\n",
    )
    refused = (
        "cannot destroy snapshot tank/a@x: it's being held. Run 'zfs holds -r tank/a@x' to see holders.\n"
    )
    assert host.run("zfs destroy tank/a@x") == (1, "", refused)
    assert [line.split("\t")[:2] for line in host.ok("zfs holds -Hp tank/a@x").splitlines()] == [
        ["tank/a@x", "one"],
        ["tank/a@x", "two"],
    ]
    host.ok("zfs release one tank/a@x")
    assert host.run("zfs destroy tank/a@x")[0] == 1
    host.ok("zfs release two tank/a@x")
    host.ok("zfs destroy tank/a@x")


def test_an_older_zfs_says_of_a_held_snapshot_that_it_is_busy(host: Host) -> None:
    facts = '{"node": "pve", "packages": {"zfsutils-linux": "2.2.8-pve1"}}'
    host.ok("zfs snapshot tank/a@x")
    host.ok("zfs hold one tank/a@x")
    host.write("/var/lib/fleet-lab/machine.json", facts)
    assert host.run("zfs destroy tank/a@x") == (1, "", "cannot destroy snapshot tank/a@x: dataset is busy\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hold t tank/a@no", "cannot hold snapshot 'tank/a@no': dataset does not exist\n"),
        ("release t tank/a@no", "cannot release hold from snapshot 'tank/a@no': dataset does not exist\n"),
        ("release t tank/a@x", "cannot release hold from snapshot 'tank/a@x': no such tag on this dataset\n"),
        ("hold t tank/a", "'tank/a' is not a snapshot\n"),
        ("hold t tank/no@x", "cannot open 'tank/no': dataset does not exist\n"),
        (
            "holds tank/a@no",
            "cannot open 'tank/a@no': dataset does not exist\nno datasets available\n",
        ),
    ],
)
def test_holds_are_refused_in_the_words_of_zfs(host: Host, words: str, said: str) -> None:
    host.ok("zfs snapshot tank/a@x")
    code, _, err = host.run(f"zfs {words}")
    assert (code, err) == (1, said)


def test_one_held_snapshot_of_several_keeps_all_of_them(host: Host) -> None:
    for label in "xyz":
        host.ok(f"zfs snapshot tank/a@{label}")
    host.ok("zfs hold one tank/a@y")
    assert host.run("zfs destroy tank/a@x%z")[0] == 1
    assert len(names(host)) == 3


def test_a_deferred_destroy_waits_for_holds_and_clones(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x")
    host.ok("zfs hold one tank/a@x")
    host.ok("zfs clone tank/a@x tank/d")
    host.ok("zfs destroy -d tank/a@x")
    assert host.get("defer_destroy", "tank/a@x") == "on"
    host.ok("zfs release one tank/a@x")
    assert names(host) == ["tank/a@x"]
    host.ok("zfs destroy tank/d")
    assert names(host) == []


def test_a_cloned_snapshot_names_its_clones(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x")
    host.ok("zfs clone -o fleet:drill=1 -o mountpoint=none tank/a@x tank/d")
    assert host.run("zfs destroy tank/a@x") == (
        1,
        "",
        (
            "cannot destroy 'tank/a@x': snapshot has dependent clones\n"
            "use '-R' to destroy the following datasets:\ntank/d\n"
        ),
    )
    assert host.get("fleet:drill", "tank/d") == "1"


def test_a_promoted_clone_has_the_snapshots_with_their_guids_and_files(host: Host) -> None:
    host.write("/tank/a/file", "old")
    host.ok("zfs snapshot tank/a@x")
    guid = host.get("guid", "tank/a@x")
    host.ok("zfs snapshot tank/a@later")
    host.ok("zfs clone tank/a@x tank/d")
    host.ok("zfs promote tank/d")
    assert host.get("guid", "tank/d@x") == guid
    assert host.get("origin", "tank/a") == "tank/d@x"
    assert names(host) == ["tank/a@later", "tank/d@x"]
    host.ok("zfs destroy tank/a@later")
    assert host.read("/tank/d/.zfs/snapshot/x/file") == "old"


def test_a_renamed_dataset_keeps_its_snapshots_and_guids(host: Host) -> None:
    host.ok("zfs snapshot -r tank/a@x")
    guid = host.get("guid", "tank/a/b@x")
    host.ok("zfs rename tank/a tank/z")
    assert names(host) == ["tank/z@x", "tank/z/b@x"]
    assert host.get("guid", "tank/z/b@x") == guid


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tank/a tank/c", "cannot rename 'tank/a': dataset already exists\n"),
        ("tank/a tank/no/d", "cannot create 'tank/no/d': parent does not exist\n"),
        ("tank/a other/a", "cannot rename to 'other/a': datasets must be within same pool\n"),
        (
            "tank/a tank/a/b/c",
            (
                "cannot rename to 'tank/a/b/c': "
                "New dataset name cannot be a descendant of current dataset name\n"
            ),
        ),
        ("tank/a@x tank/c@x", "cannot rename to 'tank/c@x': snapshots must be part of same dataset\n"),
        ("tank/a@x tank/a@y", "cannot rename 'tank/a@x': dataset already exists\n"),
    ],
)
def test_renames_are_refused_in_the_words_of_zfs(host: Host, words: str, said: str) -> None:
    host.ok("zfs snapshot tank/a@x")
    host.ok("zfs snapshot tank/a@y")
    assert host.run(f"zfs rename {words}") == (1, "", said)


# --- bookmarks


def test_a_bookmark_has_its_snapshots_guid_and_outlives_it(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x")
    guid, txg = host.get("guid", "tank/a@x"), host.get("createtxg", "tank/a@x")
    host.ok("zfs bookmark tank/a@x tank/a#mark")
    host.ok("zfs destroy tank/a@x")
    assert host.ok("zfs list -Hp -t bookmark -o name,guid,createtxg") == f"tank/a#mark\t{guid}\t{txg}\n"
    host.ok("zfs destroy tank/a#mark")
    assert host.run("zfs destroy tank/a#mark") == (1, "", "bookmark 'tank/a#mark' does not exist.\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("tank/a@x tank/a#old", 1, "cannot create bookmark 'tank/a#old': bookmark exists\n"),
        ("tank/a@x tank/no#m", 1, "cannot create bookmark 'tank/no#m': dataset does not exist\n"),
        (
            "tank/a@x tank/c#m",
            1,
            "cannot create bookmark 'tank/c#m': source is not an ancestor of the new bookmark's dataset\n",
        ),
        ("tank/a@no #m", 2, "cannot open 'tank/a@no': dataset does not exist\nusage:\n"),
        ("tank/a tank/a#m", 2, "invalid source name 'tank/a': must contain a '@' or '#'\nusage:\n"),
    ],
)
def test_bookmarks_are_refused_in_the_words_of_zfs(host: Host, words: str, code: int, said: str) -> None:
    host.ok("zfs snapshot tank/a@x")
    host.ok("zfs bookmark tank/a@x #old")
    got = host.run(f"zfs bookmark {words}")
    assert (got[0], got[2][: len(said)]) == (code, said)


# --- a killed command, and costs


def test_what_a_killed_snapshot_had_written_is_as_if_it_had_never_been(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x tank/c@x")
    before = (host.root / "var/lib/fleet-lab/zfs.json").read_text()
    host.ok("zfs snapshot tank/a@y tank/c@y")
    (host.root / "var/lib/fleet-lab/zfs.json").write_text(before)  # killed before the last rename
    assert names(host) == ["tank/a@x", "tank/c@x"]
    host.ok("zfs snapshot tank/a@z")
    assert names(host) == ["tank/a@x", "tank/a@z", "tank/c@x"]


def test_the_log_of_snapshots_does_not_grow_with_what_is_gone(host: Host) -> None:
    for number in range(150):
        host.ok(f"zfs snapshot tank/a@n{number}")
        host.ok(f"zfs destroy tank/a@n{number}")
    host.ok("zfs snapshot tank/a@last")
    logs = host.root / "var/lib/fleet-lab/zfs-snapshots"
    assert sum(file.stat().st_size for file in logs.iterdir()) < 100_000
    assert names(host) == ["tank/a@last"]


def test_a_listing_that_takes_its_time_sees_logs_that_were_written_anew_meanwhile(host: Host) -> None:
    host.ok("zfs snapshot tank/a@x")
    with host.here():
        slow = zfs_tree.load()
    for number in range(120):
        host.ok(f"zfs snapshot tank/a@n{number}")
        host.ok(f"zfs destroy tank/a@n{number}")
    host.ok("zfs destroy tank/c")
    with host.here():
        assert list(slow.snapshots) == ["tank/a@x"]


def test_concurrent_snapshots_of_one_dataset_all_arrive(host: Host) -> None:
    script = (
        "import sys; from fleet.lab.sim import zfs; "
        "sys.exit(max(zfs.main(['zfs', 'snapshot', f'tank/a@{sys.argv[1]}{n}']) for n in range(20)))"
    )
    environment = {**os.environ, "FLEET_LAB_ROOT": str(host.root), "PYTHONPATH": str(Path.cwd())}
    running = [
        subprocess.Popen([sys.executable, "-c", script, letter], env=environment)
        for letter in ("x", "y", "z")
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(names(host)) == 60


def test_thousands_of_snapshots_are_listed_within_seconds(host: Host) -> None:
    datasets = [f"tank/g{number}" for number in range(14)]
    for name in datasets:
        host.ok(f"zfs create {name}")
    for number in range(100):
        host.ok("zfs snapshot " + " ".join(f"{name}@s{number}" for name in datasets))
    began = time.process_time()
    rows = host.ok(
        "zfs list -Hp -t snapshot -o name,guid,createtxg,creation,used,written,userrefs,clones,fleet:owner"
    )
    assert len(rows.splitlines()) == 1400
    assert time.process_time() - began < 5


# --- pools


def test_zpool_list_prints_what_backups_read(host: Host) -> None:
    host.fault(pool_health={"other": "DEGRADED"})
    rows = [
        line.split("\t")
        for line in host.ok("zpool list -Hp -o name,health,capacity,size,alloc,free").splitlines()
    ]
    assert [row[:3] for row in rows] == [["other", "DEGRADED", "0"], ["tank", "ONLINE", "0"]]
    assert all(int(row[3]) == int(row[4]) + int(row[5]) for row in rows)
    assert " state: DEGRADED\n" in host.ok("zpool status other")
    assert host.run("zpool list -H nope") == (1, "", "cannot open 'nope': no such pool\n")


@pytest.mark.parametrize(
    ("version", "prints"),
    [
        ("2.2.8-pve1", {"on": "on", "sa": "sa", "dir": "on"}),
        ("2.3.4-pve1", {"on": "on", "sa": "on", "dir": "dir"}),
        ("2.4.0-pve1", {"on": "sa", "sa": "sa", "dir": "dir"}),
    ],
)
def test_of_two_names_of_a_value_the_one_in_front_in_the_table_of_the_zfs_is_printed(
    host: Host, version: str, prints: dict[str, str]
) -> None:
    host.write("/var/lib/fleet-lab/machine.json", json.dumps({"packages": {"zfsutils-linux": version}}))
    for given, printed in prints.items():
        host.ok(f"zfs set xattr={given} tank/a")
        assert host.ok("zfs get -H -o value xattr tank/a") == f"{printed}\n"
    for given, printed in (("gzip-6", "gzip"), ("gzip-5", "gzip-5"), ("zstd-fast-1", "zstd-fast")):
        host.ok(f"zfs set compression={given} tank/a")
        assert host.ok("zfs get -H -o value compression tank/a") == f"{printed}\n"
