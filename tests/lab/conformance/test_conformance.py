"""The lab answers as the recorded hosts do.

How many lines agree may only rise (docs/conformance.md has the table).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.conformance import expected, replay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("conformance")]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[replay.Outcome]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_LAB_HOME", str(tmp_path_factory.mktemp("labs")))
        yield replay.all_outcomes()


def _shown(outcome: replay.Outcome) -> str:
    return "\n  ".join((f"[{outcome.index}] {outcome.cmd}", *outcome.differences))


@pytest.mark.parametrize("recording", [name for names in expected.MACHINES.values() for name in names])
def test_as_many_lines_agree_as_ever(outcomes: dict[str, list[replay.Outcome]], recording: str) -> None:
    pins: dict[str, int] = json.loads(Path(replay.PINS).read_text(encoding="utf-8"))
    wrong = [outcome for outcome in outcomes[recording] if not outcome.agrees]
    agreeing = len(outcomes[recording]) - len(wrong)
    assert agreeing >= pins[recording], "\n".join(map(_shown, wrong))


def test_every_line_that_does_not_agree_has_a_reason(outcomes: dict[str, list[replay.Outcome]]) -> None:
    unexplained = [
        _shown(outcome)
        for recording, found in outcomes.items()
        for outcome in found
        if not outcome.agrees and outcome.index not in expected.DIFFERENT.get(recording, {})
    ]
    assert not unexplained, "\n".join(unexplained)
