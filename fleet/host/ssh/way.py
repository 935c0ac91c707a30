"""Which way leads to a node? The connection and its jump hosts, each with our rules on keys and time-outs."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import fabric  # type: ignore[import-untyped]
import paramiko

from fleet.host.ssh import config as sshconfig
from fleet.host.ssh.knownhosts import GLOBAL_FILES, HostKeyPolicy, preferred
from fleet.host.ssh.login import Logins, choose_agent

CONNECT_TIMEOUT = 10.0
#: How often a connection is asked whether it lives, and after what silence it is given up (seconds).
KEEPALIVE = 15.0
SILENCE = 30.0
#: Milliseconds without an acknowledgement until the kernel gives a connection up (tcp(7), TCP_USER_TIMEOUT).
UNACKNOWLEDGED = 30_000
#: Output that may be under way before we read it. paramiko's 2 MB make a reader wait for window adjustments.
WINDOW = 1 << 26


@dataclass(frozen=True, slots=True)
class Hop:
    """One connection of the way, and the keys that may log in there."""

    connection: fabric.Connection
    logins: Logins

    @property
    def refused_login(self) -> bool:
        """It got as far as encryption and no further.

        paramiko's exceptions do not tell: the last key file that it could not parse hides the refusal before.
        """
        transport = self.connection.client.get_transport()
        return transport is not None and transport.initial_kex_done and not transport.is_authenticated()

    @property
    def is_open(self) -> bool:
        """The link stands."""
        transport = self.connection.client.get_transport()
        return transport is not None and transport.is_active()

    def watch(self) -> None:
        """From now on, close the connection once it no longer answers.

        The kernel notices a network that is gone (UNACKNOWLEDGED), but not a host that is stuck: its kernel
        goes on to acknowledge what its sshd never reads. paramiko's own keepalive waits for no answer.
        """
        transport = self.connection.client.get_transport()
        if transport is not None:
            threading.Thread(target=_watch, args=(transport,), name="ssh keepalive", daemon=True).start()

    def close(self) -> None:
        """Close the connection, and a proxy command with it."""
        transport = self.connection.client.get_transport()
        self.connection.client.close()  # Connection.close() leaves a client behind whose link broke
        self.connection.transport = None
        if transport is not None and isinstance(transport.sock, paramiko.ProxyCommand):
            transport.join(5)  # its thread still signals the command as it ends, and would miss it
            _reap(transport.sock.process)


def way(
    node: str,
    address: str,
    *,
    user: str | None,
    port: int | None,
    identity_file: str | Path | None,
    known_hosts: str | Path | None,
) -> tuple[Hop, ...]:
    """The node's connection as ~/.ssh/config and hosts.yml describe it, then its jump hosts, nearest last.

    What hosts.yml says wins. Nothing is connected yet. paramiko's errors, or ValueError, where ~/.ssh/config
    cannot be used.
    """
    config = fabric.Config(ssh_config=sshconfig.read())
    try:
        connection = fabric.Connection(
            address,
            user=user or config.base_ssh_config.lookup(address).get("user") or "root",
            port=port,
            config=config,
            connect_kwargs={"key_filename": [str(Path(identity_file).expanduser())]} if identity_file else {},
        )
    except RecursionError as error:
        raise ValueError("its jump hosts lead in a circle") from error
    except paramiko.ssh_exception.CouldNotCanonicalize as error:
        raise ValueError(f"CanonicalizeHostname finds {error} in no domain of CanonicalDomains") from error
    sshconfig.judged(connection)
    choose_agent(connection)
    files = (Path(known_hosts).expanduser(),) if known_hosts else _known_hosts_files(connection)
    hops = [_prepared(node, connection, files)]
    while isinstance(connection.gateway, fabric.Connection):
        connection = sshconfig.judged(connection.gateway)
        hops.append(_prepared(node, connection, _known_hosts_files(connection)))
    return tuple(hops)


def _known_hosts_files(connection: fabric.Connection) -> tuple[Path, ...]:
    """The files that say which keys are trusted; the first is the one to add to."""
    users = connection.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    return (*(Path(file).expanduser() for file in shlex.split(users)), *GLOBAL_FILES)


def _prepared(node: str, connection: fabric.Connection, files: tuple[Path, ...]) -> Hop:
    """The connection with our rules instead of Fabric's, which accepts every host key."""
    alias = connection.ssh_config.get("hostkeyalias")
    policy = HostKeyPolicy(node, files, alias or connection.host, 22 if alias else int(connection.port))
    connection.client.set_missing_host_key_policy(policy)
    connection.connect_timeout = connection.connect_timeout or CONNECT_TIMEOUT
    logins = Logins(node, connection)
    connection.connect_kwargs = {
        "key_filename": logins.usable,
        "allow_agent": logins.agent,
        "look_for_keys": False,
        "banner_timeout": CONNECT_TIMEOUT,
        "auth_timeout": 2 * CONNECT_TIMEOUT,
        "transport_factory": _transport_factory(policy),
    }
    return Hop(connection, logins)


def _transport_factory(policy: HostKeyPolicy) -> Callable[..., paramiko.Transport]:
    """Makes paramiko transports on sockets without delays, which ask the host for a key that we know."""

    def transport(
        sock: socket.socket | paramiko.Channel | paramiko.ProxyCommand,
        disabled_algorithms: Mapping[str, Iterable[str]] | None,
    ) -> paramiko.Transport:
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        made = paramiko.Transport(sock, default_window_size=WINDOW, disabled_algorithms=disabled_algorithms)
        offer = made.get_security_options()
        offer.key_types = preferred((key.kind for key in policy.keys), offer.key_types)
        return made

    return transport


def _watch(transport: paramiko.Transport) -> None:
    while True:
        transport.join(KEEPALIVE)
        if not transport.is_active():
            return
        alarm = threading.Timer(SILENCE, transport.close)
        alarm.daemon = True
        alarm.start()
        transport.global_request("keepalive@openssh.com", wait=True)  # any answer will do, and "no" is one
        alarm.cancel()


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait for a proxy command that paramiko has told to end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
    process.kill()
    with process:
        pass
