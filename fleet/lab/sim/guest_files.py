"""The files that Proxmox writes into a container at each start (pve-facts 3.5, C/LXC/Setup*.pm)."""

from __future__ import annotations

import ipaddress
import os
import re

from . import network, paths
from .conf import Config

_BEGIN, _END = "# --- BEGIN PVE ---\n", "# --- END PVE ---\n"
_NETWORKD = ("ubuntu", "fedora", "archlinux")
_INTERFACES = ("debian", "devuan", "alpine")

Net = dict[str, str]


def write(root: str, config: Config) -> None:
    """Write them all into a root file system; a system that Proxmox does not manage is left alone."""
    ostype = config.keys.get("ostype", "unmanaged")
    if ostype == "unmanaged":
        return
    name = config.keys.get("hostname", "localhost")
    nets = list(network.of(config).values())
    _put(root, "etc/hostname", f"{name.partition('.')[0]}\n")
    _section(root, "etc/hosts", _hosts_line(name, config, nets))
    _section(root, "etc/resolv.conf", _resolver(config))
    if ostype in _INTERFACES:
        path = f"{root}/etc/network/interfaces"
        _put(root, "etc/network/interfaces", interfaces(_read(path), nets))
    elif ostype in _NETWORKD:
        for net in nets:
            _put(root, f"etc/systemd/network/{net['name']}.network", networkd(net))


def _hosts_line(name: str, config: Config, nets: list[Net]) -> str:
    address = next(
        (net[key].partition("/")[0] for key in ("ip", "ip6") for net in nets if "/" in net.get(key, "")),
        "127.0.1.1",
    )
    search = config.keys.get("searchdomain", "").split()
    return f"{address} {name}.{search[0]} {name}\n" if search and "." not in name else f"{address} {name}\n"


def _resolver(config: Config) -> str:
    """The container's own servers, else those of the node."""
    servers, search = config.keys.get("nameserver", "").split(), config.keys.get("searchdomain", "").split()
    if not servers:
        host = _read(paths.real("/etc/resolv.conf"))
        servers = re.findall(r"^nameserver\s+(\S+)", host, re.MULTILINE)
        search = search or re.findall(r"^search\s+(.+)$", host, re.MULTILINE)
    return (f"search {' '.join(search)}\n" if search else "") + "".join(
        f"nameserver {server}\n" for server in servers
    )


def interfaces(existing: str, nets: list[Net]) -> str:
    """/etc/network/interfaces with stanzas for these interfaces; what others wrote stays."""
    ours = {"lo", *(net["name"] for net in nets)}
    kept: list[str] = []
    skipping = False
    for line in existing.splitlines():
        words = line.split()
        if words[:1] in (["auto"], ["iface"], ["allow-hotplug"]):
            skipping = words[1] in ours or re.fullmatch(r"eth\d+", words[1]) is not None
        elif not line[:1].isspace():
            skipping = False
        if not skipping:
            kept.append(line)
    rest = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    text = "auto lo\niface lo inet loopback\niface lo inet6 loopback\n\n" + (f"{rest}\n\n" if rest else "")
    return text + "".join(_stanza(net) for net in nets)


def _stanza(net: Net) -> str:
    text = f"auto {net['name']}\n"
    for family, key, gateway in (("inet", "ip", "gw"), ("inet6", "ip6", "gw6")):
        value = net.get(key)
        if value is None:
            text += f"iface {net['name']} inet manual\n\n" if key == "ip" and "ip6" not in net else ""
        elif "/" not in value:
            text += f"iface {net['name']} {family} {value}\n\n"
        else:
            text += (
                f"iface {net['name']} {family} static\n\taddress {value}\n"
                + _gateway(value, net.get(gateway), net["name"])
                + "\n"
            )
    return text


def _gateway(address: str, gateway: str | None, name: str) -> str:
    if gateway is None:
        return ""
    if ipaddress.ip_address(gateway) in ipaddress.ip_interface(address).network:
        return f"\tgateway {gateway}\n"
    return (
        f"\tpost-up ip route add {gateway} dev {name}\n"
        f"\tpost-up ip route add default via {gateway} dev {name}\n"
        f"\tpre-down ip route del default via {gateway} dev {name}\n"
        f"\tpre-down ip route del {gateway} dev {name}\n"
    )


def networkd(net: Net) -> str:
    """The .network file of systemd-networkd for an interface."""
    dhcp = {(True, False): "ipv4", (False, True): "ipv6", (True, True): "yes"}.get(
        (net.get("ip") == "dhcp", net.get("ip6") == "dhcp"), "no"
    )
    addresses = [net[key] for key in ("ip", "ip6") if "/" in net.get(key, "")]
    lines = [
        f"Description = Interface {net['name']} autoconfigured by PVE",
        *(f"Address = {address}" for address in addresses),
        *(f"Gateway = {net[key]}" for key in ("gw", "gw6") if key in net),
        f"DHCP = {dhcp}",
        f"IPv6AcceptRA = {'true' if net.get('ip6') == 'auto' else 'false'}",
    ]
    return f"[Match]\nName = {net['name']}\n\n[Network]\n" + "\n".join(lines) + "\n"


def _section(root: str, path: str, text: str) -> None:
    """Replace what stands between Proxmox's marks, or add it at the end."""
    old = _read(f"{root}/{path}")
    new = _BEGIN + text + _END
    before, mark, rest = old.partition(_BEGIN)
    if mark:
        _put(root, path, before + new + rest.partition(_END)[2])
    else:
        _put(root, path, old + ("\n" if old and not old.endswith("\n") else "") + new)


def _put(root: str, path: str, text: str) -> None:
    """Write a file of the container, unless `.pve-ignore.NAME` beside it forbids that."""
    directory, _, name = path.rpartition("/")
    if os.path.exists(f"{root}/{directory}/.pve-ignore.{name}"):
        return
    os.makedirs(f"{root}/{directory}", exist_ok=True)
    with open(f"{root}/{path}", "w", encoding="utf-8") as file:
        file.write(text)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""
