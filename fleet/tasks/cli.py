"""What every task shares: the common options, the error boundary, exit codes, the question before acting.

A task is a function that takes `Options` first, then what only it understands, and returns its exit code:

    @task("inventory", "limit", "json")
    def plan(options: Options, out: str = "") -> int:
        '''Show what would change on the host; change nothing.'''
        from fleet.converge import ...   # imports of more than this module go inside: `inv --list` stays fast

Names given to `task` are fields of `Options`: words of the command line that mean the same everywhere. The
other parameters become options of that task alone (positional without a default), each with a text in `help`.
Errors are raised as FleetError and shown here as their message, with their exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.tasks import Task as InvokeTask

from fleet.core.errors import ExitCode, FleetError, Refused, UsageError

SELECTORS = (
    "WHICH is a name, a pattern like 'arr*', a VMID, a range like 100-110, tag:NAME, category:NAME,"
    " status:running, or one of these after '!' for all others; several with commas"
)


@dataclass(frozen=True, slots=True)
class Options:
    """The common options of one run; those that a task does not take have their defaults."""

    inventory: str = ""
    limit: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    check: bool = False
    diff: bool = False
    commands: bool = False
    json: bool = False
    yes: bool = False
    jobs: int = 4
    restart: bool = False
    detailed_exitcode: bool = False


HELP: Mapping[str, str] = {
    "inventory": "the file to read instead of hosts.yml of this folder or the nearest above it",
    "limit": f"WHICH: only these guests; {SELECTORS}",
    "exclude": "WHICH: all guests but these; written as for --limit",
    "check": "show what would be done and stop there; nothing is changed",
    "diff": "show every attribute of what is created, too; changes always show both sides",
    "commands": "show the exact commands that would run on the host",
    "json": "print JSON on stdout instead of text",
    "yes": "do not ask before changing something",
    "jobs": "work on at most this many guests side by side (default: 4)",
    "restart": "also do what needs a restart of a running guest; without it such changes stay pending",
    "detailed_exitcode": "exit 2 instead of 0 when something is changed, or is not as hosts.yml says",
}

SHORT: Mapping[str, str] = {"yes": "y"}


class Task(InvokeTask[Callable[..., int | None]]):
    """An Invoke task that takes `Options` in place of the context and never shows a traceback."""

    def __init__(
        self,
        body: Callable[..., int | None],
        common: tuple[str, ...],
        texts: Mapping[str, str],
        **settings: Any,
    ) -> None:
        self.common = common
        self.texts = texts
        super().__init__(body, auto_shortflags=False, **settings)

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The task's own arguments, then the common ones in the order of `Options`."""
        self.help = dict(self.texts)  # Invoke takes the texts out one by one
        own = super().get_arguments(ignore_unknown_help)
        return own + [_argument(name) for name in (f.name for f in fields(Options)) if name in self.common]

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Run the body; a code other than 0 ends the process with it, after the message on stderr."""
        context = args[0]
        common = {name: given.pop(name) for name in self.common if name in given}
        code = guarded(lambda: self.body(_options(context, common), *args[1:], **given))
        self.times_called += 1
        if code != ExitCode.DONE:
            raise Exit(code=code)
        return None


def task(
    *common: str, name: str | None = None, default: bool = False, help: Mapping[str, str] | None = None
) -> Callable[[Callable[..., int | None]], Task]:
    """Make a task of a function that takes `Options`; `common` are the fields of Options it understands."""
    unknown = set(common) - set(HELP)
    if unknown:
        raise TypeError(f"not a common option: {', '.join(sorted(unknown))}")
    return lambda body: Task(body, common, help or {}, name=name, default=default)


def guarded(body: Callable[[], int | None]) -> int:
    """The exit code of `body`; whatever it raises becomes a message on stderr and its code."""
    try:
        code = body() or ExitCode.DONE
        flush_stdout()
        return code
    except FleetError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return ExitCode.STOPPED
    except BrokenPipeError:
        drop_stdout()
        return ExitCode.DONE
    except Exception as error:  # the boundary: users never see a traceback
        if os.environ.get("FLEET_DEBUG") == "1":
            raise
        print(f"fleet failed in a way it should not: {type(error).__name__}: {error}", file=sys.stderr)
        print(_details(), file=sys.stderr)
        return ExitCode.ERROR


def flush_stdout() -> None:
    """Write out what stdout still holds, while a reader that has gone can be told from an error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()


def drop_stdout() -> None:
    """Send the rest of stdout nowhere: its reader has gone (`inv plan | head`), which is no error of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def confirm(question: str, options: Options) -> None:
    """Return if the operator agrees or gave --yes; Refused if not, or if nobody is there to ask."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise Refused(
            "nobody can be asked, since stdin is no terminal: give --yes to go on without a question"
        )
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Refused("not confirmed: nothing was changed")


def inventory_path(options: Options) -> Path:
    """The file of --inventory, or hosts.yml of the working directory or of the nearest folder above it."""
    if options.inventory:
        return Path(options.inventory)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "hosts.yml").is_file():
            return folder / "hosts.yml"
    raise UsageError(
        f"there is no hosts.yml in {here} or above it: go to your fleet's folder, name the file with"
        " --inventory FILE, or make a new fleet with `inv init DIR`"
    )


def state_dir() -> Path:
    """The folder of what fleet keeps on the operator's side: $XDG_STATE_HOME/fleet, made if missing."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(base) / "fleet"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _argument(name: str) -> Argument:
    default = getattr(Options(), name)
    argument = Argument(
        names=tuple(filter(None, (name.replace("_", "-"), SHORT.get(name)))),
        attr_name=name
        if "_" in name
        else None,  # Invoke makes an alias of it, endless if it is the name itself
        kind=list if isinstance(default, tuple) else type(default),
        default=None if isinstance(default, tuple) else default,
        help=HELP[name],
    )
    if argument.kind is list:
        argument.raw_value = None  # as that of others, so that Invoke sees that none was given
    return argument


def _options(context: Context, given: Mapping[str, Any]) -> Options:
    """The typed options; UsageError for what cannot be meant."""
    if context.config.run.dry:
        raise UsageError("--dry is Invoke's own option and shows nothing of use here: use --check")
    split = {
        name: tuple(word for text in value for word in _selectors(name, text))
        for name, value in given.items()
        if isinstance(value, list)
    }
    options = Options(**{**given, **split})
    if options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs}: at least 1 guest at a time has to be worked on")
    return options


def _selectors(option: str, text: str) -> tuple[str, ...]:
    """The selectors of one --limit or --exclude; UsageError for none, which must not mean every guest."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise UsageError(f"--{option} {text!r} names no guest; leave --{option} out to mean all of them")
    return found


def _details() -> str:
    """Where the traceback of the current exception is now, in words."""
    import time
    import traceback

    text = traceback.format_exc()
    try:
        folder = state_dir() / "errors"
        folder.mkdir(exist_ok=True, mode=0o700)
        path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        path.write_text(f"{' '.join(sys.argv)}\n\n{text}", encoding="utf-8")
    except OSError as error:
        return f"the details cannot be kept ({error}); FLEET_DEBUG=1 shows them, please report them"
    return f"the details are in {path}; please report them"
