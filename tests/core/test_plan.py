"""Steps come after what they need, whatever order they are given in."""

import random

import pytest

from fleet.core.plan import Part, Step, in_order, join


def step(id_: str, *needs: str, order: int = 0) -> Step:
    return Step(id_, "s", "create", (), (), (), (), needs=needs, order=order)


def test_what_is_needed_comes_first() -> None:
    steps = [step("c", "b"), step("b", "a"), step("a"), step("d")]
    for seed in range(20):
        random.Random(seed).shuffle(steps)
        assert [each.id for each in in_order(steps)] == ["a", "d", "b", "c"]


def test_order_decides_among_ready_steps_and_then_the_id() -> None:
    assert [each.id for each in in_order([step("b"), step("a"), step("z", order=-1)])] == ["z", "a", "b"]


def test_a_need_that_is_not_in_the_plan_is_met_already() -> None:
    assert [each.id for each in in_order([step("a", "storage.there")])] == ["a"]


def test_a_circle_is_an_error() -> None:
    with pytest.raises(ValueError, match="circle"):
        in_order([step("a", "b"), step("b", "a")])


def test_a_plan_is_true_when_there_is_something_to_do() -> None:
    assert not join("pve", [Part()])
    assert join("pve", [Part((step("a"),))])
