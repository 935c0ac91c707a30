"""What is kept: Proxmox's own answers, properties that hold, some that do not, and the layer around them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.domains.backup.reach import reach
from fleet.domains.backup.retention import FUTURE, Decision, Entry, Mark, brake, decide, mark
from fleet.domains.backup.spec import Brake, Keep

VECTORS = json.loads(Path(__file__).with_name("prune-vectors.json").read_text("utf-8"))
DAY = 86_400
BERLIN, NEW_YORK, LORD_HOWE = map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))
ZONES = (BERLIN, NEW_YORK, LORD_HOWE, *map(ZoneInfo, ("Pacific/Apia", "Asia/Kathmandu", "UTC")))
RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> int:
    """Epoch seconds of a local time; fold=1: the second time that a clock shows it."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp())


def marks(times: Sequence[int], keep: Keep, zone: ZoneInfo = BERLIN) -> list[str]:
    return [str(each) for each, _ in mark([(time, None) for time in times], keep, zone)]


def kept(days: Sequence[str], keep: Keep, zone: ZoneInfo = BERLIN) -> list[str]:
    """Which of these stay, each made at noon of its day."""
    answers = marks([at(f"{day} 12:00", zone) for day in days], keep, zone)
    return [day for day, answer in zip(days, answers, strict=True) if answer == "keep"]


# ── Proxmox's answers ─────────────────────────────────────────────────────────────────────────────


def test_there_are_300_answers_of_proxmox_itself() -> None:
    assert len(VECTORS) == 300
    assert {each["tz"] for each in VECTORS} == {zone.key for zone in ZONES}


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_the_marks_are_those_of_proxmox(number: int) -> None:
    case = VECTORS[number]
    entries = [(time, Mark(given) if given else None) for time, given in case["entries"]]
    found = mark(entries, Keep(**case["keep"]), ZoneInfo(case["tz"]))
    assert [each.value for each, _ in found] == case["marks"]
    assert all(reason for _, reason in found)


# ── strategies ────────────────────────────────────────────────────────────────────────────────────

#: About changes of clocks, ends of ISO years and months, leap days, and the day that Apia left out.
TURNS = tuple(
    int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    for day in (
        "2024-02-29 12:00",
        "2024-03-10 07:00",
        "2024-03-31 01:00",
        "2024-04-06 15:00",
        "2024-10-05 15:30",
        "2024-10-27 01:00",
        "2024-11-03 06:00",
        "2020-12-31 23:00",
        "2021-01-03 23:00",
        "2011-12-30 10:00",
    )
)

zones = st.sampled_from(ZONES)
counts = st.one_of(st.just(0), st.integers(1, 7))
keeps = st.builds(Keep, **dict.fromkeys(RULES, counts))
some_rule = keeps.filter(lambda keep: any(getattr(keep, rule) for rule in RULES))
spans = st.sampled_from((2 * 3600, 3 * DAY, 40 * DAY, 800 * DAY))


@st.composite
def times(draw: st.DrawFn, *, distinct: bool = False) -> list[int]:
    base, span = draw(st.sampled_from(TURNS)), draw(spans)
    return draw(
        st.lists(st.integers(-span, span).map(base.__add__), min_size=1, max_size=24, unique=distinct)
    )


@st.composite
def lists(draw: st.DrawFn) -> list[tuple[int, Mark | None]]:
    given_marks = st.sampled_from((None, None, None, None, Mark.PROTECTED))
    return [(time, draw(given_marks)) for time in draw(times())]


def only(rule: str, count: int) -> Keep:
    counts: dict[str, Any] = {rule: count}
    return Keep(**counts)


def split(entries: Sequence[Any], found: Sequence[tuple[Mark, str]], which: Mark) -> list[Any]:
    return [each for each, (marked, _) in zip(entries, found, strict=True) if marked is which]


# ── properties of Proxmox's marking ───────────────────────────────────────────────────────────────


