"""Calendar events as systemd writes them (`02:00`, `sun 03:30`, `*-*-1 04:00`), and as crontab does. Pure.

systemd.time(7) is the source of the form. systemd itself is given the text as it is; only for cron, which has
minutes, hours, days, months and weekdays and nothing else, is it taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

SHORTHANDS: Mapping[str, str] = {
    "minutely": "*-*-* *:*",
    "hourly": "*-*-* *:00",
    "daily": "*-*-* 00:00",
    "weekly": "mon *-*-* 00:00",
    "monthly": "*-*-01 00:00",
    "quarterly": "*-01,04,07,10-01 00:00",
    "semiannually": "*-01,07-01 00:00",
    "yearly": "*-01-01 00:00",
    "annually": "*-01-01 00:00",
}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

#: How far back a due time is looked for (days): of a yearly schedule there is one in every 366.
_BACK = 367

_ZONE = re.compile(r"UTC|[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)+|[A-Z]{3,4}(?:[0-9]+[A-Z]*)?")
_TIME = re.compile(r"([^:]+):([^:]+?)(?::0{1,2})?")


@dataclass(frozen=True, slots=True)
class Calendar:
    """When something is due: every minute that is in all five sets. `zone`: empty is the machine's own."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Monday
    zone: str = ""


EVERY_MINUTE, EVERY_HOUR = frozenset(range(60)), frozenset(range(24))
EVERY_DAY, EVERY_MONTH, ANY_WEEKDAY = frozenset(range(1, 32)), frozenset(range(1, 13)), frozenset(range(7))


def has_zone(text: str) -> bool:
    """True if the event ends with a time zone of its own."""
    words = text.split()
    return len(words) > 1 and bool(_ZONE.fullmatch(words[-1])) and _weekdays(words[-1]) is None


def in_zone(text: str, zone: str) -> str:
    """The event with this time zone, unless it has one."""
    return text if has_zone(text) or not zone else f"{text} {zone}"


def parse(text: str) -> Calendar:
    """What the event says; ValueError, saying which part, where it is none or crontab has no word for it."""
    words = text.split()
    zone = words.pop() if has_zone(text) else ""
    if len(words) == 1 and words[0].lower() in SHORTHANDS:
        words = SHORTHANDS[words[0].lower()].split()
    weekdays, days, months = ANY_WEEKDAY, EVERY_DAY, EVERY_MONTH
    hours, minutes = frozenset({0}), frozenset({0})
    left = list(words)
    if left and (named := _weekdays(left[0])) is not None:
        weekdays = named
        del left[0]
    if left and ":" not in left[0]:
        months, days = _date(left.pop(0), text)
    if left:
        match = _TIME.fullmatch(left.pop(0))
        if not match:
            raise ValueError(f"{text!r}: crontab has minutes, not seconds; write the time like 02:00")
        hours, minutes = _numbers(match[1], 0, 23, text), _numbers(match[2], 0, 59, text)
    if left or not words:
        raise ValueError(f"{text!r} is no calendar event; write it like 02:00, or sun 03:30")
    return Calendar(minutes, hours, days, months, weekdays, zone)


def last_due(calendar: Calendar, zone: ZoneInfo, now: int) -> int | None:
    """The last time (epoch seconds) at which this was due; None where that is more than a year ago."""
    here = datetime.fromtimestamp(now, ZoneInfo(calendar.zone) if calendar.zone else zone)
    for back in range(_BACK):
        day = here.date() - timedelta(days=back)
        if day.month not in calendar.months or day.day not in calendar.days:
            continue
        if day.weekday() not in calendar.weekdays:
            continue
        for hour in sorted(calendar.hours, reverse=True):
            for minute in sorted(calendar.minutes, reverse=True):
                at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=here.tzinfo)
                if at.timestamp() <= now:
                    return int(at.timestamp())
    return None


def crontab(calendar: Calendar) -> str:
    """The five fields of a crontab line, whatever the zone; ValueError where crontab has no such line."""
    if calendar.weekdays != ANY_WEEKDAY and calendar.days != EVERY_DAY:
        raise ValueError("crontab takes a day of the month or a weekday, and never both at once")
    weekdays = frozenset((day + 1) % 7 for day in calendar.weekdays)  # cron's 0 is Sunday
    return " ".join(
        (
            _field(calendar.minutes, 0, 59),
            _field(calendar.hours, 0, 23),
            _field(calendar.days, 1, 31),
            _field(calendar.months, 1, 12),
            _field(weekdays, 0, 6),
        )
    )


