"""Storages of files: dir and btrfs (pve-storage Plugin.pm, DirPlugin.pm, BTRFSPlugin.pm).

An image is a sparse file where Proxmox has one; the guest's files are in Notes.tree. A subvol is a directory,
both at once.
"""

from __future__ import annotations

import os
import re
import shutil
import sys

from . import archives, ext4, machine, paths
from .errors import Die
from .storage_base import EMPTY, Notes, Volume, Writer, full, make_image
from .storage_cfg import Section
from .storage_names import Name, free_name, parse_file_name, parse_name

SUBDIRS = {
    "images": "images",
    "rootdir": "private",
    "iso": "template/iso",
    "vztmpl": "template/cache",
    "backup": "dump",
    "snippets": "snippets",
    "import": "import",
}


class Directory:
    """A dir storage."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.notes = Notes(section.id)

    def activate(self) -> None:
        """Make the directories; refuse when the path cannot be."""
        path, real = self.section.path, paths.real(self.section.path)
        if self.section.flag("create-base-path", self.section.flag("mkdir", True)) and not os.path.exists(
            real
        ):
            os.makedirs(real, exist_ok=True)
        mountpoint = self.section.keys.get("is_mountpoint", "no")
        if mountpoint not in ("no", "0", "off", "false") and not _is_mounted(
            path if mountpoint in ("yes", "1", "on", "true") else mountpoint
        ):
            raise Die(
                f"unable to activate storage '{self.section.id}' - "
                f"directory is expected to be a mount point but is not mounted: '{path}'"
            )
        if not os.path.isdir(real):
            raise Die(
                f"unable to activate storage '{self.section.id}' - "
                f"directory '{path}' does not exist or is unreachable"
            )
        if self.section.flag("create-subdirs", True) and self.section.flag("mkdir", True):
            for vtype in SUBDIRS:
                if vtype in self.section.content or (vtype == "backup" and "rootdir" in self.section.content):
                    os.makedirs(paths.real(self.subdir(vtype)), exist_ok=True)

    def subdir(self, vtype: str) -> str:
        """The directory of a content type."""
        for entry in re.split(r"[\s,;]+", self.section.keys.get("content-dirs", "")):
            kind, _, place = entry.partition("=")
            if kind == vtype and place:
                return f"{self.section.path}/{place}"
        return f"{self.section.path}/{SUBDIRS[vtype]}"

    def parse(self, name: str) -> Name:
        """What a volume name says."""
        return parse_name(self.section.type, name)

    def status(self) -> tuple[int, int, int]:
        """(total, available, used) bytes of the file system that the storage is on."""
        images = sum(self.used(v.volid.partition(":")[2]) for v in self.images())
        return filesystem(self.section.path, images + self._archived())

    def _archived(self) -> int:
        """Bytes of the backups, as they are said to be long."""
        directory = self.subdir("backup")
        return sum(os.stat(paths.real(f"{directory}/{name}")).st_size for name in listed(directory))

    def images(self) -> list[Volume]:
        """The images, as the directories have them."""
        found: list[Volume] = []
        top = self.subdir("images")
        for owner in listed(top):
            for file in listed(f"{top}/{owner}") if owner.isdecimal() else ():
                try:
                    kind, _ = parse_file_name(file)
                except Die:
                    continue
                name = f"{owner}/{file}"
                found.append(self._image(name, kind, int(owner)))
        return found

    def _image(self, name: str, kind: str, vmid: int) -> Volume:
        stat = os.stat(paths.real(self.path(name)))
        return Volume(
            f"{self.section.id}:{name}",
            kind,
            "images",
            0 if kind == "subvol" else self.size(name),
            vmid,
            int(stat.st_ctime),
        )

    def alloc(self, vmid: int, kind: str, name: str | None, size: int, out: Writer) -> str:
        """Make an image; its volume name."""
        directory = f"{self.subdir('images')}/{vmid}"
        os.makedirs(paths.real(directory), exist_ok=True)
        if not name:
            name = free_name(listed(directory), vmid, kind, f".{kind}")
        has, _ = parse_file_name(name)
        if has != kind:
            raise Die(f"illegal name '{name}' - wrong extension for format ('{has} != '{kind}')")
        volume = f"{vmid}/{name}"
        self._make(volume, kind, size, out)
        return volume

    def _make(self, volume: str, kind: str, size: int, out: Writer) -> None:
        path = self.path(volume)
        if os.path.exists(paths.real(path)):
            raise Die(f"disk image '{path}' already exists")
        if kind == "subvol":
            if size:
                raise Die("storage does not support subvol quotas")
            os.mkdir(paths.real(path), 0o755)
            return
        out.write(f"Formatting '{path}', fmt={kind} size={size} preallocation=off\n")
        if full(self.section.id):
            raise Die(
                f"unable to create image: qemu-img: {path}: Could not write to file: No space left on device"
            )
        make_image(path, size)
        self.notes.put(volume, size=size, fs=0, used=0)

    def free(self, name: str, out: Writer) -> None:
        """Delete an image or any other file of the storage."""
        del out
        parsed = self.parse(name)
        path = paths.real(self.path(name))
        if parsed.vtype == "backup" and archives.protected(path):
            raise Die(f"cannot remove protected volume '{name}' on '{self.section.id}'")
        if parsed.format == "subvol":
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.isfile(path):
            os.unlink(path)
        else:
            print(f"disk image '{paths.node(path)}' does not exist", file=sys.stderr)
            return
        if parsed.vtype == "backup":
            archives.remove_companions(path)
        if parsed.vtype == "images":
            self.notes.remove(name)
            if not os.listdir(os.path.dirname(path)):
                os.rmdir(os.path.dirname(path))

    def path(self, name: str, snapshot: str | None = None) -> str:
        """The path of a volume on the node."""
        parsed = self.parse(name)
        if snapshot is not None and parsed.format != "qcow2":
            raise Die("can't snapshot this image format")
        directory = self.subdir(parsed.vtype)
        return (
            f"{directory}/{parsed.vmid}/{parsed.name}"
            if parsed.vtype == "images"
            else f"{directory}/{parsed.name}"
        )

    def root_dir(self, name: str) -> str:
        """The directory with the files in a volume (a real path)."""
        return paths.real(self.path(name)) if self.parse(name).format == "subvol" else self.notes.tree(name)

    def size(self, name: str) -> int:
        """Bytes of a volume."""
        if self.parse(name).format == "subvol":
            return 0
        noted = self.notes.get(name).get("size")
        if noted is not None:
            return int(noted)
        try:
            return os.stat(paths.real(self.path(name))).st_size
        except FileNotFoundError:
            raise Die(f"failed to stat '{self.path(name)}'") from None

    def filesystem(self, name: str) -> int:
        """Bytes of the file system in an image; the image's size if nothing is known of it."""
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
        """mkfs.ext4 on an image."""
        from uuid import uuid4

        size = self.size(name)
        out.write(ext4.mkfs_output(size, str(uuid4())))
        self.notes.put(name, fs=size, made=size, used=EMPTY)

    def resize(self, name: str, size: int, running: bool, out: Writer) -> None:
        """Grow an image and the file system in it."""
        if self.parse(name).format not in ("raw", "qcow2"):
            raise Die(self._no_resize())
        if full(self.section.id):
            raise Die(
                f"qemu-img: Could not resize file: No space left on device (storage '{self.section.id}')"
            )
        make_image(self.path(name), size)
        self.notes.put(name, size=size)
        out.write("Image resized.\n")
        if self.notes.get(name).get("fs", size):
            self.grow_filesystem(name, size, running, out)

    def _no_resize(self) -> str:
        return "can't resize this image format"

    def grow_filesystem(self, name: str, size: int, running: bool, out: Writer) -> None:
        """What resize2fs does and says after the image has grown."""
        old, used = self.filesystem(name), self.used(name)
        if not running:
            out.write(ext4.resize_offline(self.path(name), old, size, used, _count(self.root_dir(name))))
            self.notes.put(name, fs=size)
            return
        denied = machine.quirk("no-online-resize")
        device = "/dev/loop1"
        out.write(ext4.resize_online(device, old, size, denied))
        if denied:
            out.write(
                "Failed to update the container's filesystem: command 'unshare -m -- sh -c 'mount "
                "--make-rprivate / && "
                f"mount {device} /tmp && resize2fs {device}'' failed: exit code 1\n\n"
            )
        else:
            self.notes.put(name, fs=size)

    def feature(self, name: str, feature: str, snapshot: str | None) -> bool:
        """Whether a volume can do something (volume_has_feature)."""
        parsed = self.parse(name)
        if feature == "copy":
            return snapshot is None and parsed.format != "subvol"
        if feature == "template":
            return snapshot is None and not parsed.is_base
        return feature == "rename" and snapshot is None and parsed.format != "subvol" and not parsed.is_base

    def snapshot(self, name: str, snap: str) -> None:
        """Refused: files have no snapshots."""
        del name, snap
        raise Die("can't snapshot this image format")

    rollback_possible = rollback = delete_snapshot = snapshot

    def snapshot_dir(self, name: str, snap: str) -> str:
        """Refused: files have no snapshots."""
        del name, snap
        raise Die("can't snapshot this image format")

    def clone(self, name: str, vmid: int, snap: str | None) -> str:
        """Refused: a linked clone would be a qcow2 file, which no container takes."""
        del vmid, snap
        if self.parse(name).format == "subvol":
            raise Die("this storage type does not support clone_image on subvolumes")
        raise Die("clone_image only works on base images")

    def make_base(self, name: str) -> str:
        """Turn an image into a base image; its new volume name."""
        parsed = self.parse(name)
        if parsed.is_base:
            raise Die("create_base not possible with base image")
        new = f"{parsed.vmid}/{re.sub('^vm-', 'base-', parsed.name)}"
        os.rename(paths.real(self._entry(name)), paths.real(self._entry(new)))
        self.notes.rename(name, new)
        return new

    def _entry(self, name: str) -> str:
        """The directory entry of an image."""
        return self.path(name)


