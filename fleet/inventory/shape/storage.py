"""The node's storage: pools, datasets, storages of Proxmox, templates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from fleet.inventory.shape.backup import DatasetBackup
from fleet.inventory.shape.fields import (
    AbsolutePath,
    Bool,
    Mode,
    Prefix,
    Reads,
    Size,
    StorageId,
    Text,
    absolute,
    matching,
    text,
    words,
)
from fleet.inventory.shape.host_fields import Owner
from fleet.inventory.shape.model import Section
from fleet.tools.sizes import parse_size, print_size


def _record_size(value: object) -> str:
    found = text(value)
    try:
        count = parse_size(found)
    except ValueError:
        count = 0
    if count.bit_count() != 1 or not 512 <= count <= 16 * 1024**2:
        raise ValueError(f"{found!r} is no record size; write a power of 2 from 512 to 16M, like 128K or 1M")
    return print_size(count)


def _mountpoint(value: object) -> str:
    return "none" if value is None else text(value) if value in ("none", "legacy") else absolute(value)


Pool = Annotated[str, matching(r"[A-Za-z][A-Za-z0-9_.:-]*", "is no name of a ZFS pool")]
DatasetName = Annotated[
    str,
    matching(
        r"[A-Za-z][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:-]*)+",
        "is no name of a ZFS dataset; write it like tank/data",
    ),
]
ZfsPath = Annotated[
    str,
    matching(
        r"[A-Za-z][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:-]*)*",
        "is neither a pool nor a dataset; write it like tank or tank/guests",
    ),
]
Compression = Annotated[
    str,
    matching(
        r"on|off|lz4|lzjb|zle|gzip(?:-[1-9])?|zstd(?:-(?:[1-9]|1[0-9]))?|zstd-fast(?:-[1-9][0-9]*)?",
        "is no compression of ZFS; write lz4, zstd, zstd-3, gzip or off",
    ),
    WithJsonSchema({"type": ["string", "boolean"]}),
]
BlockSize = Annotated[str, matching(r"[0-9]+[kKmM]?", "is no block size; write it like 16k")]
Mountpoint = Annotated[str, Reads(_mountpoint, {"type": "string"})]
RecordSize = Annotated[
    str, Reads(_record_size, {"type": ["string", "integer"], "pattern": "^[0-9]+[KkMm]?$"})
]
Content = Literal["images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import"]
_OnOff = Annotated[Literal["on", "off"], WithJsonSchema({"enum": ["on", "off", True, False]})]
_Cache = Literal["all", "metadata", "none"]


class DatasetSection(Section):
    """A ZFS dataset, in ZFS's own property names. It is made where it is missing, and never destroyed."""

    mountpoint: Mountpoint | None = Field(
        None, description="Where the node mounts it. Without one, as ZFS does: below what it is in."
    )
    quota: Size | None = Field(None, description="Most that it and all below it may hold: `10T`.")
    owner: Owner | None = Field(
        None,
        description="UID:GID of its directory as the node counts; 100000:100000: root of unprivileged ones.",
    )
    mode: Mode | None = Field(None, description="Mode of its directory: `2775`.")
    compression: Compression | None = Field(None, description="`lz4`, `zstd`, `zstd-3`, `off` ...")
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
    backup: DatasetBackup | None = Field(None, description="How it is backed up.")


#: Keys of a dataset that are no properties of ZFS, or that have a place of their own in the plan.
NO_PROPERTIES = frozenset({"mountpoint", "quota", "owner", "mode", "backup"})


class StorageEntry(Section):
    """A storage of Proxmox, as in storage.cfg. It is added where it is missing."""

    type: Literal["zfspool", "dir"] | None = Field(
        None, description="Its type. Required unless it is `given`."
    )
    pool: ZfsPath | None = Field(
        None, description="zfspool: the pool or dataset that holds the volumes: `tank/guests`."
    )
    path: AbsolutePath | None = Field(None, description="dir: its folder.")
    content: Annotated[tuple[Content, ...], words(r"\s,;")] | None = Field(
        None, description="What it may hold: `[rootdir, images]`."
    )
    sparse: Bool | None = Field(None, description="zfspool: volumes take only the space that they use.")
    mountpoint: AbsolutePath | None = Field(
        None, description="zfspool: where the volumes are mounted (default: /POOL)."
    )
    blocksize: BlockSize | None = Field(None, description="zfspool: block size of volumes of VMs: `16k`.")
    is_mountpoint: Bool | None = Field(
        None, description="dir: refuse to work unless something is mounted there."
    )
    shared: Bool | None = Field(None, description="dir: the same on all nodes.")
    given: Bool = Field(False, description="It is there already, and left as it is.")


class TemplateSection(Section):
    """A container template; the newest file that begins with `prefix` is downloaded where none is there."""

    storage: StorageId = Field(description="Storage that holds it (content vztmpl).")
    prefix: Prefix = Field(
        description="Beginning of its file name: `debian-13-standard`. Versions come and go, and the"
        " architecture is the node's."
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