@given(lists(), keeps, zones)
def test_pruning_what_was_kept_removes_nothing_more(
    entries: list[tuple[int, Mark | None]], keep: Keep, zone: ZoneInfo
) -> None:
    found = mark(entries, keep, zone)
    rest = [each for each, (marked, _) in zip(entries, found, strict=True) if marked is not Mark.REMOVE]
    assert not split(rest, mark(rest, keep, zone), Mark.REMOVE)


@given(lists(), keeps, zones, st.randoms(use_true_random=False))
def test_what_a_broken_off_removal_leaves_is_decided_as_before(
    entries: list[tuple[int, Mark | None]], keep: Keep, zone: ZoneInfo, chance: random.Random
) -> None:
    found = mark(entries, keep, zone)
    left = [
        (entry, marked)
        for entry, (marked, _) in zip(entries, found, strict=True)
        if marked is not Mark.REMOVE or chance.random() < 0.5
    ]
    again = mark([entry for entry, _ in left], keep, zone)
    assert [marked for marked, _ in again] == [marked for _, marked in left]


@given(times(), some_rule, zones)
def test_the_newest_is_kept_and_so_never_all_are_removed(made: list[int], keep: Keep, zone: ZoneInfo) -> None:
    answers = marks(made, keep, zone)
    assert answers[made.index(max(made))] == "keep"


@given(lists(), some_rule, zones)
def test_never_more_are_kept_than_the_rules_say_together(
    entries: list[tuple[int, Mark | None]], keep: Keep, zone: ZoneInfo
) -> None:
    found = mark(entries, keep, zone)
    assert len(split(entries, found, Mark.KEEP)) <= sum(getattr(keep, rule) for rule in RULES)


