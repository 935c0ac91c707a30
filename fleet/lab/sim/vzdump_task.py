"""One guest's part of a backup job, and what a kind of guest has to be able to do for it."""

from __future__ import annotations

from typing import Protocol


class Task:
    """One guest's part of a job: where its archive goes, and what was done to the guest."""

    def __init__(self, vmid: int, kind: str, started: float) -> None:
        self.vmid, self.kind, self.started = vmid, kind, started
        self.name = ""  # of the guest
        self.mode = ""
        self.target = self.partial = self.scratch = (
            ""  # paths: the archive, while it is written, for what comes first
        )
        self.stopped_at: float | None = None
        self.several = False  # a snapshot is of more than one volume
        self.snapshot = False  # there is one to be removed


class Plugin(Protocol):
    """What a kind of guest does in a backup."""

    def running(self) -> bool:
        """Whether the guest runs."""

    def lock(self) -> None:
        """Set `lock: backup`."""

    def unlock(self) -> None:
        """Take the lock away."""

    def prepare(self, task: Task, mode: str) -> None:
        """Find out what is to be backed up; Die("mode failure ...") where this mode cannot be."""

    def first_sync(self, task: Task) -> None:
        """Copy what is there while the guest runs."""

    def final_sync(self, task: Task) -> None:
        """Copy what has changed since."""

    def stop(self, task: Task) -> None:
        """Shut the guest down."""

    def start(self, task: Task) -> None:
        """Start the guest again."""

    def suspend(self, task: Task) -> None:
        """Let the guest stand still."""

    def resume(self, task: Task) -> None:
        """Let the guest run again."""

    def take_snapshot(self, task: Task) -> None:
        """Take the storage snapshot that the archive is made of."""

    def archive(self, task: Task, compressor: str) -> None:
        """Write the archive to task.partial."""

    def cleanup(self, task: Task) -> None:
        """Remove what was made for the backup."""


class Undo:
    """What is to be taken back at the end."""

    def __init__(self) -> None:
        self.unlock = self.prepared = self.resume = self.restart = False
