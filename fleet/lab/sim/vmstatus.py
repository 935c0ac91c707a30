"""The figures of a container that `pct status --verbose` and the API show."""

from __future__ import annotations

import os
import time

from . import container, machine, mounts, paths
from .conf import Config
from .errors import Die
from .sizes import parse_size

_MIB = 1024 * 1024
_PRESSURES = (
    "pressurecpufull",
    "pressurecpusome",
    "pressureiofull",
    "pressureiosome",
    "pressurememoryfull",
    "pressurememorysome",
)


def status(vmid: int, config: Config) -> dict[str, int | str]:
    """Figures by name; a container that runs has pid and pressures too."""
    keys = config.keys
    running = container.running(vmid)
    figures: dict[str, int | str] = {
        "cpu": 0,
        "cpus": int(float(keys.get("cores") or keys.get("cpulimit") or 0))
        or int(machine.facts().get("cpus", 2)),
        "disk": 0,
        "diskread": 0,
        "diskwrite": 0,
        "maxdisk": _declared_size(keys),
        "maxmem": int(keys.get("memory", "512")) * _MIB,
        "maxswap": int(keys.get("swap", "0")) * _MIB,
        "mem": 0,
        "name": keys.get("hostname", f"CT{vmid}"),
        "netin": 0,
        "netout": 0,
        "status": "running" if running else "stopped",
        "swap": 0,
        "type": "lxc",
        "uptime": 0,
        "vmid": vmid,
    }
    for name in ("lock", "tags"):
        if name in keys:
            figures[name] = keys[name]
    if container.is_template(config):
        figures["template"] = 1
    if running:
        figures.update(_live(vmid, config))
    return figures


def _declared_size(keys: dict[str, str]) -> int:
    try:
        size = mounts.parse("rootfs", keys["rootfs"]).props.get("size")
    except (Die, KeyError):
        size = None
    return (parse_size(size) or 0) if size else 4 * 1024**3


def _live(vmid: int, config: Config) -> dict[str, int | str]:
    from . import runtime, storage

    total, used, _ = storage.usage(mounts.parse("rootfs", config.keys["rootfs"]).volume)
    started = _started(vmid)
    live: dict[str, int | str] = {
        "disk": used,
        "maxdisk": total,
        "netin": 340,
        "netout": 516,
        "pid": runtime.init_pid(vmid),
        "uptime": max(int(time.time() - started), 1),
    }
    live.update(dict.fromkeys(_PRESSURES, "0.00"))
    return live


def _started(vmid: int) -> float:
    """When the container was started: its control group's directory was made then."""
    try:
        return os.stat(paths.real(f"/sys/fs/cgroup/lxc/{vmid}")).st_ctime
    except FileNotFoundError:
        return time.time()
