"""Backups: the policy of the whole node, and what a guest or a dataset says of its own."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from fleet.inventory.shape.backup_fields import (
    Bwlimit,
    Excluded,
    Reason,
    ReplicaName,
    ReplicaTarget,
    Schedule,
    Timezone,
    VmidRange,
)
from fleet.inventory.shape.fields import Bool, Duration, Interface, Names, Percent, StorageId, kind_of, whole
from fleet.inventory.shape.host_fields import Secrets
from fleet.inventory.shape.model import Props, Section

_Count = Annotated[int, whole(0)]
Method = Literal["auto", "pct", "zfs", "vzdump"]
Mode = Literal["snapshot", "suspend", "stop"]
Compress = Literal["0", "1", "gzip", "lzo", "zstd"]

KEEP = tuple(f"keep-{name}" for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly"))
TASKS = ("snapshot", "dump", "send", "drill")
_KEEP_ALL = "keep-all=1 stands alone: it keeps everything; leave the other keep-* out, or keep-all"


class Prune(Props):
    """How many backups are kept, in Proxmox's words: `keep-last=1,keep-daily=7`."""

    keep_last: _Count | None = Field(None, alias="keep-last", description="So many of the newest.")
    keep_hourly: _Count | None = Field(
        None, alias="keep-hourly", description="The newest of so many hours; hours without one do not count."
    )
    keep_daily: _Count | None = Field(
        None,
        alias="keep-daily",
        description="The newest of so many days. Alone, 7 reach back 6 days; with keep-last=1, 7.",
    )
    keep_weekly: _Count | None = Field(None, alias="keep-weekly", description="The newest of so many weeks.")
    keep_monthly: _Count | None = Field(
        None, alias="keep-monthly", description="The newest of so many months."
    )
    keep_yearly: _Count | None = Field(None, alias="keep-yearly", description="The newest of so many years.")
    keep_all: Bool | None = Field(None, alias="keep-all", description="Nothing is ever removed.")

    @model_validator(mode="after")
    def _all_alone(self) -> Prune:
        given = self.given()
        if given.pop("keep-all", None) and any(given.values()):
            raise PydanticCustomError("fleet", _KEEP_ALL)
        return self


# ── the whole node ────────────────────────────────────────────────────────────────────────────────


class SnapshotSection(Section):
    """Snapshots of every guest and every dataset that do not say otherwise."""

    schedule: Schedule = Field(
        description="When: `02:00`, `sun 03:30`, in `timezone`. A time that the beginning of summer time"
        " leaves out (often 02:00 to 02:59) is left out by systemd in that night."
    )
    prune_backups: Prune | None = Field(
        None, alias="prune-backups", description="How many are kept (default `keep-last=1,keep-daily=7`)."
    )
    method: Method = Field(
        "auto",
        description="`auto` (Proxmox's own snapshots where it takes them, else ZFS's), `pct` (also `qm`),"
        " `zfs`, or `vzdump`: archives instead.",
    )
    freeze: Bool = Field(
        True, description="Whether a running container is held still for the moment of a ZFS snapshot."
    )


class ArchiveSection(Section):
    """vzdump archives of guests that ask for them, and of those on a storage of type dir (no snapshots)."""

    schedule: Schedule = Field(description="When: `03:00`.")
    storage: StorageId = Field(description="Where to (content backup).")
    mode: Mode = Field("snapshot", description="How the guest is held still.")
    compress: Compress = Field("zstd", description="Compression.")
    bwlimit: Bwlimit | None = Field(None, description="Limit in KiB/s, or with a unit: `50M`.")
    prune_backups: Prune | None = Field(
        None, alias="prune-backups", description="How many are kept (default `keep-last=1,keep-daily=7`)."
    )


class ReplicaSection(Section):
    """A place that snapshots are sent to."""

    target: ReplicaTarget = Field(
        description="A dataset of this node, `usb/replica`, or of another host,"
        " `root@192.168.0.20:backup/pve`; each source becomes a dataset below it."
    )
    schedule: Schedule = Field(description="When: `04:00`.")
    prune_backups: Prune | None = Field(
        None,
        alias="prune-backups",
        description="How many are kept there (default `keep-last=1,keep-daily=7`).",
    )
    bwlimit: Bwlimit | None = Field(None, description="Limit in KiB/s, or with a unit: `50M`.")


class DrillSection(Section):
    """How restores are proven: a guest is restored, booted, checked and destroyed again."""

    vmids: VmidRange = Field(
        description="Scratch VMIDs, `9900-9909`: nothing else is made or destroyed by a drill."
    )
    max_age: Duration = Field(
        2592000, alias="max-age", description="How old a proof may be: `30d`, the default."
    )
    schedule: Schedule | None = Field(None, description="When: `sun 05:00` (default: never by itself).")
    storage: StorageId | None = Field(
        None, description="Where guests are restored to from archives (default: their own storages)."
    )
    bridge: Interface | None = Field(
        None, description="An isolated bridge that nobody else is on (default: no network at all)."
    )


class BrakeSection(Section):
    """More removals of one guest or dataset in one run than either need `--yes-remove N`."""

    count: Annotated[int, whole(1)] = Field(10, description="So many.")
    percent: Percent = Field(50, description="So much of what fleet made of it.")


