"""A step as one remote script: guard, act, look again; and what its exit code means."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from importlib.resources import files
from shlex import quote

from fleet.core.plan import Check, Step


class Outcome(StrEnum):
    """What became of a step."""

    DONE = "done"  # acted, and the guard confirms it
    SKIPPED = "skipped"  # it was done already
    STALE = "stale"  # the host is not as the plan saw it: nothing was changed
    UNCONFIRMED = "unconfirmed"  # the command said yes, the guard does not: the fresh read decides
    FAILED = "failed"
    NOT_RUN = "not run"  # something that it needs did not succeed, or the run was stopped
    DETACHED = "detached"  # still running on the host; the next run follows it


#: Outcomes after which the steps that need this one may run.
GOOD = frozenset({Outcome.DONE, Outcome.SKIPPED, Outcome.UNCONFIRMED})

# Exit codes of the script. Proxmox's own codes carry no meaning (observed.md 1), so they never get through.
_SKIPPED, _STALE, _DONE_DESPITE, _UNCONFIRMED, _FAILED = 100, 101, 102, 103, 104
_OUTCOMES = {
    0: Outcome.DONE,
    _SKIPPED: Outcome.SKIPPED,
    _STALE: Outcome.STALE,
    _DONE_DESPITE: Outcome.DONE,
    _UNCONFIRMED: Outcome.UNCONFIRMED,
    _FAILED: Outcome.FAILED,
}
_MARK = "fleet: not as planned: "


#: What a step's script can be sent besides prelude.sh; each may call what stands before it.
_LIBRARIES = ("backup.sh", "dump.sh", "send.sh", "restore.sh", "schedule.sh")
_FUNCTION = re.compile(r"^(fleet_\w+)\(\)", re.MULTILINE)


@cache
def prelude() -> str:
    """The functions that guards and actions may call on the host."""
    return library("prelude.sh")


def guarded(step: Step, run: str = "") -> str:
    """The script of a step: done already -> skip; not as planned -> refuse; else act, and look again.

    `run`: what the host's records name as the run that it is of.
    """
    if not step.done:
        raise ValueError(f"{step.id} has no idempotence check")
    lines = [prelude(), *_libraries(step), f"fleet_by={quote(run)}"]
    lines.append(f"fleet_done() {{ {_all(step.done)}; }}")
    lines.append(f"if fleet_done >/dev/null 2>&1; then exit {_SKIPPED}; fi")
    for number, check in enumerate(step.expect):
        lines.append(f"{check.command.sh()} >/dev/null 2>&1 || {{ echo '{_MARK}{number}'; exit {_STALE}; }}")
    lines.append(f"{{ {' && '.join(action.sh() for action in step.do)}; }} </dev/null")
    lines.append("fleet_code=$?")
    lines.append("if fleet_done >/dev/null 2>&1; then")
    lines.append(f"  [ $fleet_code -eq 0 ] && exit 0; exit {_DONE_DESPITE}")
    lines.append("fi")
    lines.append(f"[ $fleet_code -eq 0 ] && exit {_UNCONFIRMED}; exit {_FAILED}")
    return "\n".join(lines) + "\n"


def _libraries(step: Step) -> tuple[str, ...]:
    """The files that define what the step calls and prelude.sh does not, and those that they may call."""
    commands = (*step.do, *(check.command for check in (*step.done, *step.expect)))
    called = {each.words[0] for each in commands}
    last = max((number for number, names in enumerate(_defined()) if names & called), default=-1)
    return tuple(library(name) for name in _LIBRARIES[: last + 1])


@cache
def _defined() -> tuple[frozenset[str], ...]:
    return tuple(frozenset(_FUNCTION.findall(library(name))) for name in _LIBRARIES)


@cache
def library(name: str) -> str:
    """A file of shell functions that stands beside this one."""
    return files("fleet.host").joinpath(name).read_text(encoding="utf-8")


def outcome(code: int | None) -> Outcome:
    """What the exit code of a guarded script says; a script that was killed has failed."""
    return Outcome.FAILED if code is None else _OUTCOMES.get(code, Outcome.FAILED)


def explanation(step: Step, log: str) -> tuple[str, ...]:
    """The lines of a step's log for people; a check that did not hold is said in its own words."""
    said = []
    for line in log.replace("\r", "\n").splitlines():
        if line.startswith(_MARK) and line[len(_MARK) :].isdigit():
            said.append(f"no longer so: {step.expect[int(line[len(_MARK) :])].says}")
        elif line.strip():
            said.append(line.rstrip())
    return tuple(said)


def _all(checks: tuple[Check, ...]) -> str:
    return " && ".join(check.command.sh() for check in checks)