def moved(calendar: Calendar, there: str, here: str, year: int) -> tuple[Calendar, bool]:
    """The event of zone `there` by the clock of zone `here`, and if it is an hour off in a part of the year.

    It is moved by what the zones' standard times differ: a fixed line runs once a day in every season.
    ValueError where that would change the date, or where no one line says it.
    """
    by = _standard(here, year) - _standard(there, year)
    seasonal = any(
        _offset(here, year, week) - _offset(there, year, week) != by for week in range(53)
    )  # summer times that begin on different days count, too
    return _shifted(calendar, round(by.total_seconds() / 60)), seasonal


def _weekdays(word: str) -> frozenset[int] | None:
    """The weekdays of `mon,wed..fri`; None if the word is something else."""
    found: set[int] = set()
    for part in word.lower().rstrip(",").split(","):
        first, _, last = part.replace("..", "-").partition("-")
        ends = [_weekday(name) for name in (first, last or first)]
        if None in ends:
            return None
        low, high = (day for day in ends if day is not None)
        if low > high:
            return None
        found |= set(range(low, high + 1))
    return frozenset(found)


def _weekday(name: str) -> int | None:
    return next((n for n, full in enumerate(WEEKDAYS) if name in (full, full[:3])), None)


def _date(word: str, text: str) -> tuple[frozenset[int], frozenset[int]]:
    if "~" in word:
        raise ValueError(f"{text!r}: crontab cannot count from the end of a month")
    parts = word.split("-")
    if len(parts) == 3 and parts.pop(0) != "*":
        raise ValueError(f"{text!r}: crontab has no years")
    if len(parts) != 2:
        raise ValueError(f"{text!r}: a date is written like *-*-01 or *-01,07-01")
    return _numbers(parts[0], 1, 12, text), _numbers(parts[1], 1, 31, text)


def _numbers(word: str, low: int, high: int, text: str) -> frozenset[int]:
    if word == "*":
        return frozenset(range(low, high + 1))
    found: set[int] = set()
    for part in word.split(","):
        match = re.fullmatch(r"(\d{1,2})(?:\.\.(\d{1,2}))?(?:/(\d{1,2}))?", part)
        if not match:
            raise ValueError(f"{text!r}: {part!r} is no number, no range like 8..17 and no step like 0/15")
        first, last, step = int(match[1]), match[2], int(match[3] or 0)
        end = int(last) if last else (high if match[3] else first)
        if not low <= first <= end <= high or (match[3] and not 0 < step <= high):
            raise ValueError(f"{text!r}: {part!r} is not within {low} to {high}")
        found |= set(range(first, end + 1, step or 1))
    return frozenset(found)


def _field(values: frozenset[int], low: int, high: int) -> str:
    """The values as crontab writes them: *, */15, 8-17, 1,15."""
    ordered = sorted(values)
    if len(ordered) == high - low + 1:
        return "*"
    steps = {later - earlier for earlier, later in pairwise(ordered)}
    step = steps.pop() if len(steps) == 1 else 1
    if step > 1 and len(ordered) > 2 and ordered[0] == low and ordered[-1] + step > high:
        return f"*/{step}"
    runs: list[list[int]] = []
    for value in ordered:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def _shifted(calendar: Calendar, by: int) -> Calendar:
    """The event so many minutes later."""
    times = {(hour * 60 + minute + by) for hour in calendar.hours for minute in calendar.minutes}
    crossed = {time // 1440 for time in times}
    of_day = {divmod(time % 1440, 60) for time in times}
    hours, minutes = frozenset(hour for hour, _ in of_day), frozenset(minute for _, minute in of_day)
    if len(of_day) != len(hours) * len(minutes):
        raise ValueError("in this machine's time zone it is no one line of a crontab")
    weekdays = calendar.weekdays
    if crossed != {0} and (calendar.days != EVERY_DAY or calendar.months != EVERY_MONTH):
        raise ValueError("in this machine's time zone it falls on another date")
    if crossed != {0} and weekdays != ANY_WEEKDAY:
        if len(crossed) > 1:
            raise ValueError("in this machine's time zone it falls on two weekdays")
        weekdays = frozenset((day + next(iter(crossed))) % 7 for day in weekdays)
    return replace(calendar, hours=hours, minutes=minutes, weekdays=weekdays, zone="")


def _standard(zone: str, year: int) -> timedelta:
    at = datetime(year, 1, 1, tzinfo=UTC).astimezone(ZoneInfo(zone))
    return (at.utcoffset() or timedelta()) - (at.dst() or timedelta())


def _offset(zone: str, year: int, week: int) -> timedelta:
    at = datetime(year, 1, 1, tzinfo=UTC) + timedelta(weeks=week)
    return at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