def filesystem(path: str, used: int) -> tuple[int, int, int]:
    """(total, available, used) bytes of the file system of a path.

    They are those of machine.json's `filesystems`, with `used` added.

    {"filesystems": {PATH: {"size": BYTES, "used": BYTES, "reserved": BYTES}}}: the longest path that fits, 94
    GiB with 4 GiB in use without any. What is not said to be reserved is 5 % (ext4), or nothing (btrfs).
    """
    known = machine.facts().get("filesystems", {})
    best = max(
        (place for place in known if (path + "/").startswith(place.rstrip("/") + "/")), key=len, default=None
    )
    size = int(known[best]["size"]) if best else 94 << 30
    taken = (int(known[best].get("used", 0)) if best else 4 << 30) + used
    usual = 0 if best and known[best].get("type") == "btrfs" else size // 20
    kept = int(known[best].get("reserved", usual)) if best else usual
    return size, max(size - kept - taken, 0), min(taken, size)


def _is_mounted(path: str) -> bool:
    """Whether something is mounted at a path: a ZFS file system, or a mount of the kernel's."""
    from .zfs_tree import load

    if any(node["mounted"] == path for node in load().datasets.values()):
        return True
    return os.path.ismount(paths.real(path))


def listed(directory: str) -> list[str]:
    """The names in a directory of the node, sorted; none without it."""
    try:
        return sorted(os.listdir(paths.real(directory)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _count(directory: str) -> int:
    """The number of files below a directory, and the eleven inodes that ext4 reserves."""
    return 11 + sum(len(dirs) + len(names) for _, dirs, names in os.walk(directory))
