"""Box tables and JSON as pvesh prints them (pve-common CLIFormatter.pm)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def text_of(value: object) -> str:
    """One value in a cell."""
    if value is None:
        return ""
    return dump(value) if isinstance(value, dict | list) else str(value)


def dump(value: object, pretty: bool = False) -> str:
    """JSON with sorted keys, compact or indented by three blanks."""
    value = _rounded(value)
    if pretty:
        return json.dumps(value, sort_keys=True, indent=3, separators=(",", " : "), ensure_ascii=False)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _rounded(value: object) -> object:
    """A value with its fractions as Perl prints them: 15 significant digits."""
    if isinstance(value, float):
        return float(f"{value:.15g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value


def table(
    rows: Sequence[dict[str, Any]],
    columns: Sequence[str],
    *,
    border: bool = True,
    header: bool = True,
    numbers: Sequence[str] = (),
) -> str:
    """A table sorted by its first column; `numbers` are the columns aligned at the right."""
    first = columns[0]
    rows = sorted(
        rows, key=lambda row: (first in row, row.get(first) if first in numbers else text_of(row.get(first)))
    )
    cells = [[text_of(row.get(column)).split("\n") for column in columns] for row in rows]
    widths = [
        max([len(column), *(len(line) for row in cells for line in row[i])])
        for i, column in enumerate(columns)
    ]
    lines: list[list[str]] = []
    if header:
        lines.append([_line(columns, widths, columns, numbers, border)])
    for row in cells:
        height = max(len([part for part in cell if part] or [""]) for cell in row)
        lines.append(
            [
                _line([cell[i] if i < len(cell) else "" for cell in row], widths, columns, numbers, border)
                for i in range(height)
            ]
        )
    if not border:
        return "".join(line + "\n" for block in lines for line in block)
    return _boxed(lines, widths, header)


def _line(
    texts: Sequence[str], widths: Sequence[int], columns: Sequence[str], numbers: Sequence[str], border: bool
) -> str:
    padded = [
        text.rjust(width) if column in numbers else text.ljust(width)
        for text, width, column in zip(texts, widths, columns, strict=True)
    ]
    if not border:
        padded[-1] = texts[-1]
        return " ".join(padded)
    return f"│ {' │ '.join(padded)} │"


def _boxed(blocks: list[list[str]], widths: Sequence[int], header: bool) -> str:
    def rule(left: str, line: str, middle: str, right: str) -> str:
        return left + middle.join(line * (width + 2) for width in widths) + right

    out = [rule("┌", "─", "┬", "┐")]
    for number, block in enumerate(blocks):
        if number:
            out.append(rule("╞", "═", "╪", "╡") if header and number == 1 else rule("├", "─", "┼", "┤"))
        out += block
    return "\n".join([*out, rule("└", "─", "┴", "┘")]) + "\n"
