"""The API's answers about containers and virtual machines."""

from __future__ import annotations

import re
from typing import Any

from . import conf, container, network, pending, qm_conf, vmlist, vmstatus
from .api import Parts, Route, subdirs
from .conf import Config
from .errors import Die

_INTEGERS = (
    "console",
    "cores",
    "cpuunits",
    "debug",
    "memory",
    "onboot",
    "protection",
    "snaptime",
    "swap",
    "template",
    "tty",
    "unprivileged",
)


def _vmid(parts: Parts) -> int:
    return int(parts["vmid"])


def typed(key: str, value: str) -> int | str:
    """A configuration value as the API gives it.

    Integers and booleans are numbers, everything else a string.
    """
    return int(value) if key in _INTEGERS and re.fullmatch(r"\d+", value) else value


def listed(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    """/nodes/N/lxc."""
    del parts, params
    return [vmstatus.status(vmid, container.load(vmid)) for vmid in vmlist.local()]


def _keys_json(keys: conf.Keys, lxc: list[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {key: typed(key, value) for key, value in keys.items()}
    return found | ({"lxc": [list(line) for line in lxc]} if lxc else {})


def _config(parts: Parts, params: Parts) -> dict[str, Any]:
    loaded = container.load(_vmid(parts))
    if "snapshot" in params:
        section = _snapshot(loaded, params["snapshot"])
        return _keys_json(section.keys, section.lxc) | {"digest": loaded.digest}
    keys = loaded.keys if params.get("current") == "1" else pending.merged(loaded)
    network.of(Config(keys))
    return _keys_json(keys, loaded.lxc) | {"digest": loaded.digest}


def _snapshot(config: Config, name: str) -> conf.Section:
    if name not in config.snapshots:
        raise Die(f"snapshot '{name}' does not exist")
    return config.snapshots[name]


def _current(parts: Parts, params: Parts) -> dict[str, Any]:
    del params
    vmid = _vmid(parts)
    return {**vmstatus.status(vmid, container.load(vmid)), "ha": {"managed": 0}}


def _pending(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    del params
    loaded = container.load(_vmid(parts))
    gone = pending.deletions(loaded.pending)
    entries: list[dict[str, Any]] = []
    for key in sorted({*loaded.keys, *loaded.pending} - {"delete"}):
        entry: dict[str, Any] = {"key": key}
        if key in loaded.keys:
            entry["value"] = typed(key, loaded.keys[key])
        if key in loaded.pending:
            entry["pending"] = typed(key, loaded.pending[key])
        if key in gone:
            entry["delete"] = 2 if gone[key] else 1
        entries.append(entry)
    return [*entries, {"key": "digest", "value": loaded.digest}]


def _snapshots(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    del params
    vmid = _vmid(parts)
    loaded = container.load(vmid)
    entries: list[dict[str, Any]] = []
    for name, section in loaded.snapshots.items():
        entry: dict[str, Any] = {
            "name": name,
            "description": section.keys.get("description", ""),
            "snaptime": int(section.keys.get("snaptime", "0")),
        }
        entries.append(entry | ({"parent": section.keys["parent"]} if "parent" in section.keys else {}))
    now: dict[str, Any] = {
        "name": "current",
        "description": "You are here!",
        "digest": loaded.digest,
        "running": int(container.running(vmid)),
    }
    return [*entries, now | ({"parent": loaded.keys["parent"]} if "parent" in loaded.keys else {})]


def _snapshot_config(parts: Parts, params: Parts) -> dict[str, Any]:
    del params
    section = _snapshot(container.load(_vmid(parts)), parts["snapname"])
    return _keys_json(section.keys, section.lxc)


def _interfaces(parts: Parts, params: Parts) -> list[dict[str, Any]] | None:
    """/nodes/N/lxc/ID/interfaces: null for a container that does not run."""
    del params
    vmid = _vmid(parts)
    loaded = container.load(vmid)
    if not container.running(vmid):
        return None
    found = [_interface("lo", "00:00:00:00:00:00", ["127.0.0.1/8", "::1/128"])]
    for net in network.of(loaded).values():
        mac = net["hwaddr"].lower()
        addresses = [net[key] for key in ("ip", "ip6") if "/" in net.get(key, "")]
        found.append(_interface(net["name"], mac, [*addresses, f"{link_local(mac)}/64"]))
    return found


def link_local(mac: str) -> str:
    """The IPv6 link-local address that an interface gives itself (EUI-64)."""
    import ipaddress

    octets = [int(part, 16) for part in mac.split(":")]
    host = bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]))
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + host))


