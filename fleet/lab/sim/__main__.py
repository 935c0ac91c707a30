"""Run one simulated command: `python SIM_DIRECTORY NAME ARGUMENTS...` (what the shims in /usr/local/sbin do)."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def run(argv: list[str]) -> int:
    """The exit code of the simulated command named by argv[0]."""
    from sim.commands import MODULES

    module = import_module(f"sim.{MODULES[argv[0]]}")
    code: int = module.main(argv)
    return code


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    sys.exit(run(sys.argv[1:]))
