"""Tasks: UPIDs, task logs and the index below /var/log/pve/tasks.

And what a command prints that waits for its worker.

A worker's stdout and stderr both come out on the command's stdout; only the final error goes to stderr,
with exit code 255 (pve-facts 0, 2). When stdout has vanished, the next line written aborts the task with
`broken pipe`.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from types import FrameType

from . import clock, files, machine, paths
from .errors import Die

_ACTIVE = f"{paths.TASKS}/active"
_INDEX = f"{paths.TASKS}/index"
_LOCK = f"{paths.TASKS}/.active.lock"
_KEPT = 25  # finished tasks that `active` keeps


class Broken(Die):
    """The command's stdout is gone."""

    def __init__(self) -> None:
        super().__init__("broken pipe", 255)


class Out:
    """Where a worker writes: the command's stdout and the task's log."""

    def __init__(self, log: str, upid: str) -> None:
        self.upid = upid
        self._log = open(log, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - until finish()
        self.warnings = 0
        self._broken = False

    def write(self, text: str) -> int:
        """Write to both; Broken if stdout is gone (once: what tidies up afterwards may write in peace)."""
        self._log.write(text)
        self._log.flush()
        if not self._broken:
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except BrokenPipeError:
                self._broken = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                raise Broken() from None
        return len(text)

    def flush(self) -> None:
        """Nothing waits: every write goes out at once."""

    def warn(self, text: str) -> None:
        """A warning of the task: `WARN: ` before each line."""
        self.warnings += 1
        self.write("".join(f"WARN: {line}\n" for line in text.splitlines()))

    def finish(self, last: str) -> None:
        """Write the log's last line and close it."""
        self._log.write(last + "\n")
        self._log.close()


Work = Callable[[Out], None]


def _process_start() -> int:
    with open("/proc/self/stat", encoding="ascii") as file:
        return int(file.read().rsplit(")", 1)[1].split()[19])


def upid(kind: str, ident: str, user: str = "root@pam") -> str:
    """A new task's UPID for this process."""
    process = f"{os.getpid():08X}:{_process_start():08X}:{int(clock.now()):08X}"
    return f"UPID:{machine.node()}:{process}:{kind}:{ident}:{user}:"


def log_path(name: str) -> str:
    """The task's log: in the directory of the last hexadecimal digit of its start time."""
    return f"{paths.TASKS}/{name.split(':')[4][-1]}/{name}"


def _read(path: str) -> list[str]:
    try:
        with open(paths.real(path), encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _alive(name: str) -> bool:
    """Whether the process that a UPID names still runs."""
    pid, started = (int(part, 16) for part in name.split(":")[2:4])
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return int(file.read().rsplit(")", 1)[1].split()[19]) == started
    except (FileNotFoundError, ProcessLookupError):
        return False


def _record(name: str, status: str | None) -> None:
    """Note a task's begin (status None) or end in `active`, and ends in `index`.

    Those of killed tasks too.
    """
    os.makedirs(paths.real(paths.TASKS), exist_ok=True)
    with files.locked(_LOCK, 10):
        running: list[str] = []
        ended: list[str] = []
        finished: list[tuple[str, str]] = []
        for line in _read(_ACTIVE):
            words = line.split(" ", 2)
            if len(words) > 2:
                ended.append(line)
            elif words[0] != name:
                if _alive(words[0]):
                    running.append(line)
                else:
                    finished.append((words[0], "unexpected status"))
        if status is None:
            running.append(f"{name} 0")
        else:
            finished.append((name, status))
        now = f"{int(clock.now()):08X}"
        ended = [f"{task} 1 {now} {text}" for task, text in reversed(finished)] + ended
        files.write(
            _ACTIVE,
            "".join(line + "\n" for line in running + ended[:_KEPT]).encode("utf-8", "surrogateescape"),
        )
        with open(paths.real(_INDEX), "a", encoding="utf-8", errors="surrogateescape") as index:
            index.writelines(f"{task} {now} {text}\n" for task, text in finished)


@contextmanager
def _interruptible() -> Iterator[None]:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise Die("received interrupt", 255)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    old = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


def _run(kind: str, ident: str, work: Work) -> tuple[str | None, int]:
    """Run a worker to its end: its error in one line or None, and how many warnings it gave."""
    name = upid(kind, ident)
    log = paths.real(log_path(name))
    os.makedirs(os.path.dirname(log), exist_ok=True)
    _record(name, None)
    out = Out(log, name)
    error: str | None = None
    try:
        with _interruptible(), redirect_stderr(out):
            work(out)
    except Die as failure:
        error = re.sub(r"\s*\n\s*", " ", failure.message.rstrip("\n"))
    warned = f"WARNINGS: {out.warnings}" if out.warnings else "OK"
    out.finish(f"TASK ERROR: {error}" if error is not None else f"TASK {warned}")
    _record(name, error if error is not None else warned)
    return error, out.warnings


def run(kind: str, ident: str, work: Work) -> int:
    """Run a task whose result is the command's: the exit code is 255 for an error."""
    error, warnings = _run(kind, ident, work)
    if error is not None:
        sys.stderr.write(error + "\n")
        return 255
    if warnings:
        sys.stderr.write(f"Task finished with {warnings} warning(s)!\n")
    return 0


def run_unchecked(kind: str, ident: str, work: Work) -> int:
    """Run a task of a verb that forgets to look at the result.

    An error is on stderr only, the exit code is 0.
    """
    error, _ = _run(kind, ident, work)
    if error is not None:
        sys.stderr.write(error + "\n")
    return 0