def _interface(name: str, mac: str, addresses: list[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"hardware-address": mac, "hwaddr": mac, "name": name, "ip-addresses": []}
    for cidr in addresses:
        address, _, prefix = cidr.partition("/")
        kind = "inet6" if ":" in address else "inet"
        entry.setdefault(kind, cidr)
        entry["ip-addresses"].append({"ip-address": address, "ip-address-type": kind, "prefix": prefix})
    return entry


_VM_INTEGERS = (
    "cores",
    "sockets",
    "memory",
    "onboot",
    "protection",
    "numa",
    "balloon",
    "tablet",
    "template",
    "kvm",
    "acpi",
)


def _vm_typed(keys: dict[str, str]) -> dict[str, Any]:
    return {
        key: int(value) if key in _VM_INTEGERS and value.isdigit() and key != "memory" else value
        for key, value in keys.items()
    }


def vm_status(vmid: int) -> dict[str, Any]:
    """The figures of a virtual machine; in the lab they never run."""
    keys = qm_conf.read(vmid)
    cores = int(keys.get("cores", "1")) * int(keys.get("sockets", "1"))
    found: dict[str, Any] = {
        "cpu": 0,
        "cpus": cores,
        "disk": 0,
        "diskread": 0,
        "diskwrite": 0,
        "maxdisk": boot_disk(keys),
        "maxmem": int(keys.get("memory", "512")) << 20,
        "mem": 0,
        "name": keys.get("name", f"VM {vmid}"),
        "netin": 0,
        "netout": 0,
        "status": "stopped",
        "uptime": 0,
        "vmid": vmid,
    }
    return found | {key: keys[key] for key in ("tags", "lock") if key in keys}


def boot_disk(keys: dict[str, str]) -> int:
    """Bytes of the first disk in the boot order."""
    from .sizes import parse_size

    order = re.search(r"order=([\w;]+)", keys.get("boot", ""))
    for name in order[1].split(";") if order else ():
        size = re.search(r"(?:^|,)size=(\w+)", keys.get(name, ""))
        if size:
            return parse_size(size[1]) or 0
    return 0


def vms(parts: Parts, params: Parts) -> list[dict[str, Any]]:
    """/nodes/N/qemu."""
    del parts, params
    return [vm_status(vmid) for vmid in vmlist.local("qemu")]


def _vm_config(parts: Parts, params: Parts) -> dict[str, Any]:
    del params
    import hashlib

    vmid = _vmid(parts)
    digest = hashlib.sha1(qm_conf.raw(vmid).encode(), usedforsecurity=False).hexdigest()
    return {**_vm_typed(qm_conf.read(vmid)), "digest": digest}


def _vm_current(parts: Parts, params: Parts) -> dict[str, Any]:
    del params
    return {**vm_status(_vmid(parts)), "ha": {"managed": 0}, "qmpstatus": "stopped"}


def _vm_snapshots(parts: Parts, params: Parts) -> list[dict[str, object]]:
    del params
    from . import qm_snapshot

    return qm_snapshot.entries(_vmid(parts))


def _vm_snapshot_config(parts: Parts, params: Parts) -> dict[str, Any]:
    del params
    found = qm_conf.sections(_vmid(parts))
    if parts["snapname"] not in found:
        raise Die(f"snapshot '{parts['snapname']}' does not exist")
    return _vm_typed(found[parts["snapname"]])


_LXC = "/nodes/{node}/lxc"
ROUTES = [
    Route(_LXC, listed, child="vmid", capabilities="r-c-", first=("status", "vmid")),
    Route(
        _LXC + "/{vmid}",
        subdirs(
            "clone",
            "config",
            "feature",
            "firewall",
            "interfaces",
            "migrate",
            "pending",
            "resize",
            "rrd",
            "rrddata",
            "snapshot",
            "spiceproxy",
            "status",
            "template",
            "termproxy",
            "vncproxy",
        ),
        child="name",
        capabilities="r--d",
    ),
    Route(_LXC + "/{vmid}/config", _config, ("current", "snapshot"), capabilities="rw--"),
    Route(
        _LXC + "/{vmid}/status",
        subdirs("current", "reboot", "resume", "shutdown", "start", "stop", "suspend"),
        child="name",
    ),
    Route(_LXC + "/{vmid}/status/current", _current),
    Route(_LXC + "/{vmid}/pending", _pending, first=("key",)),
    Route(
        _LXC + "/{vmid}/snapshot",
        _snapshots,
        child="name",
        capabilities="r-c-",
        first=("description", "name"),
    ),
    Route(
        _LXC + "/{vmid}/snapshot/{snapname}", subdirs("config", "rollback"), child="name", capabilities="r--d"
    ),
    Route(_LXC + "/{vmid}/snapshot/{snapname}/config", _snapshot_config, capabilities="rw--"),
    Route(_LXC + "/{vmid}/interfaces", _interfaces, first=("hwaddr", "name")),
    Route("/nodes/{node}/qemu", vms, child="vmid", capabilities="r-c-", first=("status", "vmid")),
    Route(
        "/nodes/{node}/qemu/{vmid}",
        subdirs("agent", "config", "pending", "snapshot", "status"),
        child="name",
        capabilities="r--d",
    ),
    Route("/nodes/{node}/qemu/{vmid}/config", _vm_config, ("current", "snapshot"), capabilities="rwc-"),
    Route("/nodes/{node}/qemu/{vmid}/status/current", _vm_current),
    Route(
        "/nodes/{node}/qemu/{vmid}/snapshot",
        _vm_snapshots,
        child="name",
        capabilities="r-c-",
        first=("description", "name"),
    ),
    Route(
        "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}",
        subdirs("config", "rollback"),
        child="name",
        capabilities="r--d",
    ),
    Route("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", _vm_snapshot_config, capabilities="rw--"),
]
