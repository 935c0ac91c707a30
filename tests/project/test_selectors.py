"""The grammar of --limit and --exclude."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.selectors import Candidate, select

PLEX = Candidate("plex", 100, frozenset({"gpu", "fleet"}), "media", "running")
SONARR = Candidate("sonarr", 101, frozenset({"fleet"}), "media", "running")
RADARR = Candidate("radarr", 102, frozenset({"fleet"}), "media", "stopped")
LOKI = Candidate("loki", 110, frozenset({"fleet", "logs"}), "monitoring", "running")
ALL = (PLEX, SONARR, RADARR, LOKI)


@pytest.mark.parametrize(
    ("limit", "exclude", "names"),
    [
        ([], [], "plex sonarr radarr loki"),
        (["plex"], [], "plex"),
        (["*arr"], [], "sonarr radarr"),
        (["102"], [], "radarr"),
        (["101-110"], [], "sonarr radarr loki"),
        (["tag:gpu"], [], "plex"),
        (["category:media"], [], "plex sonarr radarr"),
        (["status:stopped"], [], "radarr"),
        (["!plex"], [], "sonarr radarr loki"),
        (["category:media", "!*arr"], [], "plex"),
        (["!*arr", "category:media"], [], "plex"),
        (["loki", "plex"], [], "plex loki"),
        ([], ["category:media"], "loki"),
        (["status:running"], ["plex"], "sonarr loki"),
        ([], ["!plex"], "plex"),
    ],
)
def test_selecting_means_including(limit: list[str], exclude: list[str], names: str) -> None:
    assert [guest.name for guest in select(ALL, limit, exclude)] == names.split()


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("sonar", "did you mean sonarr"),
        ("tag:gpus", "did you mean tag:gpu"),
        ("category:x", "known are media, monitoring"),
        ("900", "selects no guest"),
        ("110-100", "write it as 100-110"),
        ("status:runing", "one of running, stopped, absent"),
        ("tags:gpu", "did you mean tag:gpu"),
        ("!sonar", "did you mean sonarr"),
        ("PLEX", "selects no guest"),
    ],
)
def test_a_selector_that_selects_nothing_is_an_error_that_says_what_is_near(limit: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        select(ALL, [limit])


def test_a_selection_that_leaves_no_guest_is_an_error() -> None:
    with pytest.raises(UsageError, match="selects no guest at all"):
        select(ALL, ["plex"], ["tag:gpu"])


def test_a_fleet_without_guests_is_no_error_as_long_as_nothing_is_selected() -> None:
    assert select(()) == ()


words = st.lists(st.sampled_from(["plex", "*arr", "100-101", "tag:logs", "category:media"]), min_size=1)


@given(words)
def test_a_guest_is_in_exactly_one_of_a_selector_and_its_opposite(limit: list[str]) -> None:
    included = set(select(ALL, limit))
    try:
        excluded = set(select(ALL, exclude=limit))
    except UsageError:
        excluded = set()
    assert included | excluded == set(ALL)
    assert not included & excluded
