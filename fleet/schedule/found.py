"""What is scheduled on this machine already? One script asks for all of it, and changes nothing."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleet.core.errors import HostError
from fleet.core.probe import Probe, compose, split, split_files
from fleet.host.guarded import library
from fleet.host.shell import Shell
from fleet.schedule.units import MARK, Place

#: A systemd that does not answer for so long will not.
SECONDS = 30.0

#: sed: the inventory that a unit file was made for.
_MADE_FOR = "s/^" + MARK.replace("{}", r"\(.*\)") + r"$/\1/p"
_PROPERTIES = (
    "Id,LoadState,UnitFileState,ActiveState,NeedDaemonReload,LastTriggerUSec,NextElapseUSecRealtime,"
    "Result,ExecMainStatus,ExecMainStartTimestamp,ExecMainExitTimestamp"
)
#: What a part without its last line means: all below it could be other people's.
_UNCLOSED = "fleet's part of it has a first line and no last one; put it in order with `crontab -e`"


@dataclass(frozen=True, slots=True)
class Found:
    """One read of the machine."""

    systemd: bool  # it runs, and so does this user's part of it where user units are meant
    booted: bool  # systemd is this machine's init, whether or not this user's part of it answers
    cron: bool  # there is a crontab program
    cron_runs: bool  # and something that reads what it writes
    files: Mapping[str, str] = field(default_factory=dict)  # path of each fleet-* unit file -> its text
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # unit -> systemctl's properties
    lines: tuple[str, ...] = ()  # of our part of the crontab
    trouble: str = ""  # why the crontab cannot be read
    zone: str = "UTC"  # of the machine's clock
    linger: bool = True  # user units run while the user is not logged in
    gone: frozenset[str] = frozenset()  # inventories that unit files were made for and that are not there
    variables: frozenset[str] = frozenset()  # names in the file of environment variables
    exposed: bool = False  # others may read that file


def read(shell: Shell, place: Place, names: Iterable[str]) -> Found:
    """What the machine says of the units of this folder, of those that are named, and of the crontab."""
    mark = f"fleet-{secrets.token_hex(12)}"
    output = shell.run(compose(_probes(place, tuple(names)), mark), timeout=SECONDS)
    if output.code:
        raise HostError(f"reading this machine's schedules failed (exit {output.code}): {output.err.strip()}")
    answers = split(output.out, mark)
    return Found(
        systemd=answers["systemd"].code == 0,
        booted=answers["booted"].code == 0,
        cron=answers["crontab-there"].code == 0,
        cron_runs=answers["cron-runs"].code == 0,
        files={
            path: text.removesuffix("\n") for path, text in split_files(answers["files"].text, mark).items()
        },
        units=_units(answers["units"].text),
        lines=tuple(answers["crontab"].text.splitlines()) if answers["crontab"].code == 0 else (),
        trouble="" if answers["crontab"].code == 0 else answers["crontab"].text.strip() or _UNCLOSED,
        zone=_zone(answers["zone"].text),
        linger=not place.user or answers["linger"].text.strip() != "no",
        gone=frozenset(answers["gone"].text.splitlines()),
        variables=frozenset(answers["variables"].text.split()),
        exposed=answers["exposed"].code == 0,
    )


def when(text: str) -> datetime | None:
    """The time that `systemctl --timestamp=utc` shows; None for one that never was."""
    match = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? UTC", text)
    return datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if match else None


def _probes(place: Place, names: Sequence[str]) -> tuple[Probe, ...]:
    user = " --user" if place.user else ""
    folder = shlex.quote(place.units)
    begin, end = shlex.quote(place.begin), shlex.quote(place.end)
    environment = shlex.quote(place.environment)
    wanted = " ".join(shlex.quote(f"{name}.{kind}") for name in names for kind in ("timer", "service"))
    return (
        Probe(
            "systemd",  # where another init runs, and in a chroot, it says `offline`
            f"case $(systemctl{user} is-system-running) in ''|offline|unknown) exit 1 ;; esac",
        ),
        Probe("booted", "[ -d /run/systemd/system ]"),
        Probe(
            "files",
            f"for file in {folder}/fleet-*.timer {folder}/fleet-*.service; do\n"
            '  [ -f "$file" ] || continue\n'
            '  printf \'%s file %s\\n\' "$FLEET_MARK" "$file"; cat "$file"; echo\n'
            "done",
        ),
        Probe(
            "units",
            f"cd {folder} 2>/dev/null; set -- {wanted} fleet-*.timer fleet-*.service\n"
            f'systemctl{user} show --timestamp=utc -p {_PROPERTIES} -- "$@"',
        ),
        Probe("linger", 'loginctl show-user "$(id -un)" -p Linger --value || echo no'),
        Probe("crontab-there", "command -v crontab"),
        Probe("cron-runs", "grep -qsx -e cron -e crond /proc/[0-9]*/comm"),
        Probe(
            "crontab",
            "command -v crontab >/dev/null || exit 0\n"
            f"{library('schedule.sh')}\n"
            "folder=$(mktemp -d) || exit 1\ntrap 'rm -rf \"$folder\"' EXIT\n"
            f'fleet_cron_split "$folder" {begin} {end} 2>&1 && cat "$folder/ours"',
        ),
        Probe("zone", "readlink -f /etc/localtime || cat /etc/timezone"),
        Probe(
            "gone",
            f"cat {folder}/fleet-*.timer {folder}/fleet-*.service | sed -n {shlex.quote(_MADE_FOR)} | sort -u"
            ' | while IFS= read -r path; do [ -e "$path" ] || printf \'%s\\n\' "$path"; done',
        ),
        Probe("variables", rf"sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=..*/\1/p' {environment}"),
        Probe("exposed", f"stat -c %a {environment} | grep -qv '00$'"),
    )


def _units(text: str) -> dict[str, dict[str, str]]:
    found = {}
    for block in text.split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in said:
            found[said["Id"]] = said
    return found


def _zone(text: str) -> str:
    """The zone's name: from the link to the zone's file, or from /etc/timezone."""
    name = text.strip().rpartition("zoneinfo/")[2]
    return name.removeprefix("posix/") if re.fullmatch(r"[\w+-]+(?:/[\w+-]+)*", name) else "UTC"
