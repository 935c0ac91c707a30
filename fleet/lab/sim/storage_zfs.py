"""Storages on ZFS (pve-storage ZFSPoolPlugin.pm): a container's volume is a dataset with a refquota."""

from __future__ import annotations

import re
import sys

from . import paths, zfs_data, zfs_destroy, zfs_rollback
from . import zfs_change as change
from . import zfs_ops as ops
from .errors import Die
from .storage_base import Volume, Writer, full
from .storage_cfg import Section
from .storage_names import Name, free_name, parse_name
from .zfs_names import need
from .zfs_tree import ZfsError, changing, load


class ZfsPool:
    """A zfspool storage."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.pool = section.keys["pool"]

    def _dataset(self, name: str) -> str:
        return f"{self.pool}/{self.parse(name).name}"

    def activate(self) -> None:
        """Mount what is to be mounted; refuse a pool that is not there."""
        tree = load()
        pool = self.pool.partition("/")[0]
        if pool not in tree.pools:
            raise Die(
                f"could not activate storage '{self.section.id}', zfs error: cannot import '{pool}': no such "
                f"pool available"
            )

    def status(self) -> tuple[int, int, int]:
        """(total, available, used) bytes of the dataset that the storage is on."""
        tree = load(measured=True)
        if self.pool not in tree.datasets:
            raise Die(f"zfs error: cannot open '{self.pool}': dataset does not exist")
        available, used = tree.available(self.pool), tree.used(self.pool)
        return available + used, available, used

    def images(self) -> list[Volume]:
        """The datasets that are volumes of guests."""
        tree = load()
        if self.pool not in tree.datasets:
            raise Die(f"zfs error: cannot open '{self.pool}': dataset does not exist")
        found: list[Volume] = []
        for dataset in tree.children(self.pool):
            short = dataset.rpartition("/")[2]
            match = re.fullmatch(r"(?:vm|base|subvol|basevol)-(\d+)-\S+", short)
            if match is None:
                continue
            node = tree.datasets[dataset]
            origin = node["origin"]
            parent = origin.removeprefix(f"{self.pool}/") if origin else None
            base = (
                parent.partition("@")[0] + "/"
                if parent and "/" not in parent and parent.endswith("@__base__")
                else ""
            )
            kind = "raw" if node["type"] == "volume" else "subvol"
            size = tree.number(dataset, "volsize" if kind == "raw" else "refquota")
            found.append(
                Volume(f"{self.section.id}:{base}{short}", kind, "images", size, int(match[1]), parent=parent)
            )
        return found

    def parse(self, name: str) -> Name:
        """What a volume name says."""
        return parse_name("zfspool", name)

    def alloc(self, vmid: int, kind: str, name: str | None, size: int, out: Writer) -> str:
        """Make a dataset (subvol) or a volume (raw); its name."""
        del out
        word = "subvol" if kind == "subvol" else "vm"
        if name and not name.startswith(f"{word}-{vmid}-"):
            raise Die(f"illegal name '{name}' - should be '{word}-{vmid}-*'")
        if kind not in ("subvol", "raw"):
            raise Die(f"unsupported format '{kind}'")
        new = name or free_name([v.volid for v in self.images()], vmid, kind)
        dataset = f"{self.pool}/{new}"
        if full(self.section.id):
            raise Die(f"zfs error: cannot create '{dataset}': out of space")
        with _Refusals(), changing() as tree:
            if kind == "subvol":
                given = {
                    "acltype": "posixacl",
                    "xattr": "sa",
                    "refquota": f"{size // 1024}k" if size else "none",
                }
                ops.create(tree, dataset, given)
            else:
                block = self.section.keys.get("blocksize")
                ops.create(
                    tree,
                    dataset,
                    {"volblocksize": block} if block else {},
                    volsize=-(-size >> 20 << 20),
                    sparse=self.section.flag("sparse"),
                )
        return new

    def free(self, name: str, out: Writer) -> None:
        """Zfs destroy -r; a dataset that is gone is no error."""
        del out
        dataset = self._dataset(name)
        with _Refusals(), changing() as tree:
            if dataset not in tree.datasets:
                return
            depends = ops.dependents(tree, dataset)
            outside = [d for d in depends if not d.startswith((dataset + "/", dataset + "@"))]
            if outside:
                raise ZfsError(
                    f"cannot destroy '{dataset}': filesystem has dependent clones",
                    "use '-R' to destroy the following datasets:",
                    *outside,
                )
            zfs_destroy.free(tree, [one for one in depends if "@" in one])
            for one in [*(one for one in depends if "@" not in one), dataset]:
                ops.destroy(tree, one)

    def path(self, name: str, snapshot: str | None = None) -> str:
        """The mount point of a dataset, the device of a volume."""
        parsed = self.parse(name)
        mountpoint = self.section.keys.get("mountpoint", f"/{self.pool}")
        path = (
            f"{mountpoint}/{parsed.name}"
            if parsed.format == "subvol"
            else f"/dev/zvol/{self.pool}/{parsed.name}"
        )
        return path + (f"@{snapshot}" if snapshot else "")

    def root_dir(self, name: str) -> str:
        """The directory with a dataset's files (a real path), which is mounted if it is not."""
        dataset = self._dataset(name)
        tree = load()
        if dataset in tree.datasets and tree.datasets[dataset]["mounted"] is None:
            with changing() as tree:
                zfs_data.mount(tree, dataset)
        if dataset not in tree.datasets:
            return paths.real(self.path(name))
        return zfs_data.files(tree, dataset)

    def size(self, name: str) -> int:
        """Refquota of a dataset, volsize of a volume."""
        tree, dataset = load(), self._dataset(name)
        if dataset not in tree.datasets:
            raise Die(f"zfs error: cannot open '{dataset}': dataset does not exist")
        return tree.number(dataset, "volsize" if tree.kind(dataset) == "volume" else "refquota")

    def used(self, name: str) -> int:
        """Bytes that a dataset refers to."""
        tree = load()
        return tree.referenced(tree.datasets[self._dataset(name)])

    def fill(self, name: str, size: int) -> None:
        """Let a dataset refer to so many bytes."""
        with changing() as tree:
            ops.grow(tree, self._dataset(name), size)

    def resize(self, name: str, size: int, running: bool, out: Writer) -> None:
        """Set refquota or volsize; ZFS says nothing about it."""
        del running, out
        dataset = self._dataset(name)
        with _Refusals(), changing() as tree:
            volume = self.parse(name).format == "raw"
            need(tree, dataset)
            change.set_props(tree, dataset, {"volsize" if volume else "refquota": f"{size // 1024}k"})

    def feature(self, name: str, feature: str, snapshot: str | None) -> bool:
        """Whether a volume can do something (volume_has_feature)."""
        is_base = self.parse(name).is_base
        if feature == "snapshot":
            return snapshot is not None or not is_base
        if feature == "copy":
            return snapshot is None
        if feature == "clone":
            return snapshot is None and is_base
        return feature in ("template", "rename") and snapshot is None and not is_base

    def snapshot(self, name: str, snap: str) -> None:
        """Zfs snapshot, with the refquota noted in a property of the snapshot."""
        dataset = self._dataset(name)
        with _Refusals(), changing() as tree:
            ops.snapshot(tree, [f"{dataset}@{snap}"], {})
            if tree.kind(dataset) == "filesystem":
                tree.snapshots.changed(f"{dataset}@{snap}")["props"]["pve-storage:refquota"] = tree.local(
                    dataset, "refquota"
                )

    def snapshots(self, name: str) -> list[str]:
        """The snapshots of a volume, the oldest first."""
        return [full_name.partition("@")[2] for full_name in load().snaps(self._dataset(name))]

    def rollback_possible(self, name: str, snap: str) -> None:
        """Refuse a snapshot that is not the newest one."""
        dataset, volid = self._dataset(name), f"{self.section.id}:{name}"
        own = load().snaps(dataset)
        if f"{dataset}@{snap}" not in own:
            raise Die(f"can't rollback, snapshot '{snap}' does not exist on '{volid}'")
        if own[-1] != f"{dataset}@{snap}":
            raise Die(f"can't rollback, '{snap}' is not most recent snapshot on '{volid}'")

    def rollback(self, name: str, snap: str) -> None:
        """Zfs rollback, the refquota of then, and an unmount (the next activation mounts again)."""
        dataset = self._dataset(name)
        with _Refusals(), changing() as tree:
            zfs_rollback.back(tree, f"{dataset}@{snap}")
            quota = tree.snapshots[f"{dataset}@{snap}"]["props"].get("pve-storage:refquota")
            if quota is not None:
                tree.datasets[dataset]["props"]["refquota"] = quota
            zfs_data.unmount(tree, dataset)

    def delete_snapshot(self, name: str, snap: str) -> None:
        """Zfs destroy of the snapshot."""
        full_name = f"{self._dataset(name)}@{snap}"
        with _Refusals(), changing() as tree:
            if full_name not in tree.snapshots:
                raise ZfsError("could not find any snapshots to destroy; check snapshot names.")
            clones = ops.dependents(tree, full_name)
            if clones:
                raise ZfsError(
                    f"cannot destroy '{full_name}': snapshot has dependent clones",
                    "use '-R' to destroy the following datasets:",
                    *clones,
                )
            zfs_destroy.free(tree, [full_name])

    def snapshot_dir(self, name: str, snap: str) -> str:
        """The directory with the files in a snapshot (a real path)."""
        return zfs_data.files(load(), f"{self._dataset(name)}@{snap}")

    def clone(self, name: str, vmid: int, snap: str | None) -> str:
        """A linked clone of a base volume; its name begins with the base's."""
        parsed = self.parse(name)
        if not parsed.is_base:
            raise Die("clone_image only works on base images")
        new = free_name([v.volid for v in self.images()], vmid, parsed.format)
        source = f"{self.pool}/{parsed.name}"
        with _Refusals(), changing() as tree:
            need(tree, f"{source}@{snap or '__base__'}", "s")
            given = {"refquota": tree.local(source, "refquota")} if parsed.format == "subvol" else {}
            if given.get("refquota") == "0":
                given["refquota"] = "none"
            ops.clone(tree, f"{source}@{snap or '__base__'}", f"{self.pool}/{new}", given)
        return f"{parsed.name}/{new}"

    def make_base(self, name: str) -> str:
        """Rename to basevol-… and take the snapshot __base__."""
        parsed = self.parse(name)
        if parsed.is_base:
            raise Die("create_base not possible with base image")
        new = (
            re.sub("^subvol-", "basevol-", parsed.name)
            if parsed.format == "subvol"
            else re.sub("^vm-", "base-", parsed.name)
        )
        with _Refusals(), changing() as tree:
            need(tree, f"{self.pool}/{parsed.name}")
            change.rename(tree, f"{self.pool}/{parsed.name}", f"{self.pool}/{new}")
        volume = f"{parsed.base}/{new}" if parsed.base else new
        self.snapshot(volume, "__base__")
        return volume


class _Refusals:
    """Turns a refusal of zfs into what Proxmox's storage layer dies with."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ZfsError):
            for line in error.lines[:-1]:
                print(line, file=sys.stderr)
            raise Die(f"zfs error: {error.lines[-1]}") from None
