"""Bridges and the interfaces on them: known, within their subnets, with gateways that can be reached."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from fleet.inventory.checks.scene import Guest, Scene
from fleet.inventory.problems import nearest
from fleet.inventory.shape.hosts_file import HostsFile
from fleet.inventory.shape.net_fields import ipv4_interface
from fleet.inventory.values import Bridge


def bridges(hosts: HostsFile) -> dict[str, Bridge]:
    """The node's bridges by name."""
    made = {}
    for name, each in hosts.network.bridges.items():
        interface = ipv4_interface(each.address) if each.address else None
        network = interface.network if interface else IPv4Network(each.subnet) if each.subnet else None
        address = str(interface.ip) if interface else None
        made[name] = Bridge(name, network, address, each.gateway, each.ports, each.mtu)
    return made


def check_bridges(scene: Scene) -> None:
    """A bridge's own values fit together."""
    for name, bridge in scene.bridges.items():
        said, path = scene.hosts.network.bridges[name], ("network", "bridges", name)
        if said.address and said.subnet and str(bridge.network) != said.subnet:
            scene.error(
                (*path, "subnet"),
                f"{said.subnet} is not the network of address {said.address}; leave subnet out",
            )
        if bridge.gateway and bridge.network and IPv4Address(bridge.gateway) not in bridge.network:
            scene.error((*path, "gateway"), f"{bridge.gateway} is outside of {bridge.network}")


def check_guest(scene: Scene, guest: Guest) -> None:
    """The interfaces of a guest fit to their bridges and to each other."""
    names: dict[str, str] = {}
    gateways: list[str] = []
    for key, net in guest.nets:
        name = net.get("name")
        if name is not None and names.setdefault(name, key) != key:
            scene.error(scene.where(guest, key, "name"), f"{name} is the name of {names[name]} already")
        if "gw" in net:
            gateways.append(key)
        _address(scene, guest, key, net, _bridge(scene, guest, key, net))
    if len(gateways) > 1:
        scene.warning(
            scene.where(guest, gateways[1], "gw"),
            f"{guest.name} has a gateway on {' and '.join(gateways)}; only one of them is used",
        )


def _bridge(scene: Scene, guest: Guest, key: str, net: Mapping[str, Any]) -> Bridge | None:
    name = net.get("bridge")
    if name is None:
        if not any(scene.findings.spoiled(*layer, key) for layer in guest.merged.layers):
            scene.warning(scene.where(guest, key), f"{guest.name}'s {key} is on no bridge")
        return None
    bridge = scene.bridges.get(name)
    if bridge is None:
        if scene.bridges and not scene.findings.spoiled("network", "bridges"):
            text = f"{name!r} is no bridge of network.bridges{nearest(name, scene.bridges)}"
            scene.error(scene.where(guest, key, "bridge"), text)
    elif net.get("mtu", 0) > bridge.mtu:
        scene.error(scene.where(guest, key, "mtu"), f"{net['mtu']} is more than the {bridge.mtu} of {name}")
    return bridge


def _address(scene: Scene, guest: Guest, key: str, net: Mapping[str, Any], bridge: Bridge | None) -> None:
    ip, gw = net.get("ip", ""), net.get("gw")
    if "/" not in ip:
        if gw is not None:
            said = f"ip={ip}" if ip else "no ip"
            scene.warning(
                scene.where(guest, key, "gw"),
                f"{guest.name}'s {key} has {said}, so that its gateway {gw} is not used; write gw: null",
            )
        return
    interface = ipv4_interface(ip)
    if bridge is not None and bridge.network is not None and "tag" not in net:
        if interface.ip not in bridge.network:
            text = f"{interface.ip} is outside of {bridge.name}'s subnet {bridge.network}"
            scene.error(scene.where(guest, key, "ip"), text)
            return
        if interface.network != bridge.network:
            right = f"{interface.ip}/{bridge.network.prefixlen}"
            text = (
                f"{ip} has another prefix length than {bridge.name}'s subnet {bridge.network}; write {right}"
            )
            scene.error(scene.where(guest, key, "ip"), text)
            return
    if gw is None:
        return
    if IPv4Address(gw) == interface.ip:
        text = f"{gw} is {guest.name}'s own address; a gateway is another machine"
        scene.error(scene.where(guest, key, "gw"), text)
    elif IPv4Address(gw) not in interface.network:
        text = f"the gateway {gw} is outside of {interface.network}, the network of {guest.name}'s {key}"
        scene.error(scene.where(guest, key, "gw"), text)
