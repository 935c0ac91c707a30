"""The backups of a subject, each as one item: what was made together is kept or removed together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fleet.domains.backup.items import (
    Archive,
    BackupFacts,
    ConfigSnapshot,
    GuestState,
    Item,
    Kind,
    ZfsSnapshot,
)
from fleet.domains.backup.names import VALID, parse_name
from fleet.domains.backup.owners import probable_owner
from fleet.domains.backup.spec import Subject

_MARK = re.compile(r"fleet: owner=(?P<owner>[0-9a-f]{32}) set=(?P<set>[a-z0-9_-]+)(?!\S)")
_PIN = re.compile(r"fleet: pinned=(?P<until>\d{4}-\d{2}-\d{2})(?!\S)")


def datasets_of(subject: Subject, facts: BackupFacts) -> tuple[str, ...]:
    """The datasets of a subject that exist: its own, or those of the guest's volumes."""
    if subject.vmid is None:
        return (subject.name,) if subject.name in facts.datasets else ()
    guest = facts.guests.get(subject.vmid)
    wanted = (volume.dataset for volume in guest.volumes) if guest else ()
    return tuple(dict.fromkeys(each for each in wanted if each and each in facts.datasets))


def items(subject: Subject, facts: BackupFacts) -> tuple[Item, ...]:
    """The snapshots of a subject, newest first; everybody's, `ours` says which are fleet's."""
    guest = facts.guests.get(subject.vmid) if subject.vmid is not None else None
    by_name: dict[str, list[ZfsSnapshot]] = {}
    for dataset in datasets_of(subject, facts):
        for snapshot in facts.snapshots.get(dataset, ()):
            by_name.setdefault(snapshot.name, []).append(snapshot)
    found = []
    for section in guest.snapshots if guest else ():
        parts = by_name.pop(section.name, [])
        # A volume that the guest has no more has its part in it all the same.
        for dataset in {*section.datasets} - {*datasets_of(subject, facts)}:
            parts += [each for each in facts.snapshots.get(dataset, ()) if each.name == section.name]
        found.append(_of_guest(subject, guest, section, parts, facts))
    found += [_of_zfs(subject, parts, facts) for parts in by_name.values()]
    found = _ordered(found, datasets_of(subject, facts), guest.snapshots if guest else ())
    return tuple(sorted(found, key=lambda item: (item.created, item.order, item.name), reverse=True))


def _ordered(
    found: Sequence[Item], datasets: Sequence[str], sections: Sequence[ConfigSnapshot]
) -> list[Item]:
    """The items with what tells in which order they were made, whatever the clock said.

    Each pool counts its transactions for itself: those of one dataset can be compared, where all of ours have
    a part on it. Snapshots of a guest without ZFS say which one came before.
    """
    ours = [item for item in found if item.ours]
    shared = (each for each in datasets if all(_made_on(item, each) is not None for item in ours))
    dataset = next(shared, None)
    if dataset is not None:
        made = [_made_on(item, dataset) for item in found]
    elif all(item.kind is Kind.PCT for item in ours):
        depths = _depths(sections)
        made = [depths.get(item.name) for item in found]
    else:
        return list(found)
    return [
        item if order is None else replace(item, order=order) for item, order in zip(found, made, strict=True)
    ]


def _made_on(item: Item, dataset: str) -> int | None:
    return next((part.createtxg for part in item.parts if part.dataset == dataset), None)


def _depths(sections: Sequence[ConfigSnapshot]) -> dict[str, int]:
    """How many came before each of a guest's snapshots."""
    parents = {each.name: each.parent for each in sections}
    depths = {}
    for each in sections:
        line = [each.name]
        while (parent := parents[line[-1]]) in parents and parent not in line:
            line.append(parent)
        depths[each.name] = len(line) - 1
    return depths


def adoptable(found: Sequence[Item]) -> tuple[Item, ...]:
    """Those of ZFS that a fleet has made, by name and mark, and that this node's record does not know."""
    return tuple(
        item
        for item in found
        if not item.ours
        and item.kind is Kind.ZFS
        and parse_name(item.name)
        and all(part.owner and part.set == part.name for part in item.parts)
    )


def archive_items(subject: Subject, facts: BackupFacts) -> tuple[Item, ...]:
    """The archives of a guest on all storages that were read, newest first."""
    of_guest = (
        archive
        for archives in facts.archives.values()
        for archive in archives
        if archive.vmid == subject.vmid
    )
    found = [_of_archive(subject, archive, facts) for archive in of_guest]
    return tuple(sorted(found, key=lambda item: (item.created, item.name), reverse=True))


