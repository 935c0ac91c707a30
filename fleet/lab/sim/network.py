"""netN of a container: parsing with the defaults that Proxmox adds, MAC addresses.

The bridges of the node.
"""

from __future__ import annotations

import os
import re

from . import errors, paths, props, schema
from .conf import Config
from .errors import Die
from .props import FormatError


def _mac_prefix() -> str:
    """datacenter.cfg `mac_prefix`, default BC:24:11."""
    try:
        with open(paths.real(f"{paths.PVE}/datacenter.cfg"), encoding="utf-8") as file:
            found = re.search(r"^mac_prefix:\s*(\S+)", file.read(), re.MULTILINE)
    except FileNotFoundError:
        found = None
    return found[1].upper() if found else "BC:24:11"


def random_mac() -> str:
    """A new address, upper case."""
    import secrets

    have = _mac_prefix().split(":")
    return ":".join(have + [f"{secrets.randbelow(256):02X}" for _ in range(6 - len(have))])


def _schema() -> props.Schema:
    found = schema.property_schema("net0")
    assert found is not None
    return found


def parse(value: str) -> dict[str, str]:
    """The properties of a netN value; without an address there is a new one."""
    try:
        found = props.parse(_schema(), value)
    except FormatError as error:
        raise Die(error.text) from None
    found.setdefault("type", "veth")
    if "hwaddr" not in found:
        found["hwaddr"] = random_mac()
    return found


def render(net: dict[str, str]) -> str:
    """The value as Proxmox writes it."""
    return props.render(_schema(), net)


def bridge_exists(bridge: str) -> bool:
    """Whether the node has the interface; a look-up that fails leaves ENOENT."""
    if os.path.isdir(paths.real(f"/sys/class/net/{bridge}")):
        return True
    errors.left(errors.ENOENT)
    return False


def check_bridge(key: str, net: dict[str, str]) -> None:
    """Refuse a bridge that does not exist, or an MTU above the bridge's."""
    bridge = net.get("bridge")
    if bridge is None:
        return
    if not bridge_exists(bridge):
        raise Die(f"bridge '{bridge}' does not exist")
    limit = _mtu(bridge)
    if limit is not None and int(net.get("mtu", "0")) > limit:
        raise Die(f"{key}: MTU size '{net['mtu']}' is bigger than bridge MTU '{limit}'")


def _mtu(bridge: str) -> int | None:
    try:
        with open(paths.real(f"/sys/class/net/{bridge}/mtu"), encoding="ascii") as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return None


def of(config: Config) -> dict[str, dict[str, str]]:
    """All netN of a configuration, parsed."""
    keys = sorted((key for key in config.keys if re.fullmatch(r"net\d+", key)), key=lambda key: int(key[3:]))
    return {key: parse(config.keys[key]) for key in keys}
