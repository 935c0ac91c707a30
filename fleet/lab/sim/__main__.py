"""Run one simulated command: what the shims in /usr/local/sbin do, and `python SIM_DIRECTORY NAME ARGUMENTS...`."""

from __future__ import annotations

import os
import sys
from importlib import import_module

_FOR_ROOT = ("pct", "qm", "pvesm", "pveam", "pvesh", "pvecm", "pve-firewall", "ha-manager")


def run(argv: list[str]) -> int:
    """The exit code of the simulated command named by argv[0]."""
    from sim import fate
    from sim.commands import GUEST_MODULES, MODULES

    os.environ.pop("LD_LIBRARY_PATH", None)  # what the interpreter needed is no business of what it starts
    if argv[0] in _FOR_ROOT and "FLEET_LAB_USER" in os.environ:
        sys.stderr.write("please run as root\n")
        return 255
    if argv[0] in MODULES:
        fate.meet(argv[0])
    module = import_module(f"sim.{(MODULES | GUEST_MODULES)[argv[0]]}")
    code: int = module.main(argv)
    return code


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.exit(run(sys.argv[1:]))
