"""A running command's bytes, read from its channel without Fabric, whose capture of output is quadratic."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable

import paramiko

from fleet.host.script import Exchange

_CHUNK = 1 << 20
#: How long to wait for room in the peer's window before looking again (seconds).
_ROOM = 0.02
#: How long to wait for an exit code after both outputs have ended (seconds).
_LAST_WORD = 10.0
#: The exit code that a shell gives a command that was killed; paramiko does not pass on which signal it was.
_KILLED = 128 + 9


class ChannelPipe:
    """A Pipe over one channel."""

    def __init__(self, channel: paramiko.Channel, release: Callable[[], None]) -> None:
        self._channel = channel
        self._release = release
        self._closed = False
        channel.settimeout(None)
        self._events = select.poll()
        self._events.register(channel.fileno(), select.POLLIN)

    def exchange(self, data: memoryview, timeout: float | None) -> Exchange:
        """Send and receive what there is."""
        sent = self._send(data)
        if sent < len(data):
            timeout = _ROOM if timeout is None else min(timeout, _ROOM)
        out = err = b""
        if not sent or sent < len(data):
            self._events.poll(None if timeout is None else timeout * 1000)
        while self._channel.recv_ready() and len(out) < _CHUNK:
            out += self._channel.recv(_CHUNK)
        while self._channel.recv_stderr_ready() and len(err) < _CHUNK:
            err += self._channel.recv_stderr(_CHUNK)
        ended = not (out or err) and bool(self._channel.eof_received or self._channel.closed)
        return Exchange(sent, out, err, ended)

    def _send(self, data: memoryview) -> int:
        """How many bytes went out; none on a channel that is closed, which receiving then finds out."""
        sent = 0
        try:
            while sent < len(data) and self._channel.send_ready():
                sent += self._channel.send(bytes(data[sent : sent + _CHUNK]))
        except (
            OSError,
            EOFError,
            paramiko.SSHException,
        ):  # paramiko says a broken link in each of these ways
            return sent
        return sent

    def end_input(self) -> None:
        """No more stdin."""
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError):
            return  # the link broke: receiving finds out

    def status(self) -> int | None:
        """The command's exit code; None if the link broke before it came."""
        self._channel.status_event.wait(_LAST_WORD)
        code = self._channel.exit_status
        if code >= 0:
            return code
        # sshd ends a killed command's output before it closes the channel; a broken link does not.
        return _KILLED if self._channel.eof_received else None

    def close(self) -> None:
        """Close the channel, once."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError, EOFError):  # the connection may be gone, and the channel with it
            self._channel.close()
        self._release()
