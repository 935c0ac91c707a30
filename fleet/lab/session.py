"""One session of the lab's SSH server: a process inside the node, its streams, its end, its faults."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import paramiko

from fleet.lab import faults, inside, layout

_PIECE = 1 << 16
_ANSWERED_SECONDS = 0.7  # of silence, after which a command that has spoken counts as having answered
_GONE = (OSError, EOFError, paramiko.SSHException)  # what paramiko raises where the link has broken
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441  # ioctl_tty(2): unlock a terminal, open its other end


class Node:
    """The node that sessions run in: its process 1, its users, and the log of what was executed."""

    def __init__(self, files: layout.Files, pid: int) -> None:
        machine = json.loads(
            (files.root / layout.STATE.lstrip("/") / "machine.json").read_text(encoding="utf-8")
        )
        self.files = files
        self.pid = pid
        self.port = 0
        self.users: tuple[str, ...] = ("root", *machine["users"])
        self.hits: dict[int, int] = {}  # how often each fault rule has struck
        self._lock = threading.Lock()
        self._count = faults.exec_count(files)

    def begin(self, user: str, command: str) -> tuple[int, faults.Rule | None]:
        """The number of a new execution, noted, and the fault that is meant for it."""
        with self._lock:
            self._count += 1
            number = self._count
            self._note({"n": number, "time": time.time(), "user": user, "command": command, "rc": None})
            for rule in faults.rules(faults.read(self.files.faults)):
                if rule.fits(number, command, self.hits.get(rule.id, 0)):
                    self.hits[rule.id] = self.hits.get(rule.id, 0) + 1
                    return number, rule
        return number, None

    def end(self, number: int, code: int, seconds: float) -> None:
        """Note how an execution ended; a negative code is a signal."""
        with self._lock:
            self._note({"n": number, "rc": code, "seconds": round(seconds, 4)})

    def _note(self, entry: dict[str, Any]) -> None:
        with self.files.execs.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")


@dataclass
class Request:
    """What a channel has asked for so far."""

    user: str = "root"
    command: str | None = None  # None: a login shell
    client: int = 0  # the client's port
    terminal: tuple[str, int, int] | None = None  # TERM, columns, lines
    variables: dict[str, str] = field(default_factory=dict)
    resize: Callable[[int, int], None] = lambda _columns, _lines: None

    def environment(self, port: int) -> dict[str, str]:
        """The variables of the process."""
        values = {
            **inside.environment(self.user),
            **self.variables,
            "SSH_CLIENT": f"127.0.0.1 {self.client} {port}",
            "SSH_CONNECTION": f"127.0.0.1 {self.client} 127.0.0.1 {port}",
        }
        return {**values, "TERM": self.terminal[0]} if self.terminal else values


def serve(node: Node, channel: paramiko.Channel, request: Request, link: socket.socket) -> None:
    """Run what was asked for and tell the client how it ended."""
    number, rule = node.begin(request.user, request.command or "")
    began = time.monotonic()
    try:
        if rule and rule.when == "before":
            _strike(rule, channel, link)
            return
        streams = _terminal if request.terminal else _pipes
        if rule and rule.when == "during":
            threading.Timer(rule.ms / 1000, _strike, (rule, channel, link)).start()
        heard = _Withheld() if rule and rule.when == "after" else None
        process, finish = streams(node, channel, request, heard)
        if rule and heard and not heard.over(process):  # it has answered and waits to be told more
            _strike(rule, channel, link)
            return
        code = process.wait()
        if factor := faults.read(node.files.faults).get("slow"):
            time.sleep((time.monotonic() - began) * (factor - 1))
        node.end(number, code, time.monotonic() - began)
        if rule and rule.when == "after":
            _strike(rule, channel, link)
            return
        finish(0.05)
        _say_end(channel, code)
        finish(None)
    except _GONE:
        return  # the link is gone; what was begun inside goes on by itself
    finally:
        channel.close()


def _strike(rule: faults.Rule, channel: paramiko.Channel, link: socket.socket) -> None:
    """Cut the link; or keep silent until the client gives up."""
    if rule.action == "drop":
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
        link.close()
        return
    while not channel.closed and channel.get_transport().is_active():
        time.sleep(0.05)


def _say_end(channel: paramiko.Channel, code: int) -> None:
    """Send the exit status, or the signal that ended the shell (RFC 4254, 6.10)."""
    if code >= 0:
        channel.send_exit_status(code)
        return
    message = paramiko.Message()
    message.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string(signal.Signals(-code).name.removeprefix("SIG"))
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    channel.get_transport()._send_user_message(message)  # type: ignore[attr-defined]  # as Channel.send_exit_status


class _Withheld:
    """Output that the client does not get to see: when it came."""

    def __init__(self) -> None:
        self.last: float | None = None

    def over(self, process: subprocess.Popen[bytes]) -> bool:
        """True once the process has ended; False if it has answered and seems to wait for input."""
        while process.poll() is None:
            if self.last is not None and time.monotonic() - self.last > _ANSWERED_SECONDS:
                return False
            time.sleep(0.01)
        return True


Finish = Callable[[float | None], None]  # waits for the output to end, at most so many seconds


def _pipes(
    node: Node, channel: paramiko.Channel, request: Request, heard: _Withheld | None
) -> tuple[subprocess.Popen[bytes], Finish]:
    """Run with three pipes."""
    process = subprocess.Popen(
        inside.words(node.pid, inside.shell(request.command, request.user)),
        env=request.environment(node.port),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    threading.Thread(target=_feed, args=(channel, stdin.fileno(), stdin.close), daemon=True).start()
    pumps = [
        threading.Thread(
            target=_pump, args=(stdout.fileno(), stdout.close, channel, channel.sendall, heard), daemon=True
        ),
        threading.Thread(
            target=_pump,
            args=(stderr.fileno(), stderr.close, channel, channel.sendall_stderr, heard),
            daemon=True,
        ),
    ]
    for pump in pumps:
        pump.start()

    def finish(seconds: float | None) -> None:
        for pump in pumps:
            pump.join(seconds)

    return process, finish


def _terminal(
    node: Node, channel: paramiko.Channel, request: Request, heard: _Withheld | None
) -> tuple[subprocess.Popen[bytes], Finish]:
    """Run on a terminal of the node's own."""
    master = os.open(f"/proc/{node.pid}/root/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)

    def resize(columns: int, lines: int) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    assert request.terminal
    resize(*request.terminal[1:])
    request.resize = resize
    words = ["setsid", "--ctty", "--wait", *inside.shell(request.command, request.user)]
    process = subprocess.Popen(
        inside.words(node.pid, words),
        env=request.environment(node.port),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    threading.Thread(target=_feed, args=(channel, master, lambda: None), daemon=True).start()
    pump = threading.Thread(
        target=_pump, args=(master, lambda: os.close(master), channel, channel.sendall, heard), daemon=True
    )
    pump.start()
    return process, pump.join


def _feed(channel: paramiko.Channel, fd: int, close: Callable[[], None]) -> None:
    """Give what the client sends to the process, until either has enough."""
    with contextlib.suppress(*_GONE):
        while data := channel.recv(_PIECE):
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
    with contextlib.suppress(OSError):
        close()


def _pump(
    fd: int,
    close: Callable[[], None],
    channel: paramiko.Channel,
    send: Callable[[bytes], object],
    heard: _Withheld | None,
) -> None:
    """Give what the process writes to the client; when that is gone the pipe is closed, as sshd does."""
    with contextlib.suppress(*_GONE):
        while True:
            if not select.select([fd], [], [], 1)[0]:
                if channel.closed:
                    break
                continue
            data = os.read(fd, _PIECE)
            if not data:
                break
            if heard:
                heard.last = time.monotonic()
            else:
                send(data)
    with contextlib.suppress(OSError):
        close()
