"""Proxmox's property strings as types: netN, rootfs, mpN, devN, features, startup (pve-facts 1.4, 1.5, 8).

Every property is optional, since a layer may give only a part; what is missing after merging is said then.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from fleet.inventory.shape.fields import (
    AbsolutePath,
    Bool,
    DeviceMode,
    IdMap,
    Interface,
    MountPath,
    Reads,
    Size,
    StorageId,
    Uid,
    decimal,
    text,
    whole,
)
from fleet.inventory.shape.host_fields import Device
from fleet.inventory.shape.model import Props
from fleet.inventory.shape.net_fields import Ipv4, Ipv4Config, Ipv6, Ipv6Config, Mac
from fleet.tools.sizes import parse_size

_OPTIONS = ("discard", "lazytime", "noatime", "nodev", "noexec", "nosuid")


def _list_of(value: object) -> list[str]:
    """The parts of a;b, or of a list."""
    parts = [text(each) for each in value] if isinstance(value, list | tuple) else text(value).split(";")
    return [part for part in parts if part]


def _mount_options(value: object) -> str:
    parts = _list_of(value)
    for part in parts:
        if part not in _OPTIONS:
            raise ValueError(f"{part!r} is no mount option; Proxmox knows {', '.join(_OPTIONS)}")
    return ";".join(sorted(set(parts)))


def _file_systems(value: object) -> str:
    parts = _list_of(value)
    for part in parts:
        if not re.fullmatch(r"[a-zA-Z0-9_.]+", part):
            raise ValueError(f"{part!r} is no file system type; write them like nfs;cifs")
    return ";".join(sorted(set(parts)))


def _trunks(value: object) -> str:
    parts = _list_of(value)
    for part in parts:
        if not re.fullmatch(r"[1-9][0-9]{0,3}", part) or int(part) > 4094:
            raise ValueError(f"{part!r} is no VLAN; write numbers from 1 to 4094 like 10;20")
    return ";".join(sorted(set(parts), key=int))


_TEXT_OR_LIST = {"type": ["string", "array", "integer"], "items": {"type": ["string", "integer"]}}
MountOptions = Annotated[str, Reads(_mount_options, _TEXT_OR_LIST)]
FileSystems = Annotated[str, Reads(_file_systems, _TEXT_OR_LIST)]
Trunks = Annotated[str, Reads(_trunks, _TEXT_OR_LIST)]


class Net(Props):
    """A network interface."""

    name: Interface | None = Field(None, description="Name inside the guest: `eth0`. Required.")
    bridge: Interface | None = Field(None, description="Bridge of the node, one of network.bridges.")
    ip: Ipv4Config | None = Field(None, description="IPv4 address with prefix length, `dhcp` or `manual`.")
    gw: Ipv4 | None = Field(None, description="IPv4 gateway.")
    ip6: Ipv6Config | None = Field(
        None, description="IPv6 address with prefix length, `auto`, `dhcp` or `manual`."
    )
    gw6: Ipv6 | None = Field(None, description="IPv6 gateway.")
    hwaddr: Mac | None = Field(
        None, description="MAC address. Proxmox makes one up and keeps it if this is not given."
    )
    firewall: Bool | None = Field(None, description="Whether Proxmox's firewall filters this interface.")
    mtu: Annotated[int, whole(64, 65535)] | None = Field(None, description="MTU; no more than the bridge's.")
    tag: Annotated[int, whole(1, 4094)] | None = Field(None, description="VLAN.")
    trunks: Trunks | None = Field(None, description="VLANs passed through: `10;20`, or a list.")
    rate: Annotated[str, decimal(0)] | None = Field(None, description="Limit in MB/s.")
    link_down: Bool | None = Field(None, description="Whether the link is down.")
    host_managed: Bool | None = Field(
        None, alias="host-managed", description="Whether the host configures it (Proxmox VE 9.1)."
    )
    type: Literal["veth"] | None = Field(None, description="As `pct config` prints it; there is only `veth`.")

    @classmethod
    def lists(cls) -> frozenset[str]:
        """Properties that may be written as a list."""
        return frozenset({"trunks"})


class Volume(Props):
    """What rootfs and mpN have in common."""

    default_key: ClassVar[str] = "volume"

    storage: StorageId | None = Field(None, description="Storage of the volume, one of storage.storages.")
    size: Size | None = Field(None, description="Size of the volume: `8G`. It can grow later, never shrink.")
    ro: Bool | None = Field(None, description="Read-only.")
    acl: Bool | None = Field(None, description="Whether ACLs are on.")
    quota: Bool | None = Field(None, description="User quotas; only in privileged guests, not on ZFS.")
    replicate: Bool | None = Field(None, description="Part of storage replication (default yes).")
    shared: Bool | None = Field(None, description="Says that the volume is there on all nodes.")
    mountoptions: MountOptions | None = Field(
        None, description="Any of discard, lazytime, noatime, nodev, noexec, nosuid."
    )
    idmap: IdMap | None = Field(
        None, description="`passthrough`, or a map like `u:0:0:1000` (Proxmox VE 9.2)."
    )

    @classmethod
    def lists(cls) -> frozenset[str]:
        """Properties that may be written as a list."""
        return frozenset({"mountoptions"})

    @classmethod
    def prepare(cls, value: dict[str, Any]) -> dict[str, Any]:
        """`volume` taken apart: STORAGE:GIB, STORAGE:NAME, or a path of the host."""
        volume = value.get("volume")
        if not isinstance(volume, str):
            return value
        parts = {key: each for key, each in value.items() if key != "volume"}
        return {**parts, **_volume(volume, "size" in value, bind="source" in cls.model_fields)}


def _volume(volume: str, has_size: bool, *, bind: bool) -> dict[str, str]:
    if volume.startswith("/"):
        if bind:
            return {"source": volume}
        raise PydanticCustomError("fleet", "a rootfs is a volume of a storage: write it like guests:8", {})
    storage, colon, name = volume.partition(":")
    if not colon or not name:
        like = f"guests:8{f', or /{volume} for a path of the host' if bind else ''}"
        raise PydanticCustomError(
            "fleet",
            "{volume} is no volume; write STORAGE:GIB like {like}",
            {"volume": repr(volume), "like": like},
        )
    if re.fullmatch(r"[0-9.]+[KMGTkmgt](i?[Bb])?", name):
        gib = f"{parse_size(name) / 1024**3:.6f}".rstrip("0").rstrip(".")
        text = "{volume}: a new volume is counted in GiB, without a unit; write {right}"
        raise PydanticCustomError("fleet", text, {"volume": repr(volume), "right": f"{storage}:{gib}"})
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", name):
        return {"storage": storage}  # the volume's name is Proxmox's business; the size stands in size=
    if has_size:
        raise PydanticCustomError(
            "fleet", "the size is given twice, as {volume} and as size=; keep one", {"volume": repr(volume)}
        )
    mib = parse_size(f"{name}G") // 1024**2
    return {"storage": storage, "size": f"{mib}M"}


class Rootfs(Volume):
    """The volume of a guest's root file system: `guests:8`, or `{storage: guests, size: 8G}`."""


