"""What a guest is told about itself: LXC configuration, /proc/meminfo, id map, guest.json; its interfaces.

guest.json (/run/guest/guest.json in the guest): {"vmid", "ostype", "unprivileged", "cores", "binds":
[TARGET], "file systems": [{"source", "target", "sizes": [total, used, free] bytes or null}], "interfaces":
[{netN's properties, "key", "index": the node's end}]}.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from . import container, guest, machine, mounts, network, paths, storage
from .conf import Config

_FIRST_INDEX = 4  # interfaces that the node has before it makes one for a container


def begin(vmid: int, config: Config, root: str) -> None:
    """Write everything for a container that starts, its root file system being at `root`."""
    _write_lxc_config(vmid, config, root)
    forget_interfaces(vmid)
    os.makedirs(_directory(vmid), exist_ok=True)
    _put(vmid, "guest.json", "{}")
    describe(vmid)


def _write_lxc_config(vmid: int, config: Config, root: str) -> None:
    """/var/lib/lxc/ID/config, in the form that Proxmox generates; guest.py mounts what it says."""
    keys = config.keys
    name = keys.get("hostname", "localhost").partition(".")[0]
    lines = [
        ("lxc.arch", keys.get("arch", "amd64")),
        ("lxc.tty.max", keys.get("tty", "2")),
        ("lxc.uts.name", name),
        ("lxc.rootfs.path", root),
    ]
    if container.unprivileged(config):
        lines += [("lxc.idmap", "u 0 100000 65536"), ("lxc.idmap", "g 0 100000 65536")]
    lines += [("lxc.mount.entry", entry) for entry in (*_mount_entries(config), *_device_entries(config))]
    for key, net in network.of(config).items():
        number = key.removeprefix("net")
        lines += [
            (f"lxc.net.{number}.{option}", value)
            for option, value in (
                ("type", "veth"),
                ("veth.pair", f"veth{vmid}i{number}"),
                ("hwaddr", net["hwaddr"]),
                ("name", net["name"]),
            )
        ]
    lines += config.lxc
    os.makedirs(paths.real(os.path.dirname(guest.config_file(vmid))), exist_ok=True)
    with open(paths.real(guest.config_file(vmid)), "w", encoding="utf-8") as file:
        file.writelines(f"{key} = {value}\n" for key, value in lines)


def _mount_entries(config: Config) -> list[str]:
    points = mounts.of(config.keys)[1:]
    return [mount_entry(point) for point in sorted(points, key=lambda point: point.target)]


def mount_entry(point: mounts.Mount) -> str:
    """The lxc.mount.entry of a mount point."""
    source = storage.root_dir(point.volume) if point.kind == "volume" else point.volume
    options = "bind,ro" if point.props.get("ro") == "1" else "bind"
    return f"{_escape(source)} {_escape(point.target.lstrip('/'))} none {options} 0 0"


def _device_entries(config: Config) -> list[str]:
    devices = [
        value for key, value in sorted(config.keys.items()) if key.startswith("dev") and key[3:].isdecimal()
    ]
    return [device_entry(value) for value in devices]


def device_entry(value: str) -> str:
    """The lxc.mount.entry of a devN value."""
    path = value.partition(",")[0].removeprefix("path=")
    return f"{_escape(path)} {_escape(path.lstrip('/'))} none bind 0 0"


def _escape(path: str) -> str:
    return path.replace(" ", "\\040")


def describe(vmid: int) -> None:
    """Write what a guest finds in /proc and /run/guest; done before each look into it, for it changes."""
    config = container.load(vmid)
    keys = config.keys
    memory, swap = int(keys.get("memory", "512")) << 10, int(keys.get("swap", "512")) << 10
    unprivileged = container.unprivileged(config)
    facts = {
        "vmid": vmid,
        "ostype": keys.get("ostype", ""),
        "unprivileged": unprivileged,
        "cores": int(keys.get("cores", machine.facts().get("cpus", 1))),
        "binds": [point.target for point in mounts.of(keys) if point.kind == "bind"],
        "file systems": [_file_system(point) for point in mounts.of(keys)],
        "interfaces": _interfaces(vmid, config),
    }
    _put(vmid, "meminfo", meminfo(memory, swap))
    _put(
        vmid,
        "uid_map",
        f"{0:>10} {100000 if unprivileged else 0:>10} {65536 if unprivileged else 4294967295:>10}\n",
    )
    _put(vmid, "guest.json", json.dumps(facts))


def meminfo(memory: int, swap: int) -> str:
    """/proc/meminfo as lxcfs shows it to a container with these limits (KiB)."""
    used = min(9 << 10, memory // 2)
    cached = min(15 << 10, memory // 4)
    values = {
        "MemTotal": memory,
        "MemFree": memory - used - cached,
        "MemAvailable": memory - used,
        "Buffers": 0,
        "Cached": cached,
        "SwapCached": 0,
        "SwapTotal": swap,
        "SwapFree": swap,
        "Shmem": 0,
        "SReclaimable": 0,
    }
    return "".join(f"{key + ':':<16}{value:>8} kB\n" for key, value in values.items())


def _file_system(point: mounts.Mount) -> dict[str, Any]:
    """A line of df: source, target, and bytes in all, used and free (None for a bind mount)."""
    if point.kind != "volume":
        return {"source": point.volume, "target": point.target, "sizes": None}
    return {
        "source": storage.path(point.volume).removeprefix("/"),
        "target": point.target,
        "sizes": storage.usage(point.volume),
    }


def _interfaces(vmid: int, config: Config) -> list[dict[str, Any]]:
    """The interfaces in the order they were made; one whose address changed is a new one (observed.md, 5)."""
    known = {entry["hwaddr"]: entry for entry in _facts(vmid).get("interfaces", ())}
    wanted = network.of(config)
    old = [
        {**known[net["hwaddr"]], **net, "key": key} for key, net in wanted.items() if net["hwaddr"] in known
    ]
    old.sort(key=lambda entry: int(entry["index"]))
    new = [
        {**net, "key": key, "index": _plug(vmid, key, net)}
        for key, net in wanted.items()
        if net["hwaddr"] not in known
    ]
    for entry in known.values():
        if entry["key"] not in wanted:
            _unplug(f"veth{vmid}i{entry['key'][3:]}")
    return [*old, *new]


def _plug(vmid: int, key: str, net: dict[str, str]) -> int:
    """Make the node's end of an interface in /sys/class/net; gives its index there."""
    name = f"veth{vmid}i{key[3:]}"
    _unplug(name)
    top = paths.real("/sys/class/net")
    used = [int(_line(f"{top}/{entry}/ifindex") or 0) for entry in os.listdir(top)]
    index = max([*used, _FIRST_INDEX - 1]) + 1
    os.makedirs(f"{top}/{name}")
    for file, value in (
        ("address", f"fe:{net['hwaddr'].lower()[3:]}"),
        ("ifindex", index),
        ("iflink", 2),
        ("operstate", "up"),
        ("mtu", net.get("mtu", "1500")),
    ):
        with open(f"{top}/{name}/{file}", "w", encoding="ascii") as out:
            out.write(f"{value}\n")
    if "bridge" in net:
        os.symlink(f"../{net['bridge']}", f"{top}/{name}/master")
        os.makedirs(f"{top}/{net['bridge']}/brif/{name}", exist_ok=True)
    return index


def _unplug(name: str) -> None:
    top = paths.real("/sys/class/net")
    if os.path.islink(f"{top}/{name}/master"):
        bridge = os.path.basename(os.readlink(f"{top}/{name}/master"))
        shutil.rmtree(f"{top}/{bridge}/brif/{name}", ignore_errors=True)
    shutil.rmtree(f"{top}/{name}", ignore_errors=True)


def forget_interfaces(vmid: int) -> None:
    """Take away the node's ends of a container's interfaces."""
    for name in os.listdir(paths.real("/sys/class/net")):
        if name.startswith(f"veth{vmid}i"):
            _unplug(name)


def _directory(vmid: int) -> str:
    return paths.real(f"{guest.FACTS}/{vmid}")


def _facts(vmid: int) -> dict[str, Any]:
    text = _line(f"{_directory(vmid)}/guest.json")
    facts: dict[str, Any] = json.loads(text) if text else {}
    return facts


def _put(vmid: int, name: str, text: str) -> None:
    """Write a fact in place: guests have this very file mounted."""
    with open(f"{_directory(vmid)}/{name}", "w", encoding="utf-8") as file:
        file.write(text)


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
