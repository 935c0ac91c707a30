"""One lab a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet import lab
from tests.road.world import World


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("road")
        patch.setenv("FLEET_LAB_HOME", str(home / "labs"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        yield World(lab.up("pve"))
        lab.down("pve")


@pytest.fixture
def world(_world: World) -> World:
    """A node that fleet has never seen."""
    _world.restore(_world.fresh)
    return _world
