"""`vzdump`: its command line (pve-manager API2/VZDump.pm, pve-guest-common VZDump/Common.pm)."""

from __future__ import annotations

import os
import re
import shlex
import sys

from . import cli, costs, errors, machine, paths, perl, prune, storage_cfg, tasks, vmlist
from .cli import Arguments
from .errors import Die, ParamError, UsageError
from .helptext import Option, Verb
from .props import Prop

USAGE = "vzdump {<vmid>} [OPTIONS]"
_KINDS: dict[str, Prop] = {
    **dict.fromkeys(
        ("all", "protected", "quiet", "remove", "stdexcludes", "stdout", "stop"), Prop("boolean")
    ),
    **dict.fromkeys(("bwlimit", "lockwait", "stopwait"), Prop("integer", minimum=0)),
    **dict.fromkeys(("pigz", "zstd"), Prop("integer")),
    "ionice": Prop("integer", minimum=0, maximum=8),
    "compress": Prop(enum=("0", "1", "gzip", "lzo", "zstd")),
    "mode": Prop(enum=("snapshot", "suspend", "stop")),
    "mailnotification": Prop(enum=("always", "failure")),
    "notification-mode": Prop(enum=("auto", "legacy-sendmail", "notification-system")),
    "pbs-change-detection-mode": Prop(enum=("legacy", "data", "metadata")),
    "notes-template": Prop(maxlen=1024),
    **dict.fromkeys(
        (
            "dumpdir",
            "exclude",
            "fleecing",
            "job-id",
            "mailto",
            "node",
            "performance",
            "pool",
            "prune-backups",
            "script",
            "storage",
            "tmpdir",
            "vmid",
        ),
        Prop(),
    ),
}
_REQUIRES = {"notes-template": "storage", "protected": "storage"}
_FROM_FILE = (
    "bwlimit compress dumpdir ionice lockwait mode notes-template prune-backups protected remove stdexcludes "
    "stopwait storage tmpdir"
).split()
_NOT_SIMULATED = ("stdout", "script", "stop")
_VMID = re.compile(r"[1-9]\d{2,8}")

Values = dict[str, str]


def _verb() -> Verb:
    options = {name: Option(name, prop, False, _REQUIRES.get(name)) for name, prop in _KINDS.items()}
    return Verb(USAGE, (("extra-args", True),), options, f"USAGE: {USAGE}\n")


