"""The files of a storage that are no disks: templates, ISO images, backups, snippets, imports."""

from __future__ import annotations

import os
import re

from . import archives, paths
from .storage_base import Backend, Volume
from .storage_file import Directory
from .storage_names import BACKUP, ISO, TEMPLATE


def listed(store: Backend, kind: str, vmid: int | None) -> list[Volume]:
    """The files of one content type, of one guest only where they belong to guests."""
    assert isinstance(store, Directory)
    directory = store.subdir(kind)
    try:
        names = sorted(os.listdir(paths.real(directory)))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        info = os.stat(paths.real(f"{directory}/{name}"))
        if not os.path.isfile(paths.real(f"{directory}/{name}")):
            continue
        read = _read(name, kind)
        if read is None:
            continue
        fmt, owner = read
        if vmid is not None and owner != vmid:
            continue
        volume = Volume(
            f"{store.section.id}:{kind}/{name}", fmt, kind, info.st_size, owner, int(info.st_ctime)
        )
        found.append(_backup(volume, f"{directory}/{name}") if kind == "backup" else volume)
    return found


def _backup(volume: Volume, path: str) -> Volume:
    """A backup with what its name and the files beside it say."""
    known = archives.info(os.path.basename(path))
    notes = None
    try:
        with open(paths.real(f"{path}.notes"), encoding="utf-8", errors="replace") as file:
            notes = file.readline().rstrip("\n")
    except FileNotFoundError:
        pass
    return volume._replace(
        ctime=known.ctime if known and known.ctime is not None else volume.ctime,
        subtype=known.kind if known else "unknown",
        notes=notes,
        protected=archives.protected(paths.real(path)),
    )


def _read(name: str, kind: str) -> tuple[str, int | None] | None:
    """(format, owner) of a file of a content type; None for one that does not belong there."""
    if kind == "vztmpl":
        match = TEMPLATE.fullmatch(name)
        return (("t" + match[1] if match[1] else "tar"), None) if match else None
    if kind == "iso":
        return ("iso", None) if ISO.fullmatch(name) else None
    if kind == "backup":
        match = BACKUP.fullmatch(name)
        if match is None:
            return None
        owner = re.search(r"-([1-9]\d{2,8})-[^/]+$", name)
        return _backup_format(name), int(owner[1]) if owner else None
    if kind == "import":
        return (
            (name.rpartition(".")[2], None)
            if re.fullmatch(r"[\w.+=:~ -]+\.(?:ova|ovf|qcow2|raw|vmdk)", name)
            else None
        )
    return ("snippet", None)


def _backup_format(name: str) -> str:
    """The ending that is a backup's format: tar.zst, vma.zst, tgz ..."""
    match = re.search(r"\.(tgz|(?:tar|vma)(?:\.(?:gz|lzo|zst|bz2))?)$", name)
    assert match is not None
    return match[1]
