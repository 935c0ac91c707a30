"""A job as systemd's units, or as a line of a crontab: texts, quoted for whoever reads them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from fleet.core.errors import Refused
from fleet.schedule.calendar import crontab, has_zone, moved, parse
from fleet.schedule.jobs import Job

#: A run begins up to so much later than its schedule says: not every machine at the same second.
DELAY = "5min"

#: So many seconds a run waits for others of its fleet. Then it begins all the same: where the node is still
#: locked it says who holds it, and that is told.
WAIT = 6 * 3600
# $0 is flock, $1 the seconds, $2 what is locked: for as long as the run lives, since descriptor 9 stays open.
_IN_LINE = '[ ! -r "$2" ] || { exec 9<"$2" && "$0" -w "$1" 9; }; shift 2; exec "$@"'

_LONGEST_LINE = 990  # Debian's cron reads 1,000 characters of a command

#: The first line of everything that is made for the inventory in it.
MARK = "# fleet: made by `inv schedule.install` from {}; what is changed here is lost"
_MARKED = re.compile(re.escape(MARK).replace(r"\{\}", "(.+)"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where jobs run: this machine's program, file and folders, all paths absolute."""

    hosts: str  # the inventory
    folder: str  # of tasks.py, where there is one: the working directory
    program: tuple[str, ...]  # .venv/bin/inv
    environment: str  # a file of NAME=value lines for secrets that are environment variables
    units: str  # the folder of unit files
    user: bool  # user units, not the system's
    home: str = "/root"  # which the system's units do not have by themselves
    flock: str = ""  # the program; empty where this machine has none: then jobs do not wait for each other

    def __post_init__(self) -> None:
        for path in (self.hosts, self.folder, self.environment, self.home, self.flock, *self.program):
            if not path.isprintable() or path != path.strip() or path.endswith("\\"):
                raise Refused(f"{path!r}: no timer can be made for a path with such characters")

    @property
    def begin(self) -> str:
        """The first line of all that is made for this inventory."""
        return MARK.format(self.hosts)

    def words(self, job: Job) -> tuple[str, ...]:
        """The command line that does it once, after those of this fleet that it waits for.

        Transfers, which may take days, wait for transfers and hold up nothing else.
        """
        lock = self.hosts if job.task == "backup.send" else str(PurePath(self.hosts).parent)
        line = ("/bin/sh", "-c", _IN_LINE, self.flock, str(WAIT), lock) if self.flock else ()
        return (*line, *self.program, *job.words, "--inventory", self.hosts)

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
    program, *words = place.words(job)
    if set(program) & set("\"'\\"):
        raise Refused(f"{program!r}: systemd runs no program whose path has quotes or backslashes")
    after = home = ""
    if not place.user:  # a run that is caught up at boot, on the node itself, needs /etc/pve
        after = "Wants=network-online.target\nAfter=network-online.target pve-cluster.service\n"
        home = f"Environment={_word(f'HOME={place.home}', program=True)}\n"
    return (
        f"{place.begin}\n"
        "[Unit]\n"
        f"Description=fleet: {_specifiers(' '.join(job.words))}\n"
        f"{after}"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"WorkingDirectory={_specifiers(place.folder)}\n"
        f"{home}"
        f"EnvironmentFile=-{_specifiers(place.environment)}\n"
        f"ExecStart={_word(program, program=True)} {' '.join(map(_word, words))}\n"
        f"TimeoutStartSec={job.limit + (WAIT if place.flock else 0)}\n"
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
    text = (
        f"cd {folder} && {{ [ ! -r {environment} ] || {{ set -a; . {environment}; set +a; }}; }}"
        f" && exec {shlex.join(place.words(job))}"
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
