"""The `inv` program with this project's exit code for wrong usage, and suggestions for misspelt words."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from fleet.core.errors import ExitCode
from fleet.tasks.cli import drop_stdout, flush_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator


class FleetProgram(Program):
    """Invoke's program, except that a command line that cannot be parsed exits 64 and says what is near."""

    def parse_tasks(self) -> None:
        """Parse tasks and their options; Exit 64 where Invoke would exit 1 or show a traceback."""
        try:
            super().parse_tasks()
        except ParseError as error:
            raise Exit(f"{_said(error)}{self._nearest(error)}", ExitCode.USAGE) from None
        except ValueError as error:  # Invoke converts `--jobs x` with a bare int()
            word = str(error).rpartition(": ")[2]
            raise Exit(f"wrong value of an option: {word} is no number", ExitCode.USAGE) from None

    def parse_cleanup(self) -> None:
        """Do --help and --list; Exit 64 for --help of a task that does not exist."""
        try:
            super().parse_cleanup()
        except BrokenPipeError:
            drop_stdout()
            raise Exit from None
        except Exit:
            flush_stdout()
            raise
        except ParseError as error:
            raise Exit(f"{error}{self._nearest(error)}", ExitCode.USAGE) from None

    def _nearest(self, error: ParseError) -> str:
        """What may have been meant by the word that the error quotes, as text to append."""
        from difflib import get_close_matches

        message, context = str(error), error.context
        quoted = message.split("'")
        word = quoted[1] if len(quoted) > 2 and message.startswith("No idea what") else ""
        options = [flag for flag in context.flags if flag.startswith("--")] if context else []
        near = get_close_matches(word, options if word.startswith("-") else set(self._tasks()), n=3)
        if near:
            return f" Did you mean {' or '.join(near)}?"
        if context and context.name and (word.startswith("-") or not word):
            return f"\n`inv --help {context.name}` shows the options of {context.name}."
        return "\n`inv --list` shows all tasks, `inv --help TASK` the options of one."

    def _tasks(self) -> Iterator[str]:
        for context in self.parser.contexts.values():
            yield from (word for word in (context.name, *context.aliases) if word)


def _said(error: ParseError) -> str:
    """Invoke's message, in words that do not show its insides."""
    message = str(error)
    if match := re.match(r"Flag <Argument: ([^ >]+).*> needed value", message):
        return f"--{match[1].replace('_', '-')} needs a value."
    if match := re.match(r"'(.+)' did not receive required positional arguments: (.+)", message):
        wanted = " ".join(name.strip("'").upper() for name in match[2].split(", "))
        return f"{match[1]} needs more words: inv {match[1]} {wanted}"
    return message


def take_over() -> None:
    """Make the `inv` that is loading our tasks a FleetProgram.

    `inv` reads its namespace before it parses the rest of the command line, so what is set here holds for
    that parsing. Invoke has no setting for the exit code of wrong usage.
    """
    main = sys.modules.get("invoke.main")
    if main is not None and type(main.program) is Program:
        main.program.__class__ = FleetProgram
