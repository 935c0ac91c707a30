"""A real OpenSSH server on loopback, with its default limits, and a way to cut the link to it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import pytest

from fleet.host.local import LocalTransport
from fleet.host.script import ScriptShell
from fleet.host.ssh import SshTransport

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NEEDS_SSHD = pytest.mark.skipif(
    SSHD is None, reason="NO REAL SSHD: install openssh-server, or the transport is tested on fakes only"
)


@dataclass
class Sshd:
    """A running sshd: where it listens, and the files with which a client gets in."""

    port: int
    user: str
    key: Path
    known_hosts: Path
    folder: Path
    process: subprocess.Popen[bytes]

    def transport(self, *, port: int | None = None, **changes: object) -> SshTransport:
        """A transport to it, or to the proxy at another port."""
        settings: dict[str, object] = {
            "user": self.user,
            "port": port or self.port,
            "identity_file": self.key,
            "known_hosts": self.known_hosts,
            "patience": 3.0,
        }
        settings.update(changes)
        return SshTransport("pve", "127.0.0.1", **settings)  # type: ignore[arg-type]

    def trust(self, port: int) -> None:
        """Let the same host key be known at another port, too."""
        line = (self.folder / "host_key.pub").read_text()
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {line}")


def keygen(file: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """A new key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", file], check=True)
    return file


def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; a machine that is busy may take its time."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def start_sshd(folder: Path, *, port: int | None = None, extra: str = "") -> Sshd:
    """An sshd of its own, as whoever runs the tests."""
    assert SSHD is not None
    port = port or free_port()
    if not (folder / "host_key").exists():
        keygen(folder / "host_key")
        keygen(folder / "id")
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"PermitRootLogin yes\nPasswordAuthentication no\n"
        # The login shell would read the profile of whoever runs the tests.
        f"SetEnv FLEET_RUN={folder / 'run'} HOME={folder}\n{extra}"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation directory
    with (folder / "sshd.log").open("ab") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log)
    sshd = Sshd(port, getuser(), folder / "id", folder / "known_hosts", folder, process)
    sshd.known_hosts.write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return sshd
        time.sleep(0.02)
    pytest.fail(f"sshd did not start: {(folder / 'sshd.log').read_text()}")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for all tests."""
    if SSHD is None:
        pytest.skip(NEEDS_SSHD.kwargs["reason"])
    server = start_sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.terminate()
    server.process.wait()


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the keys nor the SSH configuration of whoever runs the tests take part in them."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def run_folder(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder that stands for /run/fleet, over SSH and on this machine."""
    folder = sshd.folder / "run"
    shutil.rmtree(folder, ignore_errors=True)
    monkeypatch.setenv("FLEET_RUN", str(folder))
    return folder


@pytest.fixture
def remote(sshd: Sshd) -> Iterator[ScriptShell]:
    """A shell over the real sshd."""
    shell = ScriptShell(sshd.transport())
    yield shell
    shell.close()


@pytest.fixture
def here() -> ScriptShell:
    """A shell on this machine."""
    return ScriptShell(LocalTransport("pve"))


class Proxy:
    """Forwards TCP to a server until it is told to cut: reset (RST) or freeze (silence, as a dead router)."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.accepted = 0
        self.frozen = False
        self.watch: Callable[[Proxy, bytes, bool], bool] | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self.accepted += 1
                server = socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append((client, server))
                for source, sink, upwards in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=(source, sink, upwards), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, upwards: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.watch is not None and self.watch(self, data, upwards):
                    self.cut()
                    return
                while self.frozen:
                    time.sleep(0.05)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break every connection."""
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._pairs.clear()

    def close(self) -> None:
        """Stop."""
        self.frozen = False
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # or accept() would go on in its thread
        self._server.close()
        self.cut()


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    """A way to the real sshd that can be cut."""
    way = Proxy(sshd.port)
    sshd.trust(way.port)
    yield way
    way.close()


@pytest.fixture
def cuttable(sshd: Sshd, proxy: Proxy) -> Iterator[ScriptShell]:
    """A shell over the proxy."""
    shell = ScriptShell(sshd.transport(port=proxy.port))
    yield shell
    shell.close()
