"""What runs by itself, and when: one job a task and schedule, however many guests share it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fleet.domains.backup.spec import BackupSpec
from fleet.schedule.calendar import in_zone

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Job:
    """A task that runs by itself."""

    name: str  # fleet-pve-snapshot: the name of its units
    task: str  # backup.snapshot
    schedule: str  # as in hosts.yml: 02:00
    event: str  # with the time zone: 02:00 America/New_York
    words: tuple[str, ...]  # of the command line: backup.snapshot --schedule 02:00
    limit: int  # seconds after which it is stopped


def jobs(spec: BackupSpec, node: str) -> tuple[Job, ...]:
    """The jobs of a node, in the order snapshot, dump, send, drill; schedules in the order of their texts.

    Where all subjects of a task have one schedule, the task runs for whatever hosts.yml then declares; where
    there are several, each runs with `--schedule` for those that it is meant for.
    """
    wanted = [each for each in spec.subjects if each.exclude is None]
    replicas = {name for each in wanted for name in each.replicas}
    return (
        *_of("snapshot", (each.snapshots.schedule for each in wanted if each.snapshots), _HOUR, spec, node),
        *_of("dump", (each.archives.schedule for each in wanted if each.archives), 24 * _HOUR, spec, node),
        *_of("send", (spec.replicas[name].schedule for name in replicas), 48 * _HOUR, spec, node),
        *_of(
            "drill",
            (spec.drill.schedule,) if spec.drill and spec.drill.schedule else (),
            12 * _HOUR,
            spec,
            node,
        ),
    )


def _of(verb: str, schedules: Iterable[str], limit: int, spec: BackupSpec, node: str) -> Iterator[Job]:
    texts = sorted(set(schedules))
    taken: set[str] = set()
    for text in texts:
        name = base = f"fleet-{_plain(node)}-{verb}"
        if len(texts) > 1:
            name = base = f"{base}-{_plain(text)}"
        while name in taken:
            name = f"{base}-{len(taken) + 1}"
        taken.add(name)
        only = ("--schedule", text) if len(texts) > 1 else ()
        yield Job(
            name, f"backup.{verb}", text, in_zone(text, spec.timezone), (f"backup.{verb}", *only), limit
        )


def _plain(text: str) -> str:
    """The text as a part of a unit's name: what systemd would escape becomes a dash."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
