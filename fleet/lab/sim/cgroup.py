"""The freezer of a running container's control group, as LXC uses it (lxc src/lxc/cgroups/cgfsng.c).

Write to cgroup.freeze, then wait until cgroup.events says so. Who obeys is fleet/lab/freezer.py.
"""

from __future__ import annotations

import time

from . import paths

_POLL = 0.002  # seconds


def _file(vmid: int, name: str) -> str:
    return paths.real(f"/sys/fs/cgroup/lxc/{vmid}/{name}")


def frozen(vmid: int) -> bool:
    """Whether a container stands still."""
    try:
        with open(_file(vmid, "cgroup.events"), encoding="ascii") as file:
            return "frozen 1\n" in file.read()
    except FileNotFoundError:
        return False


def freeze(vmid: int, seconds: float) -> bool:
    """Ask a container to stand still; whether it did in that time. It stays asked if it did not."""
    return _set(vmid, True, seconds)


def thaw(vmid: int, seconds: float) -> bool:
    """Let a container run again; whether it did in that time."""
    return _set(vmid, False, seconds)


def _set(vmid: int, wanted: bool, seconds: float) -> bool:
    try:
        with open(_file(vmid, "cgroup.freeze"), "w", encoding="ascii") as file:
            file.write("1" if wanted else "0")
    except FileNotFoundError:
        return not wanted
    end = time.monotonic() + seconds
    while frozen(vmid) != wanted:
        if time.monotonic() > end:
            return False
        time.sleep(_POLL)
    return True


def thawed_within(vmid: int, seconds: float) -> bool:
    """Whether a container is not frozen, or not any more before that time is over."""
    end = time.monotonic() + seconds
    while frozen(vmid):
        if time.monotonic() > end:
            return False
        time.sleep(_POLL)
    return True


def wait_until_thawed(vmid: int) -> None:
    """Hang as a process does that enters the control group of a frozen container."""
    thawed_within(vmid, float("inf"))
