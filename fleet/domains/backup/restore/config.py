"""The configuration of a restored container: that of the original, made harmless to what runs. Pure.

A copy has new MAC addresses, no link, no start at boot, no hook script, and nothing that is shared with the
original: bind mounts, raw mounts, and (for a drill) devices are left out, and said.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleet.tools.pct.config import encode_description
from fleet.tools.pct.keys import family, print_value, props_of

TAG = "fleet-restored"

#: Keys that belong to the original only, or that would make the copy act by itself.
_DROPPED = frozenset(
    {"lock", "parent", "snaptime", "snapstate", "template", "description", "hookscript", "protection"}
)
#: Raw lines that reach for something outside of the container.
_REACHES_OUT = re.compile(r"lxc\.(?:mount|hook|net|rootfs)\b", re.IGNORECASE)
_RAW = re.compile(r"(lxc\.[a-z0-9_.-]+)\s*[:=]\s*(.*?)\s*", re.IGNORECASE)
_LINE = re.compile(r"([a-z][a-z_]*\d*):\s*(.*?)\s*")
_SECTION = re.compile(r"\[([^\]]+)\]\s*")


class Link(StrEnum):
    """What becomes of the copy's network interfaces."""

    DOWN = "down"  # there, unplugged
    UP = "up"
    NONE = "none"  # not there at all


@dataclass(frozen=True, slots=True)
class Wish:
    """What the copy is to be."""

    vmid: int
    hostname: str
    mark: str  # says whose copy it is and of what: one line, without blanks at its ends
    says: str  # a line for people
    link: Link = Link.DOWN
    bridge: str | None = None  # instead of the original's, which are then without VLAN and gateway
    binds: bool = False  # keep bind mounts, read-only
    devices: bool = True


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy's configuration. `text`: without volumes; `volumes`: their properties by key."""

    text: str
    volumes: Mapping[str, Mapping[str, str]]
    said: tuple[str, ...] = ()  # what is left out or otherwise than in the original
    addresses: frozenset[str] = field(default_factory=frozenset)  # static IP addresses of the original


def marked_line(mark: str) -> str:
    """The line of a config file that holds this mark."""
    return encode_description(mark)


def section_of(text: str, name: str) -> str | None:
    """The lines of a snapshot's section of a config file; None where it has none."""
    lines: list[str] | None = None
    for line in text.split("\n"):
        if match := _SECTION.fullmatch(line):
            if lines is not None:
                break
            lines = [] if match[1] == name else None
        elif lines is not None:
            lines.append(line)
    return None if lines is None else "\n".join(lines)


def copied(text: str, wish: Wish) -> Copied:
    """The copy's configuration, of the main section of the original's."""
    keys: dict[str, str] = {}
    raw: list[str] = []
    said: list[str] = []
    volumes: dict[str, Mapping[str, str]] = {}
    addresses: set[str] = set()
    for line in _main(text):
        if match := _LINE.fullmatch(line):
            key, value = match[1], match[2]
            kind = family(key)
            if key in _DROPPED or kind == "unused":
                continue
            if kind == "mp" or key == "rootfs":
                _mount(key, value, wish, keys, volumes, said)
            elif kind == "net":
                addresses |= _addresses(value)
                if wish.link is not Link.NONE:
                    keys[key] = _net(key, value, wish)
            elif kind == "dev" and not wish.devices:
                said.append(f"left out: {key} ({value})")
            else:
                keys[key] = value
        elif match := _RAW.fullmatch(line):
            devices = "devices" in match[1]
            if _REACHES_OUT.match(match[1]) or (devices and not wish.devices):
                said.append(f"left out: {match[1]}: {match[2]}")
            else:
                raw.append(f"{match[1]}: {match[2]}")
    keys |= {"hostname": wish.hostname, "onboot": "0", "tags": _tags(keys.get("tags", ""))}
    description = encode_description(f"{wish.says}\n{wish.mark}")
    lines = [description, *(f"{key}: {value}" for key, value in sorted(keys.items())), *raw]
    return Copied("\n".join(lines), volumes, tuple(said), frozenset(addresses))


def volume_line(key: str, props: Mapping[str, str], volid: str) -> str:
    """`rootfs: guests:subvol-900-disk-0,size=8G`: the mount point of the original with another volume."""
    return f"{key}: {print_value(key, {**props, 'volume': volid})}"


def mac(seed: str) -> str:
    """A MAC address of Proxmox's own prefix, the same for the same seed."""
    digits = hashlib.sha256(seed.encode()).hexdigest()[:6].upper()
    return ":".join(("BC", "24", "11", digits[:2], digits[2:4], digits[4:]))


def _main(text: str) -> list[str]:
    """The lines of the main section, without its description."""
    lines = []
    for line in text.split("\n"):
        if _SECTION.fullmatch(line):
            break
        if line.strip() and not line.startswith("#"):
            lines.append(line)
    return lines


def _mount(
    key: str,
    value: str,
    wish: Wish,
    keys: dict[str, str],
    volumes: dict[str, Mapping[str, str]],
    said: list[str],
) -> None:
    props = props_of(key, value)
    source = props.get("volume", "")
    if not source.startswith("/"):
        volumes[key] = props
    elif wish.binds and not source.startswith("/dev/"):
        keys[key] = print_value(key, {**props, "ro": "1"})
        said.append(f"{key} ({source}) is read-only, since the original shares it")
    else:
        said.append(f"left out: {key}: {source} at {props.get('mp', '/')}")


def _net(key: str, value: str, wish: Wish) -> str:
    props = props_of(key, value)
    props["hwaddr"] = mac(f"{wish.mark} {wish.vmid} {key}")
    props.pop("link_down", None)
    if wish.link is Link.DOWN:
        props["link_down"] = "1"
    if wish.bridge is not None:
        for name in ("tag", "trunks", "gw", "gw6"):
            props.pop(name, None)
        props["bridge"] = wish.bridge
    return print_value(key, props)


def _addresses(value: str) -> set[str]:
    props = props_of("net0", value)
    found = {props.get("ip", ""), props.get("ip6", "")}
    return {each.partition("/")[0] for each in found if "/" in each}


def _tags(text: str) -> str:
    tags = {tag.lower() for tag in re.split(r"[\s,;]+", text) if tag} - {"fleet"}
    return ";".join(sorted(tags | {TAG}))
