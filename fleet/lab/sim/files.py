"""Writing files as Proxmox does: a temporary name, then rename; and its lock files."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from . import errors, machine, paths
from .errors import Die

_POLL = 0.05  # seconds between two tries for a lock that somebody else holds
_held: set[str] = set()


def write(path: str, content: bytes) -> None:
    """Replace a file at once. Without quorum nothing below /etc/pve can be written."""
    temporary = f"{path}.tmp.{os.getpid()}"
    if path.startswith(paths.PVE + "/") and machine.faults().get("quorum_lost"):
        raise Die(f"unable to open file '{temporary}' - Permission denied", 13)
    os.makedirs(os.path.dirname(paths.real(path)), exist_ok=True)
    with open(paths.real(temporary), "wb") as file:
        file.write(content)
    os.replace(paths.real(temporary), paths.real(path))


def remove(path: str) -> None:
    """Delete a file. Without quorum nothing below /etc/pve can be deleted."""
    if path.startswith(paths.PVE + "/") and machine.faults().get("quorum_lost"):
        raise Die(f"unable to delete file '{path}' - Permission denied", 13)
    os.unlink(paths.real(path))


@contextmanager
def locked(path: str, timeout: float) -> Iterator[None]:
    """Hold an exclusive flock.

    Says that it waits, and gives up after `timeout` seconds as Proxmox does. Nesting is allowed.
    """
    if path in _held:
        yield
        return
    os.makedirs(os.path.dirname(paths.real(path)), exist_ok=True)
    descriptor = os.open(paths.real(path), os.O_CREAT | os.O_RDWR, 0o644)
    errors.left(errors.ENOTTY)
    try:
        _acquire(descriptor, path, timeout)
        _held.add(path)
        yield
    finally:
        _held.discard(path)
        os.close(descriptor)


def _acquire(descriptor: int, path: str, timeout: float) -> None:
    waiting = False
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waiting:
                sys.stderr.write("trying to acquire lock...")
                sys.stderr.flush()
                waiting = True
            if time.monotonic() > end:
                raise Die(f"can't lock file '{path}' - got timeout", 255) from None
            time.sleep(_POLL)
            continue
        if waiting:
            sys.stderr.write(" OK\n")
        return
