"""Answers of many probes in one output are told apart, byte for byte."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import HostError
from fleet.core.probe import Probe, compose, split, split_files

MARK = "fleet-0123456789"


def run(*probes: Probe) -> str:
    return subprocess.run(
        ["/bin/sh", "-s"], input=compose(probes, MARK), capture_output=True, text=True, check=True
    ).stdout


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")))
def test_an_answer_is_exactly_what_was_printed(text: str) -> None:
    framed = f"{MARK} begin a\n{text}\n{MARK} end a 0\n"
    assert split(framed, MARK)["a"].text == text


def test_each_probe_has_its_own_output_and_code() -> None:
    answers = split(
        run(Probe("one", "printf 'x\\n\\n'"), Probe("two", "exit 3"), Probe("three", "cat")), MARK
    )
    assert (answers["one"].text, answers["one"].code) == ("x\n\n", 0)
    assert (answers["two"].text, answers["two"].code) == ("", 3)
    assert answers["three"].text == ""


def test_a_probe_that_exits_does_not_stop_the_next() -> None:
    assert split(run(Probe("one", "exit 1"), Probe("two", "echo here")), MARK)["two"].text == "here\n"


def test_an_output_that_was_cut_short_is_an_error() -> None:
    whole = run(Probe("one", "echo 1"), Probe("two", "echo 2"))
    with pytest.raises(HostError, match="cut short"):
        split(whole[: whole.index("end two")], MARK)
    with pytest.raises(HostError, match="cut short"):
        split("", MARK)


def test_framed_files_are_told_apart_by_path() -> None:
    text = f"{MARK} file /a b.conf\nx\ny\n{MARK} file /c\n"
    assert split_files(text, MARK) == {"/a b.conf": "x\ny\n", "/c": ""}
