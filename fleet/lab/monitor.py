"""Process 1 of a lab: reaps what ends, and holds what runs.

For each running container it holds an abstract socket `@/var/lib/lxc/ID/command`, which /proc/net/unix shows
exactly as on a real node, and the control group /sys/fs/cgroup/lxc/ID (freezer.py). Its control socket
/run/fleet-lab/monitor.sock takes one line and answers one, `ok ...` or `error TEXT`:

    start ID       the container runs from now on
    stop ID        it does not; whatever ran in it is killed
    init ID        the PID of its process 1, made on the first call: before, a container costs one socket
    pid ID         that PID, or 1 where it was not made yet
    hold ID        take the config lock of a container       release ID   let it go
    quorum 0|1     make /etc/pve read-only, or writable

Which containers run is kept in /var/lib/fleet-lab/running.json and survives the lab's own stop and start. A
container's own process may send `poweroff` or `reboot` to its command socket, which is how a guest stops
itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from fleet.lab import faults, layout
from fleet.lab.freezer import CGROUPS, Freezer
from fleet.lab.sim import guest, linux

_SOCKET = f"{layout.RUN}/monitor.sock"
_RUNNING = Path(layout.STATE, "running.json")
_FAULTS = Path(layout.STATE, "faults.json")
_GOING_DOWN = 0.3  # seconds from the call of poweroff in a guest to its end: who called gets an answer
_AFTER_STOP = f"{layout.SHIMS}/lxc-pve-poststop-hook"


def run(ready: int) -> NoReturn:
    """Be process 1 for ever; writes b"ready" to the descriptor once commands are answered."""
    linux.set_process_name("systemd")
    monitor = _Monitor()
    monitor.restore()
    os.write(ready, b"ready\n")
    os.close(ready)
    while True:
        monitor.turn()


class _Monitor:
    def __init__(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # one socket for each container that runs
        signal.signal(signal.SIGCHLD, lambda *_: None)
        waking, wakes = os.pipe()
        for fd in (waking, wakes):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(waking, selectors.EVENT_READ, self._reap)
        Path(layout.RUN).mkdir(parents=True, exist_ok=True)
        Path(_SOCKET).unlink(missing_ok=True)
        self._controls = socket.socket(socket.AF_UNIX)
        self._controls.bind(_SOCKET)
        self._controls.listen(64)
        self._selector.register(self._controls, selectors.EVENT_READ, self._control)
        self._waking = waking
        self._sockets: dict[int, socket.socket] = {}
        self._inits: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []  # what is to be done when
        self._freezer = Freezer(_FAULTS, self._do_later, self._inits.get)
        self._selector.register(self._freezer.fd, selectors.EVENT_READ, self._freezer.read)
        self._verbs: dict[str, Callable[[int], str]] = {
            "start": self._start,
            "stop": self._stop,
            "init": self._init,
            "pid": self._pid,
            "hold": self._hold,
            "release": self._release,
            "quorum": self._quorum,
        }

    def restore(self) -> None:
        """Hold again what ran when the lab went down."""
        for vmid in json.loads(_RUNNING.read_text()) if _RUNNING.exists() else []:
            self._listen(vmid)
        if faults.read(_FAULTS).get("quorum_lost"):
            self._quorum(0)
        for old in CGROUPS.iterdir() if CGROUPS.is_dir() else []:
            if old.name.isdigit() and int(old.name) not in self._sockets:
                shutil.rmtree(old)

    def turn(self) -> None:
        """Wait for something and see to it."""
        until = min((when for when, _ in self._later), default=None)
        for key, _ in self._selector.select(None if until is None else max(0.0, until - time.monotonic())):
            key.data()
        due = [action for when, action in self._later if when <= time.monotonic()]
        self._later = [entry for entry in self._later if entry[1] not in due]
        for action in due:
            action()

    def _reap(self) -> None:
        os.read(self._waking, 4096)
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for vmid in [vmid for vmid, init in self._inits.items() if init == pid]:
                del self._inits[vmid]

    # --- commands ---

    def _control(self) -> None:
        connection, _ = self._controls.accept()
        with connection:
            connection.settimeout(5)
            try:
                verb, _, number = connection.recv(256).decode().strip().partition(" ")
                answer = f"ok {self._verbs[verb](int(number))}"
            except (KeyError, ValueError, OSError) as error:
                answer = f"error {type(error).__name__}: {error}"
            try:
                connection.sendall(f"{answer}\n".encode())
            except OSError:
                return  # whoever asked is gone

    def _start(self, vmid: int) -> str:
        if vmid not in self._sockets:
            self._listen(vmid)
            self._save()
        return ""

    def _stop(self, vmid: int) -> str:
        if vmid in self._sockets:
            listener = self._sockets.pop(vmid)
            self._selector.unregister(listener)
            listener.close()
            self._freezer.remove(vmid)
            shutil.rmtree(CGROUPS / str(vmid), ignore_errors=True)
            self._save()
        self._kill_init(vmid)
        return ""

    def _init(self, vmid: int) -> str:
        if vmid not in self._sockets:
            raise ValueError(f"container {vmid} does not run")
        if vmid not in self._inits:
            self._inits[vmid] = guest.start_init(vmid)
            self._freezer.populate(vmid, self._inits[vmid])
        return str(self._inits[vmid])

    def _pid(self, vmid: int) -> str:
        return str(self._inits.get(vmid, 1))

    def _hold(self, vmid: int) -> str:
        if vmid not in self._held:
            file = Path(f"/run/lock/lxc/pve-config-{vmid}.lock")
            file.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._held[vmid] = fd
        return ""

    def _release(self, vmid: int) -> str:
        fd = self._held.pop(vmid, None)
        if fd is not None:
            os.close(fd)
        return ""

    def _quorum(self, there: int) -> str:
        (linux.make_writable if there else linux.make_read_only)("/etc/pve")
        return ""

    # --- containers ---

    def _listen(self, vmid: int) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"\0/var/lib/lxc/{vmid}/command")
        listener.listen(8)
        self._sockets[vmid] = listener
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._ask_from_inside(vmid))
        self._freezer.add(vmid)

    def _ask_from_inside(self, vmid: int) -> None:
        connection, _ = self._sockets[vmid].accept()
        with connection:
            connection.settimeout(1)
            try:
                asked = connection.recv(64).decode(errors="replace").strip()
            except OSError:
                return
        if asked in ("poweroff", "reboot"):
            self._do_later(_GOING_DOWN, lambda: self._end_itself(vmid, asked))

    def _do_later(self, seconds: float, action: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, action))

    def _end_itself(self, vmid: int, asked: str) -> None:
        self._stop(vmid)
        os.posix_spawn(
            _AFTER_STOP,
            [_AFTER_STOP, str(vmid), asked],
            guest.NODE_ENVIRONMENT,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )

    def _kill_init(self, vmid: int) -> None:
        init = self._inits.pop(vmid, None)
        if init is not None:
            os.kill(init, signal.SIGKILL)  # and with it all of its PID namespace

    def _save(self) -> None:
        temporary = _RUNNING.with_suffix(".new")
        temporary.write_text(json.dumps(sorted(self._sockets)), encoding="utf-8")
        temporary.rename(_RUNNING)
