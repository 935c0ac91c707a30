"""Which backup is meant by NAME@ITEM, and under which number a copy of it can be made. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fleet.core.errors import UsageError
from fleet.domains.backup.assemble import archive_items, items
from fleet.domains.backup.items import BackupFacts, Item, Kind
from fleet.domains.backup.spec import Subject

LATEST, ARCHIVE = "latest", "archive"
_FIRST, _LAST = 100, 999_999_999  # what Proxmox takes as a VMID


@dataclass(frozen=True, slots=True)
class Named:
    """A backup as the command line names it."""

    subject: Subject
    item: str  # a snapshot's name, an archive's volid, `latest` or `archive`

    @property
    def in_archives(self) -> bool:
        """True if the storages of archives have to be read for it."""
        return self.item == ARCHIVE or ":backup/" in self.item


def named(text: str, subjects: Sequence[Subject]) -> Named:
    """NAME@ITEM; UsageError where it is none, or no guest or dataset of hosts.yml has this name."""
    name, at, item = text.partition("@")
    if not at or not name or not item:
        raise UsageError(
            f"{text!r}: write NAME@ITEM: a guest or dataset of hosts.yml and one of its backups,"
            " `latest`, or `archive` for its newest archive"
        )
    for subject in subjects:
        if name in (subject.name, str(subject.vmid)):
            return Named(subject, item)
    near = get_close_matches(name, [each.name for each in subjects], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `inv backup.list` shows all"
    raise UsageError(f"{name!r} is no guest and no dataset of hosts.yml{hint}")


def found(wanted: Named, facts: BackupFacts) -> Item:
    """The backup; UsageError where there is no such, with the nearest that there are.

    `latest` is the newest that fleet made and of which nothing is missing.
    """
    subject = wanted.subject
    there = archive_items(subject, facts) if wanted.in_archives else items(subject, facts)
    usable = [item for item in there if not any(block.startswith("half done") for block in item.blocks)]
    if wanted.item in (LATEST, ARCHIVE):
        whole = [item for item in usable if item.whole]
        ours = [item for item in whole if item.ours]
        if ours or (whole and wanted.item == ARCHIVE):
            return (ours or whole)[0]
        kind = "archive" if wanted.in_archives else "snapshot"
        made = " that fleet made, whole" if there else " yet"
        raise UsageError(f"{subject.name} has no {kind}{made}" + _list(wanted, there))
    for item in there:
        if item.name == wanted.item and any(map(str.isspace, item.name)):
            raise UsageError(f"{item.name!r} has blanks in its name: `zfs rename` it first")
        if item.name == wanted.item:
            if item not in usable:
                raise UsageError(
                    f"{subject.name}@{item.name} is {', '.join(item.blocks)}: nothing can be restored"
                )
            return item
    raise UsageError(f"{subject.name} has no backup {wanted.item!r}" + _list(wanted, there, wanted.item))


def _list(wanted: Named, there: Sequence[Item], like: str = "") -> str:
    names = [item.name for item in there]
    near = get_close_matches(like, names, n=3, cutoff=0.6) if like else []
    shown = near or names[:3]
    said = f": {'the nearest are' if near else 'the newest are'} {', '.join(shown)}" if shown else ""
    more = " --archives" if wanted.in_archives else ""
    return f"{said}; `inv backup.list --limit {wanted.subject.name}{more}` shows all"


def free_vmid(
    taken: Collection[int], datasets: Iterable[str], within: tuple[int, int] = (_FIRST, _LAST)
) -> int:
    """The lowest number that no guest has and no volume bears; UsageError where there is none."""
    borne = orphans(datasets)
    for vmid in range(within[0], within[1] + 1):
        if vmid not in taken and vmid not in borne:
            return vmid
    raise UsageError(f"no VMID from {within[0]} to {within[1]} is free")


def orphans(datasets: Iterable[str]) -> dict[int, str]:
    """A volume of each number that volumes bear, whether a guest has the number or not."""
    found: dict[int, str] = {}
    for name in datasets:
        if match := re.search(r"/(?:base|basevol|subvol|vm)-(\d+)-[^/]+$", name):
            found.setdefault(int(match[1]), name)
    return found


def whole_kind(item: Item) -> str:
    """What a backup is, for people."""
    return {Kind.PCT: "pct snapshot", Kind.ZFS: "zfs snapshot", Kind.VZDUMP: "archive"}[item.kind]
