"""What hosts.yml may want of a container, all layers merged: the planner reads nothing else. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mount:
    """One wanted mount point: a bind or device mount (`bind`), or a volume (`storage` and `size`)."""

    slot: str  # "mp0": where it goes if the guest has nothing mounted at `mp` yet
    mp: str  # the path inside the guest: "/data"
    bind: str | None  # the path on the host
    storage: str | None
    size: int | None  # bytes
    options: tuple[tuple[str, str], ...] = ()  # backup, ro, acl ...: values as Proxmox prints them, sorted


@dataclass(frozen=True, slots=True)
class Container:
    """One wanted container.

    `config` holds every other wanted key of `pct config` (not rootfs, mpN, tags, hostname, unprivileged) with
    its value as Proxmox prints it: {"memory": "4096", "net0": "name=eth0,bridge=vmbr0", "onboot": "1"}.
    """

    name: str  # its key in hosts.yml
    vmid: int
    template: str  # a key of storage.templates, or a volume id
    hostname: str
    unprivileged: bool
    config: Mapping[str, str]
    rootfs_storage: str
    rootfs_size: int  # bytes
    rootfs_options: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    tags: tuple[str, ...] = ()  # lower case, sorted; without "fleet", which is ours
    raw: tuple[str, ...] | None = None  # `lxc.key: value` lines; None: not declared, what is there is left
    started: bool = True
    depends_on: tuple[str, ...] = ()
    ssh_public_keys: tuple[str, ...] = ()
    line: int = 0  # of its key in hosts.yml
    category: str | None = None
