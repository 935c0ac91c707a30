"""Every word that hosts.yml could hold reaches the command as exactly that word."""

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.core.command import Capture, command, script

words = st.lists(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    min_size=1,
    max_size=6,
)


def sh(text: str) -> bytes:
    return subprocess.run(["/bin/sh", "-s"], input=text.encode(), capture_output=True, check=True).stdout


@given(words)
@example(["", " ", "'", '"', "$(id)", "`id`", "\\", "\n", "-n", "--", "*", "~", "!x", "ä€😀", "a\nb"])
@settings(max_examples=60, deadline=None)
def test_words_round_trip_through_a_real_shell(given_words: list[str]) -> None:
    printed = sh(command("printf", "%s\\0", *given_words).sh())
    assert printed.decode().split("\0")[:-1] == given_words


def test_a_captured_word_is_one_word_whatever_it_holds() -> None:
    inner = command("printf", "%s", "a b  * $HOME")
    assert sh(command("printf", "<%s>", Capture(inner)).sh()) == b"<a b  * $HOME>"


def test_a_script_stops_at_the_first_command_that_fails() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", script(command("echo", "1"), command("false"), command("echo", "2"))],
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (1, b"1\n")


def test_a_nul_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        command("echo", "a\0b")
