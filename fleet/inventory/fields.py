"""The kinds of value that hosts.yml may hold: each reads text, and says what would be right.

Limits are Proxmox's own (pve-facts 1.3 to 1.5), and stricter where Proxmox accepts what cannot work (observed.md 21).
Every reader takes text and raises ValueError; pydantic collects what they say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, NetmaskValueError, ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from fleet.inventory.document import List, Map
from fleet.inventory.secret import SecretRef, parse_ref
from fleet.tools.props import parse_bool
from fleet.tools.sizes import parse_size

MIB, GIB = 1024**2, 1024**3


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
    return "a mapping" if isinstance(value, Map) else "a list" if isinstance(value, List) else f"the text {value!r}"


def _matching(pattern: str, says: str) -> Callable[[object], str]:
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if compiled.fullmatch(found := text(value)):
            return found
        raise ValueError(f"{found!r} {says}")

    return read


def _schema(kind: type, pattern: str, says: str, **more: Any) -> Any:
    return Annotated[
        kind,
        PlainValidator(_matching(pattern, says)),
        WithJsonSchema({"type": ["string", "integer"], "pattern": f"^(?:{pattern})$", **more}),
    ]


_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def dns_name(value: object) -> str:
    """A DNS name: labels of letters, digits and hyphens, up to 255 characters."""
    name = text(value)
    if len(name) <= 255 and re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", name):
        return name
    hint = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")
    example = f"; write {hint!r}" if hint and hint != name and re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", hint) else ""
    raise ValueError(f"{name!r} is no DNS name: letters, digits and hyphens, dots between{example}")


def guest_name(value: object) -> str:
    """The name of a guest: a DNS name that no selector of --limit could mean otherwise."""
    name = dns_name(value)
    if re.fullmatch(r"[0-9]+(?:-[0-9]+)?", name):
        raise ValueError(f"{name!r} would be taken for a VMID or a range of VMIDs; begin the name with a letter")
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
    if re.search(r"/\.{0,2}/|/\.{1,2}$", path):
        raise ValueError(f"{path!r} must go straight: without //, /./ and /../")
    return path.rstrip("/") or "/"


def mount_path(value: object) -> str:
    """Where something is mounted inside a guest: an absolute path that is not the root."""
    if (path := absolute(value)) == "/":
        raise ValueError("'/' is the guest's rootfs; mount below it")
    return path


Text = Annotated[str, PlainValidator(one_line), WithJsonSchema({"type": ["string", "number"]})]
DnsName = Annotated[str, PlainValidator(dns_name), WithJsonSchema({"type": ["string", "integer"]})]
GuestName = Annotated[str, PlainValidator(guest_name), WithJsonSchema({"type": "string"})]
Description = Annotated[str, PlainValidator(description), WithJsonSchema({"type": "string", "maxLength": 8192})]
AbsolutePath = Annotated[str, PlainValidator(absolute), WithJsonSchema({"type": "string", "pattern": "^/"})]
MountPath = Annotated[str, PlainValidator(mount_path), WithJsonSchema({"type": "string", "pattern": "^/."})]
FilePath = Annotated[str, PlainValidator(one_line), WithJsonSchema({"type": "string"})]

StorageId = _schema(str, r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]", "is no storage id: a letter first, then letters, digits, . _ -, two or more")
Interface = _schema(str, r"[A-Za-z0-9_.-]{1,15}", "is no interface name: up to 15 letters, digits, . _ -")
Volid = _schema(str, r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]:snippets/[^\s,/][^\s,]*", "is no snippet's volume id; write it like local:snippets/hook.sh")
Pool = _schema(str, r"[A-Za-z][A-Za-z0-9_.:-]*", "is no name of a ZFS pool")
DatasetName = _schema(
    str, r"[A-Za-z][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:-]*)+", "is no name of a ZFS dataset; write it like tank/data"
)
Mode = _schema(str, r"[0-7]{3,4}", "is no file mode; write three or four octal digits: 0775, 2775")
DeviceMode = _schema(str, r"0[0-7]{3}", "is no device mode; write four octal digits that begin with 0: 0660")
IdMap = _schema(str, r"passthrough|[ug]:[0-9]+:[0-9]+:[0-9]+(?:;[ug]:[0-9]+:[0-9]+:[0-9]+)*", "is no idmap; write passthrough or u:0:0:1000;g:0:0:1000")
Calendar = _schema(str, r"\S[A-Za-z0-9_ ,.:*/~-]*", "is no calendar event; write it like 02:00 or sun 03:30")
Prefix = _schema(str, r"[A-Za-z0-9][A-Za-z0-9._-]*", "is no beginning of a template's file name; write it like debian-13-standard")


# ── numbers and truth ─────────────────────────────────────────────────────────────────────────────


def _whole(value: object) -> int:
    found = text(value)
    if re.fullmatch(r"-?(?:0|[1-9][0-9]{0,18})", found):
        return int(found)
    if re.fullmatch(r"-?0[0-9]+", found):
        raise ValueError(f"{found!r} begins with 0, which some read as octal; write {int(found)}")
    raise ValueError(f"{found!r} is no whole number")


def whole(low: int, high: int | None = None, unit: str = "") -> Callable[[object], int]:
    """A reader of whole numbers from `low` to `high`."""
    span = f"from {low} to {high}" if high is not None else f"of {low} or more"

    def read(value: object) -> int:
        try:
            number = _whole(value)
        except ValueError as error:
            raise ValueError(f"{error}; write a number {span}{unit and f' ({unit})'}{_as_mib(value) if unit == 'MiB' else ''}") from None
        if number < low or (high is not None and number > high):
            raise ValueError(f"is {number}; write a number {span}{unit and f' ({unit})'}")
        return number

    return read


def _as_mib(value: object) -> str:
    try:
        return f": {parse_size(str(value)) // MIB}" if re.search(r"[A-Za-z]", str(value)) else ""
    except ValueError:
        return ""


def whole_type(low: int, high: int | None = None, unit: str = "") -> Any:
    """The type of whole numbers from `low` to `high`."""
    limits = {"minimum": low} | ({} if high is None else {"maximum": high})
    return Annotated[int, PlainValidator(whole(low, high, unit)), WithJsonSchema({"type": "integer", **limits})]


def decimal_type(low: int, high: int | None = None) -> Any:
    """The type of decimal numbers, kept as their shortest text."""

    def read(value: object) -> str:
        found = text(value)
        try:
            number = Decimal(found) if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", found) else None
        except InvalidOperation:
            number = None
        if number is None or number < low or (high is not None and number > high):
            raise ValueError(f"{found!r} is no number {f'from {low} to {high}' if high is not None else f'of {low} or more'}")
        shortest = format(number.normalize(), "f")
        return shortest

    limits = {"minimum": low} | ({} if high is None else {"maximum": high})
    return Annotated[str, PlainValidator(read), WithJsonSchema({"type": "number", **limits})]


def truth(value: object) -> bool:
    """1, on, yes and true, or 0, off, no and false, in any case."""
    found = text(value)
    try:
        return parse_bool(found)
    except ValueError:
        raise ValueError(f"{found!r} is neither 1 (true, yes, on) nor 0 (false, no, off)") from None


Bool = Annotated[bool, PlainValidator(truth), WithJsonSchema({"enum": [True, False, 1, 0, "yes", "no", "on", "off"]})]
Vmid = whole_type(100, 999_999_999)
Mib = whole_type(16, unit="MiB")
SwapMib = whole_type(0, unit="MiB")
Uid = whole_type(0, 4_294_967_294)
Port = whole_type(1, 65535)
Percent = Annotated[
    int,
    PlainValidator(lambda value: whole(1, 100)(re.sub(r"\s*%$", "", text(value)))),
    WithJsonSchema({"type": ["integer", "string"], "pattern": r"^[0-9]+ ?%?$"}),
]


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
    int, PlainValidator(size), WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?[KMGTPkmgtp](i?[Bb])?$"})
]

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(value: object) -> int:
    """Seconds of 30s, 15min, 744h, 31d or 2w."""
    found = text(value)
    match = re.fullmatch(r"([0-9]+) ?(s|m|min|h|d|w)", found)
    if not match or int(match[1]) == 0:
        raise ValueError(f"{found!r} is no length of time; write it like 30s, 15min, 744h or 31d")
    return int(match[1]) * _SECONDS[match[2]]


Duration = Annotated[int, PlainValidator(duration), WithJsonSchema({"type": "string", "pattern": r"^[0-9]+ ?(s|m|min|h|d|w)$"})]


# ── network ───────────────────────────────────────────────────────────────────────────────────────


def mac(value: object) -> str:
    """A unicast MAC address, upper case."""
    found = text(value)
    if not re.fullmatch(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}", found):
        raise ValueError(f"{found!r} is no MAC address; write it like BC:24:11:00:00:01")
    if int(found[1], 16) % 2:
        raise ValueError(f"{found!r} is a multicast MAC address; its second digit has to be even")
    return found.upper()


def ipv4(value: object) -> str:
    """An IPv4 address."""
    found = text(value)
    try:
        IPv4Address(found)
    except AddressValueError:
        slash = f"; write {found.split('/')[0]}" if "/" in found else ""
        raise ValueError(f"{found!r} is no IPv4 address{slash}") from None
    return found


def ipv6(value: object) -> str:
    """An IPv6 address."""
    found = text(value)
    try:
        IPv6Address(found)
    except AddressValueError:
        raise ValueError(f"{found!r} is no IPv6 address") from None
    return found


def address(value: object) -> str:
    """An IPv4 or IPv6 address."""
    found = text(value)
    try:
        ip_address(found)
    except ValueError:
        raise ValueError(f"{found!r} is no IP address") from None
    return found


@lru_cache(maxsize=None)
def ipv4_interface(text_: str) -> IPv4Interface:
    """The host address and its network; ValueError for a network's or a broadcast's address."""
    host, slash, bits = text_.partition("/")
    try:
        IPv4Address(host)
        if not slash:
            raise ValueError(f"{text_!r} lacks its prefix length; write {text_}/24")
        if not re.fullmatch(r"[0-9]{1,2}", bits) or not 8 <= int(bits) <= 32:
            raise ValueError(f"{text_!r}: the prefix length goes from /8 to /32")
        found = IPv4Interface(text_)
    except (AddressValueError, NetmaskValueError):
        raise ValueError(f"{text_!r} is no IPv4 address with prefix length; write it like 192.168.0.10/24") from None
    if found.network.prefixlen < 31 and found.ip in (found.network.network_address, found.network.broadcast_address):
        what = "network" if found.ip == found.network.network_address else "broadcast"
        raise ValueError(f"{text_!r} is the {what} address of {found.network}; a host needs one of its own")
    return found


def ipv4_config(value: object) -> str:
    """dhcp, manual, or an IPv4 address with its prefix length."""
    found = text(value)
    if found in ("dhcp", "manual"):
        return found
    ipv4_interface(found)
    return found


def ipv6_config(value: object) -> str:
    """auto, dhcp, manual, or an IPv6 address with its prefix length."""
    found = text(value)
    if found in ("auto", "dhcp", "manual"):
        return found
    host, slash, bits = found.partition("/")
    try:
        IPv6Address(host)
        good = bool(slash) and re.fullmatch(r"[0-9]{1,3}", bits) is not None and 8 <= int(bits) <= 128
    except AddressValueError:
        good = False
    if not good:
        raise ValueError(f"{found!r} is neither auto, dhcp, manual nor an IPv6 address with prefix length: fd00::5/64")
    return found


def host_cidr(value: object) -> str:
    """An IPv4 address of a host, with its prefix length."""
    found = text(value)
    ipv4_interface(found)
    return found


def subnet(value: object) -> str:
    """An IPv4 network; ValueError where host bits are set."""
    found = text(value)
    try:
        network = IPv4Network(found, strict=False)
    except (AddressValueError, NetmaskValueError):
        raise ValueError(f"{found!r} is no IPv4 network; write it like 192.168.0.0/24") from None
    if "/" not in found or str(network) != found:
        raise ValueError(f"{found!r} is no network; write {network}" if "/" in found else f"{found!r} lacks its prefix length")
    return found


def proto_port(value: object) -> str:
    """tcp/80, udp/51820, or a range: tcp/21115-21119."""
    found = text(value)
    match = re.fullmatch(r"(tcp|udp)/([0-9]{1,5})(?:-([0-9]{1,5}))?", found)
    ports = [int(port) for port in match.groups()[1:] if port] if match else []
    if not ports or not all(1 <= port <= 65535 for port in ports) or ports != sorted(ports):
        raise ValueError(f"{found!r} is no port; write it like tcp/443, udp/51820 or tcp/21115-21119")
    return found


Mac = Annotated[str, PlainValidator(mac), WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"})]
Ipv4 = Annotated[str, PlainValidator(ipv4), WithJsonSchema({"type": "string", "format": "ipv4"})]
Ipv6 = Annotated[str, PlainValidator(ipv6), WithJsonSchema({"type": "string", "format": "ipv6"})]
IpAddress = Annotated[str, PlainValidator(address), WithJsonSchema({"type": "string"})]
Ipv4Config = Annotated[str, PlainValidator(ipv4_config), WithJsonSchema({"type": "string", "pattern": r"^(dhcp|manual|[0-9.]+/[0-9]+)$"})]
Ipv6Config = Annotated[str, PlainValidator(ipv6_config), WithJsonSchema({"type": "string"})]
HostCidr = Annotated[str, PlainValidator(host_cidr), WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+/[0-9]+$"})]
Subnet = Annotated[str, PlainValidator(subnet), WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+/[0-9]+$"})]
ProtoPort = Annotated[str, PlainValidator(proto_port), WithJsonSchema({"type": "string", "pattern": r"^(tcp|udp)/[0-9]+(-[0-9]+)?$"})]


# ── devices, zones, owners, keys, secrets ─────────────────────────────────────────────────────────


def device(value: object) -> str:
    """The path of a device node of the host."""
    path = text(value)
    if not path.startswith("/dev/") or len(path) == len("/dev/"):
        raise ValueError(f"{path!r} is no device; write it like /dev/dri/renderD128")
    return absolute(path)


ZONES = Path("/usr/share/zoneinfo/zone.tab")


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of zone.tab, which Proxmox accepts; empty where this machine has no such file."""
    try:
        lines = ZONES.read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.split("\t")[2] for line in lines if line and not line.startswith("#"))


