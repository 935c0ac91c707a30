"""The kinds of value that hosts.yml may hold: each reads text, and says what would be right.

Limits are Proxmox's own (pve-facts 1.3 to 1.5), stricter where it accepts what cannot work (observed.md 21).
Every reader takes text and raises ValueError; pydantic collects what they say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from fleet.inventory.document import List, Map
from fleet.tools.props import parse_bool
from fleet.tools.sizes import parse_size

MIB, GIB = 1024**2, 1024**3


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """How a field reads the text of the file, and what an editor is told of it."""

    read: Callable[[object], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return dict(self.schema)


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────


def text(value: object) -> str:
    """The value if it is a text; ValueError for a mapping, a list or nothing."""
    if isinstance(value, str):
        return value
    raise ValueError(f"must be one value, not {kind_of(value)}")


def kind_of(value: object) -> str:
    """What a value of the file is, in words."""
    if value is None:
        return "empty"
    return (
        "a mapping"
        if isinstance(value, Map)
        else "a list"
        if isinstance(value, List)
        else f"the text {value!r}"
    )


def matching(pattern: str, says: str) -> Reads:
    """Reads a text of this form; `says` is the complaint about any other."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if compiled.fullmatch(found := text(value)):
            return found
        raise ValueError(f"{found!r} {says}")

    return Reads(read, {"type": ["string", "integer"], "pattern": f"^(?:{pattern})$"})


_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def dns_name(value: object) -> str:
    """A DNS name: labels of letters, digits and hyphens, up to 255 characters."""
    name = text(value)
    if len(name) <= 255 and re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", name):
        return name
    hint = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")
    example = (
        f"; write {hint!r}"
        if hint and hint != name and re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", hint)
        else ""
    )
    raise ValueError(f"{name!r} is no DNS name: letters, digits and hyphens, dots between{example}")


def guest_name(value: object) -> str:
    """The name of a guest: a DNS name that no selector of --limit could mean otherwise."""
    name = dns_name(value)
    if re.fullmatch(r"[0-9]+(?:-[0-9]+)?", name):
        raise ValueError(
            f"{name!r} would be taken for a VMID or a range of VMIDs; begin the name with a letter"
        )
    return name


def one_line(value: object) -> str:
    """A text without control characters."""
    found = text(value)
    if re.search(r"[\x00-\x1f\x7f]", found):
        raise ValueError("must be one line without control characters")
    return found


def description(value: object) -> str:
    """Up to 8192 characters; a line of `pct config`, which is percent-encoded, is decoded."""
    found = text(value)
    if re.fullmatch(r"[\x20-\x39\x3b-\x7e]*%0A", found):
        raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), found.encode())
        found = raw.decode("utf-8", "replace")
    found = found.rstrip("\n")
    if len(found) > 8192:
        raise ValueError(f"has {len(found)} characters; Proxmox takes 8192")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", found):
        raise ValueError("holds a control character")
    return found


def absolute(value: object) -> str:
    """An absolute path without /./, /../ and //; a slash at its end is dropped."""
    path = text(value)
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is no absolute path; write '/{path.lstrip('./')}'")
    if "," in path or re.search(r"[\x00-\x1f\x7f]", path):
        raise ValueError(f"{path!r}: a path cannot hold a comma or a control character")
    if path != path.strip():
        raise ValueError(f"{path!r} ends in a blank, which Proxmox loses; drop it")
    if re.search(r"/\.{0,2}/|/\.{1,2}$", path):
        raise ValueError(f"{path!r} must go straight: without //, /./ and /../")
    return path.rstrip("/") or "/"


def mount_path(value: object) -> str:
    """Where something is mounted inside a guest: an absolute path that is not the root."""
    if (path := absolute(value)) == "/":
        raise ValueError("'/' is the guest's rootfs; mount below it")
    return path


