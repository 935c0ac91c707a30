"""The sections of hosts.yml beside the containers: node, network, storage, and those whose domain is still to come."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from fleet.inventory.fields import (
    AbsolutePath,
    Bool,
    Calendar,
    DatasetName,
    Device,
    DnsName,
    Duration,
    FilePath,
    GuestName,
    Interface,
    IpList,
    Mode,
    Owner,
    Percent,
    Pool,
    Port,
    Prefix,
    Reads,
    Secret,
    Size,
    StorageId,
    Text,
    WireguardPublicKey,
    Zone,
    absolute,
    text,
    whole,
    words,
)
from fleet.inventory.guest import Rule
from fleet.inventory.model import Props, Section
from fleet.inventory.net_fields import HostCidr, Ipv4, ProtoPort, Subnet
from fleet.tools.sizes import parse_size, print_size


def _address(value: object) -> str:
    found = text(value)
    if "@" in found:
        user, _, host = found.partition("@")
        raise ValueError(f"{found!r} holds a user; write address: {host} and user: {user}")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?", found):
        raise ValueError(
            f"{found!r} is no address; write lab, local, a host name, an IP address or an alias of ~/.ssh/config"
        )
    return found


Address = Annotated[str, Reads(_address, {"type": "string"})]


# ── node and network ──────────────────────────────────────────────────────────────────────────────


class NodeSection(Section):
    """The Proxmox VE node, and how to reach it."""

    name: DnsName = Field(description="Its name in Proxmox, as `hostname` says there.")
    address: Address = Field(
        description="`lab` for the simulated node, `local` on the node itself, or what you would give to ssh: a host"
        " name, an IP address, an alias of ~/.ssh/config."
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


class NodeGpu(Section):
    """The GPU of the node."""

    vendor: Literal["auto", "intel", "amd", "nvidia"] = Field(
        "auto", description="Whose it is, or `auto`: found out on the node."
    )
    devices: tuple[Device, ...] = Field(
        (), description="Its device nodes: `[/dev/dri/card0, /dev/dri/renderD128]`."
    )


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


# ── storage ───────────────────────────────────────────────────────────────────────────────────────


ZfsPath = Annotated[str, Reads(lambda value: _zfs_path(value), {"type": "string"})]
Mountpoint = Annotated[str, Reads(lambda value: _mountpoint(value), {"type": "string"})]
RecordSize = Annotated[
    str, Reads(lambda value: _record_size(value), {"type": "string", "pattern": "^[0-9]+[KkMm]?$"})
]
_OnOff = Annotated[Literal["on", "off"], WithJsonSchema({"enum": ["on", "off", True, False]})]
_Cache = Literal["all", "metadata", "none"]


class DatasetSection(Section):
    """A ZFS dataset, in ZFS's own property names. It is made where it is missing, and never destroyed."""

    mountpoint: Mountpoint | None = Field(
        None, description="Where the node mounts it."
    )
    quota: Size | None = Field(None, description="Most that it and all below it may hold: `10T`.")
    owner: Owner | None = Field(
        None,
        description="UID:GID of its directory as the node counts; `100000:100000` is root of unprivileged guests.",
    )
    mode: Mode | None = Field(None, description="Mode of its directory: `2775`.")
    compression: (
        Annotated[str, Reads(lambda value: _compression(value), {"type": ["string", "boolean"]})] | None
    ) = Field(None, description="`lz4`, `zstd`, `zstd-3`, `off` ...")
    recordsize: RecordSize | None = Field(None, description="Largest block: `128K` or `1M`; a power of 2.")
    atime: _OnOff | None = Field(None, description="Whether reading a file writes its access time.")
    relatime: _OnOff | None = Field(None, description="Access times now and then only.")
    acltype: Literal["off", "nfsv4", "posix", "posixacl"] | None = Field(None, description="Kind of ACLs.")
    xattr: Literal["on", "off", "sa", "dir"] | None = Field(
        None, description="How extended attributes are kept."
    )
    dnodesize: Literal["legacy", "auto", "1k", "2k", "4k", "8k", "16k"] | None = Field(
        None, description="Size of dnodes."
    )
    sync: Literal["standard", "always", "disabled"] | None = Field(None, description="When writes are safe.")
    logbias: Literal["latency", "throughput"] | None = Field(
        None, description="What synchronous writes are tuned for."
    )
    primarycache: _Cache | None = Field(None, description="What the ARC keeps.")
    secondarycache: _Cache | None = Field(None, description="What the L2ARC keeps.")
    snapdir: Literal["hidden", "visible"] | None = Field(None, description="Whether .zfs shows.")
    exec: _OnOff | None = Field(None, description="Whether programs in it may run.")
    setuid: _OnOff | None = Field(None, description="Whether setuid bits count.")
    devices: _OnOff | None = Field(None, description="Whether device nodes in it work.")


