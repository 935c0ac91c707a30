"""Labs of their own for the tests: one shared by those that do not care, fresh ones for those that do."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet import lab as labs

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lab_home() -> Iterator[Path]:
    """The home of labs; all that is up in it at the end is taken down."""
    yield Path(os.environ["FLEET_LAB_HOME"])
    for name in labs.known():
        labs.down(name)


@pytest.fixture(scope="session")
def shared(lab_home: Path) -> labs.Lab:
    """A lab like the recordings' first host; tests leave nothing behind that others would trip over."""
    return labs.up("shared", machine="recording-btr")


@pytest.fixture
def fresh(lab_home: Path) -> Iterator[labs.Lab]:
    """A lab as new, for one test."""
    name = f"fresh{next(_numbers)}"
    yield labs.up(name, machine="recording-btr")
    labs.down(name)


@pytest.fixture
def ok() -> Callable[[labs.Lab, str], str]:
    """Run a script that must succeed; its stdout."""

    def run(lab: labs.Lab, script: str) -> str:
        code, out, err = lab.run(script, timeout=60)
        assert code == 0, f"{script}: {code}\n{out}\n{err}"
        return out

    return run
