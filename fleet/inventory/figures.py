"""The figures of a homelab, counted from its inventory: nothing here is typed anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fleet.inventory.values import Inventory

DAY = 86400
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Figures:
    """What hosts.yml adds up to. None: not declared."""

    containers: int
    categories: Mapping[str, int]
    running: int
    stopped: tuple[str, ...]  # names of those that are not to be running
    memory: int  # bytes, of those that are to be running
    node_memory: int | None
    networks: Mapping[str, int]  # each container under its first bridge
    log_days: float | None
    snapshot_days: int | None  # full days that daily snapshots reach back, of everything that has them
    threshold: int | None  # percent

    def __str__(self) -> str:
        categories = ", ".join(f"{count} {name}" for name, count in self.categories.items())
        networks = ", ".join(f"{count} on {name}" for name, count in self.networks.items())
        plural = "" if self.containers == 1 else "s"
        of_node = f" of {gib(self.node_memory)}" if self.node_memory else ""
        return "; ".join(
            part
            for part in (
                f"{self.containers} container{plural}{f' ({categories})' if categories else ''}",
                f"{self.running} to be running, {len(self.stopped)} stopped",
                f"{gib(self.memory)}{of_node} memory",
                networks,
            )
            if part
        )


def figures(inventory: Inventory) -> Figures:
    """The figures of this inventory."""
    in_file = sorted(inventory.containers, key=lambda each: each.line)
    running = [each for each in inventory.containers if each.started]
    monitoring = inventory.monitoring
    daily = [
        each.snapshots.keep
        for each in inventory.backups.subjects
        if each.snapshots is not None and not each.snapshots.keep.all
    ]
    networks = Counter(declared.bridges[0] for declared in inventory.declared.values() if declared.bridges)
    return Figures(
        containers=len(inventory.containers),
        categories=dict(Counter(each.category for each in in_file if each.category)),
        running=len(running),
        stopped=tuple(each.name for each in inventory.containers if not each.started),
        memory=sum(int(each.config.get("memory", "512")) for each in running) * MIB,
        node_memory=inventory.node.memory,
        networks=dict(sorted(networks.items())),
        log_days=monitoring.logs.retention / DAY if monitoring and monitoring.logs else None,
        snapshot_days=min((keep.last + keep.daily - 1 for keep in daily), default=None),
        threshold=monitoring.threshold if monitoring else None,
    )


def gib(size: int) -> str:
    """A size in GiB, as people say it: 30.75 GiB."""
    return f"{size / 1024**3:.2f}".rstrip("0").rstrip(".") + " GiB"
