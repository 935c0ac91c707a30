"""Where the archives of a job go: what fits there, files beside them, which older ones are removed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from . import archives, files, machine, paths, prune, storage, storage_attributes, storage_cfg
from .errors import Die
from .storage_file import Directory, filesystem
from .vzdump import Options, notes_fault
from .vzdump_task import Task

Say = Callable[[str, str], None]


class Shelf:
    """The directory of a job's archives. Die with all that is wrong with it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.directory = _directory(options)
        self._keep = options.keep()

    def check_limits(self, task: Task) -> None:
        """Refuse a backup above what is kept without pruning, and protected ones above their limit."""
        limit = 0 if self._keep.get("keep-all") else sum(self._keep.values())
        wants_protection = self._options.flag("protected") and self._options.storage is not None
        if not wants_protection and (not limit or self._options.flag("remove", True)):
            return
        existing = self._existing(task)
        if wants_protection:
            assert self._options.storage is not None
            most = int(storage_cfg.get(self._options.storage).keys.get("max-protected-backups", "-1"))
            if -1 < most <= sum(shielded for _, shielded in existing):
                raise Die(
                    f"The number of protected backups per guest is limited to {most} on storage "
                    f"'{self._options.storage}'"
                )
        elif sum(not shielded for _, shielded in existing) >= limit:
            raise Die(
                f"There is a max backup limit of {limit} enforced by the target storage or the vzdump "
                "parameters. Either increase the limit or delete old backups."
            )

    def _existing(self, task: Task) -> list[tuple[str, bool]]:
        """(path, whether it is protected) of the guest's archives."""
        found = []
        for name in sorted(os.listdir(paths.real(self.directory))):
            known = archives.info(name)
            if known is not None and known.standard and (known.kind, known.vmid) == (task.kind, task.vmid):
                path = f"{self.directory}/{name}"
                found.append((path, archives.protected(paths.real(path))))
        return found

    def mark(self, task: Task, say: Say) -> None:
        """Add notes to an archive on a storage, and protect it."""
        if self._options.storage is None:
            return
        template = self._options.text("notes-template")
        if template:
            say("info", "adding notes to backup")
            problem = notes_fault(template)
            if problem is not None:
                say("warn", f"unable to add notes - {problem}")
            else:
                files.write(f"{task.target}.notes", _notes(template, task).encode())
        if self._options.flag("protected"):
            say("info", "marking backup as protected")
            storage_attributes.protect(
                f"{self._options.storage}:backup/{os.path.basename(task.target)}", True
            )

    def prune(self, task: Task, say: Say) -> None:
        """Remove the guest's older archives that its retention does not keep."""
        if self._keep.get("keep-all") or not self._options.flag("remove", True):
            return
        shown = ", ".join(f"{key}={self._keep[key]}" for key in sorted(self._keep))
        say("info", f"prune older backups with retention: {shown}")
        name = self._options.storage
        if name is not None:
            pruned = prune.prune(name, self._keep, task.vmid, task.kind, say)
            count = sum(entry.mark == "remove" for entry in pruned)
        else:
            count = self._prune_directory(task, say)
        say("info", f"pruned {count} backup(s){' not covered by keep-retention policy' if count else ''}")

    def _prune_directory(self, task: Task, say: Say) -> int:
        existing = self._existing(task)
        times = [(archives.ctime(path), "protected" if shielded else None) for path, shielded in existing]
        gone = [
            path
            for (path, _), mark in zip(existing, prune.marks(times, self._keep), strict=True)
            if mark == "remove"
        ]
        for path in gone:
            say("info", f"delete old backup '{path}'")
            archives.remove(paths.real(path))
        return len(gone)

    def room(self) -> int:
        """Bytes that the archives' storage has left; none where the lab was told that it is full."""
        name = self._options.storage
        if name is None:
            return filesystem(self.directory, 0)[1]
        if name in machine.faults().get("disk_full", ()):
            return 0
        return storage.backend(name).status()[1]


def _directory(options: Options) -> str:
    """The directory of the archives; Die where it, or --tmpdir, is not there."""
    name, problems, found = options.storage, [], ""
    if name is None:
        found = options.text("dumpdir").rstrip("/")
        if not os.path.isdir(paths.real(found)):
            problems.append(f"dumpdir '{found}' does not exist")
    else:
        try:
            storage.backend(name)
        except Die as error:
            problems.append(f"could not activate storage '{name}': {error.message}")
        try:
            found = _backup_directory(name)
        except Die as error:
            problems.append(f"could not get storage information for '{name}': {error.message}")
    scratch = options.text("tmpdir").rstrip("/")
    if scratch and not os.path.isdir(paths.real(scratch)):
        problems.append(f"tmpdir '{scratch}' does not exist")
    if problems:
        raise Die("\n".join(problems))
    return found


def _backup_directory(name: str) -> str:
    section = storage_cfg.get(name)
    if "backup" not in section.content:
        raise Die(f"can't use storage '{name}' for backups - wrong content type")
    store = storage.backend_of(section, active=False)
    assert isinstance(store, Directory)
    return store.subdir("backup")


def _notes(template: str, task: Task) -> str:
    values = {
        "cluster": _cluster(),
        "guestname": task.name or f"VM {task.vmid}",
        "node": machine.node(),
        "vmid": str(task.vmid),
    }
    unescaped = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], template)
    return re.sub(r"\{\{(cluster|guestname|node|vmid)\}\}", lambda found: values[found[1]], unescaped)


def _cluster() -> str:
    """The cluster's name."""
    try:
        with open(paths.real(f"{paths.PVE}/corosync.conf"), encoding="utf-8") as file:
            found = re.search(r"cluster_name:\s*(\S+)", file.read())
    except FileNotFoundError:
        found = None
    return found[1] if found else "standalone node"
