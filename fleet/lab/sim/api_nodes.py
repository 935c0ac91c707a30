"""The API's answers about this node: its figures, storages, network and tasks."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from . import clock, machine, paths, storage, storage_cfg, tasks
from .api import Parts, Route, subdirs
from .errors import Die, ParamError
from .storage_file import filesystem


def cpus() -> int:
    """The processors of the node."""
    return int(machine.facts().get("cpus", 2))


def uptime() -> int:
    """Seconds since the lab came up; process 1 started then."""
    try:
        return max(int(time.time() - os.stat("/proc/1").st_ctime), 1)
    except FileNotFoundError:
        return 1


def memory() -> dict[str, int]:
    """total, used, free and available bytes: what the node itself and its running containers take."""
    from . import runtime

    total = int(machine.facts().get("memory_bytes", int(machine.facts().get("memory_mib", 2048)) << 20))
    used = min(total // 8 + len(runtime.running()) * (48 << 20), total)
    return {"available": total - used, "free": total - used, "total": total, "used": used}


def root_filesystem() -> dict[str, int]:
    """avail, free, total and used bytes of /."""
    total, available, used = filesystem("/", 0)
    return {"avail": available, "free": total - used, "total": total, "used": used}


def _nodes(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    del parts, params
    from .api_cluster import node_summary

    return [node_summary() | {"ssl_fingerprint": _fingerprint()}]


def _fingerprint() -> str:
    """A fingerprint that belongs to the node's name: the lab has no certificate."""
    import hashlib

    digest = hashlib.sha256(machine.node().encode()).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, 64, 2))


def kernel() -> str:
    """The running kernel's release."""
    return str(machine.facts().get("kernel", os.uname().release))


def _status(parts: Parts, params: Parts) -> dict[str, Any]:
    del parts, params
    facts = machine.facts()
    version = f"pve-manager/{facts.get('pve_version', '9.1.1')}/{facts.get('repoid', '0' * 16)}"
    load = os.getloadavg()
    return {
        "boot-info": {"mode": "efi"},
        "cpu": 0,
        "cpuinfo": {
            "cores": cpus(),
            "cpus": cpus(),
            "family": "6",
            "flags": "fpu vme de pse tsc msr",
            "hvm": "1",
            "mhz": "3800.000",
            "model": str(facts.get("cpu_model", "QEMU Virtual CPU")),
            "sockets": 1,
            "user_hz": 100,
            "vendor": "AuthenticAMD" if "AMD" in str(facts.get("cpu_model")) else "GenuineIntel",
        },
        "current-kernel": {
            "machine": os.uname().machine,
            "release": kernel(),
            "sysname": "Linux",
            "version": "#1 SMP PREEMPT_DYNAMIC",
        },
        "idle": 0,
        "ksm": {"shared": 0},
        "kversion": f"Linux {kernel()} #1 SMP PREEMPT_DYNAMIC",
        "loadavg": [f"{value:.2f}" for value in load],
        "memory": memory(),
        "pveversion": version,
        "rootfs": root_filesystem(),
        "swap": {"free": 0, "total": 0, "used": 0},
        "uptime": uptime(),
        "wait": 0,
    }


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


