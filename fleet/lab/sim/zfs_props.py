"""The ZFS properties of OpenZFS 2.3.

Names, columns, defaults, allowed values, and how numbers are read and printed.

The table is the one of `zfs get` without arguments (module/zcommon/zfs_prop.c), in the order of `zfs get
all`. A value is kept as the string that `zfs get -p` prints, except that "no quota" and "no reservation" are
kept as "0".
"""

from __future__ import annotations

from typing import NamedTuple

from . import machine

_ONOFF = "on | off"
_SIZE_NONE = "<size> | none"
_COMPRESS = (
    "on | off | lzjb | gzip | gzip-[1-9] | zle | lz4 | zstd | zstd-[1-19] | zstd-fast | "
    "zstd-fast-[1-10,20,30,40,50,60,70,80,90,100,500,1000]"
)
_DEDUP = (
    "on | off | verify | sha256[,verify] | sha512[,verify] | skein[,verify] | edonr,verify | blake3[,verify]"
)
_CRYPT = "on | off | aes-128-ccm | aes-192-ccm | aes-256-ccm | aes-128-gcm | aes-192-gcm | aes-256-gcm"

# name, column, kind (n number, i one of a list, s string), default, values, how it is set, what it is for.
# How: r read-only, o only at creation, i inherited, d set but not inherited.
# For: f filesystem, v volume, s snapshot, b bookmark.
_TABLE: tuple[tuple[str, str, str, str, str, str, str], ...] = (
    ("type", "TYPE", "s", "", "filesystem | volume | snapshot | bookmark", "r", "fvsb"),
    ("creation", "CREATION", "n", "", "<date>", "r", "fvsb"),
    ("used", "USED", "n", "", "<size>", "r", "fvs"),
    ("available", "AVAIL", "n", "", "<size>", "r", "fv"),
    ("referenced", "REFER", "n", "", "<size>", "r", "fvsb"),
    ("compressratio", "RATIO", "n", "", "<1.00x or higher if compressed>", "r", "fvs"),
    ("mounted", "MOUNTED", "i", "", "yes | no", "r", "f"),
    ("origin", "ORIGIN", "s", "", "<snapshot>", "r", "fv"),
    ("quota", "QUOTA", "n", "0", _SIZE_NONE, "d", "f"),
    ("reservation", "RESERV", "n", "0", _SIZE_NONE, "d", "fv"),
    ("volsize", "VOLSIZE", "n", "0", "<size>", "d", "vs"),
    ("volblocksize", "VOLBLOCK", "n", "16384", "512 to 16M, power of 2", "o", "v"),
    ("recordsize", "RECSIZE", "n", "131072", "512 to 16M, power of 2", "i", "f"),
    ("mountpoint", "MOUNTPOINT", "s", "/", "<path> | legacy | none", "i", "f"),
    ("sharenfs", "SHARENFS", "s", "off", "on | off | NFS share options", "i", "f"),
    (
        "checksum",
        "CHECKSUM",
        "i",
        "on",
        "on | off | fletcher2 | fletcher4 | sha256 | sha512 | skein | edonr | blake3",
        "i",
        "fv",
    ),
    ("compression", "COMPRESS", "i", "on", _COMPRESS, "i", "fv"),
    ("atime", "ATIME", "i", "on", _ONOFF, "i", "f"),
    ("devices", "DEVICES", "i", "on", _ONOFF, "i", "fs"),
    ("exec", "EXEC", "i", "on", _ONOFF, "i", "fs"),
    ("setuid", "SETUID", "i", "on", _ONOFF, "i", "fs"),
    ("readonly", "RDONLY", "i", "off", _ONOFF, "i", "fv"),
    ("zoned", "ZONED", "i", "off", _ONOFF, "i", "f"),
    ("snapdir", "SNAPDIR", "i", "hidden", "disabled | hidden | visible", "i", "f"),
    ("aclmode", "ACLMODE", "i", "discard", "discard | groupmask | passthrough | restricted", "i", "f"),
    (
        "aclinherit",
        "ACLINHERIT",
        "i",
        "restricted",
        "discard | noallow | restricted | passthrough | passthrough-x",
        "i",
        "f",
    ),
    ("createtxg", "CREATETXG", "n", "", "<uint64>", "r", "fvsb"),
    ("canmount", "CANMOUNT", "i", "on", "on | off | noauto", "d", "f"),
    ("xattr", "XATTR", "i", "on", "on | off | dir | sa", "i", "fs"),
    ("copies", "COPIES", "i", "1", "1 | 2 | 3", "i", "fv"),
    ("version", "VERSION", "i", "5", "1 | 2 | 3 | 4 | 5 | current", "d", "fs"),
    ("utf8only", "UTF8ONLY", "i", "off", _ONOFF, "o", "fs"),
    ("normalization", "NORMALIZATION", "i", "none", "none | formC | formD | formKC | formKD", "o", "fs"),
    ("casesensitivity", "CASE", "i", "sensitive", "sensitive | insensitive | mixed", "o", "fs"),
    ("vscan", "VSCAN", "i", "off", _ONOFF, "i", "f"),
    ("nbmand", "NBMAND", "i", "off", _ONOFF, "i", "fs"),
    ("sharesmb", "SHARESMB", "s", "off", "on | off | SMB share options", "i", "f"),
    ("refquota", "REFQUOTA", "n", "0", _SIZE_NONE, "d", "f"),
    ("refreservation", "REFRESERV", "n", "0", _SIZE_NONE, "d", "fv"),
    ("guid", "GUID", "n", "", "<uint64>", "r", "fvsb"),
    ("primarycache", "PRIMARYCACHE", "i", "all", "all | none | metadata", "i", "fvs"),
    ("secondarycache", "SECONDARYCACHE", "i", "all", "all | none | metadata", "i", "fvs"),
    ("usedbysnapshots", "USEDSNAP", "n", "", "<size>", "r", "fv"),
    ("usedbydataset", "USEDDS", "n", "", "<size>", "r", "fv"),
    ("usedbychildren", "USEDCHILD", "n", "", "<size>", "r", "fv"),
    ("usedbyrefreservation", "USEDREFRESERV", "n", "", "<size>", "r", "fv"),
    ("defer_destroy", "DEFER_DESTROY", "i", "", "yes | no", "r", "s"),
    ("userrefs", "USERREFS", "n", "", "<count>", "r", "s"),
    ("logbias", "LOGBIAS", "i", "latency", "latency | throughput", "i", "fv"),
    ("objsetid", "OBJSETID", "n", "", "<uint64>", "r", "fvs"),
    ("dedup", "DEDUP", "i", "off", _DEDUP, "i", "fv"),
    ("mlslabel", "MLSLABEL", "s", "none", "<sensitivity label>", "i", "fvs"),
    ("sync", "SYNC", "i", "standard", "standard | always | disabled", "i", "fv"),
    ("dnodesize", "DNSIZE", "i", "legacy", "legacy | auto | 1k | 2k | 4k | 8k | 16k", "i", "f"),
    ("refcompressratio", "REFRATIO", "n", "", "<1.00x or higher if compressed>", "r", "fvs"),
    ("written", "WRITTEN", "n", "", "<size>", "r", "fvs"),
    ("clones", "CLONES", "s", "", "<dataset>[,...]", "r", "s"),
    ("logicalused", "LUSED", "n", "", "<size>", "r", "fv"),
    ("logicalreferenced", "LREFER", "n", "", "<size>", "r", "fvsb"),
    ("volmode", "VOLMODE", "i", "default", "default | full | geom | dev | none", "i", "fv"),
    ("filesystem_limit", "FSLIMIT", "n", "none", "<count> | none", "d", "f"),
    ("snapshot_limit", "SSLIMIT", "n", "none", "<count> | none", "d", "fv"),
    ("filesystem_count", "FSCOUNT", "n", "none", "<count>", "r", "f"),
    ("snapshot_count", "SSCOUNT", "n", "none", "<count>", "r", "fv"),
    ("snapdev", "SNAPDEV", "i", "hidden", "hidden | visible", "i", "fv"),
    ("acltype", "ACLTYPE", "i", "off", "off | nfsv4 | posix", "i", "fs"),
    ("context", "CONTEXT", "s", "none", "<selinux context>", "d", "fvs"),
    ("fscontext", "FSCONTEXT", "s", "none", "<selinux fscontext>", "d", "fvs"),
    ("defcontext", "DEFCONTEXT", "s", "none", "<selinux defcontext>", "d", "fvs"),
    ("rootcontext", "ROOTCONTEXT", "s", "none", "<selinux rootcontext>", "d", "fvs"),
    ("relatime", "RELATIME", "i", "on", _ONOFF, "i", "f"),
    ("redundant_metadata", "REDUND_MD", "i", "all", "all | most | some | none", "i", "fv"),
    ("overlay", "OVERLAY", "i", "on", _ONOFF, "i", "f"),
    ("receive_resume_token", "RESUMETOK", "s", "", "<string token>", "r", "fv"),
    ("encryption", "ENCRYPTION", "i", "off", _CRYPT, "o", "fvs"),
    ("keylocation", "KEYLOCATION", "s", "none", "prompt | <file URI> | <https URL> | <http URL>", "d", "fv"),
    ("keyformat", "KEYFORMAT", "i", "none", "none | raw | hex | passphrase", "o", "fv"),
    ("pbkdf2iters", "PBKDF2ITERS", "n", "0", "<iters>", "o", "fv"),
    ("special_small_blocks", "SPECIAL_SMALL_BLOCKS", "n", "0", "0 to 16M", "i", "fv"),
    ("prefetch", "PREFETCH", "i", "all", "none | metadata | all", "i", "fvs"),
    ("direct", "DIRECT", "i", "standard", "disabled | standard | always", "i", "f"),
    ("longname", "LONGNAME", "i", "off", _ONOFF, "i", "f"),
)

