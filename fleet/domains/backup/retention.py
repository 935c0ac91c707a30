"""What is kept: Proxmox's marking as a pure function, inside a layer that can only keep more."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final
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
    whole: bool = True  # else something that was to be in it is missing, so that it stands for nothing


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one backup and the rule that says so: `daily 3/7`, `superseded in weekly 2026-W47`."""

    id: str
    remove: bool
    reason: str
    warning: bool = False  # a person should look: dated in the future, older clock
    counted: bool = True  # the rules have seen it: it is fleet's own, not pinned, and not of the future


#: What is dated later than this many seconds after now is not believed: it would displace what is real.
FUTURE: Final = 300
#: A rotation that removes so many at once is an everyday one whatever part of the backups they are.
EVERYDAY: Final = 2

#: Proxmox's rules in Proxmox's order: which period a backup falls in, and how that period is written.
_RULES: Final[Mapping[str, tuple[Callable[[int, datetime], Hashable], str]]] = {
    "last": (lambda created, _: created, "%Y-%m-%d %H:%M:%S"),
    "hourly": (lambda _, local: (local.year, local.month, local.day, local.hour), "%Y-%m-%d %H:00"),
    "daily": (lambda _, local: (local.year, local.month, local.day), "%Y-%m-%d"),
    "weekly": (lambda _, local: local.isocalendar()[:2], "%G-W%V"),
    "monthly": (lambda _, local: (local.year, local.month), "%Y-%m"),
    "yearly": (lambda _, local: local.year, "%Y"),
}


def mark(
    entries: Sequence[tuple[int, Mark | None]], keep: Keep, zone: ZoneInfo
) -> tuple[tuple[Mark, str], ...]:
    """Proxmox's marks and their reasons, in the order of the entries (epoch seconds, a protected one's mark).

    As `prune_mark_backup_group` of pve-storage's Storage.pm: the newest of a period is kept, the finest rule
    goes first, what a rule passes over in a period that it opened is lost to the coarser ones, equal times
    keep the order of the list, and nothing depends on what time it is now. No rule at all keeps everything.
    """
    rules = {name: count for name in _RULES if (count := int(getattr(keep, name))) > 0}
    if keep.all or not rules:
        reason = "keep-all" if keep.all else "no rule is set: all are kept"
        return tuple((given, given.value) if given in _FINAL else (Mark.KEEP, reason) for _, given in entries)
    marks = [None if given is None else (given, given.value) for _, given in entries]
    newest_first = sorted(range(len(entries)), key=lambda index: -entries[index][0])
    local = [datetime.fromtimestamp(created, zone) for created, _ in entries]
    passed_over: dict[int, str] = {}
    for rule, count in rules.items():
        period, form = _RULES[rule]
        periods = [period(created, at) for (created, _), at in zip(entries, local, strict=True)]
        covered = {periods[index] for index, each in enumerate(marks) if each and each[0] is Mark.KEEP}
        opened: set[Hashable] = set()
        for index in newest_first:
            if marks[index] is not None:
                continue
            if periods[index] in covered:
                # The first rule that passes over it names what stands for it: one that is newer, and kept.
                passed_over.setdefault(index, f"superseded in {rule} {local[index]:{form}}")
            elif periods[index] in opened:
                marks[index] = (Mark.REMOVE, f"superseded in {rule} {local[index]:{form}}")
            elif len(opened) == count:
                break
            else:
                opened.add(periods[index])
                marks[index] = (Mark.KEEP, f"{rule} {len(opened)}/{count}")
    return tuple(
        each or (Mark.REMOVE, passed_over.get(index, "beyond every rule")) for index, each in enumerate(marks)
    )


#: Marks that a policy without rules leaves as they are.
_FINAL: Final = (Mark.KEEP, Mark.PROTECTED)


