"""What no single value can show: containers checked against each other, the node, its bridges and its storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

from fleet.domains.guests.spec import Container, Mount
from fleet.inventory.document import Map, Path, line_of
from fleet.inventory.fields import MIB
from fleet.inventory.figures import gib
from fleet.inventory.hosts_file import HostsFile
from fleet.inventory.merge import Merged, where
from fleet.inventory.net_fields import ipv4_interface, subnet
from fleet.inventory.problems import Findings, nearest
from fleet.inventory.values import Bridge
from fleet.tools.pct.keys import family


@dataclass(frozen=True, slots=True)
class Guest:
    """A container in all its forms."""

    merged: Merged
    container: Container | None  # None: something without which it cannot be is missing

    @property
    def name(self) -> str:
        """Its key in hosts.yml."""
        return self.merged.name

    @property
    def values(self) -> Mapping[str, Any]:
        """All that its layers say."""
        return self.merged.values

    @property
    def nets(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Its interfaces: netN and its properties."""
        return [(key, self.values[key]) for key in sorted(self.values) if family(key) == "net"]


def bridges(hosts: HostsFile) -> dict[str, Bridge]:
    """The node's bridges by name."""
    made = {}
    for name, each in hosts.network.bridges.items():
        interface = ipv4_interface(each.address) if each.address else None
        network = interface.network if interface else IPv4Network(each.subnet) if each.subnet else None
        made[name] = Bridge(
            name, network, str(interface.ip) if interface else None, each.gateway, each.ports, each.mtu
        )
    return made


def check(hosts: HostsFile, top: Map, guests: Iterable[Guest], findings: Findings) -> None:
    """Everything that is wrong between the parts of hosts.yml goes to the findings."""
    guests = sorted(guests, key=lambda guest: (guest.merged.vmid, guest.name))
    _bridges(hosts, findings)
    _storage(hosts, findings)
    _Unique(hosts, top, findings).check(guests)
    known = bridges(hosts)
    for guest in guests:
        _nets(guest, known, top, findings)
        _references(guest, hosts, top, findings)
    _dependencies(guests, hosts, top, findings)
    _memory(guests, hosts, findings)
    _room(guests, hosts, findings)
    _sections(guests, hosts, findings)


# ── what must be unique ───────────────────────────────────────────────────────────────────────────


class _Unique:
    def __init__(self, hosts: HostsFile, top: Map, findings: Findings) -> None:
        self._hosts = hosts
        self._top = top
        self._findings = findings

    def check(self, guests: list[Guest]) -> None:
        """VMIDs, host names, MAC and IP addresses, each of one guest only."""
        owners: dict[tuple[str, str], tuple[str, Path]] = dict(self._taken())
        for guest in guests:
            for kind, value, shown, path in self._claims(guest):
                owner = owners.setdefault((kind, value), (guest.name, path))
                if owner != (guest.name, path):
                    who, theirs = owner
                    line = self._line(theirs)
                    what = (
                        f"{shown} is {who}'s already (line {line})" if line else f"{shown} is {who}'s already"
                    )
                    self._findings.error(path, f"{what}; give one of them another {_NAMES[kind]}")

    def _claims(self, guest: Guest) -> Iterable[tuple[str, str, str, Path]]:
        own = ("containers", guest.name)
        yield "vmid", str(guest.merged.vmid), f"the VMID {guest.merged.vmid}", (*own, "vmid")
        hostname = guest.values.get("hostname", guest.name)
        yield (
            "hostname",
            hostname.lower(),
            f"the host name {hostname}",
            (*own, "hostname") if "hostname" in guest.values else own,
        )
        for key, net in guest.nets:
            if "hwaddr" in net:
                yield (
                    "mac",
                    net["hwaddr"],
                    f"the MAC address {net['hwaddr']}",
                    where(self._top, guest.merged, key, "hwaddr"),
                )
            for part in ("ip", "ip6"):
                if "/" in net.get(part, ""):
                    address = str(ip_address(net[part].split("/")[0]))
                    lan = f"{address}@{net['tag']}" if "tag" in net else address
                    yield "ip", lan, f"the address {address}", where(self._top, guest.merged, key, part)

    def _taken(self) -> Iterable[tuple[tuple[str, str], tuple[str, Path]]]:
        for name, bridge in self._hosts.network.bridges.items():
            if bridge.address:
                yield (
                    ("ip", bridge.address.split("/")[0]),
                    ("the node", ("network", "bridges", name, "address")),
                )
            if bridge.gateway and bridge.ports:  # without ports the gateway is one of the guests
                yield ("ip", bridge.gateway), ("the gateway", ("network", "bridges", name, "gateway"))
        server = self._hosts.wireguard.server if self._hosts.wireguard else None
        for name, peer in server.peers.items() if server else ():
            yield (
                ("ip", peer.address),
                (f"the WireGuard peer {name}", ("wireguard", "server", "peers", name, "address")),
            )

    def _line(self, path: Path) -> int:
        return line_of(self._top, path)


