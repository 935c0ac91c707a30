"""One read of a node for backups: its guests as backups see them, snapshots, pools, archives, the record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleet.converge import Facts, gather_with
from fleet.core.command import command
from fleet.core.probe import Answer, Probe
from fleet.domains.backup import facts as backup
from fleet.domains.backup.items import Archive, BackupFacts, ConfigSnapshot, GuestState, Volume
from fleet.domains.backup.restore.config import TAG
from fleet.domains.backup.spec import BackupSpec
from fleet.domains.guests.facts import Guest
from fleet.host.shell import Shell
from fleet.inventory import Inventory
from fleet.tools.props import parse_bool, parse_props
from fleet.tools.pvesm import StorageEntry

#: How long a storage may take to list its archives (seconds).
PATIENCE = 50
#: How long all else may take: 20,000 snapshots on disks that turn. A storage or replica that does not answer
#: has time of its own, so that it does not end the whole read.
LISTING = 300
#: Keys of a VM that are disks (PVE/QemuServer/Drive.pm).
_DISK = re.compile(
    r"(?:ide[0-3]|sata[0-5]|scsi(?:[0-9]|[12][0-9]|30)|virtio(?:[0-9]|1[0-5])|efidisk0|tpmstate0)"
)
_MOUNT = re.compile(r"rootfs|mp\d+")
#: Sections of a VM's configuration that are no snapshots (PVE/QemuServer.pm, parse_vm_config).
_OTHER_SECTION = re.compile(r"PENDING|special:.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read says: the node's facts, those of backups, and the answers of all probes."""

    facts: Facts
    backups: BackupFacts
    spec: BackupSpec
    answers: Mapping[str, Answer]


def read(
    shell: Shell, inventory: Inventory, *, archives: bool = False, more: Sequence[Probe] = ()
) -> Reading:
    """The node's facts with those of backups, in one remote execution.

    `archives`: with the archives on the storages of the policy, which costs about a second each.
    """
    spec = inventory.backups
    datasets = [each.name for each in spec.subjects if each.vmid is None]
    storages = sorted({each.archives.storage for each in spec.subjects if each.archives}) if archives else []
    probes = (*backup.probes(datasets), *map(_archives_probe, storages), *more)
    seconds = LISTING + (PATIENCE + 5) * (len(storages) + len(more))
    facts, answers = gather_with(shell, inventory, probes, seconds=seconds)
    guests = {vmid: guest_state(guest, facts.storage.storages) for vmid, guest in facts.guests.guests.items()}
    found = backup.read(answers, guests)
    listed = {each: _archives(answers[f"archives-{each}"]) for each in storages}
    return Reading(
        facts,
        replace(
            found,
            archives={each: made for each, made in listed.items() if made is not None},
            protected_limits=_protected_limits(facts.storage.storages),
            complete=found.complete and all(made is not None for made in listed.values()),
        ),
        spec,
        answers,
    )


def guest_state(guest: Guest, storages: Mapping[str, StorageEntry]) -> GuestState:
    """A guest as backups see it."""
    current = guest.config.current
    features = _props(current.get("features", ""), "") or {}
    return GuestState(
        vmid=guest.vmid,
        name=guest.name,
        kind=guest.kind,
        running=guest.running,
        lock=current.get("lock", ""),
        template=current.get("template", "0") == "1",
        fuse=bool(features.get("mount")) or _is_on(features.get("fuse", "0")),
        copy=_is_copy(guest),
        volumes=tuple(_volumes(guest.kind, current, storages)),
        snapshots=tuple(
            ConfigSnapshot(
                each.name,
                each.time,
                each.description,
                each.parent,
                each.state,
                tuple(
                    volume.dataset for volume in _volumes(guest.kind, each.values, storages) if volume.dataset
                ),
            )
            for each in guest.config.snapshots
            if not _OTHER_SECTION.fullmatch(each.name)
        ),
    )


def _is_copy(guest: Guest) -> bool:
    """A restore made it, and the tags do not say that somebody keeps it (as fleet/host/restore.sh asks)."""
    lines = guest.config.current.get("description", "").split("\n")
    marked = any(line.strip().startswith("fleet: restore owner=") for line in lines)
    return marked and TAG in guest.config.tags and "fleet" not in guest.config.tags


def _volumes(kind: str, config: Mapping[str, str], storages: Mapping[str, StorageEntry]) -> Iterator[Volume]:
    keys = _MOUNT if kind == "lxc" else _DISK
    for key, value in sorted(config.items()):
        if not keys.fullmatch(key):
            continue
        props = _props(value, "volume")
        if props is None:
            yield Volume(key, value, storage="?", storage_type="not readable")
            continue
        volid = props.get("volume") or props.get("file", "")
        if kind == "qemu" and (props.get("media") == "cdrom" or volid in ("none", "cdrom")):
            continue
        storage, colon, name = volid.partition(":")
        if volid.startswith("/") or not colon:
            yield Volume(key, volid, path=props.get("mp", "/"), backup=False)
            continue
        entry = storages.get(storage)
        pool = entry.options.get("pool") if entry and entry.type == "zfspool" else None
        yield Volume(
            key=key,
            volid=volid,
            storage=storage,
            storage_type=entry.type if entry else "unknown",
            dataset=f"{pool}/{name.rpartition('/')[2]}" if pool else None,
            path=props.get("mp", "/"),
            backup=key == "rootfs" or _is_on(props.get("backup", "0" if kind == "lxc" else "1")),
        )


def _props(text: str, default_key: str) -> Mapping[str, str] | None:
    """The properties of a string; None where a hand has broken it."""
    try:
        return parse_props(text, default_key)
    except ValueError:
        return None


def _is_on(value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        return False


# ── archives ──────────────────────────────────────────────────────────────────────────────────────


def _protected_limits(storages: Mapping[str, StorageEntry]) -> dict[str, int]:
    """How many archives of a guest each storage lets be protected, where it has a limit of its own."""
    limits = {name: entry.options.get("max-protected-backups", "") for name, entry in storages.items()}
    return {name: int(limit) for name, limit in limits.items() if limit.isdigit()}


def _archives_probe(storage: str) -> Probe:
    listing = command(
        # A file server that is away would hold up the whole read.
        "timeout", "-k", "5", str(PATIENCE),
        "pvesh", "get", f"/nodes/localhost/storage/{storage}/content", "--content", "backup",
        "--output-format", "json",
    )  # fmt: skip
    return Probe(f"archives-{storage}", listing.sh())


def _archives(answer: Answer) -> tuple[Archive, ...] | None:
    """The archives in a storage's answer; None where it gave none."""
    try:
        listed = json.loads(answer.text) if answer.code == 0 else None
    except ValueError:
        listed = None
    return None if listed is None else tuple(map(_archive, listed))


def _archive(entry: Mapping[str, Any]) -> Archive:
    return Archive(
        volid=str(entry["volid"]),
        vmid=int(entry.get("vmid", 0)),
        created=int(entry.get("ctime", 0)),
        size=int(entry.get("size", 0)),
        notes=str(entry.get("notes", "")),
        protected=bool(int(entry.get("protected", 0))),
    )
