"""What things cost on a real host (observed.md), spent as sleep where the machine is `realistic`.

Nothing otherwise.
"""

from __future__ import annotations

import time

from . import machine

# Seconds, medians of a warm machine. `start-up` is Perl loading its modules: nearly all of a read command.
SECONDS = {
    "start-up": 0.85,
    "exec start-up": 0.80,
    "pvesm start-up": 0.55,
    "pveam start-up": 1.05,
    "pveversion start-up": 1.05,
    "pvecm start-up": 0.45,
    "qm start-up": 0.95,
    "write config": 0.1,
    "mkfs": 0.2,
    "extract": 0.9,
    "host key": 0.3,
    "destroy": 0.35,
    "start": 2.0,
    "shutdown": 1.3,
    "stop": 1.8,
    "snapshot": 0.15,
    "rollback": 0.15,
    "clone": 2.5,
    "backup": 2.0,
    "resize": 0.3,
    "hotplug": 0.1,
}


def spend(what: str) -> None:
    """Take as long as the real thing takes, if this machine is to."""
    if machine.facts().get("realistic"):
        time.sleep(SECONDS[what])