Text = Annotated[str, Reads(one_line, {"type": ["string", "number"]})]
DnsName = Annotated[str, Reads(dns_name, {"type": ["string", "integer"]})]
GuestName = Annotated[str, Reads(guest_name, {"type": "string"})]
Description = Annotated[str, Reads(description, {"type": "string", "maxLength": 8192})]
AbsolutePath = Annotated[str, Reads(absolute, {"type": "string", "pattern": "^/"})]
MountPath = Annotated[str, Reads(mount_path, {"type": "string", "pattern": "^/."})]
FilePath = Annotated[str, Reads(one_line, {"type": "string"})]

StorageId = Annotated[
    str,
    matching(
        r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]",
        "is no storage id: a letter first, then letters, digits, . _ -, two or more",
    ),
]
Interface = Annotated[
    str, matching(r"[A-Za-z0-9_.-]{1,15}", "is no interface name: up to 15 letters, digits, . _ -")
]
Volid = Annotated[
    str,
    matching(
        r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]:snippets/[^\s,/][^\s,]*",
        "is no snippet's volume id; write it like local:snippets/hook.sh",
    ),
]
Mode = Annotated[
    str, matching(r"[0-7]{3,4}", "is no file mode; write three or four octal digits: 0775, 2775")
]
DeviceMode = Annotated[
    str, matching(r"0[0-7]{3}", "is no device mode; write four octal digits that begin with 0: 0660")
]
IdMap = Annotated[
    str,
    matching(
        r"passthrough|[ug]:[0-9]+:[0-9]+:[0-9]+(?:;[ug]:[0-9]+:[0-9]+:[0-9]+)*",
        "is no idmap; write passthrough or u:0:0:1000;g:0:0:1000",
    ),
]
Prefix = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]*",
        "is no beginning of a template's file name; write it like debian-13-standard",
    ),
]


# ── numbers and truth ─────────────────────────────────────────────────────────────────────────────


def _whole(value: object) -> int:
    found = text(value)
    if re.fullmatch(r"-?(?:0|[1-9][0-9]{0,18})", found):
        return int(found)
    if re.fullmatch(r"-?0[0-9]+", found):
        raise ValueError(f"{found!r} begins with 0, which some read as octal; write {int(found)}")
    raise ValueError(f"{found!r} is no whole number")


def whole(low: int, high: int | None = None, unit: str = "") -> Reads:
    """Reads whole numbers from `low` to `high`."""
    span = f"from {low} to {high}" if high is not None else f"of {low} or more"
    span = f"{span} ({unit})" if unit else span

    def read(value: object) -> int:
        try:
            number = _whole(value)
        except ValueError as error:
            raise ValueError(
                f"{error}; write a number {span}{_as_mib(value) if unit == 'MiB' else ''}"
            ) from None
        if number < low or (high is not None and number > high):
            raise ValueError(f"is {number}; write a number {span}")
        return number

    return Reads(read, {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high}))


def _as_mib(value: object) -> str:
    try:
        return f": {parse_size(str(value)) // MIB}" if re.search(r"[A-Za-z]", str(value)) else ""
    except ValueError:
        return ""


def decimal(low: int, high: int | None = None) -> Reads:
    """Reads decimal numbers, kept as their shortest text."""
    span = f"from {low} to {high}" if high is not None else f"of {low} or more"

    def read(value: object) -> str:
        found = text(value)
        number = Decimal(found) if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", found) else None
        if number is None or number < low or (high is not None and number > high):
            raise ValueError(f"{found!r} is no number {span}")
        return format(number.normalize(), "f")

    return Reads(read, {"type": "number", "minimum": low} | ({} if high is None else {"maximum": high}))


def truth(value: object) -> bool:
    """1, on, yes and true, or 0, off, no and false, in any case."""
    found = text(value)
    try:
        return parse_bool(found)
    except ValueError:
        raise ValueError(f"{found!r} is neither 1 (true, yes, on) nor 0 (false, no, off)") from None


