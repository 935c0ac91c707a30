r"""Many reads of a host in one script, and their answers told apart again.

Each answer is framed by lines that hold a mark no file can contain by chance (a random nonce of this run):

    <mark> begin NAME
    ...whatever the read printed, byte for byte...
    <mark> end NAME 0
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet.core.errors import HostError


@dataclass(frozen=True, slots=True)
class Probe:
    """A named read: shell text that only reads, and may use $FLEET_MARK to frame files of its own."""

    name: str
    sh: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe printed on stdout, and its exit code."""

    text: str
    code: int


def compose(probes: Iterable[Probe], mark: str) -> str:
    """One script that runs every probe in a subshell of its own and frames what each prints."""
    parts = [f"FLEET_MARK={mark}", "LC_ALL=C.UTF-8", "export FLEET_MARK LC_ALL"]
    for probe in probes:
        parts.append(f"printf '%s begin {probe.name}\\n' \"$FLEET_MARK\"")
        parts.append(f"(\n{probe.sh}\n) </dev/null 2>/dev/null")
        parts.append(f"printf '\\n%s end {probe.name} %s\\n' \"$FLEET_MARK\" $?")
    return "\n".join(parts) + "\n"


def split(output: str, mark: str) -> Mapping[str, Answer]:
    """The answers by name; HostError where the output was cut short."""
    answers: dict[str, Answer] = {}
    framed = re.compile(
        rf"^{mark} begin (?P<name>\S+)\n(?P<text>.*?)\n{mark} end (?P=name) (?P<code>\d+)$",
        re.MULTILINE | re.DOTALL,
    )
    for match in framed.finditer(output):
        answers[match["name"]] = Answer(match["text"], int(match["code"]))
    begun = re.findall(rf"^{re.escape(mark)} begin (\S+)$", output, re.MULTILINE)
    missing = [name for name in begun if name not in answers]
    if missing or not begun:
        raise HostError(f"the host's answer was cut short (in {', '.join(missing) or 'the first line'})")
    return answers


def split_files(text: str, mark: str) -> Mapping[str, str]:
    """The files of an answer framed by `<mark> file PATH` lines, by path."""
    files: dict[str, str] = {}
    for part in re.split(rf"^{re.escape(mark)} file ", text, flags=re.MULTILINE)[1:]:
        path, _, content = part.partition("\n")
        files[path] = content
    return files
