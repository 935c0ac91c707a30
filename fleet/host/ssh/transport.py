"""One Fabric connection a node, made when it is needed, shared by threads, made again after it broke."""

from __future__ import annotations

import logging
import shlex
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import fabric  # type: ignore[import-untyped]
import paramiko
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from fleet.core.errors import LinkLost, Unreachable
from fleet.host.script import Pipe
from fleet.host.ssh.channel import ChannelPipe
from fleet.host.ssh.knownhosts import GLOBAL_FILES, HostKeyPolicy, preferred
from fleet.host.ssh.login import Logins

#: sshd allows 10 sessions a connection, and one that was closed still counts for a moment: 8 is safe.
CHANNELS = 8
CONNECT_TIMEOUT = 10.0
#: Opening a channel starts nothing on the host; one that does not answer for so long is gone (seconds).
CHANNEL_TIMEOUT = 20.0
KEEPALIVE = 15
#: Milliseconds without an acknowledgement until the kernel gives a connection up (tcp(7), TCP_USER_TIMEOUT).
UNACKNOWLEDGED = 30_000
#: Output that may be under way before we read it. paramiko's 2 MB make a reader wait for window adjustments.
WINDOW = 1 << 26

# Without a handler Python prints paramiko's log, tracebacks included, to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _Unsettled(Exception):
    """The connection could not be made, for a reason that may pass."""


