"""The templates that the lab makes are real archives, as long as Proxmox shows them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.lab.sim import templates

NAMES = (
    "debian-13-standard_13.1-2_amd64.tar.zst",
    "ubuntu-24.04-standard_24.04-2_amd64.tar.zst",
    "alpine-3.22-default_20250617_amd64.tar.xz",
    "devuan-5.0-standard_5.0_amd64.tar.gz",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_template_unpacks_to_what_was_packed(name: str, tmp_path: Path) -> None:
    templates.write(str(tmp_path / name), name, 3_000_001)
    root = tmp_path / "root"
    size = templates.unpack(str(tmp_path / name), str(root))
    assert size == len(templates.archive(name))
    release = (root / "etc/os-release").read_text()
    assert f"ID={name.partition('-')[0]}\n" in release and f'VERSION_ID="{name.split("-")[1]}' in release


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_as_long_as_it_is_said_to_be_and_costs_little(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    templates.write(str(file), name, 58832208)
    assert file.stat().st_size == 58832208
    assert file.stat().st_blocks * 512 < 1_000_000


@pytest.mark.parametrize(("name", "program"), [(NAMES[0], "zstd"), (NAMES[2], "xz"), (NAMES[3], "gzip")])
def test_the_real_program_can_read_it(name: str, program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    templates.write(str(tmp_path / name), name, 3_000_000)
    unpacked = subprocess.run([program, "-dc", tmp_path / name], capture_output=True)
    assert unpacked.stdout[: len(templates.archive(name))][257:262] == b"ustar"
    listed = subprocess.run(["tar", "-t"], input=unpacked.stdout, capture_output=True, check=True)
    assert b"etc/os-release" in listed.stdout


def test_groups_have_the_ids_of_their_distribution(tmp_path: Path) -> None:
    for name, line in ((NAMES[0], "render:x:992:"), (NAMES[1], "render:x:993:"), (NAMES[2], "video:x:27:")):
        templates.write(str(tmp_path / name), name, 0)
        templates.unpack(str(tmp_path / name), str(tmp_path / name[:6]))
        assert line in (tmp_path / name[:6] / "etc/group").read_text().splitlines()


@pytest.mark.parametrize(
    "content", [b"", b"not an archive", b"\x28\xb5\x2f\xfd" + b"\0" * 40, b"\x1f\x8bjunk"]
)
def test_what_is_no_template_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar.zst").write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        templates.unpack(str(tmp_path / "x.tar.zst"), str(tmp_path / "root"))


def test_nobody_knows_the_distribution_of_a_strange_name() -> None:
    assert templates.distribution("windows-11_amd64.tar.zst") is None
