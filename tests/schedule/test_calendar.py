"""Calendar events, held against systemd's own reading of them, and their lines in a crontab."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from cronsim import CronSim

from fleet.schedule.calendar import Calendar, crontab, has_zone, in_zone, moved, parse

ANALYZE = shutil.which("systemd-analyze")
NEEDS_SYSTEMD = pytest.mark.skipif(
    ANALYZE is None, reason="NO systemd-analyze: calendar events are not held against systemd itself"
)

LINES = {
    "02:00": "0 2 * * *",
    "2:5": "5 2 * * *",
    "02:00:00": "0 2 * * *",
    "sun 03:30": "30 3 * * 0",
    "monday 02:00": "0 2 * * 1",
    "mon,wed..fri 02:00": "0 2 * * 1,3-5",
    "Mon-Fri 02:00": "0 2 * * 1-5",
    "sat,sun 02:00": "0 2 * * 0,6",
    "*:0/15": "*/15 * * * *",
    "*:5/15": "5,20,35,50 * * * *",
    "8..17,22:0/30": "0,30 8-17,22 * * *",
    "0/6:10": "10 */6 * * *",
    "*-*-1 04:00": "0 4 1 * *",
    "*-*-1,15 04:00": "0 4 1,15 * *",
    "12-24 20:00": "0 20 24 12 *",
    "*-*-2/2 01:00": "0 1 2,4,6,8,10,12,14,16,18,20,22,24,26,28,30 * *",
    "mon": "0 0 * * 1",
    "*-*-*": "0 0 * * *",
    "minutely": "* * * * *",
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "quarterly": "0 0 1 */3 *",
    "semiannually": "0 0 1 1,7 *",
    "yearly": "0 0 1 1 *",
}
#: No calendar events at all.
WRONG = [
    "24:00",
    "*:60",
    "*:*/5",
    "sun..tue 02:00",
    "*:0/0",
    "*:5/120",
    "02",
    "noon",
    "02:00 02:00",
    "*-13-1 1:00",
]
#: Calendar events that crontab has no line for.
NOT_CRON = ["2026-*-* 02:00", "02:00:30", "*-*~3 02:00", "mon *-*-1..7 02:00"]


def line(text: str) -> str:
    return crontab(parse(text))


@pytest.mark.parametrize("text", LINES)
def test_an_event_is_the_line_that_says_the_same(text: str) -> None:
    assert line(text) == LINES[text]


@NEEDS_SYSTEMD
@pytest.mark.parametrize("text", LINES)
def test_systemd_and_cron_would_run_at_the_same_times(text: str) -> None:
    shown = subprocess.run(
        [str(ANALYZE), "calendar", "--iterations=12", "--base-time=2026-02-20 00:00:00", f"{text} UTC"],
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    times = [
        datetime.strptime(each, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        for each in re.findall(r"(?:elapse|Iter[^:]*|#\d+): \w{3} (\S+ \S+) UTC", shown)
    ]
    assert len(times) == 12, shown
    cron = CronSim(line(text), datetime(2026, 2, 20, tzinfo=UTC))
    assert [next(cron) for _ in times] == times


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse(text)


@NEEDS_SYSTEMD
@pytest.mark.parametrize(("text", "good"), [(t, False) for t in WRONG] + [(t, True) for t in NOT_CRON])
def test_systemd_agrees_on_what_is_an_event(text: str, good: bool) -> None:
    done = subprocess.run([str(ANALYZE), "calendar", text], capture_output=True)
    assert (done.returncode == 0) is good


@pytest.mark.parametrize("text", NOT_CRON)
def test_what_crontab_has_no_line_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="crontab"):
        line(text)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("02:00 UTC", True),
        ("02:00 America/New_York", True),
        ("mon 02:00 Etc/GMT+5", True),
        ("02:00 EST", True),
        ("02:00 EST5EDT", True),
        ("daily Europe/Berlin", True),
        ("02:00", False),
        ("mon", False),
        ("MON 02:00", False),
        ("UTC", False),
    ],
)
def test_a_zone_is_told_from_the_rest(text: str, zone: bool) -> None:
    assert has_zone(text) is zone
    assert in_zone(text, "Asia/Tokyo") == (text if zone else f"{text} Asia/Tokyo")


def test_without_a_zone_to_add_the_event_stays() -> None:
    assert in_zone("02:00", "") == "02:00"


def local(text: str, there: str, here: str) -> tuple[str, bool]:
    event, seasonal = moved(parse(text), there, here, 2026)
    return crontab(event), seasonal


@pytest.mark.parametrize(
    ("text", "there", "here", "becomes", "seasonal"),
    [
        ("02:00", "UTC", "UTC", "0 2 * * *", False),
        ("02:00", "America/New_York", "UTC", "0 7 * * *", True),
        ("02:00", "America/New_York", "Europe/Berlin", "0 8 * * *", True),  # other days in March
        ("02:00", "Europe/Paris", "Europe/Berlin", "0 2 * * *", False),
        ("02:00", "Asia/Kathmandu", "UTC", "15 20 * * *", False),
        ("sun 02:00", "Asia/Tokyo", "UTC", "0 17 * * 6", False),
        ("sat 22:00", "America/New_York", "UTC", "0 3 * * 0", True),
        ("*-*-1 12:00", "Asia/Tokyo", "UTC", "0 3 1 * *", False),
        ("*:0/15", "Asia/Kathmandu", "UTC", "*/15 * * * *", False),
        ("hourly", "Asia/Tokyo", "UTC", "0 * * * *", False),
        ("02:00", "Australia/Sydney", "America/New_York", "0 11 * * *", True),
    ],
)
def test_an_event_of_another_zone_is_moved_by_the_difference_of_standard_times(
    text: str, there: str, here: str, becomes: str, seasonal: bool
) -> None:
    assert local(text, there, here) == (becomes, seasonal)


@pytest.mark.parametrize(
    ("text", "there", "says"),
    [
        ("*-*-1 02:00", "Asia/Tokyo", "date"),
        ("mon *:00", "Asia/Tokyo", "two weekdays"),
        ("8:0,50", "Asia/Kathmandu", "no one line"),
    ],
)
def test_a_move_that_crontab_cannot_say_is_refused(text: str, there: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        moved(parse(text), there, "UTC", 2026)


def test_a_daily_event_stays_daily_whatever_the_zones() -> None:
    """A line that runs twice or not at all on the day when clocks change would be worse than an hour off."""
    for here in ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"):
        event, _ = moved(parse("02:00"), "America/New_York", here, 2026)
        assert isinstance(event, Calendar)
        assert len(event.minutes) == len(event.hours) == 1
        assert crontab(event).endswith(" * * *")
