"""How does a script get there whole, and how is its end told from the link's? One Shell for every transport.

Note [How a script travels]

The remote command is a short text that never changes but for its mark. It announces itself, reads the
script from stdin by its exact length, and runs it only if its last line, the mark, has arrived. What
follows there is the script's own. So no limit on arguments applies, no secret stands in a process list, and
half a script never runs. Both outputs are framed:

    ...banners, noise of the profile...
    MARK begin
    ...the script's output, byte for byte...
    MARK end CODE

The end mark carries the script's own exit code: 255 is also what ssh says of its own failures. Output that
comes after the end mark belongs to something that the script left behind, and nobody waits for it.
"""

from __future__ import annotations

import secrets
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from fleet.core.errors import HostError, LinkLost, Unreachable
from fleet.host.shell import Output, Session

#: How often a script that never arrived is sent again over a new connection.
DELIVERIES = 3


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one exchange with a pipe moved: bytes taken from us, bytes of both outputs, and if both ended."""

    sent: int
    out: bytes
    err: bytes
    ended: bool


class Pipe(Protocol):
    """A running command as seen by its transport. Not shared between threads, except for `close`."""

    def exchange(self, data: memoryview, timeout: float | None) -> Exchange:
        """Send what can be sent of `data` and wait until something moved or `timeout` seconds have passed."""

    def end_input(self) -> None:
        """No more stdin."""

    def status(self) -> int | None:
        """The command's exit code once its outputs ended; None if the link broke instead."""

    def close(self) -> None:
        """Let go of the command."""


class Transport(Protocol):
    """Opens pipes to one node."""

    @property
    def name(self) -> str:
        """The node as messages call it."""

    @property
    def connections(self) -> int:
        """How many connections were made."""

    def open(self, command: str) -> Pipe:
        """Run a command line; Unreachable if there is no way, LinkLost if the link broke on the way."""

    def close(self) -> None:
        """Let go of the connection."""


class _NothingRan(Exception):
    """The link broke before all of the script had arrived."""


class ScriptShell:
    """A Shell over any transport. `sudo`: become root by `sudo -n`."""

    def __init__(self, transport: Transport, *, sudo: bool = False) -> None:
        self._transport = transport
        self._sudo = sudo
        self._executions = 0
        self._counting = threading.Lock()

    @property
    def executions(self) -> int:
        """How many scripts were run."""
        return self._executions

    @property
    def connections(self) -> int:
        """How many connections were made."""
        return self._transport.connections

    def run(self, script: str, *, stdin: bytes = b"", timeout: float | None = None) -> Output:
        """Run the script in one remote execution."""
        return self._converse(script, stdin, timeout, None)

    def stream(self, script: str, on_line: Callable[[str], None], *, timeout: float | None = None) -> Output:
        """Run the script; `on_line` gets each line of stdout as it comes."""
        return self._converse(script, b"", timeout, on_line)

    def open(self, script: str) -> Session:
        """Start the script and talk to it."""
        return self._deliver(script, b"")

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()

    def _converse(
        self, script: str, stdin: bytes, timeout: float | None, on_line: Callable[[str], None] | None
    ) -> Output:
        deadline = None if timeout is None else time.monotonic() + timeout
        talk = self._deliver(script, stdin)
        try:
            talk.end_input()
            while not talk.ended:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise LinkLost(f"{self._transport.name}: no answer within {timeout:g} seconds")
                talk.move(left)
                if on_line is not None:
                    for line in talk.lines():
                        on_line(line)
            return talk.output()
        finally:
            talk.close()

    def _deliver(self, script: str, stdin: bytes) -> _Talk:
        """The script, arrived whole. A link that breaks before that is mended: nothing was run."""
        mark = secrets.token_hex(12)
        text = script.encode("utf-8", "surrogateescape") + f"\n# {mark}".encode()
        command = _bootstrap(mark, len(text), sudo=self._sudo)
        attempts = Retrying(
            stop=stop_after_attempt(DELIVERIES), retry=retry_if_exception_type(_NothingRan), reraise=True
        )
        try:
            talk = attempts(self._send, command, mark, text, stdin)
        except _NothingRan:
            raise LinkLost(
                f"{self._transport.name}: {DELIVERIES} times the connection broke before the script had come;"
                " nothing was run"
            ) from None
        with self._counting:
            self._executions += 1
        return talk

    def _send(self, command: str, mark: str, text: bytes, stdin: bytes) -> _Talk:
        try:
            pipe = self._transport.open(command)
        except LinkLost:
            raise _NothingRan from None
        talk = _Talk(pipe, self._transport.name, mark, text + stdin, sudo=self._sudo)
        try:
            while talk.sent < len(text) and not talk.ended:
                talk.move(None)
        except LinkLost:
            talk.close()
            raise _NothingRan from None
        except BaseException:
            talk.close()
            raise
        if talk.ended and talk.sent < len(text) and pipe.status() is None:
            talk.close()
            raise _NothingRan
        return talk