def zone(value: object) -> str:
    """`host`, or a time zone such as America/New_York."""
    found = text(value)
    if found in ("host", "UTC") or found in zones() or (not zones() and re.fullmatch(r"[A-Za-z_]+(?:/[\w+-]+){1,2}", found)):
        return found
    near = sorted(name for name in zones() if name.rsplit("/", 1)[-1].lower() == found.rsplit("/", 1)[-1].lower().replace(" ", "_"))
    raise ValueError(f"{found!r} is no time zone; write {near[0] if near else 'it like America/New_York'}")


def owner(value: object) -> tuple[int, int]:
    """Uid and gid of UID:GID, as the host counts them."""
    found = text(value)
    match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10})", found)
    if not match:
        raise ValueError(f"{found!r} is no owner; write UID:GID in numbers, as the host counts them: 100000:100000")
    return int(match[1]), int(match[2])


def public_key(value: object) -> str:
    """One line of an OpenSSH public key."""
    found = one_line(value).strip()
    if not re.match(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-\w+|sk-[\w-]+@openssh\.com) [A-Za-z0-9+/]{40,}={0,2}(?: |$)", found):
        raise ValueError("is no OpenSSH public key; write the line of a .pub file: ssh-ed25519 AAAA... name")
    return found


def wireguard_public(value: object) -> str | SecretRef:
    """A WireGuard public key, or where it is to be had."""
    found = text(value)
    if re.fullmatch(r"[A-Za-z0-9+/]{43}=", found):
        return found
    try:
        return parse_ref(found)
    except ValueError:
        raise ValueError("is no WireGuard key: 44 characters that end in =, or env:NAME, file:PATH, command:...") from None


