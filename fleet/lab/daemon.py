"""The daemon of one lab: `python -m fleet.lab.daemon DIRECTORY READY_FD`.

It owns the sandbox and the SSH server until SIGTERM. It answers one line on
READY_FD: `ready`, or what is wrong.
"""

from __future__ import annotations

import compileall
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from fleet.lab import lab, layout, monitor, sandbox

_LOOK_SECONDS = 5


def main(directory: Path, ready: int) -> None:
    """Start everything and serve until told to end."""
    if os.fork():
        os._exit(0)  # whoever started us shall not have a child to wait for
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # what runs inside shall not inherit what our caller ignores
    stopping = threading.Event()
    files = layout.Files(directory)
    try:
        node = _start_sandbox(files)
        port = _serve(files, node)
    except (sandbox.SandboxError, OSError) as error:
        os.write(ready, f"{error}\n".encode())
        sys.exit(1)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    record = json.loads(files.record.read_text(encoding="utf-8"))
    record |= {
        "port": port,
        "node": node,
        "daemon": os.getpid(),
        "daemon_start": lab.process_start(os.getpid()),
    }
    temporary = files.record.with_suffix(".new")
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(files.record)
    os.write(ready, b"ready\n")
    os.close(ready)
    while not stopping.wait(_LOOK_SECONDS) and files.record.exists():
        pass  # whoever deletes a lab's directory wants it gone
    os.kill(node, signal.SIGKILL)
    os._exit(0)


def _start_sandbox(files: layout.Files) -> int:
    """Before anything large is imported and before there are threads: process 1 stays small that way."""
    compileall.compile_dir(str(Path(__file__).parent / "sim"), quiet=2)  # the node sees it read-only
    machine = json.loads((files.root / layout.STATE.lstrip("/") / "machine.json").read_text(encoding="utf-8"))
    devices = [device["path"] for device in machine["devices"]]
    return sandbox.start(sandbox.Spec(files.root, machine["node"], devices), _monitor)


def _monitor(ready: int) -> NoReturn:
    monitor.run(ready)


def _serve(files: layout.Files, node: int) -> int:
    from fleet.lab.peers import Peers  # noqa: PLC0415 - as below
    from fleet.lab.server import Server  # noqa: PLC0415 - imports paramiko, which the sandbox shall not carry

    Peers(files).start()
    return Server(files, node).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
