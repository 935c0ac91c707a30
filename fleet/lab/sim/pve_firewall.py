"""`pve-firewall`: status, compile and localnet of a node whose cluster firewall is off.

Of pve-firewall's Service/pve_firewall.pm.
"""

from __future__ import annotations

import ipaddress
import re
import sys

from . import costs, machine, paths

_USAGE = """USAGE: pve-firewall <COMMAND> [ARGS] [OPTIONS]

       pve-firewall compile
       pve-firewall localnet
       pve-firewall restart
       pve-firewall simulate  [OPTIONS]
       pve-firewall start  [OPTIONS]
       pve-firewall status
       pve-firewall stop

       pve-firewall help [<extra-args>] [OPTIONS]
"""
_COMPILED = (
    "ipset cmdlist:\n\niptables cmdlist:\n\nip6tables cmdlist:\n\nebtables cmdlist:\n\niptables table raw "
    "cmdlist:\n\n"
    "ip6tables table raw cmdlist:\nno changes\nfirewall disabled\n"
)


def enabled() -> bool:
    """Whether cluster.fw switches the firewall on."""
    try:
        with open(paths.real("/etc/pve/firewall/cluster.fw"), encoding="utf-8") as file:
            return re.search(r"^\s*enable:\s*[1-9]", file.read(), re.MULTILINE) is not None
    except FileNotFoundError:
        return False


def _localnet() -> str:
    """The local network as Proxmox finds it: that of the node's address."""
    address = str(machine.facts().get("address", "127.0.0.1"))
    text = f"local hostname: {machine.node()}\nlocal IP address: {address}\n"
    for entry in _addresses():
        if ipaddress.ip_interface(entry).ip == ipaddress.ip_address(address):
            network = ipaddress.ip_interface(entry).network
            text += f"network auto detect: {network}\nusing detected local_network: {network}\n"
    return text


def _addresses() -> list[str]:
    """The addresses of the node's interfaces, with their prefixes."""
    from .interfaces import read

    return [str(entry["cidr"]) for entry in read() if "/" in str(entry.get("cidr", ""))]


def main(argv: list[str]) -> int:
    """The command `pve-firewall`."""
    costs.spend("start-up")
    words = argv[1:]
    on = enabled()
    if words == ["status"]:
        print(f"Status: {'enabled/running' if on else 'disabled/stopped'}")
        return 0
    if words == ["compile"] and not on:
        sys.stdout.write(_COMPILED)
        return 0
    if words == ["localnet"]:
        sys.stdout.write(_localnet())
        return 0
    if words[:1] == ["help"]:
        sys.stdout.write(_USAGE)
        return 0
    if words[:1] in (["compile"], ["start"], ["stop"], ["restart"], ["simulate"]):
        print(f"rule sets are not simulated: pve-firewall {words[0]}", file=sys.stderr)
        return 255
    reason = f"unknown command 'pve-firewall {words[0]}'" if words else "no command specified"
    sys.stderr.write(f"ERROR: {reason}\n{_USAGE}")
    return 255
