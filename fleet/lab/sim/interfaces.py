"""/etc/network/interfaces as the API shows it (pve-common Network/Interfaces.pm): reading only."""

from __future__ import annotations

import os
import re
from typing import Any

from . import paths

_NAMES = {
    "bridge-ports": "bridge_ports",
    "bridge-stp": "bridge_stp",
    "bridge-fd": "bridge_fd",
    "bridge-vlan-aware": "bridge_vlan_aware",
    "bridge-vids": "bridge_vids",
    "address": "cidr",
    "gateway": "gateway",
    "mtu": "mtu",
}


def read() -> list[dict[str, Any]]:
    """The interfaces of the file but `lo`, sorted by name."""
    try:
        with open(paths.real("/etc/network/interfaces"), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    auto: set[str] = set()
    found: dict[str, dict[str, Any]] = {}
    current: dict[str, Any] | None = None
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "auto":
            auto.update(words[1:])
            current = None
        elif words[0] == "iface" and len(words) >= 4:
            current = found.setdefault(
                words[1], {"iface": words[1], "families": [], "priority": len(found) + 2}
            )
            current["families"].append(words[2])
            current["method6" if words[2] == "inet6" else "method"] = words[3]
        elif current is not None and words[0] in _NAMES:
            current[_NAMES[words[0]]] = " ".join(words[1:])
    found.pop("lo", None)
    return [_finish(entry, name in auto) for name, entry in sorted(found.items())]


def _finish(entry: dict[str, Any], auto: bool) -> dict[str, Any]:
    """What follows from the lines of an interface."""
    entry["type"] = "bridge" if "bridge_ports" in entry else "eth"
    if entry.get("bridge_ports") == "none":
        entry["bridge_ports"] = ""
    entry.setdefault("method", "manual")
    entry.setdefault("method6", "manual")
    if match := re.fullmatch(r"([^/]+)/(\d+)", entry.get("cidr", "")):
        entry |= {"address": match[1], "netmask": match[2]}
    if auto:
        entry["autostart"] = 1
    if os.path.isdir(paths.real(f"/sys/class/net/{entry['iface']}")):
        entry["active"] = 1
        if entry["type"] == "eth":
            entry["exists"] = 1
    return entry
