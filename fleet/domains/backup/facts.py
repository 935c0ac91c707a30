"""What the host says of backups: one listing of snapshots, the pools, the record of what fleet made."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleet.core.command import command
from fleet.core.probe import Answer, Probe
from fleet.domains.backup.items import (
    BackupFacts,
    GuestState,
    HostDataset,
    Of,
    Pool,
    Proof,
    ZfsSnapshot,
)

#: Where the host keeps what belongs to backups (fleet/host/backup.sh).
STATE = "${FLEET_STATE:-/var/lib/fleet}"

_COLUMNS = "name,guid,createtxg,creation,used,referenced,userrefs,clones,fleet:owner,fleet:set,fleet:pinned"

# Guests' volumes lie below the pools of zfspool storages; all other datasets are those of hosts.yml, without
# what is below them. Docker's own datasets, which can be thousands, are in neither.
_LIST = r"""
there=$(zfs list -H -o name -t filesystem,volume) || exit 1
below=$(awk '/^[^ \t:#]+:/ { zfs = ($1 == "zfspool:"); next }
  zfs && $1 == "pool" { print $2 }' /etc/pve/storage.cfg)
only() { for name in "$@"; do printf '%s\n' "$there" | grep -qxF -e "$name" && printf '%s\n' "$name"; done; }
list() { [ $# -eq 2 ] || zfs list -Hp -t snapshot -o COLUMNS "$@"; }
list -d 99 $(only $below) && list -d 1 $(only DATASETS)
"""

_DATASETS = "name,mountpoint,mounted,usedbydataset"
_READ_DATASETS = f"zfs list -Hp -o {_DATASETS} -t filesystem,volume"

#: Properties that say that fleet made a dataset of another one (fleet/host/send.sh, restore.sh).
_COPIES = frozenset({"fleet:replica", "fleet:restored"})
_READ_MARKED = (
    "zfs get -Hp -t filesystem,volume -s local,received -o name,property"
    f" {','.join(('fleet:owner', *sorted(_COPIES)))}"
)

_READ_MOUNTS = r"""awk '{ print $2 "\t" $1 ($3 == "zfs" ? "" : " (" $3 ")") }' /proc/self/mounts"""

_READ_RECORD = rf"""
awk '$2 == "making" || $2 == "made" || $2 == "adopted" {{ made[$4] = $5 }}
  $2 == "removed" {{ delete made[$4] }}
  END {{ for (path in made) print path, made[path] }}' "{STATE}/backups.log"
"""

# Pins of what has no ZFS property; the date is the fifth word, `-` once it is pinned no more.
_READ_PINS = rf"""awk '$2 == "pinned" {{ print $4, $5 }}' "{STATE}/backups.log" """

_READ_PROVEN = rf"""awk '$4 == "ok" {{ print $2, $3, $1, $5 }}' "{STATE}/proven" """


@dataclass(frozen=True, slots=True)
class _Listing:
    snapshots: dict[str, list[ZfsSnapshot]] = field(default_factory=dict)
    whole: bool = True


def probes(datasets: Iterable[str]) -> tuple[Probe, ...]:
    """The reads for backups; `datasets`: what hosts.yml protects besides the guests' volumes."""
    listing = _LIST.replace("COLUMNS", _COLUMNS).replace("DATASETS", command(*sorted(datasets)).sh())
    return (
        Probe("clock", "date +%s"),
        Probe("zfs-datasets", _READ_DATASETS),
        Probe("mounts", _READ_MOUNTS),
        Probe("zfs-pools", "zpool list -Hp -o name,health,capacity,free"),
        Probe("zfs-snapshots", listing),
        Probe("zfs-marked", _READ_MARKED),
        Probe("backup-installation", f'cat "{STATE}/installation"'),
        Probe("backup-record", _READ_RECORD),
        Probe("backup-pins", _READ_PINS),
        Probe("backup-proven", _READ_PROVEN),
    )


def read(answers: Mapping[str, Answer], guests: Mapping[int, GuestState]) -> BackupFacts:
    """The facts in the probes' answers; `complete` is False where a listing failed or was not understood."""
    marks = [
        (name, mark) for name, _, mark in (each.partition("\t") for each in _lines(answers["zfs-marked"]))
    ]
    marked = [name for name, mark in marks if mark not in _COPIES]
    record = dict(_record(_lines(answers["backup-record"])))
    listing = _listing(_lines(answers["zfs-snapshots"]), marked, record)
    details = _details(_lines(answers["zfs-datasets"]), {name for name, mark in marks if mark in _COPIES})
    whole = (
        listing.whole
        and details is not None
        and all(answers[name].code == 0 for name in ("zfs-snapshots", "zfs-datasets", "zfs-marked"))
    )
    return BackupFacts(
        now=int(answers["clock"].text),
        installation=answers["backup-installation"].text.strip(),
        complete=whole or _has_no_zfs(answers, guests),
        snapshots={
            dataset: tuple(sorted(found, key=lambda each: (each.createtxg, each.name)))
            for dataset, found in listing.snapshots.items()
        },
        datasets=frozenset(details or ()),
        details=details or {},
        mounts=_mounts(_lines(answers["mounts"])),
        pools=_pools(_lines(answers["zfs-pools"])),
        guests=guests,
        recorded=frozenset(record),
        pins=dict(_record(_lines(answers["backup-pins"]))),
        proven=_proven(_lines(answers["backup-proven"])),
    )


def _has_no_zfs(answers: Mapping[str, Answer], guests: Mapping[int, GuestState]) -> bool:
    """ZFS says nothing at all, and no guest needs it: a listing that broke off looks different."""
    asked = [answers[name] for name in ("zfs-pools", "zfs-datasets", "zfs-snapshots")]
    return all(each.code and not each.text.strip() for each in asked) and not any(
        volume.dataset for guest in guests.values() for volume in guest.volumes
    )


def _record(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What fleet has made, and its guid; `-` where it has none, or the making broke off."""
    for line in lines:
        path, _, guid = line.partition(" ")
        yield path, guid or "-"


def _listing(lines: Sequence[str], marked: Sequence[str], record: Mapping[str, str]) -> _Listing:
    """The snapshots by dataset; those below a dataset that carries the mark itself may only inherit it."""
    inherits = tuple(f"{name}/" for name in marked) + tuple(f"{name}@" for name in marked)
    found = _Listing()
    seen: set[str] = set()
    whole = True
    for line in lines:
        cells = line.split("\t")
        if len(cells) != len(_COLUMNS.split(",")) or not re.fullmatch(r"[^@]+@[^@]+", cells[0]):
            whole = False
            continue
        if cells[0] in seen:  # a dataset of hosts.yml may lie below the pool of a storage
            continue
        seen.add(cells[0])
        try:
            snapshot = _snapshot(cells, inherited=cells[0].startswith(inherits))
        except ValueError:
            whole = False
            continue
        if record.get(snapshot.path, "-") not in ("-", snapshot.guid):
            snapshot = replace(snapshot, replaced=True)
        found.snapshots.setdefault(snapshot.dataset, []).append(snapshot)
    return _Listing(found.snapshots, whole)


def _snapshot(cells: Sequence[str], *, inherited: bool) -> ZfsSnapshot:
    said = ["" if cell == "-" else cell for cell in cells]
    dataset, _, name = said[0].partition("@")
    return ZfsSnapshot(
        dataset=dataset,
        name=name,
        guid=said[1],
        createtxg=int(said[2]),
        creation=int(said[3]),
        used=int(said[4] or 0),
        referenced=int(said[5] or 0),
        userrefs=int(said[6] or 0),
        clones=tuple(each for each in said[7].split(",") if each),
        owner="" if inherited else said[8],
        set="" if inherited else said[9],
        pinned="" if inherited else said[10],
    )


def _details(lines: Sequence[str], copies: Collection[str]) -> dict[str, HostDataset] | None:
    """The datasets by name; None where a line was not understood."""
    found = {}
    for line in lines:
        cells = line.split("\t")
        if len(cells) != len(_DATASETS.split(",")):
            return None
        name, mountpoint, mounted, own = cells
        found[name] = HostDataset(
            name,
            # One that is mounted by /etc/fstab says `legacy`; the mounts say where.
            mountpoint if mounted == "yes" and mountpoint.startswith("/") else "",
            _number(own) or 0,
            copy=name in copies,
        )
    return found


def _mounts(lines: Sequence[str]) -> dict[str, str]:
    """What is mounted where; the kernel writes a blank of a path as \\040."""
    pairs = (line.split("\t", 1) for line in lines)
    return {re.sub(r"\\([0-7]{3})", lambda each: chr(int(each[1], 8)), path): what for path, what in pairs}


def _pools(lines: Sequence[str]) -> dict[str, Pool]:
    pools = {}
    for line in lines:
        name, health, capacity, free = line.split("\t")
        # One that is faulted has no figures (zpool_get_prop prints `-`).
        pools[name] = Pool(name, health, _number(capacity.rstrip("%")), _number(free))
    return pools


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _proven(lines: Sequence[str]) -> dict[tuple[str, Of], Proof]:
    """When each subject was last restored, from a snapshot and from an archive; later lines are later drills.

    No snapshot's name holds a colon, and every archive's volid does; what was proven, old lines do not say.
    """
    proven = {}
    for words in map(str.split, lines):
        if len(words) in (3, 4) and words[2].isdigit():
            of = Of.ARCHIVE if ":backup/" in words[1] else Of.SNAPSHOT
            proven[words[0], of] = Proof(int(words[2]), *words[3:])
    return proven


def _lines(answer: Answer) -> list[str]:
    return [line for line in answer.text.split("\n") if line]
