"""The scripts that a newcomer runs first, on machines where things are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ["sh", "dirname", "grep", "cat", "cksum", "rm", "head", "env"]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of programs to be PATH: what every Linux has, and `id`, which says that this is not root."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    program(programs / "id", "echo 1000")
    return programs


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def setup(machine: Path, call: str) -> subprocess.CompletedProcess[str]:
    """Run a function of scripts/setup.sh in a project that has nothing but its scripts."""
    project = machine.parent / "project"
    shutil.copytree(ROOT / "scripts", project / "scripts", dirs_exist_ok=True)
    program(project / "scripts" / "x", f'set -eu\n. "$(dirname -- "$0")/setup.sh"\n{call}')
    return subprocess.run(
        [project / "scripts" / "x"], env={"PATH": str(machine)}, capture_output=True, text=True, check=False
    )


OLD = 'case "$*" in *version_info*) exit 1 ;; esac; echo Python 3.9.2'


def test_a_newer_python_is_found_where_python3_is_too_old(machine: Path) -> None:
    program(machine / "python3", OLD)
    (machine / "python3.12").symlink_to(sys.executable)
    assert setup(machine, "find_python").stdout == f"{machine}/python3.12\n"


def test_without_a_python_that_is_new_enough_the_packages_to_install_are_named(machine: Path) -> None:
    program(machine / "python3", OLD)
    failed = setup(machine, "make_venv")
    assert failed.returncode == 1
    assert "Python 3.11 or newer is needed" in failed.stderr
    assert "apt-get install python3 python3-venv" in failed.stderr


def test_without_venv_and_without_root_the_command_to_type_is_said(machine: Path) -> None:
    without_venv = 'case "$*" in *"-m venv"*|*virtualenv*) exit 1 ;; esac'
    program(machine / "python3", f'{without_venv}; exec {sys.executable} "$@"')
    failed = setup(machine, "make_venv")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert failed.returncode == 1
    assert failed.stderr.endswith(f"sudo apt-get install python{version}-venv\n")


def test_virtualenv_is_used_where_venv_is_missing(machine: Path) -> None:
    program(
        machine / "python3",
        f'case "$*" in *"-m venv"*) exit 1 ;; *virtualenv*) exit 0 ;; esac; exec {sys.executable} "$@"',
    )
    made = setup(machine, "make_venv && echo made")
    assert (made.returncode, made.stdout) == (0, "made\n")


def test_a_venv_of_another_folder_is_not_used(machine: Path) -> None:
    venv = machine.parent / "project" / ".venv" / "bin"
    venv.mkdir(parents=True)
    program(venv / "python", "exit 0")
    program(venv / "pip", "")
    (venv / "pip").write_text("#!/elsewhere/.venv/bin/python\n")
    assert setup(machine, "is_usable_venv && echo usable || echo not").stdout == "not\n"
    (venv / "pip").write_text(f"#!{venv}/python\n")
    assert setup(machine, "is_usable_venv && echo usable || echo not").stdout == "usable\n"


def test_every_script_can_be_run() -> None:
    for name in ("scripts/quickstart", "scripts/test", "scripts/check", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name
