"""The verbs of `pct` that only look: list, status, config, pending, listsnapshot, cpusets, df."""

from __future__ import annotations

import os
import sys
import time

from . import container, paths, pending, vmlist
from .cli import Arguments
from .conf import Config, Section, encode_text
from .errors import Die, ParamError


def list_containers(_: Arguments) -> int:
    """`pct list`: nothing at all without containers."""
    ids = vmlist.local()
    if not ids:
        return 0
    from . import runtime

    running = runtime.running()
    print(f"{'VMID':<10} {'Status':<10} {'Lock':<12} {'Name':<20}")
    for vmid in ids:
        keys = container.load(vmid).keys
        status = "running" if vmid in running else "stopped"
        print(f"{vmid:<10} {status:<10} {keys.get('lock', ''):<12} {keys.get('hostname', f'CT{vmid}'):<20}")
    return 0


def status(arguments: Arguments) -> int:
    """`pct status`."""
    vmid = arguments.vmid()
    config = container.load(vmid)
    if not arguments.flag("verbose"):
        print(f"status: {'running' if container.running(vmid) else 'stopped'}")
        return 0
    from . import vmstatus

    for key, value in sorted(vmstatus.status(vmid, config).items()):
        if key != "cpu":
            print(f"{key}: {value}")
    return 0


def config(arguments: Arguments) -> int:
    """`pct config`."""
    vmid = arguments.vmid()
    current, name = arguments.flag("current"), arguments.take("snapshot")
    if name is not None and current:
        raise ParamError(
            {
                "current": "cannot use 'current' parameter with 'snapshot'",
                "snapshot": "cannot use 'snapshot' parameter with 'current'",
            }
        )
    loaded = container.load(vmid)
    section: Section = loaded
    if name is not None:
        section = snapshot_of(loaded, name)
    keys = section.keys if current or name is not None else pending.merged(loaded)
    check_shown(keys)
    for key in sorted(keys):
        print(f"{key}: {encode_text(keys[key]) if key == 'description' else keys[key]}")
    for key, value in section.lxc:
        print(f"{key}: {value}")
    return 0


def check_shown(keys: dict[str, str]) -> None:
    """Refuse to show what does not parse, as Proxmox does for interfaces."""
    from . import network

    network.of(Config(keys))


def snapshot_of(config: Config, name: str) -> Section:
    """A snapshot of the configuration."""
    if name not in config.snapshots:
        raise Die(f"snapshot '{name}' does not exist")
    return config.snapshots[name]


def show_pending(arguments: Arguments) -> int:
    """`pct pending`."""
    for line in pending.table(container.load(arguments.vmid())):
        print(line)
    return 0


def listsnapshot(arguments: Arguments) -> int:
    """`pct listsnapshot`: a tree by parents, children by time.

    Text that fits Latin-1 comes out as such (Perl's way).
    """
    loaded = container.load(arguments.vmid())
    lines: list[str] = []
    children: dict[str, list[str]] = {}
    for name, section in loaded.snapshots.items():
        parent = section.keys.get("parent", "")
        children.setdefault(parent if parent in loaded.snapshots else "", []).append(name)

    def show(name: str, depth: int) -> None:
        keys = loaded.snapshots[name].keys
        taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(keys.get("snaptime", "0"))))
        described = keys.get("description", "").split("\n")[0] or "no-description"
        lines.append(_branch(name, depth) + f" {taken:<23} {described}")
        below(name, depth + 1)

    def below(parent: str, depth: int) -> None:
        for name in sorted(
            children.get(parent, ()),
            key=lambda name: (int(loaded.snapshots[name].keys.get("snaptime", "0")), name),
        ):
            show(name, depth)
        if (loaded.keys.get("parent", "") or "") == parent:
            lines.append(_branch("current", depth) + f" {'':<23} You are here!")

    below("", 0)
    text = "".join(line + "\n" for line in lines)
    sys.stdout.flush()
    sys.stdout.buffer.write(
        text.encode("latin-1") if all(ord(char) < 256 for char in text) else text.encode()
    )
    return 0


def _branch(name: str, depth: int) -> str:
    """The indented arrow and name, to the column where the time starts."""
    return f"{' ' * depth}`-> {name:<{27 - depth}}"


def cpusets(_: Arguments) -> int:
    """`pct cpusets`: with one container the recorded warnings of an empty set."""
    from . import runtime

    running = sorted(runtime.running())
    if not running:
        print("no running containers")
        return 0
    sets = {vmid: _cpuset(vmid) for vmid in running}
    width = max(len(str(vmid)) for vmid in running) + 1
    cell = len(str(max((cpu for found in sets.values() for cpu in found), default=0))) + 1
    rows = []
    for vmid, found in sets.items():
        cells = [f"{cpu if cpu in found else '':>{cell}}" for cpu in range(max(found, default=0) + 1)]
        rows.append(f"{f'{vmid}:':<{width}} " + "".join(cells))
    line = "-" * max(len(row) for row in rows)
    for vmid in running:
        if not sets[vmid]:
            place = "at /usr/share/perl5/PVE/CLI/pct.pm line 844."
            sys.stderr.write(f"Use of uninitialized value $last in numeric le (<=) {place}\n" * 2)
    print("\n".join((line, *rows, line)))
    return 0


def _cpuset(vmid: int) -> list[int]:
    """The processors that the balancer gave to a container (lxc/ID/cpuset.cpus); none where it has not."""
    try:
        with open(paths.real(f"/sys/fs/cgroup/lxc/{vmid}/cpuset.cpus"), encoding="ascii") as file:
            text = file.read().strip()
    except FileNotFoundError:
        return []
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def df(arguments: Arguments) -> int:
    """`pct df`."""
    from . import mounts, storage

    vmid = arguments.vmid()
    if not container.exists(vmid):
        sys.stderr.write(f"{vmid} doesn't exist\n")
    loaded = container.load(vmid)
    rows = [("MP", "Volume", "Size", "Used", "Avail", "Use%", "Path")]
    for point in mounts.of(loaded.keys):
        total, used, available = (
            storage.usage(point.volume) if point.kind == "volume" else _host_usage(point.volume)
        )
        share = f"{used / total:.1f}" if total == 0 else f"{100 * used / total:.1f}"
        rows.append(
            (point.key, point.volume, _human(total), _human(used), _human(available), share, point.target)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    for row in rows:
        left = [f"{row[0]:<{widths[0]}}", f"{row[1]:<{widths[1]}}"]
        middle = [f"{row[column]:>{widths[column]}}" for column in (2, 3, 4)]
        print(" ".join((*left, *middle, f"{row[5]:>{widths[5]}}", row[6])))
    return 0


def _host_usage(path: str) -> tuple[int, int, int]:
    found = os.statvfs(paths.real(path))
    return (
        found.f_blocks * found.f_frsize,
        (found.f_blocks - found.f_bfree) * found.f_frsize,
        found.f_bavail * found.f_frsize,
    )


def _human(size: int) -> str:
    """Bytes with one decimal in the largest unit that keeps the number at 1 or more."""
    value = float(size)
    for unit in ("B", "K", "M", "G"):
        if value < 1024:
            return f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}T"
