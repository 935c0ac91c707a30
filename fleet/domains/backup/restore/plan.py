"""Restoring beside the original: to a new VMID, or to a new dataset. Pure; nothing is ever overwritten."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fleet.core.errors import Refused
from fleet.core.plan import Note, Part, Step, Why
from fleet.domains.backup.items import BackupFacts, GuestState, Item, Kind
from fleet.domains.backup.restore import steps
from fleet.domains.backup.restore.choice import free_vmid, orphans
from fleet.domains.backup.restore.config import Copied, Link, Wish, copied, section_of, volume_line
from fleet.domains.backup.spec import Subject
from fleet.tools.sizes import parse_size

_UNKNOWN = "fleet has made nothing on this node yet; `inv backup.snapshot` makes it known there"


@dataclass(frozen=True, slots=True)
class Place:
    """A storage of the node. `pool`: the dataset of a zfspool storage."""

    type: str
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """A container that fleet made as a copy; `half`: its making was interrupted."""

    vmid: int
    mark: str
    half: bool
    running: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """What restoring has to know of the node besides its backups."""

    guests: frozenset[int]  # the VMIDs of the cluster
    reserved: frozenset[int]  # those of hosts.yml and of the drills' range
    storages: Mapping[str, Place]
    copies: tuple[Copy, ...] = ()
    addresses: Mapping[int, frozenset[str]] = field(default_factory=dict)  # static ones, of what runs


@dataclass(frozen=True, slots=True)
class Request:
    """What the copy is to be. `vmid` None: the next free number; `within`: only of this range."""

    vmid: int | None = None
    hostname: str = ""
    storage: str | None = None
    full: bool = False
    start: bool = False
    link: Link = Link.DOWN
    bridge: str | None = None
    binds: bool = False
    devices: bool = True
    purpose: str = "copy"  # or drill
    within: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Restoring:
    """What is done, the copy's number and mark, and where its volumes are mounted inside."""

    part: Part
    vmid: int
    mark: str
    paths: tuple[str, ...] = ()


def mark_of(facts: BackupFacts, item: Item, purpose: str) -> str:
    """The line of a copy's description that says whose it is and of what."""
    return f"fleet: restore owner={facts.installation} for={purpose} from={item.subject}@{item.name}"


def restore_guest(
    subject: Subject, item: Item, config: str, facts: BackupFacts, node: Node, request: Request
) -> Restoring:
    """A copy of a guest. `config`: the text of its configuration file, that of the backup where there is one.

    Refused where it cannot be, or would disturb what runs.
    """
    if not facts.installation:
        raise Refused(_UNKNOWN)
    guest = facts.guests.get(subject.vmid) if subject.vmid is not None else None
    if guest is not None and guest.kind != "lxc":
        raise Refused(f"{subject.name} is a virtual machine: {_by_hand(guest, item)}")
    mark = mark_of(facts, item, request.purpose)
    same = [copy for copy in node.copies if copy.mark == mark and request.vmid in (None, copy.vmid)]
    vmid = same[0].vmid if same else _number(subject, facts, node, request)
    name = f"{'copy of' if request.purpose == 'copy' else 'drill'} {subject.name} ({vmid})"
    if same and not same[0].half:
        return _there(same[0], name, mark, request)
    source = _source(config, item)
    made = copied(
        source,
        Wish(
            vmid=vmid,
            hostname=request.hostname or _hostname(subject, vmid, request),
            mark=mark,
            says=f"{subject.name} as of {item.name}; restored by fleet",
            link=request.link,
            bridge=request.bridge,
            binds=request.binds,
            devices=request.devices,
        ),
    )
    if request.link is Link.UP:
        _refuse_twin(subject, guest, made, node)
    notes = [Note(name, Why.WARNING, each) for each in made.said]
    notes += [_interrupted(copy) for copy in node.copies if copy.half and copy.mark != mark]
    clones = (
        item.kind is not Kind.VZDUMP
        and (item.kind is Kind.ZFS or request.purpose == "drill")
        and bool(item.parts)
    )
    if clones:
        step, said = _of_zfs(made, item, node, request, vmid, mark, name)
    elif item.kind is Kind.PCT and guest is not None:
        step, said = _of_pct(made, guest, item, request, vmid, mark, name), ()
    elif item.kind is Kind.VZDUMP:
        step, said = _of_archive(made, item, node, request, vmid, mark, name)
    else:
        raise Refused(
            f"{subject.name}@{item.name}: the guest is not on the node, and so is none of its snapshots"
        )
    notes += [Note(name, Why.WARNING, each) for each in said]
    if request.link is Link.DOWN and request.purpose == "copy":
        notes.append(Note(name, Why.WARNING, "its network is unplugged (link_down=1); --connect plugs it in"))
    planned = [step]
    if request.start:
        planned.append(steps.start(vmid, mark, name, (step.id,)))
    paths = tuple(props.get("mp", "/") for _, props in sorted(made.volumes.items()))
    return Restoring(Part(tuple(planned), tuple(notes)), vmid, mark, tuple(dict.fromkeys(("/", *paths))))


