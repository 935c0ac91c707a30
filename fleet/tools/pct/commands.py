"""The pct commands: verb -> words. Explicit about what Proxmox would otherwise guess (pve-facts 3.2, 3.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleet.core.command import Command, Word, command


def create(vmid: int, template: Word, options: Mapping[str, str]) -> Command:
    """`pct create`: the options in the order of the mapping; nothing is started."""
    return command("pct", "create", str(vmid), template, *_options(options))


def set_(vmid: int, values: Mapping[str, str], delete: Iterable[str] = (), digest: str = "") -> Command:
    """`pct set`: refused by Proxmox where the file's SHA-1 is no longer `digest`."""
    words = list(_options(values))
    if gone := ",".join(delete):
        words += ["--delete", gone]
    if digest:
        words += ["--digest", digest]
    return command("pct", "set", str(vmid), *words)


def revert(vmid: int, keys: Iterable[str], digest: str) -> Command:
    """`pct set --revert`: drops pending changes; refused where the file's SHA-1 is no longer `digest`."""
    return command("pct", "set", str(vmid), "--revert", ",".join(keys), "--digest", digest)


def resize(vmid: int, disk: str, size: str) -> Command:
    """`pct resize` to an absolute size. Exit 0 means nothing: a worker's error is on stderr only (trap 1)."""
    return command("pct", "resize", str(vmid), disk, size)


def start(vmid: int) -> Command:
    """`pct start`."""
    return command("pct", "start", str(vmid))


def stop(vmid: int) -> Command:
    """`pct stop`: kills it at once."""
    return command("pct", "stop", str(vmid))


def shutdown(vmid: int, timeout: int) -> Command:
    """`pct shutdown`: asks it to end; fails after `timeout` seconds, and kills nothing."""
    return command("pct", "shutdown", str(vmid), "--timeout", str(timeout))


def reboot(vmid: int, timeout: int) -> Command:
    """`pct reboot`: a shutdown with timeout, pending changes applied, a start."""
    return command("pct", "reboot", str(vmid), "--timeout", str(timeout))


def destroy(vmid: int) -> Command:
    """`pct destroy`: the container, its volumes, and its entries in backup jobs, HA and firewall."""
    return command("pct", "destroy", str(vmid), "--purge", "1", "--destroy-unreferenced-disks", "0")


def _options(options: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(word for key, value in options.items() for word in (f"--{key}", value))
