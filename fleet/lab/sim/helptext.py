"""The recorded help of a Proxmox command as the source of its verbs and options.

What `pct help` prints is what the parser accepts.
"""

from __future__ import annotations

import os
import re

from . import machine, schema
from .props import Prop

_HERE = os.path.dirname(os.path.abspath(__file__))
_ENTRY = re.compile(r"  (?:<([\w-]+)>|--([\w-]+)(\[n\])?)(?:\s+(.*))?")
_TYPE = re.compile(
    r"<(integer|number|boolean|string|array|filepath|password|storage ID)>(?: \((\S+) - (\S+)\))?"
)
_SINCE_9 = ("entrypoint", "env", "ha-managed")


class Option:
    """An option or argument: its name, what its value must be, and whether it has a number (net0)."""

    __slots__ = ("indexed", "name", "prop", "requires")

    def __init__(self, name: str, prop: Prop, indexed: bool, requires: str | None) -> None:
        self.name, self.prop, self.indexed, self.requires = name, prop, indexed, requires


class Verb:
    """A verb: the usage line, its arguments in order (True: may be left out).

    Its options by name without number.
    """

    __slots__ = ("arguments", "help", "options", "usage")

    def __init__(
        self,
        usage: str,
        arguments: tuple[tuple[str, bool], ...],
        options: dict[str, Option],
        help: str,
    ) -> None:
        self.usage, self.arguments, self.options, self.help = usage, arguments, options, help


def _read(name: str) -> str:
    with open(f"{_HERE}/{name}", encoding="utf-8") as file:
        return file.read()


def short_usage(tool: str) -> str:
    """What the tool prints without a verb."""
    return _read(f"{tool}-usage.txt")


def full_help(tool: str) -> str:
    """The help of all verbs; PVE 8 has some options of pct less."""
    text = _read(f"{tool}-help.txt")
    if machine.pve_major() < 9:
        for name in _SINCE_9:
            text = re.sub(rf"  --{name}\b.*\n(?:\t.*\n)*\n", "", text)
    return text


def verbs(tool: str) -> list[str]:
    """The names of all verbs."""
    return re.findall(rf"^USAGE: {tool} (\S+)", full_help(tool), re.MULTILINE)


def verb(tool: str, name: str) -> Verb:
    """The verb's arguments and options, read from its help."""
    text = full_help(tool)
    start = (
        text.index(f"USAGE: {tool} {name} ")
        if f"USAGE: {tool} {name} " in text
        else text.index(f"USAGE: {tool} {name}\n")
    )
    end = text.find("\nUSAGE: ", start)
    block = text[start:] if end < 0 else text[start:end]
    usage = block.split("\n", 1)[0].removeprefix("USAGE: ")
    found = re.findall(r"(?<!string )(\[?)<([\w-]+)>", re.sub(r"--[\w-]+ <[^>]*>", "", usage))
    arguments = tuple((word, bracket == "[") for bracket, word in found if word != "extra-args")
    if "<extra-args>" in usage:
        arguments += (("extra-args", True),)
    return Verb(usage, arguments, _options(block), block.rstrip("\n") + "\n")


def _options(block: str) -> dict[str, Option]:
    options: dict[str, Option] = {}
    entry: re.Match[str] | None = None
    body: list[str] = []

    def finish() -> None:
        if entry is not None:
            name = entry[1] or entry[2]
            options[name] = _option(name, bool(entry[3]), " ".join(body))

    for line in block.split("\n")[1:]:
        match = _ENTRY.fullmatch(line)
        if match is not None:
            finish()
            entry, body = match, [match[4] or ""]
        elif line.startswith("\t"):
            body.append(line.strip())
    finish()
    return options


def _option(name: str, indexed: bool, text: str) -> Option:
    required = re.search(r"Requires option\(s\): (\S+)", text)
    requires = required[1] if required else None
    typed = _TYPE.match(text)
    if typed is None:
        prop = _enumeration(name, text) or (schema.known(name) if not indexed else None) or Prop()
        return Option(name, prop, indexed, requires)
    kind, low, high = typed.groups()
    if kind in ("integer", "number"):
        known = schema.known(name)
        check = known.format if known is not None else None
        return Option(name, Prop(kind, check, minimum=_bound(low), maximum=_bound(high)), indexed, requires)
    if kind in ("boolean", "array", "filepath"):
        return Option(name, Prop(kind), indexed, requires)
    return Option(name, schema.known(name) or Prop(), indexed, requires)


def _bound(text: str | None) -> float | None:
    return None if text in (None, "N") else float(text or 0)


def _enumeration(name: str, text: str) -> Prop | None:
    if not text.startswith("<") or " | " not in text.split(">", 1)[0]:
        return None
    known = schema.known(name)
    if known is not None and known.enum:
        return known
    if "rootfs" in text:
        return Prop(enum=schema.VOLUME_KEYS + (schema.UNUSED_KEYS if "unused0" in text else ()))
    return Prop(enum=tuple(text[1 : text.index(">")].split(" | ")))
