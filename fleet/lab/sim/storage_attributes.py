"""What is said about a backup in files beside it: its notes, and whether it is protected (DirPlugin.pm)."""

from __future__ import annotations

import contextlib
import os

from . import archives, files, paths, storage, storage_cfg
from .errors import Die


def _backup(volid: str, attribute: str) -> str:
    """The path of a backup on the node; Die for a volume that is none."""
    if storage.parse_name(volid).vtype != "backup":
        what = "can have notes" if attribute == "notes" else f"support attribute '{attribute}'"
        raise Die(f"only backups {what}")
    return storage.path(volid)


def set_notes(volid: str, notes: str) -> None:
    """Write the notes of a backup; none for an empty text."""
    path = f"{_backup(volid, 'notes')}.notes"
    if notes:
        files.write(path, notes.encode("utf-8", "surrogateescape"))
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(paths.real(path))


def protect(volid: str, wanted: bool) -> None:
    """Protect a backup, or not; the storage may limit how many of a guest are."""
    path = _backup(volid, "protected")
    if archives.protected(paths.real(path)) == wanted:
        return
    if wanted:
        _check_limit(volid)
        files.write(f"{path}.protected", b"")
    else:
        os.unlink(paths.real(f"{path}.protected"))


def _check_limit(volid: str) -> None:
    name = storage.parse_volid(volid)[0]
    most = int(storage_cfg.get(name).keys.get("max-protected-backups", "-1"))
    vmid = storage.parse_name(volid).vmid
    if most < 0 or vmid is None:
        return
    listed = storage.volumes(name, vmid, ("backup",))
    kind = next((volume.subtype for volume in listed if volume.volid == volid), None)
    if sum(volume.protected and volume.subtype == kind for volume in listed) >= most:
        raise Die(f"The number of protected backups per guest is limited to {most} on storage '{name}'")
