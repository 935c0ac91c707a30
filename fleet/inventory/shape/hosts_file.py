"""The whole of hosts.yml as one type."""

from __future__ import annotations

from pydantic import Field

from fleet.inventory.shape.backup import BackupSection
from fleet.inventory.shape.fields import GuestName, Text
from fleet.inventory.shape.guest import ContainerLayer, Layer
from fleet.inventory.shape.later import (
    FirewallSection,
    HealSection,
    MonitoringSection,
    UpgradeSection,
    WireguardSection,
)
from fleet.inventory.shape.model import Section
from fleet.inventory.shape.node import NetworkSection, NodeSection
from fleet.inventory.shape.notifications import NotificationSection
from fleet.inventory.shape.props import SharedMount
from fleet.inventory.shape.storage import StorageSection


class HostsFile(Section):
    """A homelab on one Proxmox VE node."""

    schema_: Text | None = Field(None, alias="$schema", description="Where an editor finds this schema.")
    node: NodeSection = Field(description="The Proxmox VE node, and how to reach it.")
    network: NetworkSection = Field(default_factory=NetworkSection.absent, description="The node's bridges.")
    storage: StorageSection = Field(
        default_factory=StorageSection.absent, description="Pools, datasets, storages and templates."
    )
    mounts: dict[Text, SharedMount] = Field({}, description="Mounts declared once, for guests to name.")
    defaults: Layer = Field(default_factory=Layer.absent, description="Settings of every container.")
    profiles: dict[Text, Layer] = Field({}, description="Settings that containers take by name.")
    containers: dict[GuestName, ContainerLayer] = Field({}, description="The containers by name.")
    firewall: FirewallSection | None = Field(None, description="Proxmox's firewall.")
    wireguard: WireguardSection | None = Field(None, description="The VPN gateway.")
    backup: BackupSection | None = Field(None, description="Snapshots, archives, replicas, drills.")
    notifications: NotificationSection | None = Field(None, description="Who hears of what.")
    monitoring: MonitoringSection | None = Field(None, description="What is watched.")
    upgrade: UpgradeSection | None = Field(None, description="Upgrades of the systems inside the guests.")
    heal: HealSection | None = Field(None, description="What is restarted when it fails.")
