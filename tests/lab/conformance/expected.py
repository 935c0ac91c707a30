"""What the replay needs to know of the recordings.

On which machine, in which order, the gaps between them, and what cannot agree.
"""

from __future__ import annotations

# The recordings made on each machine, in the order of recording.
MACHINES = {
    "recording-btr": [
        "01-empty",
        "02-create",
        "03-set-stopped",
        "04-run",
        "05-snap",
        "06-api",
        "07-backup-qm",
        "13-privileged",
    ],
    "recording-zfs": ["vm-zfs-1-hotplug", "vm-zfs-2-snap"],
}

# `ctconf N...`, as the recordings' README says, and the recording shell's own traits.
HELPERS = (
    'ctconf() { for id in "$@"; do echo "--- /etc/pve/lxc/$id.conf"; cat "/etc/pve/lxc/$id.conf"; done; }\n'
)

# Commands from the end of one recording to the start of the next, where something was not recorded.
BRIDGES: dict[str, tuple[str, ...]] = {
    "04-run": (
        "pct unlock 100",
        "pct set 100 --delete mp0,mp2,nameserver,startup,tags,timezone --onboot 1 --protection 0",
    ),
    "13-privileged": ("mkdir -p /srv",),
}

# Lines that do not agree, and why.
DIFFERENT: dict[str, dict[int, str]] = {}
