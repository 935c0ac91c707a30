"""`dpkg-query -W`: the packages of the node, from /var/lib/dpkg/status, on any machine."""

from __future__ import annotations

import fnmatch
import re
import sys

_STATUS = "/var/lib/dpkg/status"
_FIELD = re.compile(r"\$\{([A-Za-z:-]+)(?:;(-?\d+))?\}")
_DEFAULT = "${binary:Package}\t${Version}\n"
_NEEDS_ACTION = "dpkg-query: error: need an action option\n\nUse --help for help about querying packages.\n"


def main(argv: list[str]) -> int:
    """`dpkg-query -W [-f FORMAT] [PATTERN...]`: 1 if a pattern fits no package, 2 for a wrong call."""
    text, patterns, action = _DEFAULT, list[str](), False
    words = iter(argv[1:])
    for word in words:
        if word in ("-W", "--show"):
            action = True
        elif word in ("-f", "--showformat"):
            text = next(words, "")
        elif word.startswith(("-f", "--showformat=")):
            text = word.removeprefix("--showformat").removeprefix("-f").removeprefix("=")
        elif word.startswith("-") and word != "--":
            sys.stderr.write(
                f"dpkg-query: error: unknown option {word}\n\nType dpkg-query --help for help.\n"
            )
            return 2
        elif word != "--":
            patterns.append(word)
    if not action:
        sys.stderr.write(_NEEDS_ACTION)
        return 2
    return _show(text, patterns)


def _show(text: str, patterns: list[str]) -> int:
    packages = _packages()
    code, shown = 0, [] if patterns else sorted(packages)
    for pattern in patterns:
        fitting = sorted(fnmatch.filter(packages, pattern))
        shown += [name for name in fitting if name not in shown]
        if not fitting:
            sys.stderr.write(f"dpkg-query: no packages found matching {pattern}\n")
            code = 1
    for name in sorted(shown):
        sys.stdout.write(_line(text, packages[name]))
    return code


def _line(text: str, package: dict[str, str]) -> str:
    """A format filled in for one package."""
    text = text.replace("\\n", "\n").replace("\\t", "\t")

    def value(found: re.Match[str]) -> str:
        field, width = found[1], int(found[2] or 0)
        known = {**package, "binary:Package": package["Package"], "db:Status-Abbrev": "ii "}
        return f"{known.get(field, ''):{'<' if width < 0 else '>'}{abs(width) or 1}}"

    return _FIELD.sub(value, text)


def _packages() -> dict[str, dict[str, str]]:
    """Their fields by name."""
    with open(_STATUS, encoding="utf-8") as file:
        paragraphs = file.read().split("\n\n")
    found = [
        dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        for paragraph in paragraphs
    ]
    return {fields["Package"]: fields for fields in found if "Package" in fields}
