"""What tests of notices start from."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.host.secrets import Secrets
from fleet.inventory.secret import SecretRef
from tests.notify.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real HTTP server."""
    with receiving() as made:
        yield made


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path)


@pytest.fixture
def ref(monkeypatch: pytest.MonkeyPatch) -> SecretRef:
    """A reference whose value a test sets: the environment variable FLEET_TEST_URL."""
    monkeypatch.delenv("FLEET_TEST_URL", raising=False)
    return SecretRef("env", "FLEET_TEST_URL")


@pytest.fixture
def nobody() -> str:
    """An address of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"
