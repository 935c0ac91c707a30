"""Sections whose domain is still to come: validated, and reported as declared but not managed yet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fleet.inventory.shape.fields import (
    Bool,
    Duration,
    GuestName,
    Interface,
    Percent,
    Port,
    Text,
)
from fleet.inventory.shape.guest_sections import Rule
from fleet.inventory.shape.host_fields import Secret, WireguardPublicKey
from fleet.inventory.shape.model import Section
from fleet.inventory.shape.net_fields import Ipv4, ProtoPort, Subnet


class FirewallSection(Section):
    """Proxmox's firewall, for the whole node; what a guest lets in stands in the guest."""

    enable: Bool = Field(True, description="Whether it is on.")
    policy_in: Literal["ACCEPT", "DROP", "REJECT"] = Field(
        "DROP", description="What becomes of incoming packets without a rule."
    )
    policy_out: Literal["ACCEPT", "DROP", "REJECT"] = Field(
        "ACCEPT", description="What becomes of outgoing ones."
    )
    aliases: dict[Text, Subnet] = Field({}, description="Names of networks, for `source`.")
    accept_in: tuple[Rule, ...] = Field(
        (), description="Ports open on every guest, such as SSH from the LAN."
    )
    ping: Bool = Field(True, description="Whether guests answer ping.")


class Peer(Section):
    """A device that may connect to the WireGuard server."""

    address: Ipv4 = Field(description="Its address inside the tunnel.")
    public_key: WireguardPublicKey = Field(alias="public-key", description="Its public key.")


class WireguardServer(Section):
    """The way in, for your own devices."""

    port: ProtoPort = Field("udp/51820", description="Port it listens on.")
    private_key: Secret = Field(alias="private-key", description="Its private key: a reference.")
    peers: dict[Text, Peer] = Field({}, description="Your devices by name.")


class WireguardClient(Section):
    """The way out, through a VPN provider."""

    config: Secret = Field(
        description="The provider's configuration file: a reference, since its private key is in it."
    )
    kill_switch: Bool = Field(
        True, alias="kill-switch", description="Nothing leaves by any other way while the tunnel is down."
    )


class PortForward(Section):
    """A port of the gateway that leads to a guest behind it."""

    port: ProtoPort = Field(description="Port on the gateway.")
    to: GuestName = Field(description="The guest.")
    to_port: Port | None = Field(None, alias="to-port", description="Its port, where it is another.")


class WireguardSection(Section):
    """The VPN gateway and the network behind it."""

    gateway: GuestName = Field(description="The guest that is the gateway.")
    network: Interface = Field(description="The bridge whose guests have no other way out.")
    client: WireguardClient | None = Field(None, description="The way out.")
    server: WireguardServer | None = Field(None, description="The way in.")
    forwards: tuple[PortForward, ...] = Field(
        (), description="Ports of the gateway that lead to guests behind it."
    )


class Retention(Section):
    """A guest that keeps data for a time."""

    container: GuestName = Field(description="The guest.")
    retention: Duration = Field(description="How long it keeps them: `744h`, `30d`.")


class Exporter(Section):
    """A program that serves figures to Prometheus."""

    port: ProtoPort = Field(description="Port it listens on.")
    container: GuestName | None = Field(None, description="The guest it runs in (default: every one).")


class MonitoringSection(Section):
    """What is watched, and from when it is too much."""

    threshold: Percent = Field(90, description="Percent of memory or disk that raise a warning.")
    logs: Retention | None = Field(None, description="Where logs go (Loki).")
    metrics: Retention | None = Field(None, description="Where figures go (Prometheus).")
    exporters: dict[Text, Exporter] = Field({}, description="Exporters by name.")


class UpgradeSection(Section):
    """Upgrades of the systems inside the guests."""

    guests: Literal["running", "all"] = Field("running", description="Which guests.")
    snapshot: Bool = Field(True, description="Whether a snapshot is taken before.")


class HealSection(Section):
    """What is restarted when it fails."""

    containers: Bool = Field(True, description="Guests that should be running and are not.")
    services: Bool = Field(True, description="Services inside them.")
