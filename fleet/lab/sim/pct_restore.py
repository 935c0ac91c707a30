"""`pct restore`: a container from a backup archive (pve-container API2/LXC.pm and LXC/Create.pm).

In Proxmox's order: the configuration out of the archive, new volumes, only then the end of the container that
is replaced, the files, the merged configuration. What fails after that takes the new volumes with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from typing import TYPE_CHECKING

from . import archives, conf, container, costs, files, mounts, network, paths, pct_create, tasks
from .conf import Config
from .errors import Die
from .mounts import Mount
from .pct_update import update
from .sizes import parse_size

if TYPE_CHECKING:
    from .cli import Arguments
    from .tasks import Out

_GIB = 1024**3
_IGNORED = ("restore", "ha-managed", "password", "ssh-public-keys")
_NOT_TAKEN_OVER = re.compile(r"rootfs|(?:mp|unused)\d+|lock|parent|template|unprivileged")
_TAR = (
    "-p --sparse --numeric-owner --acls --xattrs '--xattrs-include=user.*' "
    "'--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write'"
)
_DECOMPRESS = {"gz": "-z ", "zst": "--zstd ", "xz": "-J ", "bz2": "-j ", "lzo": "--lzop "}


def restore_backup(arguments: Arguments) -> int:
    """`pct restore ID ARCHIVE`, the same as `pct create ID ARCHIVE --restore`."""
    return restore(arguments.vmid(), arguments)


def restore(vmid: int, arguments: Arguments) -> int:
    """Make the container of a backup; with --force in the place of one that there is."""
    force = arguments.flag("force")
    replaces = force and container.exists(vmid)
    if not replaces:
        container.check_unused(vmid)
    else:
        if container.running(vmid):
            raise Die("can't overwrite running container")
        container.check_protection(container.load(vmid), f"unable to restore CT {vmid}")
    archive = arguments.values.pop("ostemplate")
    storage = arguments.take("storage") or "local"
    start = arguments.flag("start")
    work = _Restore(vmid, archive, storage, arguments, replaces)
    pct_create.reserve(vmid, "unable to restore CT", force)

    def run(out: Out) -> None:
        with container.locked(vmid):
            work.run(out)
        if start:
            pct_create.start_after_create(vmid, out)

    return tasks.run("vzrestore", str(vmid), run)


class _Restore:
    """One restore: what was asked for, checked."""

    def __init__(self, vmid: int, archive: str, storage: str, arguments: Arguments, replaces: bool) -> None:
        self._vmid, self._archive, self._storage, self._replaces = vmid, archive, storage, replaces
        self._unique = arguments.flag("unique")
        self._ignore_errors = arguments.flag("ignore-unpack-errors")
        self._limit = float(arguments.take("bwlimit") or 0) * 1024
        self._unprivileged = arguments.take("unprivileged")
        for name in _IGNORED:
            arguments.take(name)
        pct_create.check_pool(arguments.take("pool"))
        pct_create.check_template(archive)
        options, volumes = pct_create.split_volumes(arguments.values, storage)
        if volumes and "rootfs" not in volumes:
            raise Die("mount points configured, but 'rootfs' not set - aborting")
        self._given = mounts.of(volumes)
        pct_create.check_storages(self._given, None if volumes else storage)
        checked = Config()
        update(vmid, checked, False, options)
        self._options = checked.keys

    def run(self, out: Out) -> None:
        """Do it, the configuration being locked; Die with what went wrong, tidied up."""
        old = container.load(self._vmid)
        made: list[str] = []
        self._untouched = self._replaces
        try:
            self._do(old, made, out)
        except (Die, OSError, ValueError) as error:
            reason = error.message if isinstance(error, Die) else str(error)
            self._tidy(made)
            if isinstance(error, tasks.Broken) or reason == "received interrupt":
                raise
            out.write(reason.rstrip("\n") + "\n")
            raise Die(f"unable to restore CT {self._vmid} - {reason}", 255) from None

    def _tidy(self, made: list[str]) -> None:
        from . import storage

        for volume in made:
            with contextlib.suppress(Die):
                storage.free(volume)
        if self._untouched:
            container.remove_lock(self._vmid, "create")
            return
        container.delete(self._vmid)

    def _do(self, old: Config, made: list[str], out: Out) -> None:
        out.write(f"recovering backed-up configuration from '{self._archive}'\n")
        path = pct_create.template_file(self._archive)
        backup = _open(path)
        saved = _saved(self._vmid, backup)
        config = self._merged(saved)
        points, later = (self._given, []) if self._given else self._points(saved)
        self._untouched = False
        ready = self._make(points, config, made, out)
        if set(old.keys) - {"lock"}:
            self._destroy(old, out)
        root = next(point for point in ready if point.key == "rootfs")
        out.write(f"restoring '{self._archive}' now..\n")
        self._unpack(backup, path, ready, config, out)
        out.write("merging backed-up and given configuration..\n")
        self._restore_firewall(root)
        for point in (*ready, *later):
            config.keys[point.key] = point.text()
        config.keys.setdefault("hostname", f"CT{self._vmid}")
        config.keys.setdefault("memory", "512")
        config.keys.setdefault("swap", "512")
        os.makedirs(paths.real(f"{paths.LXC}/{self._vmid}"), exist_ok=True)
        if container.is_template(saved):
            out.write("Convert restored container to template...\n")
            self._make_template(config)
        container.save(self._vmid, config)

    def _merged(self, saved: Config) -> Config:
        """The keys given, then those of the backup; MAC addresses anew for --unique. Volumes come later."""
        keys = {key: value for key, value in saved.keys.items() if not _NOT_TAKEN_OVER.fullmatch(key)}
        merged = {**keys, **self._options}
        if self._unique:
            for key in [key for key in keys if re.fullmatch(r"net\d+", key)]:
                merged[key] = network.render({**network.parse(keys[key]), "hwaddr": network.random_mac()})
        unprivileged = self._unprivileged or saved.keys.get("unprivileged")
        if unprivileged == "1":
            merged["unprivileged"] = "1"
        return Config(merged, list(saved.lxc))

    def _points(self, saved: Config) -> tuple[list[Mount], list[Mount]]:
        """(volumes to be made, bind mounts that come in at the end), as the backup has them."""
        if "rootfs" not in saved.keys:
            raise Die("rootfs configuration could not be recovered, please check and specify manually!")
        points, later = [], []
        for point in mounts.of(saved.keys):
            if point.kind != "volume":
                if point.key == "rootfs":
                    only = "is only possible by specifying -rootfs manually!"
                    raise Die(f"restoring rootfs to {point.kind} mount {only}")
                later.append(point)
                continue
            size = parse_size(point.props.get("size", ""))
            if size is None:
                raise Die(f"unable to detect disk size - please specify {point.key} (size)")
            kept = {name: value for name, value in point.props.items() if name != "size"}
            gib = f"{size / _GIB:.9f}".rstrip("0").rstrip(".")
            points.append(Mount(point.key, point.kind, {**kept, "volume": f"{self._storage}:{gib}"}))
        return points, later

    def _make(self, points: list[Mount], config: Config, made: list[str], out: Out) -> list[Mount]:
        """The mount points with their volumes, the new ones made."""
        from . import storage

        ready = []
        for point in points:
            if mounts.is_new(point):
                new = mounts.make(self._vmid, point, container.unprivileged(config), out)
                made.append(new.volume)
                ready.append(new)
            elif point.kind == "volume":
                ready.append(point.with_volume(point.volume, storage.size(point.volume)))
            else:
                ready.append(point)
        return ready

    def _destroy(self, old: Config, out: Out) -> None:
        """Free the volumes of the container that is replaced, with their snapshots."""
        from .pct_destroy import destroy_volumes

        destroy_volumes(old, out)
        container.save(self._vmid, Config({"lock": "create"}))

    def _unpack(
        self, backup: archives.Backup, path: str, points: list[Mount], config: Config, out: Out
    ) -> None:
        from . import storage

        out.write(f"extracting archive '{path}'\n")
        costs.spend("extract")
        total = backup.length()
        if self._limit:
            time.sleep(total / self._limit)
        volumes = [point for point in points if point.kind == "volume"]
        root = storage.root_dir(volumes[0].volume)
        shift = archives.SHIFT if container.unprivileged(config) else 0
        problem = None
        try:
            backup.extract(root, shift)
        except ValueError as error:
            problem = f"{error}\ntar: Child returned status 1\ntar: Error is not recoverable: exiting now"
        for point in volumes[1:]:
            _move_into(f"{root}{point.target}", storage.root_dir(point.volume))
        used = int(total * pct_create.share(volumes[0].volume))
        size = storage.size(volumes[0].volume)
        if problem is None and size and used > size + sum(storage.size(p.volume) for p in volumes[1:]):
            problem = (
                "tar: ./usr: Cannot write: No space left on device\n"
                "tar: Exiting with failure status due to previous errors"
            )
        if problem is None:
            storage.fill(volumes[0].volume, used)
            out.write(f"Total bytes read: {total} ({-(-total // 1024**2)}MiB, 200MiB/s)\n")
            return
        out.write(problem + "\n")
        if not self._ignore_errors:
            raise Die(f"command '{self._command(path, shift)}' failed: exit code 2")

    def _command(self, path: str, shift: int) -> str:
        """The command that Proxmox unpacks with."""
        mapped = "lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- " if shift else ""
        packed = _DECOMPRESS.get(path.rpartition(".")[2], "")
        return (
            f"{mapped}tar xpf - {packed}--totals --one-file-system {_TAR} -C {paths.LXC}/{self._vmid}/rootfs "
            "--skip-old-files --anchored --exclude './dev/*'"
        )

    def _restore_firewall(self, root: Mount) -> None:
        """Take the two files of the backup out of the tree; rules, if there are any, go to /etc/pve."""
        from . import storage

        top = storage.root_dir(root.volume)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{top}/{archives.CONFIG}")
        try:
            with open(f"{top}/{archives.FIREWALL}", "rb") as file:
                rules = file.read()
        except FileNotFoundError:
            return
        if rules:
            files.write(f"{paths.PVE}/firewall/{self._vmid}.fw", rules)
            os.unlink(f"{top}/{archives.FIREWALL}")

    def _make_template(self, config: Config) -> None:
        from dataclasses import replace

        from . import storage

        for point in mounts.of(config.keys):
            if point.kind == "volume":
                base = storage.make_base(point.volume)
                config.keys[point.key] = replace(point, props={**point.props, "volume": base}).text()
        config.keys["template"] = "1"


def _open(path: str) -> archives.Backup:
    """The archive, however damaged."""
    try:
        return archives.Backup(paths.real(path))
    except OSError as error:
        raise Die(f"failed to open '{path}': {error.strerror}") from None


def _saved(vmid: int, backup: archives.Backup) -> Config:
    """The configuration that the archive holds."""
    import sys

    raw = backup.config()
    if raw is None:
        raise Die("ERROR: archive contains no configuration file")
    saved = conf.parse(raw, vmid, lambda text: print(text, file=sys.stderr))
    saved.snapshots = {}
    return saved


def _move_into(source: str, target: str) -> None:
    """Move what lies in the directory of a mount point into its volume."""
    if os.path.isdir(source):
        for name in os.listdir(source):
            shutil.move(f"{source}/{name}", f"{target}/{name}")
