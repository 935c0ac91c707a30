"""One Fabric connection a node, made when it is needed, shared by threads, made again after it broke."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
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
from fleet.host.ssh.way import way

#: sshd allows 10 sessions a connection, and one that was closed still counts for a moment: 8 is safe.
CHANNELS = 8
#: Opening a channel starts nothing on the host; one that does not answer for so long is gone (seconds).
CHANNEL_TIMEOUT = 20.0

# Without a handler Python prints paramiko's log, tracebacks included, to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _Unsettled(Exception):
    """The connection could not be made, for a reason that may pass."""


class _Refused(Exception):
    """The host did not open a channel: the one thing that is always worth another try."""


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
        self._hung_up = False
        self._node = name
        self._patience = patience
        self._connecting = threading.Lock()
        self._free = threading.BoundedSemaphore(CHANNELS)
        try:
            self._way = way(
                name, address, user=user, port=port, identity_file=identity_file, known_hosts=known_hosts
            )
        except (paramiko.SSHException, OSError, ValueError, RuntimeError) as error:
            raise Unreachable(f"{name}: ~/.ssh/config cannot be used for {address}: {error}") from error
        self._connection = self._way[0].connection

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
            retry=retry_if_exception_type(_Refused),
            reraise=True,
        )
        try:
            channel = attempts(_open_session, transport)
        except _Refused as error:
            raise Unreachable(f"{self.name}: the host allows no more sessions: {error}") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._drop(transport)
            raise LinkLost(f"{self.name}: the connection broke: {error}") from error
        try:
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
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
        for hop in self._way:
            hop.watch()
        self.connections += 1
        self._hung_up = False

    def _connect_once(self) -> None:
        try:
            self._connection.open()
        except Unreachable:
            self._disconnect()
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            refused = next((hop for hop in self._way if hop.refused_login), None)
            hung_up = refused is not None and not refused.is_open
            self._disconnect()
            if refused is not None and not (hung_up and self._may_hang_up()):
                raise Unreachable(refused.logins.explain(error)) from error
            if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
                raise Unreachable(f"{self.name}: no common way to encrypt: {error}") from error
            if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
                raise Unreachable(f"{self.name}: {_said(error)}") from error
            raise _Unsettled(_said(error)) from error

    def _may_hang_up(self) -> bool:
        """True the first time that the link breaks during a login.

        It may have been cut; or the host hung up on too many wrong keys, and bans those who try on and on.
        """
        first, self._hung_up = not self._hung_up, True
        return first

    def _disconnect(self) -> None:
        for hop in self._way:
            hop.close()


def _open_session(transport: paramiko.Transport) -> paramiko.Channel:
    """A new channel; _Refused if the host says no, paramiko's errors if it says nothing."""
    began = time.monotonic()
    try:
        return transport.open_session(timeout=CHANNEL_TIMEOUT)
    except (paramiko.SSHException, EOFError) as error:
        # paramiko keeps one error a connection: which one a refusal raises is left to chance among threads.
        if transport.is_active() and time.monotonic() - began < CHANNEL_TIMEOUT:
            raise _Refused(str(error)) from error
        raise


def _place(connection: fabric.Connection) -> str:
    port = "" if int(connection.port) == 22 else f" port {connection.port}"
    return f"{connection.user}@{connection.host}{port}"


def _said(error: BaseException) -> str:
    """The system's own words for an error of the network."""
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        return "; ".join(sorted({_said(each) for each in error.errors.values()}))
    if isinstance(error, socket.gaierror):
        return f"the name does not resolve: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or "the host hung up"
