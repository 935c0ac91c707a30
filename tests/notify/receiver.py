"""A real HTTP server on loopback that keeps what it is sent, and answers as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    """One request that came in."""

    method: str
    path: str
    body: str
    headers: dict[str, str]


@dataclass
class Receiver:
    """The server: its port, what came, and how it answers: a status, or never."""

    port: int = 0
    status: int = 200
    requests: list[Request] = field(default_factory=list)
    silent: threading.Event | None = None  # answers only once this is set
    trickles: bool = False  # answers one byte now and then, for ever

    def at(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{path}"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A server for as long as the block runs."""
    made = Receiver()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            made.requests.append(Request(self.command, self.path, body, dict(self.headers)))
            if made.silent is not None:
                made.silent.wait(10)
            while made.trickles and not over.wait(0.05):
                self.wfile.write(b"H")
            self.send_response(made.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET = do_PUT = handle_any  # noqa: N815 - the library's names

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *args: object) -> None:
            """A client that has given up is no error of the server's."""

    server = Server(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    over.set()
    if made.silent is not None:
        made.silent.set()
    server.shutdown()
    server.server_close()
