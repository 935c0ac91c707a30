"""`ip`: links, addresses and routes of the node.

From /sys/class/net and /etc/network/interfaces, and of a guest (of_guest).
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

_OBJECTS = ("link", "address", "route", "neighbour", "rule")


@dataclass(frozen=True)
class Interface:
    """An interface: `peer` is the other end's index, `gateways` the default routes through it."""

    name: str
    index: int
    mac: str
    mtu: int = 1500
    peer: int | None = None
    master: str | None = None
    up: bool = True
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    kind: str = "ether"

    @property
    def shown(self) -> str:
        """eth0@if5."""
        return self.name if self.peer is None else f"{self.name}@if{self.peer}"

    @property
    def state(self) -> str:
        """UP, DOWN, or UNKNOWN for the loopback."""
        if self.name == "lo" or (self.kind == "wireguard" and self.up):
            return "UNKNOWN"
        return "UP" if self.up else "DOWN"

    @property
    def flags(self) -> str:
        """Without the angle brackets."""
        kinds = {"wireguard": "POINTOPOINT,NOARP"}
        kind = "LOOPBACK" if self.name == "lo" else kinds.get(self.kind, "BROADCAST,MULTICAST")
        return f"{kind},UP,LOWER_UP" if self.up else kind


LOOPBACK = Interface("lo", 1, "00:00:00:00:00:00", 65536, addresses=("127.0.0.1/8", "::1/128"))


def link_local(mac: str) -> str:
    """The address that an interface gives itself (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    host = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    return f"{ipaddress.IPv6Address(bytes([0xFE, 0x80, 0, 0, 0, 0, 0, 0]) + host)}/64"


def main(argv: list[str]) -> int:
    """`ip` of the node."""
    words = [word for word in argv[1:] if not word.startswith("-")]
    if len(words) > 1 and "link".startswith(words[0]) and words[1] in ("add", "set", "del", "delete"):
        from . import ip_link

        return ip_link.change(words[1:])
    return run(argv[1:], node_interfaces())


def node_interfaces() -> list[Interface]:
    """What the node has, by index."""
    top = "/sys/class/net"
    declared = _declared()
    found = []
    for name in os.listdir(top):
        values = {
            file: _line(f"{top}/{name}/{file}")
            for file in ("address", "ifindex", "iflink", "mtu", "operstate", "kind")
        }
        addresses, gateways = declared.get(name, ((), ()))
        master = (
            os.path.basename(os.readlink(f"{top}/{name}/master"))
            if os.path.islink(f"{top}/{name}/master")
            else None
        )
        found.append(
            LOOPBACK
            if name == "lo"
            else Interface(
                name,
                int(values["ifindex"]),
                values["address"],
                int(values["mtu"]),
                int(values["iflink"]) if values["iflink"] else None,
                master,
                values["operstate"] == "up",
                (*addresses, link_local(values["address"])) if master is None and values["address"] else (),
                gateways,
                values["kind"] or "ether",
            )
        )
    return sorted(found, key=lambda interface: interface.index)


def _declared() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Addresses and gateways by interface, from /etc/network/interfaces."""
    found: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    name = ""
    for line in _line("/etc/network/interfaces").splitlines():
        words = line.split()
        if words[:1] == ["iface"]:
            name = words[1]
        elif len(words) > 1 and words[0] in ("address", "gateway"):
            addresses, gateways = found.get(name, ((), ()))
            found[name] = (
                ((*addresses, words[1]), gateways)
                if words[0] == "address"
                else (addresses, (*gateways, words[1]))
            )
    return found


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


# --- the command ------------------------------------------------------------------------------------------


def run(words: list[str], interfaces: list[Interface]) -> int:
    """`ip WORDS` with these interfaces, which it only shows."""
    options, words = _split(words)
    unknown = [
        option
        for option in options
        if option not in ("br", "brief", "4", "6", "j", "json", "p", "pretty", "o", "oneline", "c")
    ]
    if unknown:
        sys.stderr.write(f'Option "-{unknown[0]}" is unknown, try "ip -help".\n')
        return 255
    name = next((known for known in _OBJECTS if words and known.startswith(words[0])), None)
    if name is None or name in ("neighbour", "rule"):
        sys.stderr.write(
            f'Object "{words[0]}" is unknown, try "ip help".\n'
            if words
            else "Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }\n"
        )
        return 1 if words else 255
    rest = words[1:]
    if rest and any(verb.startswith(rest[0]) for verb in ("show", "list", "lst")):
        rest = rest[1:]
    elif rest and rest[0] in ("add", "del", "delete", "set", "change", "replace", "flush"):
        sys.stderr.write("RTNETLINK answers: Operation not permitted\n")
        return 2
    try:
        chosen = _choose(rest, interfaces)
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 1
    family = 4 if "4" in options else 6 if "6" in options else None
    if name == "route":
        return _routes(chosen, family or 4, "j" in options or "json" in options)
    return _show(chosen, name, family, options)


def _split(words: list[str]) -> tuple[set[str], list[str]]:
    options = set()
    while words and words[0].startswith("-"):
        options.add(words[0].lstrip("-"))
        words = words[1:]
    return options, words


