"""The simulated storages and ZFS.

What they print, refuse and keep, in a plain directory that stands for the node's root.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.lab.sim import (
    ext4,
    machine,
    owners,
    paths,
    pveam,
    pvesm,
    storage,
    storage_cfg,
    zfs,
    zfs_props,
    zfs_tree,
    zpool,
)
from fleet.lab.sim.errors import Die

GIB = 1 << 30
POOL = 12348030976  # the recorded pool: 11.5 GiB, of which 11.1 can be used
STORAGE_CFG = """dir: local
\tpath /var/lib/vz
\tcontent vztmpl,iso,snippets,images,backup,import,rootdir

zfspool: local-zfs
\tpool rpool/data
\tcontent images,rootdir
\tsparse 1

btrfs: btr
\tpath /mnt/btr
\tcontent rootdir,images

"""
FACTS = {
    "node": "pve",
    "pve_version": "9.2.11",
    "cpus": 2,
    "memory_mib": 2048,
    "pools": [{"name": "rpool", "size": POOL}],
    "datasets": [{"name": "rpool/data"}],
    "filesystems": {
        "/": {"size": 100 * GIB, "used": 4 * GIB},
        "/mnt/btr": {"size": 12 * GIB, "used": 0, "type": "btrfs"},
    },
    "templates": {
        "present": [],
        "available": [
            {"name": "alpine-3.22-default_20250617_amd64.tar.xz", "os": "alpine-3.22", "size": 3294640}
        ],
    },
}

Run = Callable[..., tuple[int, str, str]]


class Node:
    """The node's root directory and what tests change in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        """Write a file of the node."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        machine.facts.cache_clear()
        machine.faults.cache_clear()

    def fault(self, **faults: object) -> None:
        """Tell the lab what is to go wrong."""
        self.write("/var/lib/fleet-lab/faults.json", json.dumps(faults))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(paths, "ROOT", str(tmp_path))
    made = Node(tmp_path)
    made.write("/var/lib/fleet-lab/machine.json", json.dumps(FACTS))
    made.write("/etc/pve/storage.cfg", STORAGE_CFG)
    yield made
    machine.facts.cache_clear()
    machine.faults.cache_clear()


