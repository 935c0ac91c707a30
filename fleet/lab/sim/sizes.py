"""Disk sizes as Proxmox reads and prints them: bytes with an optional K, M, G or T (powers of 1024)."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT])?")
_POWER = {None: 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str) -> int | None:
    """Bytes, or None where the text is no size."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    return int(float(match[1]) * 1024 ** _POWER[match[2]])


def format_size(size: int) -> str:
    """The largest unit that is exact: 2560M, 4G, and 0T for nothing at all."""
    for unit in ("", "K", "M", "G"):
        if size % 1024:
            return f"{size}{unit}"
        size //= 1024
    return f"{size}T"
