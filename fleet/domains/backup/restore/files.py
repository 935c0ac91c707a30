"""Files out of a backup: in which snapshot and folder a path of a guest is. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.core.errors import UsageError
from fleet.domains.backup.items import BackupFacts, GuestState, Item, Volume
from fleet.domains.backup.restore.choice import Named, found
from fleet.domains.backup.spec import Subject


@dataclass(frozen=True, slots=True)
class Source:
    """Where a path is: in a ZFS snapshot, or in an archive (`snapshot` is then its volid).

    `path`: relative to the top of that file system or archive; empty: all of it. `apart`: folders below the
    path that are file systems of their own, which it does not hold.
    """

    snapshot: str
    guid: str
    path: str
    archive: bool = False
    apart: tuple[str, ...] = ()


def source_of(
    wanted: Named, path: str, facts: BackupFacts, subjects: Sequence[Subject], directories: Mapping[str, str]
) -> Source:
    """Where the path inside of a guest, or inside of a dataset, is; UsageError where no backup holds it.

    `directories`: where the datasets of hosts.yml are mounted on the node.
    """
    inside = posixpath.normpath("/" + path.lstrip("/"))
    if ".." in path.split("/"):
        raise UsageError(f"{path!r}: write the path without `..`")
    subject = wanted.subject
    if subject.vmid is None:
        item = found(wanted, facts)
        return Source(item.parts[0].path, item.parts[0].guid, inside.lstrip("/"))
    if wanted.in_archives:
        item = found(wanted, facts)
        return Source(item.name, "", inside.lstrip("/"), archive=True)
    guest = facts.guests.get(subject.vmid)
    if guest is None:
        raise UsageError(f"{subject.name} is not on the node: only its archives can be read")
    volume = _volume(guest, inside)
    below = _below(volume.path, inside)
    apart = tuple(
        other.path
        for other in guest.volumes
        if other is not volume and f"{other.path}/".startswith(f"{inside}/".replace("//", "/"))
    )
    if not volume.storage:
        return _shared(wanted, volume, below, facts, subjects, directories)
    item = found(wanted, facts)
    part = next((part for part in item.parts if part.dataset == volume.dataset), None)
    if part is None:
        raise UsageError(_without(subject, item, volume))
    return Source(part.path, part.guid, below, apart=apart)


def _volume(guest: GuestState, inside: str) -> Volume:
    """The volume or bind mount that holds a path of the guest: that of the longest mount path above it."""
    above = [volume for volume in guest.volumes if f"{inside}/".startswith(f"{volume.path.rstrip('/')}/")]
    if not above:
        raise UsageError(f"{guest.name} has no root file system in its configuration")
    return max(above, key=lambda volume: len(volume.path.rstrip("/")))


def _below(top: str, inside: str) -> str:
    return inside[len(top.rstrip("/")) :].strip("/")


def _shared(
    wanted: Named,
    volume: Volume,
    below: str,
    facts: BackupFacts,
    subjects: Sequence[Subject],
    directories: Mapping[str, str],
) -> Source:
    """A path in a bind mount: in the snapshot of the dataset that is mounted there."""
    place = posixpath.normpath(f"{volume.volid}/{below}")
    above = {
        name: directory
        for name, directory in directories.items()
        if directory and f"{place}/".startswith(f"{directory.rstrip('/')}/")
    }
    name = max(above, key=lambda each: len(above[each]), default="")
    subject = next((each for each in subjects if each.vmid is None and each.name == name), None)
    if subject is None:
        raise UsageError(
            f"{volume.path} of {wanted.subject.name} is {volume.volid} of the node,"
            " which no dataset of hosts.yml holds: no backup has it"
        )
    item = found(Named(subject, wanted.item), facts)
    return Source(item.parts[0].path, item.parts[0].guid, _below(above[name], place))


def _without(subject: Subject, item: Item, volume: Volume) -> str:
    if volume.dataset is None:
        how = f"{volume.key} ({volume.volid}) is not on ZFS, where snapshots are folders"
        return f"{subject.name}: {how}: restore {item.name} to a new VMID and take the file there"
    return f"{subject.name}@{item.name} does not hold {volume.path} ({volume.volid})"
