"""The machine with real ZFS, up once a session; without it the tests are skipped, and it is said why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.zfs import machine as machines
from tests.zfs.machine import Machine
from tests.zfs.node import Node


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine, as it was made."""
    state = tmp_path_factory.mktemp("zfs") / "vm"
    try:
        up = machines.up(state)
    except machines.NoMachine as reason:
        pytest.skip(f"REAL OPENZFS IS NOT TESTED: {reason}")
    yield up
    machines.down(state)


@pytest.fixture
def node(machine: Machine, tmp_path: Path) -> Node:
    """The machine as a Proxmox VE node; a test says which guests it has."""
    return Node(machine, tmp_path)
