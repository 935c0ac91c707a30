"""Archives of the lab without a lab: their names, packing, damage, and the retention of storages."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.lab.sim import archives, packing, prune
from fleet.lab.sim.errors import ParamError

VECTORS = json.loads((Path(__file__).parents[1] / "domains" / "prune-vectors.json").read_text("utf-8"))


@pytest.fixture
def zone() -> Iterator[Callable[[str], None]]:
    before = os.environ.get("TZ")

    def switch(name: str | None) -> None:
        if name is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = name
        time.tzset()

    yield switch
    switch(before)


def test_marks_are_those_of_proxmoxs_own_code(zone: Callable[[str], None]) -> None:
    assert len(VECTORS) >= 300
    for vector in VECTORS:
        zone(vector["tz"])
        keep = {f"keep-{key}": number for key, number in vector["keep"].items()}
        found = prune.marks([(moment, mark) for moment, mark in vector["entries"]], keep)
        assert found == vector["marks"], vector


def test_nothing_kept_means_to_keep_all() -> None:
    assert prune.parse("keep-last=0") == {"keep-all": 1}
    assert prune.marks([(1, None), (2, "protected")], {}) == ["keep", "protected"]


@pytest.mark.parametrize("text", ["keep-all=1,keep-last=2", "keep-last=x", "keep-never=1"])
def test_a_retention_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ParamError):
        prune.parse(text)


def test_the_name_of_an_archive_tells_its_local_time(zone: Callable[[str], None]) -> None:
    zone("America/New_York")
    found = archives.info("vzdump-lxc-120-2026_07_01-02_00_00.tar.zst")
    assert found == ("lxc", 120, 1782885600, "vzdump-lxc-120-2026_07_01-02_00_00.log")
    zone("UTC")
    found = archives.info("vzdump-lxc-120-2026_07_01-02_00_00.tar.zst")
    assert found is not None and found.ctime == 1782871200


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("vzdump-qemu-120-2026_07_01-02_00_00.vma.zst", True),
        ("vzdump-lxc-120-before.tar", False),
        ("vzdump-lxc-12-2026_07_01-02_00_00.tar", False),
        ("vzdump-lxc-120-2026_07_01-02_00_00.tar.zst.notes", None),
        ("mine.tar", None),
    ],
)
def test_only_names_as_vzdump_gives_them_are_standard(name: str, standard: bool | None) -> None:
    found = archives.info(name)
    assert (None if found is None else found.standard) == standard


def tree(tmp_path: Path) -> bytes:
    (tmp_path / "meta/etc/vzdump").mkdir(parents=True)
    (tmp_path / "meta/etc/vzdump/pct.conf").write_text("arch: amd64\n")
    (tmp_path / "root/dir").mkdir(parents=True)
    (tmp_path / "root/dir/file").write_bytes(os.urandom(300_000))
    return archives.stream(str(tmp_path / "meta"), [("/", str(tmp_path / "root"))], [], 0, 10_000_000)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.zst"])
@pytest.mark.parametrize("zstd", [True, False])
def test_what_was_packed_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, zstd: bool
) -> None:
    if not zstd:
        monkeypatch.setenv("PATH", str(tmp_path))
    raw = tree(tmp_path)
    path = tmp_path / f"x{ending}"
    packing.write(str(path), packing.pack(raw, path.name), 5_000_000)
    assert path.stat().st_size == 5_000_000
    backup = archives.Backup(str(path))
    assert backup.config() == b"arch: amd64\n" and backup.length() == 10_000_000 and backup.damage is None
    (tmp_path / "out").mkdir()
    backup.extract(str(tmp_path / "out"), 0)
    assert (tmp_path / "out/dir/file").read_bytes() == (tmp_path / "root/dir/file").read_bytes()


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.zst"])
@pytest.mark.parametrize("zstd", [True, False])
def test_a_cut_archive_has_its_configuration_and_says_that_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, zstd: bool
) -> None:
    if not zstd:
        monkeypatch.setenv("PATH", str(tmp_path))
    packed = packing.pack(tree(tmp_path), f"x{ending}")
    path = tmp_path / f"x{ending}"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    backup = archives.Backup(str(path))
    assert backup.config() == b"arch: amd64\n"
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=r"end|data|premature"):
        backup.extract(str(tmp_path / "out"), 0)


def test_excluded_paths_are_anchored_at_the_root_or_match_anywhere(tmp_path: Path) -> None:
    for name in ("tmp/a", "srv/tmp/a", "srv/cache/b", "srv/x.iso", "keep"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    patterns = ["/tmp/?*", "*.iso", "cache"]
    raw = archives.stream("/nowhere", [("/", str(tmp_path))], patterns, 0, 0)
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert sorted(tar.getnames()) == sorted([".", "./keep", "./srv", "./srv/tmp", "./srv/tmp/a", "./tmp"])
