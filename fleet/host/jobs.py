"""Long actions that outlive the link: detached on the host, followed from here, found again by the next run.

A job whose link breaks goes on; it is followed again over a new connection, or in a later run. It is never
started twice under one name, and it stays on the host until somebody has read how it ended. The host's side
is jobs.sh.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from fleet.core.command import command
from fleet.core.errors import HostError, LinkLost, Unreachable
from fleet.core.probe import Answer, Probe
from fleet.host.shell import Session, Shell

#: How often a job is followed anew after the link broke, before it is left to the next run.
_FOLLOWS = 10
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LISTED = re.compile(r"(?P<id>\S+) (?:running|killed|ended (?P<code>\d+))\|(?P<title>.*)")


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended: its exit code, None if it was killed; and all that it printed, both outputs in one."""

    code: int | None
    log: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job found on the host: running, or ended and nobody saw it. `code`: once it ended itself."""

    id: str
    title: str
    running: bool
    code: int | None = None


def run_job(
    shell: Shell,
    job_id: str,
    title: str,
    script: str,
    on_output: Callable[[str], None] | None = None,
) -> JobResult:
    """Run a script as a job of this name and follow it to its end; one that is there is only followed.

    One remote execution, unless the link breaks. LinkLost: it could not be followed to its end, it may run
    on.
    """
    if not _ID.fullmatch(job_id):
        raise ValueError(f"not a name for a job: {job_id!r}")
    unique = secrets.token_hex(8)
    here = f"fleet-script-{unique}"
    launch = command("fleet_launch", job_id, " ".join(title.split()), unique).sh()
    start = f"{launch} <<'{here}' || exit\n{script}\n{here}\n"
    return _Follower(shell, job_id, title, on_output).to_the_end(start)


def follow(shell: Shell, job: Job, on_output: Callable[[str], None] | None = None) -> JobResult:
    """Follow a job that was found on the host to its end; HostError if it is no longer there."""
    return _Follower(shell, job.id, job.title, on_output).to_the_end("")


def jobs_probe() -> Probe:
    """Reads which jobs of earlier runs are on the host."""
    return Probe("jobs", f"{_functions()}fleet_list")


def read_jobs(answer: Answer) -> tuple[Job, ...]:
    """The jobs that the probe found."""
    found = (_LISTED.fullmatch(line) for line in answer.text.splitlines())
    return tuple(
        Job(
            id=match["id"],
            title=match["title"],
            running=f"{match['id']} running|" in match[0],
            code=None if match["code"] is None else int(match["code"]),
        )
        for match in found
        if match
    )


class _Follower:
    """One job being followed over as many connections as it takes."""

    def __init__(
        self, shell: Shell, job_id: str, title: str, on_output: Callable[[str], None] | None
    ) -> None:
        self._shell = shell
        self._id = job_id
        self._title = title
        self._on_output = on_output
        self._lines: list[str] = []
        self._found = False

    def to_the_end(self, start: str) -> JobResult:
        """How the job ended."""
        attempts = Retrying(
            stop=stop_after_attempt(_FOLLOWS),
            wait=wait_exponential(multiplier=0.1, max=5) + wait_random(0, 0.2),
            retry=retry_if_exception_type(LinkLost),
            reraise=True,
        )
        broke: LinkLost | None = None
        try:
            for attempt in attempts:
                with attempt:
                    try:
                        return self._once("" if self._found else start)
                    except LinkLost as error:
                        broke = error
                        raise
        except Unreachable as error:
            if broke is None:
                raise
            raise LinkLost(f"{error}\n{self._title}: it was running when the connection broke") from error
        raise AssertionError("an attempt returns or raises")

    def _once(self, start: str) -> JobResult:
        mark = f"fleet-job-{secrets.token_hex(8)}"
        watch = command("fleet_follow", self._id, str(len(self._lines)), mark).sh()
        session = self._shell.open(f"{_functions()}{start}{watch}\n")
        try:
            while (line := session.line()) is not None:
                if not line.startswith(f"{mark} "):
                    self._take(line)
                elif line != f"{mark} found":
                    return self._end(line.split()[1:], session)
                else:
                    self._found = True
            said = session.output().err.strip()
            raise HostError(f"{self._title}: the host cannot start it: {said or 'it does not say why'}")
        finally:
            session.close()

    def _take(self, line: str) -> None:
        self._lines.append(line)
        if self._on_output is not None:
            self._on_output(line)

    def _end(self, words: list[str], session: Session) -> JobResult:
        if words == ["gone"]:
            if self._found:  # we followed it, and the host has forgotten it: it was restarted
                return self._result(None)
            raise HostError(f"{self._title}: the job {self._id} is no longer on the host")
        try:
            session.send(b"seen\n")
            while session.line(5) is not None:
                pass
        except (LinkLost, TimeoutError):
            pass  # we know the end; the next run finds the job ended and removes it
        return self._result(int(words[1]) if words[0] == "ended" else None)

    def _result(self, code: int | None) -> JobResult:
        return JobResult(code, "".join(f"{line}\n" for line in self._lines))


@cache
def _functions() -> str:
    """The functions of the host's side."""
    here = files("fleet.host")
    return "".join(here.joinpath(name).read_text(encoding="utf-8") for name in ("process.sh", "jobs.sh"))
