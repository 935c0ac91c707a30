"""Sizes and ZFS values mean the same however they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.tools import pveam, zfs
from fleet.tools.pvesm import parse_storage_cfg
from fleet.tools.sizes import parse_size, print_size


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_printed_size_is_read_back(size: int) -> None:
    assert parse_size(print_size(size)) == size


@pytest.mark.parametrize(
    ("text", "size"), [("8G", 8 << 30), ("2560M", 2560 << 20), ("0.5G", 512 << 20), ("10TiB", 10 << 40)]
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "8X", "-1G", "1 2"])
def test_what_is_no_size_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_zfs_values_are_compared_as_zfs_prints_them() -> None:
    assert zfs.normal("quota", "10T") == zfs.normal("quota", str(10 << 40))
    assert zfs.normal("quota", "none") == "0"
    assert zfs.normal("acltype", "posixacl") == "posix"
    assert zfs.normal("compression", "lz4") == "lz4"
    assert zfs.normal("compression", "gzip-6") == "gzip"
    assert zfs.normal("compression", "zstd-fast-1") == "zstd-fast"
    assert zfs.normal("compression", "zstd-3") == "zstd-3"  # zstd alone is kept without a level


def test_the_newest_template_is_found_by_version_and_not_by_text() -> None:
    names = (
        "debian-13-standard_13.9-1_amd64.tar.zst",
        "debian-13-standard_13.10-1_amd64.tar.zst",
        "debian-13-x.log",
    )
    assert pveam.newest(names, "debian-13-standard", "amd64") == names[1]
    assert pveam.newest(names, "alpine", "amd64") is None


@pytest.mark.parametrize(
    ("prefix", "architecture", "found"),
    [
        ("d", "amd64", "d_2_amd64.tar.zst"),
        ("d", "arm64", "d_2_arm64.tar.zst"),
        ("d", "riscv64", None),
        ("d", "", "d_2_arm64.tar.zst"),  # a node that does not say
        ("d_2_arm64", "amd64", "d_2_arm64.tar.zst"),  # asked for
        ("own", "amd64", "own-1.tar.gz"),
        ("own", "arm64", "own-1.tar.gz"),
    ],
)
def test_a_template_is_one_of_the_nodes_architecture_as_far_as_its_name_says(
    prefix: str, architecture: str, found: str | None
) -> None:
    names = ("d_2_amd64.tar.zst", "d_2_arm64.tar.zst", "d_1_amd64.tar.zst", "own-1.tar.gz")
    assert pveam.newest(names, prefix, architecture) == found


def test_storage_cfg_is_read_as_recorded() -> None:
    entries = parse_storage_cfg(
        "dir: local\n\tpath /var/lib/vz\n\tcontent vztmpl,iso\n\nzfspool: tank-ct\n\tpool tank/ct\n\tsparse\n"
    )
    assert entries["local"].content == {"vztmpl", "iso"}
    assert entries["tank-ct"].options == {"pool": "tank/ct", "sparse": "1"}
    plugin = parse_storage_cfg("dir: local\n\tpath /srv\n\nnas2-nfs: nas\n\tpath /mnt/nas\n")
    assert (plugin["local"].options["path"], plugin["nas"].type) == ("/srv", "nas2-nfs")
    assert parse_storage_cfg("")["local"].options["path"] == "/var/lib/vz"