_NAMES = {"vmid": "VMID", "hostname": "hostname", "mac": "MAC address", "ip": "address"}


# ── network ───────────────────────────────────────────────────────────────────────────────────────


def _bridges(hosts: HostsFile, findings: Findings) -> None:
    for name, each in hosts.network.bridges.items():
        path = ("network", "bridges", name)
        network = (
            ipv4_interface(each.address).network
            if each.address
            else IPv4Network(each.subnet)
            if each.subnet
            else None
        )
        if each.address and each.subnet and str(network) != each.subnet:
            findings.error(
                (*path, "subnet"),
                f"{each.subnet} is not the network of address {each.address}; leave subnet out",
            )
        if each.gateway and network is not None and IPv4Address(each.gateway) not in network:
            findings.error((*path, "gateway"), f"{each.gateway} is outside of {network}")


def _nets(guest: Guest, known: Mapping[str, Bridge], top: Map, findings: Findings) -> None:
    names: dict[str, str] = {}
    gateways = [key for key, net in guest.nets if "gw" in net]
    if len(gateways) > 1:
        path = where(top, guest.merged, gateways[1], "gw")
        findings.warning(
            path, f"{guest.name} has a gateway on {' and '.join(gateways)}; only one of them is used"
        )
    for key, net in guest.nets:
        if (name := net.get("name")) is not None and names.setdefault(name, key) != key:
            findings.error(
                where(top, guest.merged, key, "name"), f"{name} is the name of {names[name]} already"
            )
        bridge = _bridge(guest, key, net, known, top, findings)
        _address(guest, key, net, bridge, top, findings)


def _bridge(
    guest: Guest, key: str, net: Mapping[str, Any], known: Mapping[str, Bridge], top: Map, findings: Findings
) -> Bridge | None:
    name = net.get("bridge")
    if name is None:
        if not findings.spoiled("containers", guest.name, key):
            findings.warning(where(top, guest.merged, key), f"{guest.name}'s {key} is on no bridge")
        return None
    bridge = known.get(name)
    if bridge is None and known and not findings.spoiled("network", "bridges"):
        findings.error(
            where(top, guest.merged, key, "bridge"),
            f"{name!r} is no bridge of network.bridges{nearest(name, known)}",
        )
    if bridge is not None and net.get("mtu", 0) > bridge.mtu:
        findings.error(
            where(top, guest.merged, key, "mtu"), f"{net['mtu']} is more than the {bridge.mtu} of {name}"
        )
    return bridge


def _address(
    guest: Guest, key: str, net: Mapping[str, Any], bridge: Bridge | None, top: Map, findings: Findings
) -> None:
    ip, gw = net.get("ip", ""), net.get("gw")
    if "/" not in ip:
        if gw is not None:
            path = where(top, guest.merged, key, "gw")
            said = f"ip={ip}" if ip else "no ip"
            findings.warning(
                path, f"{guest.name}'s {key} has {said}, so that its gateway {gw} is not used; write gw: null"
            )
        return
    interface = ipv4_interface(ip)
    if bridge is not None and bridge.network is not None and "tag" not in net:
        if interface.ip not in bridge.network:
            path = where(top, guest.merged, key, "ip")
            findings.error(path, f"{interface.ip} is outside of {bridge.name}'s subnet {bridge.network}")
            return
        if interface.network != bridge.network:
            right = f"{interface.ip}/{bridge.network.prefixlen}"
            findings.error(
                where(top, guest.merged, key, "ip"),
                f"{ip} has another prefix length than {bridge.name}'s subnet {bridge.network}; write {right}",
            )
            return
    if gw is not None:
        gateway = IPv4Address(gw)
        if gateway == interface.ip:
            path = where(top, guest.merged, key, "gw")
            findings.error(path, f"{gw} is {guest.name}'s own address; a gateway is another machine")
        elif gateway not in interface.network:
            findings.error(
                where(top, guest.merged, key, "gw"),
                f"the gateway {gw} is outside of {interface.network}, the network of {guest.name}'s {key}",
            )


# ── storage ───────────────────────────────────────────────────────────────────────────────────────