def restore_dataset(subject: Subject, item: Item, facts: BackupFacts, copies: Collection[str]) -> Part:
    """A writable clone of a dataset's snapshot beside it, mounted where it hides nothing.

    `copies`: the datasets that fleet made as such.
    """
    if not facts.installation:
        raise Refused(_UNKNOWN)
    part = item.parts[0]
    target = f"{subject.name}-restored-{item.name}"
    mountpoint = f"/mnt/fleet/{target.replace('/', '-')}"
    if target in copies:
        return Part(notes=(Note(target, Why.UNCHANGED, f"it is restored already, at {mountpoint}"),))
    if target in facts.datasets:
        raise Refused(f"there is a dataset {target}, which fleet did not make: rename it first")
    depends = f"it is a clone: {part.path} cannot be removed before it"
    step = steps.clone_dataset(part, target, mountpoint, subject.name)
    return Part((step,), (Note(target, Why.WARNING, depends),))


# ── the three ways ────────────────────────────────────────────────────────────────────────────────


def _of_zfs(
    made: Copied, item: Item, node: Node, request: Request, vmid: int, mark: str, name: str
) -> tuple[Step, tuple[str, ...]]:
    parts = {part.dataset: part for part in item.parts}
    numbers: dict[str, int] = {}
    entries: list[steps.VolumeCopy] = []
    lines: list[str] = []
    said: list[str] = []
    for key, props in sorted(made.volumes.items(), key=lambda each: (each[0] != "rootfs", each[0])):
        storage, _, volume = props["volume"].partition(":")
        pool = node.storages[storage].pool if storage in node.storages else None
        part = parts.get(f"{pool}/{volume.rpartition('/')[2]}")
        if part is None:
            if key == "rootfs":
                raise Refused(
                    f"{item.subject}@{item.name} does not hold its root file system ({props['volume']})"
                )
            said.append(f"left out: {key}: {props['volume']} is not in the snapshot")
            continue
        target_storage = request.storage or storage
        target_pool = _zfs_pool(target_storage, node)
        if not request.full and target_pool.split("/")[0] != part.dataset.split("/")[0]:
            raise Refused(f"a clone stays on its pool, and {target_storage} is on another one: add --full")
        number = numbers.get(target_pool, 0)
        numbers[target_pool] = number + 1
        new = f"subvol-{vmid}-disk-{number}"
        size = parse_size(props["size"]) if props.get("size") else 0
        entries.append(
            steps.VolumeCopy(part.path, part.guid, f"{target_pool}/{new}", str(size) if size else "none")
        )
        lines.append(volume_line(key, props, f"{target_storage}:{new}"))
    if not request.full and request.purpose == "copy":
        said.append(
            "its volumes are clones: the snapshot cannot be removed before them"
            " (`zfs promote`, or --full for a copy of its own)"
        )
    step = steps.copy_zfs(
        vmid, mark, name, item, "full" if request.full else "clone", made.text, lines, entries
    )
    return step, tuple(said)


def _of_pct(
    made: Copied, guest: GuestState, item: Item, request: Request, vmid: int, mark: str, name: str
) -> Step:
    if guest.lock:
        raise Refused(
            f"Proxmox holds the lock {guest.lock} on {guest.name}, which is cloned: wait for its end"
        )
    words = ["pct", "clone", str(guest.vmid), str(vmid), "--snapname", item.name, "--full", "1"]
    words += ["--hostname", _value(made, "hostname"), "--description", mark]
    if request.storage:
        words += ["--storage", request.storage]
    return steps.copy_pct(vmid, mark, name, item, made.text, words, of=guest.vmid)