def _choose(words: list[str], interfaces: list[Interface]) -> list[Interface]:
    chosen, rest = interfaces, list(words)
    while rest:
        word = rest.pop(0)
        if word == "up":
            chosen = [interface for interface in chosen if interface.up]
        elif word in ("master", "dev") and rest:
            value = rest.pop(0)
            if not any(interface.name == value for interface in interfaces):
                raise LookupError(f'Device "{value}" does not exist.')
            chosen = [
                interface
                for interface in chosen
                if value == (interface.master if word == "master" else interface.name)
            ]
        elif any(interface.name == word for interface in interfaces):
            chosen = [interface for interface in chosen if interface.name == word]
        else:
            raise LookupError(f'Device "{word}" does not exist.')
    return chosen


def _show(interfaces: list[Interface], name: str, family: int | None, options: set[str]) -> int:
    if {"j", "json"} & options:
        print(json.dumps([_as_json(interface, family) for interface in interfaces], separators=(",", ":")))
    elif {"br", "brief"} & options:
        for interface in interfaces:
            what = (
                f"{interface.mac} <{interface.flags}> ".lstrip()
                if name == "link"
                else "".join(f"{address} " for address in _of(interface, family))
            )
            print(f"{interface.shown:<16} {interface.state:<14} {what}")
    else:
        for interface in interfaces:
            _long(interface, name, family)
    return 0


def _of(interface: Interface, family: int | None) -> list[str]:
    return [address for address in interface.addresses if family is None or (":" in address) == (family == 6)]


def _long(interface: Interface, name: str, family: int | None) -> None:
    kind = "loopback" if interface.name == "lo" else "ether" if interface.mac else "none"
    broadcast = ":".join(["00" if kind == "loopback" else "ff"] * 6)
    master = f" master {interface.master}" if interface.master else ""
    print(
        f"{interface.index}: {interface.shown}: <{interface.flags}> mtu {interface.mtu} "
        f"qdisc noqueue{master} state {interface.state} group default qlen 1000\n"
        f"    link/{kind}" + (f" {interface.mac} brd {broadcast}" if interface.mac else "")
    )
    for address in _of(interface, family) if name == "address" else ():
        print(
            f"    inet{'6' if ':' in address else ''} {address} scope {_scope(address)}"
            + ("" if ":" in address else f" {interface.name}")
            + "\n       valid_lft forever preferred_lft forever"
        )


def _scope(address: str) -> str:
    ip = ipaddress.ip_interface(address)
    return "host" if ip.is_loopback else "link" if ip.is_link_local else "global"


def _as_json(interface: Interface, family: int | None) -> dict[str, Any]:
    return {
        "ifindex": interface.index,
        "ifname": interface.name,
        "flags": interface.flags.split(","),
        "mtu": interface.mtu,
        "operstate": interface.state,
        **({"master": interface.master} if interface.master else {}),
        "link_type": "loopback" if interface.name == "lo" else "ether",
        "address": interface.mac,
        "addr_info": [
            {
                "family": "inet6" if ":" in address else "inet",
                "local": address.partition("/")[0],
                "prefixlen": int(address.partition("/")[2]),
                "scope": _scope(address),
            }
            for address in _of(interface, family)
        ],
    }


def _routes(interfaces: list[Interface], family: int, as_json: bool) -> int:
    routes: list[dict[str, Any]] = []
    for interface in interfaces:
        routes += [
            {"dst": "default", "gateway": gateway, "dev": interface.name, "flags": ["onlink"]}
            for gateway in interface.gateways
            if (":" in gateway) == (family == 6)
        ]
    for interface in interfaces:
        for address in _of(interface, family):
            ip = ipaddress.ip_interface(address)
            if not ip.is_loopback:
                routes.append(
                    {
                        "dst": str(ip.network),
                        "dev": interface.name,
                        "protocol": "kernel",
                        "scope": "link",
                        "prefsrc": str(ip.ip),
                        "flags": [],
                    }
                )
    if as_json:
        print(json.dumps(routes, separators=(",", ":")))
        return 0
    for route in routes:
        print(
            f"default via {route['gateway']} dev {route['dev']} onlink "
            if "gateway" in route
            else f"{route['dst']} dev {route['dev']} proto kernel scope link src {route['prefsrc']} "
        )
    return 0


def of_guest(entries: list[dict[str, Any]]) -> list[Interface]:
    """The interfaces of a guest, from its guest.json."""
    found = [LOOPBACK]
    for number, entry in enumerate(entries):
        mac = str(entry["hwaddr"]).lower()
        given = [entry[key] for key in ("ip", "ip6") if "/" in entry.get(key, "")]
        found.append(
            Interface(
                str(entry["name"]),
                2 + 2 * number,
                mac,
                int(entry.get("mtu", 1500)),
                int(entry["index"]),
                up=entry.get("link_down") != "1",
                addresses=(*given, link_local(mac)),
                gateways=tuple(entry[key] for key in ("gw", "gw6") if key in entry),
            )
        )
    return found