#: Keys of a dataset that are no properties of ZFS, or that have a place of their own in the plan.
NO_PROPERTIES = frozenset({"mountpoint", "quota", "owner", "mode"})


def _record_size(value: object) -> str:
    found = text(value)
    try:
        count = parse_size(found)
    except ValueError:
        count = 0
    if count.bit_count() != 1 or not 512 <= count <= 16 * 1024**2:
        raise ValueError(f"{found!r} is no record size; write a power of 2 from 512 to 16M, like 128K or 1M")
    return print_size(count)


def _compression(value: object) -> str:
    found = text(value)
    if not re.fullmatch(
        r"on|off|lz4|lzjb|zle|gzip(?:-[1-9])?|zstd(?:-(?:[1-9]|1[0-9]))?|zstd-fast(?:-[1-9][0-9]*)?", found
    ):
        raise ValueError(f"{found!r} is no compression of ZFS; write lz4, zstd, zstd-3, gzip or off")
    return found


_CONTENT = Literal["images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import"]


def _mountpoint(value: object) -> str:
    return "none" if value is None else text(value) if value in ("none", "legacy") else absolute(value)


def _zfs_path(value: object) -> str:
    found = text(value)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:-]*)*", found):
        raise ValueError(f"{found!r} is neither a pool nor a dataset; write it like tank or tank/guests")
    return found


class StorageEntry(Section):
    """A storage of Proxmox, as in storage.cfg. It is added where it is missing."""

    type: Literal["zfspool", "dir"] | None = Field(
        None, description="Its type. Required unless it is `given`."
    )
    pool: ZfsPath | None = Field(
        None, description="zfspool: the pool or dataset that holds the volumes: `tank/guests`."
    )
    path: AbsolutePath | None = Field(None, description="dir: its folder.")
    content: Annotated[tuple[_CONTENT, ...], words(r"\s,;")] | None = Field(
        None, description="What it may hold: `[rootdir, images]`."
    )
    sparse: Bool | None = Field(None, description="zfspool: volumes take only the space that they use.")
    mountpoint: AbsolutePath | None = Field(
        None, description="zfspool: where the volumes are mounted (default: /POOL)."
    )
    blocksize: Annotated[str, Reads(lambda value: _blocksize(value), {"type": "string"})] | None = Field(
        None, description="zfspool: block size of volumes of VMs: `16k`."
    )
    is_mountpoint: Bool | None = Field(
        None, description="dir: refuse to work unless something is mounted there."
    )
    shared: Bool | None = Field(None, description="dir: the same on all nodes.")
    given: Bool = Field(False, description="It is there already, and left as it is.")


def _blocksize(value: object) -> str:
    found = text(value)
    if not re.fullmatch(r"[0-9]+[kKmM]?", found):
        raise ValueError(f"{found!r} is no block size; write it like 16k")
    return found


class TemplateSection(Section):
    """A container template; the newest file that begins with `prefix` is downloaded where none is there."""

    storage: StorageId = Field(description="Storage that holds it (content vztmpl).")
    prefix: Prefix = Field(
        description="Beginning of its file name: `debian-13-standard`. Versions come and go."
    )


class StorageSection(Section):
    """The node's storage."""

    pools: Annotated[tuple[Pool, ...], words(r"\s,;")] = Field(
        (), description="ZFS pools, which have to be there."
    )
    datasets: dict[DatasetName, DatasetSection] = Field({}, description="Datasets by name: `tank/data`.")
    storages: dict[StorageId, StorageEntry] = Field({}, description="Storages of Proxmox by id.")
    templates: dict[Text, TemplateSection] = Field(
        {}, description="Container templates, under names of your own."
    )


# ── declared, not managed yet ─────────────────────────────────────────────────────────────────────


class FirewallSection(Section):
    """Proxmox's firewall, for the whole node; what a guest lets in stands in the guest."""

    enable: Bool = Field(True, description="Whether it is on.")
    policy_in: Literal["ACCEPT", "DROP", "REJECT"] = Field(
        "DROP", description="What becomes of incoming packets without a rule."
    )
    policy_out: Literal["ACCEPT", "DROP", "REJECT"] = Field(
        "ACCEPT", description="What becomes of outgoing ones."
    )
    aliases: dict[Text, Subnet] = Field({}, description="Names of networks, for `source`.")
    accept_in: tuple[Rule, ...] = Field(
        (), description="Ports open on every guest, such as SSH from the LAN."
    )
    ping: Bool = Field(True, description="Whether guests answer ping.")


class Peer(Section):
    """A device that may connect to the WireGuard server."""

    address: Ipv4 = Field(description="Its address inside the tunnel.")
    public_key: WireguardPublicKey = Field(alias="public-key", description="Its public key.")


