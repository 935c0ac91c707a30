"""`pct destroy`."""

from __future__ import annotations

import os

from . import conf, container, costs, files, mounts, paths, pct_power, storage_cfg, tasks
from .cli import Arguments
from .conf import Config
from .errors import Die
from .tasks import Out


def destroy(arguments: Arguments) -> int:
    """Remove a container with all its volumes."""
    vmid = arguments.vmid()
    force, purge, unreferenced = (
        arguments.flag(name) for name in ("force", "purge", "destroy-unreferenced-disks")
    )
    _check(vmid, container.load(vmid))
    if not force and container.running(vmid):
        raise Die(f"unable to destroy CT {vmid} - container is running")

    def work(out: Out) -> None:
        with container.locked(vmid):
            config = container.load(vmid)
            _check(vmid, config)
            if container.running(vmid):
                if not force:
                    raise Die(f"unable to destroy CT {vmid} - container is running")
                out.write(f"forced to stop CT {vmid} before destroying!\n")
                pct_power.stop_container(vmid)
                config = container.load(vmid)
            costs.spend("destroy")
            destroy_volumes(config, out)
            if unreferenced:
                _destroy_unreferenced(vmid)
            if purge:
                out.write(f"purging CT {vmid} from related configurations..\n")
            _forget_firewall(vmid)
            container.delete(vmid)

    return tasks.run("vzdestroy", str(vmid), work)


def _check(vmid: int, config: Config) -> None:
    container.check_protection(config, f"can't remove CT {vmid}")
    container.check_lock(config)


def destroy_volumes(config: Config, out: Out) -> None:
    """Free all volumes that the configuration names.

    A base that clones need is refused before anything is gone.
    """
    from . import storage

    seen: list[str] = []
    for keys in (config.keys, config.pending, *(section.keys for section in config.snapshots.values())):
        unused = {value for key, value in keys.items() if key.startswith("unused")}
        for volume in sorted(conf.volumes(keys) | unused):
            if not volume.startswith("/") and not mounts.NEW_DISK.fullmatch(volume) and volume not in seen:
                seen.append(volume)
    for volume in seen:
        try:
            storage.free(volume)
        except Die as error:
            if "still in use" in error.message:
                raise
            out.write(error.message.rstrip("\n") + "\n")


def _destroy_unreferenced(vmid: int) -> None:
    from . import storage

    for name, section in storage_cfg.read().items():
        if "rootdir" in section.content and not section.disabled:
            for volume in storage.volumes(name, vmid, ("rootdir", "images")):
                storage.free(volume.volid)


def _forget_firewall(vmid: int) -> None:
    name = f"{paths.PVE}/firewall/{vmid}.fw"
    if os.path.exists(paths.real(name)):
        files.remove(name)
