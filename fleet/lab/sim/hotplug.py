"""Changes to a running container.

Cgroup limits, mount points, devices and interfaces (vm-zfs-1 shows them working).

A machine with the quirk `cgroup-hotplug-broken` refuses them as the recording machine's kernel does
(04-run).
"""

from __future__ import annotations

import os

from . import costs, machine, paths
from .conf import Config
from .errors import Die
from .mounts import Mount

_BROKEN = "cgroup-hotplug-broken"
_APPARMOR = "failed to change apparmor profile: Invalid argument"
_MIB = 1024 * 1024


def _refuse_limits(what: str) -> None:
    if machine.quirk(_BROKEN):
        raise Die(f"trying to change {what} cgroup values: container not running", 2)


def write_cgroup(vmid: int, name: str, value: str) -> None:
    """Write a file of the container's control group."""
    directory = paths.real(f"/sys/fs/cgroup/lxc/{vmid}")
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/{name}", "w", encoding="ascii") as file:
        file.write(value + "\n")


def write_limits(vmid: int, keys: dict[str, str]) -> None:
    """All limits of a container that starts."""
    memory, swap = int(keys.get("memory", "512")), int(keys.get("swap", "512"))
    write_cgroup(vmid, "memory.max", str(memory * _MIB))
    write_cgroup(vmid, "memory.high", str(memory * 1016 * 1024))
    write_cgroup(vmid, "memory.swap.max", str(swap * _MIB))
    write_cgroup(vmid, "cpu.max", _quota(keys.get("cpulimit", "0")))
    write_cgroup(vmid, "cpu.weight", _weight(keys.get("cpuunits", "100")))


def _quota(limit: str) -> str:
    return f"{int(float(limit) * 100000)} 100000" if float(limit) else "max 100000"


def _weight(units: str) -> str:
    return str(min(max(int(units), 1), 10000))


class Limits:
    """The limits of one running container; memory and swap are changed together, once."""

    def __init__(self, vmid: int, config: Config) -> None:
        self._vmid, self._config, self._memory_done = vmid, config, False

    def change(self, key: str) -> None:
        """Apply the pending value of cpulimit, cpuunits, memory or swap."""
        pending = self._config.pending
        if key == "cpulimit":
            self._cpu_limit(pending[key])
        elif key == "cpuunits":
            self._cpu_units(pending[key])
        elif not self._memory_done:
            self._memory(pending.get("memory"), pending.get("swap"))

    def delete(self, key: str) -> None:
        """Go back to no swap, no CPU limit or the default weight."""
        if key == "swap":
            self._memory(None, "0")
        elif key == "cpulimit":
            self._cpu_limit("0")
        else:
            self._cpu_units("100")

    def _memory(self, memory: str | None, swap: str | None) -> None:
        _refuse_limits("memory")
        if memory is not None:
            write_cgroup(self._vmid, "memory.max", str(int(memory) * _MIB))
            write_cgroup(self._vmid, "memory.high", str(int(memory) * 1016 * 1024))
        if swap is not None:
            write_cgroup(self._vmid, "memory.swap.max", str(int(swap) * _MIB))
        self._memory_done = True

    def _cpu_limit(self, limit: str) -> None:
        _refuse_limits("cpu quota")
        write_cgroup(self._vmid, "cpu.max", _quota(limit))

    def _cpu_units(self, units: str) -> None:
        _refuse_limits("cpu shares/weight")
        write_cgroup(self._vmid, "cpu.weight", _weight(units))


def mount_point(vmid: int, mount: Mount, made: bool) -> None:
    """Mount a volume or directory into the running container.

    `made`: the volume was allocated for it just now.
    """
    from . import runtime

    if machine.quirk(_BROKEN):
        raise Die(_APPARMOR, 39 if made else 1)  # the errno of the tidying up: ENOTEMPTY, EPERM
    if mount.kind == "bind" and not os.path.exists(paths.real(mount.volume)):
        raise Die(f"directory '{mount.volume}' does not exist", 2)
    costs.spend("hotplug")
    runtime.attach_mount(vmid, mount)


def can_add_devices() -> bool:
    """Devices are added live since pve-container 6.0.4."""
    return machine.pve_major() >= 9


def device(vmid: int, value: str) -> None:
    """Create a device node in the running container."""
    from . import runtime

    if machine.quirk(_BROKEN):
        raise Die(_APPARMOR, 1)
    costs.spend("hotplug")
    runtime.attach_device(vmid, value)


def remove_net(key: str) -> None:
    """Say what Proxmox says when it removes an interface of a running container."""
    print(f"delete ips from {key}")
