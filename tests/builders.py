"""Values for tests: the smallest that are valid; a test says only what it is about."""

from __future__ import annotations

from collections.abc import Mapping

from fleet.domains.guests.facts import Guest, GuestFacts
from fleet.domains.guests.spec import Container, Mount
from fleet.tools.pct.config import parse_config

GIB = 1 << 30

CONF = """arch: amd64
cores: 2
features: nesting=1
hostname: web
memory: 1024
net0: name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:12:94:79,ip=10.0.0.2/24,type=veth
onboot: 1
ostype: debian
rootfs: guests:subvol-100-disk-0,size=8G
swap: 512
tags: fleet
unprivileged: 1
"""

CONFIG = {
    "cores": "2",
    "features": "nesting=1",
    "memory": "1024",
    "net0": "name=eth0,bridge=vmbr0,gw=10.0.0.1,ip=10.0.0.2/24",
    "onboot": "1",
    "swap": "512",
}


def container(
    name: str = "web", vmid: int = 100, *, config: Mapping[str, str | None] | None = None, **rest: object
) -> Container:
    """A wanted container that CONF has already; `config` adds keys, or takes them away with None."""
    merged = {key: value for key, value in {**CONFIG, **(config or {})}.items() if value is not None}
    given: dict[str, object] = {
        "template": "debian-13",
        "hostname": name,
        "unprivileged": True,
        "rootfs_storage": "guests",
        "rootfs_size": 8 * GIB,
        **rest,
    }
    return Container(name=name, vmid=vmid, config=merged, **given)  # type: ignore[arg-type]


def bind(mp: str = "/data", source: str = "/data", slot: str = "mp0", **options: str) -> Mount:
    """A wanted bind mount."""
    return Mount(slot, mp, source, None, None, tuple(sorted(options.items())))


def volume(
    mp: str = "/docker", storage: str = "docker", size: int = 8 * GIB, slot: str = "mp1", **options: str
) -> Mount:
    """A wanted volume."""
    return Mount(slot, mp, None, storage, size, tuple(sorted(options.items())))


def guest(
    text: str = CONF,
    vmid: int = 100,
    *,
    running: bool = True,
    kind: str = "lxc",
    started: str | None = None,
) -> Guest:
    """A guest on the host with this config file."""
    return Guest(vmid, kind, parse_config(text, "0" * 40), running, started=started)


def facts(*guests: Guest, **rest: object) -> GuestFacts:
    """A node with these guests."""
    given: dict[str, object] = {
        "container_version": (6, 1, 10),
        "elsewhere": {},
        "bridges": frozenset({"vmbr0", "vmbr1"}),
        "missing_paths": frozenset(),
        "memory": 32 * GIB,
        **rest,
    }
    return GuestFacts(node="pve", guests={each.vmid: each for each in guests}, **given)  # type: ignore[arg-type]
