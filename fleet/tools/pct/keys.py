"""The keys of a container's configuration: what they mean, what changing them does (pve-facts 1.3 to 1.5).

Values are compared by meaning, never as strings: `normal(key, text)` is the same for two texts exactly when
Proxmox treats them the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cache

from fleet.tools.props import parse_bool, parse_props, print_props
from fleet.tools.sizes import parse_size


class Kind(Enum):
    """How the text of a value is read."""

    TEXT = "text"
    BOOL = "bool"
    NUMBER = "number"
    PROPS = "props"
    TAGS = "tags"
    WORDS = "words"  # a list in which blanks and commas separate


class Hot(StrEnum):
    """What `pct set` does to a running container (the Hot column of pve-facts 1.3)."""

    CFG = "cfg"  # the file only, at once
    LIVE = "live"  # applied to the running container
    PEND = "pend"  # goes to [pve:pending], applied at the next stop or start


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key, or one family of numbered keys."""

    kind: Kind
    hot: Hot
    default: str | None = None  # what an absent key means
    deletable: bool = True
    default_key: str = ""  # of a property string
    defaults: tuple[tuple[str, str], ...] = ()  # properties that mean the same as absent
    flags: frozenset[str] = frozenset()  # properties that are booleans


_MP_FLAGS = frozenset({"acl", "backup", "quota", "replicate", "ro", "shared", "keepattrs"})
_MP_DEFAULTS = (
    ("backup", "0"),
    ("quota", "0"),
    ("replicate", "1"),
    ("ro", "0"),
    ("shared", "0"),
    ("keepattrs", "0"),
)

KEYS: dict[str, Key] = {
    "arch": Key(Kind.TEXT, Hot.PEND, "amd64"),
    "ostype": Key(Kind.TEXT, Hot.PEND, deletable=False),
    "hostname": Key(Kind.TEXT, Hot.CFG),
    "description": Key(Kind.TEXT, Hot.CFG),
    "onboot": Key(Kind.BOOL, Hot.CFG, "0"),
    "protection": Key(Kind.BOOL, Hot.CFG, "0"),
    "startup": Key(Kind.PROPS, Hot.CFG, default_key="order"),
    "tags": Key(Kind.TAGS, Hot.CFG, ""),
    "hookscript": Key(Kind.TEXT, Hot.CFG),
    "cores": Key(Kind.NUMBER, Hot.CFG),
    "cpulimit": Key(Kind.NUMBER, Hot.LIVE, "0"),
    "cpuunits": Key(Kind.NUMBER, Hot.LIVE, "100"),
    "memory": Key(Kind.NUMBER, Hot.LIVE, "512", deletable=False),
    "swap": Key(Kind.NUMBER, Hot.LIVE, "512", deletable=False),
    "net": Key(
        Kind.PROPS,
        Hot.LIVE,
        defaults=(("type", "veth"), ("firewall", "0"), ("link_down", "0"), ("host-managed", "0")),
        flags=frozenset({"firewall", "link_down", "host-managed"}),
    ),
    "mp": Key(Kind.PROPS, Hot.PEND, default_key="volume", defaults=_MP_DEFAULTS, flags=_MP_FLAGS),
    "rootfs": Key(
        Kind.PROPS, Hot.PEND, deletable=False, default_key="volume", defaults=_MP_DEFAULTS, flags=_MP_FLAGS
    ),
    "dev": Key(
        Kind.PROPS,
        Hot.PEND,
        default_key="path",
        defaults=(("mode", "660"), ("uid", "0"), ("gid", "0"), ("deny-write", "0")),
        flags=frozenset({"deny-write"}),
    ),
    "unused": Key(Kind.PROPS, Hot.LIVE, default_key="volume"),
    "features": Key(
        Kind.PROPS,
        Hot.PEND,
        "",
        defaults=tuple((flag, "0") for flag in ("nesting", "keyctl", "fuse", "mknod", "force_rw_sys")),
        flags=frozenset({"nesting", "keyctl", "fuse", "mknod", "force_rw_sys"}),
    ),
    "nameserver": Key(Kind.WORDS, Hot.PEND, ""),
    "searchdomain": Key(Kind.WORDS, Hot.PEND, ""),
    "timezone": Key(Kind.TEXT, Hot.PEND),
    "console": Key(Kind.BOOL, Hot.PEND, "1"),
    "tty": Key(Kind.NUMBER, Hot.PEND, "2"),
    "cmode": Key(Kind.TEXT, Hot.PEND, "tty"),
    "unprivileged": Key(Kind.BOOL, Hot.CFG, "0", deletable=False),
    "entrypoint": Key(Kind.TEXT, Hot.PEND, "/sbin/init"),
    "env": Key(Kind.TEXT, Hot.PEND),
    "debug": Key(Kind.BOOL, Hot.PEND, "0"),
}

