"""Facts of the simulated machine that are no files of Proxmox.

/var/lib/fleet-lab/machine.json and faults.json.
"""

from __future__ import annotations

import json
from functools import cache

from . import paths

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself costs 4 ms of every call
    from typing import Any


def _load(name: str) -> dict[str, Any]:
    try:
        with open(paths.real(f"{paths.STATE}/{name}"), encoding="utf-8") as file:
            value: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return value


@cache
def facts() -> dict[str, Any]:
    """machine.json: node, pve_version, memory_mib, cpus, kernel, devices, quirks, realistic ..."""
    return _load("machine.json")


@cache
def faults() -> dict[str, Any]:
    """faults.json: what is to go wrong (disk_full: storage ids, quorum_lost: bool ...).

    Empty where there is no such file.
    """
    return _load("faults.json")


def node() -> str:
    """The name of the node."""
    return str(facts().get("node", "pve"))


def pve_major() -> int:
    """8 or 9."""
    return int(str(facts().get("pve_version", "9")).split(".")[0])


def quirk(name: str) -> bool:
    """Whether the machine is said to have this defect."""
    return name in facts().get("quirks", ())


def zfs_version() -> str:
    """The OpenZFS of the node, as `2.3.4-pve1`."""
    return str(facts().get("packages", {}).get("zfsutils-linux", "2.3.4-pve1"))


def zfs_number() -> tuple[int, ...]:
    """Its number, as (2, 3, 4)."""
    return tuple(int(part) for part in zfs_version().partition("-")[0].split("."))
