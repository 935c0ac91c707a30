"""fleet as an installed package: three lines of tasks.py and a hosts.yml are enough."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from sysconfig import get_path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, and with what the locks hold from the environment of the tests."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    inside = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", str(inside)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(get_path("purelib") + "\n")
    return inside


def run(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run([python, *words], cwd=cwd, env=clean, capture_output=True, text=True, check=False)


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "fleet"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "fleet/host/prelude.sh" in tracked
    assert set(tracked) <= set(zipfile.ZipFile(wheel).namelist())


def test_an_installed_fleet_makes_a_repository_that_works(python: Path, tmp_path: Path) -> None:
    where = run(python, "-c", "import fleet; print(fleet.__file__)", cwd=tmp_path).stdout
    assert str(python.parent.parent) in where

    made = run(python, "-m", "fleet", "init", "mine", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        ".gitignore",
        "README.md",
        "hosts.schema.json",
        "hosts.yml",
        "tasks.py",
    ]
    listed = run(python, "-m", "invoke", "--list", cwd=tmp_path / "mine")
    assert "provision.all" in listed.stdout, listed.stderr
    checked = run(python, "-m", "invoke", "check", cwd=tmp_path / "mine")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_init_never_overwrites(python: Path, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("mine\n")
    refused = run(python, "-m", "fleet", "init", ".", cwd=tmp_path)
    assert (refused.returncode, refused.stderr) == (6, ". has hosts.yml already: nothing was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.yml"]


def test_a_folder_that_cannot_be_made_is_one_line(python: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = run(python, "-m", "fleet", "init", "file/mine", cwd=tmp_path)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert "Not a directory" in failed.stderr