def _storage(hosts: HostsFile, findings: Findings) -> None:
    section = hosts.storage
    places: dict[str, str] = {}
    for name, dataset in section.datasets.items():
        path = ("storage", "datasets", name)
        pool = name.split("/")[0]
        if pool not in section.pools:
            findings.error(path, f"{pool!r} is no pool of storage.pools{nearest(pool, section.pools)}")
        if (
            dataset.mountpoint
            and dataset.mountpoint.startswith("/")
            and places.setdefault(dataset.mountpoint, name) != name
        ):
            findings.error(
                (*path, "mountpoint"),
                f"{dataset.mountpoint} is the mountpoint of {places[dataset.mountpoint]} already",
            )
        if (dataset.owner or dataset.mode) and dataset.mountpoint in ("none", "legacy"):
            key = "owner" if dataset.owner else "mode"
            findings.error(
                (*path, key), f"a dataset that is not mounted (mountpoint: {dataset.mountpoint}) has none"
            )
    for name, entry in section.storages.items():
        _storage_entry(name, entry, hosts, findings)
    for name, template in section.templates.items():
        _content(hosts, findings, ("storage", "templates", name, "storage"), template.storage, "vztmpl")


def _storage_entry(name: str, entry: Any, hosts: HostsFile, findings: Findings) -> None:
    path = ("storage", "storages", name)
    spoiled = findings.spoiled(*path)
    if entry.type is None:
        if not entry.given and not spoiled:
            findings.error(
                (*path, "type"),
                "is missing: write zfspool or dir, or given: true if the storage is there already",
            )
        return
    needs, others = {
        "zfspool": ("pool", ("path", "is_mountpoint", "shared")),
        "dir": ("path", ("pool", "sparse", "mountpoint", "blocksize")),
    }[entry.type]
    if getattr(entry, needs) is None and not entry.given and not spoiled:
        findings.error((*path, needs), f"is missing: a storage of type {entry.type} needs it")
    for key in others:
        if key in entry.model_fields_set:
            findings.error((*path, key), f"a storage of type {entry.type} has no {key}")
    allowed = {"zfspool": {"images", "rootdir"}}.get(entry.type)
    for content in entry.content or ():
        if allowed and content not in allowed:
            findings.error(
                (*path, "content"), f"a zfspool cannot hold {content}; it holds images and rootdir"
            )
    datasets = {*hosts.storage.pools, *hosts.storage.datasets}
    if entry.type == "zfspool" and entry.pool is not None and entry.pool not in datasets and not entry.given:
        if not findings.spoiled("storage", "datasets") and not findings.spoiled("storage", "pools"):
            findings.error(
                (*path, "pool"),
                f"{entry.pool!r} is neither a pool nor a dataset declared here{nearest(entry.pool, datasets)}",
            )


def _content(hosts: HostsFile, findings: Findings, path: Path, storage: str, content: str) -> None:
    """An error where a storage is not declared, or says that it cannot hold this."""
    known = hosts.storage.storages
    if storage not in known:
        if not findings.spoiled("storage", "storages", storage):
            findings.error(path, f"{storage!r} is no storage of storage.storages{nearest(storage, known)}")
    elif known[storage].content is not None and content not in (known[storage].content or ()):
        findings.error(
            path,
            f"the storage {storage} is not for {content}; its content is {', '.join(known[storage].content or ())}",
        )


def _references(guest: Guest, hosts: HostsFile, top: Map, findings: Findings) -> None:
    template, container = guest.values.get("template"), guest.container
    if template is not None and template not in hosts.storage.templates:
        path = where(top, guest.merged, "template")
        if ":" in template:
            _content(hosts, findings, path, template.split(":")[0], "vztmpl")
        elif not template.startswith("/") and not findings.spoiled("storage", "templates", template):
            findings.error(
                path,
                f"{template!r} is no template of storage.templates{nearest(template, hosts.storage.templates)}",
            )
    if (hook := guest.values.get("hookscript")) is not None:
        _content(hosts, findings, where(top, guest.merged, "hookscript"), hook.split(":")[0], "snippets")
    if "storage" in (rootfs := guest.values.get("rootfs", {})):
        _content(hosts, findings, where(top, guest.merged, "rootfs", "storage"), rootfs["storage"], "rootdir")
    if container is None:
        return
    sources = {dataset.mountpoint for dataset in hosts.storage.datasets.values()}
    for mount in container.mounts:
        path = _mount_path(mount, guest, hosts, top)
        if mount.storage is not None:
            _content(hosts, findings, path, mount.storage, "rootdir")
        elif mount.bind is not None and not mount.bind.startswith("/dev/") and mount.bind not in sources:
            if not any(
                source and mount.bind.startswith(f"{source}/") for source in sources
            ) and not findings.spoiled("storage"):
                findings.warning(
                    path,
                    f"{mount.bind} is the mountpoint of no dataset declared here; it has to be on the node already",
                )
    _quota(container, guest, hosts, top, findings)


