"""`lxc-pve-poststop-hook ID poweroff|reboot`: what the monitor runs when a container has ended itself."""

from __future__ import annotations

from . import pct_power, runtime


def main(argv: list[str]) -> int:
    """Tidy up, apply what is pending, and start again after a reboot."""
    runtime.stopped(int(argv[1]))
    return pct_power.main(argv)
