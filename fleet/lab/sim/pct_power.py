"""start, stop, shutdown, reboot, suspend, resume of a container, and what happens after it stopped."""

from __future__ import annotations

import os
import sys

from . import (
    container,
    costs,
    hotplug,
    machine,
    mounts,
    network,
    paths,
    pct_update,
    storage_cfg,
    tasks,
)
from .cli import Arguments
from .conf import Config
from .errors import Die
from .mounts import Mount
from .tasks import Out

_NO_CRIU = "No such file or directory - execing criu failed, is it installed?"
_PRE_START_FAILED = (
    "run_buffer: 571 Script exited with status {status}\n"
    'lxc_init: 845 Failed to run lxc.hook.pre-start for container "{vmid}"\n'
    '__lxc_start: 2039 Failed to initialize container "{vmid}"\n'
)
_FREEZE_SECONDS, _FREEZE_SECONDS_FAST = 30.0, 2.0  # PVE::LXC::freeze; and in a lab that is not realistic
_FIRST_BOOT, _FIRST_BOOT_COMPRESSED = 740_000, 176_000  # bytes, on ext4 and on ZFS


def start(arguments: Arguments) -> int:
    """`pct start`."""
    vmid = arguments.vmid()
    if container.running(vmid):
        raise Die(f"CT {vmid} already running")
    skip_lock = arguments.flag("skiplock")
    return tasks.run("vzstart", str(vmid), lambda out: start_container(vmid, out, skip_lock))


def start_container(vmid: int, out: Out, skip_lock: bool = False) -> None:
    """Start a stopped container.

    Pending changes are applied first, then bridges, volumes and mount points are looked at.
    """
    if machine.faults().get("quorum_lost"):
        raise Die("cluster not ready - no quorum?")
    config = container.load(vmid)
    if container.is_template(config):
        raise Die("you can't start a CT if it's a template")
    if not skip_lock and config.keys.get("lock") != "mounted":
        container.check_lock(config)
    config = apply_pending(vmid, config)
    pct_update.check_readable(config)
    for net in network.of(config).values():
        bridge = net.get("bridge")
        if bridge is not None and not network.bridge_exists(bridge):
            raise Die(f"bridge '{bridge}' does not exist")
    points = mounts.of(config.keys)
    for point in points:
        if point.kind == "volume":
            storage_cfg.get(mounts.storage_of(point.volume))
    if not all(_can_mount(point) for point in points) or not _devices_exist(config):
        out.write(_PRE_START_FAILED.format(status=2, vmid=vmid))
        raise Die(f"startup for container '{vmid}' failed")
    from . import runtime

    costs.spend("start")
    _grow_at_first_start(vmid, points[0])
    runtime.start(vmid)
    hotplug.write_limits(vmid, config.keys)


def _grow_at_first_start(vmid: int, root: Mount) -> None:
    """A system's first boot writes some files; /var/lib/lxc/ID/config is there from the first start on."""
    from . import storage

    if not os.path.exists(paths.real(f"{paths.LXC}/{vmid}/config")):
        compressed = storage_cfg.get(mounts.storage_of(root.volume)).type == "zfspool"
        written = _FIRST_BOOT_COMPRESSED if compressed else _FIRST_BOOT
        storage.fill(root.volume, storage.usage(root.volume)[1] + written)


def _can_mount(point: Mount) -> bool:
    """Whether the pre-start hook will find what it has to mount."""
    from . import storage

    if point.kind != "volume":
        return os.path.exists(paths.real(point.volume))
    try:
        return storage.exists(point.volume)
    except Die:
        return False


def _devices_exist(config: Config) -> bool:
    try:
        for key, value in config.keys.items():
            if key.startswith("dev") and key[3:].isdecimal():
                pct_update.check_device(value)
    except Die:
        return False
    return True


def apply_pending(vmid: int, config: Config) -> Config:
    """Apply all pending changes of a container that does not run.

    What fails is warned about and stays pending.
    """
    if not config.pending:
        return config
    pct_update.apply(vmid, config)
    container.save(vmid, config)
    return container.load(vmid)


def after_stop(vmid: int) -> None:
    """What Proxmox's post-stop hook does."""
    if container.exists(vmid):
        apply_pending(vmid, container.load(vmid))


def stop_container(vmid: int, cost: str = "stop") -> None:
    """Stop a running container and do what follows a stop."""
    from . import runtime

    costs.spend(cost)
    runtime.stop(vmid)
    after_stop(vmid)


