"""A server of another make: mockssh, which is paramiko's own server."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mockssh
import pytest

from fleet.core.errors import Unreachable
from fleet.host.script import ScriptShell
from fleet.host.ssh import SshTransport
from tests.host.conftest import keygen

pytestmark = pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning")  # mockssh's own


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keygen(tmp_path_factory.mktemp("key") / "id_rsa", kind="rsa")


@pytest.fixture
def server(key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mockssh.Server]:
    logging.getLogger("mockssh").setLevel(logging.CRITICAL)
    started: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    class Handler(mockssh.server.Handler):
        def run(self) -> None:
            with suppress(Exception):  # a client that hangs up is no failure of the test
                super().run()

    monkeypatch.setattr(mockssh.Server, "handler_cls", Handler)
    monkeypatch.setattr(mockssh.server.subprocess, "Popen", Popen)
    with mockssh.Server({"operator": str(key)}) as running:
        yield running
    for process in started:  # mockssh leaves them and their pipes open
        with process:
            pass


def shell(server: mockssh.Server, folder: Path, user: str = "operator") -> ScriptShell:
    transport = SshTransport(
        "pve",
        "127.0.0.1",
        user=user,
        port=server.port,
        identity_file=server._users["operator"][0],
        known_hosts=folder / "known_hosts",
    )
    return ScriptShell(transport)


def trust(server: mockssh.Server, folder: Path) -> None:
    public = Path(mockssh.__file__).with_name("server-key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public}")


def test_scripts_run_there_too(server: mockssh.Server, tmp_path: Path) -> None:
    trust(server, tmp_path)
    there = shell(server, tmp_path)
    # It never passes on the end of stdin, so nothing here waits for that.
    output = there.run("echo out; head -c 5; echo err >&2; exit 4", stdin=b"data\n")
    assert (output.code, output.out, output.err) == (4, "out\ndata\n", "err\n")
    assert len(there.run("head -c 3000000 /dev/zero | tr '\\0' x").out) == 3_000_000
    assert (there.executions, there.connections) == (2, 1)
    there.close()


def test_an_unknown_key_is_refused_there_too(server: mockssh.Server, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="not known"):
        shell(server, tmp_path).run("echo never")


def test_an_unknown_user_is_refused(server: mockssh.Server, tmp_path: Path) -> None:
    trust(server, tmp_path)
    with pytest.raises(Unreachable, match=r"stranger@127\.0\.0\.1 could not log in; the host refused"):
        shell(server, tmp_path, "stranger").run("echo never")