ALIASES = {
    "avail": "available",
    "refer": "referenced",
    "ratio": "compressratio",
    "refratio": "refcompressratio",
    "recsize": "recordsize",
    "compress": "compression",
    "rdonly": "readonly",
    "reserv": "reservation",
    "refreserv": "refreservation",
    "volblock": "volblocksize",
    "usedsnap": "usedbysnapshots",
    "usedds": "usedbydataset",
    "usedchild": "usedbychildren",
    "usedrefreserv": "usedbyrefreservation",
    "lused": "logicalused",
    "lrefer": "logicalreferenced",
    "redund_md": "redundant_metadata",
    "dnsize": "dnodesize",
    "enc": "encryption",
}
# Of two names of one value zfs prints the one that stands first in its table.
_SAME = {
    ("compression", "gzip-6"): "gzip",
    ("compression", "zstd-fast-1"): "zstd-fast",
    ("acltype", "posixacl"): "posix",
    ("acltype", "noacl"): "off",
    ("acltype", "disabled"): "off",
    ("aclinherit", "secure"): "restricted",
    ("volmode", "geom"): "full",
    ("version", "current"): "5",
}
_HIDDEN_VALUES = {
    "acltype": ("posixacl", "noacl", "disabled"),
    "aclinherit": ("secure",),
    "checksum": ("noparity",),
}
ZERO_IS_NONE = ("quota", "reservation", "refquota", "refreservation")
COUNTS = ("filesystem_limit", "snapshot_limit", "filesystem_count", "snapshot_count")
PLAIN_NUMBERS = ("guid", "createtxg", "objsetid", "pbkdf2iters", "userrefs")
BLOCK_SIZES = ("recordsize", "volblocksize")


