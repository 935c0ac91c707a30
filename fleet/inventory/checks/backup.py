"""The policy of backups fits the rest of hosts.yml: storages, replicas that are no sources, drills apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from fleet.domains.backup.spec import Replica, Subject
from fleet.inventory.checks.scene import Scene
from fleet.inventory.checks.storage import unfit
from fleet.inventory.document import Path
from fleet.inventory.problems import nearest
from fleet.inventory.shape.backup import TASKS


def targets(scene: Scene) -> frozenset[str]:
    """Datasets of this node that replicas go to."""
    replicas = scene.hosts.backup.replicas.values() if scene.hosts.backup else ()
    return frozenset(each.target.dataset for each in replicas if each.target.host is None)


def guest_pools(scene: Scene) -> frozenset[str]:
    """Pools and datasets whose children are volumes of guests."""
    entries = scene.hosts.storage.storages.values()
    return frozenset(each.pool for each in entries if each.type == "zfspool" and each.pool)


def check(scene: Scene, subjects: tuple[Subject, ...], replicas: dict[str, Replica]) -> None:
    """What the policy of the node, and the policies made of it, cannot show alone."""
    _archives(scene, subjects)
    _targets(scene, tuple(replicas.values()))
    for replica in replicas.values():
        _sources(scene, subjects, replica)
    _drill(scene)
    _excluded(scene, subjects)


def check_dead_man(scene: Scene, jobs: Mapping[str, tuple[str, ...]]) -> None:
    """Each watcher's URL is of one job. `jobs`: a task's by schedule or replica; empty: its only one."""
    section = scene.hosts.backup.dead_man if scene.hosts.backup else None
    if section is None or _spoiled(scene) or scene.findings.spoiled("backup"):
        return
    for name in TASKS:
        said = getattr(section, name) if name in section.model_fields_set else {}
        known = jobs.get(f"backup.{name}", ())
        if not known or set(said) <= set(known):
            continue
        path = ("backup", "dead-man", name)
        if known == ("",):
            scene.error(path, f"backup.{name} has one job; write one URL alone")
        elif "" in said:
            right = ", ".join(f'"{each}": ...' for each in known)
            text = (
                f"backup.{name} has {len(known)} jobs, and one that runs would hide another that does not;"
                f" write a URL for each: {{{right}}}"
            )
            scene.error(path, text)
        else:
            wrong = ", ".join(repr(each) for each in said if each not in known)
            scene.error(path, f"{wrong}: no job of backup.{name}; they are {', '.join(map(repr, known))}")


def _archives(scene: Scene, subjects: tuple[Subject, ...]) -> None:
    archives = scene.hosts.backup.archives if scene.hosts.backup else None
    if archives is None:
        return
    if says := unfit(scene, archives.storage, "backup"):
        scene.error(("backup", "archives", "storage"), says)
    guests = [each for each in subjects if each.vmid is not None]
    if guests and not any(each.archives for each in guests) and not _spoiled(scene):
        text = "no container asks for archives; write backup: {critical: true}, or {archives: true}, in some"
        scene.warning(("backup", "archives"), text)
    entry = scene.hosts.storage.storages.get(archives.storage)
    snapshotted = {each.name for each in subjects if each.vmid is None and each.snapshots}
    for name, dataset in scene.hosts.storage.datasets.items():
        if entry is not None and entry.path and entry.path == dataset.mountpoint and name in snapshotted:
            text = (
                f"{name} holds the archives: its snapshots keep the space of those that are removed; write"
                " backup: {exclude: holds the archives themselves}"
            )
            scene.warning(("storage", "datasets", name), text)


def _spoiled(scene: Scene) -> bool:
    """True if a container is wrong, so that what it asks for is not known."""
    return scene.findings.spoiled("containers") or scene.findings.spoiled("profiles")


def _target_path(replica: Replica) -> Path:
    return ("backup", "replicas", replica.name, "target")


def _targets(scene: Scene, replicas: tuple[Replica, ...]) -> None:
    """No two replicas in one place."""
    for first, second in combinations(replicas, 2):
        if first.host == second.host and (
            _within(first.dataset, second.dataset) or _within(second.dataset, first.dataset)
        ):
            inner = "is" if first.dataset == second.dataset else "overlaps with"
            text = (
                f"{second.dataset} {inner} the target of {first.name}; give each replica a dataset of its own"
            )
            scene.error(_target_path(second), text)


def _sources(scene: Scene, subjects: tuple[Subject, ...], replica: Replica) -> None:
    """A replica lies beside its sources, on another pool, and has some."""
    using = [each for each in subjects if replica.name in each.replicas]
    path = _target_path(replica)
    if not using and not _spoiled(scene):
        text = (
            f"nothing is sent there; write replicas: [{replica.name}], or critical: true, in what should be"
        )
        scene.warning(path[:-1], text)
    if replica.host is not None:
        return
    target = replica.dataset
    for pool in sorted(guest_pools(scene)):
        if _within(pool, target):
            scene.error(
                path, f"{target} holds the volumes of guests ({pool}); a replica needs a dataset beside them"
            )
            return
    for name in sorted(scene.hosts.storage.datasets):
        if name != target and _within(name, target):
            scene.error(
                path, f"{target} holds {name}, which is declared here; a replica needs a dataset for itself"
            )
            return
    for subject in using:
        if subject.vmid is None and _within(target, subject.name):
            text = f"{target} lies in {subject.name}, which is sent there; write a dataset beside it"
            scene.error(path, text)
            return
    if target.split("/")[0] in _pools(scene, using):
        text = f"{target} is on the pool of what is sent there: who loses the pool loses both"
        scene.warning(path, text)


def _pools(scene: Scene, subjects: list[Subject]) -> set[str]:
    """The ZFS pools that these lie on."""
    names = {subject.name for subject in subjects if subject.vmid is not None}
    storages: set[str | None] = set()
    for container in (guest.container for guest in scene.guests if guest.name in names):
        if container is not None:
            storages |= {container.rootfs_storage, *(mount.storage for mount in container.mounts)}
    entries = [entry for name, entry in scene.hosts.storage.storages.items() if name in storages]
    datasets = [subject.name for subject in subjects if subject.vmid is None]
    return {name.split("/")[0] for name in (*datasets, *(entry.pool for entry in entries if entry.pool))}


def _within(inner: str, outer: str) -> bool:
    """True if a dataset is another one, or below it."""
    return inner == outer or inner.startswith(f"{outer}/")


def _excluded(scene: Scene, subjects: tuple[Subject, ...]) -> None:
    """What is declared says so itself: a reason in two places is one too many."""
    for each in subjects:
        key = each.name if each.vmid is None else str(each.vmid)
        if scene.hosts.backup and key in scene.hosts.backup.exclude:
            where = f"storage.datasets, {key}" if each.vmid is None else f"the container {each.name}"
            text = f"hosts.yml declares it: write backup: {{exclude: reason}} in {where}"
            scene.error(("backup", "exclude", key), text)


def _drill(scene: Scene) -> None:
    """Drills touch nobody's VMID, storage or network."""
    drill = scene.hosts.backup.drill if scene.hosts.backup else None
    if drill is None:
        return
    path: Path = ("backup", "drill")
    first, last = drill.vmids
    there = [
        f"{guest.name} ({guest.merged.vmid})" for guest in scene.guests if first <= guest.merged.vmid <= last
    ]
    if there:
        text = f"{first}-{last} holds {', '.join(there)}; drills need VMIDs that nobody has"
        scene.error((*path, "vmids"), text)
    if drill.storage is not None and (says := unfit(scene, drill.storage, "rootdir")):
        scene.error((*path, "storage"), says)
    if drill.bridge is None or scene.findings.spoiled("network"):
        return
    bridge = scene.bridges.get(drill.bridge)
    on_it = [
        guest.name
        for guest in scene.guests
        if any(net.get("bridge") == drill.bridge for _, net in guest.nets)
    ]
    apart = (
        "a restored guest would answer in the original's place; leave bridge out, or write an isolated one"
    )
    if bridge is None and scene.bridges:
        known = nearest(drill.bridge, scene.bridges)
        scene.error((*path, "bridge"), f"{drill.bridge!r} is no bridge of network.bridges{known}")
    elif bridge is not None and (bridge.ports or bridge.address):
        scene.error((*path, "bridge"), f"{drill.bridge} leads to others: {apart}")
    elif on_it:
        scene.error((*path, "bridge"), f"{drill.bridge} has {', '.join(sorted(on_it))} on it: {apart}")
