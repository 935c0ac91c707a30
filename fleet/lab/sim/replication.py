"""Replication jobs of the cluster: /etc/pve/replication.cfg, and the snapshots they leave (pvesr).

A job is `local: VMID-N` with a `target`; its snapshot is `__replicate_VMID-N_TIME__`.
"""

from __future__ import annotations

import re

from . import paths

_JOB = re.compile(r"^local:\s*((\d+)-\d+)\s*$", re.MULTILINE)


def jobs(vmid: int) -> list[str]:
    """The ids of a guest's jobs."""
    try:
        with open(paths.real(f"{paths.PVE}/replication.cfg"), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    return [found[1] for found in _JOB.finditer(text) if int(found[2]) == vmid]


def is_snapshot(name: str, job: str | None = None) -> bool:
    """Whether a snapshot was made by replication, or by one job."""
    return re.fullmatch(rf"__replicate_{re.escape(job) if job else '.+'}_\d+__", name) is not None