def freeze(vmid: int) -> None:
    """Let a running container stand still; LXC gives up after a while and leaves the request in place."""
    from . import cgroup

    seconds = _FREEZE_SECONDS if machine.facts().get("realistic") else _FREEZE_SECONDS_FAST
    if not cgroup.freeze(vmid, seconds):
        raise Die("command failed: Operation not permitted")


def thaw(vmid: int, out: Out) -> None:
    """Let a container run again; a failure is only warned about."""
    from . import cgroup

    if not cgroup.thaw(vmid, _FREEZE_SECONDS_FAST):
        out.write("command failed: Operation not permitted\n")


def _check_running(vmid: int, title: str = "CT") -> None:
    if not container.running(vmid):
        raise Die(f"{title} {vmid} not running")


def stop(arguments: Arguments) -> int:
    """`pct stop`."""
    vmid = arguments.vmid()
    _check_running(vmid)
    skip_lock = arguments.flag("skiplock")

    def work(_: Out) -> None:
        config = container.load(vmid)
        if not skip_lock and config.keys.get("lock") != "mounted":
            container.check_lock(config)
        stop_container(vmid)

    return tasks.run("vzstop", str(vmid), work)


def shutdown(arguments: Arguments) -> int:
    """`pct shutdown`: a container that stands still does not hear of it."""
    vmid = arguments.vmid()
    _check_running(vmid)
    timeout, kill = int(arguments.take("timeout") or 60), arguments.flag("forceStop")

    def work(out: Out) -> None:
        container.check_lock(container.load(vmid))
        if not _hears(vmid, timeout) and not kill:
            out.write(f"command 'lxc-stop -n {vmid} --nokill --timeout {timeout}' failed: exit code 1\n")
            raise Die("container did not stop")
        stop_container(vmid, "shutdown")

    return tasks.run("vzshutdown", str(vmid), work)


def _hears(vmid: int, timeout: float) -> bool:
    """Whether a container runs on within that time, if it is frozen."""
    from . import cgroup

    patience = timeout if machine.facts().get("realistic") else min(timeout, _FREEZE_SECONDS_FAST)
    return cgroup.thawed_within(vmid, patience)


def reboot(arguments: Arguments) -> int:
    """`pct reboot`: shutdown, then start with the pending changes."""
    vmid = arguments.vmid()
    _check_running(vmid, "VM")

    def work(out: Out) -> None:
        container.check_lock(container.load(vmid))
        stop_container(vmid, "shutdown")
        start_container(vmid, out)

    return tasks.run("vzreboot", str(vmid), work)


def suspend(arguments: Arguments) -> int:
    """`pct suspend`: fails as on a host without CRIU, which is what Proxmox ships."""
    vmid = arguments.vmid()
    _check_running(vmid)

    def work(out: Out) -> None:
        container.check_lock(container.load(vmid))
        prefix = f"lxc-checkpoint: {vmid}: ../src/lxc"
        out.write(f"{prefix}/criu.c: criu_version_ok: 767 {_NO_CRIU}\n")
        out.write(f"{prefix}/tools/lxc_checkpoint.c: checkpoint: 182 Checkpointing {vmid} failed\n")
        raise Die(f"command 'lxc-checkpoint -n {vmid} -s -D /var/lib/vz/dump' failed: exit code 1")

    return tasks.run("vzsuspend", str(vmid), work)


def resume(arguments: Arguments) -> int:
    """`pct resume`: there never is a checkpoint."""
    vmid = arguments.vmid()
    if container.running(vmid):
        raise Die(f"CT {vmid} already running")

    def work(out: Out) -> None:
        container.check_lock(container.load(vmid))
        prefix = f"lxc-checkpoint: {vmid}: ../src/lxc"
        out.write(f"{prefix}/criu.c: criu_version_ok: 767 {_NO_CRIU}\n")
        out.write(f"{prefix}/tools/lxc_checkpoint.c: restore: 249 Restoring {vmid} failed\n")
        raise Die(
            f"command 'lxc-checkpoint -n {vmid} -r --foreground -D /var/lib/vz/dump' failed: exit code 1"
        )

    return tasks.run("vzresume", str(vmid), work)


def main(argv: list[str]) -> int:
    """The post-stop hook, `lxc-pve-poststop-hook VMID poweroff|reboot`, for a guest that stopped itself."""
    vmid = int(argv[1])
    try:
        with container.locked(vmid):
            after_stop(vmid)
        if argv[2:3] == ["reboot"]:
            return tasks.run("vzstart", str(vmid), lambda out: start_container(vmid, out))
    except Die as error:
        sys.stderr.write(error.message.rstrip("\n") + "\n")
        return 1
    return 0