#: A greater weight is cut down to this by `pct set`, not by `pct create` (clamp_cpu_shares, PVE/CGroup.pm).
_MOST_WEIGHT = 10_000

_NUMBERED = re.compile(r"(net|mp|dev|unused)(\d+)")


@cache  # asked some hundred times a container
def family(key: str) -> str:
    """The entry of KEYS that a key belongs to: `net` for net0; the key itself where it stands alone."""
    match = _NUMBERED.fullmatch(key)
    return match[1] if match else key


def index(key: str) -> int:
    """The number of a numbered key: 3 of mp3."""
    match = _NUMBERED.fullmatch(key)
    if not match:
        raise ValueError(f"{key} has no number")
    return int(match[2])


def normal(key: str, text: str | None) -> tuple[tuple[str, str], ...] | str | None:
    """The meaning of a value: equal for two texts exactly when Proxmox takes them as the same."""
    spec = KEYS.get(family(key))
    if spec is None:
        return text
    if text is None:
        text = spec.default
        if text is None:
            return None
    try:
        match spec.kind:
            case Kind.BOOL:
                return "1" if parse_bool(text) else "0"
            case Kind.NUMBER:
                number = float(text)
                return f"{min(number, _MOST_WEIGHT) if key == 'cpuunits' else number:g}"
            case Kind.PROPS:
                return _normal_props(spec, text)
            case Kind.TAGS:
                return " ".join(split_tags(text))
            case Kind.WORDS:
                return " ".join(re.split(r"[\s,;]+", text.strip()))
            case Kind.TEXT:
                return text.rstrip("\n") if key == "description" else text
    except ValueError:
        return text  # hand-edited nonsense differs from every value that hosts.yml can hold


def split_tags(text: str) -> tuple[str, ...]:
    """The tags of `a;b`, `a,b` or `a b`: lower case, sorted, each once, as Proxmox stores them."""
    return tuple(sorted({tag.lower() for tag in re.split(r"[\s,;]+", text) if tag}))


def join_tags(there: str, more: str) -> tuple[str, ...]:
    """The tags of both, sorted; those that are there keep their case, which datacenter.cfg may make count."""
    tags = [tag for tag in re.split(r"[\s,;]+", f"{there};{more}") if tag]
    first = {tag.lower(): tag for tag in reversed(tags)}
    return tuple(first[name] for name in sorted(first))


def props_of(key: str, text: str) -> dict[str, str]:
    """The properties of a property string, its bare first part under its name."""
    return parse_props(text, KEYS[family(key)].default_key)


_PRINTED_FIRST = {"net": ("name",), "mp": ("mp",)}


def print_value(key: str, props: dict[str, str]) -> str:
    """The property string as Proxmox itself prints it for this key."""
    name = family(key)
    return print_props(props, KEYS[name].default_key, _PRINTED_FIRST.get(name, ()))


def _normal_props(spec: Key, text: str) -> tuple[tuple[str, str], ...]:
    defaults = dict(spec.defaults)
    given = parse_props(text, spec.default_key)
    meaning = {name: _normal_prop(spec, name, value) for name, value in given.items()}
    return tuple(sorted((name, value) for name, value in meaning.items() if defaults.get(name) != value))


def _normal_prop(spec: Key, name: str, value: str) -> str:
    if name in spec.flags:
        return "1" if parse_bool(value) else "0"
    if name == "size":
        return str(parse_size(value))
    if name == "hwaddr":
        return value.upper()
    if name == "mode":
        return value.lstrip("0") or "0"
    if name in ("mount", "mountoptions", "trunks"):
        return ";".join(sorted(value.split(";")))
    return value
