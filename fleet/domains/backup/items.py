"""What the host has of backups: snapshots, archives and copies, and whose they are. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """How a backup was made, and so how it is removed."""

    PCT = "pct"  # `pct snapshot` or `qm snapshot`: it stands in the guest's configuration
    ZFS = "zfs"  # `zfs snapshot` of several datasets at once
    VZDUMP = "vzdump"  # an archive on a storage


class Of(StrEnum):
    """Of what a restore is a proof."""

    SNAPSHOT = "snapshot"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Proof:
    """A backup was restored. `what`: how far was looked: files, boots, service; empty: it was not written."""

    at: int  # epoch seconds
    what: str = ""


@dataclass(frozen=True, slots=True)
class ZfsSnapshot:
    """One ZFS snapshot as `zfs list -p` prints it. Times in epoch seconds, sizes in bytes."""

    dataset: str
    name: str  # after the @
    guid: str
    createtxg: int
    creation: int
    used: int
    referenced: int
    userrefs: int  # holds
    clones: tuple[str, ...] = ()
    owner: str = ""  # fleet:owner, only where it is the snapshot's own (source local or received)
    set: str = ""  # fleet:set
    pinned: str = ""  # fleet:pinned: a date, 2027-01-31
    replaced: bool = False  # the record knows one of this name with another guid

    @property
    def path(self) -> str:
        """As ZFS writes it: `tank/guests/subvol-107-disk-0@fleet-daily-20261123t070000z`."""
        return f"{self.dataset}@{self.name}"


@dataclass(frozen=True, slots=True)
class Volume:
    """One mount point of a container or disk of a VM. `dataset`: of a volume on a zfspool storage."""

    key: str  # rootfs, mp0, scsi0
    volid: str  # guests:subvol-107-disk-0; of a bind or device mount its path on the host
    storage: str | None = None  # None: a bind or device mount
    storage_type: str = ""  # zfspool, lvmthin, dir, btrfs ...
    dataset: str | None = None
    path: str = ""  # where it is mounted inside
    backup: bool = True  # whether vzdump takes it along


@dataclass(frozen=True, slots=True)
class ConfigSnapshot:
    """A snapshot in a guest's configuration."""

    name: str
    time: int  # epoch seconds
    description: str = ""
    parent: str = ""
    state: str = ""  # prepare or delete where it is half done
    datasets: tuple[str, ...] = ()  # of the volumes that the guest had then, those on zfspool storages


@dataclass(frozen=True, slots=True)
class GuestState:
    """A guest of the node as backups see it."""

    vmid: int
    name: str
    kind: str  # lxc or qemu
    running: bool
    lock: str = ""  # backup, snapshot, snapshot-delete ...
    template: bool = False
    fuse: bool = False  # features fuse or mount: freezing it could hang
    copy: bool = False  # fleet made it by a restore, and nobody has taken it over
    volumes: tuple[Volume, ...] = ()
    snapshots: tuple[ConfigSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class Archive:
    """A vzdump archive on a storage."""

    volid: str  # backups:backup/vzdump-lxc-120-2026_11_23-03_00_00.tar.zst
    vmid: int
    created: int  # epoch seconds
    size: int
    notes: str = ""
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool's health (ONLINE, DEGRADED ...), how full it is in percent, and the bytes that are free.

    None: a pool that is faulted has no figures.
    """

    name: str
    health: str
    capacity: int | None
    free: int | None


@dataclass(frozen=True, slots=True)
class HostDataset:
    """A ZFS file system or volume of the node."""

    name: str
    mounted: str = ""  # where it is mounted now; empty: nowhere
    own: int = 0  # bytes in it, without its snapshots and what is below it
    copy: bool = False  # fleet made it of another one: on a replica, by a restore, or put aside by one


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """What one read of a node says of backups.

    `complete`: every listing came to its end. Where one did not, nothing may be removed.
    `installation`: the id that everything this fleet made carries; empty before the first run.
    `recorded`: what the node's record says that this fleet made, as `dataset@snapshot` or archive volid.
    """

    now: int  # the node's clock, epoch seconds
    installation: str
    complete: bool
    snapshots: Mapping[str, tuple[ZfsSnapshot, ...]] = field(default_factory=dict)  # by dataset, oldest first
    datasets: frozenset[str] = frozenset()  # all datasets and volumes of the pools
    details: Mapping[str, HostDataset] = field(default_factory=dict)  # of each of them
    mounts: Mapping[str, str] = field(default_factory=dict)  # path -> dataset, or /dev/sda1 (ext4)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    guests: Mapping[int, GuestState] = field(default_factory=dict)
    archives: Mapping[str, tuple[Archive, ...]] = field(default_factory=dict)  # by storage
    protected_limits: Mapping[str, int] = field(default_factory=dict)  # by storage: max-protected-backups
    recorded: frozenset[str] = frozenset()
    pins: Mapping[str, str] = field(default_factory=dict)  # by `VMID@NAME`, of what has no ZFS property
    proven: Mapping[tuple[str, Of], Proof] = field(default_factory=dict)  # by subject: the last good drill
    sent: Mapping[tuple[str, str], int] = field(
        default_factory=dict
    )  # dataset, replica -> of when its copy is


@dataclass(frozen=True, slots=True)
class Item:
    """One backup of a subject, whatever it consists of: what retention keeps or removes as a whole."""

    subject: str
    kind: Kind
    name: str  # the snapshot's name, or the archive's volid
    created: int  # epoch seconds
    order: int  # createtxg where there is one, else `created`: the order in which they were made
    size: int
    ours: bool  # made by this fleet: its owner mark, and the node's record says so
    owner: str  # for people: fleet, sanoid, vzdump, a person ...
    parts: tuple[ZfsSnapshot, ...] = ()
    archive: Archive | None = None
    set: str = ""
    blocks: tuple[str, ...] = ()  # why it cannot be removed: held, cloned, pinned until ..., protected
    whole: bool = True  # all that was to be in it is there: else nobody may rely on it
    pinned: str = ""
    description: str = ""
