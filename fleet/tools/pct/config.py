"""A container's config file, text -> value (pve-facts 1.1). Reads what a hand may have broken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

_SECTION = re.compile(r"\[([^\]]+)\]\s*")
_LINE = re.compile(r"([a-z][a-z_]*\d*):\s*(.*?)\s*")
_ENVIRONMENT = "lxc.environment.runtime"  # what the key `env` is in the file
_RAW = re.compile(r"(lxc\.[a-z0-9_.-]+)\s*[:=]\s*(.*?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot's section says of the snapshot itself; `state`: prepare or delete while half done."""

    name: str
    time: int = 0  # epoch seconds
    parent: str = ""
    state: str = ""
    description: str = ""
    values: Mapping[str, str] = field(default_factory=dict)  # the guest's own, as they were then


@dataclass(frozen=True, slots=True)
class Config:
    """One container's configuration: what is in force, what waits for a restart, what is not understood."""

    digest: str  # SHA-1 of the file, what `pct set --digest` compares
    current: Mapping[str, str]  # the main section; `description` is decoded
    pending: Mapping[str, str] = field(default_factory=dict)
    pending_delete: frozenset[str] = frozenset()
    raw: tuple[str, ...] = ()  # lxc.* lines of the main section, as `lxc.key: value`
    snapshots: tuple[Snapshot, ...] = ()
    unread: tuple[str, ...] = ()  # lines that Proxmox would drop at its next write

    def effective(self, key: str) -> str | None:
        """The value after the next restart: pending beats delete (observed.md 7), delete beats current."""
        if key in self.pending:
            return self.pending[key]
        return None if key in self.pending_delete else self.current.get(key)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The keys that a restart would change, sorted."""
        return tuple(sorted({*self.pending, *self.pending_delete}))

    @property
    def from_image(self) -> bool:
        """True if it was made of an OCI image, whose stop signal is then a raw line (PVE/LXC/Create.pm)."""
        return any(line.startswith("lxc.signal.halt:") for line in self.raw)

    @property
    def tags(self) -> frozenset[str]:
        """The tags, in lower case."""
        return frozenset(tag.lower() for tag in re.split(r"[\s,;]+", self.current.get("tags", "")) if tag)


def parse_config(text: str, digest: str) -> Config:
    """The value of a file's text; what cannot be read is in `unread`. `digest`: SHA-1 of the file."""
    current: dict[str, str] = {}
    pending: dict[str, str] = {}
    deleted: set[str] = set()
    raw: list[str] = []
    snapshots: dict[str, dict[str, str]] = {}
    unread: list[str] = []
    comments: list[str] = []
    section = ""
    for line in text.split("\n"):
        if not line.strip():
            continue
        if line.startswith("[") and (match := _SECTION.fullmatch(line)):
            section = match[1]
            if section != "pve:pending":
                snapshots[section] = {}
            continue
        if section not in ("", "pve:pending"):
            _read_snapshot_line(line, snapshots[section])
            continue
        if line.startswith("#"):
            if not section:
                comments.append(unquote(line[1:]))
        elif match := _LINE.fullmatch(line):
            if section and match[1] == "delete":
                deleted.update(key.lstrip("!") for key in re.split(r"[\s,;]+", match[2]) if key)
            else:
                (pending if section else current)[match[1]] = match[2]
        elif match := _RAW.fullmatch(line):
            if match[1] == _ENVIRONMENT:  # one line a variable
                there = pending if section else current
                there["env"] = f"{there['env']}\n{match[2]}" if "env" in there else match[2]
            elif not section:
                raw.append(f"{match[1]}: {match[2]}")
        else:
            unread.append(line)
    if comments:
        current["description"] = "\n".join(comments)
    return Config(
        digest,
        current,
        pending,
        frozenset(deleted),
        tuple(raw),
        tuple(_snapshot(name, said) for name, said in snapshots.items()),
        tuple(unread),
    )


def raw_lines(text: str) -> tuple[str, ...]:
    """The lxc.* lines of a text, as `lxc.key: value`."""
    found = (_RAW.fullmatch(line) for line in text.split("\n"))
    return tuple(f"{match[1]}: {match[2]}" for match in found if match)


def _read_snapshot_line(line: str, said: dict[str, str]) -> None:
    if line.startswith("#"):
        text = unquote(line[1:])
        said["description"] = f"{said['description']}\n{text}" if "description" in said else text
    elif match := _LINE.fullmatch(line):
        said[match[1]] = match[2]


#: Keys of a section that tell of the snapshot, and not of the guest.
_OF_SNAPSHOT = frozenset({"snaptime", "parent", "snapstate", "description"})


def _snapshot(name: str, said: Mapping[str, str]) -> Snapshot:
    time = said.get("snaptime", "")
    return Snapshot(
        name,
        int(time) if time.isdigit() else 0,
        said.get("parent", ""),
        said.get("snapstate", ""),
        said.get("description", ""),
        {key: value for key, value in said.items() if key not in _OF_SNAPSHOT},
    )


def encode_description(text: str) -> str:
    """The `#` lines of a description as Proxmox writes them: bytes outside 20-24, 26-39, 3B-7E become %XX."""
    return "\n".join(
        "#" + "".join(chr(byte) if _is_plain(byte) else f"%{byte:02X}" for byte in line.encode())
        for line in text.rstrip("\n").split("\n")
    )


def _is_plain(byte: int) -> bool:
    return 0x20 <= byte <= 0x7E and byte not in (0x25, 0x3A)