@pytest.fixture
def run(node: Node, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a simulated command in this process: (exit code, stdout, stderr)."""
    modules = {"zfs": zfs, "zpool": zpool, "pvesm": pvesm, "pveam": pveam}

    def call(name: str, *words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = modules[name].main([name, *words])
        text = capsys.readouterr()
        return code, text.out, text.err

    return call


def make(volume_size: int = GIB, on: str = "local-zfs", vmid: int = 100) -> tuple[str, str]:
    """(volid, what was printed) of a new container volume."""
    out = io.StringIO()
    return storage.alloc(on, vmid, volume_size, out), out.getvalue()


# --- ZFS ----------------------------------------------------------------------------------------------------
# --------------


def test_zfs_list_of_a_fresh_pool_is_as_recorded(run: Run) -> None:
    assert run("zfs", "list") == (
        0,
        (
            "NAME         USED  AVAIL  REFER  MOUNTPOINT\n"
            "rpool        468K  11.1G    96K  /rpool\n"
            "rpool/data    96K  11.1G    96K  /rpool/data\n"
        ),
        "",
    )


def test_the_zfs_lines_of_the_recordings_come_out_again(run: Run) -> None:
    volid, printed = make()
    assert (volid, printed) == ("local-zfs:subvol-100-disk-0", "")
    storage.fill(volid, 118_930_000)
    assert run("zfs", "list", "-t", "all")[1] == (
        "NAME                           USED  AVAIL  REFER  MOUNTPOINT\n"
        "rpool                          114M  11.0G    96K  /rpool\n"
        "rpool/data                     114M  11.0G    96K  /rpool/data\n"
        "rpool/data/subvol-100-disk-0   113M   911M   113M  /rpool/data/subvol-100-disk-0\n"
    )
    storage.fill(volid, 119_144_448)
    storage.resize(volid, 2 * GIB, True, io.StringIO())
    make()
    storage.snapshot(volid, "s1")
    assert run("zfs", "list", "-t", "all")[1] == (
        "NAME                              USED  AVAIL  REFER  MOUNTPOINT\n"
        "rpool                             114M  11.0G    96K  /rpool\n"
        "rpool/data                        114M  11.0G    96K  /rpool/data\n"
        "rpool/data/subvol-100-disk-0      114M  1.89G   114M  /rpool/data/subvol-100-disk-0\n"
        "rpool/data/subvol-100-disk-0@s1     0B      -   114M  -\n"
        "rpool/data/subvol-100-disk-1       96K  1024M    96K  /rpool/data/subvol-100-disk-1\n"
    )


def test_base_volume_and_linked_clone_are_listed_as_recorded(run: Run) -> None:
    volid, _ = make(2 * GIB, vmid=101)
    storage.fill(volid, 119_144_448)
    base = storage.make_base(volid)
    assert base == "local-zfs:basevol-101-disk-0"
    clone = storage.clone_linked(base, 103)
    assert clone == "local-zfs:basevol-101-disk-0/subvol-103-disk-0"
    assert run("zfs", "list", "-t", "all", "-o", "name,origin,refquota,used")[1] == (
        "NAME                                    ORIGIN                                  REFQUOTA   USED\n"
        "rpool                                   -                                           none   114M\n"
        "rpool/data                              -                                           none   114M\n"
        "rpool/data/basevol-101-disk-0           -                                             2G   114M\n"
        "rpool/data/basevol-101-disk-0@__base__  -                                              -     0B\n"
        "rpool/data/subvol-103-disk-0            rpool/data/basevol-101-disk-0@__base__        2G     0B\n"
    )
    with pytest.raises(Die, match=r"^base volume 'basevol-101-disk-0' is still in use by linked clones$"):
        storage.free(base)
    storage.free(clone)
    storage.free(base)
    assert run("zfs", "list", "-H", "-o", "name")[1] == "rpool\nrpool/data\n"


def test_a_snapshot_that_is_not_the_newest_is_no_rollback_target(node: Node) -> None:
    volid, _ = make()
    storage.snapshot(volid, "s1")
    storage.snapshot(volid, "s2")
    with pytest.raises(
        Die, match=r"^can't rollback, 's1' is not most recent snapshot on 'local-zfs:subvol-100-disk-0'$"
    ):
        storage.rollback(volid, "s1")
    with pytest.raises(
        Die, match=r"^can't rollback, snapshot 'no' does not exist on 'local-zfs:subvol-100-disk-0'$"
    ):
        storage.rollback(volid, "no")


@pytest.mark.parametrize("on", ["local-zfs", "btr"])
def test_a_rollback_brings_back_the_files_of_the_snapshot(node: Node, on: str) -> None:
    volid, _ = make(on=on)
    file = Path(storage.root_dir(volid)) / "etc"
    file.write_text("before")
    storage.snapshot(volid, "s1")
    file.write_text("after")
    (file.parent / "new").write_text("")
    storage.rollback(volid, "s1")
    root = Path(storage.root_dir(volid))
    assert [(p.name, p.read_text()) for p in root.iterdir() if p.name != ".zfs"] == [("etc", "before")]


def test_a_dataset_keeps_its_files_over_an_unmount_and_hides_what_was_there(node: Node, run: Run) -> None:
    node.write("/data/hidden", "under")
    assert run("zfs", "create", "-o", "mountpoint=/data", "rpool/media")[0] == 0
    node.write("/data/film", "kept")
    assert sorted(p.name for p in (node.root / "data").iterdir()) == ["film"]
    assert run("zfs", "unmount", "rpool/media")[0] == 0
    assert sorted(p.name for p in (node.root / "data").iterdir()) == ["hidden"]
    assert run("zfs", "unmount", "rpool/media") == (
        1,
        "",
        "cannot unmount 'rpool/media': not currently mounted\n",
    )
    assert run("zfs", "set", "mountpoint=/media", "rpool/media")[0] == 0
    assert (node.root / "media/film").read_text() == "kept"


def test_files_written_into_a_dataset_take_space_and_snapshots_keep_it(node: Node, run: Run) -> None:
    def sizes(what: str = "used,referenced,usedbysnapshots") -> list[int]:
        words = ("zfs", "list", "-Hp", "-o", what, "rpool/media")
        return [int(word) // 1024 for word in run(*words)[1].split()]

    run("zfs", "create", "-o", "mountpoint=/data", "rpool/media")
    node.write("/data/film", "x" * 300 * 1024)
    assert sizes() == [96 + 300, 96 + 300, 0]
    run("zfs", "snapshot", "rpool/media@a")
    (node.root / "data/film").unlink()
    assert sizes() == [96 + 300, 96, 300]
    node.write("/data/new", "x" * 100 * 1024)
    assert sizes("written,referenced") == [100, 196]
    assert run("zfs", "set", "refquota=150K", "rpool/media")[2] == (
        "cannot set property for 'rpool/media': size is less than current used or reserved space\n"
    )
    run("zfs", "rollback", "rpool/media@a")
    assert sizes() == [96 + 300, 96 + 300, 0]
    assert (node.root / "data/film").stat().st_size == 300 * 1024


def test_properties_know_where_they_come_from(run: Run) -> None:
    run("zfs", "create", "-o", "compression=lz4", "-o", "mountpoint=/a", "rpool/a")
    run("zfs", "create", "rpool/a/b")
    run("zfs", "set", "fleet:owner=fleet", "quota=1G", "rpool/a")
    assert run("zfs", "get", "-Hp", "compression,mountpoint,fleet:owner,quota,atime,mounted", "rpool/a/b")[
        1
    ] == (
        "rpool/a/b\tcompression\tlz4\tinherited from rpool/a\n"
        "rpool/a/b\tmountpoint\t/a/b\tinherited from rpool/a\n"
        "rpool/a/b\tfleet:owner\tfleet\tinherited from rpool/a\n"
        "rpool/a/b\tquota\t0\tdefault\n"
        "rpool/a/b\tatime\ton\tdefault\n"
        "rpool/a/b\tmounted\tyes\t-\n"
    )
    run("zfs", "inherit", "compression", "rpool/a")
    assert run("zfs", "get", "-H", "-o", "value,source", "compression", "rpool/a/b")[1] == "on\tdefault\n"
    assert run("zfs", "get", "-H", "-s", "local", "-o", "property,value", "all", "rpool/a")[1] == (
        "quota\t1G\nmountpoint\t/a\nfleet:owner\tfleet\n"
    )


REFUSALS = [
    (("create", "rpool/data"), 1, "cannot create 'rpool/data': dataset already exists\n"),
    (("create", "nopool/x"), 1, "cannot create 'nopool/x': no such pool 'nopool'\n"),
    (("create", "rpool/no/x"), 1, "cannot create 'rpool/no/x': parent does not exist\n"),
    (("create", "rpool/a@b"), 1, "cannot create 'rpool/a@b': snapshot delimiter '@' is not expected here\n"),
    (("create", "rpool/a b*"), 1, "cannot create 'rpool/a b*': invalid character '*' in name\n"),
    (("create", "-o", "nosuch=1", "rpool/a"), 1, "cannot create 'rpool/a': invalid property 'nosuch'\n"),
    (
        ("create", "-o", "compression=maybe", "rpool/a"),
        1,
        "cannot create 'rpool/a': 'compression' must be one of 'on | off",
    ),
    (("create", "-o", "quota=lots", "rpool/a"), 1, "cannot create 'rpool/a': bad numeric value 'lots'\n"),
    (
        ("create", "-o", "mountpoint=data", "rpool/a"),
        1,
        "cannot create 'rpool/a': 'mountpoint' must be an absolute path, 'none', or 'legacy'\n",
    ),
    (("create", "-o", "quota", "rpool/a"), 1, "missing '=' for property=value argument\n"),
    (("create",), 2, "missing filesystem argument\nusage:\n\tcreate "),
    (("create", "-Z", "rpool/a"), 2, "invalid option 'Z'\nusage:\n"),
    (("destroy", "rpool"), 1, "cannot destroy 'rpool': operation does not apply to pools\n"),
    (("destroy", "rpool/no"), 1, "cannot open 'rpool/no': dataset does not exist\n"),
    (("destroy", "rpool/data@no"), 1, "could not find any snapshots to destroy; check snapshot names.\n"),
    (("set", "used=1", "rpool/data"), 255, "cannot set property for 'rpool/data': 'used' is readonly\n"),
    (
        ("set", "quota=1K", "rpool/data"),
        255,
        "cannot set property for 'rpool/data': size is less than current used or reserved space\n",
    ),
    (
        ("set", "reservation=1T", "rpool/data"),
        255,
        "cannot set property for 'rpool/data': size is greater than available space\n",
    ),
    (
        ("set", "quota=0", "rpool/data"),
        255,
        "cannot set property for 'rpool/data': use 'none' to disable quota/refquota\n",
    ),
    (("set", "rpool/data"), 2, "missing property=value argument(s)\nusage:\n"),
    (
        ("inherit", "quota", "rpool/data"),
        1,
        "'quota' property cannot be inherited\nuse 'zfs set quota=none' to clear\n",
    ),
    (("get", "quota", "rpool/no"), 1, "cannot open 'rpool/no': dataset does not exist\n"),
    (("list", "-t", "nonsense"), 2, "invalid type 'nonsense'\nusage:\n"),
    (("rollback", "rpool/data@no"), 1, "cannot open 'rpool/data@no': dataset does not exist\n"),
    (("snapshot", "rpool/no@x"), 2, "cannot open 'rpool/no': dataset does not exist\nusage:\n\tsnapshot "),
    (("frobnicate",), 2, "unrecognized command 'frobnicate'\nusage: zfs command args ...\n"),
    ((), 2, "missing command\nusage: zfs command args ...\n"),
]


@pytest.mark.parametrize(
    ("words", "code", "message"), REFUSALS, ids=[" ".join(r[0]) or "nothing" for r in REFUSALS]
)
def test_zfs_refuses_in_its_own_words_and_changes_nothing(
    run: Run, words: tuple[str, ...], code: int, message: str
) -> None:
    before = run("zfs", "get", "-Hpr", "all", "rpool")[1]
    got = run("zfs", *words)
    assert (got[0], got[1]) == (code, "")
    assert got[2].startswith(message)
    assert run("zfs", "get", "-Hpr", "all", "rpool")[1] == before


def test_zfs_destroy_names_what_depends_on_a_dataset(run: Run) -> None:
    for words in (
        ("create", "rpool/a"),
        ("create", "rpool/a/b"),
        ("snapshot", "-r", "rpool/a@s"),
        ("clone", "rpool/a@s", "rpool/c"),
    ):
        assert run("zfs", *words)[0] == 0
    assert run("zfs", "destroy", "rpool/a") == (
        1,
        "",
        (
            "cannot destroy 'rpool/a': filesystem has children\nuse '-r' to destroy the following datasets:\n"
            "rpool/a/b@s\nrpool/a/b\nrpool/a@s\n"
        ),
    )
    assert run("zfs", "destroy", "-r", "rpool/a") == (
        1,
        "",
        (
            "cannot destroy 'rpool/a': filesystem has dependent clones\nuse '-R' to destroy the following "
            "datasets:\nrpool/c\n"
        ),
    )
    assert run("zfs", "destroy", "rpool/a@s")[2] == (
        "cannot destroy 'rpool/a@s': snapshot has dependent clones\nuse '-R' to destroy the following "
        "datasets:\nrpool/c\n"
    )
    assert (
        run("zfs", "destroy", "-rnv", "rpool/a/b")[1]
        == "would destroy rpool/a/b@s\nwould destroy rpool/a/b\n"
    )
    assert run("zfs", "destroy", "-R", "rpool/a")[0] == 0
    assert run("zfs", "list", "-H", "-t", "all", "-o", "name")[1] == "rpool\nrpool/data\n"


def test_several_snapshots_are_taken_all_or_none(run: Run) -> None:
    run("zfs", "create", "rpool/a")
    assert run("zfs", "snapshot", "-o", "fleet:job=1", "rpool/a@x", "rpool/data@x")[0] == 0
    code, _, err = run("zfs", "snapshot", "rpool/a@y", "rpool/data@x")
    assert (code, err) == (
        1,
        "cannot create snapshot 'rpool/data@x': dataset already exists\nno snapshots were created\n",
    )
    assert (
        run("zfs", "list", "-H", "-t", "snapshot", "-o", "name,fleet:job")[1]
        == "rpool/a@x\t1\nrpool/data@x\t1\n"
    )


def test_rollback_needs_r_when_newer_snapshots_exist(run: Run) -> None:
    run("zfs", "snapshot", "rpool/data@a")
    run("zfs", "snapshot", "rpool/data@b")
    assert run("zfs", "rollback", "rpool/data@a") == (
        1,
        "",
        (
            "cannot rollback to 'rpool/data@a': more recent snapshots or bookmarks exist\n"
            "use '-r' to force deletion of the following snapshots and bookmarks:\nrpool/data@b\n"
        ),
    )
    assert run("zfs", "rollback", "-r", "rpool/data@a")[0] == 0
    assert run("zfs", "list", "-H", "-o", "name", "-t", "snapshot")[1] == "rpool/data@a\n"


def test_a_held_snapshot_cannot_be_destroyed(run: Run) -> None:
    run("zfs", "snapshot", "rpool/data@a")
    assert run("zfs", "hold", "keep", "rpool/data@a")[0] == 0
    assert run("zfs", "destroy", "rpool/data@a") == (
        1,
        "",
        (
            "cannot destroy snapshot rpool/data@a: it's being held. "
            "Run 'zfs holds -r rpool/data@a' to see holders.\n"
        ),
    )
    assert run("zfs", "release", "keep", "rpool/data@a")[0] == 0
    assert run("zfs", "destroy", "rpool/data@a")[0] == 0


def test_a_clone_that_is_promoted_takes_the_snapshot_along(run: Run) -> None:
    for words in (("snapshot", "rpool/data@s"), ("clone", "rpool/data@s", "rpool/c"), ("promote", "rpool/c")):
        assert run("zfs", *words)[0] == 0
    assert run("zfs", "list", "-H", "-t", "all", "-o", "name,origin")[1] == (
        "rpool\t-\nrpool/c\t-\nrpool/c@s\t-\nrpool/data\trpool/c@s\n"
    )


def test_zfs_works_side_by_side_without_losing_anything(node: Node) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from fleet.lab.sim import zfs_ops

    def create(number: int) -> None:
        with zfs_tree.changing() as tree:
            zfs_ops.create(tree, f"rpool/data/d{number}", {})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(24)))
    assert len(zfs_tree.load().children("rpool/data")) == 24


def test_a_failure_inside_a_change_leaves_the_tree_as_it_was(node: Node) -> None:
    before = zfs_tree.load().datasets
    with pytest.raises(RuntimeError), zfs_tree.changing() as tree:
        tree.datasets.clear()
        raise RuntimeError
    assert zfs_tree.load().datasets == before


def test_zpool_list_and_get(run: Run) -> None:
    assert run("zpool", "list", "-H", "-o", "name,health")[1] == "rpool\tONLINE\n"
    assert run("zpool", "list", "-Hp", "-o", "size")[1] == f"{POOL}\n"
    assert run("zpool", "get", "-H", "-o", "value", "size,health", "rpool")[1] == "11.5G\nONLINE\n"
    assert run("zpool", "status", "nosuch") == (1, "", "cannot open 'nosuch': no such pool\n")
    assert run("zpool", "status", "-x")[1] == "all pools are healthy\n"


@given(st.integers(0, 2**63))
def test_printed_sizes_have_at_most_five_characters_and_read_back_close(size: int) -> None:
    text = zfs_props.nice(size)
    assert len(text) <= 5
    assert abs(zfs_props.parse_size(text) - size) <= size * 0.05


@given(st.integers(0, 2**63), st.sampled_from(["", "K", "k", "M", "MB", "GiB", "g"]))
def test_sizes_with_a_suffix_are_powers_of_1024(number: int, suffix: str) -> None:
    factor = 1024 ** " KMG".index((suffix or " ")[0].upper())
    if number * factor < 2**64:
        assert zfs_props.parse_size(f"{number}{suffix}") == number * factor


# --- volumes ------------------------------------------------------------------------------------------------
# ----------------


def test_a_raw_image_is_formatted_as_recorded(node: Node) -> None:
    volid, printed = make(4 * GIB, on="local")
    lines = printed.splitlines()
    assert volid == "local:100/vm-100-disk-0.raw"
    assert (
        lines[0]
        == "Formatting '/var/lib/vz/images/100/vm-100-disk-0.raw', fmt=raw size=4294967296 preallocation=off"
    )
    assert lines[1] == "Creating filesystem with 1048576 4k blocks and 262144 inodes"
    assert lines[3:] == [
        "Superblock backups stored on blocks: ",
        "\t32768, 98304, 163840, 229376, 294912, 819200, 884736",
    ]


def test_the_superblocks_of_a_huge_image_are_as_recorded() -> None:
    assert ext4.mkfs_output(99999 * GIB, "U") == (
        "Creating filesystem with 26214137856 4k blocks and 1638383616 inodes\nFilesystem UUID: U\n"
        "Superblock backups stored on blocks: \n"
        "\t32768, 98304, 163840, 229376, 294912, 819200, 884736, 1605632, 2654208, \n"
        "\t4096000, 7962624, 11239424, 20480000, 23887872, 71663616, 78675968, \n"
        "\t102400000, 214990848, 512000000, 550731776, 644972544, 1934917632, \n"
        "\t2560000000, 3855122432, 5804752896, 12800000000, 17414258688\n"
    )


def test_an_ext4_of_1_gib_has_the_recorded_size() -> None:
    assert ext4.total(GIB) == 1020702720


def test_size_0_is_a_subvol_on_file_storages(node: Node) -> None:
    assert make(0, on="btr") == ("btr:100/subvol-100-disk-0.subvol", "")
    assert make(0, on="local") == ("local:100/subvol-100-disk-0.subvol", "")
    assert Path(storage.root_dir("btr:100/subvol-100-disk-0.subvol")).is_dir()


@pytest.mark.parametrize("on", ["local", "btr", "local-zfs"])
def test_a_volume_gets_the_lowest_free_number(node: Node, on: str) -> None:
    first, second, _ = (make(on=on)[0] for _ in range(3))
    storage.free(second)
    assert make(on=on)[0] == second
    assert make(on=on, vmid=101)[0] == first.replace("100", "101")
    assert storage.exists(first)
    storage.free(first)
    assert not storage.exists(first)


def test_growing_a_stopped_btrfs_image_says_what_was_recorded(node: Node) -> None:
    volid, _ = make(on="btr")
    out = io.StringIO()
    storage.resize(volid, 2816 << 20, False, out)
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["Image resized.", "e2fsck 1.47.2 (1-Jan-2025)"]
    assert lines[-3:] == [
        "Resizing the filesystem on /mnt/btr/images/100/vm-100-disk-0/disk.raw to 720896 (4k) blocks.",
        "The filesystem on /mnt/btr/images/100/vm-100-disk-0/disk.raw is now 720896 (4k) blocks long.",
        "",
    ]
    assert storage.size(volid) == 2816 << 20


def test_only_storages_that_can_offer_snapshots(node: Node) -> None:
    assert storage.has_snapshot_feature(make(on="btr")[0])
    assert storage.has_snapshot_feature(make(on="local-zfs")[0])
    assert not storage.has_snapshot_feature(make(on="local")[0])


def test_a_btrfs_clone_has_files_of_its_own(node: Node) -> None:
    volid, _ = make(on="btr")
    (Path(storage.root_dir(volid)) / "f").write_text("a")
    clone = storage.clone_linked(volid, 108)
    assert clone == "btr:108/vm-108-disk-0.raw"
    (Path(storage.root_dir(clone)) / "f").write_text("b")
    assert (Path(storage.root_dir(volid)) / "f").read_text() == "a"
    assert storage.make_base(volid) == "btr:100/base-100-disk-0.raw"


def test_a_full_copy_prints_rsync_statistics(node: Node) -> None:
    volid, _ = make()
    (Path(storage.root_dir(volid)) / "f").write_text("abc")
    out = io.StringIO()
    copy = storage.copy_full(volid, "btr", 105, out)
    assert copy == "btr:105/vm-105-disk-0.raw"
    assert (Path(storage.root_dir(copy)) / "f").read_text() == "abc"
    assert "\nNumber of files: 2 (reg: 1, dir: 1, link: 0)\n" in out.getvalue()


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ("local-zfs", "zfs error: cannot create 'rpool/data/subvol-100-disk-0': out of space"),
        ("btr", "No space left on device"),
        ("local", "No space left on device"),
    ],
)
def test_a_full_disk_refuses_a_volume_and_leaves_none(node: Node, on: str, message: str) -> None:
    node.fault(disk_full=[on])
    with pytest.raises(Die) as refusal:
        make(on=on)
    assert message in refusal.value.message
    node.fault()
    assert storage.volumes(on) == []


def test_a_volume_is_allocated_only_where_containers_may_be(node: Node) -> None:
    node.write("/etc/pve/storage.cfg", "dir: local\n\tpath /var/lib/vz\n\tcontent iso\n")
    with pytest.raises(Die, match="content type 'rootdir' is not available or configured on storage 'local'"):
        make(on="local")
    with pytest.raises(Die, match=r"^storage 'nosuch' does not exist$"):
        make(on="nosuch")
    with pytest.raises(Die, match=r"^unable to parse volume ID 'x/y'$"):
        storage.parse_volid("x/y")


# --- storage.cfg, pvesm, pveam
# -------------------------------------------------------------------------------------------------

_NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}[a-z0-9]", fullmatch=True)
_VALUES = st.from_regex(r"[!-~]([ -~]{0,12}[!-~])?", fullmatch=True)


@st.composite
def _sections(draw: st.DrawFn) -> dict[str, storage_cfg.Section]:
    found: dict[str, storage_cfg.Section] = {}
    for name in draw(st.lists(_NAMES.filter(lambda n: n != "local"), unique=True, max_size=4)):
        kind = draw(st.sampled_from(sorted(storage_cfg.KINDS)))
        rules = storage_cfg.KINDS[kind]
        optional = [k for k in rules.optional if k not in storage_cfg.BOOLEAN_KEYS]
        keys = {*rules.required, *draw(st.sets(st.sampled_from(optional), max_size=3))} - set(
            storage_cfg.BOOLEAN_KEYS
        )
        found[name] = storage_cfg.Section(kind, name, {key: draw(_VALUES) for key in sorted(keys)})
    return found


@given(_sections())
def test_storage_cfg_reads_back_what_was_written(sections: dict[str, storage_cfg.Section]) -> None:
    read = storage_cfg.parse(storage_cfg.format_sections(sections))
    assert read.pop("local").path == "/var/lib/vz"
    assert read == sections


def test_storage_cfg_keeps_its_order_and_proxmox_layout(run: Run, node: Node) -> None:
    assert run("pvesm", "set", "btr", "--disable", "1")[0] == 0
    assert (node.root / "etc/pve/storage.cfg").read_text() == STORAGE_CFG.replace(
        "btrfs: btr\n", "btrfs: btr\n\tdisable\n"
    )


def test_pvesm_status_of_the_recorded_zfs_host(run: Run, node: Node) -> None:
    lines = run("pvesm", "status", "--storage", "local-zfs")[1].splitlines()
    assert lines == [
        "Name             Type     Status     Total (KiB)      Used (KiB) Available (KiB)        %",
        "local-zfs     zfspool     active        11681420              96        11681324    0.00%",
    ]
    node.write("/var/lib/fleet-lab/machine.json", json.dumps({**FACTS, "pve_version": "8.4.1"}))
    assert run("pvesm", "status")[1].splitlines()[0].split() == [
        "Name",
        "Type",
        "Status",
        "Total",
        "Used",
        "Available",
        "%",
    ]


def test_pvesm_list_shows_volumes_with_owner_and_type(run: Run, node: Node) -> None:
    make(on="btr")
    node.write("/etc/pve/nodes/pve/lxc/100.conf", "arch: amd64\n")
    assert run("pvesm", "list", "btr") == (
        0,
        (
            "Volid                     Format  Type            Size VMID\n"
            "btr:100/vm-100-disk-0.raw raw     rootdir   1073741824 100\n"
        ),
        "",
    )


PVESM = [
    (
        ("status", "--storage", "nosuch"),
        255,
        "400 Parameter verification failed.\nstorage: No such storage.\npvesm status  [OPTIONS]\n",
    ),
    (("list", "nosuch"), 255, "storage 'nosuch' does not exist\n"),
    (("alloc", "btr", "100", "vm-100-disk-7", "1G"), 25, "unable to parse volume filename 'vm-100-disk-7'\n"),
    (
        ("free", "btr:100/vm-100-disk-7.raw"),
        0,
        (
            "command 'btrfs subvolume delete -- /mnt/btr/images/100/vm-100-disk-7' failed: ERROR: Could not "
            "statfs: No such file or directory\n"
        ),
    ),
    (
        ("add", "dir", "local", "--path", "/x"),
        255,
        "create storage failed: storage ID 'local' already defined\n",
    ),
    (
        ("add", "zfspool", "two", "--pool", "nopool"),
        255,
        (
            "create storage failed: could not activate storage 'two', zfs error: cannot import 'nopool': no "
            "such "
            "pool available\n"
        ),
    ),
    (
        ("add", "dir", "two", "--path", "/x", "--content", "music"),
        2,
        (
            "400 Parameter verification failed.\ncontent: invalid format - invalid content type "
            "'music'\n\npvesm "
            "add <type> <storage> [OPTIONS]\n"
        ),
    ),
    (("add", "dir", "two"), 2, "missing value for required option 'path'\n"),
    (("remove", "nosuch"), 255, "delete storage failed: storage 'nosuch' does not exist\n"),
    (
        ("set", "btr", "--bogus", "1"),
        2,
        "Unknown option: bogus\n400 unable to parse option\npvesm set <storage> [OPTIONS]\n",
    ),
]


@pytest.mark.parametrize(("words", "code", "message"), PVESM, ids=[" ".join(case[0]) for case in PVESM])
def test_pvesm_fails_as_proxmox_does_and_changes_nothing(
    run: Run, node: Node, words: tuple[str, ...], code: int, message: str
) -> None:
    assert run("pvesm", *words) == (code, "", message)
    assert (node.root / "etc/pve/storage.cfg").read_text() == STORAGE_CFG


def test_pvesm_add_writes_a_section_with_the_mountpoint_of_the_pool(run: Run, node: Node) -> None:
    assert run(
        "pvesm", "add", "zfspool", "two", "--pool", "rpool", "--content", "rootdir", "--sparse", "1"
    ) == (0, "", "")
    assert (node.root / "etc/pve/storage.cfg").read_text() == (
        STORAGE_CFG + "zfspool: two\n\tpool rpool\n\tcontent rootdir\n\tmountpoint /rpool\n\tsparse 1\n\n"
    )
    assert run("pvesm", "remove", "two")[0] == 0
    assert (node.root / "etc/pve/storage.cfg").read_text() == STORAGE_CFG


def test_without_quorum_storage_cfg_cannot_be_written(run: Run, node: Node) -> None:
    node.fault(quorum_lost=True)
    code, _, err = run("pvesm", "remove", "btr")
    assert code != 0
    assert "Permission denied" in err
    assert (node.root / "etc/pve/storage.cfg").read_text() == STORAGE_CFG


def test_pveam_downloads_what_is_offered_and_nothing_else(run: Run, node: Node) -> None:
    name = "alpine-3.22-default_20250617_amd64.tar.xz"
    assert run("pveam", "available")[2].count("No such file or directory") == 2
    assert run("pveam", "update") == (0, "update successful\n", "")
    assert run("pveam", "available", "--section", "system")[1] == f"system          {name:<60} amd64\n"
    code, out, _ = run("pveam", "download", "local", name)
    assert code == 0
    assert out.endswith(
        f"calculating checksum...OK, checksum verified\ndownload of "
        f"'http://download.proxmox.com/images/system/{name}' "
        f"to '/var/lib/vz/template/cache/{name}' finished\n"
    )
    assert run("pveam", "list", "local")[1] == f"{'NAME':<60} {'SIZE':<6}\nlocal:vztmpl/{name:<47} 3.14MB\n"
    assert "OK, got correct file already, no need to download" in run("pveam", "download", "local", name)[1]
    assert run("pveam", "download", "local", "debian-0") == (
        2,
        "",
        (
            "400 Parameter verification failed.\ntemplate: no such template\npveam download <storage> "
            "<template>\n"
        ),
    )
    assert run("pveam", "list", "nosuch") == (255, "", "storage 'nosuch' does not exist\n")


def test_a_download_that_fails_exits_0(run: Run, node: Node) -> None:
    run("pveam", "update")
    node.fault(no_network=True)
    code, _, err = run("pveam", "download", "local", "alpine-3.22-default_20250617_amd64.tar.xz")
    assert (code, err) == (0, "download failed: exit code 8\n")
    assert storage.volumes("local", kinds=("vztmpl",)) == []


# --- owners -------------------------------------------------------------------------------------------------
# ----------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run chown; inside the lab everybody is root")
def test_an_owner_is_remembered_and_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d" / "f").parent.mkdir()
    (tmp_path / "d" / "f").write_text("")
    assert owners.main(["chown", "-R", "100000:100044", str(tmp_path / "d")]) == 0
    assert owners.main(["stat", "-c", "%u %g %%u %n", str(tmp_path / "d"), str(tmp_path / "d/f")]) == 0
    assert capfd.readouterr().out == f"100000 100044 %u {tmp_path}/d\n100000 100044 %u {tmp_path}/d/f\n"
    assert owners.main(["chown", "0:0", str(tmp_path / "d")]) == 0
    assert owners.owner(str(tmp_path / "d")) == (0, 0)
    assert owners.main(["chown", "nosuchuser", str(tmp_path / "d")]) == 1
    assert owners.main(["chown", "1:1", str(tmp_path / "nosuch")]) == 1