class MountPoint(Volume):
    """A mount point: a volume, or a path of the host bound into the guest."""

    source: AbsolutePath | None = Field(
        None, description="Path of the host to bind; instead of storage and size."
    )
    mp: MountPath | None = Field(None, description="Path inside the guest. Required.")
    backup: Bool | None = Field(None, description="Whether vzdump takes the volume along (default no).")
    keepattrs: Bool | None = Field(
        None, description="Keep owner and mode of the mount point's directory (Proxmox VE 9.2)."
    )


class Dev(Props):
    """A device node of the host, passed through: `/dev/dri/renderD128,gid=993`."""

    default_key: ClassVar[str] = "path"

    path: Device | None = Field(None, description="The device node. Required.")
    mode: DeviceMode | None = Field(None, description="Its mode inside the guest: `0660`, the default.")
    uid: Uid | None = Field(None, description="Its owner, as the guest counts users (default 0).")
    gid: Uid | None = Field(
        None, description="Its group, as the guest counts groups (default 0): `getent group render` says."
    )
    deny_write: Bool | None = Field(None, alias="deny-write", description="Whether writing is forbidden.")


class Features(Props):
    """What a container may do beyond the usual: `nesting=1,keyctl=1`, or `{nesting: true}`."""

    nesting: Bool | None = Field(
        None, description="Containers inside, and systemd 257 (Debian 13) without trouble."
    )
    keyctl: Bool | None = Field(
        None, description="The keyctl() call, which Docker in an unprivileged guest may need."
    )
    fuse: Bool | None = Field(None, description="FUSE file systems.")
    mknod: Bool | None = Field(None, description="Making device nodes in an unprivileged guest.")
    force_rw_sys: Bool | None = Field(None, description="/sys writable in an unprivileged guest.")
    mount: FileSystems | None = Field(
        None, description="File systems that may be mounted: `nfs;cifs`, or a list."
    )

    @classmethod
    def lists(cls) -> frozenset[str]:
        """Properties that may be written as a list."""
        return frozenset({"mount"})


class Startup(Props):
    """Place in the start-up order: `order=3,up=10,down=30`."""

    default_key: ClassVar[str] = "order"

    order: Annotated[int, whole(0)] | None = Field(
        None, description="Smaller starts sooner, and stops later; without it: last."
    )
    up: Annotated[int, whole(0)] | None = Field(
        None, description="Seconds to wait after it until the next starts."
    )
    down: Annotated[int, whole(0)] | None = Field(None, description="Seconds it gets to shut down.")


def _slot(value: object) -> str:
    found = text(value)
    if not re.fullmatch(r"mp(?:0|[1-9][0-9]{0,2})", found) or int(found[2:]) > 255:
        raise ValueError(f"{found!r} is no mount point; write mp0 to mp255")
    return found


Slot = Annotated[str, Reads(_slot, {"type": "string", "pattern": "^mp(0|[1-9][0-9]{0,2})$"})]


class SharedMount(MountPoint):
    """A mount declared once: a directory of the host (`source`), or a kind of volume (`storage`, `size`)."""

    slot: Slot | None = Field(
        None, description="The key of Proxmox that it takes in a guest: `mp0` to `mp255`. Required."
    )
