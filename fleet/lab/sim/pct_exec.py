"""`pct exec`, `enter` and `console`."""

from __future__ import annotations

import os

from . import container
from .cli import Arguments
from .errors import Die

_CLI_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"  # what every Proxmox command sets, and so what a guest inherits


def _check(vmid: int) -> None:
    container.load(vmid)
    if not container.running(vmid):
        raise Die(f"container '{vmid}' not running!")


def _run(vmid: int, argv: list[str], keep_env: bool) -> int:
    from . import runtime

    os.environ["PATH"] = _CLI_PATH
    return runtime.exec_in_guest(vmid, argv, keep_env)


def execute(arguments: Arguments) -> int:
    """Run a command in the container; its exit code."""
    vmid = arguments.vmid()
    _check(vmid)
    if not arguments.extra:
        raise Die("missing command at /usr/share/perl5/PVE/CLI/pct.pm line 246.")
    return _run(vmid, arguments.extra, arguments.take("keep-env") != "0")


def enter(arguments: Arguments) -> int:
    """A shell in the container."""
    vmid = arguments.vmid()
    _check(vmid)
    return _run(vmid, ["/bin/sh", "-i"], arguments.take("keep-env") != "0")


def console(arguments: Arguments) -> int:
    """A login on the container's console; the lab's consoles need no password."""
    vmid = arguments.vmid()
    _check(vmid)
    return _run(vmid, ["/bin/sh", "-l"], False)
