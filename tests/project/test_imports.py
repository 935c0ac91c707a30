"""Who may import what, where import-linter has no word for it (its contracts are in pyproject.toml)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FLEET = Path(__file__).resolve().parents[2] / "fleet"
SIM = FLEET / "lab" / "sim"


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, as it names them; relative ones with their dots."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def importers(*packages: str) -> set[str]:
    """The files of fleet that import one of these packages."""
    return {
        path.relative_to(FLEET).as_posix()
        for path in FLEET.rglob("*.py")
        if any(name.partition(".")[0] in packages for name in imports(path))
    }


def test_only_the_ssh_package_and_the_lab_import_paramiko_or_fabric() -> None:
    users = importers("paramiko", "fabric")
    assert [path for path in users if not path.startswith(("host/ssh", "lab/"))] == []


#: `inv lab.shell` and `inv lab.exec` run a program in the lab, with the operator's own terminal.
LAB_TASKS = {"tasks/lab.py"}


def test_only_the_host_side_and_the_lab_start_processes_or_open_sockets() -> None:
    users = importers("subprocess", "socket", "socketserver", "asyncio", "multiprocessing")
    assert {path for path in users if not path.startswith(("host/", "lab/"))} <= LAB_TASKS


def test_the_simulated_commands_import_the_standard_library_and_themselves_only() -> None:
    assert SIM.is_dir()
    for path in SIM.rglob("*.py"):
        for name in imports(path):
            own = name.startswith("sim.") or (name.startswith(".") and not name.startswith(".."))
            standard = name.partition(".")[0] in sys.stdlib_module_names
            assert own or standard, f"{path.name} imports {name}"


def test_pure_parts_read_no_clock() -> None:
    for folder in ("core", "tools", "domains"):
        for path in (FLEET / folder).rglob("*.py"):
            assert not {"time", "random"} & set(imports(path)), path


def test_the_rules_find_an_import_that_is_nested_in_a_function(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("def f():\n    if True:\n        from paramiko.client import SSHClient\n")
    assert list(imports(tmp_path / "x.py")) == ["paramiko.client"]
