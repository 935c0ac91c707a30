"""Proxmox property strings: `name=eth0,bridge=vmbr0,...` (pve-facts 1.2). No quoting, no escaping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

TRUE = frozenset({"1", "on", "yes", "true"})
FALSE = frozenset({"0", "off", "no", "false"})


def parse_props(text: str, default_key: str = "") -> dict[str, str]:
    """The properties of a string, in its order; a part without `=` is the value of `default_key`.

    ValueError for a second bare part, a bare part where there is no default key, or a key given twice.
    """
    props: dict[str, str] = {}
    for part in text.split(","):
        if not part:
            continue
        key, equals, value = part.partition("=")
        if not equals:
            key, value = default_key, part
            if not default_key:
                raise ValueError(f"{part!r} lacks a value; write it like {part}=...")
        if key in props:
            raise ValueError(f"{key!r} is given twice")
        props[key] = value
    return props


def print_props(props: Mapping[str, str], default_key: str = "", first: Iterable[str] = ()) -> str:
    """The property string as Proxmox prints it: default key bare, then `first`, then the rest sorted."""
    leading = [key for key in (default_key, *first) if key and key in props]
    rest = sorted(key for key in props if key not in leading)
    return ",".join(props[key] if key == default_key else f"{key}={props[key]}" for key in (*leading, *rest))


def parse_bool(text: str) -> bool:
    """The truth value of 1/on/yes/true or 0/off/no/false; ValueError for anything else."""
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise ValueError(f"{text!r} is neither 1 nor 0")
