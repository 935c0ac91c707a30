"""What a guest is told about itself: LXC configuration, /proc/meminfo, id map, guest.json; its interfaces.

guest.json (/run/guest/guest.json in the guest) has

    "vmid", "ostype", "unprivileged", "cores", "degraded": systemd says so, "binds": [TARGET],
    "file systems": [{"source", "target", "type", "options", "sizes": [total, used, free] in bytes, or null}],
    "interfaces": [{the properties of netN, "key", "index": the node's end}]
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from . import container, guest, machine, mounts, network, paths, procfs, storage
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
    ]
    if container.unprivileged(config):
        lines += [("lxc.idmap", "u 0 100000 65536"), ("lxc.idmap", "g 0 100000 65536")]
    lines += [("lxc.mount.entry", entry) for entry in (*_mount_entries(config), *_device_entries(config))]
    lines.append(("lxc.rootfs.path", root))
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
    unprivileged = container.unprivileged(config)
    facts = {
        "vmid": vmid,
        "ostype": keys.get("ostype", ""),
        "unprivileged": unprivileged,
        "cores": int(keys.get("cores", machine.facts().get("cpus", 1))),
        "degraded": machine.quirk("guests-degraded"),
        "binds": [point.target for point in mounts.of(keys) if point.kind == "bind"],
        "file systems": [_file_system(point) for point in mounts.of(keys)],
        "interfaces": _interfaces(vmid, config),
    }
    ids = (100000, 65536) if unprivileged else (0, 4294967295)
    _put(vmid, "meminfo", _memory(keys))
    _put(vmid, "uid_map", f"{0:>10} {ids[0]:>10} {ids[1]:>10}\n")
    _put(vmid, "profile", "unconfined\n")
    _put(vmid, "guest.json", json.dumps(facts))


def _memory(keys: dict[str, str]) -> str:
    """/proc/meminfo for a container's limits; the node's memory where the kernel shows no limits."""
    known = machine.facts()
    total = int(known.get("memory_bytes", known.get("memory_mib", 0) << 20)) >> 10
    unlimited = machine.quirk("cgroup-hotplug-broken")
    memory = total if unlimited else min(int(keys.get("memory", "512")) << 10, total)
    swap = min(int(keys.get("swap", "512")), int(known.get("swap_mib", 0))) << 10
    return procfs.meminfo(memory, used=min(10752, memory // 2), cached=min(15872, memory // 4), swap=swap)


def _file_system(point: mounts.Mount) -> dict[str, Any]:
    """A line of df and mount; sizes are bytes in all, used and free (None for a bind mount)."""
    mode = "ro" if point.props.get("ro") == "1" else "rw"
    sizes = storage.usage(point.volume) if point.kind == "volume" else None
    if point.kind != "volume":
        source, kind, options = _below(point.volume)
        options = options.replace("rw", mode, 1)
    elif (path := storage.path(point.volume)).endswith(".raw"):
        source, kind, options = path, "ext4", f"{mode},relatime"
    else:
        source, kind, options = path[1:], "zfs", f"{mode},relatime,xattr,posixacl"
    return {"source": source, "target": point.target, "type": kind, "options": options, "sizes": sizes}


def _below(path: str) -> tuple[str, str, str]:
    """(source, type, options) of the node's file system that a directory is on."""
    from .zfs_tree import load

    places = {node["mounted"]: name for name, node in load().datasets.items() if node["mounted"]}
    mounted = [place for place in places if (path + "/").startswith(place.rstrip("/") + "/")]
    if mounted:
        return places[max(mounted, key=len)], "zfs", "rw,relatime,xattr,posixacl"
    root = machine.facts().get("filesystems", {}).get("/", {})
    return root.get("source", "/dev/mapper/pve-root"), "ext4", root.get("options", "rw,relatime")


def _interfaces(vmid: int, config: Config) -> list[dict[str, Any]]:
    """The interfaces in the order they were made; one whose address changed is a new one (observed.md, 5)."""
    known = {entry["hwaddr"]: entry for entry in _facts(vmid).get("interfaces", ())}
    wanted = network.of(config)
    old = [
        {**net, "key": key, "index": known[net["hwaddr"]]["index"]}
        for key, net in wanted.items()
        if net["hwaddr"] in known
    ]
    old.sort(key=lambda entry: int(entry["index"]))
    for entry in old:
        if entry.get("link_down", "0") != known[entry["hwaddr"]].get("link_down", "0"):
            _connect(f"veth{vmid}i{entry['key'][3:]}", entry)
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
        ("mtu", net.get("mtu", "1500")),
    ):
        with open(f"{top}/{name}/{file}", "w", encoding="ascii") as out:
            out.write(f"{value}\n")
    _connect(name, net)
    return index


def _connect(name: str, net: dict[str, Any]) -> None:
    """Put the node's end on its bridge; one with link_down is down and on none (PVE::LXC::net_tap_plug)."""
    top = paths.real("/sys/class/net")
    down = net.get("link_down") == "1"
    _disconnect(name)
    with open(f"{top}/{name}/operstate", "w", encoding="ascii") as out:
        out.write("down\n" if down else "up\n")
    if "bridge" in net and not down:
        os.symlink(f"../{net['bridge']}", f"{top}/{name}/master")
        os.makedirs(f"{top}/{net['bridge']}/brif/{name}", exist_ok=True)


def _disconnect(name: str) -> None:
    top = paths.real("/sys/class/net")
    if os.path.islink(f"{top}/{name}/master"):
        bridge = os.path.basename(os.readlink(f"{top}/{name}/master"))
        shutil.rmtree(f"{top}/{bridge}/brif/{name}", ignore_errors=True)
        os.unlink(f"{top}/{name}/master")


def _unplug(name: str) -> None:
    _disconnect(name)
    shutil.rmtree(paths.real(f"/sys/class/net/{name}"), ignore_errors=True)


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