class Prop(NamedTuple):
    """One native property: `how` is r, o, i or d and `types` a string of f, v, s, b as in the table."""

    name: str
    column: str
    kind: str
    default: str
    values: str
    how: str
    types: str

    @property
    def right(self) -> bool:
        """Whether `zfs list` aligns the column at the right: numbers are, creation is not."""
        return self.kind == "n" and self.name != "creation"

    @property
    def width(self) -> int:
        """The column width before any value is looked at (zprop_width)."""
        if self.kind == "n" and self.name != "creation":
            return max(len(self.column), 5)
        if self.kind == "i":
            return max(len(self.column), *(len(value) for value in choices(self.name)))
        return len(self.column)

    @property
    def flexible(self) -> bool:
        """Whether a longer value widens the column."""
        return self.kind == "s" or self.name in ("creation", "guid", "createtxg", "objsetid", "pbkdf2iters")


PROPS: dict[str, Prop] = {row[0]: Prop(*row) for row in _TABLE}


class BadValue(ValueError):
    """A value that a property does not take; the text is what zfs says after its first colon."""


def is_user(name: str) -> bool:
    """Whether a name is one of a user property: it holds a colon, and only a-z, 0-9 and :-_.+ ."""
    return (
        ":" in name
        and len(name) < 256
        and all((c.islower() and c.isascii()) or c.isdigit() or c in "-_.:+" for c in name)
    )


def canonical(name: str) -> str | None:
    """The full name of a property given by name or column, None for a name that is none."""
    lower = name.lower()
    full = ALIASES.get(lower, lower)
    return full if full in PROPS or full == "name" else None


def choices(name: str) -> tuple[str, ...]:
    """The values that a list property takes."""
    if name == "compression":
        fast = (*range(1, 11), *range(20, 101, 10), 500, 1000)
        return (
            "on",
            "off",
            "lzjb",
            "gzip",
            *(f"gzip-{n}" for n in range(1, 10)),
            "zle",
            "lz4",
            "zstd",
            "zstd-fast",
            *(f"zstd-{n}" for n in range(1, 20)),
            *(f"zstd-fast-{n}" for n in fast),
        )
    if name == "dedup":
        sums = ("sha256", "sha512", "skein", "blake3")
        return ("on", "off", "verify", "edonr,verify", *sums, *(f"{s},verify" for s in sums))
    return (*PROPS[name].values.split(" | "), *_HIDDEN_VALUES.get(name, ()))


