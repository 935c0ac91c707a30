"""/etc/pve/storage.cfg: reading, checking and writing it.

Of pve-storage's Plugin.pm and pve-common's SectionConfig.pm.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from . import errors, files, machine, paths
from .errors import Die

FILE = "/etc/pve/storage.cfg"
_FILES = {"images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"}
_HEADER = re.compile(r"(\S+):\s*(\S+)\s*")
_LINE = re.compile(r"\s+(\S+)(?:\s+(.*\S))?\s*")
_ID = re.compile(r"[a-z][a-z0-9\-_.]*[a-z0-9]", re.IGNORECASE)
_BOOLEANS = {"1": "1", "on": "1", "yes": "1", "true": "1", "0": "0", "off": "0", "no": "0", "false": "0"}
BOOLEAN_KEYS = (
    "disable",
    "shared",
    "sparse",
    "mkdir",
    "create-base-path",
    "create-subdirs",
    "nocow",
    "snapshot-as-volume-chain",
)


class Kind(NamedTuple):
    """A storage type: what it may hold and does by default, its keys, and those that cannot be changed."""

    content: frozenset[str]
    default: tuple[str, ...]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    fixed: tuple[str, ...]
    shared: bool = False


_COMMON = ("bwlimit", "content", "disable", "nodes")
_FILE_KEYS = (
    "content-dirs",
    "create-base-path",
    "create-subdirs",
    "format",
    "is_mountpoint",
    "max-protected-backups",
    "mkdir",
    "preallocation",
    "prune-backups",
    "shared",
)
KINDS: dict[str, Kind] = {
    "dir": Kind(
        frozenset(_FILES),
        ("images", "rootdir"),
        ("path",),
        (*_COMMON, *_FILE_KEYS, "snapshot-as-volume-chain"),
        ("path", "snapshot-as-volume-chain"),
    ),
    "btrfs": Kind(
        frozenset(_FILES),
        ("images", "rootdir"),
        ("path",),
        (*(k for k in (*_COMMON, *_FILE_KEYS) if k not in ("bwlimit", "content-dirs")), "nocow"),
        ("path",),
    ),
    "zfspool": Kind(
        frozenset(("images", "rootdir")),
        ("images", "rootdir"),
        ("pool",),
        (*_COMMON, "blocksize", "mountpoint", "sparse"),
        ("pool",),
    ),
    "lvmthin": Kind(
        frozenset(("images", "rootdir")),
        ("images", "rootdir"),
        ("thinpool", "vgname"),
        _COMMON,
        ("thinpool", "vgname"),
    ),
    "pbs": Kind(
        frozenset(("backup", "none")),
        ("backup",),
        ("datastore", "server"),
        (
            "content",
            "disable",
            "encryption-key",
            "fingerprint",
            "master-pubkey",
            "max-protected-backups",
            "namespace",
            "nodes",
            "password",
            "port",
            "prune-backups",
            "skip-cert-verification",
            "username",
        ),
        ("datastore", "server"),
        shared=True,
    ),
}


class Section:
    """One storage: its type, id, and keys with their values.

    A plain class, since dataclasses cost 7 ms to import.
    """

    def __init__(self, kind: str, name: str, keys: dict[str, str] | None = None) -> None:
        self.type = kind
        self.id = name
        self.keys = {} if keys is None else keys

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Section) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def content(self) -> tuple[str, ...]:
        """What the storage may hold, in the order of the file."""
        given = self.keys.get("content")
        if given is None:
            return KINDS[self.type].default
        return tuple(c for c in re.split(r"[\s,;]+", given) if c in KINDS[self.type].content and c != "none")

    @property
    def disabled(self) -> bool:
        """Whether the storage is switched off."""
        return self.flag("disable")

    @property
    def shared(self) -> bool:
        """Whether all nodes see the same storage."""
        return self.flag("shared") or KINDS[self.type].shared

    @property
    def path(self) -> str:
        """The directory of a file based storage."""
        return self.keys.get("path", "")

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean key."""
        value = self.keys.get(key)
        return default if value is None else _BOOLEANS.get(value.lower(), "0") == "1"

    def here(self) -> bool:
        """Whether the storage is for this node."""
        nodes = self.keys.get("nodes")
        return not nodes or machine.node() in re.split(r"[\s,;]+", nodes)


def check_id(text: str) -> None:
    """Refuse a malformed storage id."""
    if not _ID.fullmatch(text):
        raise Die(f"storage ID '{text}' contains illegal characters")


