"""Volume names: what a volid says (pve-storage Plugin.pm and ZFSPoolPlugin.pm parse_volname)."""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import Die

_VOLID = re.compile(r"([a-z][a-z0-9\-_.]*[a-z0-9]):(.+)", re.IGNORECASE)
_OWNED = re.compile(r"(vm-|base-|subvol-)(\d+)-[^/\s]+\.(raw|qcow2|vmdk|subvol)")
_OTHER = re.compile(r"(base-)?[^/\s]+\.(raw|qcow2|vmdk|subvol)")
_ZFS = re.compile(r"(?:((?:base|basevol)-(\d+)-\S+)/)?((base|basevol|vm|subvol)-(\d+)-\S+)")
_LVM = re.compile(r"(vm|base)-(\d+)-\S+")
TEMPLATE = re.compile(r"[^/]+\.(?:tar\.(gz|xz|zst|bz2)|(tar))")
BACKUP = re.compile(r"[^/]+\.(tgz|tar|tar\.gz|tar\.lzo|tar\.zst|tar\.bz2|vma|vma\.gz|vma\.lzo|vma\.zst)")
ISO = re.compile(r"[^/]+\.(?:iso|img)", re.IGNORECASE)


class Name(NamedTuple):
    """What a volume name says: content type, file or dataset name, owner, base of a linked clone, format."""

    vtype: str
    name: str
    vmid: int | None = None
    base: str | None = None
    base_vmid: int | None = None
    is_base: bool = False
    format: str = "raw"


def parse_volid(text: str) -> tuple[str, str]:
    """(storage, volume name) of STORAGE:NAME; Die otherwise."""
    match = _VOLID.fullmatch(text)
    if match is None:
        raise Die(f"unable to parse volume ID '{text}'")
    return match[1], match[2]


def parse_file_name(name: str) -> tuple[str, bool]:
    """(format, is it a base image) of an image file's name."""
    match = _OWNED.fullmatch(name)
    if match is not None:
        return match[3], match[1] == "base-"
    other = _OTHER.fullmatch(name)
    if other is None:
        raise Die(f"unable to parse volume filename '{name}'")
    return other[2], other[1] is not None


def parse_name(kind: str, name: str) -> Name:
    """What a volume name on a storage of this type says; Die where it says nothing."""
    if kind == "zfspool":
        match = _ZFS.fullmatch(name)
        if match is None:
            raise Die(f"unable to parse zfs volume name '{name}'")
        subvol = match[4] in ("subvol", "basevol")
        return Name(
            "images",
            match[3],
            int(match[5]),
            match[1],
            int(match[2]) if match[2] else None,
            match[4] in ("base", "basevol"),
            "subvol" if subvol else "raw",
        )
    if kind == "lvmthin":
        match = _LVM.fullmatch(name)
        if match is None:
            raise Die(f"unable to parse lvm volume name '{name}'")
        return Name("images", name, int(match[2]), is_base=match[1] == "base")
    return _parse_directory_name(name)


def _parse_directory_name(name: str) -> Name:
    """What a volume name on a file based storage says."""
    match = re.fullmatch(r"(\d+)/(\S+)/(\d+)/(\S+)", name)
    if match is not None:
        parse_file_name(match[2])
        kind, is_base = parse_file_name(match[4])
        return Name("images", match[4], int(match[3]), match[2], int(match[1]), is_base, kind)
    match = re.fullmatch(r"(\d+)/(\S+)", name)
    if match is not None:
        kind, is_base = parse_file_name(match[2])
        return Name("images", match[2], int(match[1]), is_base=is_base, format=kind)
    directory, _, file = name.partition("/")
    if directory == "iso" and ISO.fullmatch(file):
        return Name("iso", file)
    if directory == "vztmpl" and TEMPLATE.fullmatch(file):
        return Name("vztmpl", file)
    if directory == "backup" and BACKUP.fullmatch(file):
        owner = re.match(r"vzdump-(?:openvz|lxc|qemu)-(\d+)-.+", file)
        return Name("backup", file, int(owner[1]) if owner else None)
    if directory == "snippets" and file and "/" not in file:
        return Name("snippets", file)
    if directory == "import" and re.fullmatch(r"[\w.+=:~ -]+\.(?:ova|ovf|qcow2|raw|vmdk)", file):
        return Name("import", file, format=file.rpartition(".")[2])
    raise Die(f"unable to parse directory volume name '{name}'")


def free_name(taken: list[str], vmid: int, kind: str, suffix: str = "") -> str:
    """The name of a guest's next volume: the lowest number that no volume of this guest has."""
    used = {
        int(m[1])
        for name in taken
        if (m := re.search(rf"(?:vm|base|subvol|basevol)-{vmid}-disk-(\d+)", name))
    }
    number = next(n for n in range(len(used) + 1) if n not in used)
    return f"{'subvol' if kind == 'subvol' else 'vm'}-{vmid}-disk-{number}{suffix}"
