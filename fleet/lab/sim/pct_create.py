"""`pct create`: the checks in Proxmox's order, then the task that makes volumes.

Unpacks the template and writes the configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from . import container, costs, errors, mounts, paths, pct_power, setup, storage_cfg, tasks
from .cli import Arguments
from .conf import Config
from .errors import Die, ParamError
from .mounts import Mount
from .pct_update import update
from .tasks import Out

_DEFAULT_SIZE = "4"  # GiB, of a root file system that nobody asked for
_PUBLIC_KEY = re.compile(r"(?:\S+ )?(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+ [A-Za-z0-9+/=]+")
_PLAIN_SIZE = re.compile(r"\d+(?:\.\d+)?")


def create(arguments: Arguments) -> int:
    """Make a container from a template; the exit code."""
    vmid = arguments.vmid()
    if arguments.values.get("restore") == "1":
        from .pct_restore import restore

        return restore(vmid, arguments)
    keys = _read_files(arguments)
    unprivileged = _unprivileged(arguments)
    if "cpuunits" in arguments.values:
        errors.left(0)  # finding out the version of control groups reads a file to its end
    container.check_unused(vmid)
    template = arguments.values.pop("ostemplate")
    storage = arguments.take("storage") or "local"
    start = arguments.flag("start")
    for name in (
        "force",
        "restore",
        "unique",
        "ignore-unpack-errors",
        "bwlimit",
        "ha-managed",
        "password",
    ):
        arguments.take(name)
    check_pool(arguments.take("pool"))
    check_template(template)
    options, volumes = split_volumes(arguments.values, storage)
    if volumes and "rootfs" not in volumes:
        raise Die("mount points configured, but 'rootfs' not set - aborting")
    points = mounts.of(volumes)
    check_storages(points, None if volumes else storage)
    config = Config()
    update(vmid, config, False, options)
    if unprivileged:
        config.keys["unprivileged"] = "1"
    points = points or [Mount("rootfs", "volume", {"volume": f"{storage}:{_DEFAULT_SIZE}"})]

    def work(out: Out) -> None:
        with container.locked(vmid):
            build(vmid, config, points, out, lambda root: unpack(template, root, config, keys, out))
        if start:
            start_after_create(vmid, out)

    reserve(vmid, "unable to create CT", False)
    return tasks.run("vzcreate", str(vmid), work)


def _read_files(arguments: Arguments) -> str | None:
    """The content of --ssh-public-keys."""
    name = arguments.take("ssh-public-keys")
    if name is None:
        return None
    try:
        with open(paths.real(name), encoding="utf-8") as file:
            keys = file.read()
    except OSError as error:
        raise Die(f"can't open '{name}' - {error.strerror}", error.errno) from None
    if any(
        not _PUBLIC_KEY.match(line) for line in keys.splitlines() if line.strip() and not line.startswith("#")
    ):
        raise ParamError({"ssh-public-keys": "SSH public key validation error"})
    return keys


def _unprivileged(arguments: Arguments) -> bool:
    from . import machine

    return (arguments.take("unprivileged") or ("1" if machine.pve_major() >= 9 else "0")) == "1"


def check_pool(pool: str | None) -> None:
    """Refuse a pool that /etc/pve/user.cfg does not have."""
    if pool is None:
        return
    try:
        with open(paths.real(f"{paths.PVE}/user.cfg"), encoding="utf-8") as file:
            known = {line.split(":")[1] for line in file if line.startswith("pool:")}
    except FileNotFoundError:
        known = set()
    if pool not in known:
        raise Die(f"pool '{pool}' does not exist")


def check_template(template: str) -> None:
    """Refuse a template or backup whose storage does not exist or cannot hold such.

    That the file exists is looked at later.
    """
    if template.startswith("/"):
        return
    storage_cfg.get(mounts.storage_of(template))


def split_volumes(values: dict[str, str], storage: str) -> tuple[dict[str, str], dict[str, str]]:
    """(plain options, volume options); a bare number is a size on the default storage."""
    options: dict[str, str] = {}
    volumes: dict[str, str] = {}
    for key, value in values.items():
        if key == "rootfs" or re.fullmatch(r"mp\d+", key):
            volumes[key] = f"{storage}:{value}" if _PLAIN_SIZE.fullmatch(value) else value
        elif not key.startswith("unused"):
            options[key] = value
    return options, volumes


def check_storages(points: list[Mount], default: str | None) -> None:
    """Refuse storages that do not exist or do not hold containers."""
    names = [mounts.storage_of(point.volume) for point in points if point.kind == "volume"]
    for name in names + ([default] if default is not None else []):
        if "rootdir" not in storage_cfg.get(name).content:
            raise ParamError({"storage": f"storage '{name}' does not support container directories"})


def reserve(vmid: int, prefix: str, force: bool) -> None:
    """Take the VMID with an otherwise empty configuration."""
    try:
        container.create_and_lock(vmid, force)
    except Die as error:
        raise Die(f"{prefix} {vmid} - {error.message}", 255) from None


def build(
    vmid: int, config: Config, points: list[Mount], out: Out, fill: Callable[[str], int], verb: str = "create"
) -> None:
    """Make the volumes, fill the root file system, write the configuration.

    Whatever fails, all is removed again.
    """
    from . import storage

    made: list[str] = []
    try:
        for point in points:
            ready = point
            if mounts.is_new(point):
                ready = mounts.make(vmid, point, container.unprivileged(config), out)
                made.append(ready.volume)
            elif point.kind == "volume":
                ready = point.with_volume(point.volume, storage.size(point.volume))
            config.keys[point.key] = ready.text()
        root = mounts.parse("rootfs", config.keys["rootfs"]).volume
        storage.fill(root, int(fill(storage.root_dir(root)) * share(root)))
        config.keys.setdefault("hostname", f"CT{vmid}")
        config.keys.setdefault("memory", "512")
        config.keys.setdefault("swap", "512")
        container.save(vmid, config)
        os.makedirs(paths.real(f"{paths.LXC}/{vmid}"), exist_ok=True)
    except Die as error:
        for volume in made:
            storage.free(volume)
        container.delete(vmid)
        if isinstance(error, tasks.Broken) or error.message == "received interrupt":
            raise
        out.write(error.message + "\n")
        raise Die(f"unable to {verb} CT {vmid} - {error.message}", 255) from None


def share(volume: str) -> float:
    """Bytes on disk for a byte of the unpacked template.

    Ext4 rounds up to blocks, ZFS compresses (as the recordings measured).
    """
    return 0.7003 if storage_cfg.get(mounts.storage_of(volume)).type == "zfspool" else 1.1833


def unpack(template: str, root: str, config: Config, keys: str | None, out: Out) -> int:
    """Unpack the template and do what Proxmox does to a fresh system; the bytes that it takes."""
    archive = template_file(template)
    out.write(f"extracting archive '{archive}'\n")
    costs.spend("extract")
    size = setup.extract(archive, root, out)
    setup.detect(root, config, out)
    setup.first_steps(root, config, keys, out)
    return size


def template_file(template: str) -> str:
    """The path on the node of a template given as volume or path."""
    from . import storage

    if not template.startswith("/"):
        return storage.template_path(template)
    if not os.path.isfile(paths.real(template)):
        raise Die(f"can't find file '{template}'")
    return template


def start_after_create(vmid: int, out: Out) -> None:
    """`--start`: a start that fails is only told about on stdout, the creation has worked."""
    try:
        pct_power.start_container(vmid, out)
    except Die as error:
        out.write(error.message.rstrip("\n") + "\n")
