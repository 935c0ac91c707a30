"""`pct`: which function answers for which verb."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from . import cli, costs
from .cli import Arguments

_VERBS = {
    "clone": "pct_clone.clone",
    "config": "pct_read.config",
    "console": "pct_exec.console",
    "cpusets": "pct_read.cpusets",
    "create": "pct_create.create",
    "delsnapshot": "pct_snapshot.delsnapshot",
    "destroy": "pct_destroy.destroy",
    "df": "pct_read.df",
    "enter": "pct_exec.enter",
    "exec": "pct_exec.execute",
    "fsck": "pct_volumes.fsck",
    "fstrim": "pct_volumes.fstrim",
    "list": "pct_read.list_containers",
    "listsnapshot": "pct_read.listsnapshot",
    "migrate": "pct_clone.migrate",
    "mount": "pct_volumes.mount",
    "move-volume": "pct_volumes.move_volume",
    "pending": "pct_read.show_pending",
    "pull": "pct_files.pull",
    "push": "pct_files.push",
    "reboot": "pct_power.reboot",
    "remote-migrate": "pct_clone.remote_migrate",
    "rescan": "pct_volumes.rescan",
    "resize": "pct_volumes.resize",
    "restore": "pct_restore.restore_backup",
    "resume": "pct_power.resume",
    "rollback": "pct_snapshot.rollback",
    "set": "pct_set.set_options",
    "shutdown": "pct_power.shutdown",
    "snapshot": "pct_snapshot.snapshot",
    "start": "pct_power.start",
    "status": "pct_read.status",
    "stop": "pct_power.stop",
    "suspend": "pct_power.suspend",
    "template": "pct_clone.template",
    "unlock": "pct_set.unlock",
    "unmount": "pct_volumes.unmount",
}
_ALIASES = {"move_volume": "move-volume"}


def _handler(verb: str, place: str) -> Callable[[Arguments], int]:
    """The verb's function; its module is imported when it is called."""

    def call(arguments: Arguments) -> int:
        costs.spend("exec start-up" if verb == "exec" else "start-up")
        module, _, name = place.partition(".")
        handler: Callable[[Arguments], int] = getattr(import_module(f".{module}", __package__), name)
        return handler(arguments)

    return call


def main(argv: list[str]) -> int:
    """The exit code of `pct ARGUMENTS...`."""
    handlers = {verb: _handler(verb, place) for verb, place in _VERBS.items()}
    handlers["help"] = lambda arguments: cli.print_help("pct", arguments)
    return cli.run("pct", handlers, _ALIASES, argv[1:])
