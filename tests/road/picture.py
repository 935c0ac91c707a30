"""A picture of a file tree in memory: what is in it, how two differ, and the tree made so again."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: What belongs to the running lab itself, or is the machine's.
_NOT_OURS = frozenset(
    {
        *("bin", "dev", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr"),
        *("run/fleet-lab", "var/lib/fleet-lab/proc", "var/lib/fleet-lab/faults.json"),
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: kind and mode, what it holds (a link: its target; a directory: None), and its attributes."""

    mode: int
    content: bytes | None
    attributes: tuple[tuple[str, bytes], ...]
    size: int  # of a file with holes, more than what it holds


Picture = Mapping[str, Entry]


def take(root: Path) -> Picture:
    """The picture of a tree, by paths relative to it; sockets are left out."""
    return {path: _entry(root / path) for path in _paths(root)}


def differences(before: Picture, after: Picture) -> list[str]:
    """The paths that are not the same in both."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def restore(root: Path, picture: Picture) -> None:
    """Make the tree as the picture shows it; directories stay the same, since things are mounted on them."""
    for path in sorted(_paths(root), reverse=True):
        kept = picture.get(path)
        found = root / path
        if kept is None or stat.S_IFMT(kept.mode) != stat.S_IFMT(found.lstat().st_mode):
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
    for path in sorted(picture):
        _make(root / path, picture[path])


def _make(path: Path, wanted: Entry) -> None:
    if os.path.lexists(path):
        if _entry(path) == wanted:
            return
        if not stat.S_ISDIR(wanted.mode):
            path.unlink()
    if stat.S_ISLNK(wanted.mode):
        path.symlink_to(os.fsdecode(wanted.content or b""))
        return
    if stat.S_ISDIR(wanted.mode):
        path.mkdir(exist_ok=True)
    else:
        path.write_bytes(wanted.content or b"")
        os.truncate(path, wanted.size)
    path.chmod(stat.S_IMODE(wanted.mode))
    for name in set(os.listxattr(path)) - {name for name, _ in wanted.attributes}:
        os.removexattr(path, name)
    for name, value in wanted.attributes:
        os.setxattr(path, name, value)


def _entry(path: Path) -> Entry:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return Entry(found.st_mode, os.fsencode(path.readlink()), (), 0)
    attributes = tuple((name, os.getxattr(path, name)) for name in sorted(os.listxattr(path)))
    content = None
    size = 0
    if stat.S_ISREG(found.st_mode):
        size = found.st_size
        with path.open("rb") as file:  # templates of the lab are short, with a hole at their end
            content = file.read(min(size, 1 << 20)).rstrip(b"\0")
    return Entry(found.st_mode, content, attributes, size)


def _paths(root: Path) -> Iterator[str]:
    for folder, names, files in os.walk(root):
        inside = os.path.relpath(folder, root)
        prefix = "" if inside == "." else f"{inside}/"
        links = [name for name in names if Path(folder, name).is_symlink()]
        names[:] = [name for name in names if name not in links and f"{prefix}{name}" not in _NOT_OURS]
        for name in (*names, *links, *files):
            path = f"{prefix}{name}"
            if path not in _NOT_OURS and not stat.S_ISSOCK(os.lstat(Path(root, path)).st_mode):
                yield path
