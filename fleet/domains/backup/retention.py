"""What is kept: Proxmox's marking as a pure function, inside a layer that can only keep more (backup.md 2.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

from fleet.domains.backup.spec import Brake, Keep


class Mark(StrEnum):
    """What Proxmox's own prune says of a backup."""

    KEEP = "keep"
    REMOVE = "remove"
    PROTECTED = "protected"  # neither removed nor counted


@dataclass(frozen=True, slots=True)
class Entry:
    """One backup as retention sees it. `order` breaks ties of `created`, and tells the order of making."""

    id: str
    created: int  # epoch seconds
    order: int
    uncounted: str = ""  # why it is kept and not counted: foreign, protected, pinned until 2027-01-31
    blocked: str = ""  # why it is kept though it counts: held, cloned, newest common with usb ...


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one backup and the rule that says so: `daily 3/7`, `superseded in weekly 2026-W47`."""

    id: str
    remove: bool
    reason: str
    warning: bool = False  # a person should look: dated in the future, older clock


def mark(
    entries: Sequence[tuple[int, Mark | None]], keep: Keep, zone: ZoneInfo
) -> tuple[tuple[Mark, str], ...]:
    """Proxmox's marks and their reasons, in the order of the entries (epoch seconds, and protected ones' mark)."""
    raise NotImplementedError


def decide(
    entries: Sequence[Entry], keep: Keep, zone: ZoneInfo, *, now: int, newest: int, this_run: str = ""
) -> tuple[Decision, ...]:
    """What is kept and removed, in the order of the entries; removes a subset of what `mark` removes."""
    raise NotImplementedError


def brake(decisions: Sequence[Decision], limit: Brake) -> str:
    """Why so many removals are not made without the operator's word; empty: they may be."""
    raise NotImplementedError