def parse(text: str, warn: bool = False) -> dict[str, Section]:
    """The sections by id, in the order of the file; a bad line is only warned about, as Proxmox does.

    Without a usable `local` one is made up, as pve-storage does.
    """
    sections: dict[str, Section] = {}
    current: Section | None = None
    inside = False
    for number, line in enumerate(text.split("\n"), 1):
        where = f"file storage.cfg line {number}"
        if re.match(r"\s*#", line):
            continue
        if not line:
            inside = False
            continue
        if not inside:
            current, problem = _header(line)
            inside = current is not None or problem is not None
            if problem and warn:
                print(f"{where}{problem}", file=sys.stderr)
            elif current is None and not inside and warn:
                print(f"{where} - ignore config line: {line}", file=sys.stderr)
            if current is not None:
                sections[current.id] = current
        elif current is not None:
            problem = _add_line(current, line)
            if problem and warn:
                print(f"{where} (section '{current.id}') - {problem}", file=sys.stderr)
    for name in [n for n, s in sections.items() if any(key not in s.keys for key in KINDS[s.type].required)]:
        del sections[name]
    return _with_local(sections)


def _header(line: str) -> tuple[Section | None, str | None]:
    """(section, None), or (None, why it is skipped), or (None, None) where the line is no header."""
    match = _HEADER.fullmatch(line)
    if match is None:
        return None, None
    kind, name = match[1].lower(), match[2]
    if not _ID.fullmatch(name):
        return None, f" (skip section '{name}'): storage ID '{name}' contains illegal characters"
    if kind not in KINDS:
        return None, f" (skip section '{name}'): unsupported type '{kind}'"
    return Section(kind, name), None


def _add_line(section: Section, line: str) -> str | None:
    """Take one `key value` line into a section; what is wrong with it, if anything."""
    match = _LINE.fullmatch(line)
    if match is None:
        return f"ignore config line: {line}"
    key, value = match[1], match[2]
    if key not in (*KINDS[section.type].required, *KINDS[section.type].optional):
        return f"unable to parse value of '{key}': unexpected property '{key}'"
    if key in section.keys:
        return f"unable to parse value of '{key}': duplicate attribute"
    if value is None and key not in BOOLEAN_KEYS:
        return f"unable to parse value of '{key}': got undefined value"
    section.keys[key] = "1" if value is None else value
    return None


def _with_local(sections: dict[str, Section]) -> dict[str, Section]:
    """The sections with a `local` directory storage, which always exists."""
    local = sections.get("local")
    if local is not None and local.type == "dir" and local.path == "/var/lib/vz":
        local.keys.pop("nodes", None)
        return sections
    made = Section(
        "dir",
        "local",
        {
            "path": "/var/lib/vz",
            "prune-backups": "keep-all=1",
            "content": "backup,images,iso,rootdir,snippets,vztmpl",
        },
    )
    return {"local": made, **{name: s for name, s in sections.items() if name != "local"}}


def format_sections(sections: dict[str, Section]) -> str:
    """The text of storage.cfg: `disable` first, then required keys, then the others, each group sorted."""
    blocks = []
    for section in sections.values():
        kind = KINDS[section.type]
        lines = [f"{section.type}: {section.id}"]
        if section.disabled:
            lines.append("\tdisable")
        others = sorted(k for k in section.keys if k not in kind.required and k != "disable")
        lines += [f"\t{key} {section.keys[key]}" for key in (*sorted(kind.required), *others)]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks) + ("\n" if blocks else "")


def read(warn: bool = False) -> dict[str, Section]:
    """The storages of the node."""
    text = read_text()
    errors.left(0)
    return parse(text, warn)


def read_text() -> str:
    """storage.cfg as it is; empty without the file."""
    try:
        with open(paths.real(FILE), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def digest() -> str:
    """The digest of storage.cfg: SHA-1 of the raw file."""
    import hashlib

    return hashlib.sha1(read_text().encode(), usedforsecurity=False).hexdigest()


def write(sections: dict[str, Section]) -> None:
    """Replace storage.cfg atomically; without quorum that is refused."""
    files.write(FILE, format_sections(sections).encode())


def get(storage: str, sections: dict[str, Section] | None = None) -> Section:
    """One storage; Die if there is none of that name."""
    known = read() if sections is None else sections
    if storage not in known:
        raise Die(f"storage '{storage}' does not exist")
    return known[storage]


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock of storage.cfg; that of the cluster is a directory in /etc/pve/priv/lock, here a file."""
    with files.locked("/run/lock/fleet-lab/storage.cfg.lock", 10):
        yield