class _Talk:
    """A Session: one script that has been started, and what it said so far."""

    def __init__(self, pipe: Pipe, name: str, mark: str, data: bytes, *, sudo: bool) -> None:
        self.sent = 0
        self._pipe = pipe
        self._name = name
        self._sudo = sudo
        self._data = memoryview(data)
        self._out = _Framed(mark)
        self._err = _Framed(mark)
        self._broken = False
        self._last_input = False
        self._waiting: deque[str] = deque()

    @property
    def ended(self) -> bool:
        """Both end marks were seen, or there is nothing more to come."""
        return self._broken or (self._out.code is not None and self._err.code is not None)

    def move(self, timeout: float | None) -> None:
        """Send and receive what there is, waiting for it no longer than `timeout` seconds."""
        moved = self._pipe.exchange(self._data[self.sent :], timeout)
        self.sent += moved.sent
        self._out.feed(moved.out)
        self._err.feed(moved.err)
        self._broken = moved.ended
        if self._last_input and self.sent == len(self._data):
            self._last_input = False
            self._pipe.end_input()

    def end_input(self) -> None:
        """No more stdin after what is still to be sent."""
        if self.sent == len(self._data):
            self._pipe.end_input()
        else:
            self._last_input = True

    def lines(self) -> list[str]:
        """The lines of stdout that came since the last call."""
        return self._out.lines()

    def send(self, data: bytes) -> None:
        """Give the script these bytes on stdin."""
        self._data = memoryview(bytes(self._data[self.sent :]) + data)
        self.sent = 0
        while self.sent < len(self._data):
            if self.ended:
                raise LinkLost(f"{self._name}: what listened there has ended")
            self.move(1)

    def line(self, timeout: float | None = None) -> str | None:
        """The next line of stdout; None once the script has ended; TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._waiting += self.lines()
        while not self._waiting and not self.ended:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self.move(left)
            self._waiting += self.lines()
            if left == 0 and not self._waiting and not self.ended:
                raise TimeoutError
        return self._waiting.popleft() if self._waiting else None

    def output(self) -> Output:
        """What the script gave back; an error that says why if its end was not seen."""
        if self._out.code is None:
            raise self._why()
        return Output(self._out.code, _text(self._out.body()), _text(self._err.body()))

    def close(self) -> None:
        """Let go of the script."""
        self._pipe.close()

    def _why(self) -> HostError:
        status = self._pipe.status()
        if status is None:
            return LinkLost(f"{self._name}: the connection broke while a script was running")
        said = " ".join(_text(self._err.body() or self._out.body()).split()) or "no message"
        if self._out.begun:
            return LinkLost(f"{self._name}: the script was killed on the host (exit code {status}): {said}")
        if self._sudo:
            return Unreachable(
                f"{self._name}: sudo does not let this user become root without a password: {said}."
                " Allow it on the host (a line `USER ALL=(root) NOPASSWD: ALL` in /etc/sudoers.d/fleet),"
                " or set `user: root` in hosts.yml"
            )
        return Unreachable(f"{self._name}: the host runs no scripts for us (exit code {status}): {said}")


class _Framed:
    """One output, between its begin and its end mark."""

    def __init__(self, mark: str) -> None:
        self.code: int | None = None
        self._begin = f"{mark} begin\n".encode()
        self._end = f"\n{mark} end ".encode()
        self._bytes = bytearray()
        self._start = -1
        self._stop = -1
        self._read = 0

    @property
    def begun(self) -> bool:
        """The begin mark was seen."""
        return self._start >= 0

    def feed(self, data: bytes) -> None:
        """Take in what came; looks only at what is new, so that many MB cost no more than their length."""
        if not data or self.code is not None:
            return
        searched = max(0, len(self._bytes) - 64)
        self._bytes += data
        if self._start < 0:
            at = self._bytes.find(self._begin, searched)
            if at < 0:
                return
            self._start = self._read = at + len(self._begin)
        at = self._bytes.find(self._end, max(self._start, searched))
        newline = self._bytes.find(b"\n", at + len(self._end)) if at >= 0 else -1
        if newline >= 0:
            self._stop = at
            self.code = int(self._bytes[at + len(self._end) : newline])

    def body(self) -> bytes:
        """The output; without a begin mark, all that came."""
        start = max(self._start, 0)
        return bytes(self._bytes[start : self._stop] if self._stop >= 0 else self._bytes[start:])

    def lines(self) -> list[str]:
        """The lines that are complete and were not given before."""
        found: list[str] = []
        if not self.begun:
            return found
        stop = self._stop if self._stop >= 0 else len(self._bytes)
        while (newline := self._bytes.find(b"\n", self._read, stop)) >= 0:
            if newline == self._read and self._may_be_the_end(newline):
                return found
            found.append(_text(self._bytes[self._read : newline]))
            self._read = newline + 1
        if self._stop > self._read:
            found.append(_text(self._bytes[self._read : self._stop]))
            self._read = self._stop
        return found

    def _may_be_the_end(self, newline: int) -> bool:
        """True if this newline may turn out to be the one that the end mark begins with."""
        return self._stop < 0 and self._end.startswith(self._bytes[newline : newline + len(self._end)])


def _bootstrap(mark: str, length: int, *, sudo: bool) -> str:
    """The command line that receives and runs a script: see Note [How a script travels].

    The user's login shell, whichever that is, sees it first: one line, no `!`, no quote inside the quotes.
    The locale is one that every Debian has, since Perl fills stderr where it does not know the client's.
    """
    inner = (
        "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C.UTF-8; export PATH LC_ALL; "
        f'echo "{mark} begin"; echo "{mark} begin" >&2; '
        f'script=$(head -c {length}); case $script in *"# {mark}") ;; *) exit 0 ;; esac; '
        '(eval "$script"); code=$?; '
        f'printf "\\n{mark} end %d\\n" $code; printf "\\n{mark} end %d\\n" $code >&2'
    )
    return f"exec {'sudo -n ' if sudo else ''}sh -c {shlex.quote(inner)}"


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "backslashreplace")
