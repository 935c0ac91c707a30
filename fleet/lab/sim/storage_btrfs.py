"""btrfs storages (pve-storage BTRFSPlugin.pm).

Like dir, but an image is a file in a subvolume of its own, which can be snapshotted.
"""

from __future__ import annotations

import os
import re
import shutil

from . import paths
from .errors import Die
from .storage_base import Volume, Writer, full, make_image
from .storage_file import Directory, listed
from .storage_names import free_name


class Btrfs(Directory):
    """A btrfs storage: an image is a file in a subvolume of its own, which can be snapshotted."""

    def _entry(self, name: str, snapshot: str | None = None) -> str:
        """The subvolume of an image or of one of its snapshots."""
        parsed = self.parse(name)
        stem = parsed.name.removesuffix(".raw") if parsed.format == "raw" else parsed.name
        return f"{self.subdir('images')}/{parsed.vmid}/{stem}" + (f"@{snapshot}" if snapshot else "")

    def path(self, name: str, snapshot: str | None = None) -> str:
        """The path of a volume or of one of its snapshots."""
        parsed = self.parse(name)
        if parsed.vtype != "images":
            return super().path(name)
        entry = self._entry(name, snapshot)
        return f"{entry}/disk.raw" if parsed.format == "raw" else entry

    def images(self) -> list[Volume]:
        """The images, as the subvolumes have them."""
        found: list[Volume] = []
        top = self.subdir("images")
        for owner in listed(top):
            for entry in listed(f"{top}/{owner}") if owner.isdecimal() else ():
                match = re.fullmatch(r"[^@.]+(?:\.(subvol))?", entry)
                if match is None:
                    continue
                name = f"{owner}/{entry}" + ("" if match[1] else ".raw")
                if os.path.exists(paths.real(self.path(name))):
                    found.append(self._image(name, match[1] or "raw", int(owner)))
        return found

    def alloc(self, vmid: int, kind: str, name: str | None, size: int, out: Writer) -> str:
        """Make an image; its volume name."""
        directory = f"{self.subdir('images')}/{vmid}"
        if not name:
            taken = listed(directory)
            name = free_name(taken, vmid, kind, f".{kind}")
        return super().alloc(vmid, kind, name, size, out)

    def _make(self, volume: str, kind: str, size: int, out: Writer) -> None:
        del out
        entry = self._entry(volume)
        if os.path.exists(paths.real(entry)):
            raise Die(f"disk image '{entry}' already exists")
        if kind == "subvol" and size:
            raise Die("btrfs quotas are currently not supported, use an unsized subvolume or a raw file")
        if full(self.section.id):
            raise Die(
                f"command 'btrfs subvolume create -- {entry}' failed: ERROR: cannot create subvolume: "
                "No space left on device"
            )
        os.mkdir(paths.real(entry), 0o755)
        if kind == "raw":
            make_image(f"{entry}/disk.raw", size)
            self.notes.put(volume, size=size, fs=0, used=0)

    def free(self, name: str, out: Writer) -> None:
        """Delete an image with its snapshots."""
        parsed = self.parse(name)
        if parsed.vtype != "images" or parsed.format not in ("raw", "subvol"):
            super().free(name, out)
            return
        entry = self._entry(name)
        snaps = self._snapshots(name)
        words = [*(f"{entry}@{snap}" for snap in snaps), entry]
        if not os.path.isdir(paths.real(entry)):
            raise Die(
                f"command 'btrfs subvolume delete -- {' '.join(words)}' failed: ERROR: Could not statfs: "
                "No such file or directory"
            )
        for word in words:
            shutil.rmtree(paths.real(word))
        for snap in snaps:
            self.notes.remove(f"{name}@{snap}")
        self.notes.remove(name)
        if not os.listdir(os.path.dirname(paths.real(entry))):
            os.rmdir(os.path.dirname(paths.real(entry)))

    def _snapshots(self, name: str) -> list[str]:
        entry = self._entry(name)
        prefix = os.path.basename(entry) + "@"
        return [e.removeprefix(prefix) for e in listed(os.path.dirname(entry)) if e.startswith(prefix)]

    def _no_resize(self) -> str:
        return "cannot resize subvolume - btrfs quotas are currently not supported"

    def feature(self, name: str, feature: str, snapshot: str | None) -> bool:
        """Whether a volume can do something."""
        parsed = self.parse(name)
        if parsed.format not in ("raw", "subvol"):
            return super().feature(name, feature, snapshot)
        if feature in ("snapshot", "copy"):
            return feature == "copy" or snapshot is not None or not parsed.is_base
        if feature == "clone":
            return parsed.is_base or parsed.format == "raw"
        return super().feature(name, feature, snapshot)

    def snapshot(self, name: str, snap: str) -> None:
        """Btrfs subvolume snapshot -r."""
        entry, target = self._entry(name), self._entry(name, snap)
        if os.path.exists(paths.real(target)):
            raise Die(
                f"command 'btrfs subvolume snapshot -r -- {entry} {target}' failed: ERROR: cannot snapshot "
                f"'{entry}': "
                "File exists"
            )
        shutil.copytree(paths.real(entry), paths.real(target), symlinks=True, copy_function=_copy_sparse)
        if self.parse(name).format == "raw":
            self.notes.copy(name, f"{name}@{snap}")

    def rollback_possible(self, name: str, snap: str) -> None:
        """Always."""

    def rollback(self, name: str, snap: str) -> None:
        """Put a copy of the snapshot in the place of the volume."""
        entry, source = self._entry(name), self._entry(name, snap)
        if not os.path.isdir(paths.real(source)):
            raise Die(
                f"command 'btrfs subvolume snapshot -- {source} {entry}.tmp.{os.getpid()}' failed: "
                "ERROR: Could not statfs: No such file or directory"
            )
        shutil.rmtree(paths.real(entry))
        shutil.copytree(paths.real(source), paths.real(entry), symlinks=True, copy_function=_copy_sparse)
        if self.parse(name).format == "raw":
            self.notes.copy(f"{name}@{snap}", name)

    def delete_snapshot(self, name: str, snap: str) -> None:
        """Btrfs subvolume delete."""
        entry = self._entry(name, snap)
        if not os.path.isdir(paths.real(entry)):
            raise Die(
                f"command 'btrfs subvolume delete -- {entry}' failed: ERROR: Could not statfs: No such file "
                f"or directory"
            )
        shutil.rmtree(paths.real(entry))
        self.notes.remove(f"{name}@{snap}")

    def snapshot_dir(self, name: str, snap: str) -> str:
        """The directory with the files in a snapshot (a real path)."""
        if self.parse(name).format == "subvol":
            return paths.real(self._entry(name, snap))
        return self.notes.tree(f"{name}@{snap}")

    def clone(self, name: str, vmid: int, snap: str | None) -> str:
        """A linked clone: a writable snapshot with a name of its own."""
        parsed = self.parse(name)
        directory = f"{self.subdir('images')}/{vmid}"
        os.makedirs(paths.real(directory), exist_ok=True)
        new = f"{vmid}/{free_name(listed(directory), vmid, parsed.format, f'.{parsed.format}')}"
        shutil.copytree(
            paths.real(self._entry(name, snap)),
            paths.real(self._entry(new)),
            symlinks=True,
            copy_function=_copy_sparse,
        )
        if parsed.format == "raw":
            self.notes.copy(f"{name}@{snap}" if snap else name, new)
        return new


def _copy_sparse(source: str, target: str) -> str:
    """Copy a file; an image, which is empty, only in its size."""
    if os.path.basename(source) == "disk.raw":
        with open(target, "wb") as file:
            file.truncate(os.stat(source).st_size)
        return target
    return str(shutil.copy2(source, target, follow_symlinks=False))
