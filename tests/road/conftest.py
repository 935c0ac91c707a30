"""One lab a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet import lab
from tests.road import fleets, operator
from tests.road.world import State, World


@pytest.fixture(scope="session")
def _world() -> Iterator[World]:
    yield World(lab.up("pve"))
    lab.down("pve")


@pytest.fixture(scope="session")
def prepared(_world: World, tmp_path_factory: pytest.TempPathFactory) -> State:
    """A node whose storage is as hosts.yml says, and that has no guests yet."""
    _world.restore(_world.fresh)
    operator.settle(fleets.read(tmp_path_factory.mktemp("prepared"), fleets.fleet({})))
    return _world.state()


@pytest.fixture
def world(_world: World) -> World:
    """A node that fleet has never seen."""
    _world.restore(_world.fresh)
    return _world
