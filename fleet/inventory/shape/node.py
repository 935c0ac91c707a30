"""The node, how to reach it, and its bridges."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from fleet.inventory.shape.fields import (
    DnsName,
    FilePath,
    Interface,
    IpList,
    Port,
    Reads,
    Size,
    Text,
    text,
    whole,
    words,
)
from fleet.inventory.shape.host_fields import Device, Zone
from fleet.inventory.shape.model import Section
from fleet.inventory.shape.net_fields import HostCidr, Ipv4, Subnet


def _address(value: object) -> str:
    found = text(value)
    if "@" in found:
        user, _, host = found.partition("@")
        raise ValueError(f"{found!r} holds a user; write address: {host} and user: {user}")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?", found):
        raise ValueError(
            f"{found!r} is no address; write lab, local, or what you give to ssh: a host name, an IP address"
        )
    return found


Address = Annotated[str, Reads(_address, {"type": "string"})]


# ── node and network ──────────────────────────────────────────────────────────────────────────────


class NodeGpu(Section):
    """The GPU of the node."""

    vendor: Literal["auto", "intel", "amd", "nvidia"] = Field(
        "auto", description="Whose it is, or `auto`: found out on the node."
    )
    devices: tuple[Device, ...] = Field(
        (), description="Its device nodes: `[/dev/dri/card0, /dev/dri/renderD128]`."
    )


class NodeSection(Section):
    """The Proxmox VE node, and how to reach it."""

    name: DnsName = Field(description="Its name in Proxmox, as `hostname` says there.")
    address: Address = Field(
        description="`lab` for the simulated node, `local` on the node itself, or what you would give to ssh:"
        " a host name, an IP address, an alias of ~/.ssh/config."
    )
    user: Text | None = Field(
        None, description="Who logs in (default: as ~/.ssh/config says, or root); others need sudo."
    )
    port: Port | None = Field(None, description="SSH's port (default: as ~/.ssh/config says, or 22).")
    identity_file: FilePath | None = Field(
        None,
        alias="identity-file",
        description="The private key's file (default: the agent's keys and ~/.ssh/config).",
    )
    known_hosts: FilePath | None = Field(
        None, alias="known-hosts", description="File of the trusted host keys (default: ~/.ssh/known_hosts)."
    )
    memory: Size | None = Field(
        None, description="Its memory, against which that of the guests is counted: `32G`."
    )
    timezone: Zone | None = Field(None, description="Its time zone.")
    gateway: Ipv4 | None = Field(None, description="Its gateway.")
    dns: IpList | None = Field(None, description="Its DNS servers.")
    gpu: NodeGpu | None = Field(None, description="Its GPU, which guests with `gpu: true` share.")


class BridgeSection(Section):
    """A bridge of the node. It is declared so that guests can be checked against it."""

    address: HostCidr | None = Field(None, description="The node's own address on it, with prefix length.")
    subnet: Subnet | None = Field(None, description="Its network, where the node has no address on it.")
    gateway: Ipv4 | None = Field(None, description="The way out of it.")
    ports: Annotated[tuple[Interface, ...], words(r"\s,;")] = Field(
        (), description="Interfaces of the node that are its ports; none: isolated."
    )
    mtu: Annotated[int, whole(64, 65535)] = Field(1500, description="Its MTU, which a guest's cannot exceed.")


class NetworkSection(Section):
    """The node's network."""

    bridges: dict[Interface, BridgeSection] = Field({}, description="Bridges by name: `vmbr0`.")
