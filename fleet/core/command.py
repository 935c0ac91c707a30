"""Commands are lists of words; this is the one place where words become shell text."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capture:
    """A word that the host computes: the output of a command, one word whatever it holds."""

    command: Command


Word = str | Capture


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, each exactly one word of the remote command line."""

    words: tuple[Word, ...]

    def __post_init__(self) -> None:
        if any(isinstance(word, str) and "\0" in word for word in self.words):
            raise ValueError("a word of a command cannot hold a NUL byte")

    def sh(self) -> str:
        """The command as POSIX shell text that runs exactly these words."""
        return " ".join(_quoted(word) for word in self.words)


def command(*words: Word) -> Command:
    """A command of these words."""
    return Command(words)


def script(*commands: Command) -> str:
    """Shell text that runs the commands in order, up to the first that fails."""
    return " && ".join(each.sh() for each in commands)


def _quoted(word: Word) -> str:
    return f'"$({word.command.sh()})"' if isinstance(word, Capture) else shlex.quote(word)
