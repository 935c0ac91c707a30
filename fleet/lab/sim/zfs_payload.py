"""The files in a stream: all of a snapshot, or what differs from an earlier one.

A sequence of entries, each a line of JSON and then the bytes of a file: `p` path, `k` what it is (d
directory, f file, l link, x gone), `m` mode, `t` time of change in nanoseconds, `s` size, `l` target, `x`
attributes. Two runs over the same snapshots give the same bytes, so that a stream can go on where it broke
off.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    Entry = dict[str, Any]
    Piece = tuple[bytes, str, int]  # bytes, then so many of the file at that path

_PIECE = 128 << 10


class Damaged(Exception):
    """The payload is none that was made here."""


def plan(base: str | None, target: str) -> list[Piece]:
    """The pieces that make the tree `target` of the tree `base`, or of nothing."""
    old = dict(entries(base)) if base is not None and os.path.isdir(base) else {}
    pieces: list[Piece] = []
    new = dict(entries(target)) if os.path.isdir(target) else {}
    for path in sorted(set(old) - set(new), reverse=True):
        pieces.append((_line({"p": path, "k": "x"}), "", 0))
    for path, entry in new.items():
        if path in old and _same(old[path], entry, f"{base}/{path}", f"{target}/{path}"):
            continue
        pieces.append((_line(entry), f"{target}/{path}", entry.get("s", 0)))
    return pieces


def size(pieces: list[Piece]) -> int:
    """How many bytes the pieces are."""
    return sum(len(head) + length for head, _, length in pieces)


def read(pieces: list[Piece], start: int) -> Iterator[bytes]:
    """The bytes of the pieces from an offset on."""
    for head, path, length in pieces:
        if start >= len(head) + length:
            start -= len(head) + length
            continue
        if start < len(head):
            yield head[start:]
        skip = max(0, start - len(head))
        start = 0
        if length > skip:
            with open(path, "rb") as file:
                file.seek(skip)
                rest = length - skip
                while rest:
                    data = file.read(min(rest, _PIECE))
                    if not data:
                        raise Damaged(path)
                    rest -= len(data)
                    yield data


def apply(stream: BinaryIO, root: str, keep: str) -> None:
    """Do to the tree `root` what a payload says; the name `keep` at its top is left alone."""
    times: list[tuple[str, int]] = []
    while line := stream.readline():
        try:
            entry: Entry = json.loads(line)
        except ValueError:
            raise Damaged(line[:80].decode(errors="replace")) from None
        if entry["p"].split("/")[0] == keep:
            raise Damaged(entry["p"])
        path = f"{root}/{entry['p']}" if entry["p"] else root
        if entry["k"] == "x":
            _remove(path)
            continue
        _make(stream, path, entry)
        if entry["k"] != "l":
            times.append((path, entry["t"]))
    for path, when in reversed(times):
        if os.path.lexists(path):
            os.utime(path, ns=(when, when))


def _make(stream: BinaryIO, path: str, entry: Entry) -> None:
    kind = entry["k"]
    if os.path.lexists(path) and (kind != "d" or not os.path.isdir(path) or os.path.islink(path)):
        _remove(path)
    if kind == "d":
        os.makedirs(path, exist_ok=True)
    elif kind == "l":
        os.symlink(entry["l"], path)
    else:
        with open(path, "wb") as file:
            rest = entry["s"]
            while rest:
                data = stream.read(min(rest, _PIECE))
                if not data:
                    raise Damaged(path)
                file.write(data)
                rest -= len(data)
    if kind != "l":
        for name in os.listxattr(path):
            if name.startswith("user.") and name not in entry["x"]:
                os.removexattr(path, name)
        os.chmod(path, entry["m"])
    for name, value in entry["x"].items():
        os.setxattr(path, name, base64.b64decode(value), follow_symlinks=False)


def _remove(path: str) -> None:
    import shutil

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, sort_keys=True).encode() + b"\n"


def entries(root: str) -> Iterator[tuple[str, Entry]]:
    """(path, entry) of a tree, parents first, in the order of their names."""
    pending = [""]
    while pending:
        path = pending.pop(0)
        full = f"{root}/{path}" if path else root
        info = os.lstat(full)
        names = [n for n in os.listxattr(full, follow_symlinks=False) if n.startswith("user.")]
        entry: Entry = {
            "p": path,
            "m": stat.S_IMODE(info.st_mode),
            "t": info.st_mtime_ns,
            "x": {
                name: base64.b64encode(os.getxattr(full, name, follow_symlinks=False)).decode()
                for name in sorted(names)
            },
        }
        if stat.S_ISDIR(info.st_mode):
            below = [f"{path}/{name}" if path else name for name in sorted(os.listdir(full))]
            pending = [*below, *pending]
            yield path, {**entry, "k": "d"}
        elif stat.S_ISLNK(info.st_mode):
            yield path, {**entry, "k": "l", "l": os.readlink(full), "t": 0}
        else:
            yield path, {**entry, "k": "f", "s": info.st_size}


def _same(old: Entry, new: Entry, old_path: str, new_path: str) -> bool:
    """Whether nothing of an entry changed, its bytes included."""
    if old != new or new["k"] != "f":
        return old == new
    import filecmp

    return filecmp.cmp(old_path, new_path, shallow=False)
