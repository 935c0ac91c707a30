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
        "09-timing",
        "11-http-race",
        "13-privileged",
    ],
    "recording-zfs": ["vm-zfs-1-hotplug", "vm-zfs-2-snap"],
}

# `ctconf N...`, as the recordings' README says.
HELPERS = (
    'ctconf() { for id in "$@"; do echo "--- /etc/pve/lxc/$id.conf"; cat "/etc/pve/lxc/$id.conf"; done; }\n'
)

_TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
_NET = (
    "name=eth0,bridge=vmbr0,firewall=1,gw=10.10.10.1,hwaddr=BC:24:11:00:11:22,ip=10.10.10.78/24,link_down=1"
)

# Commands from the end of one recording to the start of the next, where something was not recorded.
BRIDGES: dict[str, tuple[str, ...]] = {
    "04-run": (
        "pct unlock 100",
        "pct set 100 --delete mp0,mp2,nameserver,startup,tags,timezone --onboot 1 --protection 0",
    ),
    "09-timing": (
        "pct destroy 100",
        f"pct create 100 {_TEMPLATE} --rootfs btr:1 --hostname h1 --features nesting=1 --onboot 1 --tags x",
        f"pct set 100 --nameserver 4.4.4.4 --net0 {_NET}",
        "pct move-volume 100 rootfs btr --delete 1",
        "pct start 100",
    ),
    "11-http-race": ("pct stop 100",),
}

_TOP = "the guest's tree is made of bind mounts of the machine that the lab runs on"
_PVEDAEMON = "the lab has no pvedaemon: Proxmox's HTTP API on port 85 belongs to no capability yet"
_PERL = "the simulated commands are no Perl: there are no modules to load"
_ZFS_METADATA = "bytes that ZFS needs for itself, which the lab does not count"

# Lines that do not agree, and why.
DIFFERENT: dict[str, dict[int, str]] = {
    "04-run": {
        34: f"{_TOP}; the recording machine's lxcfs did not show the container's own memory",
    },
    "06-api": {22: "figures of the recording machine: firmware, processor, build of the kernel, load"},
    "07-backup-qm": {
        31: "the recording machine cannot run KVM and fails with a text of its own",
        42: "the recording machine's qemu-img fails with a text of its own",
    },
    "09-timing": dict.fromkeys(range(125, 135), _PERL),
    "11-http-race": {
        **dict.fromkeys(range(11), _PVEDAEMON),
        11: "follows from the start over HTTP that did not happen",
        12: "the recorded second create came in while the first one's Perl was still loading",
        15: "four creates side by side end in any order",
        18: _PERL,
    },
    "vm-zfs-1-hotplug": {27: f"{_TOP}: device numbers and sizes of directories are those of its file system"},
    "vm-zfs-2-snap": dict.fromkeys((20, 24), _ZFS_METADATA),
}
