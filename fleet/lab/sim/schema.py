"""What `pct` knows of its options beyond the help text.

Formats, lengths, the order of enumerations, property strings.
"""

from __future__ import annotations

import re
from functools import cache

from . import formats, machine
from .props import Prop, Schema, checker

_BOOL = Prop("boolean")
_NAME = r"[-_.\w\d]+"

NET = Schema(
    {
        "name": Prop(pattern=_NAME, optional=False),
        "bridge": Prop(pattern=_NAME),
        "firewall": _BOOL,
        "gw": Prop(format=formats.ipv4),
        "gw6": Prop(format=formats.ipv6),
        "host-managed": _BOOL,
        "hwaddr": Prop(format=formats.mac_addr),
        "ip": Prop(format=formats.ipv4_config),
        "ip6": Prop(format=formats.ipv6_config),
        "link_down": _BOOL,
        "mtu": Prop("integer", minimum=64, maximum=65535),
        "rate": Prop("number"),
        "tag": Prop("integer", minimum=1, maximum=4094),
        "trunks": Prop(pattern=r"\d+(?:;\d+)*"),
        "type": Prop(enum=("veth",)),
    }
)

_MOUNT_OPTION = "(?:discard|lazytime|noatime|nodev|noexec|nosuid)"
_IDMAP = r"passthrough|(?:[ug]:\d+:\d+:\d+)(?:;[ug]:\d+:\d+:\d+)*"

ROOTFS = Schema(
    {
        "volume": Prop(format=formats.mount_path, optional=False),
        "acl": _BOOL,
        "idmap": Prop(pattern=_IDMAP),
        "mountoptions": Prop(pattern=f"{_MOUNT_OPTION}(?:;{_MOUNT_OPTION})*"),
        "quota": _BOOL,
        "replicate": _BOOL,
        "ro": _BOOL,
        "shared": _BOOL,
        "size": Prop(format=formats.disk_size),
    },
    default_key="volume",
)

MP = Schema(
    {
        "volume": Prop(format=formats.mount_path, optional=False),
        "mp": Prop(format=formats.mount_path, optional=False),
        "backup": _BOOL,
        "keepattrs": _BOOL,
        **{key: prop for key, prop in ROOTFS.props.items() if key != "volume"},
    },
    default_key="volume",
)

UNUSED = Schema({"volume": Prop(format=formats.volume_id, optional=False)}, default_key="volume")

FEATURES = Schema(
    {
        "force_rw_sys": _BOOL,
        "fuse": _BOOL,
        "keyctl": _BOOL,
        "mknod": _BOOL,
        "mount": Prop(pattern=r"[a-zA-Z0-9_; ]+"),
        "nesting": _BOOL,
    }
)

DEV = Schema(
    {
        "path": Prop(format=formats.device_path),
        "deny-write": _BOOL,
        "gid": Prop("integer", minimum=0),
        "mode": Prop(pattern="0[0-7]{3}"),
        "uid": Prop("integer", minimum=0),
    },
    default_key="path",
)

VOLUME_KEYS = ("rootfs", *(f"mp{index}" for index in range(256)))
UNUSED_KEYS = tuple(f"unused{index}" for index in range(256))
INDEXED = {"net": 32, "mp": 256, "dev": 256, "unused": 256}
LIST_OPTIONS = frozenset(("delete", "revert", "nameserver", "searchdomain", "tags"))

_PROPERTY_STRINGS = {
    "net": NET,
    "mp": MP,
    "dev": DEV,
    "unused": UNUSED,
    "rootfs": ROOTFS,
    "features": FEATURES,
}

_BASE = {
    "vmid": Prop("integer", format=formats.vmid),
    "newid": Prop("integer", format=formats.vmid),
    "target-vmid": Prop("integer", format=formats.vmid),
    "storage": Prop(format=formats.storage_id),
    "pool": Prop(format=formats.pool_id),
    "target": Prop(format=formats.node_name),
    "hostname": Prop(format=formats.dns_name, maxlen=255),
    "description": Prop(maxlen=8192),
    "snapname": Prop(format=formats.config_id, maxlen=40),
    "delete": Prop(format=formats.listed(formats.config_id)),
    "revert": Prop(format=formats.listed(formats.config_id)),
    "digest": Prop(maxlen=40),
    "target-digest": Prop(maxlen=40),
    "tags": Prop(format=formats.listed(formats.tag)),
    "nameserver": Prop(format=formats.listed(formats.ip_with_link_local)),
    "searchdomain": Prop(format=formats.listed(formats.dns_name)),
    "startup": Prop(format=formats.startup),
    "timezone": Prop(format=formats.timezone),
    "hookscript": Prop(format=formats.volume_id),
    "ostemplate": Prop(maxlen=255),
    "password": Prop(minlen=5),
    "size": Prop(pattern=r"\+?\d+(\.\d+)?[KMGT]?"),
    "escape": Prop(pattern=r"\^?[a-z]"),
    "entrypoint": Prop(pattern=r"[^\x00-\x08\x0a-\x1F\x7F]+"),
    "env": Prop(pattern=r"(?:\w+=[^\x00-\x08\x0a-\x1F\x7F]*)(?:\0\w+=[^\x00-\x08\x0a-\x1F\x7F]*)*"),
    "arch": Prop(enum=("amd64", "i386", "arm64", "armhf", "riscv32", "riscv64")),
    "cmode": Prop(enum=("shell", "console", "tty")),
    "ostype": Prop(
        enum=tuple(
            "debian devuan ubuntu centos fedora opensuse archlinux alpine gentoo nixos unmanaged".split()
        )
    ),
    "lock": Prop(
        enum=tuple(
            "backup create destroyed disk fstrim migrate mounted rollback snapshot snapshot-delete".split()
        )
    ),
}

CONFIG_KEYS = frozenset(
    (
        "arch cmode console cores cpulimit cpuunits debug description entrypoint env features hookscript "
        "hostname lock memory nameserver onboot ostype parent protection rootfs searchdomain snaptime "
        "startup swap tags template timezone tty unprivileged"
    ).split()
)


def index_of(key: str) -> tuple[str, int] | None:
    """("net", 0) for net0; None for a key without a number or with one that is too large."""
    match = re.fullmatch(r"(net|mp|dev|unused)(0|[1-9]\d{0,2})", key)
    if match is None or int(match[2]) >= INDEXED[match[1]]:
        return None
    return match[1], int(match[2])


def is_config_key(key: str) -> bool:
    """Whether a container's configuration may have this key."""
    return key in CONFIG_KEYS or index_of(key) is not None


_SINCE_9 = {"net": ("host-managed",), "mp": ("idmap", "keepattrs"), "rootfs": ("idmap",)}


def property_schema(key: str) -> Schema | None:
    """The schema of a key whose value is a property string, as this machine's version has it."""
    indexed = index_of(key)
    name = indexed[0] if indexed else key
    found = _PROPERTY_STRINGS.get(name)
    if found is not None and name in _SINCE_9 and machine.pve_major() < 9:
        kept = {prop: rules for prop, rules in found.props.items() if prop not in _SINCE_9[name]}
        return Schema(kept, found.default_key)
    return found


@cache
def known(key: str) -> Prop | None:
    """What is known of an option besides its help text."""
    schema = property_schema(key)
    if schema is not None:
        return Prop(format=checker(schema, key))
    return _BASE.get(key)