def _quota(container: Container, guest: Guest, hosts: HostsFile, top: Map, findings: Findings) -> None:
    """Proxmox's user quotas need a privileged guest and a storage that knows them."""
    asked = ("quota", "1")
    volumes = [
        (_mount_path(mount, guest, hosts, top), mount.storage or "")
        for mount in container.mounts
        if asked in mount.options
    ]
    if asked in container.rootfs_options:
        volumes.append((where(top, guest.merged, "rootfs", "quota"), container.rootfs_storage))
    for path, storage in volumes:
        entry = hosts.storage.storages.get(storage)
        if container.unprivileged:
            findings.error(path, "quotas work in privileged guests only (unprivileged: 0)")
        elif not storage or (entry is not None and entry.type == "zfspool"):
            findings.error(
                path, "quotas work neither on ZFS nor on a bind mount; the volume's size is its limit"
            )


def _mount_path(mount: Mount, guest: Guest, hosts: HostsFile, top: Map) -> Path:
    """Where a mount of a guest is said: its own mpN, or the shared mount that it names."""
    if mount.slot in guest.values:
        return where(top, guest.merged, mount.slot)
    for name in guest.values.get("mounts", {}):
        shared = hosts.mounts.get(name)
        if shared is not None and (shared.slot, shared.mp) == (mount.slot, mount.mp):
            return ("mounts", name)
    return where(top, guest.merged, "mounts")


def _room(guests: list[Guest], hosts: HostsFile, findings: Findings) -> None:
    """A warning where the volumes of a storage could grow beyond the quota of its dataset."""
    for name, entry in hosts.storage.storages.items():
        dataset = hosts.storage.datasets.get(entry.pool or "")
        if dataset is None or not dataset.quota:
            continue
        containers = [guest.container for guest in guests if guest.container is not None]
        volumes = sum(each.rootfs_size for each in containers if each.rootfs_storage == name)
        volumes += sum(
            mount.size or 0 for each in containers for mount in each.mounts if mount.storage == name
        )
        if volumes > dataset.quota:
            path = ("storage", "datasets", entry.pool or "", "quota")
            findings.warning(
                path,
                f"the volumes of storage {name} may take {gib(volumes)}, more than these {gib(dataset.quota)}",
            )


# ── start-up order, memory ────────────────────────────────────────────────────────────────────────


def _dependencies(guests: list[Guest], hosts: HostsFile, top: Map, findings: Findings) -> None:
    by_name = {guest.name: guest for guest in guests}
    for guest in guests:
        needed = guest.values.get("depends_on", ())
        path = where(top, guest.merged, "depends_on") if needed else ()
        for name in needed:
            other = by_name.get(name)
            if name == guest.name:
                findings.error(path, f"{name} cannot depend on itself")
            elif other is None:
                if not findings.spoiled("containers", name):
                    findings.error(path, f"{name!r} is no container{nearest(name, by_name)}")
            else:
                _order(guest, other, top, findings)
    for circle in _circles(by_name):
        findings.error(
            where(top, by_name[circle[0]].merged, "depends_on"),
            f"they depend on each other: {' -> '.join((*circle, circle[0]))}",
        )


def _order(guest: Guest, needed: Guest, top: Map, findings: Findings) -> None:
    """What depends on another must not start with the node before it does."""
    path = where(top, guest.merged, "depends_on")
    if guest.values.get("started", True) and not needed.values.get("started", True):
        findings.warning(
            path, f"{guest.name} depends on {needed.name}, which is not to be running (started: 0)"
        )
    if not guest.values.get("onboot", False):
        return
    if not needed.values.get("onboot", False):
        findings.warning(
            path,
            f"{guest.name} starts with the node, {needed.name}, on which it depends, does not (onboot: 0)",
        )
    elif _place(guest) < _place(needed):
        mine, theirs = _said_order(guest), _said_order(needed)
        findings.error(
            where(top, guest.merged, "startup") if "startup" in guest.values else path,
            f"{guest.name} ({mine}) starts before {needed.name} ({theirs}), on which it depends;"
            f" give {needed.name} a smaller startup order",
        )


