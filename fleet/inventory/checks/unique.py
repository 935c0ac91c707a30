"""VMIDs, host names, MAC and IP addresses: each belongs to one guest only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from fleet.inventory.checks.scene import Guest, Scene
from fleet.inventory.document import Path, line_of

_AGAIN = {"vmid": "VMID", "hostname": "hostname", "mac": "MAC address", "ip": "address"}


@dataclass(frozen=True, slots=True)
class _Claim:
    """Something that only one may have, and who wants it."""

    kind: str
    value: str  # as it is compared
    shown: str
    who: str
    guest: Guest | None
    place: Path  # of a guest: keys of its layers

    def path(self, scene: Scene) -> Path:
        """Where it is said."""
        if self.guest is None:
            return self.place
        if self.kind in ("vmid", "hostname"):
            said = self.place if self.place[0] in self.guest.values or self.kind == "vmid" else ()
            return ("containers", self.guest.name, *said)
        return scene.where(self.guest, *(str(part) for part in self.place))


def check(scene: Scene) -> None:
    """An error for everything that two want."""
    owners: dict[tuple[str, str], _Claim] = {}
    for claim in (*_of_the_node(scene), *(claim for guest in scene.guests for claim in _of(guest))):
        owner = owners.setdefault((claim.kind, claim.value), claim)
        if owner is not claim:
            line = line_of(scene.top, owner.path(scene))
            scene.error(
                claim.path(scene),
                f"{claim.shown} is {owner.who}'s already (line {line});"
                f" give one of them another {_AGAIN[claim.kind]}",
            )


def _of(guest: Guest) -> Iterator[_Claim]:
    name, vmid = guest.name, guest.merged.vmid
    yield _Claim("vmid", str(vmid), f"the VMID {vmid}", name, guest, ("vmid",))
    hostname = guest.values.get("hostname", name)
    yield _Claim("hostname", hostname.lower(), f"the host name {hostname}", name, guest, ("hostname",))
    for key, net in guest.nets:
        if "hwaddr" in net:
            mac = net["hwaddr"]
            yield _Claim("mac", mac, f"the MAC address {mac}", name, guest, (key, "hwaddr"))
        for part in ("ip", "ip6"):
            if "/" in (config := net.get(part, "")):
                ip = config.split("/")[0] if part == "ip" else str(ip_address(config.split("/")[0]))
                lan = (
                    f"{ip}@{net['tag']}" if "tag" in net else ip
                )  # the same address may be used in two VLANs
                yield _Claim("ip", lan, f"the address {ip}", name, guest, (key, part))


def _of_the_node(scene: Scene) -> Iterator[_Claim]:
    for name, bridge in scene.bridges.items():
        path: Path = ("network", "bridges", name)
        if bridge.address:
            yield _Claim(
                "ip", bridge.address, f"the address {bridge.address}", "the node", None, (*path, "address")
            )
        if bridge.gateway and bridge.ports:  # without ports the gateway is one of the guests
            yield _Claim(
                "ip", bridge.gateway, f"the address {bridge.gateway}", "the gateway", None, (*path, "gateway")
            )
    server = scene.hosts.wireguard.server if scene.hosts.wireguard else None
    for name, peer in server.peers.items() if server else ():
        path = ("wireguard", "server", "peers", name, "address")
        yield _Claim(
            "ip", peer.address, f"the address {peer.address}", f"the WireGuard peer {name}", None, path
        )
