"""What hosts.yml may want of backups: one policy a guest and a dataset, all layers merged. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups are kept, in Proxmox's words (`prune-backups`); `all` stands for keep-all=1."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    all: bool = False

    def __str__(self) -> str:
        """As Proxmox writes it: `keep-last=1,keep-daily=7`."""
        if self.all:
            return "keep-all=1"
        names = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
        return ",".join(f"keep-{name}={getattr(self, name)}" for name in names if getattr(self, name))


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """Snapshots of one guest or dataset. `method`: auto, pct (also qm), zfs or vzdump."""

    schedule: str  # a calendar event of systemd: `02:00`
    keep: Keep
    method: str = "auto"
    freeze: bool = True  # whether a running container is held still for it


@dataclass(frozen=True, slots=True)
class ArchivePolicy:
    """vzdump archives of one guest, on a storage with content backup."""

    schedule: str
    keep: Keep
    storage: str
    mode: str = "snapshot"  # snapshot, suspend or stop
    compress: str = "zstd"
    bwlimit: int | None = None  # KiB/s


@dataclass(frozen=True, slots=True)
class Replica:
    """A place that snapshots are sent to: a dataset of this node (`host` None) or of another one."""

    name: str  # its key in hosts.yml
    dataset: str  # usb/replica: each source becomes a dataset below it
    host: str | None  # what ssh on the node takes: nas, root@192.168.0.20
    schedule: str
    keep: Keep  # of the copies there
    bwlimit: int | None = None  # KiB/s
    line: int = 0


@dataclass(frozen=True, slots=True)
class Drill:
    """How restores are proven: on which scratch VMIDs, and how old a proof may be."""

    vmids: tuple[int, int]  # first and last: nothing else may be made or destroyed
    max_age: int  # seconds
    storage: str | None = None  # where archives are restored to (default: the guest's own)
    bridge: str | None = None  # an isolated bridge; None: no network at all
    schedule: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One guest or one dataset of hosts.yml, and what is wanted of its backups."""

    name: str  # the guest's name, or the dataset's
    vmid: int | None  # None: a dataset
    line: int = 0
    exclude: str | None = None  # the written reason for having no backups
    critical: bool = False
    snapshots: SnapshotPolicy | None = None
    archives: ArchivePolicy | None = None
    replicas: tuple[str, ...] = ()  # names of BackupSpec.replicas
    folder: str = ""  # the storage of type dir that hosts.yml puts a volume of it on: no snapshots there

    @property
    def no_snapshots(self) -> str:
        """Why hosts.yml itself wants none of it, or cannot have any; empty: it does not say so."""
        if self.exclude is not None:
            return f"excluded: {self.exclude}"
        if self.archives is None:
            return ""
        if self.snapshots is None:
            return "archives only"
        if self.snapshots.method == "vzdump":
            return "hosts.yml says vzdump: `inv backup.dump` archives it"
        return f"archives only: {self.folder} (dir) has no snapshots" if self.folder else ""


@dataclass(frozen=True, slots=True)
class Brake:
    """More removals of one subject in one run than either need the operator's word."""

    count: int = 10
    percent: int = 50  # of what fleet made of it


@dataclass(frozen=True, slots=True)
class BackupSpec:
    """All that is wanted of backups. `timezone`: in which days and weeks of retention are counted."""

    timezone: str
    subjects: tuple[Subject, ...] = ()  # guests by VMID, then datasets by name
    replicas: Mapping[str, Replica] = field(default_factory=dict)
    drill: Drill | None = None
    brake: Brake = Brake()
    newest: int = 1  # so many of the newest are never removed, whatever the policy says
    excluded: Mapping[str, str] = field(default_factory=dict)  # VMID, dataset or path -> the written reason
