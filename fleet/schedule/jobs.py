"""What runs by itself, and when: one job a task and schedule, however many guests share it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from fleet.domains.backup.spec import BackupSpec, Drill
from fleet.schedule.calendar import in_zone, last_due, parse

_HOUR = 3600
#: Any day will do to learn how far apart the runs of a schedule are (epoch seconds).
_SOME_DAY = 1_800_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """A task that runs by itself."""

    name: str  # fleet-pve-snapshot: the name of its units
    task: str  # backup.snapshot
    schedule: str  # as in hosts.yml: 02:00
    event: str  # with the time zone: 02:00 America/New_York
    words: tuple[str, ...]  # of the command line: backup.snapshot --schedule 02:00
    limit: int  # seconds after which it is stopped, without those for which it waits for others


def jobs(spec: BackupSpec, node: str) -> tuple[Job, ...]:
    """The jobs of a node, in the order snapshot, dump, send, drill; schedules in the order of their texts.

    Where all subjects of a task have one schedule, the task runs for whatever hosts.yml then declares; where
    there are several, each runs for those that it is meant for: `--schedule 02:00`, `--replica NAME`.
    """
    made = _wanted(spec)
    names = _names(made, f"fleet-{_plain(node)}")
    return tuple(
        Job(
            name=name,
            task=f"backup.{each.verb}",
            schedule=each.schedule,
            event=in_zone(each.schedule, spec.timezone),
            words=(f"backup.{each.verb}", *each.only),
            limit=each.limit,
        )
        for name, each in zip(names, made, strict=True)
    )


def told_apart(spec: BackupSpec) -> Mapping[str, tuple[str, ...]]:
    """The jobs of each task by their schedule or replica; empty for one that is the task's only job."""
    found: dict[str, tuple[str, ...]] = {}
    for each in _wanted(spec):
        task = f"backup.{each.verb}"
        found[task] = (*found.get(task, ()), each.what)
    return found


def _wanted(spec: BackupSpec) -> list[_Wanted]:
    wanted = [each for each in spec.subjects if each.exclude is None]
    snapshots = {each.snapshots.schedule for each in wanted if each.snapshots and not each.no_snapshots}
    archives = {each.archives.schedule for each in wanted if each.archives}
    replicas = [spec.replicas[name] for name in sorted({name for each in wanted for name in each.replicas})]
    sent = {each.schedule for each in replicas}
    made = [
        *_scheduled("snapshot", snapshots, 6 * _HOUR),
        *_scheduled("dump", archives, 24 * _HOUR),
        *(
            _Wanted("send", each.schedule, 48 * _HOUR, each.name, ("--replica", each.name))
            for each in replicas
            if len(sent) > 1
        ),
        *(_Wanted("send", schedule, 48 * _HOUR) for schedule in sent if len(sent) == 1),
    ]
    if spec.drill and spec.drill.schedule:
        kinds = [kind for each in wanted for kind in (each.snapshots, each.archives) if kind is not None]
        number = drilled_at_once(len(kinds), spec.drill)
        only = ("--sample", str(number)) if number > 1 else ()
        made.append(_Wanted("drill", spec.drill.schedule, 12 * _HOUR, only=only))
    return made


def drilled_at_once(backups: int, drill: Drill) -> int:
    """How many one drill has to restore so that all are proven again before a proof is too old.

    `backups`: the snapshots of a guest are one, its archives another.
    """
    last = last_due(parse(drill.schedule or "daily"), ZoneInfo("UTC"), _SOME_DAY)
    before = last and last_due(parse(drill.schedule or "daily"), ZoneInfo("UTC"), last - 60)
    runs = drill.max_age // (last - before) if last and before else 0
    return math.ceil(backups / max(runs, 1))


@dataclass(frozen=True, slots=True)
class _Wanted:
    verb: str
    schedule: str
    limit: int  # seconds
    what: str = ""  # what tells it from others of its verb
    only: tuple[str, ...] = ()


def _scheduled(verb: str, schedules: Collection[str], limit: int) -> Iterator[_Wanted]:
    for text in sorted(schedules):
        several = len(schedules) > 1
        yield _Wanted(verb, text, limit, text if several else "", ("--schedule", text) if several else ())


def _names(made: Iterable[_Wanted], base: str) -> list[str]:
    """A name for each: fleet-pve-snapshot, fleet-pve-snapshot-sun-03-30; numbered where two would be one."""
    names: list[str] = []
    for each in made:
        plain = "-".join(filter(None, (base, each.verb, _plain(each.what))))
        same = sum(name == plain or name.startswith(f"{plain}--") for name in names)
        names.append(f"{plain}--{same + 1}" if same else plain)
    return names


def _plain(text: str) -> str:
    """The text as a part of a unit's name: what systemd would escape becomes a dash."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