def _place(guest: Guest) -> tuple[float, int]:
    """Proxmox starts by order, then by VMID; guests without an order come last."""
    order = guest.values.get("startup", {}).get("order")
    return (float("inf") if order is None else order, guest.merged.vmid)


def _said_order(guest: Guest) -> str:
    order = guest.values.get("startup", {}).get("order")
    return (
        f"VMID {guest.merged.vmid}, no startup order"
        if order is None
        else f"startup order {order}, VMID {guest.merged.vmid}"
    )


def _circles(by_name: Mapping[str, Guest]) -> list[tuple[str, ...]]:
    """The circles of dependencies, each from its first name on."""
    found: set[tuple[str, ...]] = set()
    done: set[str] = set()
    for start in sorted(by_name):
        trail: dict[str, list[str]] = {}
        name: str | None = start
        while name is not None:
            if name not in trail:
                trail[name] = [
                    each
                    for each in by_name[name].values.get("depends_on", ())
                    if each in by_name and each != name
                ]
            if not trail[name]:
                done.add(name)
                del trail[name]
                name = next(reversed(trail), None)
                continue
            following = trail[name].pop(0)
            if following in trail:
                names = list(trail)
                circle = names[names.index(following) :]
                first = circle.index(min(circle))
                found.add((*circle[first:], *circle[:first]))
            elif following not in done:
                name = following
    return sorted(found)


def _memory(guests: list[Guest], hosts: HostsFile, findings: Findings) -> None:
    if not hosts.node.memory:
        return
    wanted = (
        sum(guest.values.get("memory", 512) for guest in guests if guest.values.get("started", True)) * MIB
    )
    if wanted > hosts.node.memory:
        findings.warning(
            ("node", "memory"),
            f"the guests that are to be running have {gib(wanted)} of memory, the node {gib(hosts.node.memory)}",
        )


# ── the other sections ────────────────────────────────────────────────────────────────────────────


def _sections(guests: list[Guest], hosts: HostsFile, findings: Findings) -> None:
    names = {guest.name for guest in guests}

    def guest(path: Path, name: str) -> None:
        if name not in names and not findings.spoiled("containers", name):
            findings.error(path, f"{name!r} is no container{nearest(name, names)}")

    if (wireguard := hosts.wireguard) is not None:
        guest(("wireguard", "gateway"), wireguard.gateway)
        if wireguard.network not in hosts.network.bridges and not findings.spoiled("network"):
            findings.error(
                ("wireguard", "network"),
                f"{wireguard.network!r} is no bridge of network.bridges{nearest(wireguard.network, hosts.network.bridges)}",
            )
        ports: dict[str, str] = {}
        for number, forward in enumerate(wireguard.forwards):
            guest(("wireguard", "forwards", number, "to"), forward.to)
            if ports.setdefault(forward.port, forward.to) != forward.to:
                findings.error(
                    ("wireguard", "forwards", number, "port"),
                    f"{forward.port} leads to {ports[forward.port]} already",
                )
    if (monitoring := hosts.monitoring) is not None:
        for key in ("logs", "metrics"):
            if (keeper := getattr(monitoring, key)) is not None:
                guest(("monitoring", key, "container"), keeper.container)
        for name, exporter in monitoring.exporters.items():
            if exporter.container is not None:
                guest(("monitoring", "exporters", name, "container"), exporter.container)
    if hosts.backup is not None and hosts.backup.archives is not None:
        _content(hosts, findings, ("backup", "archives", "storage"), hosts.backup.archives.storage, "backup")
    _sources(guests, hosts, findings)


def _sources(guests: list[Guest], hosts: HostsFile, findings: Findings) -> None:
    """Sources of firewall rules are aliases or networks."""
    aliases = hosts.firewall.aliases if hosts.firewall else {}
    rules: list[tuple[Path, str]] = []
    for number, rule in enumerate(hosts.firewall.accept_in if hosts.firewall else ()):
        rules += [(("firewall", "accept_in", number, "source"), source) for source in rule.source]
    for guest in guests:
        for rule in guest.values.get("firewall", {}).get("accept_in", ()):
            rules += [(("containers", guest.name, "firewall", "accept_in"), source) for source in rule.source]
    for path, source in rules:
        if source in aliases or findings.spoiled("firewall", "aliases"):
            continue
        try:
            subnet(source if "/" in source else f"{source}/32")
        except ValueError:
            findings.error(
                path,
                f"{source!r} is neither an alias of firewall.aliases nor a network{nearest(source, aliases)}",
            )
