"""A plan in a file: private, whole or not there, and an error where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.core.plan import Plan, join
from fleet.planfile import load, save

PLAN: Plan = join("pve", [])


def saved(path: Path) -> None:
    save(path, PLAN, created="2026-11-25T00:00:00+00:00", limit=["plex"], exclude=[], restart=False)


def test_a_file_that_others_could_read_is_private_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text("old")
    file.chmod(0o644)
    saved(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (load(file).limit, load(file).plan) == (("plex",), PLAN)
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("plan.json")
    saved(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "plan.json").plan == PLAN


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (".", "Is a directory"),
        ("no/where.json", "No such file or directory"),
        ("file/x", "Not a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_place_where_no_file_can_be_is_one_line_that_names_it(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FleetError) as failed:
        saved(tmp_path / name)
    assert str(failed.value) == f"{tmp_path / name}: the plan cannot be saved: {says}"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_no_file_is_never_replaced_by_one() -> None:
    saved(Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
