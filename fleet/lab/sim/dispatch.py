"""Running one simulated command: what the shims in /usr/local/sbin call."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from . import fate
from .commands import GUEST_MODULES, MODULES

_FOR_ROOT = ("pct", "qm", "pvesm", "pveam", "pvesh", "pvecm", "pve-firewall", "ha-manager", "vzdump")


def run(argv: list[str]) -> int:
    """The exit code of the simulated command named by argv[0]."""
    os.environ.pop("LD_LIBRARY_PATH", None)  # what the interpreter needed is no business of what it starts
    if argv[0] in _FOR_ROOT and "FLEET_LAB_USER" in os.environ:
        sys.stderr.write("please run as root\n")
        return 255
    if argv[0] in MODULES:
        fate.meet(argv[0])
    module = import_module(f".{(MODULES | GUEST_MODULES)[argv[0]]}", __package__)
    code: int = module.main(argv)
    return code
