"""The API's answers about the cluster: resources, the next free id, status, storages."""

from __future__ import annotations

from typing import Any

from . import machine, storage_cfg, vmlist
from .api import Parts, Route, subdirs
from .errors import ParamError


def _version(parts: Parts, params: Parts) -> dict[str, str]:
    del parts, params
    version = str(machine.facts().get("pve_version", "9.1.1"))
    return {
        "release": ".".join(version.split(".")[:2]),
        "repoid": str(machine.facts().get("repoid", "0" * 16)),
        "version": version,
    }


def node_summary() -> dict[str, Any]:
    """What lists tell of this node."""
    from . import api_nodes

    disk = api_nodes.root_filesystem()
    memory = api_nodes.memory()
    return {
        "cpu": 0,
        "disk": disk["used"],
        "id": f"node/{machine.node()}",
        "level": "",
        "maxcpu": api_nodes.cpus(),
        "maxdisk": disk["total"],
        "maxmem": memory["total"],
        "mem": memory["used"],
        "node": machine.node(),
        "status": "online",
        "type": "node",
        "uptime": api_nodes.uptime(),
    }


def _resources(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    """/cluster/resources: guests, the node, storages, SDN zones; `--type` takes one of them."""
    del parts
    found: list[dict[str, Any]] = []
    wanted = params.get("type")
    if wanted is not None and wanted not in ("vm", "storage", "node", "sdn"):
        raise ParamError(
            {"type": f"value '{wanted}' does not have a value in the enumeration 'vm, storage, node, sdn'"}
        )
    if wanted in (None, "vm"):
        found += _guests()
    if wanted in (None, "node"):
        found.append({**node_summary(), "cgroup-mode": 2})
    if wanted in (None, "storage"):
        found += _storages()
    if wanted in (None, "sdn"):
        found.append(
            {
                "id": f"network/{machine.node()}/zone/localnetwork",
                "network": "localnetwork",
                "network-type": "zone",
                "node": machine.node(),
                "status": "ok",
                "type": "network",
            }
        )
    return found


def _guests() -> list[dict[str, Any]]:
    from . import api_guests

    found = []
    for kind, entries in (("lxc", api_guests.listed({}, {})), ("qemu", api_guests.vms({}, {}))):
        for figures in entries:
            entry = {
                key: figures[key]
                for key in (
                    "cpu",
                    "disk",
                    "diskread",
                    "diskwrite",
                    "maxdisk",
                    "maxmem",
                    "mem",
                    "name",
                    "netin",
                    "netout",
                    "status",
                    "uptime",
                    "vmid",
                )
            }
            entry |= {
                "id": f"{kind}/{figures['vmid']}",
                "maxcpu": figures["cpus"],
                "memhost": 0,
                "node": machine.node(),
                "template": int(figures.get("template", 0)),
                "type": kind,
            }
            if machine.pve_major() < 9:
                del entry["memhost"]
            found.append(entry | {key: figures[key] for key in ("tags", "lock") if key in figures})
    return found


def _storages() -> list[dict[str, Any]]:
    from . import pvesm

    found = []
    for section in storage_cfg.read().values():
        facts = pvesm.info(section)
        entry = {
            "content": ",".join(section.content),
            "disk": facts["used"],
            "id": f"storage/{machine.node()}/{section.id}",
            "maxdisk": facts["total"],
            "node": machine.node(),
            "plugintype": section.type,
            "shared": int(section.shared),
            "status": "available" if facts["active"] else "unknown",
            "storage": section.id,
            "type": "storage",
        }
        found.append(entry)
    return found


def next_id(wanted: str | None) -> str:
    """/cluster/nextid: the lowest free VMID, or the wanted one if it is free. It reserves nothing."""
    taken = vmlist.guests()
    if wanted is not None:
        if not wanted.isdigit():
            raise ParamError({"vmid": f"type check ('integer') failed - got '{wanted}'"})
        if int(wanted) in taken:
            raise ParamError({"vmid": f"VM {wanted} already exists"})
        return wanted
    return str(next(number for number in range(100, 1_000_000) if number not in taken))


def _next_id(parts: Parts, params: Parts) -> str:
    del parts
    return next_id(params.get("vmid"))


def _status(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    del parts, params
    return [
        {
            "id": f"node/{machine.node()}",
            "ip": str(machine.facts().get("address", "127.0.0.1")),
            "level": "",
            "local": 1,
            "name": machine.node(),
            "nodeid": 0,
            "online": 1,
            "type": "node",
        }
    ]


def _storage_list(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    """/storage: the sections of storage.cfg."""
    del parts
    kind = params.get("type")
    return [storage_json(section) for section in storage_cfg.read().values() if kind in (None, section.type)]


def storage_json(section: storage_cfg.Section) -> dict[str, Any]:
    """A section of storage.cfg as the API gives it."""
    found: dict[str, Any] = {
        key: int(section.flag(key)) if key in storage_cfg.BOOLEAN_KEYS else value
        for key, value in section.keys.items()
    }
    return found | {
        "content": ",".join(section.content),
        "digest": storage_cfg.digest(),
        "storage": section.id,
        "type": section.type,
    }


def _storage_one(parts: Parts, params: Parts) -> dict[str, Any]:
    del params
    return storage_json(storage_cfg.get(parts["storage"]))


def _empty(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    del parts, params
    return []


ROUTES = [
    Route("/", subdirs("access", "cluster", "nodes", "pools", "storage", "version"), child="name"),
    Route("/version", _version),
    Route(
        "/cluster",
        subdirs(
            "acme",
            "backup",
            "backup-info",
            "bulk-action",
            "ceph",
            "config",
            "firewall",
            "ha",
            "jobs",
            "log",
            "mapping",
            "metrics",
            "nextid",
            "notifications",
            "options",
            "replication",
            "resources",
            "sdn",
            "status",
            "tasks",
        ),
        child="name",
    ),
    Route("/cluster/resources", _resources, ("type",), first=("id", "type")),
    Route("/cluster/nextid", _next_id, ("vmid",)),
    Route("/cluster/status", _status, first=("id", "name", "type")),
    Route("/cluster/backup", _empty, child="id", capabilities="r-c-"),
    Route("/cluster/ha/resources", _empty, child="sid", capabilities="r-c-"),
    Route("/cluster/replication", _empty, child="id", capabilities="r-c-"),
    Route("/storage", _storage_list, ("type",), child="storage", capabilities="r-c-", first=("storage",)),
    Route("/storage/{storage}", _storage_one, capabilities="rw-d"),
    Route("/pools", _empty, child="poolid", capabilities="rwcd", first=("poolid",)),
]
