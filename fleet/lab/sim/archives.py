"""Backup archives of containers: their names, what is in them, the files beside them.

Of pve-storage's Storage.pm and pve-container's VZDump/LXC.pm.

The tar stream is that of vzdump: ./etc/vzdump/pct.conf and pct.fw first, then the tree, owners as the guest
sees them. Its first header tells how long the stream is that it stands for (in a comment, which tar ignores).
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from . import owners, zfs_control
from .errors import Die

if TYPE_CHECKING:
    import tarfile

CONFIG, FIREWALL = "etc/vzdump/pct.conf", "etc/vzdump/pct.fw"
SHIFT = 100000  # of the ids of an unprivileged container
_IDS, _NOBODY = 65536, 65534
_NAME = re.compile(r"vzdump-(lxc|openvz|qemu)-.+\.(?:tgz|(?:tar|vma)(?:\.(?:gz|lzo|zst|bz2))?)")
_STANDARD = re.compile(
    r"(vzdump-(?:lxc|openvz|qemu)-([1-9]\d{2,8})-(\d{4})_(\d\d)_(\d\d)-(\d\d)_(\d\d)_(\d\d))\..+"
)
_LENGTH = "the lab's stand-in for bytes: "


class Info(NamedTuple):
    """What the name of an archive says: kind of guest, and if it is a standard name VMID, time, log file."""

    kind: str  # lxc, qemu, openvz
    vmid: int | None = None
    ctime: int | None = None  # by the node's time zone
    log: str | None = None

    @property
    def standard(self) -> bool:
        """Whether it is the name that vzdump gives."""
        return self.vmid is not None


def info(name: str) -> Info | None:
    """What a file's name says; None if it is no name of a backup."""
    kind = _NAME.fullmatch(name)
    if kind is None:
        return None
    found = _STANDARD.fullmatch(name)
    if found is None:
        return Info(kind[1])
    parts = [int(part) for part in found.groups()[2:]]
    try:
        moment = int(time.mktime((*parts[:6], 0, 0, -1)))  # type: ignore[arg-type]
    except (OverflowError, ValueError):
        return Info(kind[1])
    return Info(kind[1], int(found[2]), moment, f"{found[1]}.log")


def ctime(path: str) -> int:
    """When an archive was made: as its name says, else as its file does."""
    found = info(os.path.basename(path))
    return found.ctime if found and found.ctime is not None else int(os.stat(path).st_ctime)


def protected(path: str) -> bool:
    """Whether an archive must not be deleted."""
    return os.path.exists(f"{path}.protected")


def remove_companions(path: str) -> None:
    """Delete the log and the notes of an archive."""
    found = info(os.path.basename(path))
    if found is None or found.log is None:
        return
    for name in (f"{os.path.dirname(path)}/{found.log}", f"{path}.notes"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def remove(path: str) -> None:
    """Delete an archive with its log and notes; refused for a protected one."""
    if protected(path):
        raise Die(f"cannot remove protected archive '{path}'")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    remove_companions(path)


# --- making one ---


def stream(tree: str, sources: list[tuple[str, str]], excluded: list[str], shift: int, length: int) -> bytes:
    """The tar stream of a backup.

    `tree` is a directory with the files of etc/vzdump, `sources` are (mount point in the guest, directory).
    `length` are the bytes that it stands for.
    """
    import tarfile

    out = io.BytesIO()
    headers = {"comment": f"{_LENGTH}{length}"}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        for name in (CONFIG, FIREWALL):
            if os.path.exists(f"{tree}/{name}"):
                tar.add(f"{tree}/{name}", f"./{name}")
        for mount, directory in sources:
            for path, name in _members(directory, mount, excluded):
                _add(tar, path, name, shift)
    return out.getvalue()


def _members(directory: str, mount: str, excluded: list[str]) -> Iterator[tuple[str, str]]:
    """(path, name in the archive) of all that is below a directory and not excluded, itself first."""
    top = f".{mount}".rstrip("/") or "."
    yield directory, f"{top}/" if mount == "/" else top
    for parent, directories, files in os.walk(directory):
        if zfs_control.NAME in directories:
            directories.remove(zfs_control.NAME)
        below = os.path.relpath(parent, directory)
        prefix = top if below == "." else f"{top}/{below}"
        directories[:] = sorted(name for name in directories if not _excluded(f"{prefix}/{name}", excluded))
        names = sorted(name for name in files if not _excluded(f"{prefix}/{name}", excluded))
        for name in (*directories, *names):
            yield f"{parent}/{name}", f"{prefix}/{name}"


def _excluded(name: str, patterns: list[str]) -> bool:
    """Whether tar leaves a member out: `/x` is anchored at the root, others match below any directory."""
    for pattern in patterns:
        if pattern.startswith("/"):
            if fnmatch.fnmatchcase(name, f".{pattern}"):
                return True
        elif fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"*/{pattern}"):
            return True
    return False


