"""A model of a node for tests of backups: pools, guests, a replica, and what fleet's functions do there.

It tells of itself in text as the real node does (the answers of the probes), and is acted on by the commands
of steps: each is a function of fleet/host/backup.sh, send.sh or prelude.sh, done here as it is done there.
What the node cannot know and a judge must is kept beside: which snapshots fleet really made, in which run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleet.core.command import Command
from fleet.core.plan import Step
from fleet.core.probe import Answer
from fleet.domains.backup.items import ConfigSnapshot, GuestState, Volume
from fleet.host.guarded import Outcome

ID = "0123456789abcdef0123456789abcdef"
ONE_SNAPSHOT = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.:-]+)*@fleet-[a-z0-9_-]{1,34}")
FOLDERS = frozenset({"tank", "tank/guests", "fast", "fast/guests", "usb", "usb/replica"})


class PowerCutError(Exception):
    """The node went down in the middle."""


class ToolError(Exception):
    """A command failed, with what it said."""


@dataclass(eq=False)
class Snap:
    """A ZFS snapshot. `run`: the run of fleet that made it; None: somebody else did."""

    dataset: str
    name: str
    guid: str
    txg: int
    creation: int
    run: int | None = None
    owner: str = ""
    set: str = ""
    pinned: str = ""
    holds: int = 0
    clones: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"{self.dataset}@{self.name}"


@dataclass(eq=False)
class Section:
    """A snapshot in a guest's configuration."""

    name: str
    time: int
    description: str
    run: int | None = None
    state: str = ""
    parent: str = ""
    datasets: list[str] = field(default_factory=list)  # of the volumes that the guest had then


@dataclass(eq=False)
class Guest:
    vmid: int
    name: str
    kind: str
    volumes: list[tuple[str, str, str]]  # key, type of the storage, dataset or path
    lock: str = ""
    sections: list[Section] = field(default_factory=list)

    @property
    def datasets(self) -> list[str]:
        return [place for _, kind, place in self.volumes if kind == "zfspool"]

    def state(self) -> GuestState:
        return GuestState(
            self.vmid,
            self.name,
            self.kind,
            running=True,
            lock=self.lock,
            volumes=tuple(_volume(*each) for each in self.volumes),
            snapshots=tuple(
                ConfigSnapshot(
                    each.name, each.time, each.description, each.parent, each.state, tuple(each.datasets)
                )
                for each in self.sections
            ),
        )


def _volume(key: str, kind: str, place: str) -> Volume:
    if kind == "bind":
        return Volume(key, place, path=place, backup=False)
    name = place.rpartition("/")[2]
    return Volume(key, f"guests:{name}", "guests", kind, place if kind == "zfspool" else None, "/")


