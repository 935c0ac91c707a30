"""A Proxmox VE node made of real ZFS and plain files: guests whose volumes are real, no pct.

What fleet reads of a node (files below /etc/pve, /proc/net/unix, ZFS) is there. A running container is a real
process in a control group of its own, which really freezes, and which writes into its volumes without pause.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.zfs.machine import Machine

NODE = "pve"


@dataclass(frozen=True)
class Ct:
    """A container: a root file system and other volumes on storage `guests`, and a bind mount of /data."""

    vmid: int
    name: str
    disks: int = 1
    bind: bool = True

    @property
    def datasets(self) -> tuple[str, ...]:
        """Its volumes."""
        return tuple(f"tank/guests/subvol-{self.vmid}-disk-{n}" for n in range(self.disks))

    def conf(self) -> str:
        """Its configuration as Proxmox writes it."""
        mounts = [
            f"mp{n}: guests:subvol-{self.vmid}-disk-{n},mp=/srv{n},size=1G" for n in range(1, self.disks)
        ]
        if self.bind:
            mounts.append("mp9: /data,mp=/data")
        return "\n".join(
            [
                *("arch: amd64", "cores: 1", f"hostname: {self.name}", "memory: 256", *mounts),
                *("ostype: debian", f"rootfs: guests:subvol-{self.vmid}-disk-0,size=1G"),
                *("swap: 0", "tags: fleet", "unprivileged: 1", ""),
            ]
        )


STORAGES = """dir: local
\tpath /var/lib/vz
\tcontent iso,vztmpl,backup,snippets

zfspool: guests
\tpool tank/guests
\tcontent rootdir,images
"""

#: Takes everything away that a test may have left, and makes the pools `tank` and `usb` anew.
_POOLS = """
for pid in /run/fleet-test/*.pid; do [ ! -e "$pid" ] || kill -9 $(cat "$pid"); done
rm -rf /run/fleet-test /var/lib/fleet /run/fleet /var/lib/pools/*
for pool in $(zpool list -H -o name); do zpool destroy -f "$pool" || exit; done
mkdir -p /var/lib/pools /var/lib/vz/dump
truncate -s 512M /var/lib/pools/tank /var/lib/pools/usb
zpool create -O compression=on -O atime=off tank /var/lib/pools/tank &&
zpool create -O compression=on -O atime=off usb /var/lib/pools/usb &&
zfs create tank/guests && zfs create -o mountpoint=/data tank/data && date >/data/made
"""

# A container is: its control group, its command socket, and a writer that notes the same number in each of
# its volumes, in turn.
_START = r"""
mkdir -p /run/fleet-test
echo +cpu >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
mkdir -p /sys/fs/cgroup/lxc/{vmid}
setsid sh -c 'echo $$ >/sys/fs/cgroup/lxc/{vmid}/cgroup.procs; echo $$ >/run/fleet-test/{vmid}.pid
    n=0; while n=$((n + 1)); do for d in {paths}; do echo $n >$d/count; done; sleep 0.1; done' \
    </dev/null >/dev/null 2>&1 &
setsid sh -c 'echo $$ >/run/fleet-test/{vmid}-socket.pid
    exec socat -L /run/fleet-test/{vmid}.lock ABSTRACT-LISTEN:/var/lib/lxc/{vmid}/command,fork -' \
    </dev/null >/dev/null 2>&1 &
until grep -q "@/var/lib/lxc/{vmid}/command" /proc/net/unix && [ -s /run/fleet-test/{vmid}.pid ]; do
    sleep 0.05
done
"""


class Node:
    """The node: its machine, and what is on it."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder

    def make(self, guests: Sequence[Ct]) -> None:
        """Empty pools and these guests, stopped."""
        self.machine.ok(_POOLS)
        files = {"/etc/pve/storage.cfg": STORAGES}
        for guest in guests:
            files[f"/etc/pve/nodes/{NODE}/lxc/{guest.vmid}.conf"] = guest.conf()
        ids = {str(each.vmid): {"node": NODE, "type": "lxc", "version": 1} for each in guests}
        files["/etc/pve/.vmlist"] = json.dumps({"version": 1, "ids": ids})
        lines = [
            "rm -rf /etc/pve",
            f"mkdir -p /etc/pve/nodes/{NODE}/lxc /etc/pve/nodes/{NODE}/qemu-server",
            f"ln -s nodes/{NODE}/lxc nodes/{NODE}/qemu-server /etc/pve/",
        ]
        lines += [f"cat >{path} <<'END'\n{text.rstrip()}\nEND" for path, text in files.items()]
        for guest in guests:
            lines += [f"zfs create -o refquota=200M {name} || exit" for name in guest.datasets]
            lines += [f"echo {guest.name} >/{name}/name" for name in guest.datasets]
        self.machine.ok("\n".join(lines))

    def start(self, guest: Ct) -> None:
        """Let it run: it writes into its volumes until the node is made anew."""
        paths = " ".join(f"/{name}" for name in guest.datasets)
        self.machine.ok(_START.format(vmid=guest.vmid, paths=paths))

    def ssh_config(self) -> Path:
        """A home folder whose ~/.ssh/config knows the node as `zfs-vm`."""
        home = self.folder / "home"
        (home / ".ssh").mkdir(parents=True, exist_ok=True)
        (home / ".ssh" / "config").write_text(
            f"Host zfs-vm\n  HostName 127.0.0.1\n  Port {self.machine.port}\n  User root\n"
            f"  IdentityFile {self.machine.key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.machine.known_hosts}\n"
        )
        return home

    def snapshots(self, dataset: str) -> list[str]:
        """The names of a dataset's snapshots, oldest first."""
        code, out, _ = self.machine.run(f"zfs list -H -o name -t snapshot -s createtxg -d 1 {dataset}")
        return [line.partition("@")[2] for line in out.splitlines()] if code == 0 else []

    def get(self, name: str, *properties: str) -> Mapping[str, str]:
        """Properties of a dataset or snapshot, as -p prints them."""
        out = self.machine.ok(f"zfs get -Hp -o property,value {','.join(properties)} {name}")
        return dict(line.split("\t", 1) for line in out.splitlines())