def _of_archive(
    made: Copied, item: Item, node: Node, request: Request, vmid: int, mark: str, name: str
) -> tuple[Step, tuple[str, ...]]:
    assert item.archive is not None
    words = ["pct", "restore", str(vmid), item.archive.volid, "--unique", "1", "--description", mark]
    said = []
    for key, props in sorted(made.volumes.items(), key=lambda each: (each[0] != "rootfs", each[0])):
        storage = request.storage or props["volume"].partition(":")[0]
        if storage not in node.storages:
            raise Refused(f"the node has no storage {storage}: name another one with --storage")
        if not props.get("size"):
            raise Refused(f"the archive does not say how large {key} is")
        gib = f"{parse_size(props['size']) / (1 << 30):.6f}".rstrip("0").rstrip(".")
        # Named one by one: what Proxmox would unpack into otherwise may be the original's own bind mounts.
        rest = {each: value for each, value in props.items() if each not in ("volume", "size")}
        words += [f"--{key}", volume_line(key, rest, f"{storage}:{gib}").partition(": ")[2]]
        if key != "rootfs" and props.get("backup") != "1":
            said.append(f"{key} ({props.get('mp')}) is made empty: archives of this guest do not hold it")
    for key in ("hostname", "tags", "onboot"):
        words += [f"--{key}", _value(made, key)]
    words += ["--protection", "0"]
    for line in made.text.split("\n"):
        key, _, value = line.partition(": ")
        if key.startswith("net"):
            words += [f"--{key}", value]
    return steps.copy_pct(vmid, mark, name, item, made.text, words), tuple(said)


# ── what they share ───────────────────────────────────────────────────────────────────────────────


def _source(config: str, item: Item) -> str:
    """The configuration as the backup has it: for Proxmox's own snapshots it stands in the guest's file."""
    section = section_of(config, item.name) if item.kind is Kind.PCT else None
    return section if section is not None else config


def _number(subject: Subject, facts: BackupFacts, node: Node, request: Request) -> int:
    if request.vmid is None:
        if request.within:
            return free_vmid(node.guests, facts.datasets, request.within)
        return free_vmid(node.guests | node.reserved, facts.datasets)
    lost = request.vmid == subject.vmid  # the guest itself is gone: this is to be it again
    if request.vmid in node.guests or (request.vmid in node.reserved and not lost):
        raise Refused(
            f"the VMID {request.vmid} is taken: by a guest, by hosts.yml, or by the range of drills"
        )
    if volume := orphans(facts.datasets).get(request.vmid):
        raise Refused(f"the VMID {request.vmid} is free, but there is a volume of its number: {volume}")
    return request.vmid


def _hostname(subject: Subject, vmid: int, request: Request) -> str:
    if vmid == subject.vmid:
        return subject.name
    return f"{subject.name}-{'restored' if request.purpose == 'copy' else 'drill'}"


def _there(copy: Copy, name: str, mark: str, request: Request) -> Restoring:
    note = Note(name, Why.UNCHANGED, f"it is restored already, as {copy.vmid}; --vmid N makes another copy")
    start = (steps.start(copy.vmid, mark, name, ()),) if request.start and not copy.running else ()
    return Restoring(Part(start, (note,)), copy.vmid, mark)


def _interrupted(copy: Copy) -> Note:
    of = copy.mark.partition(" from=")[2]
    finish = (
        f"`inv backup.restore {of}` finishes it"
        if " for=copy " in copy.mark
        else "the next drill destroys it"
    )
    by_hand = f"pct unlock {copy.vmid} && pct destroy {copy.vmid}"
    return Note(
        f"copy {copy.vmid}",
        Why.WARNING,
        f"a copy of {of} was interrupted: {finish}, or on the node: {by_hand}",
    )


def _zfs_pool(storage: str, node: Node) -> str:
    place = node.storages.get(storage)
    if place is None:
        raise Refused(f"the node has no storage {storage}; it has {', '.join(sorted(node.storages))}")
    if place.pool is None:
        raise Refused(
            f"the storage {storage} is of type {place.type}: a snapshot of ZFS can only become"
            " a volume on ZFS"
        )
    return place.pool


def _refuse_twin(subject: Subject, guest: GuestState | None, made: Copied, node: Node) -> None:
    for vmid, addresses in node.addresses.items():
        if shared := sorted(addresses & made.addresses):
            who = guest.name if guest is not None and guest.vmid == vmid else str(vmid)
            raise Refused(
                f"{who} is running with the address {', '.join(shared)}, which the copy of {subject.name}"
                " has, too: stop it first, or restore without --connect"
            )


def _value(made: Copied, key: str) -> str:
    return next(line.partition(": ")[2] for line in made.text.split("\n") if line.startswith(f"{key}: "))


def _by_hand(guest: GuestState, item: Item) -> str:
    if item.kind is Kind.VZDUMP:
        return f"on the node, `qmrestore {item.name} NEWID --unique 1` restores it to a new number"
    if item.kind is Kind.PCT:
        return f"on the node, `qm clone {guest.vmid} NEWID --snapname {item.name} --full 1` restores it"
    return "fleet restores containers only"


def left_copies(node: Node, within: tuple[int, int]) -> Sequence[Copy]:
    """The drills' copies in their range."""
    return [
        copy for copy in node.copies if within[0] <= copy.vmid <= within[1] and " for=drill " in copy.mark
    ]