class Node:
    """The node. Times are epoch seconds; its clock may be wrong."""

    def __init__(self, start: int) -> None:
        self.time = start
        self.skew = 0
        self.run = 0  # which run of fleet acts; what is made meanwhile is its
        self.fuel: int | None = None  # so many changes more, then the power goes
        self.failing: set[str] = set()  # datasets and VMIDs that cannot be snapshotted now
        self.installation = ""
        self.recorded: dict[str, str] = {}  # what the record says that fleet made at any time, and its guid
        self.known: dict[str, str] = {}  # of it, what it has not removed again
        self.sent: dict[tuple[str, str], None] = {}  # the same with the guid
        self.guests = {
            each.vmid: each
            for each in (
                Guest(101, "web", "lxc", [("rootfs", "zfspool", "tank/guests/subvol-101-disk-0")]),
                Guest(
                    102,
                    "db",
                    "lxc",
                    [
                        ("rootfs", "zfspool", "tank/guests/subvol-102-disk-0"),
                        ("mp0", "zfspool", "tank/guests/subvol-102-disk-1"),
                        ("mp1", "bind", "/data"),
                    ],
                ),
                Guest(
                    103,
                    "wide",
                    "lxc",
                    [
                        ("rootfs", "zfspool", "tank/guests/subvol-103-disk-0"),
                        ("mp0", "zfspool", "fast/guests/subvol-103-disk-0"),
                        ("mp1", "bind", "/data"),
                    ],
                ),
                Guest(104, "thin", "lxc", [("rootfs", "lvmthin", "vm-104-disk-0")]),
                Guest(201, "vm", "qemu", [("scsi0", "zfspool", "tank/guests/vm-201-disk-0")]),
            )
        }
        named = {place for guest in self.guests.values() for place in guest.datasets}
        self.snaps: dict[str, list[Snap]] = {name: [] for name in sorted({"tank/data", *named})}
        self.marked: set[str] = set()  # datasets that somebody gave our mark themselves
        self.bookmarks: dict[str, tuple[str, int]] = {}  # path -> guid, transaction
        self.copies: dict[str, list[Snap]] = {}  # the replica's datasets
        self.marks: dict[str, str] = {}  # their fleet:replica
        self.replica_answers = True
        self.destroyed: Callable[[Snap | Section, str], None] = lambda _what, _where: None
        self._number = 0

    # ── what people and programs do ──

    @property
    def clock(self) -> int:
        return self.time + self.skew

    def number(self) -> int:
        self._number += 1
        return self._number

    def find(self, path: str) -> Snap | None:
        dataset, _, name = path.partition("@")
        return next((each for each in self._all(dataset) if each.name == name), None)

    def every(self) -> Iterator[Snap]:
        for found in (*self.snaps.values(), *self.copies.values()):
            yield from found

    def _all(self, dataset: str) -> list[Snap]:
        return self.snaps.get(dataset, []) or self.copies.get(dataset, [])

    def snapshot(self, paths: Iterable[str], run: int | None = None, owner: str = "", set_: str = "") -> None:
        """`zfs snapshot` of these at once: all or none."""
        parts = [path.partition("@") for path in paths]
        for dataset, _, name in parts:
            if dataset not in self.snaps:
                raise ToolError(f"cannot open '{dataset}': dataset does not exist")
            if dataset in self.failing:
                raise ToolError(f"cannot create snapshot '{dataset}@{name}': out of space")
            if self.find(f"{dataset}@{name}"):
                raise ToolError(f"cannot create snapshot '{dataset}@{name}': dataset already exists")
        self._spend()
        txg = self.number()
        for dataset, _, name in parts:
            guid = str(10**12 + self.number())
            self.snaps[dataset].append(Snap(dataset, name, guid, txg, self.clock, run, owner, set_))

    def destroy(self, path: str) -> None:
        """`zfs destroy` of one snapshot."""
        snap = self.find(path)
        if snap is None:
            raise ToolError("could not find any snapshots to destroy; check snapshot names.")
        if snap.holds or snap.clones:
            raise ToolError(f"cannot destroy '{path}': it is {'busy' if snap.holds else 'cloned'}")
        self._spend()
        self.destroyed(snap, path)
        self._all(snap.dataset).remove(snap)

    def guest_snapshot(self, vmid: int, name: str, description: str, run: int | None = None) -> None:
        """`pct snapshot` or `qm snapshot`."""
        guest = self.guests[vmid]
        if guest.lock:
            raise ToolError(f"CT is locked ({guest.lock})")
        if any(each.name == name for each in guest.sections):
            raise ToolError(f"snapshot name '{name}' already used")
        if str(vmid) in self.failing:
            raise ToolError("unable to freeze: timeout")
        self._spend()
        parent = guest.sections[-1].name if guest.sections else ""
        section = Section(name, self.clock, description, run, "prepare", parent, guest.datasets)
        guest.sections.append(section)
        guest.lock = "snapshot"
        made: list[str] = []
        try:
            for dataset in guest.datasets:
                self.snapshot([f"{dataset}@{name}"], run)
                made.append(f"{dataset}@{name}")
        except ToolError:
            for path in made:
                dataset = path.partition("@")[0]
                self.snaps[dataset] = [each for each in self.snaps[dataset] if each.path != path]
            guest.sections.remove(section)
            guest.lock = ""
            raise
        self._spend()
        section.state = guest.lock = ""

    def guest_delsnapshot(self, vmid: int, name: str) -> None:
        """`pct delsnapshot`: what fails half way stays locked."""
        guest = self.guests[vmid]
        if guest.lock:
            raise ToolError(f"CT is locked ({guest.lock})")
        section = next(each for each in guest.sections if each.name == name)
        self._spend()
        guest.lock, section.state = "snapshot-delete", "delete"
        for dataset in section.datasets:
            self.destroy(f"{dataset}@{name}")
        self._spend()
        self.destroyed(section, f"{vmid}@{name}")
        for each in guest.sections:
            each.parent = section.parent if each.parent == name else each.parent
        guest.sections.remove(section)
        guest.lock = ""

    def repair(self) -> None:
        """What a person does after a crash: unlock, and drop what is half done."""
        for guest in self.guests.values():
            guest.lock = ""
            for section in [each for each in guest.sections if each.state]:
                guest.sections.remove(section)
                for dataset in {*section.datasets} & {*self.snaps}:
                    self.snaps[dataset] = [each for each in self.snaps[dataset] if each.name != section.name]

    def rename(self, vmid: int) -> None:
        """A guest's last volume gets another number, as moving a disk does."""
        guest = self.guests[vmid]
        key, kind, old = guest.volumes[len(guest.datasets) - 1]
        new = f"{old.rpartition('-')[0]}-{self.number()}"
        guest.volumes[len(guest.datasets) - 1] = (key, kind, new)
        self.snaps[new] = self.snaps.pop(old)
        for snap in self.snaps[new]:
            snap.dataset = new
        self.bookmarks = {path.replace(f"{old}#", f"{new}#"): each for path, each in self.bookmarks.items()}

    def _spend(self) -> None:
        if self.fuel is not None:
            if self.fuel == 0:
                raise PowerCutError
            self.fuel -= 1

    # ── what it answers ──

    def answers(self, broken: float | None = None, *, pools_too: bool = False) -> dict[str, Answer]:
        """Of all probes. `broken`: after which part of it the listing of snapshots broke off."""
        rows = [row for dataset in self.snaps for row in map(self._row, self.snaps[dataset])]
        text = "".join(f"{row}\n" for row in rows)
        if broken is not None:
            text = text[: int(len(text) * broken)]
        names = sorted(FOLDERS | set(self.snaps) | set(self.copies))
        datasets = "\n".join(f"{name}\t/{name}\tyes\t98304" for name in names)
        failed = int(broken is not None)
        return {
            "clock": Answer(f"{self.clock}\n", 0),
            "zfs-datasets": Answer(datasets, 0),
            "zfs-pools": Answer(
                "" if pools_too else "tank\tONLINE\t10\t99\nfast\tONLINE\t10\t99\n", int(pools_too)
            ),
            "mounts": Answer("", 0),
            "zfs-snapshots": Answer(text, failed),
            "zfs-marked": Answer("\n".join(f"{name}\tfleet:owner" for name in sorted(self.marked)), 0),
            "backup-installation": Answer(f"{self.installation}\n", 0),
            "backup-record": Answer("\n".join(f"{path} {guid}" for path, guid in self.known.items()), 0),
            "backup-pins": Answer("", 0),
            "backup-proven": Answer("", 0),
            "replica-bookmarks": Answer(
                "\n".join(
                    f"{path}\t{guid}\t{txg}"
                    for path, (guid, txg) in sorted(self.bookmarks.items(), key=lambda each: each[1][1])
                ),
                0,
            ),
            "replica-sources": Answer("\n".join(f"{name}\tfilesystem\toff" for name in self.snaps), 0),
            "replica-record": Answer("\n".join(f"{path} {guid}" for path, guid in self.sent), 0),
            "replica-sending": Answer("", 0),
            "replica-usb": self._replica(),
        }

    def _row(self, snap: Snap) -> str:
        owner = snap.owner or (ID if snap.dataset in self.marked else "-")
        cells = (
            snap.path, snap.guid, snap.txg, snap.creation, 100, 1000, snap.holds,
            ",".join(snap.clones) or "-", owner, snap.set or "-", snap.pinned or "-",
        )  # fmt: skip
        return "\t".join(map(str, cells))

    def _replica(self) -> Answer:
        if not self.replica_answers:
            return Answer("cannot open 'usb/replica': pool I/O is currently suspended", 0)
        lines = ["usb/replica\t-\t-\ton"]
        lines += [f"{name}\t-\t{self.marks.get(name, '-')}\ton" for name in self.copies]
        lines.append("copies")
        for found in self.copies.values():
            for each in found:
                clones = ",".join(each.clones) or "-"
                lines.append(
                    f"{each.path}\t{each.guid}\t{each.txg}\t{each.creation}\t100\t{each.holds}\t{clones}"
                )
        return Answer("\n".join((*lines, "end")), 0)

    # ── steps ──

    def perform(self, step: Step) -> tuple[Outcome, list[str]]:
        """A step as fleet/host/guarded.py runs it."""
        log: list[str] = []
        if all(self.call(each.command, log) for each in step.done):
            return Outcome.SKIPPED, []
        if not all(self.call(each.command, log) for each in step.expect):
            return Outcome.STALE, log
        good = all(self.call(each, log) for each in step.do)
        if all(self.call(each.command, log) for each in step.done):
            return Outcome.DONE, log
        return (Outcome.UNCONFIRMED if good else Outcome.FAILED), log

    def call(self, command: Command, log: list[str]) -> bool:
        """Whether the function that the command names succeeds."""
        words = [str(word) for word in command.words]
        return bool(getattr(self, f"do_{words[0]}")(log, *words[1:]))

    def note(self, verb: str, path: str, guid: str = "-") -> None:
        """One line more in the record."""
        self._spend()
        if verb in ("making", "made"):
            self.known[path] = guid
            self.recorded[path] = guid if guid != "-" else self.recorded.get(path, "-")
            if guid != "-":
                self.sent[path, guid] = None
        elif verb == "removed":
            self.known.pop(path, None)
            self.sent.pop((path, guid), None)

    def do_fleet_has(self, _log: list[str], *paths: str) -> bool:
        return all(self.find(path) for path in paths)

    def do_fleet_take_zfs(self, log: list[str], set_: str, _seconds: str, *groups: str) -> bool:
        self.installation = ID
        try:
            self._together(set_, groups)
        except ToolError:
            for group in groups:
                try:
                    self._together(set_, [group])
                except ToolError as error:
                    vmid, _, *datasets = group.split()
                    log.append(f"fleet: failed {datasets[-1] if vmid == '-' else vmid} {error}")
        return not log

    def _together(self, set_: str, groups: Sequence[str]) -> None:
        """One snapshot a pool; a pool that fails does not stop the others."""
        wanted = [f"{dataset}@{set_}" for group in groups for dataset in group.split()[2:]]
        lacking = [path for path in wanted if not self.find(path)]
        for path in lacking:
            self.note("making", path)
        failed = None
        for pool in sorted({path.partition("/")[0] for path in lacking}):
            try:
                self.snapshot([path for path in lacking if path.startswith(f"{pool}/")], self.run, ID, set_)
            except ToolError as error:
                failed = error
        for path in lacking:
            if snap := self.find(path):
                self.note("made", path, snap.guid)
        if failed:
            raise failed

    def do_fleet_take_pct(self, log: list[str], set_: str, _jobs: str, *groups: str) -> bool:
        self.installation = ID
        for group in groups:
            vmid, _, *datasets = group.split()
            guest = self.guests[int(vmid)]
            if not any(each.name == set_ and not each.state for each in guest.sections):
                self.note("making", f"{vmid}@{set_}")
                try:
                    self.guest_snapshot(int(vmid), set_, f"fleet: owner={ID} set={set_}", self.run)
                except ToolError as error:
                    log.append(f"fleet: failed {vmid} {error}")
                    if not any(each.name == set_ for each in guest.sections):
                        self.note("removed", f"{vmid}@{set_}")
                    continue
            for dataset in datasets:
                if snap := self.find(f"{dataset}@{set_}"):
                    self._spend()
                    snap.owner, snap.set = ID, set_
                    self.note("made", snap.path, snap.guid)
            self.note("made", f"{vmid}@{set_}")
        return True

    def do_fleet_has_pct(self, _log: list[str], set_: str, *vmids: str) -> bool:
        return all(
            any(each.name == set_ and not each.state for each in self.guests[int(vmid)].sections)
            for vmid in vmids
        )

    def do_fleet_gone_zfs(self, _log: list[str], *entries: str) -> bool:
        paths = [entry.split()[1] for entry in entries]
        return all(path.partition("@")[0] in self.snaps and not self.find(path) for path in paths)

    def do_fleet_gone_pct(self, _log: list[str], *entries: str) -> bool:
        parts = [entry.split() for entry in entries]
        return not any(each.name == part[2] for part in parts for each in self.guests[int(part[0])].sections)

    def _loose(self, path: str, guid: str, owner: str) -> str:
        """Why this may not be removed; empty: it may."""
        snap = self.find(path)
        today = f"{datetime.fromtimestamp(self.clock, UTC):%Y-%m-%d}"
        if snap is None:
            return "could not be read"
        if snap.guid != guid:
            return "is another snapshot than the one that was planned"
        if owner not in ("any", snap.owner):
            return "does not carry our mark"
        if snap.holds or snap.clones:
            return "is held or has clones"
        return f"is pinned until {snap.pinned}" if snap.pinned >= today else ""

    def do_fleet_drop_zfs(self, log: list[str], *entries: str) -> bool:
        good = [self._drop_zfs(log, *entry.split()) for entry in entries]  # each, whatever became of others
        return all(good)

    def _drop_zfs(self, log: list[str], vmid: str, path: str, guid: str, *_why: str) -> bool:
        if not self.find(path):
            return True
        why = f"the guest is locked ({self.guests[int(vmid)].lock})" if self._locked(vmid) else ""
        why = why or ("" if ONE_SNAPSHOT.fullmatch(path) else "is no name of a snapshot of fleet's")
        made = self.recorded.get(path, "") in ("-", guid)
        why = why or ("" if made else "is not in the record of what fleet made")
        why = why or self._loose(path, guid, self.installation)
        if why:
            log.append(f"fleet: kept {path} it {why}")
            return False
        self.note("removing", path, guid)
        return self._gone(log, lambda: self.destroy(path), path, guid)

    def _gone(self, log: list[str], remove: Callable[[], None], path: str, guid: str = "-") -> bool:
        try:
            remove()
        except ToolError as error:
            self.note("failed", path, guid)
            log.append(f"fleet: kept {path} {error}")
            return False
        self.note("removed", path, guid)
        return True

    def _locked(self, vmid: str) -> bool:
        return vmid != "-" and bool(self.guests[int(vmid)].lock)

    def do_fleet_drop_pct(self, log: list[str], _jobs: str, *entries: str) -> bool:
        # each, whatever became of others
        good = [self._drop_pct(log, *entry.partition(" -- ")[0].split()) for entry in entries]
        return all(good)

    def _drop_pct(self, log: list[str], vmid: str, _tool: str, name: str, *parts: str) -> bool:
        guest = self.guests[int(vmid)]
        section = next((each for each in guest.sections if each.name == name), None)
        if section is None:
            return True
        why = f"the guest is locked ({guest.lock})" if guest.lock else ""
        if f"{vmid}@{name}" not in self.recorded or f"owner={self.installation} " not in section.description:
            why = why or "it does not carry our mark"
        for part in parts:
            path, _, guid = part.rpartition("=")
            why = why or self._loose(path, guid, "any")
        if why:
            log.append(f"fleet: kept {vmid}@{name} {why}")
            return False
        self.note("removing", f"{vmid}@{name}")
        return self._gone(log, lambda: self.guest_delsnapshot(int(vmid), name), f"{vmid}@{name}")

    def do_fleet_pinned(self, _log: list[str], until: str, *paths: str) -> bool:
        return all((snap := self.find(path)) and snap.pinned == until.lstrip("-") for path in paths)

    def do_fleet_pin(self, _log: list[str], until: str, *paths: str) -> bool:
        for path in paths:
            snap = self.find(path)
            assert snap is not None
            snap.pinned = until.lstrip("-")
        return True

    # ── steps of replicas: the only one is a dataset of this node ──

    def do_fleet_zfs(self, _log: list[str], path: str, _property: str, guid: str) -> bool:
        if "#" in path:
            return self.bookmarks.get(path, ("", 0))[0] == guid
        snap = self.find(path)
        return snap is not None and snap.guid == guid

    def _look(self, target: str) -> list[Snap] | None:
        return self.copies.get(target) if self.replica_answers else None

    def do_fleet_copied(self, _log: list[str], _host: str, _parent: str, target: str, guid: str) -> bool:
        return any(each.guid == guid for each in self._look(target) or [])

    def do_fleet_copy_as(
        self, _log: list[str], _host: str, _parent: str, target: str, mark: str, newest: str, token: str
    ) -> bool:
        if not self.replica_answers or token != "-":
            return False
        found = self.copies.get(target)
        if found is None:
            return newest == "-"
        return self.marks.get(target) == mark and (found[-1].guid if found else "-") == newest

    def do_fleet_send(
        self, _log: list[str], _host: str, _parent: str, target: str, mark: str, *rest: str
    ) -> bool:
        _kind, _raw, _limit, path, guid, how, *base = rest
        snap = self.find(path)
        if not self.replica_answers or snap is None or snap.guid != guid:
            return False
        copies = self.copies.get(target)
        if any(each.guid == guid for each in copies or []):
            return True
        self.note("making", f"{target}@{snap.name}", guid)
        if how == "full" and copies is not None:  # cannot receive new filesystem stream: destination exists
            return False
        if how == "from":
            start = self.bookmarks.get(base[0], ("", 0))[0] if "#" in base[0] else None
            from_snap = self.find(base[0])
            start = start or (from_snap.guid if from_snap else "")
            if not copies or copies[-1].guid != start:
                return False
        self._spend()
        self.marks[target] = mark
        copy = Snap(target, snap.name, snap.guid, self.number(), snap.creation, snap.run)
        self.copies.setdefault(target, []).append(copy)
        self.note("made", f"{target}@{snap.name}", guid)
        return True

    def do_fleet_remember(self, _log: list[str], replica: str, path: str, mark: str, guid: str) -> bool:
        snap = self.find(path)
        if self.bookmarks.get(mark, ("", 0))[0] != guid:
            if snap is None:
                return False
            self.note("making", mark, guid)
            self.bookmarks[mark] = (snap.guid, snap.txg)
            self.note("made", mark, guid)
        dataset = path.partition("@")[0]
        old = re.compile(rf"{re.escape(dataset)}#fleet-{replica}-\d{{8}}t\d{{6}}z")
        for each in [each for each in self.bookmarks if old.fullmatch(each) and each != mark]:
            if each in self.recorded:
                self._spend()
                del self.bookmarks[each]
        return True

    def do_fleet_copies_gone(
        self, _log: list[str], _host: str, _parent: str, target: str, *entries: str
    ) -> bool:
        found = self._look(target)
        names = {entry.rpartition("=")[0] for entry in entries}
        return found is not None and not any(each.name in names for each in found)

    def do_fleet_drop_copies(
        self, log: list[str], _host: str, _parent: str, target: str, mark: str, newest: str, *entries: str
    ) -> bool:
        good = True
        for entry in entries:
            name, _, guid = entry.partition(" ")[0].rpartition("=")
            found = self._look(target) or []
            snap = next((each for each in found if each.name == name), None)
            sent = (f"{target}@{name}", guid) in self.sent
            if (
                snap is None
                or not (sent and ONE_SNAPSHOT.fullmatch(f"{target}@{name}"))
                or snap.guid != guid
                or guid in (newest, found[-1].guid)
                or self.marks.get(target) != mark
                or snap.holds
                or snap.clones
            ):
                good = False
                log.append(f"fleet: kept {target}@{name}")
                continue
            self.note("removing", f"{target}@{name}", guid)
            self.destroy(f"{target}@{name}")
            self.note("removed", f"{target}@{name}", guid)
        return good
