"""What vzdump does with a virtual machine (qemu-server VZDump/QemuServer.pm).

Even a stopped machine is backed up by QEMU, which the lab has not: it fails there, as on a host without
virtualisation.
"""

from __future__ import annotations

import re

from . import qm_conf
from .errors import Die
from .vzdump_job import Job
from .vzdump_task import Task


class Machine:
    """A virtual machine in a backup job."""

    def __init__(self, vmid: int, job: Job) -> None:
        self._vmid, self._job = vmid, job

    def running(self) -> bool:
        """None ever runs."""
        return False

    def lock(self) -> None:
        """Set `lock: backup`."""
        keys = qm_conf.read(self._vmid)
        qm_conf.check_lock(keys)
        qm_conf.save(self._vmid, {**keys, "lock": "backup"})

    def unlock(self) -> None:
        """Take the lock away."""
        keys = qm_conf.read(self._vmid)
        if keys.pop("lock", None) is None:
            raise Die("no lock found trying to remove lock 'backup'")
        qm_conf.save(self._vmid, keys)

    def prepare(self, task: Task, mode: str) -> None:
        """Tell which disks are in the backup."""
        del mode
        keys = qm_conf.read(self._vmid)
        task.name = keys.get("name", "")
        if task.name:
            self._job.say("info", f"VM Name: {task.name}")
        for key, volume in qm_conf.disks(keys):
            if re.search(r",backup=(?:0|no|off|false)\b", keys[key]):
                self._job.say("info", f"exclude disk '{key}' '{volume}' (backup=no)")
            else:
                size = re.search(r",size=(\w+)", keys[key])
                self._job.say("info", f"include disk '{key}' '{volume}'{f' {size[1]}' if size else ''}")

    def archive(self, task: Task, compressor: str) -> None:
        """Fail where QEMU would be started."""
        del task, compressor
        self._job.say("info", "starting kvm to execute backup task")
        raise Die(qm_conf.NO_KVM)

    def cleanup(self, task: Task) -> None:
        """Nothing was made."""

    def _never(self, task: Task) -> None:
        raise AssertionError(f"virtual machine {task.vmid} never runs")

    first_sync = final_sync = stop = start = suspend = resume = take_snapshot = _never