@given(times(distinct=True), keeps, zones, st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter_where_no_two_were_made_at_once(
    made: list[int], keep: Keep, zone: ZoneInfo, chance: random.Random
) -> None:
    shuffled = chance.sample(made, len(made))
    assert dict(zip(made, marks(made, keep, zone), strict=True)) == dict(
        zip(shuffled, marks(shuffled, keep, zone), strict=True)
    )


@given(times(), st.sampled_from(RULES), st.integers(1, 6), st.integers(1, 4), zones)
def test_with_one_rule_alone_a_greater_number_never_removes_more(
    made: list[int], rule: str, count: int, more: int, zone: ZoneInfo
) -> None:
    few = marks(made, only(rule, count), zone)
    many = marks(made, only(rule, count + more), zone)
    assert all(after == "keep" for before, after in zip(few, many, strict=True) if before == "keep")


@given(lists(), keeps, zones)
def test_protected_ones_change_nothing_for_the_others(
    entries: list[tuple[int, Mark | None]], keep: Keep, zone: ZoneInfo
) -> None:
    found = mark(entries, keep, zone)
    plain = [entry for entry in entries if entry[1] is None]
    assert [each for entry, each in zip(entries, found, strict=True) if entry[1] is None] == list(
        mark(plain, keep, zone)
    )
    assert len(split(entries, found, Mark.PROTECTED)) == len(entries) - len(plain)


@given(lists(), keeps, zones)
def test_no_rule_and_keep_all_keep_everything(
    entries: list[tuple[int, Mark | None]], keep: Keep, zone: ZoneInfo
) -> None:
    for policy in (Keep(), replace(keep, all=True)):
        assert not split(entries, mark(entries, policy, zone), Mark.REMOVE)


@given(times(), some_rule, zones)
def test_what_is_removed_because_of_a_period_leaves_a_newer_one_of_that_period(
    made: list[int], keep: Keep, zone: ZoneInfo
) -> None:
    found = mark([(time, None) for time in made], keep, zone)
    forms = {
        "last": "%Y-%m-%d %H:%M:%S",
        "hourly": "%Y-%m-%d %H:00",
        "daily": "%Y-%m-%d",
        "weekly": "%G-W%V",
        "monthly": "%Y-%m",
        "yearly": "%Y",
    }
    for time, (marked, reason) in zip(made, found, strict=True):
        if marked is Mark.REMOVE and reason.startswith("superseded in "):
            rule, _, period = reason.removeprefix("superseded in ").partition(" ")
            assert any(
                other >= time
                and answer is Mark.KEEP
                and f"{datetime.fromtimestamp(other, zone):{forms[rule]}}" == period
                for other, (answer, _) in zip(made, found, strict=True)
            )


# ── what one might believe and is not so ──────────────────────────────────────────────────────────


def test_raising_one_number_can_remove_what_was_kept() -> None:
    days = ["2019-12-30", "2020-01-01"]
    assert kept(days, Keep(monthly=2)) == days
    assert kept(days, Keep(weekly=1, monthly=2)) == ["2020-01-01"]


def test_pruning_every_day_is_not_pruning_once() -> None:
    keep = Keep(weekly=1, monthly=2)
    assert kept(["2019-12-23", "2019-12-30"], keep) == ["2019-12-30"]
    assert kept(["2019-12-23", "2019-12-30", "2020-01-01"], keep) == ["2019-12-23", "2020-01-01"]


def test_a_month_within_reach_may_have_no_backup() -> None:
    days = ["2019-11-29", "2019-12-01", "2019-12-04"]
    assert kept(days, Keep(daily=1, weekly=1, monthly=3)) == days[1:]
    assert kept(days, Keep(daily=1, monthly=3)) == ["2019-11-29", "2019-12-04"]


# ── calendars ─────────────────────────────────────────────────────────────────────────────────────


def test_the_hour_that_a_clock_shows_twice_is_one_hour() -> None:
    twice = [at("2024-10-27 02:30", fold=0), at("2024-10-27 02:30", fold=1)]
    assert twice[1] - twice[0] == 3600
    assert marks(twice, Keep(hourly=3)) == ["remove", "keep"]
    assert marks(twice, Keep(last=2)) == ["keep", "keep"]
    half = [at("2024-04-07 01:45", LORD_HOWE, fold=0), at("2024-04-07 01:45", LORD_HOWE, fold=1)]
    assert half[1] - half[0] == 1800
    assert marks(half, Keep(hourly=3), LORD_HOWE) == ["remove", "keep"]


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("turn", TURNS)
def test_seven_nightly_backups_are_seven_days_whatever_the_clocks_do(zone: ZoneInfo, turn: int) -> None:
    middle = datetime.fromtimestamp(turn, zone).date()
    days = [middle + timedelta(number) for number in range(-9, 10)]
    # Apia had no 30 December 2011: its 02:00 is that of the 31st.
    made = sorted({int(datetime(day.year, day.month, day.day, 2, tzinfo=zone).timestamp()) for day in days})
    for end in range(8, len(made) + 1):
        until = made[:end]
        answers = marks(until, Keep(daily=7), zone)
        assert [time for time, answer in zip(until, answers, strict=True) if answer == "keep"] == until[-7:]


def test_a_day_is_that_of_the_zone() -> None:
    late, early = at("2026-11-22 23:30", NEW_YORK), at("2026-11-23 00:30", NEW_YORK)
    assert marks([late, early], Keep(daily=2), NEW_YORK) == ["keep", "keep"]
    assert marks([late, early], Keep(daily=2), ZoneInfo("UTC")) == ["remove", "keep"]


def test_a_leap_day_is_a_day_of_its_own() -> None:
    days = ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert kept(days, Keep(daily=3)) == days
    assert kept(days, Keep(monthly=2)) == ["2024-02-29", "2024-03-01"]


def test_weeks_are_those_of_iso_at_the_end_of_a_year() -> None:
    days = ["2020-12-27", "2020-12-28", "2021-01-03", "2021-01-04"]
    found = mark([(at(f"{day} 12:00"), None) for day in days], Keep(weekly=3), BERLIN)
    assert [reason for _, reason in found] == [
        "weekly 3/3",
        "superseded in weekly 2020-W53",
        "weekly 2/3",
        "weekly 1/3",
    ]


def test_days_without_a_backup_do_not_count() -> None:
    before = [at("2026-10-01 02:00") - number * DAY for number in range(7)]
    after = at("2026-11-10 02:00")  # forty days later
    assert marks([after, *before], Keep(daily=7)) == ["keep"] * 7 + ["remove"]


def test_of_several_a_day_the_last_stays() -> None:
    day = [at(f"2026-11-22 {hour:02}:00") for hour in (2, 8, 14, 20)]
    assert marks(day, Keep(daily=7)) == ["remove"] * 3 + ["keep"]


def test_hours_with_one_backup_a_day_are_days() -> None:
    daily = [at("2026-11-22 02:00") - number * DAY for number in range(40)]
    assert marks(daily, Keep(hourly=24)).count("keep") == 24


def test_of_two_at_the_same_second_the_first_of_the_list_stays() -> None:
    assert marks([at("2026-11-22 02:00")] * 2, Keep(last=2)) == ["keep", "remove"]


def test_each_answer_has_the_rule_that_says_so() -> None:
    made = [
        "2026-11-22 02:00",
        "2026-11-22 01:00",
        "2026-11-21 02:00",
        "2026-11-12 02:00",
        "2026-11-10 02:00",
    ]
    found = mark([(at(each), None) for each in made], Keep(last=1, daily=1, weekly=1), BERLIN)
    assert [reason for _, reason in found] == [
        "last 1/1",
        "superseded in daily 2026-11-22",
        "daily 1/1",
        "weekly 1/1",
        "superseded in weekly 2026-W46",
    ]
    assert mark([(at(made[-1]), None), (at(made[0]), None)], Keep(last=1), BERLIN)[0] == (
        Mark.REMOVE,
        "beyond every rule",
    )


# ── the layer that can only keep more ─────────────────────────────────────────────────────────────

NOW = at("2026-11-22 03:00")


def nightly(count: int, **changes: Any) -> list[Entry]:
    """One a night, newest first; `n0` was made an hour ago."""
    return [
        replace(Entry(f"n{number}", NOW - 3600 - number * DAY, 1000 - number), **changes)
        for number in range(count)
    ]


def run(
    entries: Sequence[Entry],
    keep: Keep = Keep(daily=7),  # noqa: B008 - frozen
    *,
    newest: int = 1,
    this_run: str = "",
    now: int = NOW,
) -> dict[str, Decision]:
    made = decide(entries, keep, BERLIN, now=now, newest=newest, this_run=this_run)
    assert [each.id for each in made] == [each.id for each in entries]
    return {each.id: each for each in made}


def removed(decisions: dict[str, Decision]) -> set[str]:
    return {each.id for each in decisions.values() if each.remove}


def test_the_eighth_night_goes() -> None:
    found = run(nightly(8))
    assert removed(found) == {"n7"}
    assert found["n7"].reason == "beyond every rule"
    assert found["n2"].reason == "daily 3/7"
    assert not any(each.warning for each in found.values())


def test_what_is_not_counted_stays_and_takes_no_place() -> None:
    entries = nightly(9)
    entries[3] = replace(entries[3], uncounted="not fleet's (sanoid)")
    found = run(entries)
    assert removed(found) == {"n8"}
    assert (found["n3"].reason, found["n3"].counted) == ("not fleet's (sanoid)", False)


def test_what_is_held_stays_and_takes_its_place() -> None:
    entries = nightly(10)
    entries[8] = replace(entries[8], blocked="held")
    entries[1] = replace(entries[1], blocked="held")
    found = run(entries)
    assert removed(found) == {"n7", "n9"}
    assert found["n8"].reason == "held (otherwise beyond every rule)"
    assert found["n1"].reason == "daily 2/7"


@pytest.mark.parametrize("ahead", [FUTURE + 1, 3 * DAY, 400 * DAY, 10**15])
def test_what_is_dated_in_the_future_is_kept_takes_no_place_and_is_said(ahead: int) -> None:
    future = [Entry(f"f{number}", NOW + ahead + number * DAY, 2000 + number) for number in range(7)]
    found = run([*future, *nightly(8)])
    assert removed(found) == {"n7"}
    for each in future:
        assert found[each.id].warning
        assert not found[each.id].counted
        assert "in the future" in found[each.id].reason


def test_a_clock_that_is_a_little_off_is_believed() -> None:
    found = run([Entry("a", NOW + FUTURE, 2000), *nightly(7)])
    assert found["a"].reason == "daily 1/7"


def test_a_clock_that_starts_in_1970_removes_nothing() -> None:
    found = run(nightly(30), now=1000)
    assert not removed(found)
    assert all(each.warning for each in found.values())


def test_the_newest_are_never_removed_whatever_the_policy_says() -> None:
    # Three of one day: keep-daily=1 alone would keep the last of them.
    entries = [Entry(f"h{hour}", NOW - hour * 3600, 100 - hour) for hour in range(3)]
    assert removed(run(entries, Keep(daily=1))) == {"h1", "h2"}
    found = run(entries, Keep(daily=1), newest=2)
    assert removed(found) == {"h2"}
    assert found["h1"].reason == "newest, 2/2 (otherwise superseded in daily 2026-11-22)"


@pytest.mark.parametrize("newest", [0, -5])
def test_at_least_one_is_never_removed_whatever_is_asked_for(newest: int) -> None:
    entries = [Entry("late", NOW - DAY, 1), Entry("early", NOW - 2 * DAY, 2)]
    assert not removed(run(entries, Keep(last=1), newest=newest))


def test_what_was_made_last_stays_though_a_clock_was_set_back() -> None:
    back = Entry("back", NOW - 30 * DAY, 2000)
    found = run([*nightly(8), back], newest=1)
    assert removed(found) == {"n7"}
    assert found["back"].reason.startswith("last made, 1/1 (otherwise beyond every rule)")
    assert found["back"].warning
    assert "made after n0, but dated 29 days before it: a clock was wrong" in found["back"].reason
    assert not found["n0"].warning


def test_what_this_run_has_made_stays() -> None:
    entries = nightly(12)
    found = run(entries, this_run="n9")
    assert removed(found) == {"n7", "n8", "n10", "n11"}
    assert found["n9"].reason == "made by this run (otherwise beyond every rule)"


@pytest.mark.parametrize("keep", [Keep(), Keep(all=True), Keep(all=True, last=1)])
def test_without_a_rule_and_with_keep_all_nothing_is_removed(keep: Keep) -> None:
    assert not removed(run(nightly(100), keep))


def test_of_two_at_the_same_second_the_one_made_last_stays() -> None:
    first, second = Entry("b", NOW - 60, 10), Entry("a", NOW - 60, 11)
    for entries in ([first, second], [second, first]):
        assert removed(run(entries, Keep(last=2))) == {"b"}
    same = [Entry("x", NOW - 60, 10), Entry("y", NOW - 60, 10)]
    assert removed(run(same, Keep(daily=2))) == {"x"} == removed(run(same[::-1], Keep(daily=2)))


def test_two_of_the_same_name_are_two() -> None:
    same = [*nightly(1), *[Entry("twin", NOW - 2 * DAY, 5)] * 2]
    made = decide(same, Keep(daily=7), BERLIN, now=NOW, newest=1)
    assert [each.remove for each in made] == [False, False, True]


def test_what_is_not_whole_takes_no_place_from_what_is() -> None:
    entries = nightly(14)
    entries[:7] = [replace(each, whole=False) for each in entries[:7]]
    found = run(entries)
    assert not removed(found)
    assert found["n7"].reason == "daily 1/7"
    found = run(nightly(14) + [replace(each, id=f"h{each.id}", whole=False) for each in nightly(14)])
    assert removed(found) == {f"n{n}" for n in range(7, 14)} | {f"hn{n}" for n in range(14)}


def test_the_newest_that_is_whole_is_never_removed() -> None:
    broken = [replace(each, id=f"broken {each.id}", whole=False) for each in nightly(3)]
    whole = [replace(each, created=each.created - 7 * DAY, order=each.order - 100) for each in nightly(3)]
    found = run([*broken, *whole], Keep(last=1), newest=2)
    assert removed(found) == {"broken n1", "broken n2", "n2"}
    assert found["n1"].reason == "newest, 2/2 (otherwise beyond every rule)"


offsets = st.one_of(st.integers(-40 * DAY, 3600), st.integers(-2 * DAY, 10 * DAY))
whys = st.sampled_from(("", "", "", "", "said"))


wholes = st.sampled_from((True, True, True, False))


@st.composite
def worlds(draw: st.DrawFn) -> list[Entry]:
    count = draw(st.integers(0, 25))
    return [
        Entry(f"e{n}", NOW + draw(offsets), draw(st.integers(0, 40)), draw(whys), draw(whys), draw(wholes))
        for n in range(count)
    ]


def believed(entries: Sequence[Entry]) -> list[Entry]:
    """The ones that count, as they are marked: newest first, the last made before others of its second."""
    counted = [each for each in entries if not each.uncounted and each.created <= NOW + FUTURE]
    return sorted(counted, key=lambda each: (each.created, each.order, each.id), reverse=True)


@given(worlds(), keeps, zones, st.integers(1, 4), st.sampled_from(("", "e0", "e1")))
def test_the_layer_only_keeps_more_and_never_removes_what_must_stay(
    entries: list[Entry], keep: Keep, zone: ZoneInfo, newest: int, this_run: str
) -> None:
    made = decide(entries, keep, zone, now=NOW, newest=newest, this_run=this_run)
    gone = {each.id for each in made if each.remove}
    counted = believed(entries)
    would = mark([(each.created, None) for each in counted], keep, zone)
    assert gone <= {
        each.id for each, (answer, _) in zip(counted, would, strict=True) if answer is Mark.REMOVE
    }
    assert not gone & {each.id for each in entries if each.uncounted or each.blocked}
    assert not gone & {each.id for each in entries if each.created > NOW + FUTURE}
    assert this_run not in gone
    whole = [each for each in counted if each.whole]
    by_order = sorted(whole, key=lambda each: (each.order, each.created, each.id), reverse=True)
    assert not gone & {each.id for each in (*counted[:1], *whole[:newest], *by_order[:newest])}
    of_whole = mark([(each.created, None) for each in whole], keep, zone)
    assert not gone & {each.id for each, (it, _) in zip(whole, of_whole, strict=True) if it is Mark.KEEP}
    assert not counted or len(gone) < len(counted)
    assert all(each.reason for each in made)
    assert [each.counted for each in made] == [each in counted for each in entries]


@given(worlds(), keeps, zones, st.randoms(use_true_random=False))
def test_the_decisions_do_not_depend_on_the_order_of_the_list(
    entries: list[Entry], keep: Keep, zone: ZoneInfo, chance: random.Random
) -> None:
    made = decide(entries, keep, zone, now=NOW, newest=1)
    shuffled = chance.sample(entries, len(entries))
    again = decide(shuffled, keep, zone, now=NOW, newest=1)
    assert {each.id: each for each in made} == {each.id: each for each in again}


@given(worlds(), keeps, zones, st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_rest_of_a_removal_that_broke_off_is_what_a_rerun_removes(
    entries: list[Entry], keep: Keep, zone: ZoneInfo, newest: int, chance: random.Random
) -> None:
    gone = {each.id for each in decide(entries, keep, zone, now=NOW, newest=newest) if each.remove}
    done = {each for each in gone if chance.random() < 0.5}
    left = [each for each in entries if each.id not in done]
    again = {each.id for each in decide(left, keep, zone, now=NOW, newest=newest) if each.remove}
    assert again == gone - done


# ── the brake ─────────────────────────────────────────────────────────────────────────────────────


def decisions(counted: int, gone: int, others: int = 0) -> list[Decision]:
    made = [Decision(f"e{number}", number < gone, "a reason") for number in range(counted)]
    return made + [Decision(f"o{number}", False, "foreign", counted=False) for number in range(others)]


@pytest.mark.parametrize(("counted", "gone"), [(2, 1), (3, 2), (8, 1), (20, 10), (6, 3), (1, 0), (0, 0)])
def test_an_everyday_rotation_is_not_braked(counted: int, gone: int) -> None:
    assert not brake(decisions(counted, gone), Brake())


@pytest.mark.parametrize(
    ("counted", "gone", "why"),
    [
        (31, 24, "more than 10 at once and more than 50 %"),
        (30, 11, "more than 10 at once"),
        (5, 3, "more than 50 %"),
    ],
)
def test_many_removals_need_the_word_of_the_operator(counted: int, gone: int, why: str) -> None:
    said = brake(decisions(counted, gone), Brake())
    assert said == (
        f"{gone} of {counted} backups would be removed, {why}: none is;"
        f" if that is meant, say --yes-remove {gone}"
    )


def test_what_is_not_counted_does_not_loosen_the_brake() -> None:
    assert brake(decisions(8, 5, others=100), Brake())


def test_the_first_run_after_a_policy_was_cut_is_braked_and_its_nights_are_not() -> None:
    month = nightly(31)
    assert not brake(tuple(run(month, Keep(last=1, daily=29)).values()), Brake())
    assert "23 of 31" in brake(tuple(run(month, Keep(last=1, daily=7)).values()), Brake())


@given(some_rule.filter(lambda keep: not keep.hourly), zones, st.integers(0, 700), st.integers(1, 3))
def test_a_nightly_rotation_is_never_braked(keep: Keep, zone: ZoneInfo, first: int, a_day: int) -> None:
    have: list[Entry] = []
    start = datetime(2023, 1, 1, 2, tzinfo=zone) + timedelta(first)
    for number in range(60 * a_day):
        now = int((start + timedelta(hours=24 // a_day * number)).timestamp())
        have.append(Entry(f"e{number}", now, number))
        made = decide(have, keep, zone, now=now, newest=1, this_run=f"e{number}")
        assert not brake(made, Brake())
        have = [entry for entry, each in zip(have, made, strict=True) if not each.remove]


# ── what the documents say ────────────────────────────────────────────────────────────────────────

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "backups.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(keep-[^`]+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)


def shown(least: int, most: int) -> str:
    return str(most) if least == most else f"{least}-{most}"


def test_the_page_has_the_table_of_policies() -> None:
    assert len(ROWS) >= 10
    assert "keep-last=1,keep-daily=7" in {row[0] for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
@pytest.mark.parametrize("zone", [NEW_YORK, BERLIN], ids=str)
def test_a_policy_reaches_as_far_back_as_the_page_says(row: tuple[str, ...], zone: ZoneInfo) -> None:
    counts: dict[str, Any] = {
        name.removeprefix("keep-"): int(count)
        for name, _, count in (each.partition("=") for each in row[0].split(","))
    }
    assert str(Keep(**counts)) == row[0]
    found = reach(Keep(**counts), zone)
    assert row[1:] == (shown(*found.kept), shown(*found.oldest), str(found.gap or "-"))
