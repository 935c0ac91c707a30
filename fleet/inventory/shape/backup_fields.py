"""Kinds of value that only backups have: schedules, time zones of retention, targets, ranges of VMIDs."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from fleet.inventory.shape.fields import Reads, matching, one_line, text, truth
from fleet.schedule.calendar import has_zone, parse
from fleet.tools.sizes import parse_size

KIB = 1024


def known_zone(name: str) -> bool:
    """True if retention can count days in this time zone."""
    if name.startswith(("posix/", "right/")) or name in ("localtime", "posixrules", "Factory"):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _zone(value: object) -> str:
    found = text(value)
    if known_zone(found):
        return found
    last = found.rsplit("/", 1)[-1].lower().replace(" ", "_")
    near = sorted(name for name in available_timezones() if name.rsplit("/", 1)[-1].lower() == last)
    raise ValueError(f"{found!r} is no time zone; write {near[0] if near else 'it like America/New_York'}")


def _schedule(value: object) -> str:
    """A calendar event that both systemd and crontab can be given."""
    found = " ".join(text(value).split())
    try:
        parse(found)
    except ValueError as error:
        why = str(error).removeprefix(f"{found!r}: ")
        raise ValueError(f"{found!r} is no schedule ({why}); write it like 02:00 or sun 03:30") from None
    if has_zone(found) and not known_zone(zone := found.split()[-1]):
        raise ValueError(f"{found!r}: {zone} is no time zone; write it like 02:00 America/New_York")
    return found


class Target(NamedTuple):
    """A dataset, of this node (`host` None) or of another one."""

    host: str | None
    dataset: str

    def __str__(self) -> str:
        return self.dataset if self.host is None else f"{self.host}:{self.dataset}"


_HOST = r"(?:[A-Za-z_][A-Za-z0-9_.-]*@)?(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])"
_DATASET = r"[A-Za-z][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:-]*)*"


def _target(value: object) -> Target:
    found = text(value)
    match = re.fullmatch(rf"(?:({_HOST}):)?({_DATASET})", found)
    if not match:
        raise ValueError(
            f"{found!r} is no target; write a dataset like usb/replica, or one of another host like"
            " root@192.168.0.20:backup/pve"
        )
    return Target(match[1], match[2])


def _vmids(value: object) -> tuple[int, int]:
    found = text(value)
    match = re.fullmatch(r"([1-9][0-9]{2,8})(?: ?- ?([1-9][0-9]{2,8}))?", found)
    if not match:
        raise ValueError(f"{found!r} is no range of VMIDs; write it like 9900-9909")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"{found!r} is reversed; write {last}-{first}")
    return first, last


def _bwlimit(value: object) -> int:
    """KiB/s: a number as Proxmox has it, or bytes a second with a unit."""
    found = text(value)
    wrong = f"{found!r} is no rate; write KiB/s as Proxmox does, like 51200, or 50M"
    if re.fullmatch(r"[1-9][0-9]{0,8}", found):
        return int(found)
    try:
        count = parse_size(found)
    except ValueError:
        raise ValueError(wrong) from None
    if count < KIB:
        raise ValueError(wrong)
    return count // KIB


def _reason(value: object) -> str:
    found = one_line(value).strip()
    try:
        said = truth(found)
    except ValueError:
        if found:
            return found
        raise ValueError("needs the reason, in words") from None
    raise ValueError(
        "needs the reason, in words: exclude: can be downloaded again"
        if said
        else "is a reason, not yes or no; write null to take an inherited one away"
    )


Timezone = Annotated[str, Reads(_zone, {"type": "string"})]
Schedule = Annotated[str, Reads(_schedule, {"type": "string"})]
ReplicaTarget = Annotated[Target, Reads(_target, {"type": "string"})]
ReplicaName = Annotated[
    str,
    matching(
        r"[A-Za-z][A-Za-z0-9_-]{0,31}",
        "is no name of a replica: a letter, then up to 31 letters, digits, _ and -",
    ),
]
VmidRange = Annotated[
    tuple[int, int],
    Reads(_vmids, {"type": ["string", "integer"], "pattern": r"^[1-9][0-9]{2,8}( ?- ?[0-9]+)?$"}),
]
Bwlimit = Annotated[int, Reads(_bwlimit, {"type": ["integer", "string"]})]
Excluded = Annotated[
    str,
    matching(
        rf"[1-9][0-9]{{2,8}}|{_DATASET}|(?:/[^/\x00-\x1f]+)+",
        "is no VMID, no dataset and no path; write it like 9000, tank/scratch or /dev/sdb1",
    ),
]
Reason = Annotated[str, Reads(_reason, {"type": "string", "minLength": 1})]