def decide(
    entries: Sequence[Entry], keep: Keep, zone: ZoneInfo, *, now: int, newest: int, this_run: str = ""
) -> tuple[Decision, ...]:
    """What is kept and removed, in the order of the entries; removes a subset of what `mark` removes.

    `newest`: so many are never removed, the newest by their date and the newest by the order of making; never
    less than one. `this_run`: the id of what the run that asks has made. In which order the entries come does
    not matter. What is not whole takes no place from what is.
    """
    counted = [
        index
        for index in sorted(range(len(entries)), key=lambda index: _newest_last(entries[index]), reverse=True)
        if not entries[index].uncounted and entries[index].created <= now + FUTURE
    ]
    newest_first = [entries[index] for index in counted]
    whole = [index for index in counted if entries[index].whole]
    found = _marked(entries, counted, keep, zone)
    if len(whole) < len(counted):
        # One that is whole goes only if it would also go were all that are not whole not there.
        kept = {
            index: made for index, made in _marked(entries, whole, keep, zone).items() if made[0] is Mark.KEEP
        }
        found |= kept
    safe = _safe([each for each in newest_first if each.whole], max(newest, 1), this_run)
    behind = _behind(newest_first)
    return tuple(_decision(each, found.get(index), safe, behind, now) for index, each in enumerate(entries))


def _marked(
    entries: Sequence[Entry], which: Sequence[int], keep: Keep, zone: ZoneInfo
) -> dict[int, tuple[Mark, str]]:
    return dict(
        zip(which, mark([(entries[index].created, None) for index in which], keep, zone), strict=True)
    )


def _newest_last(entry: Entry) -> tuple[int, int, str]:
    return entry.created, entry.order, entry.id


def _decision(
    entry: Entry,
    found: tuple[Mark, str] | None,
    safe: Mapping[str, str],
    behind: Mapping[str, str],
    now: int,
) -> Decision:
    if entry.uncounted:
        return Decision(entry.id, False, entry.uncounted, counted=False)
    if found is None:
        ahead = _duration(entry.created - now)
        reason = f"dated {ahead} in the future: kept and not counted until then"
        return Decision(entry.id, False, reason, warning=True, counted=False)
    marked, reason = found
    remove = marked is Mark.REMOVE
    spared = safe.get(entry.id, "") or entry.blocked
    if remove and spared:
        remove, reason = False, f"{spared} (otherwise {reason})"
    if entry.id in behind:
        return Decision(entry.id, remove, f"{reason}; {behind[entry.id]}", warning=True)
    return Decision(entry.id, remove, reason)


def _safe(newest_first: Sequence[Entry], newest: int, this_run: str) -> dict[str, str]:
    """What may not be removed whatever the rules say, and why."""
    last_made = sorted(newest_first, key=lambda each: (each.order, each.created, each.id), reverse=True)
    safe = {each.id: f"last made, {place}/{newest}" for place, each in enumerate(last_made[:newest], 1)}
    safe |= {each.id: f"newest, {place}/{newest}" for place, each in enumerate(newest_first[:newest], 1)}
    if this_run:
        safe[this_run] = "made by this run"
    return safe


def _behind(entries: Sequence[Entry]) -> dict[str, str]:
    """Those that are dated before what was made before them: where a clock was set back, or right again."""
    made = sorted(entries, key=lambda each: (each.order, each.created, each.id))
    return {
        later.id: f"made after {earlier.id}, but dated {_duration(earlier.created - later.created)} before"
        " it: a clock was wrong"
        for earlier, later in pairwise(made)
        if later.created < earlier.created and later.order > earlier.order
    }


def brake(decisions: Sequence[Decision], limit: Brake) -> str:
    """Why so many removals are not made without the operator's word; empty: they may be.

    More than `limit.count`, or more than `limit.percent` of those that are counted. The percentage asks from
    three removals on: one or two are an everyday rotation, even where only three backups are kept.
    """
    removals = sum(each.remove for each in decisions)
    counted = sum(each.counted for each in decisions)
    too_much = []
    if removals > limit.count:
        too_much.append(f"more than {limit.count} at once")
    if removals > EVERYDAY and removals * 100 > limit.percent * counted:
        too_much.append(f"more than {limit.percent} %")
    if not too_much:
        return ""
    return (
        f"{removals} of {counted} backups would be removed, {' and '.join(too_much)}: none is;"
        f" if that is meant, say --yes-remove {removals}"
    )


def _duration(seconds: int) -> str:
    """In the largest unit that fits: 3 days, 1 hour, 20 seconds."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"
