"""What hosts.yml wants of backups -> one policy a guest and a dataset, all layers merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fleet.domains.backup.spec import (
    ArchivePolicy,
    BackupSpec,
    Brake,
    Drill,
    Keep,
    Replica,
    SnapshotPolicy,
    Subject,
)
from fleet.inventory.checks.backup import check, check_dead_man, guest_pools, targets
from fleet.inventory.checks.scene import Guest, Scene
from fleet.inventory.checks.storage import unfit
from fleet.inventory.document import Path, line_of
from fleet.inventory.merge import Values, merge_keep
from fleet.inventory.problems import nearest
from fleet.inventory.shape.backup import BackupSection, Prune
from fleet.inventory.shape.backup_fields import known_zone
from fleet.inventory.shape.model import Section
from fleet.schedule.calendar import parse
from fleet.schedule.jobs import told_apart

#: What is kept where a policy does not say: today's and those of seven days before (backup.md 2.8).
DEFAULT_KEEP: Mapping[str, int] = {"keep-last": 1, "keep-daily": 7}


def backup_spec(scene: Scene) -> BackupSpec:
    """The policy of every guest and dataset; what is wrong with it goes to the findings."""
    section = scene.hosts.backup or BackupSection.absent()
    policies = _Policies(scene, section)
    subjects, replicas, drill = (*policies.guests(), *policies.datasets()), policies.replicas(), section.drill
    check(scene, subjects, replicas)
    spec = BackupSpec(
        timezone=_timezone(scene, section),
        subjects=subjects,
        replicas=replicas,
        drill=None
        if drill is None
        else Drill(drill.vmids, drill.max_age, drill.storage, drill.bridge, drill.schedule),
        brake=Brake(section.brake.count, section.brake.percent),
        newest=section.newest,
        excluded=section.exclude,
    )
    check_dead_man(scene, told_apart(spec))
    return spec


def _timezone(scene: Scene, section: BackupSection) -> str:
    node = scene.hosts.node.timezone
    name = section.timezone or (node if node not in (None, "host") else None) or "UTC"
    if not known_zone(name):
        scene.error(("node", "timezone"), f"{name} is unknown on this machine; install tzdata")
    return name


class _Policies:
    """The policy of the node, and of each guest and dataset on top of it."""

    def __init__(self, scene: Scene, section: BackupSection) -> None:
        self._scene = scene
        self._section = section
        self._snapshots = _given(section.snapshots)
        self._archives = _given(section.archives)
        self._kept: dict[str, Keep] = {}
        for key, base in (("snapshots", self._snapshots), ("archives", self._archives)):
            if base is not None:
                self._kept[key] = self._keep(base, ("backup", key))

    def replicas(self) -> dict[str, Replica]:
        """The replicas by name."""
        made = {}
        for name, each in self._section.replicas.items():
            path = ("backup", "replicas", name)
            keep = self._keep(_given(each) or {}, path)
            made[name] = Replica(
                name=name,
                dataset=each.target.dataset,
                host=each.target.host,
                schedule=each.schedule,
                keep=keep,
                bwlimit=each.bwlimit,
                line=line_of(self._scene.top, path),
            )
        return made

    def guests(self) -> Iterator[Subject]:
        """A subject a container, by VMID."""
        for guest in self._scene.guests:
            said = guest.values.get("backup", {})
            where = _Where(self._scene, guest)
            line = line_of(self._scene.top, ("containers", guest.name))
            subject = self._subject(guest.name, guest.merged.vmid, line, said, where, self._folder(guest))
            if subject.snapshots is not None and subject.archives is None:
                self._no_snapshot(guest, subject.snapshots)
            yield subject

    def _folder(self, guest: Guest) -> str:
        """The storage of type dir that a volume of a guest is on, so that it has no snapshots; or nothing."""
        container, known = guest.container, self._scene.hosts.storage.storages
        if container is None:
            return ""
        used = (container.rootfs_storage, *(mount.storage for mount in container.mounts if mount.storage))
        return next((name for name in used if name in known and known[name].type == "dir"), "")

    def _no_snapshot(self, guest: Guest, policy: SnapshotPolicy) -> None:
        """A warning where a guest's only backups would be snapshots that cannot be taken."""
        folder = self._folder(guest)
        if folder and policy.method != "vzdump" and not self._scene.findings.spoiled("backup", "archives"):
            text = (
                f"{guest.name} is on {folder} (dir), of which no snapshot can be taken;"
                " declare backup.archives, or exclude it with a reason"
            )
            self._scene.warning(self._scene.where(guest, "rootfs"), text)

    def datasets(self) -> Iterator[Subject]:
        """A subject a declared dataset that is neither full of guests' volumes nor a replica's target."""
        no_subjects = {
            **dict.fromkeys(targets(self._scene), "is a replica's target, and no source of backups"),
            **dict.fromkeys(guest_pools(self._scene), "holds volumes of guests; say it of the guests"),
        }
        for name, dataset in sorted(self._scene.hosts.storage.datasets.items()):
            path: Path = ("storage", "datasets", name)
            if why := no_subjects.get(name):
                if dataset.backup is not None:
                    self._scene.error((*path, "backup"), f"{name} {why}")
                continue
            said = _given(dataset.backup) or {}
            yield self._subject(name, None, line_of(self._scene.top, path), said, _Where(self._scene, path))

    def _subject(
        self, name: str, vmid: int | None, line: int, said: Values, where: _Where, folder: str = ""
    ) -> Subject:
        critical = said.get("critical", False)
        exclude = said.get("exclude")
        if exclude is not None:
            for key, wanted in (("critical", critical), ("archives", said.get("archives", {}).get("on"))):
                if wanted:
                    text = f"is excluded and has {key}: true; keep one ({key}: null unsets an inherited one)"
                    self._scene.error(where("exclude"), text)
            return Subject(name, vmid, line, exclude=exclude)
        snapshots = self._snapshot_policy(said, where, dataset=vmid is None)
        archives = None
        if vmid is not None:
            asked = critical or (snapshots is not None and folder != "")
            archives = self._archive_policy(said, where, snapshots, asked=asked)
        replicas = self._replica_names(said, where, snapshots, folder, critical=critical)
        elsewhere = self._scene.findings.spoiled("backup")
        if critical and archives is None and not replicas and not elsewhere:
            self._scene.error(where("critical"), self._no_copies(dataset=vmid is None))
        return Subject(
            name,
            vmid,
            line,
            critical=critical,
            snapshots=snapshots,
            archives=archives,
            replicas=replicas,
            folder=folder,
        )

    # ── one policy ────────────────────────────────────────────────────────────────────────────────

    def _snapshot_policy(self, said: Values, where: _Where, *, dataset: bool) -> SnapshotPolicy | None:
        own = said.get("snapshots", {})
        if own.get("on") is False or (self._snapshots is None and not own):
            return None
        values = _over(self._snapshots, own)
        if not self._has(values, ("schedule",), "snapshots", where):
            return None
        keep = self._own_keep("snapshots", own, values, where)
        if dataset:
            return SnapshotPolicy(values["schedule"], keep, method="zfs", freeze=False)
        return SnapshotPolicy(
            values["schedule"], keep, values.get("method", "auto"), values.get("freeze", True)
        )

    def _archive_policy(
        self, said: Values, where: _Where, snapshots: SnapshotPolicy | None, *, asked: bool
    ) -> ArchivePolicy | None:
        own = said.get("archives", {})
        vzdump = snapshots is not None and snapshots.method == "vzdump"
        wanted = own.get("on", vzdump or (asked and self._archives is not None))
        if vzdump and (not wanted or not _over(self._archives, own)):
            text = "method vzdump needs archives: declare backup.archives, and do not say archives: no"
            at = (
                where("snapshots")
                if "method" in said.get("snapshots", {})
                else ("backup", "snapshots", "method")
            )
            self._scene.error(at, text)
            return None
        if not wanted:
            return None
        values = _over(self._archives, own)
        if not self._has(values, ("schedule", "storage"), "archives", where):
            return None
        if "storage" in own and (says := unfit(self._scene, own["storage"], "backup")):
            self._scene.error(where("archives", "storage"), says)
        return ArchivePolicy(
            schedule=values["schedule"],
            keep=self._own_keep("archives", own, values, where),
            storage=values["storage"],
            mode=values.get("mode", "snapshot"),
            compress=values.get("compress", "zstd"),
            bwlimit=values.get("bwlimit"),
        )

    def _replica_names(
        self, said: Values, where: _Where, snapshots: SnapshotPolicy | None, folder: str, *, critical: bool
    ) -> tuple[str, ...]:
        known = self._section.replicas
        sendable = snapshots is not None and snapshots.method != "vzdump" and not folder
        if "replicas" not in said:
            return tuple(known) if critical and sendable else ()
        names: tuple[str, ...] = tuple(dict.fromkeys(said["replicas"]))
        for name in names:
            if name not in known and not self._scene.findings.spoiled("backup", "replicas", name):
                text = f"{name!r} is no replica of backup.replicas{nearest(name, known)}"
                self._scene.error(where("replicas"), text)
        if names and not sendable and not self._scene.findings.spoiled("backup", "snapshots"):
            self._scene.error(where("replicas"), "a replica is made of snapshots, and there are none")
        return tuple(name for name in names if name in known)

    def _no_copies(self, *, dataset: bool) -> str:
        """The complaint about something critical that would be copied nowhere."""
        known = ", ".join(self._section.replicas)
        kinds = "backup.replicas" if dataset else "backup.archives or backup.replicas"
        right = f"write replicas: [{known}]" if known else f"declare {kinds}"
        return f"critical means copies elsewhere, and there are none; {right}"

    def _has(self, values: Values, keys: Iterable[str], kind: str, where: _Where) -> bool:
        """True if these keys are said somewhere; an error where they are not."""
        missing = [key for key in keys if key not in values]
        if missing and not self._scene.findings.spoiled("backup", kind):
            text = f"there is no backup.{kind}; declare it, or write {' and '.join(missing)} here"
            self._scene.error(where(kind), text)
        return not missing

    def _own_keep(self, kind: str, own: Values, values: Values, where: _Where) -> Keep:
        """The policy's own numbers, or those of the node, of which all has been said."""
        if kind in self._kept and not {"prune_backups", "schedule"} & set(own):
            return self._kept[kind]
        return self._keep(values, where(kind))

    def _keep(self, values: Values, path: Path) -> Keep:
        """How many are kept; an error where that is nothing, a warning where it is not what it looks like."""
        said = values.get("prune_backups") or DEFAULT_KEEP
        counts = {key.removeprefix("keep-"): int(count) for key, count in said.items() if count}
        everything = bool(counts.pop("all", 0))
        keep = Keep(**counts, all=everything)
        if not counts and not everything:
            text = "keeps nothing: every backup would be removed; write keep-all=1 to keep them all"
            self._scene.error((*path, "prune-backups"), text)
        schedule = values.get("schedule")
        if keep.hourly and schedule is not None and _once_a_day(schedule):
            text = (
                f"keep-hourly={keep.hourly} with one a day keeps {keep.hourly} more days, since hours without"
                " one do not count; write keep-daily"
            )
            self._scene.warning((*path, "prune-backups"), text)
        return keep