class DeadManSection(Section):
    """Who raises the alarm when a task is not heard of (healthchecks.io and others): a URL a job.

    Each is called at the start (`/start`), at success and at failure (`/fail`) of every run. Jobs share
    none, or one that runs would hide another that does not: where a task has several schedules, each has
    its own, `{"02:00": env:NIGHTLY, hourly: env:HOURLY}`. References, since such a URL is a secret.
    """

    snapshot: Secrets | None = Field(None, description="Of `backup.snapshot`; of several by the schedule.")
    dump: Secrets | None = Field(None, description="Of `backup.dump`; of several by the schedule.")
    send: Secrets | None = Field(None, description="Of `backup.send`; of several by the replica's name.")
    drill: Secrets | None = Field(None, description="Of `backup.drill`.")

    @model_validator(mode="after")
    def _one_a_task(self) -> DeadManSection:
        said = [getattr(self, name) for name in TASKS if name in self.model_fields_set]
        urls = [url for each in said for url in each.values()]
        if len(set(urls)) < len(urls):
            raise PydanticCustomError(
                "fleet", "two jobs share a URL: one that runs would hide another that does not"
            )
        return self


class BackupSection(Section):
    """What holds for the whole node. Without this section fleet backs nothing up."""

    timezone: Timezone | None = Field(
        None,
        description="In whose days and weeks retention counts, and schedules are meant"
        " (default: node.timezone, else UTC).",
    )
    snapshots: SnapshotSection | None = Field(
        None, description="Snapshots of every guest and every dataset that do not say otherwise."
    )
    archives: ArchiveSection | None = Field(None, description="Archives of those guests that ask for them.")
    replicas: dict[ReplicaName, ReplicaSection] = Field(
        {}, description="Places that snapshots are sent to, under names of your own."
    )
    drill: DrillSection | None = Field(None, description="How restores are proven.")
    newest: Annotated[int, whole(1)] = Field(
        1, description="So many of the newest are never removed, whatever the policy says."
    )
    exclude: dict[Excluded, Reason] = Field(
        {},
        description="The reason for having no backups at all, in words, of what is declared nowhere else:"
        " guests by VMID (VMs, templates), datasets with all below them, devices and folders that containers"
        " mount: `9000: a template`, `tank/scratch: ...`, `/dev/sdb1: ...`.",
    )
    brake: BrakeSection = Field(
        default_factory=BrakeSection.absent, description="How many removals need a person's word."
    )
    dead_man: DeadManSection | None = Field(
        None, alias="dead-man", description="Who raises the alarm when a task is not heard of."
    )


# ── one guest, one dataset ────────────────────────────────────────────────────────────────────────

#: The key under which `snapshots: no` is kept; no user ever sees it.
ON: Final = "[on]"


class Layered(Section):
    """A section of a layer: null is said on purpose, and takes an inherited value away."""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        raise PydanticCustomError("fleet", "must be a mapping of keys, not {what}", {"what": kind_of(value)})


class Switched(Layered):
    """yes, no, or what is different from the policy of the node (which means yes)."""

    on: Bool | None = Field(None, alias=ON)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A truth value, or the mapping."""
        schema = handler.resolve_ref_schema(handler(core))
        mapping: dict[str, Any] = {
            key: schema.pop(key) for key in ("type", "properties", "additionalProperties")
        }
        del mapping["properties"][ON]
        schema["anyOf"] = [{"enum": [True, False, 1, 0, "yes", "no", "on", "off"]}, mapping]
        return schema

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, str):
            return {ON: value}
        return {ON: "yes", **value} if isinstance(value, dict) else value


class GuestSnapshots(Switched):
    """`yes`, `no`, or what is different from backup.snapshots."""

    schedule: Schedule | None = Field(None, description="When.")
    prune_backups: Prune | None = Field(
        None, alias="prune-backups", description="How many are kept, merged with backup.snapshots' own."
    )
    method: Method | None = Field(None, description="`auto`, `pct`, `zfs` or `vzdump`.")
    freeze: Bool | None = Field(None, description="Whether it is held still for a ZFS snapshot.")


class GuestArchives(Switched):
    """`yes`, `no`, or what is different from backup.archives."""

    schedule: Schedule | None = Field(None, description="When.")
    storage: StorageId | None = Field(None, description="Where to (content backup).")
    mode: Mode | None = Field(None, description="How the guest is held still.")
    compress: Compress | None = Field(None, description="Compression.")
    bwlimit: Bwlimit | None = Field(None, description="Limit in KiB/s, or with a unit: `50M`.")
    prune_backups: Prune | None = Field(
        None, alias="prune-backups", description="How many are kept, merged with backup.archives' own."
    )


class GuestBackup(Layered):
    """How a guest is backed up, where it differs from the policy of the node."""

    exclude: Reason | None = Field(None, description="The reason for having no backups at all, in words.")
    critical: Bool | None = Field(
        None, description="Also archives, and all replicas, unless those keys say otherwise (default no)."
    )
    snapshots: GuestSnapshots | None = Field(
        None, description="`no`, or what is different from backup.snapshots (default yes)."
    )
    archives: GuestArchives | None = Field(
        None,
        description="`yes`, `no`, or what is different from backup.archives (default: if it is critical,"
        " or on a storage of type dir).",
    )
    replicas: Names | None = Field(None, description="Names of backup.replicas: `[usb]` (default: none).")


class DatasetSnapshots(Switched):
    """`yes`, `no`, or what is different from backup.snapshots."""

    schedule: Schedule | None = Field(None, description="When.")
    prune_backups: Prune | None = Field(
        None, alias="prune-backups", description="How many are kept, merged with backup.snapshots' own."
    )


class DatasetBackup(Layered):
    """How a dataset is backed up, where it differs from the policy of the node."""

    exclude: Reason | None = Field(None, description="The reason for having no backups at all, in words.")
    critical: Bool | None = Field(
        None, description="Also all replicas, unless `replicas` says which (default no)."
    )
    snapshots: DatasetSnapshots | None = Field(
        None, description="`no`, or what is different from backup.snapshots (default yes)."
    )
    replicas: Names | None = Field(None, description="Names of backup.replicas: `[usb]` (default: none).")
