"""Lines of text with a style; colour only where a terminal shows it, never as the only sign of anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and the rich style that it has on a terminal."""

    text: str
    style: str = ""


def show(lines: Iterable[Line], stream: TextIO | None = None) -> None:
    """Print the lines: styled on a terminal, plain in a pipe, in cron, and where NO_COLOR is set."""
    stream = stream or sys.stdout
    if not is_terminal(stream) or os.environ.get("NO_COLOR"):
        stream.write("".join(f"{line.text}\n" for line in lines))
        stream.flush()
        return
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that a pipe need not pay

    console = Console(file=stream, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line.text, style=line.style or None, markup=False)


def is_terminal(stream: TextIO) -> bool:
    """True if somebody looks at the stream: a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def printable(text: str) -> str:
    """The text on one line: what would break the line or move the cursor is shown escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def size_text(size: float) -> str:
    """`512 B`, `2.6 MiB`: three digits that count."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1000 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.0f} {units[0]}" if units[0] == "B" or size >= 100 else f"{size:.3g} {units[0]}"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 guest`, `2 guests`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