class _Where:
    """Where the strongest layer says a key of `backup`."""

    def __init__(self, scene: Scene, at: Guest | Path) -> None:
        self._scene = scene
        self._at = at

    def __call__(self, *keys: str) -> Path:
        if isinstance(self._at, Guest):
            return self._scene.where(self._at, "backup", *keys)
        return (*self._at, "backup", *keys)


def _given(section: Section | None) -> Values | None:
    """What a section of the file says, with its defaults left out; property strings as mappings."""
    if section is None:
        return None
    made: Values = {}
    for name in section.model_fields_set:
        value = getattr(section, name)
        if isinstance(value, Prune):
            made[name] = merge_keep({}, value.given())
        elif isinstance(value, Section):
            made[name] = _given(value)
        elif value is not None:
            made[name] = value
    return made


def _over(base: Values | None, own: Values) -> Values:
    """A guest's own policy on top of the node's."""
    values = {**(base or {}), **{key: value for key, value in own.items() if key != "on"}}
    if base is not None and "prune_backups" in own:
        values["prune_backups"] = merge_keep(base.get("prune_backups", DEFAULT_KEEP), own["prune_backups"])
    return values


def _once_a_day(schedule: str) -> bool:
    event = parse(schedule)
    return len(event.hours) * len(event.minutes) == 1
