"""The formats of single values (addresses, names, tags ...) with Proxmox's messages.

Each takes a value and raises FormatError or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import errors, paths
from .props import FormatCheck, FormatError

_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?)"
_DNS_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_MAC = re.compile(r"[a-f0-9][02468ace](?::[a-f0-9]{2}){5}", re.IGNORECASE)
_TAG = re.compile(r"[a-z0-9_][a-z0-9_\-+.]*", re.IGNORECASE)


def split_list(text: str) -> list[str]:
    """The items of a list separated by commas, semicolons, blanks or NULs."""
    if "\0" in text:
        return text.split("\0")
    return re.sub(r"[,;]", " ", text).split()


def listed(check: FormatCheck) -> FormatCheck:
    """The format of a list whose items have this format."""

    def check_list(value: str) -> None:
        for item in split_list(value):
            check(item)

    return check_list


def _matches(pattern: str | re.Pattern[str], message: str) -> FormatCheck:
    regex = re.compile(pattern)

    def check(value: str) -> None:
        if not regex.fullmatch(value):
            raise FormatError(message.format(value) + "\n")

    return check


def is_ipv4(value: str) -> bool:
    """Whether this is a dotted IPv4 address."""
    return _IPV4.fullmatch(value) is not None


def is_ipv6(value: str) -> bool:
    """Whether this is an IPv6 address."""
    from ipaddress import AddressValueError, IPv6Address

    try:
        IPv6Address(value)
    except AddressValueError:
        return False
    return "%" not in value


def _where(test: Callable[[str], bool], message: str) -> FormatCheck:
    def check(value: str) -> None:
        if not test(value):
            raise FormatError(message.format(value) + "\n")

    return check


def _is_cidr(value: str, is_address: Callable[[str], bool], bits: int) -> bool:
    address, slash, length = value.partition("/")
    return bool(slash) and length.isdecimal() and int(length) <= bits and is_address(address)


def _ipv4_config(value: str) -> bool:
    return value in ("dhcp", "manual") or _is_cidr(value, is_ipv4, 32)


def _ipv6_config(value: str) -> bool:
    return value in ("auto", "dhcp", "manual") or _is_cidr(value, is_ipv6, 128)


vmid = _matches(r"[1-9][0-9]{2,8}", "value does not look like a valid VM ID")
dns_name = _matches(_DNS_NAME, "value does not look like a valid DNS name")
ipv4 = _where(is_ipv4, "value does not look like a valid IPv4 address")
ipv6 = _where(is_ipv6, "value does not look like a valid IPv6 address")
ipv4_config = _where(_ipv4_config, "value does not look like a valid ipv4 network configuration")
ipv6_config = _where(_ipv6_config, "value does not look like a valid ipv6 network configuration")
mac_addr = _matches(_MAC, "value does not look like a valid unicast MAC address")
config_id = _matches(r"(?i)[a-z][a-z0-9_-]+", "invalid configuration ID '{}'")
storage_id = _matches(r"(?i)[a-z][a-z0-9\-_.]*[a-z0-9]", "storage ID '{}' contains illegal characters")
node_name = _matches(r"(?i)[a-z0-9](?:[a-z0-9\-]*[a-z0-9])?", "value does not look like a valid node name")
pool_id = _matches(
    r"(?i)[a-z0-9.\-_]+(?:/[a-z0-9.\-_]+){0,2}", "value '{}' does not look like a valid pool name"
)
disk_size = _matches(r"\d+(?:\.\d+)?[KMGT]?", "value does not look like a valid disk size: {}")
device_path = _matches(r"/dev/.*", "{} is not a valid device path")
volume_id = _matches(r"(?i)[a-z][a-z0-9\-_.]*[a-z0-9]:.+", "unable to parse volume ID '{}'")
tag = _matches(_TAG, "invalid characters in tag")


def ip_with_link_local(value: str) -> None:
    """An address, or an IPv6 link-local one with the interface behind `%`, as name servers may be given."""
    address, _, interface = value.partition("%")
    if not (is_ipv4(value) or (is_ipv6(address) and (not interface or address.lower().startswith("fe80")))):
        raise FormatError("value does not look like a valid IP address\n")


def mount_path(value: str) -> None:
    """A volume or a path without `.` and `..` parts."""
    if re.search(r"/\.\.?/|/\.\.?$|^\.\./", value):
        raise FormatError(f"{value} contains illegal character sequences\n")


def startup(value: str) -> None:
    """`[order=]N,up=S,down=S`."""
    seen: set[str] = set()
    for part in value.split(","):
        match = re.fullmatch(r"(?:(order|up|down)=)?(\d+)", part)
        key = (match[1] or "order") if match else ""
        if not match or key in seen:
            raise FormatError("unable to parse startup options\n")
        seen.add(key)


def timezone(value: str) -> None:
    """`host`, UTC or a name of zone.tab."""
    if value in ("host", "UTC"):
        return
    zones = paths.real("/usr/share/zoneinfo/zone.tab")
    try:
        with open(zones, encoding="utf-8") as file:
            errors.left(errors.ENOTTY)
            if any(
                not line.startswith("#") and line.rstrip("\n").split("\t")[2:3] == [value] for line in file
            ):
                return
    except FileNotFoundError:  # a machine without tzdata: any well-formed name
        errors.left(errors.ENOTTY)
        if re.fullmatch(r"[A-Z][A-Za-z_\-+]+(?:/[A-Z][A-Za-z0-9_\-+]+)+", value):
            return
    raise FormatError(f"invalid time zone '{value}'\n")
