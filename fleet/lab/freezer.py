"""The freezer of the control groups of running containers, as the kernel's (cgroup-v2.rst).

In a lab /sys/fs/cgroup/lxc/ID is made of plain files. This watches each `cgroup.freeze` with inotify: after
`1` is written to it, what runs in the guest is stopped and `cgroup.events` says `frozen 1` shortly after; `0`
lets it run again. What else is written is taken back. faults.json may say otherwise for a container:

    {"freeze": {"ID": MILLISECONDS | null}}       it freezes so late, or (null) never

STATE/frozen.log has a line `ID FROM TO` for each time that a container was frozen: seconds since the epoch.
The process IDs of a container are in ns/cgroup.procs, one level below, as on a node of Proxmox VE.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet.lab import faults, layout

CGROUPS = Path("/sys/fs/cgroup/lxc")
LOG = Path(layout.STATE, "frozen.log")
_USUAL = 0.002  # seconds from the request until all processes of a guest stand still
_CLOSE_WRITE, _MODIFY, _IGNORED = 0x8, 0x2, 0x8000  # linux/inotify.h
_EVENT = struct.Struct("iIII")

Later = Callable[[float, Callable[[], None]], None]


@dataclass(eq=False)
class _Group:
    vmid: int
    wanted: bool = False
    since: float | None = None  # when it froze; None: it is not frozen
    freezing: object | None = None  # the request that is about to be met; it is void once this is another


class Freezer:
    """The control groups of what runs. `later(seconds, action)` is how the monitor does something later."""

    def __init__(self, fault_file: Path, later: Later, init_of: Callable[[int], int | None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._fault_file, self._later, self._init_of = fault_file, later, init_of
        self._groups: dict[int, _Group] = {}  # by watch

    def add(self, vmid: int) -> None:
        """Make the control group of a container that starts."""
        directory = CGROUPS / str(vmid)
        (directory / "ns").mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("cgroup.freeze", "0\n"),
            ("cgroup.procs", ""),
            ("ns/cgroup.procs", ""),
        ):
            (directory / name).write_text(content, encoding="ascii")
        group = _Group(vmid)
        self._tell(group)
        watched = str(directory / "cgroup.freeze").encode()
        watch = self._checked(self._libc.inotify_add_watch(self.fd, watched, _CLOSE_WRITE | _MODIFY))
        self._groups[watch] = group

    def remove(self, vmid: int) -> None:
        """Forget the control group of a container that stopped."""
        for watch, group in list(self._groups.items()):
            if group.vmid == vmid:
                del self._groups[watch]
                self._libc.inotify_rm_watch(self.fd, watch)
                self._note(group)

    def populate(self, vmid: int, init: int) -> None:
        """Note the process 1 of a guest; it stands still if its group is frozen."""
        (CGROUPS / str(vmid) / "ns/cgroup.procs").write_text(f"{init}\n", encoding="ascii")
        if any(group.vmid == vmid and group.since is not None for group in self._groups.values()):
            _signal_all(init, signal.SIGSTOP)

    def read(self) -> None:
        """See to what was written."""
        try:
            events = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return
        touched = set()
        while events:
            watch, mask, _, length = _EVENT.unpack_from(events)
            events = events[_EVENT.size + length :]
            if not mask & _IGNORED:
                touched.add(watch)
        for watch in touched & self._groups.keys():
            self._obey(self._groups[watch])

    def _obey(self, group: _Group) -> None:
        file = CGROUPS / str(group.vmid) / "cgroup.freeze"
        try:
            text = file.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return
        if text == "":
            return  # somebody is about to write
        if text not in ("0", "1"):
            file.write_text(f"{int(group.wanted)}\n", encoding="ascii")
            return
        if group.wanted == (text == "1") == (group.since is not None):
            return
        group.wanted = text == "1"
        if not group.wanted:
            self._thaw(group)
            return
        delay = self._delay(group.vmid)
        if delay is not None and group.freezing is None:
            request = group.freezing = object()
            self._later(delay, lambda: self._freeze(group, request))

    def _delay(self, vmid: int) -> float | None:
        """Seconds until a container has frozen, None for never."""
        found = faults.read(self._fault_file).get("freeze", {})
        if str(vmid) not in found:
            return _USUAL
        milliseconds = found[str(vmid)]
        return None if milliseconds is None else milliseconds / 1000

    def _freeze(self, group: _Group, request: object) -> None:
        if group.freezing is not request or group not in self._groups.values():
            return
        group.freezing = None
        _signal_all(self._init_of(group.vmid), signal.SIGSTOP)
        group.since = time.time()
        self._tell(group)

    def _thaw(self, group: _Group) -> None:
        group.freezing = None
        self._note(group)
        self._tell(group)
        _signal_all(self._init_of(group.vmid), signal.SIGCONT)

    def _note(self, group: _Group) -> None:
        """Write down how long a container was frozen, if it was."""
        if group.since is not None:
            with LOG.open("a", encoding="ascii") as log:
                log.write(f"{group.vmid} {group.since:.6f} {time.time():.6f}\n")
            group.since = None

    def _tell(self, group: _Group) -> None:
        """Write cgroup.events in one piece."""
        file = CGROUPS / str(group.vmid) / "cgroup.events"
        new = file.with_name(".cgroup.events.new")
        new.write_text(f"populated 1\nfrozen {int(group.since is not None)}\n", encoding="ascii")
        new.replace(file)

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"inotify: {os.strerror(number)}")
        return result


def _signal_all(init: int | None, number: int) -> None:
    """Send a signal to all processes of a guest: those in the PID namespace of its process 1."""
    if init is None:
        return
    try:
        namespace = _namespace(Path("/proc", str(init)))
    except OSError:
        return
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if _namespace(process) == namespace:
                os.kill(int(process.name), number)
        except OSError:
            continue  # it has ended


def _namespace(process: Path) -> int:
    return (process / "ns/pid").stat().st_ino
