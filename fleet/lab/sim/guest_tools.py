"""The tools of a guest that tell what the lab simulates.

`guest-tool PATH ARGUMENTS...` is what links such as /usr/bin/ip run. They read
/run/guest/guest.json (guest_facts.py says what is in it).
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

_UNITS = "KMGTPE"

_LXCFS = "fuse.lxcfs (rw,nosuid,nodev,relatime,user_id=0,group_id=0,allow_other)"
_MOUNTS = (  # what LXC mounts in every container; of an unprivileged one, as recorded
    "proc on /proc type proc (rw,nosuid,nodev,noexec,relatime)",
    "proc on /proc/sys/net type proc (rw,nosuid,nodev,noexec,relatime)",
    "proc on /proc/sys type proc (ro,relatime)",
    "sysfs on /sys type sysfs (ro,nosuid,nodev,noexec,relatime)",
    "sysfs on /sys/devices/virtual/net type sysfs (rw,nosuid,nodev,noexec,relatime)",
    "fusectl on /sys/fs/fuse/connections type fusectl (rw,nosuid,nodev,noexec,relatime)",
    "proc on /dev/.lxc/proc type proc (rw,relatime)",
    "sys on /dev/.lxc/sys type sysfs (rw,relatime)",
    "none on /sys/fs/cgroup type cgroup2 (rw,nosuid,nodev,noexec,relatime)",
    *(
        f"lxcfs on /proc/{name} type {_LXCFS}"
        for name in ("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime")
    ),
    f"lxcfs on /sys/devices/system/cpu type {_LXCFS}",
    *(
        f"tmpfs on /dev/{name} type tmpfs (rw,relatime,size=16384k,mode=755)"
        for name in ("full", "null", "random", "tty", "urandom", "zero")
    ),
    *(
        f"devpts on /dev/{name} type devpts "
        "(rw,nosuid,noexec,relatime,gid=100005,mode=620,ptmxmode=666,max=1026)"
        for name in ("pts", "ptmx", "console", "tty1", "tty2")
    ),
)


def main(argv: list[str]) -> int:
    """Run the tool whose path is argv[1]."""
    name = os.path.basename(argv[1])
    return _TOOLS[name]([name, *argv[2:]])


def _facts() -> dict[str, Any]:
    with open("/run/guest/guest.json", encoding="utf-8") as file:
        facts: dict[str, Any] = json.load(file)
        return facts


def _owners(argv: list[str]) -> int:
    from . import owners

    facts = _facts()
    return owners.main(argv, binds=tuple(facts["binds"]) if facts["unprivileged"] else None)


def _ip(argv: list[str]) -> int:
    from . import ip

    return ip.run(argv[1:], ip.of_guest(_facts()["interfaces"]))


def _hostname(argv: list[str]) -> int:
    words = argv[1:]
    if words in (["-I"], ["--all-ip-addresses"]):
        addresses = [
            entry[key].partition("/")[0]
            for entry in _facts()["interfaces"]
            for key in ("ip", "ip6")
            if "/" in entry.get(key, "")
        ]
        print("".join(f"{address} " for address in addresses))
    elif words and not words[0].startswith("-"):
        socket.sethostname(words[0])
    else:
        print(socket.gethostname())
    return 0


def _mount(argv: list[str]) -> int:
    """`mount` without arguments: the guest's mounts as LXC makes them; with arguments it is the machine's."""
    if argv[1:] not in ([], ["-l"]):
        os.execv("/run/host/usr/bin/mount", argv)  # noqa: S606 - the point of it
    facts = _facts()
    first, *others = (
        f"{entry['source']} on {entry['target']} type {entry['type']} ({entry['options']})"
        for entry in facts["file systems"]
    )
    ids = ",uid=100000,gid=100000" if facts["unprivileged"] else ""
    print(
        "\n".join(
            [first, *others, f"none on /dev type tmpfs (rw,relatime,size=492k,mode=755{ids})", *_MOUNTS]
        )
    )
    return 0


def _nproc(_: list[str]) -> int:
    print(_facts()["cores"])
    return 0


def _free(argv: list[str]) -> int:
    """`free`, with -b, -k, -m or -g."""
    shift = {"-b": -10, "-k": 0, "-m": 10, "-g": 20}.get(argv[1] if len(argv) > 1 else "-k")
    if shift is None:
        sys.stderr.write(f"free: invalid option -- '{argv[1].lstrip('-')[:1]}'\n")
        return 1
    with open("/proc/meminfo", encoding="ascii") as file:
        have = {line.split(":")[0]: int(line.split()[1]) for line in file}

    def shown(key: str) -> int:
        return have[key] >> shift if shift >= 0 else have[key] << -shift

    cache = have["Buffers"] + have["Cached"] + have["SReclaimable"]
    have |= {
        "used": have["MemTotal"] - have["MemAvailable"],
        "cache": cache,
        "swapped": have["SwapTotal"] - have["SwapFree"],
    }
    print(f"{'total':>20}{'used':>12}{'free':>12}{'shared':>12}{'buff/cache':>12}{'available':>12}")
    for title, keys in (
        ("Mem:", ("MemTotal", "used", "MemFree", "Shmem", "cache", "MemAvailable")),
        ("Swap:", ("SwapTotal", "swapped", "SwapFree")),
    ):
        first, *others = (shown(key) for key in keys)
        print(f"{title:<9}{first:>11}" + "".join(f"{value:>12}" for value in others))
    return 0


def _df(argv: list[str]) -> int:
    """`df [-h|-k|-m|-B1] [PATH...]` of the guest's volumes."""
    options = [word for word in argv[1:] if word.startswith("-")]
    if set(options) - {"-h", "-k", "-m", "-P", "-T", "-B1", "--output=pcent"}:
        sys.stderr.write(f"df: unrecognized option '{options[0]}'\nTry 'df --help' for more information.\n")
        return 1
    paths = [word for word in argv[1:] if not word.startswith("-")]
    systems = [system for system in _facts()["file systems"] if system["sizes"]]
    code, lines = 0, []
    for path in paths or [system["target"] for system in systems]:
        if not os.path.exists(path):
            sys.stderr.write(f"df: {path}: No such file or directory\n")
            code = 1
            continue
        place = os.path.realpath(path)
        lines.append(
            max(
                (
                    system
                    for system in systems
                    if (place + "/").startswith(system["target"].rstrip("/") + "/")
                ),
                key=lambda system: len(system["target"]),
            )
        )
    if lines:
        _print_df(lines, options)
    return code


