"""The simulated commands of a node: which module answers for which command name.

Every module has `main(argv: list[str]) -> int`: `argv[0]` is the command's name as called, the value is the
exit code. Modules import each other relatively (`from . import conf`), for they are `sim.NAME` inside the
lab and `fleet.lab.sim.NAME` outside. A line here makes the shim `/usr/local/sbin/NAME` appear in every lab
at its next start (see fleet/lab/machine.py).
"""

from __future__ import annotations

MODULES: dict[str, str] = {
    "pct": "pct",
    "qm": "qm",
    "pvesm": "pvesm",
    "pveam": "pveam",
    "pvesh": "pvesh",
    "pveversion": "pveversion",
    "vzdump": "vzdump",
    "pvecm": "pvecm",
    "ha-manager": "ha_manager",
    "pve-firewall": "pve_firewall",
    "zfs": "zfs",
    "zpool": "zpool",
    "lxc-attach": "lxc",
    "lxc-info": "lxc",
    "lxc-ls": "lxc",
    "lxc-freeze": "lxc",
    "lxc-unfreeze": "lxc",
    "lxc-pve-poststop-hook": "poststop",
    "ip": "ip",
    "ssh": "ssh",
    "cstream": "cstream",
    "dpkg-query": "dpkg",
    "nproc": "node_tools",
    "uname": "node_tools",
    "sudo": "sudo",
    "id": "identity",
    "whoami": "identity",
    "stat": "owners",
    "chown": "owners",
    "chgrp": "owners",
}

# Run inside guests: the tools of a template that are no programs of the machine.
GUEST_MODULES: dict[str, str] = {"guest-tool": "guest_tools"}
