"""The lock files: current, hashed, and without an address of any registry."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("lock", ROOT / "scripts" / "lock.py")
assert spec
assert spec.loader
lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lock)


def pins(name: str) -> dict[str, str]:
    """Package (with its marker) -> version."""
    found = re.findall(r"^([\w.-]+)==(\S+)( ; [^\\]+)?", (ROOT / name).read_text(), re.MULTILINE)
    return {package + marker: version for package, version, marker in found}


@pytest.mark.parametrize("name", lock.LOCKS)
def test_a_lock_is_as_new_as_pyproject_and_has_a_hash_for_each_package(name: str) -> None:
    text = (ROOT / name).read_text()
    assert lock.locked(text) == lock.wanted((ROOT / "pyproject.toml").read_text())
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_a_new_dependency_makes_the_lock_old() -> None:
    said = (ROOT / "pyproject.toml").read_text()
    assert lock.wanted(said) != lock.wanted(said.replace('"rich>=', '"textual",\n  "rich>='))
    assert lock.wanted(said) == lock.wanted(said.replace("line-length = 110", "line-length = 111"))


def test_what_quickstart_installs_is_part_of_what_the_tests_install() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


MODULES = {"pyyaml": "yaml"}
PARTS = {"pydantic_core"}  # of a dependency that pins it


def test_what_fleet_imports_is_what_it_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}
    imported: set[str] = set()
    for path in (ROOT / "fleet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module or "")
    own = {"fleet", "sim"} | PARTS | sys.stdlib_module_names
    foreign = {name.partition(".")[0] for name in imported} - own
    assert foreign == {MODULES.get(package, package) for package in packages}
