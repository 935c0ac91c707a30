"""The API's answers about this node: its figures, network and tasks."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from . import api_storage, clock, machine, paths, tasks
from .api import Parts, Route, subdirs
from .errors import Die
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
    *api_storage.ROUTES,
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