def _print_df(systems: list[dict[str, Any]], options: list[str]) -> None:
    titles = (
        ["Size", "Used", "Avail"]
        if "-h" in options
        else [
            "1M-blocks" if "-m" in options else "1B-blocks" if "-B1" in options else "1K-blocks",
            "Used",
            "Available",
        ]
    )
    rows = [["Filesystem", *titles, "Use%", "Mounted on"]]
    for system in systems:
        total, used, free = (int(size) for size in system["sizes"])
        rows.append(
            [
                _device(system["source"]),
                *(_size(size, options) for size in (total, used, free)),
                f"{-(-used * 100 // max(used + free, 1))}%",
                system["target"],
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    widths[0] = max(widths[0], 14)
    widths[1:4] = [max(width, 5) for width in widths[1:4]]
    for row in rows:
        print(
            f"{row[0]:<{widths[0]}} "
            + " ".join(f"{row[column]:>{widths[column]}}" for column in range(1, 5))
            + f" {row[5]}"
        )


def _device(source: str) -> str:
    """Images are mounted through a loop device."""
    return "/dev/loop1" if source.endswith(".raw") else source


def _size(number: int, options: list[str]) -> str:
    if "-h" not in options:
        return str(number if "-B1" in options else -(-number // (1 << 20 if "-m" in options else 1024)))
    value, unit = float(number), ""
    for letter in _UNITS:
        if value < 1024:
            break
        value, unit = value / 1024, letter
    return (
        f"{-(-value * 10 // 1) / 10:.1f}{unit}" if unit and value < 9.95 else f"{int(-(-value // 1))}{unit}"
    )


def _end(argv: list[str]) -> int:
    """`poweroff`, `halt` and `reboot`: asks the node over the container's own command socket."""
    facts = _facts()
    if facts["ostype"] in ("debian", "ubuntu", "fedora", "archlinux", "centos", "opensuse"):
        sys.stderr.write(
            "Failed to connect to system scope bus via local transport: No such file or directory\n"
        )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0/var/lib/lxc/{facts['vmid']}/command")
        connection.sendall(b"reboot" if argv[0] == "reboot" else b"poweroff")
    return 0


def _systemctl(argv: list[str]) -> int:
    """What can be asked of a systemd with no units of its own."""
    verb, units = (
        (argv[1], [word for word in argv[2:] if not word.startswith("-")]) if len(argv) > 1 else ("", [])
    )
    if verb == "is-system-running":
        degraded = bool(_facts()["degraded"])
        print("degraded" if degraded else "running")
        return int(degraded)
    if verb in ("poweroff", "reboot", "halt"):
        return _end([verb])
    if verb == "daemon-reload":
        return 0
    if verb in ("is-active", "is-failed", "is-enabled"):
        for _ in units:
            print("not-found" if verb == "is-enabled" else "inactive")
        return 4 if verb != "is-failed" else 1
    if verb in ("start", "stop", "restart", "reload", "enable", "disable", "status"):
        for unit in units:
            name = unit if "." in unit else f"{unit}.service"
            sys.stderr.write(
                f"Failed to {verb} {name}: Unit {name} not found.\n"
                if verb != "status"
                else f"Unit {name} could not be found.\n"
            )
        return 4 if verb == "status" else 5
    sys.stderr.write(f"Unknown command verb '{verb}'.\n")
    return 1


def _openrc(argv: list[str]) -> int:
    """OpenRC with no services of its own."""
    service = next((word for word in argv[1:] if not word.startswith("-")), "")
    if argv[0] == "rc-status":
        print("Runlevel: default")
        return 0
    sys.stderr.write(f" * {argv[0]}: service `{service}' does not exist\n")
    return 1


_TOOLS: dict[str, Callable[[list[str]], int]] = {
    "ip": _ip,
    "hostname": _hostname,
    "mount": _mount,
    "nproc": _nproc,
    "free": _free,
    "df": _df,
    "poweroff": _end,
    "halt": _end,
    "reboot": _end,
    "systemctl": _systemctl,
    "rc-service": _openrc,
    "rc-update": _openrc,
    "rc-status": _openrc,
    "service": _openrc,
    "stat": _owners,
    "chown": _owners,
    "chgrp": _owners,
}
