"""What counts as a proof of a restore: the service itself, or no more than that the copy boots."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

ORIGINAL, COPY = "101", "900"
NAME = "fleet-daily-20261123t070000z"

# `pct exec VMID -- /bin/sh -c TEXT WORDS`: here, with the programs of that guest first.
_PCT = """#!/bin/sh
vmid=$2
shift 3
echo "$vmid" >>"$FAKE/asked"
PATH=$FAKE/$vmid:$PATH exec "$@"
"""
_ACTIVE = "#!/bin/sh\ncase $1 in is-system-running) echo running ;; esac\n"
_INACTIVE = "#!/bin/sh\ncase $1 in is-active) exit 3 ;; is-system-running) echo running ;; esac\n"
# UP is how `docker compose up` ends, STATE what `docker inspect` says of the one container.
_DOCKER = """#!/bin/sh
echo "$*" >>"$FAKE/docker"
case "$*" in
info) exit INFO ;;
*'compose up'*) echo "UP"; [ -z "UP" ] ;;
*'compose ps'*) echo c1 ;;
inspect*) echo "/web STATE" ;;
esac
"""


@dataclass
class Host:
    """A folder with two guests that run, the original and its copy, and the record of proofs."""

    folder: Path

    def has(self, vmid: str, name: str, text: str) -> None:
        """Give a guest a program."""
        self.program(self.folder / vmid / name, text)

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def docker(self, *, up: str = "", state: str = "running 0", info: int = 0) -> None:
        """Both guests have a stack and Docker; in the copy it behaves like this."""
        (self.folder / "stack").mkdir()
        (self.folder / "stack/compose.yaml").write_text("services: {}")
        for vmid, said in ((ORIGINAL, ""), (COPY, up)):
            text = _DOCKER.replace("UP", said).replace("STATE", state).replace("INFO", str(info))
            self.has(vmid, "docker", text)

    def prove(self, kind: str, *, running: str = f"{ORIGINAL} {COPY}", original: str = ORIGINAL) -> str:
        """What the proof says; the record gets its line."""
        library = "".join(
            files("fleet.host").joinpath(name).read_text()
            for name in ("prelude.sh", "backup.sh", "restore.sh")
        )
        script = f"""{library}
            fleet_running() {{ case " {running} " in *" $1 "*) ;; *) return 1 ;; esac; }}
            fleet_marked() {{ :; }}
            fleet_prove {COPY} mark ct {NAME} {original} 3 {kind} web '{self.folder}/stack' '{self.folder}'
        """
        done = subprocess.run(
            ["sh", "-c", script],
            env={
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                "FAKE": str(self.folder),
                "FLEET_STATE": str(self.folder),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    def record(self) -> list[str]:
        """The record without the times."""
        return [line.partition(" ")[2] for line in (self.folder / "proven").read_text().splitlines()]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.program(tmp_path / "bin/pct", _PCT)
    made.program(tmp_path / "bin/sleep", "#!/bin/sh\n")
    for vmid in (ORIGINAL, COPY):
        made.has(vmid, "systemctl", _ACTIVE)
    return made


def test_a_service_that_runs_in_the_copy_is_proven(host: Host) -> None:
    host.prove("systemd")
    assert host.record() == [f"ct {NAME} ok service"]


def test_a_guest_without_a_declared_service_is_proven_to_boot(host: Host) -> None:
    host.prove("-")
    assert host.record() == [f"ct {NAME} ok boots"]


@pytest.mark.parametrize(("running", "original"), [(COPY, ORIGINAL), (COPY, "-")])
def test_a_service_that_does_not_start_fails_where_the_original_is_stopped_or_gone(
    host: Host, running: str, original: str
) -> None:
    host.has(COPY, "systemctl", _INACTIVE)
    assert "fault the unit web is not active" in host.prove("systemd", running=running, original=original)
    assert host.record() == [f"ct {NAME} failed"]


def test_a_service_that_the_running_original_has_and_the_copy_lacks_fails(host: Host) -> None:
    host.has(COPY, "systemctl", _INACTIVE)
    assert "which it is in the original" in host.prove("systemd")
    assert host.record() == [f"ct {NAME} failed"]


def test_what_the_running_original_lacks_too_is_forgiven_and_proves_no_service(host: Host) -> None:
    for vmid in (ORIGINAL, COPY):
        host.has(vmid, "systemctl", _INACTIVE)
    assert "note the service was not proven" in host.prove("systemd")
    assert host.record() == [f"ct {NAME} ok boots"]


def test_a_stack_is_proven_where_its_containers_run_and_only_the_copys_is_touched(host: Host) -> None:
    host.docker()
    host.prove("compose")
    assert host.record() == [f"ct {NAME} ok service"]
    assert "compose up -d --no-build --pull never" in (host.folder / "docker").read_text()
    assert ORIGINAL not in (host.folder / "asked").read_text().split()


def test_a_compose_file_alone_proves_no_service(host: Host) -> None:
    host.docker(info=1)
    assert "note the service was not proven: Docker does not run in it" in host.prove("compose")
    assert host.record() == [f"ct {NAME} ok boots"]


@pytest.mark.parametrize(
    "said", ["no space left on device", "service db depends on undefined network x: invalid project"]
)
def test_a_fault_that_only_sounds_like_what_a_drill_leaves_out_is_one(host: Host, said: str) -> None:
    host.docker(up=said)
    assert said in host.prove("compose")
    assert host.record() == [f"ct {NAME} failed"]


def test_a_stack_that_does_not_come_up_fails_in_dockers_own_words(host: Host) -> None:
    host.docker(up="Error: No such image: web:1")
    assert "does not come up: Error: No such image: web:1\n" in host.prove("compose")
    assert host.record() == [f"ct {NAME} failed"]
    asked = (host.folder / "docker").read_text()
    assert asked.count("compose up") == 1  # never in the original


@pytest.mark.parametrize(
    ("up", "state"),
    [
        ("cannot assign requested address", "running 0"),
        ("error gathering device information", "running 0"),
        ("", "restarting 1"),
    ],
)
def test_what_a_drill_leaves_out_is_not_held_against_a_stack_and_proves_no_service(
    host: Host, up: str, state: str
) -> None:
    host.docker(up=up, state=state)
    assert "note the service was not proven" in host.prove("compose")
    assert host.record() == [f"ct {NAME} ok boots"]


def test_a_container_that_has_done_its_work_is_as_it_should_be(host: Host) -> None:
    host.docker(state="exited 0")
    host.prove("compose")
    assert host.record() == [f"ct {NAME} ok service"]


def test_a_stack_without_its_file_fails_where_the_original_does_not_run(host: Host) -> None:
    assert "fault no compose file" in host.prove("compose", running=COPY)
    assert host.record() == [f"ct {NAME} failed"]
