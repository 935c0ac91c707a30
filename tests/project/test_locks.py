"""The lock files: current, hashed, and without an address of any registry."""

from __future__ import annotations

import importlib.util
import re
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


def test_every_dependency_is_imported_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = {"pyyaml": "yaml"}
    source = "\n".join(path.read_text() for path in (ROOT / "fleet").rglob("*.py"))
    for line in project["dependencies"]:
        package = re.split(r"[<>=]", line)[0]
        module = modules.get(package, package)
        assert re.search(rf"^\s*(import|from) {module}\b", source, re.MULTILINE), package