class SshTransport:
    """Opens channels on one connection, made when first needed and again after it broke."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        user: str | None = None,
        port: int | None = None,
        identity_file: str | Path | None = None,
        known_hosts: str | Path | None = None,
        patience: float = 30.0,
    ) -> None:
        """`patience`: seconds during which a connection that is refused, reset or silent is tried again."""
        self.connections = 0
        self._node = name
        self._patience = patience
        self._known_hosts = known_hosts
        self._connecting = threading.Lock()
        self._free = threading.BoundedSemaphore(CHANNELS)
        try:
            self._connection = _configured(address, user, port, identity_file)
        except (paramiko.SSHException, OSError, ValueError) as error:
            raise Unreachable(f"{name}: ~/.ssh/config cannot be used for {address}: {error}") from error
        self._logins = {hop: self._prepare(hop) for hop in self._hops()}

    @property
    def name(self) -> str:
        """The node as messages call it."""
        return f"{self._node} ({_place(self._connection)})"

    @property
    def user(self) -> str:
        """The user who logs in."""
        return str(self._connection.user)

    def open(self, command: str) -> Pipe:
        """Run a command line on a channel of its own; waits while all channels are taken."""
        self._free.acquire()
        try:
            return ChannelPipe(self._channel(command), self._free.release)
        except BaseException:
            self._free.release()
            raise

    def close(self) -> None:
        """Close the connection."""
        with self._connecting:
            self._disconnect()

    def _channel(self, command: str) -> paramiko.Channel:
        """A channel that runs the command; a refused one is asked for again, since nothing was run on it."""
        transport = self._transport()
        attempts = Retrying(
            stop=stop_after_delay(15),
            wait=wait_exponential(multiplier=0.05, max=1) + wait_random(0, 0.1),
            retry=retry_if_exception_type(paramiko.ChannelException),
            reraise=True,
        )
        try:
            channel: paramiko.Channel = attempts(transport.open_session, timeout=CHANNEL_TIMEOUT)
        except paramiko.ChannelException as error:
            raise Unreachable(f"{self.name}: the host allows no more sessions: {error.text}") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._drop(transport)
            raise LinkLost(f"{self.name}: the connection broke: {error}") from error
        try:
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            channel.close()
            if transport.is_active():
                raise Unreachable(f"{self.name}: the host lets this user run no commands: {error}") from error
            raise LinkLost(f"{self.name}: the connection broke: {error}") from error
        return channel

    def _transport(self) -> paramiko.Transport:
        """The connection's transport, connecting if there is none."""
        with self._connecting:
            if not self._connection.is_connected:
                self._disconnect()
                self._connect()
            transport: paramiko.Transport = self._connection.transport
            return transport

    def _drop(self, transport: paramiko.Transport) -> None:
        """Close a connection that no longer answers, so that the next script makes a new one."""
        with self._connecting:
            if self._connection.transport is transport:
                self._disconnect()

    def _connect(self) -> None:
        attempts = Retrying(
            stop=stop_after_attempt(5) | stop_after_delay(self._patience),
            wait=wait_exponential(multiplier=0.5, max=8) + wait_random(0, 0.5),
            retry=retry_if_exception_type(_Unsettled),
            reraise=True,
        )
        try:
            attempts(self._connect_once)
        except _Unsettled as error:
            tries = attempts.statistics["attempt_number"]
            raise Unreachable(
                f"{self.name}: no connection: {error} ({tries} tries)."
                " Is the host up, is the address right, does `ssh` reach it from here?"
            ) from error
        self.connections += 1

    def _connect_once(self) -> None:
        try:
            self._connection.open()
        except Unreachable:
            self._disconnect()
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            refused = self._refused_login()
            self._disconnect()
            if refused is not None:
                raise Unreachable(refused.explain(error)) from error
            if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
                raise Unreachable(f"{self.name}: no common way to encrypt: {error}") from error
            if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
                raise Unreachable(f"{self.name}: the name does not resolve: {error.strerror}") from error
            raise _Unsettled(_said(error)) from error

    def _refused_login(self) -> Logins | None:
        """The logins of the hop that got as far as encryption and no further.

        paramiko's exceptions do not tell: the last key file that it could not parse hides the refusal before.
        """
        for hop, logins in self._logins.items():
            transport = hop.client.get_transport()
            if transport is not None and transport.initial_kex_done and not transport.is_authenticated():
                return logins
        return None

    def _disconnect(self) -> None:
        for hop in self._hops():
            hop.client.close()  # Connection.close() leaves a client behind whose connection broke
            hop.transport = None

    def _hops(self) -> Iterator[fabric.Connection]:
        """The connection and, behind it, its jump hosts."""
        hop = self._connection
        while isinstance(hop, fabric.Connection):
            yield hop
            hop = hop.gateway

    def _prepare(self, hop: fabric.Connection) -> Logins:
        """Its logins; gives a connection our rules on host keys, logins and time-outs."""
        alias = hop.ssh_config.get("hostkeyalias")
        files = self._known_hosts_files(hop)
        policy = HostKeyPolicy(self._node, files, alias or hop.host, 22 if alias else int(hop.port))
        hop.client.set_missing_host_key_policy(policy)
        hop.connect_timeout = hop.connect_timeout or CONNECT_TIMEOUT
        logins = Logins(self._node, hop)
        hop.connect_kwargs = {
            "key_filename": logins.usable,
            "allow_agent": logins.agent,
            "look_for_keys": False,
            "banner_timeout": CONNECT_TIMEOUT,
            "auth_timeout": 2 * CONNECT_TIMEOUT,
            "transport_factory": _transport_factory(policy),
        }
        return logins

    def _known_hosts_files(self, hop: fabric.Connection) -> tuple[Path, ...]:
        """The files that say which keys are trusted; the first is the one to add to."""
        if self._known_hosts:
            return (Path(self._known_hosts).expanduser(),)
        users = hop.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
        return (*(Path(file).expanduser() for file in shlex.split(users)), *GLOBAL_FILES)


def _configured(
    address: str, user: str | None, port: int | None, identity_file: str | Path | None
) -> fabric.Connection:
    """The connection as ~/.ssh/config and hosts.yml describe it; what hosts.yml says wins."""
    config = fabric.Config()
    said = config.base_ssh_config.lookup(address)
    return fabric.Connection(
        address,
        user=user or said.get("user") or "root",
        port=port,
        gateway=False if said.get("proxyjump", "").lower() == "none" else None,
        config=config,
        connect_kwargs={"key_filename": [str(Path(identity_file).expanduser())]} if identity_file else {},
    )


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
        made.set_keepalive(KEEPALIVE)
        offer = made.get_security_options()
        offer.key_types = preferred((key.kind for key in policy.keys), offer.key_types)
        return made

    return transport


def _place(connection: fabric.Connection) -> str:
    port = "" if int(connection.port) == 22 else f" port {connection.port}"
    return f"{connection.user}@{connection.host}{port}"


def _said(error: BaseException) -> str:
    """The system's own words for an error of the network."""
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        return "; ".join(sorted({_said(each) for each in error.errors.values()}))
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or "the host hung up"