_to_100 = whole(1, 100).read


def percent(value: object) -> int:
    """1 to 100, with or without a percent sign."""
    return int(_to_100(re.sub(r"\s*%$", "", text(value))))


Bool = Annotated[bool, Reads(truth, {"enum": [True, False, 1, 0, "yes", "no", "on", "off"]})]
Vmid = Annotated[int, whole(100, 999_999_999)]
Mib = Annotated[int, whole(16, unit="MiB")]
SwapMib = Annotated[int, whole(0, unit="MiB")]
Uid = Annotated[int, whole(0, 4_294_967_294)]
Port = Annotated[int, whole(1, 65535)]
Percent = Annotated[int, Reads(percent, {"type": ["integer", "string"], "pattern": r"^[0-9]+ ?%?$"})]


# ── sizes and times ───────────────────────────────────────────────────────────────────────────────


def size(value: object) -> int:
    """Bytes of 8G, 512M or 10T: a unit is a must, and whole MiB."""
    found = text(value)
    if re.fullmatch(r"[0-9]+", found):
        raise ValueError(f"{found!r} lacks a unit; write {found}G, {found}M or {found}T")
    count = parse_size(found)
    if count < MIB or count % MIB:
        raise ValueError(f"{found!r} is no size of whole MiB; write it like 8G, 512M or 10T")
    return count


Size = Annotated[
    int, Reads(size, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?[KMGTPkmgtp](i?[Bb])?$"})
]

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(value: object) -> int:
    """Seconds of 30s, 15min, 744h, 31d or 2w."""
    found = text(value)
    match = re.fullmatch(r"([0-9]+) ?(s|m|min|h|d|w)", found)
    if not match or int(match[1]) == 0:
        raise ValueError(f"{found!r} is no length of time; write it like 30s, 15min, 744h or 31d")
    return int(match[1]) * _SECONDS[match[2]]


Duration = Annotated[int, Reads(duration, {"type": "string", "pattern": r"^[0-9]+ ?(s|m|min|h|d|w)$"})]


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────


def words(separators: str) -> BeforeValidator:
    """Reads one text with separators as the list that it means; a list stays one."""
    pattern = re.compile(f"[{separators}]+")

    def split(value: object) -> object:
        return [part for part in pattern.split(value) if part] if isinstance(value, str) else value

    return BeforeValidator(split, json_schema_input_type=Any)


def tag(value: object) -> str:
    """A tag, in lower case as Proxmox stores it."""
    found = text(value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", found):
        hint = re.sub(r"[^A-Za-z0-9_.+-]+", "-", found).strip("-.+")
        raise ValueError(
            f"{found!r} is no tag: letters, digits, _ . + -, no blank{f'; write {hint}' if hint else ''}"
        )
    return found.lower()


Tag = Annotated[str, Reads(tag, {"type": ["string", "integer"], "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.+-]*$"})]


def address(value: object) -> str:
    """An IPv4 or IPv6 address."""
    found = text(value)
    try:
        ip_address(found)
    except ValueError:
        raise ValueError(f"{found!r} is no IP address") from None
    return found


IpAddress = Annotated[str, Reads(address, {"type": "string"})]
_TEXT_OR_LIST = {"type": ["string", "array"], "items": {"type": "string"}}
Tags = Annotated[tuple[Tag, ...], words(r"\s;,"), WithJsonSchema(_TEXT_OR_LIST)]
IpList = Annotated[tuple[IpAddress, ...], words(r"\s;,"), WithJsonSchema(_TEXT_OR_LIST), Field(min_length=1)]
DomainList = Annotated[
    tuple[DnsName, ...], words(r"\s;,"), WithJsonSchema(_TEXT_OR_LIST), Field(min_length=1)
]
Names = Annotated[tuple[Text, ...], words(r"\s;,"), WithJsonSchema(_TEXT_OR_LIST)]
