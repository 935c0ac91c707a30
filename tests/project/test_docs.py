"""The documents say only what is there: commands, options, files, links, tests."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.collection import Collection

from fleet.core.errors import ExitCode
from fleet.tasks import namespace
from fleet.tasks.cli import Task

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "fleet" / "starter" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INVOKE_OPTIONS = {"--list", "--help", "--print-completion-script", "--list-format"}


def tasks(collection: Collection, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each task's name, and its options."""
    for name, each in collection.tasks.items():
        assert isinstance(each, Task)
        flags = {"-" * (1 + (len(flag) > 1)) + flag for arg in each.get_arguments() for flag in arg.names}
        yield prefix + name, flags
    for name, inner in collection.collections.items():
        yield from tasks(inner, f"{prefix}{name}.")


TASKS = dict(tasks(namespace))


def code(text: str) -> Iterator[str]:
    """The lines of a page's blocks, and the spans within its other lines."""
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


def commands(text: str) -> Iterator[list[str]]:
    """The words after `inv` of each command in code; what follows three spaces explains it."""
    for line in code(text):
        if found := re.search(r"(?:^|[\s/(])inv ((?:--?[\w-]+ )*[a-z]\S.*|--\S.*)", line):
            words = shlex.shlex(re.split(r"\s{3,}", found[1])[0], posix=True, punctuation_chars=True)
            yield list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_of_a_page_exists(page: Path) -> None:
    for words in commands(page.read_text("utf-8")):
        names = [word for word in words if not word.startswith("-")]
        task = names[0] if names else ""
        if any(word in INVOKE_OPTIONS for word in words):
            assert all(word in INVOKE_OPTIONS for word in words if word.startswith("-")), words
            continue
        assert task in TASKS, f"inv {' '.join(words)}"
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert options <= TASKS[task], f"inv {' '.join(words)}"


def test_commands_are_found_in_blocks_and_in_text() -> None:
    text = "Run `inv plan --json`:\n\n    inv status   what runs\n\n```\n$ .venv/bin/inv apply x --yes\n```\n"
    assert list(commands(text)) == [["plan", "--json"], ["status"], ["apply", "x", "--yes"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in target or (page.parent / target).exists(), target
    for path in re.findall(r"`((?:fleet|scripts|tests|docs|bench)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_readme_opens_with_the_two_commands() -> None:
    head = (ROOT / "README.md").read_text("utf-8").splitlines()[:15]
    assert any("scripts/quickstart" in line for line in head)
    assert any("scripts/test" in line for line in head)


def test_the_readme_lists_every_exit_code() -> None:
    codes = {value for name, value in vars(ExitCode).items() if not name.startswith("_")}
    table = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert {int(code) for code in table} == codes | {130}


def test_every_test_that_proves_a_safety_promise_exists() -> None:
    texts = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("safety.md", "backups.md"))
    rows = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", texts)
    assert rows
    for path, name in rows:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, (
            f"{path}::{name}"
        )


def test_every_promise_of_safety_names_its_test() -> None:
    rows = re.findall(
        r"^\| (?!Promise|---)(.+?) \| (.+?) \|$", (ROOT / "docs" / "safety.md").read_text(), re.MULTILINE
    )
    assert rows
    for promise, proof in rows:
        assert "::test_" in proof, promise
