"""What runs a script on a node? The port: everything that touches a host goes through a Shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Output:
    """What a script gave back: its own exit code, and stdout and stderr apart.

    Bytes that are not UTF-8 are shown as `\\xNN`: the text can always be printed and hides no difference.
    """

    code: int
    out: str
    err: str


class Session(Protocol):
    """A script that runs while we talk to it: bytes in, lines out. Closing it closes its stdin."""

    def send(self, data: bytes) -> None:
        """Give the script these bytes on stdin; LinkLost if it is gone."""

    def line(self, timeout: float | None = None) -> str | None:
        """The next line of stdout; None once the script has ended; TimeoutError after `timeout` seconds."""

    def output(self) -> Output:
        """What the script gave back, once `line` said None; LinkLost if its end was never seen."""

    def close(self) -> None:
        """Let go of the script."""


class Shell(Protocol):
    """Runs POSIX sh scripts on one node, as root; safe to share between threads.

    A script may have any size and may hold secrets: it travels over stdin, not on command lines. Nothing of
    it runs until all of it has arrived, so a link that breaks before that is mended in silence; one that
    breaks later is LinkLost, and the script is never repeated. Unreachable: no connection, host key unknown,
    no login.
    """

    @property
    def executions(self) -> int:
        """How many scripts were run."""

    @property
    def connections(self) -> int:
        """How many connections were made."""

    def run(self, script: str, *, stdin: bytes = b"", timeout: float | None = None) -> Output:
        """Run the script in one remote execution; LinkLost if it did not end within `timeout` seconds."""

    def stream(self, script: str, on_line: Callable[[str], None], *, timeout: float | None = None) -> Output:
        """Like `run`, and `on_line` gets each line of stdout as it comes."""

    def open(self, script: str) -> Session:
        """Start the script and talk to it."""

    def close(self) -> None:
        """Let go of the connection; the next script makes a new one."""
