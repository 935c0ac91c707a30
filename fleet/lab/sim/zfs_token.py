"""Resume tokens: what `receive_resume_token` shows of a stream that broke off, and `zfs send -t` takes.

Written as ZFS does, `1-CHECKSUM-LENGTH-HEX`, with zlib-packed JSON for the packed list.
"""

from __future__ import annotations

import json
import os
import zlib

from . import zfs_data
from .zfs_tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def make(facts: dict[str, Any]) -> str:
    """The token that holds these facts."""
    plain = json.dumps(facts, sort_keys=True).encode()
    packed = zlib.compress(plain)
    return f"1-{zlib.crc32(packed):x}-{len(plain):x}-{packed.hex()}"


def parse(token: str) -> dict[str, Any] | None:
    """The facts in a token; None where it is none or was damaged."""
    parts = token.split("-")
    if len(parts) != 4 or parts[0] != "1":
        return None
    try:
        packed = bytes.fromhex(parts[3])
        if zlib.crc32(packed) != int(parts[1], 16):
            return None
        facts: dict[str, Any] = json.loads(zlib.decompress(packed))
    except (ValueError, zlib.error):
        return None
    return facts


def spool(guid: str) -> str:
    """The file with what has come of a stream, for the dataset of that guid."""
    return zfs_data.store(guid) + ".receiving"


def of_dataset(tree: Tree, name: str) -> str:
    """The token of a dataset with a stream that broke off: where it stands and what it was of."""
    node = tree.datasets[name]
    begun: dict[str, Any] = node["receiving"]["begin"]
    try:
        there = os.path.getsize(spool(node["guid"]))
    except FileNotFoundError:
        there = 0
    facts = {key: begun[key] for key in ("toguid", "fromguid", "toname", "raw", "embed", "compress", "large")}
    return make({**facts, "bytes": there, "object": 1, "offset": there})