def _of_zfs(subject: Subject, parts: Sequence[ZfsSnapshot], facts: BackupFacts) -> Item:
    name = parts[0].name
    ours = all(_is_ours(part, facts) for part in parts)
    guest = facts.guests.get(subject.vmid) if subject.vmid is not None else None
    # The record holds what was to be made: of several pools, one may have failed.
    meant = {each for each in datasets_of(subject, facts) if f"{each}@{name}" in facts.recorded}
    return Item(
        subject=subject.name,
        kind=Kind.ZFS,
        name=name,
        created=max(part.creation for part in parts),
        order=max(part.creation for part in parts),
        size=sum(part.used for part in parts),
        ours=ours,
        owner="fleet" if ours else _unrecorded(name, parts, facts) or probable_owner(name),
        parts=tuple(parts),
        set=parts[0].set if ours else "",
        blocks=_blocks(parts, guest),
        whole=meant <= {part.dataset for part in parts},
        pinned=_latest(part.pinned for part in parts) if ours else "",
    )


def _of_guest(
    subject: Subject,
    guest: GuestState | None,
    section: ConfigSnapshot,
    parts: Sequence[ZfsSnapshot],
    facts: BackupFacts,
) -> Item:
    """One that stands in the guest's configuration; its ZFS snapshots, where it has such, go with it."""
    mark = _MARK.search(section.description)
    ours = bool(
        mark
        and facts.installation
        and mark["owner"] == facts.installation
        and parse_name(section.name)
        and f"{subject.vmid}@{section.name}" in facts.recorded
        # They are marked a moment after they are made.
        and all(part.owner in ("", facts.installation) and not part.replaced for part in parts)
    )
    noted = facts.pins.get(f"{subject.vmid}@{section.name}", "")
    blocks = _blocks(parts, guest)
    if missing := sorted({*section.datasets} - {part.dataset for part in parts}):
        # Proxmox would stop at it half way, and leave the guest locked (backup.md 3.5).
        blocks += (f"not to be found on {', '.join(missing)}",)
    if section.state:
        blocks += (f"half done ({section.state})",)
    return Item(
        subject=subject.name,
        kind=Kind.PCT,
        name=section.name,
        created=section.time,
        order=section.time,
        size=sum(part.used for part in parts),
        ours=ours,
        owner="fleet" if ours else probable_owner(section.name),
        parts=tuple(parts),
        set=section.name if ours else "",
        blocks=blocks,
        whole=not missing and not section.state,
        pinned=_latest((*(part.pinned for part in parts), noted)) if ours else "",
        description=section.description,
    )


def _of_archive(subject: Subject, archive: Archive, facts: BackupFacts) -> Item:
    mark, pin = _MARK.search(archive.notes), _PIN.search(archive.notes)
    ours = bool(
        mark
        and facts.installation
        and mark["owner"] == facts.installation
        and archive.volid in facts.recorded
    )
    return Item(
        subject=subject.name,
        kind=Kind.VZDUMP,
        name=archive.volid,
        created=archive.created,
        order=archive.created,
        size=archive.size,
        ours=ours,
        owner="fleet" if ours else "vzdump",
        archive=archive,
        set=mark["set"] if ours and mark else "",
        pinned=pin["until"] if ours and pin else "",
        description=archive.notes,
    )


def _is_ours(part: ZfsSnapshot, facts: BackupFacts) -> bool:
    """It carries our mark as its own, is named as we name, and the record says that we made this very one."""
    return bool(
        facts.installation
        and part.owner == facts.installation
        and VALID.fullmatch(part.name)
        and parse_name(part.name)
        and part.path in facts.recorded
        and not part.replaced
    )


def _unrecorded(name: str, parts: Sequence[ZfsSnapshot], facts: BackupFacts) -> str:
    marked = facts.installation and all(part.owner == facts.installation for part in parts)
    return "fleet, not in its record" if marked and parse_name(name) else ""


def _blocks(parts: Iterable[ZfsSnapshot], guest: GuestState | None) -> tuple[str, ...]:
    """Why these cannot be removed now."""
    parts = tuple(parts)
    blocks = []
    if any(part.userrefs for part in parts):
        blocks.append("held")
    if clones := sorted({clone for part in parts for clone in part.clones}):
        blocks.append(f"cloned as {', '.join(clones)}")
    if guest is not None and guest.lock:
        blocks.append(f"the guest is locked ({guest.lock})")
    return tuple(blocks)


def _latest(dates: Iterable[str]) -> str:
    return max((date for date in dates if re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)), default="")