def _add(tar: tarfile.TarFile, path: str, name: str, shift: int) -> None:
    if stat.S_ISSOCK(os.lstat(path).st_mode):
        return  # tar leaves sockets out
    entry = tar.gettarinfo(path, name)
    uid, gid = owners.owner(path, follow=False)
    entry.uid, entry.gid = _inside(uid, shift), _inside(gid, shift)
    entry.uname = entry.gname = ""
    if entry.isreg():
        with open(path, "rb") as file:
            tar.addfile(entry, file)
    else:
        tar.addfile(entry)


def _inside(number: int, shift: int) -> int:
    """An id as the guest sees it; what was never given away is root's, what it has no id for is nobody's."""
    if not shift or number == 0:
        return number
    return number - shift if shift <= number < shift + _IDS else _NOBODY


# --- reading one ---


class Backup:
    """An archive that was read, as far as it can be. OSError if it is not there."""

    def __init__(self, path: str) -> None:
        from . import packing

        self.damage: str | None = None
        try:
            self.raw = packing.expand(path)
        except packing.Damaged as error:
            self.raw, self.damage = error.before, str(error)

    def config(self) -> bytes | None:
        """The configuration in it, None without one. It comes first, so that a cut archive may have it."""
        import tarfile

        with contextlib.suppress(tarfile.TarError, EOFError, ValueError), self._open() as tar:
            for entry in tar:
                if entry.name in (f"./{CONFIG}", CONFIG):
                    file = tar.extractfile(entry)
                    return file.read() if file else None
        return None

    def length(self) -> int:
        """Bytes of the stream that it stands for."""
        try:
            with self._open() as tar:
                comment = str(tar.pax_headers.get("comment", ""))
        except ValueError:
            return len(self.raw)
        found = comment.removeprefix(_LENGTH)
        return int(found) if found.isdecimal() else len(self.raw)

    def extract(self, target: str, shift: int) -> None:
        """Unpack all of it but /dev; owners are those of the node. ValueError after what could be had."""
        import tarfile

        try:
            with self._open() as tar:
                tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
                for entry in tar:
                    if not entry.name.startswith("./dev/"):
                        self._extract(tar, entry, target, shift)
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(self.damage or f"tar: {error}") from None
        if self.damage is not None:
            raise ValueError(self.damage)

    def _extract(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, target: str, shift: int) -> None:
        ids = entry.uid, entry.gid
        entry.uid, entry.gid = os.getuid(), os.getgid()
        tar.extract(entry, target)
        if ids != (0, 0):
            owners.chown(f"{target}/{entry.name}", ids[0] + shift, ids[1] + shift, follow=False)

    def _open(self) -> tarfile.TarFile:
        import tarfile

        try:
            return tarfile.open(fileobj=io.BytesIO(self.raw))
        except tarfile.TarError as error:
            raise ValueError(self.damage or f"tar: {error}") from None
