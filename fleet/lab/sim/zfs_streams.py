"""Who is sending or receiving: locks that are gone with the process that held them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from . import paths

_DIRECTORY = "/run/fleet-lab/zfs"


@contextmanager
def in_use(guid: str, exclusive: bool) -> Iterator[bool]:
    """Use a snapshot or dataset by its guid; False where that cannot be, for another has it."""
    os.makedirs(paths.real(_DIRECTORY), exist_ok=True)
    fd = os.open(paths.real(f"{_DIRECTORY}/{guid}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


def sending(guid: str) -> bool:
    """Whether a snapshot is being sent, or a dataset received into, by a process that lives."""
    file = paths.real(f"{_DIRECTORY}/{guid}")
    if not os.path.exists(file):
        return False
    with in_use(guid, exclusive=True) as free:
        if free:
            os.unlink(file)
        return not free
