"""Counting the calls of each simulated command, and killing the one that faults.json says is to be killed."""

from __future__ import annotations

import os
from typing import Any

from . import machine

_CALLS = "/run/fleet-lab/calls"


def meet(name: str) -> None:
    """Count this call; if it shall die, its killer is on its way when this returns."""
    number = _count(name)
    for entry in machine.faults().get("kill", ()):
        if entry["command"] == name and entry["at"] == number:
            _send_killer(entry)


def _count(name: str) -> int:
    """How many calls of the command there were, this one included: a byte in a file for each."""
    os.makedirs(_CALLS, exist_ok=True)
    fd = os.open(f"{_CALLS}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, b".")
        return os.lseek(fd, 0, os.SEEK_CUR)
    finally:
        os.close(fd)


def _send_killer(entry: dict[str, Any]) -> None:
    """A process of its own that waits and kills this one with all its children."""
    import time

    victim = os.getpid()
    if os.fork() == 0:
        os.setsid()
        for fd in (0, 1, 2):
            os.close(fd)
        time.sleep(entry["ms"] / 1000)
        for pid in (victim, *_below(victim)):
            if pid != os.getpid():
                _kill(pid)
        os._exit(0)
    if entry["ms"] == 0:
        time.sleep(10)  # at once means before anything was done


def _below(top: int) -> list[int]:
    """All processes below one, children first."""
    try:
        with open(f"/proc/{top}/task/{top}/children", encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []
    return [pid for child in children for pid in (child, *_below(child))]


def _kill(pid: int) -> None:
    import signal

    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
