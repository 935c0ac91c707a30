"""Names of snapshots: valid for Proxmox and for ZFS, in UTC, in the order of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime

#: What fleet may ever name, and so may ever remove (backup.md 3.3; at most 40 characters).
VALID = re.compile(r"[a-z][a-z0-9_-]{1,39}")
LABEL = re.compile(r"[a-z][a-z0-9_]{0,15}")
_NAME = re.compile(r"fleet-(?P<label>[a-z][a-z0-9_]{0,15})-(?P<time>\d{8}t\d{6}z)")


def snapshot_name(label: str, now: int) -> str:
    """`fleet-daily-20261123t070000z`; ValueError for a label that a name cannot hold."""
    if not LABEL.fullmatch(label):
        raise ValueError(f"{label!r} is no label: a lower case letter, then letters, digits and _, up to 16")
    return f"fleet-{label}-{datetime.fromtimestamp(now, UTC):%Y%m%dt%H%M%Sz}"


def parse_name(name: str) -> tuple[str, int] | None:
    """Label and time (epoch seconds) of a name that `snapshot_name` makes, else None."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        # In a tenth of strptime's time: a node can have thousands.
        time = datetime.fromisoformat(match["time"].upper())
    except ValueError:
        return None
    return match["label"], int(time.timestamp())
