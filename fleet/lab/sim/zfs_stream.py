"""The form of a stream of the lab's own: what `zfs send` writes and `zfs receive` reads.

FLEETZFS1\\n                 once
{...}\\n                     for each snapshot: what it is (Begin), with `more` snapshots behind it
payload                     `size` less `offset` bytes (zfs_payload.py)
END CHECKSUM\\n              over the bytes just before it
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    Begin = dict[str, Any]

MAGIC = b"FLEETZFS1\n"
_PIECE = 128 << 10
_RECORD = 312  # bytes of the first record of a real stream: less is no stream at all


class Broken(Exception):
    """The stream ends early (`cut`), or is none, or is damaged."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def write_begin(write: Callable[[bytes], object], begin: Begin) -> None:
    """Begin a snapshot."""
    write(json.dumps(begin, sort_keys=True).encode() + b"\n")


def write_payload(write: Callable[[bytes], None], pieces: Iterator[bytes]) -> None:
    """Write the bytes of a snapshot and their checksum."""
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
        write(piece)
    write(f"END {checksum:08x}\n".encode())


def read_magic(stream: BinaryIO) -> None:
    """Refuse what is no stream."""
    found = stream.read(len(MAGIC))
    if found != MAGIC:
        rest = stream.read(_RECORD - len(found))
        raise Broken("empty" if len(found) + len(rest) < _RECORD else "magic")


def read_begin(stream: BinaryIO) -> Begin:
    """What the next snapshot is."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise Broken("empty")
    try:
        begin: Begin = json.loads(line)
    except ValueError:
        raise Broken("magic") from None
    return begin


def read_payload(stream: BinaryIO, length: int, take: Callable[[bytes], None]) -> None:
    """Hand on the bytes of a snapshot as they come; Broken where they end early or are not what was sent."""
    checksum, rest = 0, length
    while rest:
        piece = stream.read(min(rest, _PIECE))
        if not piece:
            raise Broken("cut")
        checksum = zlib.crc32(piece, checksum)
        rest -= len(piece)
        take(piece)
    end = stream.readline()
    if not end.endswith(b"\n"):
        raise Broken("cut")
    if end != f"END {checksum:08x}\n".encode():
        raise Broken("checksum")
