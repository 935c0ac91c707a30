"""The configuration that Proxmox hands to LXC when a container starts, /var/lib/lxc/VMID/config (PVE/LXC.pm).

what Proxmox makes of the container's keys, up to lxc.rootfs.path
lxc.init.cmd, lxc.net.N.*, lxc.environment.runtime     made of entrypoint, netN and env
the raw lines, as they stand in the container's own configuration
lxc.cgroup2.cpuset.cpus                                made of cores, if no raw line says it
"""

from __future__ import annotations

import re
from itertools import dropwhile

from fleet.tools.pct.config import raw_lines

_BEFORE = re.compile(r"lxc\.(init\.cmd|net\.[0-9]+\.[^:]+|environment\.runtime):.*")
_AFTER = re.compile(r"lxc\.cgroup2?\.cpuset\.cpus:.*")


def raw_in_force(started: str, raw: tuple[str, ...]) -> tuple[str, ...]:
    """The raw lines that a running container was started with; `raw` wherever it can be these.

    `started`: the lines after lxc.rootfs.path. A raw line can look like one that Proxmox makes: such a line
    alone is never a difference.
    """
    lines = raw_lines(started)
    within = lines[:-1] if lines and _AFTER.fullmatch(lines[-1]) else lines
    for each in (lines, within):
        before = each[: len(each) - len(raw)]
        if (*before, *raw) == each and all(map(_BEFORE.fullmatch, before)):
            return raw
    return tuple(dropwhile(_BEFORE.fullmatch, within))