def _network(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    """/nodes/N/network: the interfaces that /etc/network/interfaces declares."""
    del parts
    from .interfaces import read

    return [
        i
        for i in read()
        if params.get("type") in (None, i["type"], "any_bridge" if i["type"] == "bridge" else i["type"])
    ]


def _task_lines() -> list[tuple[str, str, str]]:
    """(UPID, end time in hex, status) of all finished tasks, the newest first."""
    try:
        with open(paths.real(f"{paths.TASKS}/index"), encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    found = (line.split(" ", 2) for line in reversed(lines))
    return [(words[0], words[1], words[2]) for words in found if len(words) == 3]


def _decode(upid: str) -> dict[str, Any]:
    fields = upid.split(":")
    if len(fields) != 9 or fields[0] != "UPID":
        raise Die(f"unable to parse worker upid '{upid}'")
    return {
        "id": fields[6],
        "node": fields[1],
        "pid": int(fields[2], 16),
        "pstart": int(fields[3], 16),
        "starttime": int(fields[4], 16),
        "type": fields[5],
        "upid": upid,
        "user": fields[7],
    }


def _tasks(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    del parts
    found = []
    for upid, ended, status in _task_lines():
        entry = {**_decode(upid), "endtime": int(ended, 16), "status": status}
        failed = status != "OK" and not status.startswith("WARNINGS")
        if params.get("vmid") not in (None, entry["id"]) or (params.get("errors") == "1" and not failed):
            continue
        if params.get("typefilter") in (None, entry["type"]):
            found.append(entry)
    start = int(params.get("start", "0"))
    return found[start : start + int(params.get("limit", "50"))]


def _task_status(parts: Parts, params: Parts) -> dict[str, Any]:
    del params
    upid = parts["upid"]
    entry = _decode(upid)
    ended = next((status for known, _, status in _task_lines() if known == upid), None)
    if ended is None and not os.path.exists(paths.real(tasks.log_path(upid))):
        raise Die(f"unable to read status of task '{upid}': no such task", 2)
    return entry | ({"status": "running"} if ended is None else {"status": "stopped", "exitstatus": ended})


def _task_log(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    try:
        with open(paths.real(tasks.log_path(parts["upid"])), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        raise Die(f"unable to open file - no such task '{parts['upid']}'", 2) from None
    start = int(params.get("start", "0"))
    return [{"n": n, "t": text} for n, text in enumerate(lines, 1)][
        start : start + int(params.get("limit", "50"))
    ]


def _version(parts: Parts, params: Parts) -> dict[str, str]:
    from .api_cluster import _version as version

    return version(parts, params)


def _dns(parts: Parts, params: Parts) -> dict[str, str]:
    del parts, params
    found: dict[str, str] = {}
    with open(paths.real("/etc/resolv.conf"), encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition(" ")
            if key == "search":
                found["search"] = value
            elif key == "nameserver":
                found[f"dns{sum(k.startswith('dns') for k in found) + 1}"] = value
    return found


def _time(parts: Parts, params: Parts) -> dict[str, Any]:
    del parts, params
    now = int(clock.now())
    zone = str(machine.facts().get("timezone", "Etc/UTC"))
    return {"localtime": now + time.localtime(now).tm_gmtoff, "time": now, "timezone": zone}


def _templates(parts: Parts, params: Parts) -> list[dict[str, str]]:
    """/nodes/N/aplinfo."""
    del parts, params
    from .pveam import read_index

    return [
        {**{re.sub("^infopage$", "infopage", key): value for key, value in record.items()}, "template": name}
        for name, record in sorted(read_index().items())
    ]


_N = "/nodes/{node}"
ROUTES = [
    Route("/nodes", _nodes, child="node", first=("node", "status")),
    Route(
        _N,
        subdirs(
            "aplinfo",
            "apt",
            "capabilities",
            "ceph",
            "certificates",
            "config",
            "disks",
            "dns",
            "firewall",
            "hardware",
            "hosts",
            "journal",
            "lxc",
            "migrateall",
            "netstat",
            "network",
            "qemu",
            "query-url-metadata",
            "replication",
            "report",
            "rrd",
            "rrddata",
            "scan",
            "sdn",
            "services",
            "spiceshell",
            "startall",
            "status",
            "stopall",
            "storage",
            "subscription",
            "suspendall",
            "syslog",
            "tasks",
            "termproxy",
            "time",
            "version",
            "vncshell",
            "vzdump",
            "wakeonlan",
        ),
        child="name",
    ),
    Route(_N + "/status", _status, capabilities="r-c-"),
    Route(_N + "/version", _version),
    Route(_N + "/dns", _dns, capabilities="rw--"),
    Route(_N + "/time", _time, capabilities="rw--"),
    Route(_N + "/aplinfo", _templates, capabilities="r-c-"),
    Route(_N + "/network", _network, ("type",), child="iface", capabilities="rwcd", first=("iface", "type")),
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
    Route(
        _N + "/tasks",
        _tasks,
        (
            "errors",
            "limit",
            "since",
            "source",
            "start",
            "statusfilter",
            "typefilter",
            "until",
            "userfilter",
            "vmid",
        ),
        child="upid",
        first=("id", "node", "pid", "pstart", "starttime", "type", "upid", "user"),
    ),
    Route(_N + "/tasks/{upid}", subdirs("log", "status"), child="name", capabilities="r--d"),
    Route(_N + "/tasks/{upid}/status", _task_status),
    Route(_N + "/tasks/{upid}/log", _task_log, ("download", "limit", "start"), first=("n", "t")),
]
