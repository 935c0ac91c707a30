"""YAML text -> plain values whose every key knows its line.

Scalars stay text, whatever YAML 1.1 would make of them: the type of the field decides later what `yes`,
`0660`, `1:30` or `9.10` mean. So none of YAML's guesses (a truth value, an octal or a base-60 number) can
spoil a mode, a MAC address or a version. Only an empty value, `null` and `~` are special: None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

Path = tuple[str | int, ...]
_Event = Any  # the stubs know no attributes of events
Value = Any  # str | None | Map | List, nested

#: A file of 2,800 containers has about 1 MB and 70,000 values.
MAX_BYTES = 16 * 1024 * 1024
MAX_VALUES = 2_000_000
MAX_DEPTH = 40

_TOO_DEEP = f"the file is nested more than {MAX_DEPTH} levels deep"

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")
)


class Map(dict[str, Value]):
    """A mapping of the file; `lines` says where each key stands, `line` where the mapping begins."""

    __slots__ = ("depth", "line", "lines", "size")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}
        self.size = self.depth = 1


class List(list[Value]):
    """A list of the file; `lines` says where each item stands."""

    __slots__ = ("depth", "line", "lines", "size")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []
        self.size = self.depth = 1


class DocumentError(Exception):
    """The text is no YAML document that fleet reads; `faults` are (line, path, text)."""

    def __init__(self, *faults: tuple[int, Path, str]) -> None:
        super().__init__("; ".join(text for _, _, text in faults))
        self.faults = faults


def read(data: bytes) -> tuple[Map, tuple[tuple[int, Path, str], ...]]:
    """The top mapping, and the faults that leave it readable (duplicate keys, tags); else DocumentError."""
    text = _decode(data)
    composer = _Composer(iter(yaml.parse(text, Loader=_LOADER)))
    try:
        top = composer.document()
    except yaml.YAMLError as error:
        raise DocumentError(*composer.faults, _syntax(error, text)) from None
    except DocumentError as error:
        raise DocumentError(*composer.faults, *error.faults) from None
    return top, tuple(composer.faults)


def line_of(top: Map, path: Path) -> int:
    """The line of the deepest part of the path that the file has."""
    line = 1
    value: Value = top
    for part in path:
        if isinstance(value, Map) and part in value.lines:
            line, value = value.lines[str(part)], value[str(part)]
        elif isinstance(value, List) and isinstance(part, int) and part < len(value):
            line, value = value.lines[part], value[part]
        else:
            break
    return line


class _Composer:
    """Builds values from parser events, no deeper than MAX_DEPTH, aliases counted at their full size."""

    def __init__(self, events: Iterator[_Event]) -> None:
        self._events = events
        self._anchors: dict[str, Value] = {}
        self._open: set[str] = set()
        self.faults: list[tuple[int, Path, str]] = []

    def document(self) -> Map:
        """The only document of the text."""
        next(self._events)  # the stream starts
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise DocumentError((0, (), "the file is empty; `inv init DIR` writes one to start from"))
        event = next(self._events)
        top = self._value(event, ())
        if top is None:
            raise DocumentError((0, (), "the file is empty; `inv init DIR` writes one to start from"))
        if not isinstance(top, Map):
            what = "a list" if isinstance(top, List) else "a text"
            raise DocumentError(
                (_line(event), (), f"the file is {what}; it has to be a mapping: node:, containers: ...")
            )
        next(self._events)  # the document ends
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise DocumentError(
                (_line(event), (), "a second document begins (---); hosts.yml is one document")
            )
        return top

    def _value(self, event: _Event, path: Path) -> Value:
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is not None or event.anchor is not None:
                return self._marked(event, path)
            return None if event.implicit[0] and event.value in _NULL else event.value
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        return self._marked(event, path)

    def _marked(self, event: _Event, path: Path) -> Value:
        """A mapping or list, or a scalar with a tag or an anchor."""
        if event.tag is not None and event.tag not in _TAGS and event.tag != "!":
            self._fault(event, path, f"the tag {_shown_tag(event.tag)} is not allowed; write the plain value")
        if len(path) >= MAX_DEPTH:
            raise DocumentError((_line(event), path[:3], _TOO_DEEP))
        if event.anchor:
            self._open.add(event.anchor)
        made: Value
        if isinstance(event, yaml.MappingStartEvent):
            made = self._map(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            made = self._list(event, path)
        else:
            made = None if event.implicit[0] and event.value in _NULL else event.value
        if event.anchor:
            self._open.discard(event.anchor)
            self._anchors[event.anchor] = made
        return made

    def _map(self, start: _Event, path: Path) -> Map:
        made = Map(_line(start))
        merged: list[Map] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, path)
            if isinstance(key, Map | List):
                text = "a key has to be a text; a value that begins with { or [ needs quotes"
                raise DocumentError((_line(event), path, text))
            line, key = _line(event), key or ""
            here = (*path, key)
            value = self._value(next(self._events), here)
            if key == "<<" and event.implicit[0]:
                merged.extend(self._merged(event, value, here))
            elif key in made.lines:
                text = f"the key is here already, in line {made.lines[key]}; keep one of the two"
                self._fault(event, here, text)
            else:
                made[key] = value
                made.lines[key] = line
                _count(made, value, line, path)
        for source in merged:
            for key in [each for each in source if each not in made]:
                made[key] = source[key]
                made.lines[key] = source.lines[key]
                _count(made, source[key], made.line, path)
        return made

    def _list(self, start: _Event, path: Path) -> List:
        made = List(_line(start))
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            value = self._value(event, (*path, len(made)))
            made.append(value)
            made.lines.append(_line(event))
            _count(made, value, made.lines[-1], path)
        return made

    def _merged(self, event: _Event, value: Value, path: Path) -> list[Map]:
        """The mappings that `<<` merges."""
        maps = value if isinstance(value, List) else [value]
        if all(isinstance(each, Map) for each in maps):
            return list(maps)
        self._fault(event, path, "<< merges a mapping, or a list of mappings: <<: *anchor")
        return []

    def _alias(self, event: _Event, path: Path) -> Value:
        if event.anchor in self._open:
            text = f"*{event.anchor} stands inside the very value that it names"
        elif event.anchor not in self._anchors:
            text = f"*{event.anchor}: no value before this line is named &{event.anchor}"
        else:
            return self._anchors[event.anchor]
        raise DocumentError((_line(event), path, text))

    def _fault(self, event: _Event, path: Path, text: str) -> None:
        self.faults.append((_line(event), path, text))


def _count(made: Map | List, value: Value, line: int, path: Path) -> None:
    """Add a value to what it stands in; DocumentError where that, with aliases, is too large or too deep."""
    if not isinstance(value, Map | List):
        made.size += 1
    else:
        made.size += value.size
        if made.depth <= value.depth:
            made.depth = value.depth + 1
            if made.depth > MAX_DEPTH:
                raise DocumentError((line, path[:3], _TOO_DEEP))
    if made.size > MAX_VALUES:
        text = f"the aliases (*name) make more than {MAX_VALUES:,} values of this file"
        raise DocumentError((line, path[:3], text))


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise DocumentError((0, (), f"the file is larger than {MAX_BYTES // 1024**2} MiB"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            (
                line,
                (),
                f"the file is not UTF-8: byte 0x{data[error.start]:02x}; save it with the encoding UTF-8",
            )
        ) from None
    if not text.strip():
        raise DocumentError((0, (), "the file is empty; `inv init DIR` writes one to start from"))
    if bad := re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text):
        line = text.count("\n", 0, bad.start()) + 1
        raise DocumentError((line, (), f"the character U+{ord(bad[0]):04X} cannot stand in a YAML file"))
    return text


def _syntax(error: yaml.YAMLError, text: str) -> tuple[int, Path, str]:
    """Line and meaning of what the parser complains about."""
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error).replace("\n", " ")
    number = mark.line if mark is not None else 0
    lines = text.splitlines() or [""]
    indented = next(
        (at for at in range(min(number, len(lines) - 1), -1, -1) if re.match(r" *\t", lines[at])), None
    )
    if indented is not None and ("'\\t'" in problem or "tab" in problem or number - indented <= 1):
        return indented + 1, (), "a tab indents this line; YAML indents with blanks only"
    if "mapping values are not allowed" in problem:
        return (
            number + 1,
            (),
            "a second `: ` in one line; quote the value, or check the indentation of the line above",
        )
    if "could not find expected ':'" in problem or "expected ':'" in problem:
        begun = getattr(error, "context_mark", None) or mark  # the key; the mark is where the parser gave up
        return (begun.line if begun else 0) + 1, (), "a `:` is missing after this key; write `key: value`"
    if "undefined alias" in problem:
        return number + 1, (), f"{problem}; the value has to be named with & before"
    return (
        number + 1,
        (),
        f"not YAML: {problem}; check indentation, quotes and brackets here and in the line above",
    )


def _line(event: _Event) -> int:
    return int(event.start_mark.line) + 1


def _shown_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
