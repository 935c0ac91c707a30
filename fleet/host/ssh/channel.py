"""A running command's bytes, read from its channel without Fabric, whose capture of output is quadratic."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import Event

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
        # Not Channel.fileno(): the one pipe that it shares between both outputs loses a wake-up when one is
        # emptied while the other is filled, and the reader then waits for ever.
        self._news = _News()
        channel.in_buffer.set_event(self._news)  # type: ignore[arg-type]  # set and clear are all it asks
        channel.in_stderr_buffer.set_event(self._news)  # type: ignore[arg-type]

    def exchange(self, data: memoryview, timeout: float | None) -> Exchange:
        """Send and receive what there is."""
        sent = self._send(data)
        if sent < len(data):
            timeout = _ROOM if timeout is None else min(timeout, _ROOM)
        out = err = b""
        if not sent or sent < len(data):
            self._wait(timeout)
        # Looked up before the outputs are read: what came before the end is then read before it is said.
        over = self._over()
        while self._channel.recv_ready() and len(out) < _CHUNK:
            out += self._channel.recv(_CHUNK)
        while self._channel.recv_stderr_ready() and len(err) < _CHUNK:
            err += self._channel.recv_stderr(_CHUNK)
        return Exchange(sent, out, err, over and not (out or err))

    def _wait(self, timeout: float | None) -> None:
        """Wait until there is something to receive, or nothing more to come."""
        self._news.forget()
        if not (self._channel.recv_ready() or self._channel.recv_stderr_ready() or self._over()):
            self._news.wait(timeout)

    def _over(self) -> bool:
        return bool(self._channel.eof_received or self._channel.closed)

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


class _News:
    """Set by paramiko's two buffers when they are filled or closed; only the reader resets it."""

    def __init__(self) -> None:
        self._event = Event()
        self.set = self._event.set
        self.forget = self._event.clear
        self.wait = self._event.wait

    def clear(self) -> None:
        """A buffer was emptied: no news."""
