"""Where the simulated node keeps its files: the one place that turns a path of the node into a path to open.

Inside the sandbox both are the same. Tests set FLEET_LAB_ROOT to a plain directory that stands for the
node's `/`.
"""

from __future__ import annotations

import os

ROOT = os.environ.get("FLEET_LAB_ROOT", "").rstrip("/")

STATE = "/var/lib/fleet-lab"
PVE = "/etc/pve"
LXC = "/var/lib/lxc"
TASKS = "/var/log/pve/tasks"
LOCKS = "/run/lock/lxc"


def real(path: str) -> str:
    """The path to open for a path of the node."""
    return ROOT + path if ROOT else path


def node(path: str) -> str:
    """The path of the node for a path that real() gave."""
    return path[len(ROOT) :] if ROOT and path.startswith(ROOT) else path
