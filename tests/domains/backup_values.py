"""Small values for tests of backups: a node with one pool, its guests and their snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fleet.domains.backup.items import (
    BackupFacts,
    ConfigSnapshot,
    GuestState,
    HostDataset,
    Pool,
    Volume,
    ZfsSnapshot,
)
from fleet.domains.backup.names import snapshot_name
from fleet.domains.backup.spec import ArchivePolicy, BackupSpec, Keep, SnapshotPolicy, Subject

DAY = 86_400
NOW = 1_795_370_000  # 2026-11-22 17:53:20 UTC
ID = "0123456789abcdef0123456789abcdef"

POLICY = SnapshotPolicy("02:00", Keep(last=1, daily=7))
ARCHIVES = ArchivePolicy("03:00", Keep(daily=7), "backups")


def at(days_ago: int) -> int:
    """The time so many days ago."""
    return NOW - days_ago * DAY


def volume(
    key: str = "rootfs", vmid: int = 101, number: int = 0, kind: str = "zfspool", storage: str = "guests"
) -> Volume:
    """A volume of a guest."""
    name = f"subvol-{vmid}-disk-{number}"
    dataset = f"tank/{storage}/{name}" if kind == "zfspool" else None
    return Volume(key, f"{storage}:{name}", storage, kind, dataset, "/" if key == "rootfs" else f"/{key}")


def bind(path: str = "/data", key: str = "mp0") -> Volume:
    """A bind mount."""
    return Volume(key, path, path=path, backup=False)


def guest(vmid: int = 101, *volumes: Volume, name: str = "", **changes: object) -> GuestState:
    """A running container with one volume, or with these."""
    made = GuestState(vmid, name or f"ct{vmid}", "lxc", running=True, volumes=volumes or (volume(vmid=vmid),))
    return replace(made, **changes)  # type: ignore[arg-type]


def subject_of(state: GuestState, **changes: object) -> Subject:
    """A guest as hosts.yml wants it, with daily snapshots."""
    return replace(Subject(state.name, state.vmid, snapshots=POLICY), **changes)  # type: ignore[arg-type]


def zfs(dataset: str, name: str, made: int, *, ours: bool = True, **changes: object) -> ZfsSnapshot:
    """A ZFS snapshot; its transaction is its time."""
    snapshot = ZfsSnapshot(
        dataset=dataset,
        name=name,
        guid=str(abs(hash((dataset, name))) % 10**15),
        createtxg=made,
        creation=made,
        used=1000,
        referenced=5000,
        userrefs=0,
        owner=ID if ours else "",
        set=name if ours else "",
    )
    return replace(snapshot, **changes)  # type: ignore[arg-type]


def daily(dataset: str, days_ago: int, **changes: object) -> ZfsSnapshot:
    """One of fleet's daily snapshots."""
    return zfs(dataset, snapshot_name("daily", at(days_ago)), at(days_ago), **changes)  # type: ignore[arg-type]


def section(name: str, made: int, *, owner: str = ID, **changes: object) -> ConfigSnapshot:
    """A snapshot in a guest's configuration."""
    return replace(
        ConfigSnapshot(name, made, f"fleet: owner={owner} set={name}"),
        **changes,  # type: ignore[arg-type]
    )


def place(name: str, at: str = "", **changes: object) -> HostDataset:
    """A dataset of the node, mounted where ZFS mounts it by itself, or there."""
    return replace(HostDataset(name, at or f"/{name}", 98_304), **changes)  # type: ignore[arg-type]


def facts(
    guests: Iterable[GuestState] = (), snapshots: Iterable[ZfsSnapshot] = (), **changes: object
) -> BackupFacts:
    """A node that has these; everything of ours is in the record."""
    states = {each.vmid: each for each in guests}
    by_dataset: dict[str, list[ZfsSnapshot]] = {}
    for each in snapshots:
        by_dataset.setdefault(each.dataset, []).append(each)
    of_guests = {each.dataset for state in states.values() for each in state.volumes if each.dataset}
    recorded = {each.path for found in by_dataset.values() for each in found if each.owner == ID}
    recorded |= {f"{state.vmid}@{each.name}" for state in states.values() for each in state.snapshots}
    names = of_guests | set(by_dataset) | {"tank", "tank/guests", "tank/data"}
    made = BackupFacts(
        now=NOW,
        installation=ID,
        complete=True,
        snapshots={
            name: tuple(sorted(found, key=lambda each: each.createtxg)) for name, found in by_dataset.items()
        },
        datasets=frozenset(names),
        details={name: place(name, "/data" if name == "tank/data" else "") for name in names},
        pools={"tank": Pool("tank", "ONLINE", 10, 10**12)},
        guests=states,
        recorded=frozenset(recorded),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def spec(*subjects: Subject, **changes: object) -> BackupSpec:
    """A policy of these subjects."""
    return replace(BackupSpec("UTC", subjects), **changes)  # type: ignore[arg-type]


def kept(decisions: Mapping[str, Iterable[object]]) -> int:
    """How many stay."""
    return sum(not each.remove for made in decisions.values() for each in made)  # type: ignore[attr-defined]
