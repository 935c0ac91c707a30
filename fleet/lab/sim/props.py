"""Property strings (`name=eth0,bridge=vmbr0`): splitting, checking against a schema, printing.

And checks of single values.

The messages are Proxmox's own (pve-facts 1.2): a wrong property gives `KEY.property: reason`, all of them
below `format error`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from .sizes import format_size, parse_size

FormatCheck = Callable[[str], None]
Check = FormatCheck | None

INTEGER = re.compile(r"[+-]?\d+")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
TRUE = ("1", "on", "yes", "true")
FALSE = ("0", "off", "no", "false")


class FormatError(Exception):
    """Why a value does not have its format: the text with its newlines, as Proxmox builds it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Prop:
    """One value's rules; the order of checks is that of the arguments.

    (A plain class: dataclasses cost 10 ms to import.)
    """

    __slots__ = ("enum", "format", "maximum", "maxlen", "minimum", "minlen", "optional", "pattern", "type")

    def __init__(
        self,
        type: str = "string",
        format: Check = None,
        pattern: str | None = None,
        maxlen: int | None = None,
        minlen: int | None = None,
        maximum: float | None = None,
        minimum: float | None = None,
        enum: tuple[str, ...] = (),
        optional: bool = True,
    ) -> None:
        self.type, self.format, self.pattern, self.optional = type, format, pattern, optional
        self.maxlen, self.minlen, self.maximum, self.minimum, self.enum = (
            maxlen,
            minlen,
            maximum,
            minimum,
            enum,
        )


class Schema:
    """The properties a property string may have; `default_key` may stand without its name."""

    __slots__ = ("default_key", "props")

    def __init__(self, props: Mapping[str, Prop], default_key: str | None = None) -> None:
        self.props, self.default_key = props, default_key


def boolean(text: str) -> str | None:
    """ "1" or "0", or None where the text is no boolean."""
    low = text.lower()
    return "1" if low in TRUE else "0" if low in FALSE else None


def fault(prop: Prop, value: str) -> str | None:
    """What is wrong with a value, or None."""
    if prop.type == "integer" and not INTEGER.fullmatch(value):
        return f"type check ('integer') failed - got '{value}'"
    if prop.type == "number" and not NUMBER.fullmatch(value):
        return f"type check ('number') failed - got '{value}'"
    if prop.type == "boolean" and value not in ("0", "1"):
        return f"type check ('boolean') failed - got '{value}'"
    if prop.format is not None:
        try:
            prop.format(value)
        except FormatError as error:
            return f"invalid format - {error.text}"
    if prop.pattern is not None and not re.fullmatch(prop.pattern, value):
        return "value does not match the regex pattern"
    return _length_fault(prop, value) or _range_fault(prop, value) or _enum_fault(prop, value)


def _length_fault(prop: Prop, value: str) -> str | None:
    if prop.maxlen is not None and len(value) > prop.maxlen:
        return f"value may only be {prop.maxlen} characters long"
    if prop.minlen is not None and len(value) < prop.minlen:
        return f"value must be at least {prop.minlen} characters long"
    return None


def _range_fault(prop: Prop, value: str) -> str | None:
    if not NUMBER.fullmatch(value):
        return None
    if prop.maximum is not None and float(value) > prop.maximum:
        return f"value must have a maximum value of {prop.maximum:.10g}"
    if prop.minimum is not None and float(value) < prop.minimum:
        return f"value must have a minimum value of {prop.minimum:.10g}"
    return None


def _enum_fault(prop: Prop, value: str) -> str | None:
    if prop.enum and value not in prop.enum:
        return f"value '{value}' does not have a value in the enumeration '{', '.join(prop.enum)}'"
    return None


def split(schema: Schema, text: str) -> dict[str, str]:
    """The parts of a property string by key, unchecked but for doubles and bare values.

    Booleans become 0 or 1.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        key, sign, value = part.partition("=")
        if not sign:
            if schema.default_key is None:
                raise FormatError("value without key, but schema does not define a default key\n")
            key, value = schema.default_key, part
        elif not key or not value:
            raise FormatError("missing key in comma-separated list property\n")
        if key in found:
            raise FormatError(f"duplicate key in comma-separated list property: {key}\n")
        prop = schema.props.get(key)
        found[key] = (boolean(value) or value) if prop is not None and prop.type == "boolean" else value
    return found


def parse(schema: Schema, text: str, path: str = "") -> dict[str, str]:
    """The checked properties of a property string.

    FormatError tells all that is wrong, each line beginning with `path.`
    """
    found = split(schema, text)
    dot = f"{path}." if path else ""
    errors: list[str] = []
    for key, prop in schema.props.items():
        if key not in found:
            if not prop.optional:
                errors.append(f"{dot}{key}: property is missing and it is not optional\n")
        elif (reason := fault(prop, found[key])) is not None:
            errors.append(f"{dot}{key}: {reason}\n")
    unknown = "property is not defined in schema and the schema does not allow additional properties"
    errors += [f"{dot}{key}: {unknown}\n" for key in found if key not in schema.props]
    if errors:
        raise FormatError("format error\n" + "".join(errors))
    return found


def checker(schema: Schema, path: str) -> FormatCheck:
    """The schema as a format of an option, for a Prop."""

    def check(value: str) -> None:
        parse(schema, value, path)

    return check


def render(schema: Schema, values: Mapping[str, str]) -> str:
    """The property string: default key first and bare, required keys sorted, then the others sorted.

    Sizes in their largest unit.
    """

    def order(key: str) -> tuple[bool, bool, str]:
        return (key != schema.default_key, schema.props[key].optional, key)

    parts = []
    for key in sorted(values, key=order):
        value = values[key]
        if key == "size" and (size := parse_size(value)) is not None:
            value = format_size(size)
        parts.append(value if key == schema.default_key else f"{key}={value}")
    return ",".join(parts)