def main(argv: list[str]) -> int:
    """The command `vzdump`."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    perl.warn_of_locale()
    costs.spend("start-up")
    errors.left(errors.ENOENT)
    if argv[1:] == ["help"]:
        sys.stdout.write(f"USAGE: {USAGE}\n")
        return 0
    try:
        return call(argv[1:])
    except Die as error:
        sys.stdout.flush()
        sys.stderr.write(error.message if error.message.endswith("\n") else error.message + "\n")
        if isinstance(error, ParamError | UsageError):
            sys.stderr.write(USAGE + "\n")
        return error.code


def call(words: list[str]) -> int:
    """Run a job with the words of a command line, or the parameters of the API, which has --vmid."""
    excluded, rest = _exclude_paths(words)
    return start(cli.parse(_verb(), rest), excluded)


def _exclude_paths(words: list[str]) -> tuple[list[str], list[str]]:
    """(the values of --exclude-path, which may be given often; the other words)."""
    found: list[str] = []
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, sign, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name == "exclude-path" and (sign or left):
            found.append(value if sign else left.pop(0))
        else:
            rest.append(word)
    return found, rest


def start(arguments: Arguments, excluded: list[str]) -> int:
    """Check what was asked for and run the job; the exit code."""
    values = arguments.values
    for name in _NOT_SIMULATED:
        if name in values:
            raise Die(f"vzdump --{name} is not simulated")
    given = [*arguments.extra, values.pop("vmid", "")]
    vmids = [word for text in given for word in re.split(r"[\s,;]+", text) if word]
    _verify(values, vmids)
    if values.get("node", machine.node()) not in (machine.node(), "localhost"):
        return 0
    if "exclude" in values and "pool" not in values:
        values["all"] = "1"
    if not vmids and values.get("all") != "1" and "pool" not in values:
        raise ParamError({"vmid": "property is missing"})
    chosen = _included(values, vmids)
    known = vmlist.guests()
    local = [vmid for vmid in chosen if vmid not in known or known[vmid].node == machine.node()]
    elsewhere = sorted(set(chosen) - set(local))
    if not local and values.get("all") != "1":
        return 0
    line = command_line(values, vmids, excluded)
    if values.get("quiet") == "1":
        null = os.open(os.devnull, os.O_WRONLY)
        sys.stdout.flush()
        os.dup2(null, 1)
        os.dup2(null, 2)
    options = Options(values, excluded)

    def work(out: tasks.Out) -> None:
        from .vzdump_job import Job

        Job(line, options, elsewhere, out).run(sorted(local))

    return tasks.run("vzdump", str(local[0]) if len(local) == 1 else "", work)


def _verify(values: Values, vmids: list[str]) -> None:
    """Refuse what contradicts itself."""
    for vmid in vmids:
        if not _VMID.fullmatch(vmid):
            raise ParamError({"vmid": "invalid format - value does not look like a valid VM ID\n"})
    for name, given in (
        ("all", values.get("all") == "1"),
        ("exclude", "exclude" in values),
        ("pool", "pool" in values),
    ):
        if given and vmids:
            raise ParamError({name: "option conflicts with option 'vmid'"})
    if "prune-backups" in values:
        prune.parse(values["prune-backups"])
    if "notes-template" in values:
        problem = notes_fault(values["notes-template"])
        if problem is not None:
            raise ParamError({"notes-template": f"{problem}\n"})


def _included(values: Values, vmids: list[str]) -> list[int]:
    """The guests that the job is about, wherever they are."""
    if "pool" in values:
        return _pool_members(values["pool"])
    if vmids:
        return sorted({int(vmid) for vmid in vmids})
    left_out = {int(word) for word in re.split(r"[\s,;]+", values.get("exclude", "")) if word.isdecimal()}
    return sorted(set(vmlist.guests()) - left_out)


def _pool_members(pool: str) -> list[int]:
    try:
        with open(paths.real(f"{paths.PVE}/user.cfg"), encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":") for line in file if line.startswith("pool:")]
    except FileNotFoundError:
        lines = []
    for fields in lines:
        if fields[1] == pool:
            return sorted(int(vmid) for vmid in fields[3].split(",") if vmid)
    raise Die(f"no such pool '{pool}'")


def command_line(values: Values, vmids: list[str], excluded: list[str]) -> str:
    """The job as the log names it; Proxmox's order of options is that of a hash, ours the alphabet's."""
    words = ["vzdump", *vmids]
    for name in sorted({*values, *(["exclude-path"] if excluded else [])}):
        for value in excluded if name == "exclude-path" else [values[name]]:
            if value != "":
                words.append(f"--{name} {shlex.quote(value)}")
    return " ".join(words)


def notes_fault(template: str) -> str | None:
    """What is wrong with a template of notes."""
    if "\n" in template:
        return "contains a line feed"
    unknown = [
        f"escape sequence '\\{found[1]}' at char {found.start()}"
        for found in re.finditer(r"\\(.)", template)
        if found[1] not in "n\\"
    ]
    unknown += [
        f"variable '{found[1]}' at char {found.start() + 2}"
        for found in re.finditer(r"\{\{([^\s{}]+)\}\}", template)
        if found[1] not in ("cluster", "guestname", "node", "vmid")
    ]
    return f"found unknown: {', '.join(unknown)}" if unknown else None


class Options:
    """The options of a job: the command line's, then those of /etc/vzdump.conf, then the defaults."""

    def __init__(self, values: Values, excluded: list[str]) -> None:
        self._given = values
        self._file = _read_defaults()
        if "dumpdir" in values or "storage" in values:
            self._file = {k: v for k, v in self._file.items() if k not in ("dumpdir", "storage")}
        self.excluded = [*shlex.split(self._file.get("exclude-path", "")), *excluded]
        if self.text("stdexcludes", "1") == "1":
            self.excluded += ["/tmp/?*", "/var/tmp/?*", "/var/run/?*.pid"]  # noqa: S108 - of the guest

    def text(self, name: str, default: str = "") -> str:
        """The value of an option."""
        return self._given.get(name, self._file.get(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean option."""
        return self.text(name, "1" if default else "0") == "1"

    def number(self, name: str, default: int = 0) -> int:
        """An integer option."""
        return int(self.text(name, str(default)))

    @property
    def storage(self) -> str | None:
        """The storage for the archives; None where a directory is given."""
        if self.text("dumpdir"):
            return None
        return self.text("storage") or "local"

    def keep(self) -> prune.Keep:
        """The retention: of the command line, the storage, the file; else to keep all."""
        if "prune-backups" in self._given:
            return prune.parse(self._given["prune-backups"])
        section = storage_cfg.read().get(self.storage) if self.storage else None
        if section is not None and "prune-backups" in section.keys:
            return prune.parse(section.keys["prune-backups"])
        return prune.parse(self._file.get("prune-backups", "keep-all=1"))


def _read_defaults() -> Values:
    """What /etc/vzdump.conf sets."""
    try:
        with open(paths.real("/etc/vzdump.conf"), encoding="utf-8") as file:
            found = re.findall(r"^([a-z][a-z-]*):\s*(\S.*?)\s*$", file.read(), re.MULTILINE)
    except FileNotFoundError:
        return {}
    return {key: value for key, value in found if key in (*_FROM_FILE, "exclude-path")}
