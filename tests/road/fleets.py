"""hosts.yml files for tests: plain data that says what a test is about, written as YAML, read by fleet."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fleet.inventory import Inventory, load

BASE: Mapping[str, Any] = {
    "node": {"name": "pve", "address": "lab", "memory": "32G"},
    "network": {
        "bridges": {"vmbr0": {"address": "192.168.0.10/24"}, "vmbr1": {"subnet": "10.10.10.0/24"}},
    },
    "storage": {
        "pools": ["tank"],
        "datasets": {
            "tank/guests": {},
            "tank/docker": {"quota": "128G"},
            "tank/data": {"mountpoint": "/data", "owner": "100000:100000", "mode": "2775"},
        },
        "storages": {
            "local": {"given": True},
            "guests": {"type": "zfspool", "pool": "tank/guests", "content": ["rootdir", "images"]},
            "docker": {"type": "zfspool", "pool": "tank/docker", "content": ["rootdir"]},
        },
        "templates": {
            "debian-13": {"storage": "local", "prefix": "debian-13-standard"},
            "alpine": {"storage": "local", "prefix": "alpine-3.22"},
        },
    },
    "defaults": {
        "template": "debian-13",
        "rootfs": "guests:1",
        "cores": 1,
        "memory": 256,
        "swap": 0,
        "features": "nesting=1",
    },
}


def guest(vmid: int, **settings: Any) -> dict[str, Any]:
    """A container on vmbr0 with an address of its own."""
    net0 = f"name=eth0,bridge=vmbr0,ip=192.168.0.{vmid - 80}/24,gw=192.168.0.1"
    return {"vmid": vmid, "net0": net0, **settings}


def fleet(containers: Mapping[str, Mapping[str, Any]], **sections: Any) -> dict[str, Any]:
    """hosts.yml as data: the base with these containers; a section given replaces the base's."""
    return copy.deepcopy({**BASE, **sections, "containers": dict(containers)})


def storage(datasets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The base's section `storage` with these datasets; one of a name that the base has replaces that."""
    return {**BASE["storage"], "datasets": {**BASE["storage"]["datasets"], **datasets}}


def write(folder: Path, data: Mapping[str, Any]) -> Path:
    """hosts.yml in a folder."""
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def read(folder: Path, data: Mapping[str, Any]) -> Inventory:
    """What fleet makes of this data."""
    return load(write(folder, data))