def parse_size(text: str) -> int:
    """Bytes of a size as ZFS reads it (`1.5G`, `10GiB`, `4096`); BadValue otherwise (zfs_nicestrtonum)."""
    if not text or not (text[0].isdigit() or text[0] == "."):
        raise BadValue(f"bad numeric value '{text}'")
    end = 0
    while end < len(text) and (text[end].isdigit() or text[end] == "."):
        end += 1
    number, suffix = text[:end], text[end:]
    shift = _shift(suffix)
    if "." in number:
        whole, _, rest = number.partition(".")
        if "." in rest:
            raise BadValue(f"invalid numeric suffix '{rest[rest.index('.') :] + suffix}'")
        value = int(float(f"{whole or 0}.{rest or 0}") * (1 << shift))
    else:
        value = int(number) << shift
    if value >= 1 << 64:
        raise BadValue("numeric value is too large")
    return value


def _shift(suffix: str) -> int:
    """The power of two of a size suffix."""
    if not suffix:
        return 0
    unit = "BKMGTPEZ".find(suffix[0].upper())
    if unit < 0 or (len(suffix) > 1 and (unit == 0 or suffix[1:].upper() not in ("B", "IB"))):
        raise BadValue(f"invalid numeric suffix '{suffix}'")
    return 10 * unit


def nice(number: int, unit: str = "B") -> str:
    """A size as ZFS prints it, in at most five characters: `0B`, `96K`, `1.89G`, `1024M` (zfs_nicenum)."""
    index, rest = 0, number
    while rest >= 1024 and index < 6:
        rest //= 1024
        index += 1
    letter = (unit, "K", "M", "G", "T", "P", "E")[index]
    if index == 0 or number % (1 << 10 * index) == 0:
        return f"{rest}{letter}"
    value = number / (1 << 10 * index)
    for precision in (2, 1):
        text = f"{value:.{precision}f}{letter}"
        if len(text) <= 5:
            return text
    return f"{value:.0f}{letter}"


def parse(name: str, value: str, kind: str) -> str:
    """The stored form of a value for a dataset of `kind` (filesystem, volume); BadValue says why not."""
    prop = PROPS[name]
    if prop.kind == "s":
        if name == "mountpoint" and value not in ("none", "legacy") and not value.startswith("/"):
            raise BadValue(f"'{name}' must be an absolute path, 'none', or 'legacy'")
        return value
    if prop.kind == "i":
        if value not in choices(name):
            raise BadValue(f"'{name}' must be one of '{prop.values}'")
        return _SAME.get((name, value), value)
    return _parse_number(name, value, kind)


def _parse_number(name: str, value: str, kind: str) -> str:
    """The stored form of a number."""
    if value == "none":
        return "none" if name in COUNTS else "0"
    if value == "auto":
        if name != "refreservation":
            raise BadValue(f"'auto' is invalid value for '{name}'")
        if kind != "volume":
            raise BadValue(f"'{name}=auto' only allowed on volumes")
        return "auto"
    number = parse_size(value)
    if number == 0 and name in ("quota", "refquota"):
        raise BadValue("use 'none' to disable quota/refquota")
    if name in BLOCK_SIZES and (number < 512 or number > 1 << 24 or number & (number - 1)):
        raise BadValue(f"'{name}' must be power of 2 from 512B to 16M")
    if name == "special_small_blocks" and number > 1 << 24:
        raise BadValue(f"invalid '{name}' property: must be between zero and 16M")
    return str(number)


def show(name: str, value: str, literal: bool) -> str:
    """A stored value as `zfs get` prints it, or as `zfs get -p` does when `literal`."""
    prop = PROPS[name]
    if name == "xattr":
        return _xattr().get(value, value)
    if prop.kind != "n" or not value.isdigit():
        return value.removesuffix("x") if literal and name.endswith("ratio") else value
    if name == "creation":
        if literal:
            return value
        import time

        return time.strftime("%a %b %e %k:%M %Y", time.localtime(int(value)))
    if literal or name in PLAIN_NUMBERS:
        return value
    if name in ZERO_IS_NONE and value == "0":
        return "none"
    if name in COUNTS:
        return nice(int(value), "")
    return nice(int(value)) if name != "special_small_blocks" or value != "0" else "0"


def _xattr() -> dict[str, str]:
    """The values of xattr that are printed otherwise: `on` is dir in 2.2, sa since, and 2.4 prints it so."""
    version = machine.zfs_number()
    return {"dir": "on"} if version < (2, 3) else {"sa": "on"} if version < (2, 4) else {"on": "sa"}
