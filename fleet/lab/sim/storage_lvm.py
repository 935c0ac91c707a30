"""Storages on an LVM thin pool (pve-storage LvmThinPlugin.pm): a volume is a logical volume with ext4 in it.

The lab has no LVM: the volumes are only in the notes. machine.json says which thin pools there are:
{"thinpools": [{"vg": "pve", "name": "data", "size": BYTES}]}.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any
from uuid import uuid4

from . import ext4, machine, paths
from .errors import Die
from .storage_base import EMPTY, Notes, Volume, Writer, full
from .storage_cfg import Section
from .storage_names import Name, free_name, parse_name


class LvmThin:
    """An lvmthin storage."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.vg, self.pool = section.keys["vgname"], section.keys["thinpool"]
        self.notes = Notes(section.id)

    def _facts(self) -> dict[str, Any] | None:
        pools = machine.facts().get("thinpools", ())
        return next((p for p in pools if (p["vg"], p["name"]) == (self.vg, self.pool)), None)

    def activate(self) -> None:
        """Refuse a volume group that is not there."""
        if self._facts() is None:
            raise Die(f"no such logical volume {self.vg}/{self.pool}")

    def status(self) -> tuple[int, int, int]:
        """(total, available, used) bytes of the thin pool."""
        size = int((self._facts() or {"size": 0})["size"])
        used = sum(self.used(v.volid.partition(":")[2]) for v in self.images())
        return size, max(size - used, 0), used

    def images(self) -> list[Volume]:
        """The logical volumes of guests."""
        top = paths.real(self.notes.top)
        names = sorted(n[:-5] for n in os.listdir(top) if n.endswith(".json")) if os.path.isdir(top) else []
        return [
            Volume(f"{self.section.id}:{name}", "raw", "images", self.size(name), self.parse(name).vmid)
            for name in names
            if re.fullmatch(r"(?:vm|base)-\d+-[^@]+", name)
        ]

    def parse(self, name: str) -> Name:
        """What a volume name says."""
        return parse_name("lvmthin", name)

    def alloc(self, vmid: int, kind: str, name: str | None, size: int, out: Writer) -> str:
        """Make a logical volume."""
        if kind != "raw":
            raise Die(f"unsupported format '{kind}'")
        if name and not name.startswith(f"vm-{vmid}-"):
            raise Die(f"illegal name '{name}' - should be 'vm-{vmid}-*'")
        new = name or free_name([v.volid for v in self.images()], vmid, kind)
        if full(self.section.id):
            raise Die(
                f"lvcreate '{self.vg}/{new}' error:   Cannot create new thin volume, free space in thin pool "
                f"{self.vg}/{self.pool} reached threshold."
            )
        self.notes.put(new, size=size, fs=0, used=0)
        out.write(f'  Logical volume "{new}" created.\n')
        return new

    def free(self, name: str, out: Writer) -> None:
        """Remove a logical volume with its snapshots."""
        if not self.notes.get(name):
            raise Die(
                f"lvremove '{self.vg}/{name}' error:   Failed to find logical volume \"{self.vg}/{name}\""
            )
        for snap in self._snapshots(name):
            self.delete_snapshot(name, snap)
        self.notes.remove(name)
        out.write(f'  Logical volume "{name}" successfully removed.\n')

    def path(self, name: str, snapshot: str | None = None) -> str:
        """The device of a logical volume or of its snapshot."""
        return f"/dev/{self.vg}/{f'snap_{name}_{snapshot}' if snapshot else name}"

    def root_dir(self, name: str) -> str:
        """The directory with the files in a volume (a real path)."""
        return self.notes.tree(name)

    def size(self, name: str) -> int:
        """Bytes of a volume."""
        notes = self.notes.get(name)
        if not notes:
            raise Die(f'lvs failed: Failed to find logical volume "{self.vg}/{name}"')
        return int(notes["size"])

    def filesystem(self, name: str) -> int:
        """Bytes of the file system in a volume."""
        return int(self.notes.get(name).get("fs") or self.size(name))

    def made(self, name: str) -> int:
        """Bytes of the file system in a volume when it was made."""
        return int(self.notes.get(name).get("made") or self.filesystem(name))

    def used(self, name: str) -> int:
        """Bytes in use in a volume."""
        return int(self.notes.get(name).get("used", 0))

    def fill(self, name: str, size: int) -> None:
        """Note that so many bytes are in use in a volume."""
        self.notes.put(name, used=size)

    def format(self, name: str, out: Writer) -> None:
        """mkfs.ext4 on a volume."""
        out.write(ext4.mkfs_output(self.size(name), str(uuid4())))
        self.notes.put(name, fs=self.size(name), made=self.size(name), used=EMPTY)

    def resize(self, name: str, size: int, running: bool, out: Writer) -> None:
        """Grow a volume and the file system in it."""
        old = self.filesystem(name)
        out.write(
            f"  Size of logical volume {self.vg}/{name} changed from {self.size(name) >> 30}.00 GiB to "
            f"{size >> 30}.00 GiB.\n"
            f"  Logical volume {self.vg}/{name} successfully resized.\n"
        )
        device = self.path(name)
        used = self.used(name)
        out.write(
            ext4.resize_online(device, old, size, False)
            if running
            else ext4.resize_offline(device, old, size, used, 11)
        )
        self.notes.put(name, size=size, fs=size)

    def feature(self, name: str, feature: str, snapshot: str | None) -> bool:
        """Whether a volume can do something (volume_has_feature)."""
        is_base = self.parse(name).is_base
        if feature == "snapshot":
            return snapshot is None and not is_base
        if feature == "clone":
            return is_base or snapshot is not None
        if feature == "copy":
            return True
        return feature in ("template", "rename") and snapshot is None and not is_base

    def snapshot(self, name: str, snap: str) -> None:
        """Lvcreate -s."""
        lv = f"snap_{name}_{snap}"
        what = f"lvcreate snapshot '{self.vg}/{lv}' error:  "
        if self.notes.get(f"{name}@{snap}"):
            raise Die(f'{what} Logical Volume "{lv}" already exists in volume group "{self.vg}"')
        if full(self.section.id):
            pool = f"{self.vg}/{self.pool}"
            raise Die(
                f"{what} Cannot create new thin volume, free space in thin pool {pool} reached threshold."
            )
        self.notes.copy(name, f"{name}@{snap}")
        _say(f'  Logical volume "{lv}" created.')

    def rollback_possible(self, name: str, snap: str) -> None:
        """Always."""

    def rollback(self, name: str, snap: str) -> None:
        """Put a copy of the snapshot in the place of the volume."""
        if not self.notes.get(f"{name}@{snap}"):
            lv = f"{self.vg}/snap_{name}_{snap}"
            raise Die(f"lvm rollback '{lv}' error:   Failed to find logical volume \"{lv}\"")
        self.notes.copy(f"{name}@{snap}", name)
        _say(f'  Logical volume "{name}" successfully removed.')
        _say(f'  Logical volume "{name}" created.')

    def delete_snapshot(self, name: str, snap: str) -> None:
        """Lvremove of the snapshot."""
        lv = f"snap_{name}_{snap}"
        if not self.notes.get(f"{name}@{snap}"):
            missing = f'Failed to find logical volume "{self.vg}/{lv}"'
            raise Die(f"lvremove snapshot '{self.vg}/{lv}' error:   {missing}")
        self.notes.remove(f"{name}@{snap}")
        _say(f'  Logical volume "{lv}" successfully removed.')

    def _snapshots(self, name: str) -> list[str]:
        top = paths.real(self.notes.top)
        return sorted(
            n.partition("@")[2][:-5]
            for n in os.listdir(top)
            if n.startswith(f"{name}@") and n.endswith(".json")
        )

    def snapshot_dir(self, name: str, snap: str) -> str:
        """The directory with the files in a snapshot (a real path)."""
        return self.notes.tree(f"{name}@{snap}")

    def clone(self, name: str, vmid: int, snap: str | None) -> str:
        """A linked clone: a thin snapshot with a name of its own."""
        new = free_name([v.volid for v in self.images()], vmid, "raw")
        self.notes.copy(f"{name}@{snap}" if snap else name, new)
        return new

    def make_base(self, name: str) -> str:
        """Rename to base-…; its new name."""
        new = re.sub("^vm-", "base-", name)
        self.notes.rename(name, new)
        return new


def _say(line: str) -> None:
    """What LVM prints, which ends up in the task's output."""
    print(line, file=sys.stderr)
