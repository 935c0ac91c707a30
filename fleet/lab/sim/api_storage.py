"""The API's answers about the storages of this node: their figures, their volumes, what pruning would do."""

from __future__ import annotations

import os
from typing import Any

from . import storage, storage_cfg
from .api import Parts, Route, subdirs
from .errors import Die, ParamError


def _storages(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    """/nodes/N/storage."""
    del parts
    from . import pvesm

    found = []
    for section in pvesm.chosen(params.get("content"), params.get("storage")):
        if params.get("enabled") == "1" and section.disabled:
            continue
        facts: dict[str, Any] = {**pvesm.info(section), "storage": section.id}
        if facts["total"]:
            facts["used_fraction"] = facts["used"] / facts["total"]
        found.append(facts)
    return found


def _storage_status(parts: Parts, params: Parts) -> dict[str, object]:
    del params
    from . import pvesm

    section = storage_cfg.read().get(parts["storage"])
    if section is None:
        raise ParamError({"storage": "No such storage."})
    return pvesm.info(section)


def _content(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    """/nodes/N/storage/S/content."""
    vmid = int(params["vmid"]) if "vmid" in params else None
    found = []
    for volume in storage.volumes(
        parts["storage"], vmid, (params["content"],) if "content" in params else None
    ):
        entry: dict[str, Any] = {
            "content": volume.content,
            "ctime": volume.ctime,
            "format": volume.format,
            "size": volume.size,
            "volid": volume.volid,
            "vmid": volume.vmid,
            "parent": volume.parent,
        }
        if volume.content == "backup":
            entry |= {"subtype": volume.subtype, "notes": volume.notes}
            if volume.protected:
                entry["protected"] = 1
        found.append(
            {key: value for key, value in entry.items() if value is not None and (key != "ctime" or value)}
        )
    return found


def volume_id(storage_name: str, text: str) -> str:
    """The volid of a volume in a path of the API: with or without its storage."""
    if ":" not in text:
        return f"{storage_name}:{text}"
    if storage.parse_volid(text)[0] != storage_name:
        raise ParamError({"volume": f"storage ID mismatch ({text.partition(':')[0]} != {storage_name})"})
    return text


def _volume(parts: Parts, params: Parts) -> dict[str, Any]:
    """/nodes/N/storage/S/content/VOLUME."""
    del params
    volid = volume_id(parts["storage"], parts["volume"])
    name = storage.parse_name(volid)
    listed = {volume.volid: volume for volume in storage.volumes(parts["storage"], name.vmid)}
    found = listed.get(volid)
    if found is None:
        raise Die(f"volume_size_info on '{volid}' failed - no format", 2)
    path = storage.real_path(volid)
    entry: dict[str, Any] = {
        "path": storage.path(volid),
        "size": found.size,
        "used": os.stat(path).st_blocks * 512 if os.path.isfile(path) else 0,
        "format": found.format,
    }
    if name.vtype == "backup":
        try:
            with open(f"{path}.notes", encoding="utf-8", errors="replace") as file:
                entry["notes"] = file.read()
        except FileNotFoundError:
            entry["notes"] = ""
        entry["protected"] = int(found.protected)
    return entry


def _prune_plan(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    """/nodes/N/storage/S/prunebackups: what pruning would do."""
    from . import prune

    given = prune.parse(params["prune-backups"]) if "prune-backups" in params else None
    vmid = int(params["vmid"]) if "vmid" in params else None
    keep = prune.keep_of(parts["storage"], given)
    return [
        {
            "ctime": entry.ctime,
            "mark": entry.mark,
            "type": entry.kind,
            "volid": entry.volid,
            **({} if entry.vmid is None else {"vmid": entry.vmid}),
        }
        for entry in prune.plan(parts["storage"], keep, vmid, params.get("type"))
    ]


_N = "/nodes/{node}"
ROUTES = [
    Route(
        _N + "/storage",
        _storages,
        ("content", "enabled", "format", "storage", "target"),
        child="storage",
        first=("content", "storage", "type"),
    ),
    Route(
        _N + "/storage/{storage}",
        subdirs(
            "content",
            "download-url",
            "file-restore",
            "import-metadata",
            "prunebackups",
            "rrd",
            "rrddata",
            "status",
            "upload",
        ),
        child="name",
    ),
    Route(
        _N + "/storage/{storage}/content",
        _content,
        ("content", "vmid"),
        child="volid",
        capabilities="r-c-",
        first=("content", "format", "size", "volid"),
    ),
    Route(_N + "/storage/{storage}/content/{volume}", _volume, capabilities="rwcd"),
    Route(
        _N + "/storage/{storage}/prunebackups",
        _prune_plan,
        ("prune-backups", "type", "vmid"),
        capabilities="r--d",
        first=("ctime", "mark", "type", "volid"),
    ),
    Route(_N + "/storage/{storage}/status", _storage_status, first=("content", "type")),
]
