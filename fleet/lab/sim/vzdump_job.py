"""A backup job: the guests one after the other, what is printed, and what is left (pve-manager VZDump.pm)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO

from . import clock, costs, files, paths, tasks, vmlist
from .errors import Die
from .vzdump import Options
from .vzdump_shelf import Shelf
from .vzdump_task import Plugin, Task, Undo

LOGS = "/var/log/vzdump"
_LOCK, _PID = "/var/run/vzdump.lock", "/var/run/vzdump.pid"
_INTERRUPTED = "interrupted by signal"
_ENDINGS = {"0": "", "": "", "1": ".lzo", "lzo": ".lzo", "gzip": ".gz", "zstd": ".zst"}
_COMPRESSORS = {
    ".lzo": "lzop",
    ".gz": "gzip --rsyncable",
    ".zst": "zstd --threads={threads}",
}


class Job:
    """One run of vzdump."""

    def __init__(self, line: str, options: Options, elsewhere: list[int], out: tasks.Out) -> None:
        self._line, self.options, self._elsewhere, self.out = line, options, elsewhere, out
        self._log: IO[str] | None = None
        self.shelf = Shelf(options)

    def say(self, level: str, text: str) -> None:
        """Print lines with their level, into the guest's log, too."""
        word = {"info": "INFO", "warn": "WARN"}.get(level, "ERROR")
        for line in text.rstrip("\n").split("\n"):
            if self._log is not None:
                self._log.write(f"{_now()} {word}: {line}\n")
                self._log.flush()
            if level == "warn":
                self.out.warn(line)
            else:
                self.out.write(f"{word}: {line}\n")

    def run(self, vmids: list[int]) -> None:
        """Back all of them up; Die("job errors") if one failed."""
        with _interruptible(), self._alone():
            self.say("info", f"starting new backup job: {self._line}")
            if self._elsewhere:
                self.say("info", f"skip external VMs: {', '.join(map(str, self._elsewhere))}")
            try:
                failed = [vmid for vmid in vmids if not self._back_up(vmid)]
            except Die as error:
                self.say("err", f"Backup job failed - {error.message}")
                raise
            self.say("info", f"Backup job finished {'with errors' if failed else 'successfully'}")
        if failed:
            raise Die("job errors")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(paths.real(_PID))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of which a node has one; waits for it as long as --lockwait says."""
        descriptor = os.open(paths.real(_LOCK), os.O_CREAT | os.O_RDWR, 0o644)
        try:
            end = time.monotonic() + 60 * self.options.number("lockwait", 180)
            waiting = False
            while not _try_lock(descriptor):
                if not waiting:
                    self.say("info", "trying to get global lock - waiting...")
                    waiting = True
                if time.monotonic() >= end:
                    self.say("err", f"can't acquire lock '{_LOCK}' - got timeout")
                    raise Die(f"can't acquire lock '{_LOCK}' - got timeout")
                time.sleep(0.05)
            if waiting:
                self.say("info", "got global lock")
            files.write(_PID, self.out.upid.encode())
            yield
        finally:
            os.close(descriptor)

    def _back_up(self, vmid: int) -> bool:
        """Back one guest up; whether that worked. Die only where the whole job was interrupted."""
        began = time.time()
        guest = vmlist.guests().get(vmid)
        task = Task(vmid, guest.kind if guest else "", clock.now())
        undo = Undo()
        plugin: Plugin | None = None
        failure: str | None = None
        try:
            if guest is None:
                raise Die(f"unable to find VM '{vmid}'")
            plugin = self._plugin(task)
            self._do(task, plugin, undo)
        except tasks.Broken:
            failure = _INTERRUPTED
        except Die as error:
            failure = error.message.rstrip("\n")
        except OSError as error:
            failure = f"{error.strerror}: '{error.filename}'" if error.filename else str(error)
        if plugin is not None:
            self._tidy(task, plugin, undo)
        self._finish(task, failure, time.time() - began)
        if failure == _INTERRUPTED:
            raise Die(_INTERRUPTED)
        return failure is None

    def _plugin(self, task: Task) -> Plugin:
        if task.kind == "lxc":
            from .vzdump_lxc import Container

            return Container(task.vmid, self)
        from .vzdump_qemu import Machine

        return Machine(task.vmid, self)

    def _do(self, task: Task, plugin: Plugin, undo: Undo) -> None:
        self.shelf.check_limits(task)
        base = self._base(task)
        ending = (".vma" if task.kind == "qemu" else ".tar") + _ENDINGS[self.options.text("compress", "0")]
        task.target = f"{self.shelf.directory}/{base}{ending}"
        task.partial = re.sub(r"\.[^.]+$", ".dat", task.target)
        given = self.options.text("tmpdir").rstrip("/")
        task.scratch = (
            f"{given}/vzdumptmp{os.getpid()}_{task.vmid}" if given else f"{self.shelf.directory}/{base}.tmp"
        )
        shutil.rmtree(paths.real(task.scratch), ignore_errors=True)
        try:
            os.mkdir(paths.real(task.scratch))
        except OSError:
            raise Die(f"unable to create temporary directory '{task.scratch}'") from None
        os.makedirs(paths.real(LOGS), exist_ok=True)
        log = paths.real(f"{LOGS}/{task.kind}-{task.vmid}.log")
        self._log = open(log, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - until _finish()
        self.say("info", f"Starting Backup of VM {task.vmid} ({task.kind})")
        self.say("info", f"Backup started at {_now()}")
        running = plugin.running()
        self.say("info", f"status = {'running' if running else 'stopped'}")
        plugin.lock()
        undo.unlock = True
        task.mode = self._mode(task, plugin, running)
        undo.prepared = True
        self.say("info", f"backup mode: {task.mode}")
        if self.options.number("bwlimit"):
            self.say("info", f"bandwidth limit: {self.options.number('bwlimit')} KiB/s")
        self.say("info", f"ionice priority: {self.options.number('ionice', 7)}")
        if task.mode == "stop":
            plugin.prepare(task, "stop")
            if running:
                self.say("info", "stopping virtual guest")
                task.stopped_at = time.time()
                plugin.stop(task)
                undo.restart = True
        elif task.mode == "suspend":
            self._suspended(task, plugin, undo)
        else:
            self._snapshotted(task, plugin, undo)
        costs.spend("backup")
        self.say("info", f"creating vzdump archive '{task.target}'")
        plugin.archive(task, _compressor(task.target, self.options))
        os.rename(paths.real(task.partial), paths.real(task.target))
        size = os.stat(paths.real(task.target)).st_size
        self.say("info", f"archive file size: {_size(size)}")
        self.shelf.mark(task, self.say)
        self.shelf.prune(task, self.say)

    def _base(self, task: Task) -> str:
        """What the names of a backup's files begin with; a lab may be done with one in less than a second."""
        taken = os.listdir(paths.real(self.shelf.directory))
        while True:
            when = time.strftime("%Y_%m_%d-%H_%M_%S", time.localtime(task.started))
            base = f"vzdump-{task.kind}-{task.vmid}-{when}"
            if not any(name.startswith(f"{base}.") for name in taken):
                return base
            time.sleep(1 - time.time() % 1)
            task.started = clock.now()

    def _mode(self, task: Task, plugin: Plugin, running: bool) -> str:
        """The mode in which it can be done: snapshots not being possible, the guest is suspended."""
        mode = self.options.text("mode", "snapshot") if running else "stop"
        if mode == "snapshot":
            try:
                plugin.prepare(task, mode)
            except Die as error:
                if not error.message.startswith("mode failure"):
                    raise
                self.say("info", error.message)
                self.say("info", "trying 'suspend' mode instead")
                return "suspend"
        return mode

    def _suspended(self, task: Task, plugin: Plugin, undo: Undo) -> None:
        plugin.prepare(task, "suspend")
        plugin.first_sync(task)
        self.say("info", "suspending guest")
        task.stopped_at = time.time()
        plugin.suspend(task)
        undo.resume = True
        plugin.final_sync(task)
        self.say("info", "resuming guest")
        undo.resume = False
        plugin.resume(task)
        self._online_again(task)

    def _snapshotted(self, task: Task, plugin: Plugin, undo: Undo) -> None:
        if task.several:
            self.say("info", "suspend vm to make snapshot")
            task.stopped_at = time.time()
            plugin.suspend(task)
            undo.resume = True
        plugin.take_snapshot(task)
        if task.several:
            self.say("info", "resume vm")
            undo.resume = False
            plugin.resume(task)
            self._online_again(task)

    def _online_again(self, task: Task) -> None:
        if task.stopped_at is not None:
            delay = int(time.time() - task.stopped_at)
            self.say("info", f"guest is online again after {delay or '<1'} seconds")

    def _tidy(self, task: Task, plugin: Plugin, undo: Undo) -> None:
        """Take back what was done to the guest; what cannot be is only told."""
        if undo.unlock:
            self._try(plugin.unlock)
        if undo.prepared:
            self._try(lambda: plugin.cleanup(task))
        if undo.resume:
            self.say("info", "resume vm")
            if self._try(lambda: plugin.resume(task)):
                self._online_again(task)
        elif undo.restart:
            if not plugin.running():
                self.say("info", "restarting vm")
                if not self._try(lambda: plugin.start(task)):
                    return
            self._online_again(task)

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Die as error:
            self.out.write(error.message.rstrip("\n") + "\n")
            return False
        return True

    def _finish(self, task: Task, failure: str | None, seconds: float) -> None:
        """Remove what is no archive, tell how it went, and put the log beside the archive."""
        if task.partial:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(paths.real(task.partial))
        if task.scratch:
            shutil.rmtree(paths.real(task.scratch), ignore_errors=True)
        if failure is not None:
            self.say("err", f"Backup of VM {task.vmid} failed - {failure}")
            self.say("info", f"Failed at {_now()}")
        else:
            took = time.strftime("%H:%M:%S", time.gmtime(seconds))
            self.say("info", f"Finished Backup of VM {task.vmid} ({took})")
            self.say("info", f"Backup finished at {_now()}")
        if self._log is None:
            return
        self._log.close()
        self._log = None
        beside = re.sub(r"\.(?:tar|vma)(?:\.\w+)?$", ".log", task.target)
        shutil.copyfile(paths.real(f"{LOGS}/{task.kind}-{task.vmid}.log"), paths.real(beside))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(clock.now()))


def _size(size: int) -> str:
    """A size as vzdump prints it: whole KB and MB, GB and TB with two places."""
    if size < 1 << 20:
        return f"{size >> 10}KB"
    if size < 1 << 30:
        return f"{size >> 20}MB"
    return f"{size / (1 << 30):.2f}GB" if size < 1 << 40 else f"{size / (1 << 40):.2f}TB"


def _compressor(target: str, options: Options) -> str:
    """The program that vzdump pipes the archive through; empty for none."""
    template = _COMPRESSORS.get(f".{target.rpartition('.')[2]}", "")
    return template.format(threads=options.number("zstd", 1))


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Signals end the job with a text of vzdump's own."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise Die(_INTERRUPTED, 255)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    old = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)
