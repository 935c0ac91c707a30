"""ZFS datasets: what `zfs get` prints as values, and the commands. Sizes are compared in bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fleet.core.command import Command, command
from fleet.tools.sizes import parse_size, print_size

_SIZES = frozenset(
    {"quota", "refquota", "reservation", "refreservation", "recordsize", "special_small_blocks", "volsize"}
)
# Of two names of one value ZFS prints the one that stands first in its table (zfs_prop.c).
_ALIASES = {
    ("acltype", "posixacl"): "posix",
    ("acltype", "noacl"): "off",
    ("compression", "gzip-6"): "gzip",
    ("compression", "zstd-fast-1"): "zstd-fast",
}

#: Properties that `zfs set` cannot change after creation (zfsprops(7)).
ONLY_AT_CREATION = frozenset(
    {"casesensitivity", "normalization", "utf8only", "encryption", "keyformat", "volblocksize"}
)


def normal(name: str, value: str, version: str = "") -> str:
    """The value as `zfs get -p` prints it: sizes in bytes, none as 0, aliases resolved.

    `version` of ZFS, as `2.3.4-pve1`: on it depends how xattr is printed; without it, that is left as it is.
    """
    if name in _SIZES:
        if value in ("none", "off", ""):
            return "0"
        try:
            return str(parse_size(value))
        except ValueError:
            return value
    if name == "xattr":
        return _xattr(version).get(value, value)
    return _ALIASES.get((name, value), value)


def _xattr(version: str) -> dict[str, str]:
    """The values printed otherwise than written: `on` is dir before 2.3, sa since; 2.4 prints it as sa."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found:
        return {}
    number = (int(found[1]), int(found[2]))
    return {"dir": "on"} if number < (2, 3) else {"sa": "on"} if number < (2, 4) else {"on": "sa"}


def shown(name: str, value: str) -> str:
    """The value as an operator writes it: 10T, not its bytes."""
    if name in _SIZES and value.isdigit():
        return print_size(int(value)) if value != "0" else "none"
    return value


def create(dataset: str, properties: Iterable[tuple[str, str]]) -> Command:
    """`zfs create -p`: missing parents too; an existing dataset is left as it is."""
    options = (word for name, value in properties for word in ("-o", f"{name}={value}"))
    return command("zfs", "create", "-p", *options, dataset)


def set_(dataset: str, properties: Iterable[tuple[str, str]]) -> Command:
    """`zfs set` of several properties at once."""
    return command("zfs", "set", *(f"{name}={value}" for name, value in properties), dataset)
