"""Run one simulated command: `python SIM_DIRECTORY NAME ARGUMENTS...` (what the shims in /usr/local/sbin do)."""

from __future__ import annotations

import os
import sys
from importlib import import_module


def run(argv: list[str]) -> int:
    """The exit code of the simulated command named by argv[0]."""
    from sim.commands import GUEST_MODULES, MODULES

    module = import_module(f"sim.{(MODULES | GUEST_MODULES)[argv[0]]}")
    code: int = module.main(argv)
    return code


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.exit(run(sys.argv[1:]))
