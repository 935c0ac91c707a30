"""A machine to schedule on: stand-ins for systemctl and crontab on PATH, all else is this machine's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.core.plan import Plan
from fleet.host.apply import Result
from fleet.schedule.found import Found, read
from fleet.schedule.jobs import Job
from fleet.schedule.machine import local_shell, run
from fleet.schedule.plan import plan
from fleet.schedule.units import Place

SYSTEMCTL = """\
import os, sys
from pathlib import Path
state, units = Path(os.environ["FLEET_TEST_STATE"]), Path(os.environ["FLEET_TEST_UNITS"])
words = [word for word in sys.argv[1:] if word not in ("--user", "-q")]
with (state / "calls").open("a") as log:
    log.write(" ".join(words) + "\\n")
def names(kind):
    return set((state / kind).read_text().split()) if (state / kind).exists() else set()
def keep(kind, these):
    (state / kind).write_text(" ".join(sorted(these)))
def text(name):
    return (units / name).read_text() if (units / name).exists() else ""
def loaded(name):
    return (state / "loaded" / name).read_text() if (state / "loaded" / name).exists() else ""
verb, rest = words[0], [word for word in words[1:] if not word.startswith("-")]
if not (state / "systemd").exists():
    sys.exit("System has not been booted with systemd as init system (PID 1). Can't operate.")
elif verb == "is-system-running":
    print("running")
elif verb == "daemon-reload":
    for unit in units.glob("*"):
        (state / "loaded").mkdir(exist_ok=True)
        (state / "loaded" / unit.name).write_text(unit.read_text())
elif verb == "enable":
    keep("enabled", names("enabled") | set(rest))
elif verb in ("start", "restart"):
    keep("active", names("active") | set(rest))
elif verb == "disable":
    keep("enabled", names("enabled") - set(rest)); keep("active", names("active") - set(rest))
elif verb in ("is-enabled", "is-active"):
    sys.exit(not set(rest) <= names(verb[3:]))
elif verb == "show" and "--value" in words:
    print("yes" if text(rest[-1]) != loaded(rest[-1]) else "no")
elif verb == "show":
    for name in rest[1:]:
        print(f"Id={name}")
        print(f"UnitFileState={'enabled' if name in names('enabled') else 'disabled'}")
        print(f"ActiveState={'active' if name in names('active') else 'inactive'}")
        print(f"NeedDaemonReload={'yes' if text(name) != loaded(name) else 'no'}")
        more = state / "show" / name
        print(more.read_text() if more.exists() else "")
else:
    sys.exit(f"systemctl: unknown: {words}")
"""

CRONTAB = """\
#!/bin/sh
file=$FLEET_TEST_STATE/crontab
echo "crontab $1" >>"$FLEET_TEST_STATE/calls"
[ ! -e "$FLEET_TEST_STATE/crontab-fails" ] || { echo "you are not allowed to use this program" >&2; exit 1; }
case $1 in
-l) [ -e "$file" ] || { echo "no crontab for root" >&2; exit 1; }; sed 's/\\r/\\\\r/g' "$file" ;;
-r) rm "$file" ;;
*)
    [ -z "$(tail -c 1 "$1")" ] || { echo "new crontab file is missing newline before EOF" >&2; exit 1; }
    cp "$1" "$file"
    ;;
esac
"""


@dataclass
class Box:
    """This machine, as far as it is ours: what stands for systemd's state, and where units go."""

    state: Path
    place: Place

    @property
    def units(self) -> Path:
        return Path(self.place.units)

    @property
    def crontab(self) -> Path:
        return self.state / "crontab"

    @property
    def calls(self) -> list[str]:
        """What systemctl and crontab were called for, except to look."""
        found = (self.state / "calls").read_text().splitlines() if (self.state / "calls").exists() else []
        looks = ("is-", "show", "crontab -l")
        return [call for call in found if not call.startswith(looks)]

    def boot(self, systemd: bool) -> None:
        (self.state / "systemd").unlink(missing_ok=True)
        if systemd:
            (self.state / "systemd").touch()

    def shows(self, unit: str, **properties: str) -> None:
        """systemctl shows these properties of the unit."""
        (self.state / "show").mkdir(exist_ok=True)
        (self.state / "show" / unit).write_text(
            "".join(f"{key}={value}\n" for key, value in properties.items())
        )

    def look(self, jobs: Sequence[Job], place: Place | None = None, **more: object) -> tuple[Found, Plan]:
        where = place or self.place
        found = read(local_shell(), where, [job.name for job in jobs])
        return found, plan(jobs, where, found, machine="here", year=2026, **more)  # type: ignore[arg-type]

    def apply(self, made: Plan) -> tuple[Result, ...]:
        return run(local_shell(), made, lambda _result: None)

    def install(self, jobs: Sequence[Job], place: Place | None = None) -> tuple[Plan, tuple[Result, ...]]:
        made = self.look(jobs, place)[1]
        return made, self.apply(made)


def place(folder: Path, units: Path, program: str = "/opt/fleet/.venv/bin/inv") -> Place:
    """A place for an inventory in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.yml").touch()
    return Place(
        hosts=str(folder / "hosts.yml"),
        folder=str(folder),
        program=(program,),
        environment=str(folder / ".env"),
        units=str(units),
        user=False,
    )


def job(name: str = "fleet-pve-snapshot", event: str = "02:00 UTC", *words: str) -> Job:
    return Job(name, "backup.snapshot", event.partition(" ")[0], event, ("backup.snapshot", *words), 3600)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    bin_, state, units = tmp_path / "bin", tmp_path / "state", tmp_path / "units"
    for folder in (bin_, state):
        folder.mkdir()
    (bin_ / "systemctl").write_text(f"#!{sys.executable} -IS\n{SYSTEMCTL}")
    (bin_ / "crontab").write_text(CRONTAB)
    (bin_ / "loginctl").write_text("#!/bin/sh\necho yes\n")
    for program in bin_.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_), prepend=":")
    monkeypatch.setenv("FLEET_TEST_STATE", str(state))
    monkeypatch.setenv("FLEET_TEST_UNITS", str(units))
    made = Box(state, place(tmp_path / "fleet", units))
    made.boot(systemd=True)
    return made
