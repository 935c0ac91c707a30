"""Datasets, storages and templates fit together; guests name only what is there and holds what they want."""

from __future__ import annotations

from fleet.domains.guests.spec import Container, Mount
from fleet.domains.storage.spec import Dataset, located
from fleet.inventory.checks.scene import Guest, Scene
from fleet.inventory.document import Path
from fleet.inventory.figures import gib
from fleet.inventory.problems import nearest
from fleet.inventory.shape.storage import StorageEntry
from fleet.tools.paths import within

_ONLY = {"zfspool": ("pool", "sparse", "mountpoint", "blocksize"), "dir": ("path", "is_mountpoint", "shared")}


def check_storage(scene: Scene) -> None:
    """The section `storage` on its own."""
    section, places, directories = scene.hosts.storage, dict[str, str](), _directories(scene)
    for name, dataset in section.datasets.items():
        path, pool, mountpoint = ("storage", "datasets", name), name.split("/")[0], dataset.mountpoint
        if pool not in section.pools and not scene.findings.spoiled("storage", "pools"):
            scene.error(path, f"{pool!r} is no pool of storage.pools{nearest(pool, section.pools)}")
        directory = directories[name]
        if directory and places.setdefault(directory, name) != name:
            scene.error(
                (*path, "mountpoint"), f"{directory} is the mountpoint of {places[directory]} already"
            )
        if (dataset.owner or dataset.mode) and mountpoint in ("none", "legacy"):
            key = "owner" if dataset.owner else "mode"
            scene.error((*path, key), f"a dataset that is not mounted (mountpoint: {mountpoint}) has none")
    for name, entry in section.storages.items():
        if not scene.findings.spoiled("storage", "storages", name):
            _entry(scene, name, entry)
    for name, template in section.templates.items():
        if says := unfit(scene, template.storage, "vztmpl"):
            scene.error(("storage", "templates", name, "storage"), says)


def _directories(scene: Scene) -> dict[str, str]:
    """Where each declared dataset is mounted, by its name; empty: nowhere."""
    datasets = scene.hosts.storage.datasets
    return {
        each.name: each.directory
        for each in located(Dataset(name, dataset.mountpoint) for name, dataset in datasets.items())
    }


def _entry(scene: Scene, name: str, entry: StorageEntry) -> None:
    path: Path = ("storage", "storages", name)
    if entry.type is None:
        if not entry.given:
            text = "is missing: write zfspool or dir, or given: true if the storage is there already"
            scene.error((*path, "type"), text)
        return
    needed = _ONLY[entry.type][0]
    if getattr(entry, needed) is None and not entry.given:
        scene.error((*path, needed), f"is missing: a storage of type {entry.type} needs it")
    for kind, keys in _ONLY.items():
        for key in keys if kind != entry.type else ():
            if key in entry.model_fields_set:
                scene.error((*path, key), f"a storage of type {entry.type} has no {key}")
    if entry.type != "zfspool":
        return
    for content in entry.content or ():
        if content not in ("images", "rootdir"):
            scene.error((*path, "content"), f"a zfspool cannot hold {content}; it holds images and rootdir")
    known = {*scene.hosts.storage.pools, *scene.hosts.storage.datasets}
    spoiled = scene.findings.spoiled("storage", "datasets") or scene.findings.spoiled("storage", "pools")
    if entry.pool is not None and entry.pool not in known and not entry.given and not spoiled:
        text = f"{entry.pool!r} is neither a pool nor a dataset declared here{nearest(entry.pool, known)}"
        scene.error((*path, "pool"), text)


def unfit(scene: Scene, storage: str, content: str) -> str | None:
    """What is wrong where something of this content is to be on the storage."""
    known = scene.hosts.storage.storages
    entry = known.get(storage)
    if entry is None:
        if scene.findings.spoiled("storage", "storages", storage):
            return None
        return f"{storage!r} is no storage of storage.storages{nearest(storage, known)}"
    if entry.content is not None and content not in entry.content:
        return f"the storage {storage} is not for {content}; its content is {', '.join(entry.content)}"
    return None


