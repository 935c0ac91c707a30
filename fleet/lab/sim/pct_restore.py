"""`pct restore`: a container from a backup archive (a tar with ./etc/vzdump/pct.conf in it)."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

from . import conf, container, costs, mounts, network, paths, pct_create, tasks
from .conf import Config
from .errors import Die
from .mounts import Mount
from .sizes import parse_size

if TYPE_CHECKING:
    from .cli import Arguments
    from .tasks import Out

_GIB = 1024**3
_CONFIG = "etc/vzdump/pct.conf"


def restore_backup(arguments: Arguments) -> int:
    """`pct restore ID ARCHIVE`, the same as `pct create ID ARCHIVE --restore`."""
    return restore(arguments.vmid(), arguments)


def restore(vmid: int, arguments: Arguments) -> int:
    """Make the container of a backup; with --force in the place of one that there is."""
    force, unique, start = (arguments.flag(name) for name in ("force", "unique", "start"))
    replaces = force and container.exists(vmid)
    if not replaces:
        container.check_unused(vmid)
    else:
        if container.running(vmid):
            raise Die("can't overwrite running container")
        container.check_protection(container.load(vmid), f"unable to restore CT {vmid}")
    archive, storage = arguments.values.pop("ostemplate"), arguments.take("storage")
    for name in (
        "restore",
        "ignore-unpack-errors",
        "bwlimit",
        "ha-managed",
        "password",
        "pool",
        "ssh-public-keys",
    ):
        arguments.take(name)
    pct_create.check_pool(arguments.take("pool"))
    pct_create.check_template(archive)
    options, volumes = pct_create.split_volumes(arguments.values, storage or "local")
    if volumes and "rootfs" not in volumes:
        raise Die("mount points configured, but 'rootfs' not set - aborting")
    if storage is not None:
        pct_create.check_storages([], storage)
    given = mounts.of(volumes)
    pct_create.check_storages(given, None)
    pct_create.reserve(vmid, "unable to restore CT", force)

    def work(out: Out) -> None:
        with container.locked(vmid):
            _restore(vmid, archive, storage, options, given, unique, out)
        if start:
            pct_create.start_after_create(vmid, out)

    return tasks.run("vzrestore", str(vmid), work)


def _restore(
    vmid: int,
    archive: str,
    storage: str | None,
    options: dict[str, str],
    given: list[Mount],
    unique: bool,
    out: Out,
) -> None:
    old = container.load(vmid)
    path = pct_create.template_file(archive)
    out.write(f"recovering backed-up configuration from '{archive}'\n")
    scratch = paths.real(f"{paths.LXC}/.restore-{vmid}-{os.getpid()}")
    os.makedirs(scratch)
    try:
        size = _unpack(path, scratch)
        saved = _saved(vmid, scratch)
        config = Config(_merged(saved, options, unique), list(saved.lxc))
        points = given or _points(saved, storage)
        _free_old(old, out)

        def fill(root: str) -> int:
            out.write(f"restoring '{archive}' now..\nextracting archive '{path}'\n")
            costs.spend("extract")
            shutil.rmtree(f"{scratch}/etc/vzdump", ignore_errors=True)
            shutil.copytree(scratch, root, symlinks=True, dirs_exist_ok=True)
            out.write(f"Total bytes read: {size} ({-(-size // 1024**2)}MiB, 200MiB/s)\n")
            out.write("merging backed-up and given configuration..\n")
            return size

        pct_create.build(vmid, config, points, out, fill, "restore")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(path: str, target: str) -> int:
    from . import runtime

    try:
        return runtime.unpack_template(paths.real(path), target)
    except (OSError, ValueError) as error:
        raise Die(f"unable to extract '{path}': {error}") from None


def _saved(vmid: int, tree: str) -> Config:
    """The configuration that the archive holds."""
    try:
        with open(f"{tree}/{_CONFIG}", "rb") as file:
            return conf.parse(file.read(), vmid, lambda text: print(text, file=sys.stderr))
    except FileNotFoundError:
        raise Die("couldn't find config in backup archive") from None


def _merged(saved: Config, options: dict[str, str], unique: bool) -> dict[str, str]:
    """The keys of the backup with the given ones over them; volumes come later."""
    keys = {
        key: value
        for key, value in saved.keys.items()
        if not re.fullmatch(r"rootfs|(?:mp|unused)\d+|lock|parent|template", key)
    }
    keys.update(options)
    if unique:
        for key in [key for key in keys if re.fullmatch(r"net\d+", key)]:
            keys[key] = network.render({**network.parse(keys[key]), "hwaddr": network.random_mac()})
    return keys


def _points(saved: Config, storage: str | None) -> list[Mount]:
    """The mount points of the backup as new volumes of the same size; bind mounts as they are."""
    points = []
    for point in mounts.of(saved.keys):
        if point.kind == "volume":
            size = parse_size(point.props.get("size", "4G")) or 0
            where = storage or mounts.storage_of(point.volume)
            gib = f"{size / _GIB:.6f}".rstrip("0").rstrip(".")
            points.append(Mount(point.key, point.kind, {**point.props, "volume": f"{where}:{gib}"}))
        else:
            points.append(point)
    return points


def _free_old(old: Config, out: Out) -> None:
    """Free the volumes of the container that is replaced."""
    from .pct_destroy import destroy_volumes

    if "rootfs" in old.keys:
        destroy_volumes(old, out)
