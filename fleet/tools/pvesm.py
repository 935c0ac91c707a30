"""Storages: the text of storage.cfg -> values (pve-facts 6.1), and the pvesm commands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet.core.command import Command, command


@dataclass(frozen=True, slots=True)
class StorageEntry:
    """One section of storage.cfg: `type: id` and its options; a bare option has the value 1."""

    id: str
    type: str
    options: Mapping[str, str]

    @property
    def content(self) -> frozenset[str]:
        """What may be stored there; Proxmox writes it in random order."""
        return frozenset(part for part in self.options.get("content", "").split(",") if part)


def parse_storage_cfg(text: str) -> dict[str, StorageEntry]:
    """The storages by id; `local` is there even where the file leaves it out."""
    entries: dict[str, StorageEntry] = {}
    options: dict[str, str] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"([^\s:#]+):\s*(\S+)\s*", line):
            options = {}
            entries[match[2]] = StorageEntry(match[2], match[1], options)
        elif match := re.fullmatch(r"\s+(\S+)(?:\s+(.*?))?\s*", line):
            options[match[1]] = match[2] or "1"
    entries.setdefault(
        "local", StorageEntry("local", "dir", {"path": "/var/lib/vz", "content": "backup,iso,vztmpl"})
    )
    return entries


def dataset(volid: str, storages: Mapping[str, StorageEntry]) -> str | None:
    """The ZFS dataset that a volume is; None where its storage is no zfspool."""
    storage, _, name = volid.partition(":")
    entry = storages.get(storage)
    pool = entry.options.get("pool") if entry and entry.type == "zfspool" else None
    return f"{pool}/{name.rpartition('/')[2]}" if pool else None


def add(type_: str, id_: str, options: Iterable[tuple[str, str]]) -> Command:
    """`pvesm add`."""
    return command("pvesm", "add", type_, id_, *_words(options))


def set_(id_: str, options: Iterable[tuple[str, str]]) -> Command:
    """`pvesm set`."""
    return command("pvesm", "set", id_, *_words(options))


def _words(options: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(word for key, value in options for word in (f"--{key}", value))
