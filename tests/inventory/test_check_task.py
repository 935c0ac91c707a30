"""`inv check` as a process: all problems on stdout, exit 1, nothing contacted, no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def inv(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_right_file_gives_its_figures_and_exit_0() -> None:
    done = inv("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("hosts.yml: 28 containers (9 media, 9 monitoring, 4 security, 6 business);")


def test_a_wrong_file_gives_all_problems_and_exit_1(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text("node: {name: pve, adress: lab}\ncontainers: {web: {vmid: 1}}\n", encoding="utf-8")
    done = inv("check", "--inventory", str(bad))
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{bad}:1 node.adress: unknown key; did you mean address?" in done.stdout
    assert f"{bad}:2 containers.web.vmid: is 1; write a number from 100 to 999999999" in done.stdout
    assert done.stdout.endswith("5 errors; nothing was contacted\n")
    assert "Traceback" not in done.stdout


def test_json_holds_the_same(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text("node: {name: pve, address: lab, adress: lab}\n", encoding="utf-8")
    done = inv("check", "--json", "--inventory", str(bad))
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert told["problems"] == [
        {
            "file": str(bad),
            "line": 1,
            "path": "node.adress",
            "text": "unknown key; did you mean address?",
            "warning": False,
        }
    ]


@pytest.mark.parametrize("name", ["nowhere.yml", "."])
def test_a_file_that_cannot_be_read_is_an_error_without_traceback(tmp_path: Path, name: str) -> None:
    done = inv("check", "--inventory", str(tmp_path / name))
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_loading_the_tasks_imports_neither_pydantic_nor_the_inventory() -> None:
    code = "import sys; import fleet.tasks; print(sorted({'pydantic', 'fleet.inventory'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
