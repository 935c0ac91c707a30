"""What all storage types share.

The interface of a backend, and the notes kept beside volumes that the file system has no place for.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple, Protocol

from . import files, machine, paths
from .storage_cfg import Section
from .storage_names import Name

EMPTY = 24 << 10  # what an empty ext4 file system has in use


class Volume(NamedTuple):
    """One entry of `pvesm list`: `size` in bytes, owner and base where there are.

    Of a backup also the first line of its notes, whether it is protected, and the kind of its guest.
    """

    volid: str
    format: str
    content: str
    size: int
    vmid: int | None = None
    ctime: int = 0
    parent: str | None = None
    notes: str | None = None
    protected: bool = False
    subtype: str | None = None


class Writer(Protocol):
    """Where a command's progress goes: stdout or a task's output."""

    def write(self, text: str, /) -> int:
        """Write some text."""


class Backend(Protocol):
    """One storage, names without its id. Every method raises Die as Proxmox does."""

    section: Section

    def activate(self) -> None:
        """Make the storage usable."""

    def status(self) -> tuple[int, int, int]:
        """(total, available, used) bytes."""

    def images(self) -> list[Volume]:
        """The disks of guests."""

    def parse(self, name: str) -> Name:
        """What a volume name says."""

    def alloc(self, vmid: int, kind: str, name: str | None, size: int, out: Writer) -> str:
        """Make a disk of a format (raw, subvol); its name."""

    def free(self, name: str, out: Writer) -> None:
        """Delete a volume."""

    def path(self, name: str, snapshot: str | None = None) -> str:
        """The path on the node of a volume or of its snapshot."""

    def root_dir(self, name: str) -> str:
        """The directory with the files in a volume (a real path)."""

    def size(self, name: str) -> int:
        """Bytes of a volume."""

    def used(self, name: str) -> int:
        """Bytes in use in a volume."""

    def fill(self, name: str, size: int) -> None:
        """Note that so many bytes are in use in a volume."""

    def resize(self, name: str, size: int, running: bool, out: Writer) -> None:
        """Grow a volume and the file system in it."""

    def feature(self, name: str, feature: str, snapshot: str | None) -> bool:
        """Whether a volume or its snapshot can do something."""

    def snapshot(self, name: str, snap: str) -> None:
        """Take a snapshot."""

    def rollback_possible(self, name: str, snap: str) -> None:
        """Refuse a rollback that cannot be done."""

    def rollback(self, name: str, snap: str) -> None:
        """Take a volume back to a snapshot."""

    def delete_snapshot(self, name: str, snap: str) -> None:
        """Delete a snapshot."""

    def snapshot_dir(self, name: str, snap: str) -> str:
        """The directory with the files in a snapshot (a real path)."""

    def clone(self, name: str, vmid: int, snap: str | None) -> str:
        """Make a linked clone for another guest; its name."""

    def make_base(self, name: str) -> str:
        """Turn a volume into a base of linked clones; its new name."""


class Notes:
    """The notes and guest trees of a storage's images, below /var/lib/fleet-lab/volumes/STORAGE.

    NAME.json: {"size": apparent bytes, "fs": bytes of the file system in it (0: none), "used": bytes in use};
    NAME/: the files in it. Snapshots are NAME@SNAP.
    """

    def __init__(self, storage: str) -> None:
        self.top = f"{paths.STATE}/volumes/{storage}"

    def get(self, name: str) -> dict[str, Any]:
        """The notes of an image; {} for one that somebody else put there."""
        try:
            with open(paths.real(f"{self.top}/{name}.json"), encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
                return found
        except FileNotFoundError:
            return {}

    def put(self, name: str, **notes: object) -> None:
        """Change notes of an image."""
        files.write(f"{self.top}/{name}.json", json.dumps({**self.get(name), **notes}).encode())

    def tree(self, name: str) -> str:
        """The directory with the files in an image (a real path, made if missing)."""
        place = paths.real(f"{self.top}/{name}")
        os.makedirs(place, exist_ok=True)
        return place

    def copy(self, source: str, target: str) -> None:
        """Give an image the notes and files of another."""
        import shutil

        shutil.rmtree(paths.real(f"{self.top}/{target}"), ignore_errors=True)
        os.makedirs(os.path.dirname(paths.real(f"{self.top}/{target}")), exist_ok=True)
        shutil.copytree(self.tree(source), paths.real(f"{self.top}/{target}"), symlinks=True)
        self.put(target, **self.get(source))

    def rename(self, source: str, target: str) -> None:
        """Give an image's notes and files another name."""
        for suffix in ("", ".json"):
            old = paths.real(f"{self.top}/{source}{suffix}")
            if os.path.exists(old):
                os.rename(old, paths.real(f"{self.top}/{target}{suffix}"))

    def remove(self, name: str) -> None:
        """Forget an image."""
        import shutil

        shutil.rmtree(paths.real(f"{self.top}/{name}"), ignore_errors=True)
        try:
            os.unlink(paths.real(f"{self.top}/{name}.json"))
        except FileNotFoundError:
            return


def make_image(path: str, size: int) -> None:
    """A sparse file of this size, or as large as the file system of this machine lets it be."""
    with open(paths.real(path), "wb") as file:
        try:
            file.truncate(size)
        except OSError:
            file.truncate(1 << 30)


def full(storage: str) -> bool:
    """Whether the lab was told that a storage has no space left (faults.json: {"disk_full": [STORAGE]})."""
    return storage in machine.faults().get("disk_full", ())
