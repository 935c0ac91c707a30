"""What reading hosts.yml gives: typed, frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.core.errors import Problem
from fleet.domains.backup.spec import BackupSpec
from fleet.domains.guests.spec import Container
from fleet.domains.storage.spec import StorageSpec

if TYPE_CHECKING:
    from fleet.inventory.secret import SecretRef
    from fleet.inventory.shape.later import (
        FirewallSection,
        HealSection,
        MonitoringSection,
        UpgradeSection,
        WireguardSection,
    )


@dataclass(frozen=True, slots=True)
class Node:
    """The node and how to reach it; None: as ~/.ssh/config says, or not declared."""

    name: str
    address: str  # lab, local, or what ssh takes
    user: str | None = None
    port: int | None = None
    identity_file: Path | None = None
    known_hosts: Path | None = None
    memory: int | None = None  # bytes
    timezone: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge of the node."""

    name: str
    network: IPv4Network | None  # None: not declared, addresses on it cannot be checked
    address: str | None  # the node's own, without prefix length
    gateway: str | None
    ports: tuple[str, ...]
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class OpenPort:
    """A port that is let in."""

    port: str  # tcp/443, udp/137, tcp/21115-21119
    sources: tuple[str, ...] = ()  # names of firewall.aliases, or networks; empty: anybody


@dataclass(frozen=True, slots=True)
class Service:
    """The service that a guest runs."""

    kind: str  # compose, systemd or openrc
    name: str
    directory: str | None  # of a Compose stack
    package: str | None  # of a systemd or OpenRC service
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """What is declared of a container beyond what Proxmox's configuration holds."""

    open_ports: tuple[OpenPort, ...] = ()
    service: Service | None = None
    gpu: bool = False
    threshold: int | None = None  # percent
    bridges: tuple[str, ...] = ()  # in the order of its interfaces


@dataclass(frozen=True, slots=True)
class Channel:
    """Where notices go: a secret that is a URL of apprise, and a topic that is added to its path (ntfy)."""

    url: SecretRef
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that hosts.yml says of one node."""

    path: Path
    digest: str  # SHA-256 of the file
    node: Node
    storage: StorageSpec
    containers: tuple[Container, ...]  # sorted by VMID
    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    declared: Mapping[str, Declared] = field(default_factory=dict)  # by the container's name
    backups: BackupSpec = field(default_factory=lambda: BackupSpec("UTC"))
    channels: Mapping[str, tuple[Channel, ...]] = field(
        default_factory=dict
    )  # critical, warning, info, success
    #: The watcher's URL by task, backup.snapshot, and schedule or replica; empty where the task has one job.
    dead_man: Mapping[str, Mapping[str, SecretRef]] = field(default_factory=dict)
    not_managed_yet: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    firewall: FirewallSection | None = None
    wireguard: WireguardSection | None = None
    monitoring: MonitoringSection | None = None
    upgrade: UpgradeSection | None = None
    heal: HealSection | None = None
