"""Sizes as Proxmox and ZFS write them: 8G, 2560M, 10T; counted in powers of 1024."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """The bytes that `8G`, `512M`, `1.5T` or `4096` mean; ValueError if it is none of these."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write it like 8G, 512M or 10T")
    return int(Decimal(match[1]) * 1024 ** _UNITS[match[2].upper()])


def print_size(size: int) -> str:
    """The size in the largest unit that divides it, as Proxmox prints it: 8G, 2560M (pve-facts 1.2)."""
    for unit in ("T", "G", "M", "K"):
        step = 1024 ** _UNITS[unit]
        if size and size % step == 0:
            return f"{size // step}{unit}"
    return str(size)