Device = Annotated[str, PlainValidator(device), WithJsonSchema({"type": "string", "pattern": "^/dev/."})]
Zone = Annotated[str, PlainValidator(zone), WithJsonSchema({"type": "string"})]
Owner = Annotated[tuple[int, int], PlainValidator(owner), WithJsonSchema({"type": "string", "pattern": r"^[0-9]+:[0-9]+$"})]
PublicKey = Annotated[str, PlainValidator(public_key), WithJsonSchema({"type": "string", "pattern": "^(ssh|ecdsa|sk)-"})]
WireguardPublicKey = Annotated[str | SecretRef, PlainValidator(wireguard_public), WithJsonSchema({"type": "string"})]
Secret = Annotated[
    SecretRef,
    PlainValidator(lambda value: parse_ref(text(value))),
    WithJsonSchema({"type": "string", "pattern": "^(env|file|command):."}),
]


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
        raise ValueError(f"{found!r} is no tag: letters, digits, _ . + -, no blank{f'; write {hint}' if hint else ''}")
    return found.lower()


Tag = Annotated[str, PlainValidator(tag), WithJsonSchema({"type": ["string", "integer"], "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.+-]*$"})]
_TEXT_OR_LIST = {"type": ["string", "array"], "items": {"type": "string"}}
Tags = Annotated[tuple[Tag, ...], words(r"\s;,"), WithJsonSchema(_TEXT_OR_LIST)]
IpList = Annotated[tuple[IpAddress, ...], words(r"\s;,"), WithJsonSchema(_TEXT_OR_LIST), Field(min_length=1)]
DomainList = Annotated[tuple[DnsName, ...], words(r"\s;,"), WithJsonSchema(_TEXT_OR_LIST), Field(min_length=1)]
