"""What belongs to a host: devices, time zones, owners, keys and secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fleet.inventory.document import Map
from fleet.inventory.secret import SecretRef, parse_ref
from fleet.inventory.shape.fields import Reads, absolute, one_line, text


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
    if (
        found in ("host", "UTC")
        or found in zones()
        or (not zones() and re.fullmatch(r"[A-Za-z_]+(?:/[\w+-]+){1,2}", found))
    ):
        return found
    near = sorted(
        name
        for name in zones()
        if name.rsplit("/", 1)[-1].lower() == found.rsplit("/", 1)[-1].lower().replace(" ", "_")
    )
    raise ValueError(f"{found!r} is no time zone; write {near[0] if near else 'it like America/New_York'}")


def owner(value: object) -> tuple[int, int]:
    """Uid and gid of UID:GID, as the host counts them."""
    found = text(value)
    match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10})", found)
    if not match:
        raise ValueError(
            f"{found!r} is no owner; write UID:GID in numbers, as the host counts them: 100000:100000"
        )
    return int(match[1]), int(match[2])


def public_key(value: object) -> str:
    """One line of an OpenSSH public key."""
    found = one_line(value).strip()
    if not re.match(
        r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-\w+|sk-[\w-]+@openssh\.com) [A-Za-z0-9+/]{40,}={0,2}(?: |$)",
        found,
    ):
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
        raise ValueError(
            "is no WireGuard key: 44 characters that end in =, or env:NAME, file:PATH, command:..."
        ) from None


def secret(value: object) -> SecretRef:
    """Where a secret is to be had."""
    return parse_ref(text(value))


def secrets(value: object) -> Mapping[str, SecretRef]:
    """Where several secrets are to be had, by name; one alone has the name that is empty."""
    if not isinstance(value, Map):
        return {"": secret(value)}
    if not value:
        raise ValueError("must not be empty; leave the key out")
    return {" ".join(name.split()): secret(each) for name, each in value.items()}


Device = Annotated[str, Reads(device, {"type": "string", "pattern": "^/dev/."})]
Zone = Annotated[str, Reads(zone, {"type": "string"})]
Owner = Annotated[tuple[int, int], Reads(owner, {"type": "string", "pattern": r"^[0-9]+:[0-9]+$"})]
PublicKey = Annotated[str, Reads(public_key, {"type": "string", "pattern": "^(ssh|ecdsa|sk)-"})]
WireguardPublicKey = Annotated[str | SecretRef, Reads(wireguard_public, {"type": "string"})]
_SECRET = {"type": "string", "pattern": "^(env|file|command):."}
Secret = Annotated[SecretRef, Reads(secret, _SECRET)]
Secrets = Annotated[
    Mapping[str, SecretRef],
    Reads(secrets, {"anyOf": [_SECRET, {"type": "object", "additionalProperties": _SECRET}]}),
]
