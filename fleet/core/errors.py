"""The errors a user can meet, each with its exit code.

FleetError                1   something is wrong, said in one message
|- UsageError            64   the command line is wrong
|- InventoryError         1   hosts.yml is wrong: carries every problem found
|- HostError              1   the host answered something we cannot work with
|  |- Unreachable         4   no connection, unknown host key, no login
|  '- LinkLost            4   the connection broke while something was running
|- Refused                6   a safety rule says no
|  '- StalePlan           6   the host is no longer as the plan saw it
'- Locked                 8   another run holds the node
"""

from __future__ import annotations

from dataclasses import dataclass


class ExitCode:
    """The exit codes of every task, the same everywhere."""

    DONE = 0
    ERROR = 1
    CHANGES_PENDING = 2
    SOME_FAILED = 3
    UNREACHABLE = 4
    REFUSED = 6
    LOCKED = 8
    USAGE = 64
    STOPPED = 130  # by Ctrl-C, as a shell says it


class FleetError(Exception):
    """An error that is shown to the user as its message, without a traceback."""

    exit_code = ExitCode.ERROR


class UsageError(FleetError):
    """The command line is wrong."""

    exit_code = ExitCode.USAGE


class HostError(FleetError):
    """The host answered something that cannot be worked with."""


class Unreachable(HostError):
    """No connection could be made: network, host key or login."""

    exit_code = ExitCode.UNREACHABLE


class LinkLost(HostError):
    """The connection broke while a script was running; only a fresh read says what it did."""

    exit_code = ExitCode.UNREACHABLE


class Refused(FleetError):
    """A safety rule says no."""

    exit_code = ExitCode.REFUSED


class StalePlan(Refused):
    """The host is no longer as the plan saw it."""


class Stopped(FleetError):
    """Ctrl-C: nothing more was begun."""

    exit_code = ExitCode.STOPPED


class Locked(FleetError):
    """Another run holds the node."""

    exit_code = ExitCode.LOCKED


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in hosts.yml: where, what, and what would be right."""

    file: str
    line: int
    path: str
    text: str
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        kind = "warning: " if self.warning else ""
        return f"{where} {self.path}: {kind}{self.text}" if self.path else f"{where} {kind}{self.text}"


class InventoryError(FleetError):
    """hosts.yml is wrong; `problems` are all of them, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
