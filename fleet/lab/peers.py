"""The way from one lab's node to another: what the simulated `ssh` on it is connected to.

The daemon of a lab listens on /run/fleet-lab/peers.sock inside its node. Who connects (sim/ssh.py) sends a
line of JSON, {"host", "user", "command"}, then frames: a letter, four bytes of length, and as many of data.
`I` is input, of length 0 where it ends; back come `O` and `E`, output and errors, `X` the exit code, or `F`
with what ssh itself says, which then exits 255. Which hosts there are is `peers` in lab.json, or in the
machine's description: {HOST: NAME OF A LAB}.

Faults are `links` in faults.json (faults.py): a connection is refused, or cut after so many bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Any

from fleet.lab import faults, inside, lab, layout

_PIECE = 1 << 16
_HEAD = struct.Struct(">cI")
_REFUSALS = {
    "hostkey": "Host key verification failed.\r\n",
    "publickey": "{user}@{host}: Permission denied (publickey,password).\r\n",
    "refused": "ssh: connect to host {host} port 22: Connection refused\r\n",
    "timeout": "ssh: connect to host {host} port 22: Connection timed out\r\n",
    "unreachable": "ssh: connect to host {host} port 22: No route to host\r\n",
    "unknown": "ssh: Could not resolve hostname {host}: Name or service not known\r\n",
}
_CUT = "client_loop: send disconnect: Broken pipe\r\n"


class Peers:
    """Serves the connections from one node to the others."""

    def __init__(self, files: layout.Files) -> None:
        self._files = files
        self._hits: dict[int, int] = {}  # how often each fault has struck

    def start(self) -> None:
        """Listen, in threads of its own."""
        directory = os.open(
            self._files.root / layout.RUN.lstrip("/"), os.O_PATH
        )  # paths of sockets are short
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(f"/proc/self/fd/{directory}/peers.sock")
        finally:
            os.close(directory)
        listener.listen(64)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError, KeyError):
            incoming = connection.makefile("rb")
            asked = json.loads(incoming.readline())
            host, user = asked["host"], asked["user"]
            fault = self._fault(host)
            answer, pid = self._peer(host, user)
            refusal = fault.get("refuse") if fault and answer != "unknown" else None
            word = refusal or answer
            if word:
                _send(connection, b"F", _REFUSALS[word].format(host=host, user=user).encode())
                return
            link = _Link(connection, fault.get("after") if fault else None)
            link.run(pid, asked["command"], user, incoming.read)

    def _peer(self, host: str, user: str) -> tuple[str | None, int]:
        """(why not, 0) or (None, the PID of process 1) of the node behind a host's name."""
        record = json.loads(self._files.record.read_text(encoding="utf-8"))
        machine = _machine(self._files)
        name = record.get("peers", machine.get("peers", {})).get(host)
        if name is None:
            return "unknown", 0
        found = lab.status(name)
        if found is None:
            return "unreachable", 0
        return (None if user in ("root", *_machine(found.files)["users"]) else "publickey"), found.pid

    def _fault(self, host: str) -> dict[str, Any] | None:
        """The fault that strikes a new connection."""
        links: list[dict[str, Any]] = faults.read(self._files.faults).get("links", [])
        for link in links:
            hits = self._hits.get(link["id"], 0)
            if link["peer"] in (None, host) and (link["times"] is None or hits < link["times"]):
                self._hits[link["id"]] = hits + 1
                return link
        return None


def _machine(files: layout.Files) -> dict[str, Any]:
    file = files.root / layout.STATE.lstrip("/") / "machine.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _send(connection: socket.socket, letter: bytes, data: bytes) -> None:
    connection.sendall(_HEAD.pack(letter, len(data)) + data)


class _Link:
    """One command on another node, and the bytes that go to and fro."""

    def __init__(self, connection: socket.socket, left: int | None) -> None:
        self._connection = connection
        self._left = left  # bytes until the link is cut
        self._lock = threading.Lock()
        self._is_cut = False

    def run(self, pid: int, command: str | None, user: str, read: Callable[[int], bytes]) -> None:
        """Run a command until it ends, or the link does: its pipes close, nothing is killed, as with sshd."""
        process = subprocess.Popen(
            inside.words(pid, inside.shell(command, user)),
            env=inside.environment(user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert process.stdin and process.stdout and process.stderr
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        pumps = [
            threading.Thread(target=self._out, args=(stream, letter), daemon=True)
            for stream, letter in ((stdout, b"O"), (stderr, b"E"))
        ]
        for pump in (*pumps, threading.Thread(target=self._in, args=(stdin, read), daemon=True)):
            pump.start()
        code = process.wait()
        for pump in pumps:
            pump.join()
        if not self._is_cut:
            _send(self._connection, b"X", bytes([code if code >= 0 else 255]))

    def _in(self, stdin: IO[bytes], read: Callable[[int], bytes]) -> None:
        """Give the command what the client sends."""
        wanted = True
        with contextlib.suppress(OSError, struct.error):
            while True:
                _, length = _HEAD.unpack(read(_HEAD.size))
                if length == 0:
                    break
                data = read(length)
                passing = self._passing(data)
                if wanted:
                    try:
                        view = memoryview(passing)
                        while view:
                            view = view[os.write(stdin.fileno(), view) :]
                    except BrokenPipeError:
                        wanted = False  # it reads no more: what else comes is dropped
                if len(passing) < len(data):
                    self._cut()
                    break
        with contextlib.suppress(OSError):
            stdin.close()

    def _out(self, stream: IO[bytes], letter: bytes) -> None:
        """Give the client what the command writes."""
        with contextlib.suppress(OSError), stream:
            while data := os.read(stream.fileno(), _PIECE):
                passing = self._passing(data)
                with self._lock:
                    _send(self._connection, letter, passing)
                if len(passing) < len(data):
                    self._cut()
                    return

    def _passing(self, data: bytes) -> bytes:
        """As much of the data as passes before the link is cut."""
        with self._lock:
            if self._left is None:
                return data
            passing = data[: self._left]
            self._left -= len(passing)
        return passing

    def _cut(self) -> None:
        """Break the connection; ssh says what it says then."""
        with self._lock, contextlib.suppress(OSError):
            self._is_cut = True
            _send(self._connection, b"F", _CUT.encode())
            self._connection.shutdown(socket.SHUT_RDWR)