class WireguardServer(Section):
    """The way in, for your own devices."""

    port: ProtoPort = Field("udp/51820", description="Port it listens on.")
    private_key: Secret = Field(alias="private-key", description="Its private key: a reference.")
    peers: dict[Text, Peer] = Field({}, description="Your devices by name.")


class WireguardClient(Section):
    """The way out, through a VPN provider."""

    config: Secret = Field(
        description="The provider's configuration file: a reference, since its private key is in it."
    )
    kill_switch: Bool = Field(
        True, alias="kill-switch", description="Nothing leaves by any other way while the tunnel is down."
    )


class PortForward(Section):
    """A port of the gateway that leads to a guest behind it."""

    port: ProtoPort = Field(description="Port on the gateway.")
    to: GuestName = Field(description="The guest.")
    to_port: Port | None = Field(None, alias="to-port", description="Its port, where it is another.")


class WireguardSection(Section):
    """The VPN gateway and the network behind it."""

    gateway: GuestName = Field(description="The guest that is the gateway.")
    network: Interface = Field(description="The bridge whose guests have no other way out.")
    client: WireguardClient | None = Field(None, description="The way out.")
    server: WireguardServer | None = Field(None, description="The way in.")
    forwards: tuple[PortForward, ...] = Field(
        (), description="Ports of the gateway that lead to guests behind it."
    )


class Prune(Props):
    """How many backups are kept: `keep-daily=7`."""

    keep_last: Annotated[int, whole(0)] | None = Field(None, alias="keep-last", description="The newest.")
    keep_hourly: Annotated[int, whole(0)] | None = Field(
        None, alias="keep-hourly", description="One an hour."
    )
    keep_daily: Annotated[int, whole(0)] | None = Field(None, alias="keep-daily", description="One a day.")
    keep_weekly: Annotated[int, whole(0)] | None = Field(None, alias="keep-weekly", description="One a week.")
    keep_monthly: Annotated[int, whole(0)] | None = Field(
        None, alias="keep-monthly", description="One a month."
    )
    keep_yearly: Annotated[int, whole(0)] | None = Field(None, alias="keep-yearly", description="One a year.")


class SnapshotSection(Section):
    """Snapshots of every guest."""

    schedule: Calendar = Field(description="When: `02:00`.")
    prune_backups: Prune = Field(alias="prune-backups", description="How many are kept: `keep-daily=7`.")


class ArchiveSection(Section):
    """vzdump archives of the guests that say `backup: {archives: true}`."""

    schedule: Calendar = Field(description="When: `03:00`.")
    storage: StorageId = Field(description="Where to (content backup).")
    mode: Literal["snapshot", "suspend", "stop"] = Field(
        "snapshot", description="How the guest is held still."
    )
    compress: Literal["0", "1", "gzip", "lzo", "zstd"] = Field("zstd", description="Compression.")
    prune_backups: Prune = Field(alias="prune-backups", description="How many are kept: `keep-daily=7`.")


class BackupSection(Section):
    """Backups."""

    snapshots: SnapshotSection | None = Field(None, description="Snapshots of every guest.")
    archives: ArchiveSection | None = Field(None, description="Archives of those guests that ask for them.")


class Topics(Section):
    """The topic of each severity."""

    critical: Text = Field(description="A guest failed, trouble with storage.")
    warning: Text = Field(description="A threshold is passed, a service is degraded.")
    info: Text = Field(description="Deployments, updates available.")
    success: Text = Field(description="A backup is finished, something recovered.")


class NotificationSection(Section):
    """Who hears of what."""

    url: Secret = Field(
        description="Where notices go (ntfy and others): a reference, since tokens are in it."
    )
    topics: Topics = Field(description="The topic of each severity.")


class Retention(Section):
    """A guest that keeps data for a time."""

    container: GuestName = Field(description="The guest.")
    retention: Duration = Field(description="How long it keeps them: `744h`, `30d`.")


class Exporter(Section):
    """A program that serves figures to Prometheus."""

    port: ProtoPort = Field(description="Port it listens on.")
    container: GuestName | None = Field(None, description="The guest it runs in (default: every one).")


class MonitoringSection(Section):
    """What is watched, and from when it is too much."""

    threshold: Percent = Field(90, description="Percent of memory or disk that raise a warning.")
    logs: Retention | None = Field(None, description="Where logs go (Loki).")
    metrics: Retention | None = Field(None, description="Where figures go (Prometheus).")
    exporters: dict[Text, Exporter] = Field({}, description="Exporters by name.")


class UpgradeSection(Section):
    """Upgrades of the systems inside the guests."""

    guests: Literal["running", "all"] = Field("running", description="Which guests.")
    snapshot: Bool = Field(True, description="Whether a snapshot is taken before.")


class HealSection(Section):
    """What is restarted when it fails."""

    containers: Bool = Field(True, description="Guests that should be running and are not.")
    services: Bool = Field(True, description="Services inside them.")
