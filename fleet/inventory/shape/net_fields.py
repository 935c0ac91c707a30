"""Addresses, networks and ports as hosts.yml may hold them."""

from __future__ import annotations

import re
from functools import cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    NetmaskValueError,
)
from typing import Annotated

from fleet.inventory.shape.fields import Reads, text


def mac(value: object) -> str:
    """A unicast MAC address, upper case."""
    found = text(value)
    if not re.fullmatch(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}", found):
        raise ValueError(f"{found!r} is no MAC address; write it like BC:24:11:00:00:01")
    if int(found[1], 16) % 2:
        raise ValueError(f"{found!r} is a multicast MAC address; its second digit has to be even")
    return found.upper()


def ipv4(value: object) -> str:
    """An IPv4 address."""
    found = text(value)
    try:
        IPv4Address(found)
    except AddressValueError:
        slash = f"; write {found.split('/')[0]}" if "/" in found else ""
        raise ValueError(f"{found!r} is no IPv4 address{slash}") from None
    return found


def ipv6(value: object) -> str:
    """An IPv6 address."""
    found = text(value)
    try:
        IPv6Address(found)
    except AddressValueError:
        raise ValueError(f"{found!r} is no IPv6 address") from None
    return found


@cache
def ipv4_interface(text_: str) -> IPv4Interface:
    """The host address and its network; ValueError for a network's or a broadcast's address."""
    host, slash, bits = text_.partition("/")
    try:
        IPv4Address(host)
        if not slash:
            raise ValueError(f"{text_!r} lacks its prefix length; write {text_}/24")
        if not re.fullmatch(r"[0-9]{1,2}", bits) or not 8 <= int(bits) <= 32:
            raise ValueError(f"{text_!r}: the prefix length goes from /8 to /32")
        found = IPv4Interface(text_)
    except (AddressValueError, NetmaskValueError):
        raise ValueError(
            f"{text_!r} is no IPv4 address with prefix length; write it like 192.168.0.10/24"
        ) from None
    if found.network.prefixlen < 31 and found.ip in (
        found.network.network_address,
        found.network.broadcast_address,
    ):
        what = "network" if found.ip == found.network.network_address else "broadcast"
        raise ValueError(f"{text_!r} is the {what} address of {found.network}; a host needs one of its own")
    return found


def ipv4_config(value: object) -> str:
    """dhcp, manual, or an IPv4 address with its prefix length."""
    found = text(value)
    if found in ("dhcp", "manual"):
        return found
    ipv4_interface(found)
    return found


def ipv6_config(value: object) -> str:
    """auto, dhcp, manual, or an IPv6 address with its prefix length."""
    found = text(value)
    if found in ("auto", "dhcp", "manual"):
        return found
    host, slash, bits = found.partition("/")
    try:
        IPv6Address(host)
        good = bool(slash) and re.fullmatch(r"[0-9]{1,3}", bits) is not None and 8 <= int(bits) <= 128
    except AddressValueError:
        good = False
    if not good:
        raise ValueError(
            f"{found!r} is neither auto, dhcp, manual nor an IPv6 address with prefix length: fd00::5/64"
        )
    return found


def host_cidr(value: object) -> str:
    """An IPv4 address of a host, with its prefix length."""
    found = text(value)
    ipv4_interface(found)
    return found


def subnet(value: object) -> str:
    """An IPv4 network; ValueError where host bits are set."""
    found = text(value)
    try:
        network = IPv4Network(found, strict=False)
    except (AddressValueError, NetmaskValueError):
        raise ValueError(f"{found!r} is no IPv4 network; write it like 192.168.0.0/24") from None
    if "/" not in found or str(network) != found:
        raise ValueError(
            f"{found!r} is no network; write {network}"
            if "/" in found
            else f"{found!r} lacks its prefix length"
        )
    return found


def proto_port(value: object) -> str:
    """tcp/80, udp/51820, or a range: tcp/21115-21119."""
    found = text(value)
    match = re.fullmatch(r"(tcp|udp)/([0-9]{1,5})(?:-([0-9]{1,5}))?", found)
    ports = [int(port) for port in match.groups()[1:] if port] if match else []
    if not ports or not all(1 <= port <= 65535 for port in ports) or ports != sorted(ports):
        raise ValueError(f"{found!r} is no port; write it like tcp/443, udp/51820 or tcp/21115-21119")
    return found


Mac = Annotated[str, Reads(mac, {"type": "string", "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"})]
Ipv4 = Annotated[str, Reads(ipv4, {"type": "string", "format": "ipv4"})]
Ipv6 = Annotated[str, Reads(ipv6, {"type": "string", "format": "ipv6"})]
Ipv4Config = Annotated[
    str, Reads(ipv4_config, {"type": "string", "pattern": r"^(dhcp|manual|[0-9.]+/[0-9]+)$"})
]
Ipv6Config = Annotated[str, Reads(ipv6_config, {"type": "string"})]
HostCidr = Annotated[str, Reads(host_cidr, {"type": "string", "pattern": r"^[0-9.]+/[0-9]+$"})]
Subnet = Annotated[str, Reads(subnet, {"type": "string", "pattern": r"^[0-9.]+/[0-9]+$"})]
ProtoPort = Annotated[str, Reads(proto_port, {"type": "string", "pattern": r"^(tcp|udp)/[0-9]+(-[0-9]+)?$"})]
