"""What vzdump does with a container (pve-container VZDump/LXC.pm)."""

from __future__ import annotations

import os
import shlex
import shutil
import time

from . import (
    archives,
    conf,
    container,
    files,
    mounts,
    packing,
    paths,
    pct_power,
    pct_snapshot,
    storage,
    zfs_control,
)
from .conf import Config
from .errors import Die
from .mounts import Mount
from .pct_create import share
from .vzdump_job import Job
from .vzdump_task import Task

_RATIO = 0.27  # bytes of an archive for a byte of its tar stream, compressed (07-backup-qm, 0)
_STEP = 0.05  # seconds between two looks at the bandwidth limit
_TAR_FLAGS = (
    "tar cpf - --totals --one-file-system -p --sparse --numeric-owner --acls --xattrs "
    "'--xattrs-include=user.*' '--xattrs-include=security.capability' '--warning=no-file-ignored' "
    "'--warning=no-xattr-write' --one-file-system '--warning=no-file-ignored'"
)
_MOUNTED = "/mnt/vzsnap0"


class Container:
    """A container in a backup job."""

    def __init__(self, vmid: int, job: Job) -> None:
        self._vmid, self._job = vmid, job
        self._config = Config()
        self._points: list[Mount] = []  # what is backed up

    def running(self) -> bool:
        """Whether the container runs."""
        return container.running(self._vmid)

    def lock(self) -> None:
        """Set `lock: backup`."""
        container.set_lock(self._vmid, "backup")

    def unlock(self) -> None:
        """Take the lock away."""
        container.remove_lock(self._vmid, "backup")

    def prepare(self, task: Task, mode: str) -> None:
        """Tell what is in the backup and what is not."""
        self._config = container.load(self._vmid)
        name = self._config.keys.get("hostname")
        if name is not None:
            self._info(f"CT Name: {name}")
        task.name = name or f"CT{self._vmid}"
        self._points = []
        for point in mounts.of(self._config.keys):
            included, reason = pct_snapshot.backed_up(point)
            if included:
                self._info(f"including mount point {point.key} ('{point.target}') in backup")
                self._points.append(point)
            else:
                which = f"{point.kind} mount point {point.key} ('{point.target}')"
                self._info(f"excluding {which} from backup ({reason})")
        if mode == "snapshot":
            if not all(storage.has_feature(point.volume, "snapshot") for point in self._points):
                raise Die("mode failure - some volumes do not support snapshots")
            if pct_snapshot.VZDUMP in self._config.snapshots:
                self._info("found old vzdump snapshot (force removal)")
                with container.locked(self._vmid):
                    self.unlock()
                    pct_snapshot.remove(self._vmid, pct_snapshot.VZDUMP, True, self._job.out)
                    self.lock()
            task.several = len(self._points) > 1

    def first_sync(self, task: Task) -> None:
        """Copy the running container's files."""
        self._sync(task, "first", self._bytes())

    def final_sync(self, task: Task) -> None:
        """Copy them once more while it stands still."""
        self._sync(task, "final", 0)

    def _sync(self, task: Task, which: str, transferred: int) -> None:
        from . import runtime

        root = f"/proc/{runtime.init_pid(self._vmid)}/root"
        self._info(f"starting {which} sync {root}/ to {task.scratch}")
        began = time.time()
        for point in self._points:
            target = f"{paths.real(task.scratch)}{point.target}".rstrip("/")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(
                storage.root_dir(point.volume), target, symlinks=True, ignore=_sockets, dirs_exist_ok=True
            )
        self._info(
            f"{which} sync finished - transferred {_human(transferred)} bytes in {int(time.time() - began)}s"
        )

    def stop(self, task: Task) -> None:
        """Shut the container down."""
        del task
        pct_power.stop_container(self._vmid, "shutdown")

    def start(self, task: Task) -> None:
        """Start it again."""
        del task
        pct_power.start_container(self._vmid, self._job.out)

    def suspend(self, task: Task) -> None:
        """Freeze it."""
        del task
        pct_power.freeze(self._vmid)

    def resume(self, task: Task) -> None:
        """Thaw it."""
        del task
        pct_power.thaw(self._vmid, self._job.out)

    def take_snapshot(self, task: Task) -> None:
        """Take the snapshot `vzdump`, in the place of the lock for that time."""
        self._info(f"create storage snapshot '{pct_snapshot.VZDUMP}'")
        with container.locked(self._vmid):
            self.unlock()
            pct_snapshot.create(self._vmid, pct_snapshot.VZDUMP, "vzdump backup snapshot", self._job.out)
            self.lock()
        task.snapshot = True

    def archive(self, task: Task, compressor: str) -> None:
        """Write the archive: the configuration, the firewall's, then the files."""
        self._assemble(task)
        sources = [(point.target, self._directory(task, point)) for point in self._points]
        total = self._bytes()
        raw = archives.stream(
            paths.real(task.scratch),
            sources,
            [*self._job.options.excluded, "lost+found"],
            self._shift(),
            total,
        )
        total = max(total, -(-len(raw) // 10240) * 10240)
        packed = raw
        if compressor:
            if compressor == "lzop":  # which Python cannot stand for
                self._info("bash: line 1: lzop: command not found")
                raise Die(self._failed(task, compressor, 127))
            packed = packing.pack(raw, task.target)
        size = max(len(packed), int(total * _RATIO) if compressor else total)
        began = time.monotonic()
        if size > self._job.shelf.room():
            self._no_room(task, compressor, packed)
        self._write(task, packed, size, total)
        rate = int(total / 2**20 / max(time.monotonic() - began, 0.5)) or 1
        self._info(f"Total bytes written: {total} ({-(-total // 2**20)}MiB, {rate}MiB/s)")

    def _write(self, task: Task, packed: bytes, size: int, total: int) -> None:
        """Write the file as fast as --bwlimit lets it grow."""
        path = paths.real(task.partial)
        limit = self._job.options.number("bwlimit") * 1024
        with open(path, "wb") as file:
            file.write(packed)
            file.flush()
            end = time.monotonic() + (total / limit if limit else 0)
            while (left := end - time.monotonic()) > 0:
                done = 1 - left * limit / total
                file.truncate(max(len(packed), int(size * done)))
                time.sleep(min(left, _STEP))
            file.truncate(len(packed))
            packing.pad(file, task.target, size - len(packed))

    def _no_room(self, task: Task, compressor: str, packed: bytes) -> None:
        """Fail as the programs do on a full file system."""
        with open(paths.real(task.partial), "wb") as file:
            file.write(packed[: len(packed) // 2])
        if compressor.startswith("zstd"):
            self._info("zstd: error 70 : Write error : cannot write block : No space left on device ")
            raise Die(self._failed(task, compressor, 70))
        if compressor.startswith("gzip"):
            self._info("gzip: stdout: No space left on device")
            raise Die(self._failed(task, compressor, 1))
        self._info("tar: -: Wrote only 4096 of 10240 bytes")
        self._info("tar: Error is not recoverable: exiting now")
        raise Die(self._failed(task, compressor, 2))

    def _failed(self, task: Task, compressor: str, code: int) -> str:
        """What the failure of the pipe is called."""
        mapped = "lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- " if self._shift() else ""
        top = task.scratch if task.mode == "suspend" else _MOUNTED
        anchored = [f"'--exclude=.{path}'" for path in self._job.options.excluded if path.startswith("/")]
        others = [f"--exclude={shlex.quote(p)}" for p in self._job.options.excluded if not p.startswith("/")]
        sources = ["."] if task.mode == "suspend" else [f".{point.target}" for point in self._points]
        words = [
            f"{mapped}{_TAR_FLAGS} '--directory={task.scratch}' ./etc/vzdump/pct.conf ./etc/vzdump/pct.fw",
            f"'--directory={top}' --no-anchored",
            *(["'--exclude=lost+found'"] if mapped else []),
            *others,
            "--anchored",
            *anchored,
            *sources,
        ]
        pipe = f" | {compressor}" if compressor else ""
        return (
            f"command 'set -o pipefail && {' '.join(words)}{pipe} >{task.partial}' failed: exit code {code}"
        )

    def _assemble(self, task: Task) -> None:
        """Put the configuration and the firewall's rules where the archive takes them from."""
        config = container.load(self._vmid)
        kept = Config({k: v for k, v in config.keys.items() if k not in ("lock", "parent")}, config.lxc)
        files.write(f"{task.scratch}/{archives.CONFIG}", conf.render(kept))
        try:
            with open(paths.real(f"{paths.PVE}/firewall/{self._vmid}.fw"), "rb") as file:
                rules = file.read()
        except FileNotFoundError:
            rules = b""
        files.write(f"{task.scratch}/{archives.FIREWALL}", rules)

    def _directory(self, task: Task, point: Mount) -> str:
        """Where the files of a mount point are read from."""
        if task.mode == "suspend":
            return f"{paths.real(task.scratch)}{point.target}".rstrip("/")
        if task.mode == "snapshot":
            return storage.snapshot_dir(point.volume, pct_snapshot.VZDUMP)
        return storage.root_dir(point.volume)

    def _bytes(self) -> int:
        """Bytes of the tar stream that the guest's volumes would make."""
        total = sum(int(storage.usage(point.volume)[1] / share(point.volume)) for point in self._points)
        return -(-total // 10240) * 10240

    def _shift(self) -> int:
        return archives.SHIFT if container.unprivileged(self._config) else 0

    def cleanup(self, task: Task) -> None:
        """Remove the snapshot; one that cannot be removed is left to the next run."""
        if not task.snapshot:
            return
        try:
            try:
                with pct_snapshot.migration_lock(self._vmid, 1):
                    self._remove_snapshot()
            except pct_snapshot.NoMigrationLock:
                self._info("waiting for active replication or other operation..")
                with pct_snapshot.migration_lock(self._vmid, 600):
                    self._remove_snapshot()
        except Die as error:
            self._job.out.write(f"snapshot 'vzdump' was not (fully) removed - {error.message}\n")

    def _remove_snapshot(self) -> None:
        self._info(f"cleanup temporary '{pct_snapshot.VZDUMP}' snapshot")
        pct_snapshot.remove(self._vmid, pct_snapshot.VZDUMP, False, self._job.out)

    def _info(self, text: str) -> None:
        self._job.say("info", text)


def _human(size: int) -> str:
    """A size as `rsync -h` prints it: thousands, two places."""
    value, units = float(size), iter(("", "K", "M", "G", "T"))
    unit = next(units)
    while value >= 1000:
        value, unit = value / 1000, next(units)
    return f"{value:.2f}{unit}" if unit else str(size)


def _sockets(directory: str, names: list[str]) -> set[str]:
    """What is no file, directory or link: rsync makes it anew, we leave it out."""
    kinds = (os.path.isfile, os.path.isdir, os.path.islink)
    found = {name for name in names if not any(kind(os.path.join(directory, name)) for kind in kinds)}
    return found | zfs_control.left_out(directory, names)
