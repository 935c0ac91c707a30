"""What makes this machine run the jobs: unit files, timers, or our part of the crontab. A pure comparison."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from fleet.core.command import command
from fleet.core.errors import FleetError
from fleet.core.plan import Check, Difference, Note, Plan, Step, Why, in_order
from fleet.schedule.found import Found
from fleet.schedule.jobs import Job
from fleet.schedule.units import CronJob, Place, cron_jobs, made_for, service, timer


def plan(
    wanted: Sequence[Job],
    place: Place,
    found: Found,
    *,
    machine: str,
    year: int,
    variables: Sequence[str] = (),
) -> Plan:
    """The steps that make exactly these jobs run, and nothing else that was made for this inventory.

    systemd where it runs, else cron; FleetError where there is neither. No jobs: what was made is removed.
    `variables`: the environment variables that secrets of hosts.yml are to be had from.
    """
    if wanted and not found.systemd and not found.cron:
        raise FleetError(
            f"{machine}: nothing here runs jobs by itself: systemd is not running"
            f"{' for this user' if place.user else ''}, and there is no crontab; install cron"
        )
    timed = wanted if found.systemd else ()
    lines = () if found.systemd else cron_jobs(wanted, place, found.zone, year)
    notes: list[Note] = []
    steps = [*_units(timed, place, found, notes), *_crontab(lines, place, found, notes)]
    if wanted:
        notes += _hints(lines, place, found, variables)
    return Plan(node=machine, steps=in_order(steps), notes=tuple(notes))


def _units(timed: Sequence[Job], place: Place, found: Found, notes: list[Note]) -> Iterator[Step]:
    """Steps for unit files and timers: one a job that is new or has changed, one a job that is no more."""
    want = {job.name: (timer(job, place), service(job, place)) for job in timed}
    for job in timed:
        yield from _unit(job, want[job.name], place, found, notes)
    ours = {path for path, text in found.files.items() if made_for(text) == place.hosts}
    for name in sorted({_name(path) for path in ours} - set(want)):
        yield _removal(name, [path for path in _paths(name, place) if path in ours], place, found)


def _unit(job: Job, want: tuple[str, str], place: Place, found: Found, notes: list[Note]) -> Iterator[Step]:
    paths = _paths(job.name, place)
    was = [found.files.get(path) for path in paths]
    for path, text in zip(paths, was, strict=True):
        made = None if text is None else made_for(text)
        if text is not None and made != place.hosts and made not in found.gone:
            whose = "not made by fleet" if made is None else f"made for {made}"
            notes.append(
                Note(job.name, Why.REFUSED, f"{path} is there and was {whose}: it is never overwritten")
            )
            return
    waits = _waits(job.name, found)
    because = tuple(chain.from_iterable(map(_differences, was, want)))
    if not because and waits:
        notes.append(Note(job.name, Why.UNCHANGED, "as hosts.yml says"))
        return
    if not because:
        because = (Difference("timer", "off", "on"),)
    control = _control(place)
    name = f"{job.name}.timer"
    started = command(*control, "restart" if any(was) else "start", name)
    yield Step(
        id=f"schedule {job.name}",
        subject=job.name,
        action="update" if any(was) else "create",
        because=because,
        done=(
            *(_has(path, text) for path, text in zip(paths, want, strict=True)),
            Check(command("fleet_timer", name, *control[1:]), f"{name} is on"),
        ),
        expect=tuple(_has(path, text) for path, text in zip(paths, was, strict=True)),
        do=(
            *(command("fleet_write", path, text) for path, text in zip(paths, want, strict=True)),
            command(*control, "daemon-reload"),
            command(*control, "enable", "-q", name),
            started,
        ),
    )


def _removal(name: str, paths: Sequence[str], place: Place, found: Found) -> Step:
    control = _control(place)
    off = (command(*control, "disable", "-q", "--now", f"{name}.timer"),) if found.systemd else ()
    reload = (command(*control, "daemon-reload"),) if found.systemd else ()
    has_timer = f"{place.units}/{name}.timer" in paths
    return Step(
        id=f"schedule {name}",
        subject=name,
        action="remove",
        because=tuple(Difference(path, "made by fleet", None) for path in paths),
        done=tuple(_has(path, None) for path in paths),
        expect=tuple(_has(path, found.files[path]) for path in paths),
        do=(*(off if has_timer else ()), command("rm", "--", *paths), *reload),
    )


def _crontab(lines: Sequence[CronJob], place: Place, found: Found, notes: list[Note]) -> Iterator[Step]:
    """One step for our part of the crontab, whatever of it changes."""
    if found.trouble:
        if lines:
            notes.append(Note("crontab", Why.REFUSED, f"the crontab is left alone: {found.trouble}"))
        return
    want = tuple(each.line for each in lines)
    if want == found.lines:
        notes += [Note(each.job.name, Why.UNCHANGED, "as hosts.yml says") for each in lines]
        return
    gone = [line for line in found.lines if line not in want]
    new = [each for each in lines if each.line not in found.lines]
    marks = (place.begin, place.end)
    yield Step(
        id="schedule crontab",
        subject="crontab",
        action="remove" if not want else "update" if found.lines else "create",
        because=(
            *(Difference("line", line, None) for line in gone),
            *(Difference(each.job.name, None, each.line) for each in new),
        )
        or (Difference("order of the lines", "another", "as in hosts.yml"),),
        done=(Check(command("fleet_cron_is", *marks, "\n".join(want)), "the crontab has these lines"),),
        expect=(
            Check(
                command("fleet_cron_is", *marks, "\n".join(found.lines)),
                "fleet's part of the crontab is as it was read",
            ),
        ),
        do=(command("fleet_cron_put", *marks, "\n".join(want)),),
    )


def _hints(lines: Sequence[CronJob], place: Place, found: Found, variables: Sequence[str]) -> Iterator[Note]:
    """What keeps jobs from running as one would think, and what to do about it."""
    missing = [name for name in variables if name not in found.variables]
    if missing:
        lines_missing = ", ".join(f"{each}=..." for each in missing)
        yield Note(
            "secrets",
            Why.WARNING,
            f"a timer has none of your shell's variables: write {lines_missing} into {place.environment}"
            " (chmod 600; values in single quotes)",
        )
    if found.exposed:
        yield Note(
            "secrets",
            Why.WARNING,
            f"others than its owner may read {place.environment}: chmod 600 {place.environment}",
        )
    if found.systemd and not found.linger:
        yield Note(
            "systemd",
            Why.WARNING,
            "timers of a user run only while the user is logged in: `loginctl enable-linger` changes that",
        )
    if lines and found.booted:
        yield Note(
            "systemd",
            Why.WARNING,
            "systemd runs this machine, and does not answer this user: log in as the user instead of `su`, or"
            " `loginctl enable-linger USER`, and timers can be made instead of crontab lines",
        )
    if lines and not found.cron_runs:
        yield Note("cron", Why.WARNING, "no cron daemon is running: nothing reads the crontab")
    for each in lines:
        if each.seasonal:
            yield Note(
                each.job.name,
                Why.WARNING,
                f"cron knows no time zones: {each.job.event} is {each.fields!r} of this machine's clock"
                f" ({found.zone}), and in a part of the year an hour earlier or later",
            )
    if lines:
        yield Note(
            "cron", Why.WARNING, "cron does not catch up on runs that were due while this machine was off"
        )


def _paths(name: str, place: Place) -> tuple[str, str]:
    return f"{place.units}/{name}.timer", f"{place.units}/{name}.service"


def _name(path: str) -> str:
    return re.sub(r"\.(timer|service)$", "", path.rpartition("/")[2])


def _control(place: Place) -> tuple[str, ...]:
    return ("systemctl", "--user") if place.user else ("systemctl",)


def _waits(name: str, found: Found) -> bool:
    """True if systemd has read the timer's file and waits for its next time."""
    said = found.units.get(f"{name}.timer", {})
    return (
        said.get("UnitFileState") == "enabled"
        and said.get("ActiveState") == "active"
        and said.get("NeedDaemonReload") != "yes"
        and found.units.get(f"{name}.service", {}).get("NeedDaemonReload") != "yes"
    )


def _has(path: str, text: str | None) -> Check:
    if text is None:
        return Check(command("fleet_no_file", path), f"{path} is not there")
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Check(command("fleet_file", path, digest), f"{path} is as it was read")


def _differences(was: str | None, want: str) -> Iterator[Difference]:
    """The lines that differ, by their keys; a whole file that is new by what it is there for."""
    old, new = _settings(was or ""), _settings(want)
    shown = ("OnCalendar", "ExecStart") if was is None else tuple(dict.fromkeys((*old, *new)))
    for key in shown:
        if old.get(key) != new.get(key):
            yield Difference(key, old.get(key), new.get(key))
    if was is not None and was != want and old == new:
        yield Difference("text", "another", "as `inv schedule.install` writes it")


def _settings(text: str) -> dict[str, str]:
    """The unit file's settings: `OnCalendar` -> `02:00`; one that is given twice with both values."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            found[key] = f"{found[key]}; {value}" if key in found else value
    return found
