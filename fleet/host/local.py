"""How does a script run on this machine itself? The transport of `address: local`: a process, no SSH."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading

from fleet.core.errors import Unreachable
from fleet.host.script import Exchange, Pipe

_CHUNK = 1 << 16


class LocalTransport:
    """Runs command lines as processes of this machine, in sessions of their own: no Ctrl-C reaches them."""

    def __init__(self, name: str) -> None:
        self.name = f"{name} (local)"
        self.connections = 0

    def open(self, command: str) -> Pipe:
        """Run a command line."""
        try:
            process = subprocess.Popen(
                ["sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise Unreachable(f"{self.name}: cannot start a shell: {error}") from error
        return _LocalPipe(process)

    def close(self) -> None:
        """Nothing is held between two scripts."""


class _LocalPipe:
    """A process's three pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdin and process.stdout and process.stderr  # all three are PIPE
        self._in, self._out, self._err = process.stdin, process.stdout, process.stderr
        self._ready = selectors.DefaultSelector()
        for output in (self._out, self._err):
            os.set_blocking(output.fileno(), False)
            self._ready.register(output, selectors.EVENT_READ)
        os.set_blocking(self._in.fileno(), False)

    def exchange(self, data: memoryview, timeout: float | None) -> Exchange:
        """Send and receive what there is."""
        self._listen(bool(data))
        sent, received = 0, {self._out: b"", self._err: b""}
        for key, _ in self._ready.select(timeout):
            if key.fileobj is self._in:
                sent = self._write(data)
            elif key.fileobj is self._out or key.fileobj is self._err:
                chunk = os.read(key.fd, _CHUNK)
                received[key.fileobj] = chunk
                if not chunk:
                    self._ready.unregister(key.fileobj)
        outputs = self._ready.get_map()
        ended = not any(output in outputs for output in (self._out, self._err))
        return Exchange(sent, received[self._out], received[self._err], ended)

    def end_input(self) -> None:
        """No more stdin."""
        self._listen(False)
        self._in.close()

    def status(self) -> int | None:
        """The exit code, 128 and the signal's number for one that was killed."""
        code = self._process.wait()
        return 128 - code if code < 0 else code

    def close(self) -> None:
        """Close the pipes; what still runs there goes on, as it would behind an SSH server."""
        self._ready.close()
        for pipe in (self._in, self._out, self._err):
            pipe.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            threading.Thread(target=self._process.wait, daemon=True).start()

    def _listen(self, for_input: bool) -> None:
        """Watch stdin for room only while there is something to send."""
        watched = not self._in.closed and self._in in self._ready.get_map()
        if for_input and not watched and not self._in.closed:
            self._ready.register(self._in, selectors.EVENT_WRITE)
        elif watched and not for_input:
            self._ready.unregister(self._in)

    def _write(self, data: memoryview) -> int:
        """How many bytes the process took; all of them if it no longer listens."""
        try:
            return os.write(self._in.fileno(), data[:_CHUNK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self.end_input()
            return len(data)
