"""What the host says about its guests, read from the files where Proxmox keeps it (pve-facts 1.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet.core.command import command
from fleet.core.errors import HostError
from fleet.core.probe import Answer, Probe, split_files
from fleet.tools.pct.config import Config, parse_config


@dataclass(frozen=True, slots=True)
class Guest:
    """One guest of this node."""

    vmid: int
    kind: str  # "lxc" or "qemu"
    config: Config
    running: bool
    socket: str = ""  # of a running container: the inode of its command socket, another after each start
    started: str | None = None  # what LXC started it with: its lines after lxc.rootfs.path; None: not known

    @property
    def name(self) -> str:
        """Its hostname or name; Proxmox's own stand-in where it has none."""
        stand_in = f"CT{self.vmid}" if self.kind == "lxc" else f"VM {self.vmid}"
        return self.config.current.get("hostname" if self.kind == "lxc" else "name", stand_in)


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """All guests of the node, and which VMIDs are taken elsewhere in the cluster."""

    node: str
    container_version: tuple[int, ...]  # of the package pve-container
    guests: Mapping[int, Guest]
    elsewhere: Mapping[int, str]  # VMID -> node, for guests of other nodes
    bridges: frozenset[str]
    missing_paths: frozenset[str]  # of the device nodes and bind sources that hosts.yml names
    memory: int  # bytes

    @property
    def devices_hotplug(self) -> bool:
        """True where a new devN reaches a running container at once (pve-container 6.0.4)."""
        return self.container_version >= (6, 0, 4)


_READ_GUESTS = r"""
[ -d /etc/pve/nodes ] || exit 1
for kind in lxc qemu-server; do
  set -- /etc/pve/$kind/*.conf
  [ -e "$1" ] || continue
  LC_ALL=C awk -v mark="$FLEET_MARK" 'BEGIN { for (i = 1; i < ARGC; i++) {
    if ((got = (getline line < ARGV[i])) < 0) continue # it has gone since the shell saw it
    print mark " file " ARGV[i]
    for (; got > 0; got = (getline line < ARGV[i])) print line
    close(ARGV[i])
  } }' "$@" || exit 1
done
"""

_READ_DIGESTS = r"""
for kind in lxc qemu-server; do
  set -- /etc/pve/$kind/*.conf
  [ ! -e "$1" ] || sha1sum "$@"
done
"""

# Flags 00010000: the socket listens; others of its name are of those who ask it something just now.
_READ_RUNNING = r"""
awk '$NF ~ "^@/var/lib/lxc/[0-9]+/command$" && $4 == "00010000" { print $NF, $7 }' /proc/net/unix
for pid in /run/qemu-server/*.pid; do [ ! -e "$pid" ] || echo "$pid"; done"""

# What LXC was started with. Proxmox writes the file anew at each `pct set`, too; fleet_raw keeps the old one.
_READ_STARTED = r"""
awk '$NF ~ "^@/var/lib/lxc/[0-9]+/command$" && $4 == "00010000" { print $NF, $7 }' /proc/net/unix |
LC_ALL=C awk -v mark="$FLEET_MARK" '{
  split($1, part, "/")
  file = "/run/fleet/lxc-" part[5] "-" $2
  if ((got = (getline line < file)) < 0) {
    file = "/var/lib/lxc/" part[5] "/config"
    got = (getline line < file)
  }
  for (ours = 0; got > 0; got = (getline line < file)) {
    if (ours) print line
    else if (line ~ /^lxc\.rootfs\.path/) { ours = 1; print mark " file " part[5] }
  }
  close(file)
}'
"""

_READ_NODE = r"""hostname
dpkg-query -W -f '${Package} ${Version}\n' pve-container
awk '$1 == "MemTotal:" { print "memory", $2 }' /proc/meminfo
for bridge in /sys/class/net/*/bridge; do [ ! -e "$bridge" ] || echo "$bridge"; done
ovs-vsctl --timeout=5 list-br | sed 's|.*|/sys/class/net/&/bridge|'"""  # Open vSwitch's have no such folder


