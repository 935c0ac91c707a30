"""A job as systemd's units, or as a line of a crontab: texts, quoted for whoever reads them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from fleet.core.errors import Refused
from fleet.schedule.calendar import crontab, has_zone, moved, parse
from fleet.schedule.jobs import Job

#: A run begins up to so much later than its schedule says: not every machine at the same second.
DELAY = "5min"

_LONGEST_LINE = 990  # Debian's cron reads 1,000 characters of a command

#: The first line of everything that is made for the inventory in it.
MARK = "# fleet: made by `inv schedule.install` from {}; what is changed here is lost"
_MARKED = re.compile(re.escape(MARK).replace(r"\{\}", "(.+)"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where jobs run: this machine's program, file and folders, all paths absolute."""

    hosts: str  # the inventory
    folder: str  # of tasks.py, where there is one: the working directory
    program: tuple[str, ...]  # .venv/bin/inv, behind flock: jobs of one fleet wait for each other
    environment: str  # a file of NAME=value lines for secrets that are environment variables
    units: str  # the folder of unit files
    user: bool  # user units, not the system's

    def __post_init__(self) -> None:
        for path in (self.hosts, self.folder, self.environment, *self.program):
            if not path.isprintable() or path != path.strip() or path.endswith("\\"):
                raise Refused(f"{path!r}: no timer can be made for a path with such characters")

    @property
    def begin(self) -> str:
        """The first line of all that is made for this inventory."""
        return MARK.format(self.hosts)

    @property
    def end(self) -> str:
        """The last line of its part of a crontab."""
        return f"# fleet: end of {self.hosts}"


def made_for(text: str) -> str | None:
    """The inventory that a unit file was made for; None where fleet did not make it."""
    match = _MARKED.fullmatch(text.partition("\n")[0])
    return match[1] if match else None


def service(job: Job, place: Place) -> str:
    """The unit that does it once; Refused for a program that systemd would not run."""
    if set(place.program[0]) & set("\"'\\"):
        raise Refused(f"{place.program[0]!r}: systemd runs no program whose path has quotes or backslashes")
    words = (*place.program[1:], *job.words, "--inventory", place.hosts)
    network = "" if place.user else "Wants=network-online.target\nAfter=network-online.target\n"
    return (
        f"{place.begin}\n"
        "[Unit]\n"
        f"Description=fleet: {_specifiers(' '.join(job.words))}\n"
        f"{network}"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"WorkingDirectory={_specifiers(place.folder)}\n"
        f"EnvironmentFile=-{_specifiers(place.environment)}\n"
        f"ExecStart={_word(place.program[0], program=True)} {' '.join(map(_word, words))}\n"
        f"TimeoutStartSec={job.limit}\n"
    )


def timer(job: Job, place: Place) -> str:
    """The unit that says when."""
    return (
        f"{place.begin}\n"
        "[Unit]\n"
        f"Description=fleet: when {_specifiers(' '.join(job.words))} runs\n"
        "\n"
        "[Timer]\n"
        f"OnCalendar={job.event}\n"
        "Persistent=true\n"
        f"RandomizedDelaySec={DELAY}\n"
        "\n"
        "[Install]\n"
        "WantedBy=timers.target\n"
    )


@dataclass(frozen=True, slots=True)
class CronJob:
    """A job as crontab has it. `seasonal`: an hour off in a part of the year, since cron knows no zones."""

    job: Job
    fields: str  # 0 7 * * *
    line: str
    seasonal: bool


def cron_jobs(jobs: Iterable[Job], place: Place, zone: str, year: int) -> tuple[CronJob, ...]:
    """The jobs where the clock shows this zone; Refused for a schedule that crontab has no line for."""
    return tuple(_cron_job(job, place, zone, year) for job in jobs)


def _cron_job(job: Job, place: Place, zone: str, year: int) -> CronJob:
    there = job.event.split()[-1] if has_zone(job.event) else zone
    try:
        event, seasonal = moved(parse(job.event), there, zone, year)
        fields = crontab(event)
    except (ValueError, LookupError) as error:  # a zone that this machine does not know is a LookupError
        raise Refused(
            f"{job.task}: no crontab line can be made of {job.event!r}: {error}; write a schedule that"
            " crontab can say, like 02:00 or sun 03:30, or use a machine with systemd"
        ) from None
    environment, folder = shlex.quote(place.environment), shlex.quote(place.folder)
    words = (*place.program, *job.words, "--inventory", place.hosts)
    text = (
        f"cd {folder} && {{ [ ! -r {environment} ] || {{ set -a; . {environment}; set +a; }}; }}"
        f" && exec {shlex.join(words)}"
    )
    line = f"{fields} {text}".replace("%", r"\%")
    if len(line) > _LONGEST_LINE:
        raise Refused(f"{job.name}: cron takes no line as long as these paths make it: {line}")
    return CronJob(job, fields, line, seasonal)


def _specifiers(text: str) -> str:
    """The text where systemd expands %: as it is."""
    return text.replace("%", "%%")


def _word(text: str, *, program: bool = False) -> str:
    """One word of ExecStart (systemd.service(5), systemd.syntax(7)); $ is expanded except in the program."""
    text = _specifiers(text) if program else _specifiers(text).replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text, re.ASCII):
        return text
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