def check_guest(scene: Scene, guest: Guest) -> None:
    """The template, volumes and mounts of a guest."""
    if (template := guest.values.get("template")) is not None and (says := _template(scene, template)):
        scene.error(scene.where(guest, "template"), says)
    hook = guest.values.get("hookscript")
    if hook is not None and (says := unfit(scene, hook.split(":")[0], "snippets")):
        scene.error(scene.where(guest, "hookscript"), says)
    storage = guest.values.get("rootfs", {}).get("storage")
    if storage is not None and (says := unfit(scene, storage, "rootdir")):
        scene.error(scene.where(guest, "rootfs", "storage"), says)
    if guest.container is not None:
        for mount in guest.container.mounts:
            _mount(scene, guest, mount)
        _quotas(scene, guest, guest.container)


def _template(scene: Scene, template: str) -> str | None:
    known = scene.hosts.storage.templates
    if ":" in template:
        return unfit(scene, template.split(":", maxsplit=1)[0], "vztmpl")
    if (
        template.startswith("/")
        or template in known
        or scene.findings.spoiled("storage", "templates", template)
    ):
        return None
    return f"{template!r} is no template of storage.templates{nearest(template, known)}"


def _mount(scene: Scene, guest: Guest, mount: Mount) -> None:
    if mount.storage is not None:
        if says := unfit(scene, mount.storage, "rootdir"):
            scene.error(_path(scene, guest, mount), says)
    elif mount.bind is not None and not mount.bind.startswith("/dev/"):
        inside = any(within(mount.bind, directory) for directory in _directories(scene).values())
        if not inside and not scene.findings.spoiled("storage"):
            text = f"{mount.bind} is in no dataset declared here; it has to be on the node already"
            scene.warning(_path(scene, guest, mount), text)


def _quotas(scene: Scene, guest: Guest, container: Container) -> None:
    """Proxmox's user quotas need a privileged guest and a storage that knows them."""
    volumes: list[tuple[Mount | None, str, tuple[tuple[str, str], ...]]] = [
        (None, container.rootfs_storage, container.rootfs_options)
    ]
    volumes += [(mount, mount.storage or "", mount.options) for mount in container.mounts]
    for mount, storage, options in volumes:
        if ("quota", "1") not in options:
            continue
        path = scene.where(guest, "rootfs", "quota") if mount is None else _path(scene, guest, mount)
        entry = scene.hosts.storage.storages.get(storage)
        if container.unprivileged:
            scene.error(path, "quotas work in privileged guests only (unprivileged: 0)")
        elif not storage or (entry is not None and entry.type == "zfspool"):
            text = "quotas work neither on ZFS nor on a bind mount; the volume's size is its limit"
            scene.error(path, text)


def _path(scene: Scene, guest: Guest, mount: Mount) -> Path:
    """Where a mount of a guest is said: its own mpN, or the shared mount that it names."""
    if mount.slot in guest.values:
        return scene.where(guest, mount.slot)
    for name in guest.values.get("mounts", {}):
        shared = scene.hosts.mounts.get(name)
        if shared is not None and (shared.slot, shared.mp) == (mount.slot, mount.mp):
            return ("mounts", name)
    return scene.where(guest, "mounts")


def check_room(scene: Scene) -> None:
    """A warning where the volumes of a storage could grow beyond the quota of its dataset."""
    wanted: dict[str, int] = {}
    for container in (guest.container for guest in scene.guests):
        if container is not None:
            wanted[container.rootfs_storage] = wanted.get(container.rootfs_storage, 0) + container.rootfs_size
            for mount in container.mounts:
                if mount.storage is not None:
                    wanted[mount.storage] = wanted.get(mount.storage, 0) + (mount.size or 0)
    for name, size in wanted.items():
        entry = scene.hosts.storage.storages.get(name)
        pool = (entry.pool if entry else None) or ""
        dataset = scene.hosts.storage.datasets.get(pool)
        if dataset is not None and dataset.quota and size > dataset.quota:
            scene.warning(
                ("storage", "datasets", pool, "quota"),
                f"the volumes of storage {name} may take {gib(size)}, more than these {gib(dataset.quota)}",
            )