def probes(paths: Iterable[str]) -> tuple[Probe, ...]:
    """The reads for guests; `paths` are the device nodes and bind sources whose presence matters."""
    missing = "\n".join(
        f"[ -e {command(path).sh()} ] || echo {command(path).sh()}" for path in sorted(set(paths))
    )
    return (
        # The digests first: no text is older than its digest, and a change in between makes a plan stale.
        Probe("digests", _READ_DIGESTS),
        Probe("guests", _READ_GUESTS),
        Probe("vmlist", "cat /etc/pve/.vmlist"),
        Probe("running", _READ_RUNNING),
        Probe("started", _READ_STARTED),
        Probe("node", _READ_NODE),
        Probe("missing", missing or ":"),
    )


def snapshots_probe(vmid: int) -> Probe:
    """The names of the ZFS snapshots of volumes that could be this guest's; fails with `zfs list`."""
    listed = "fleet_listed=$(zfs list -H -o name -t snapshot) || exit"
    return Probe(
        "zfs-snapshots-of-guest",
        f"({listed}; printf '%s\\n' \"$fleet_listed\" | {{ grep -e '-{vmid}-[^/@]*@' || :; }})",
    )


def read(answers: Mapping[str, Answer], mark: str) -> GuestFacts:
    """The facts in the probes' answers; HostError where this is no Proxmox VE node."""
    if answers["guests"].code:
        raise HostError("this is not a Proxmox VE node, or pmxcfs is down: /etc/pve/nodes is not readable")
    files = split_files(answers["guests"].text, mark)
    listed = re.findall(r"^([0-9a-f]{40})  (.+)$", answers["digests"].text, re.MULTILINE)
    digests = {path: digest for digest, path in listed}
    running = _running(answers["running"].text)
    started = split_files(answers["started"].text, mark)
    node = answers["node"].text.split("\n")
    guests: dict[int, Guest] = {}
    for path, digest in digests.items():
        match = re.fullmatch(r"/etc/pve/(lxc|qemu-server)/(\d+)\.conf", path)
        if match and path in files:  # else it was destroyed or has migrated in this moment
            vmid, kind = int(match[2]), "lxc" if match[1] == "lxc" else "qemu"
            config = parse_config(files[path], digest)
            socket = running.get((kind, vmid))
            guests[vmid] = Guest(
                vmid,
                kind,
                config,
                running=socket is not None,
                socket=socket or "",
                started=started.get(match[2]) if kind == "lxc" and socket is not None else None,
            )
    return GuestFacts(
        node=node[0].split(".")[0],
        container_version=_version(answers["node"].text),
        guests=guests,
        elsewhere=_elsewhere(answers["vmlist"].text, guests),
        bridges=frozenset(re.findall(r"^/sys/class/net/(.+)/bridge$", answers["node"].text, re.MULTILINE)),
        missing_paths=frozenset(line for line in answers["missing"].text.split("\n") if line),
        memory=1024 * int(next(iter(re.findall(r"^memory (\d+)$", answers["node"].text, re.MULTILINE)), "0")),
    )


def _running(text: str) -> Mapping[tuple[str, int], str]:
    containers = re.findall(r"^@/var/lib/lxc/(\d+)/command (\d+)$", text, re.MULTILINE)
    machines = re.findall(r"^/run/qemu-server/(\d+)\.pid$", text, re.MULTILINE)
    return {
        **{("lxc", int(vmid)): socket for vmid, socket in containers},
        **{("qemu", int(vmid)): "" for vmid in machines},
    }


def _version(text: str) -> tuple[int, ...]:
    match = re.search(r"^pve-container (\d+(?:\.\d+)*)", text, re.MULTILINE)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _elsewhere(vmlist: str, here: Mapping[int, Guest]) -> Mapping[int, str]:
    try:
        ids = json.loads(vmlist).get("ids", {})
    except (ValueError, AttributeError):
        return {}
    return {int(vmid): str(entry.get("node")) for vmid, entry in ids.items() if int(vmid) not in here}
