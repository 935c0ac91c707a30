"""The lab's ZFS answers as real OpenZFS does: against recordings, and the recordings against the real one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet.lab import lab as labs
from tests.thorough import THOROUGH
from tests.zfs import answers
from tests.zfs.different import DIFFERENT
from tests.zfs.machine import Machine

#: What the real one is asked again in every run; the rest is asked with FLEET_THOROUGH=1.
_ASKED_AGAIN = {"snapshot"}


@pytest.fixture(scope="module")
def lab() -> Iterator[labs.Lab]:
    """A lab of the reference homelab: one pool, `tank`."""
    yield labs.reset("answers")
    labs.down("answers")


@pytest.mark.slow
@pytest.mark.parametrize("topic", answers.topics())
def test_the_lab_answers_as_real_zfs_did(topic: str, lab: labs.Lab) -> None:
    found = {
        cmd: "\n".join(what)
        for _, cmd, what in answers.differences(answers.recorded(topic), answers.lab_answers(topic, lab))
    }
    known = {cmd for about, cmd in DIFFERENT if about == topic}
    assert {cmd: what for cmd, what in found.items() if cmd not in known} == {}
    assert known - set(found) == set(), "these agree now: out of different.py, and answers.py docs"


@pytest.mark.zfs
@pytest.mark.slow
@pytest.mark.timeout(900, func_only=True)
@pytest.mark.parametrize("topic", answers.topics() if THOROUGH else sorted(_ASKED_AGAIN))
def test_real_zfs_still_answers_as_recorded(topic: str, machine: Machine) -> None:
    found = list(answers.differences(answers.recorded(topic), answers.real_answers(topic, machine)))
    assert found == []
