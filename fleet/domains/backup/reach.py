"""How far back a policy reaches, found by living with it: the table of docs/backups.md. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from fleet.domains.backup.retention import Mark, mark
from fleet.domains.backup.spec import Keep

_FIRST = date(2021, 1, 1)
#: Measured over four years, so that one of them is a leap year and one has a week 53.
_MEASURED = 4 * 365 + 1


@dataclass(frozen=True, slots=True)
class Reach:
    """What there is right after a run, once the policy has filled up: the least and the most of each."""

    kept: tuple[int, int]  # backups
    oldest: tuple[int, int]  # days back to the oldest
    gap: int  # days between two neighbours at most


def reach(keep: Keep, zone: ZoneInfo, *, at: time = time(2)) -> Reach:
    """Of a policy with one backup a day at this local time, pruned after each."""
    filled = 366 * (keep.yearly + 1) + 31 * keep.monthly + 7 * keep.weekly
    kept, oldest, gaps = set(), set(), {0}
    have: list[tuple[int, date]] = []
    for day in (_FIRST + timedelta(number) for number in range(filled + _MEASURED)):
        have.append((int(datetime.combine(day, at, zone).timestamp()), day))
        marks = mark([(created, None) for created, _ in have], keep, zone)
        have = [each for each, (marked, _) in zip(have, marks, strict=True) if marked is Mark.KEEP]
        if day >= _FIRST + timedelta(filled):
            kept.add(len(have))
            oldest.add((day - have[0][1]).days)
            gaps |= {(later - earlier).days for (_, earlier), (_, later) in pairwise(have)}
    return Reach((min(kept), max(kept)), (min(oldest), max(oldest)), max(gaps))
