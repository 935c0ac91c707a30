"""Who is sending or receiving: locks that are gone with the process that held them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from . import paths

_DIRECTORY = "/run/fleet-lab/zfs"
_TRIES, _PAUSE = 5, 0.01  # whoever asks whether a lock is held holds it for a moment, too


@contextmanager
def in_use(guid: str, exclusive: bool) -> Iterator[bool]:
    """Use a snapshot or dataset by its guid; False where that cannot be, for another has it."""
    os.makedirs(paths.real(_DIRECTORY), exist_ok=True)
    fd = os.open(paths.real(f"{_DIRECTORY}/{guid}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _locked(fd, exclusive)
    finally:
        os.close(fd)


def _locked(fd: int, exclusive: bool) -> bool:
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(_PAUSE)
        else:
            return True
    return False


def sending(guid: str) -> bool:
    """Whether a snapshot is being sent, or a dataset received into, by a process that lives."""
    if not os.path.exists(paths.real(f"{_DIRECTORY}/{guid}")):
        return False
    with in_use(guid, exclusive=True) as free:
        return not free
