"""Labs by name: bring one up, take it down, reset it, and what can be done with one that is up."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.core.errors import FleetError
from fleet.lab import inside, layout, machine
from fleet.lab.faults import Faults, exec_count

_START_SECONDS = 30
_DEFAULTS: dict[str, Any] = {"machine": "homelab", "pve_version": 9, "realistic": False}


class LabError(FleetError):
    """The lab cannot do what was asked; the message says what to do."""


@dataclass(frozen=True)
class Lab:
    """A lab that is up: where to log in, and a way in without SSH."""

    name: str
    host: str
    port: int
    user: str
    key: Path
    known_hosts: Path
    machine: str
    pve_version: int
    realistic: bool

    @property
    def files(self) -> layout.Files:
        """The lab's own files."""
        return layout.files(self.name)

    @property
    def pid(self) -> int:
        """Process 1 of the node, as seen from outside. LabError if the lab is not up any more."""
        record = _read(self.files)
        if not _alive(record):
            raise LabError(f"lab {self.name!r} is not up; `inv lab.up --name {self.name}` starts it")
        number: int = record["node"]
        return number

    @property
    def root(self) -> Path:
        """The node's file tree, to look into and to break by hand."""
        return self.files.root

    @property
    def known_hosts_line(self) -> str:
        """The line for a known_hosts file."""
        return self.known_hosts.read_text(encoding="ascii").strip()

    @property
    def faults(self) -> Faults:
        """What is to go wrong."""
        return Faults(self.files)

    def run(
        self, script: str, *, user: str = "root", stdin: str | None = None, timeout: float | None = None
    ) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of a shell script run inside, without SSH; 128+N for signal N."""
        done = subprocess.run(
            inside.words(self.pid, inside.shell(script, user)),
            env=inside.environment(user),
            timeout=timeout,
            input=(stdin or "").encode(),
            capture_output=True,
            check=False,
        )
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return code, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def exec_count(self) -> int:
        """How many executions over SSH have begun since the lab was made or reset."""
        return exec_count(self.files)

    def execs(self) -> list[dict[str, Any]]:
        """Those executions: n, time, user, command, rc (None while it runs, -N for a signal), seconds."""
        found: dict[int, dict[str, Any]] = {}
        if self.files.execs.exists():
            for line in self.files.execs.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                found.setdefault(entry["n"], {}).update(entry)
        return list(found.values())

    def frozen(self) -> list[tuple[int, float]]:
        """(VMID, seconds) for each time that a container was frozen, in the order of their thawing."""
        log = self.root / layout.STATE.lstrip("/") / "frozen.log"
        lines = log.read_text(encoding="ascii").splitlines() if log.exists() else []
        return [(int(vmid), float(to) - float(since)) for vmid, since, to in map(str.split, lines)]

    def still_frozen(self) -> list[int]:
        """The running containers that stand still, or were asked to."""
        groups = (self.root / "sys/fs/cgroup/lxc").glob("*/cgroup.freeze")
        return sorted(
            int(file.parent.name)
            for file in groups
            if file.read_text(encoding="ascii").strip() != "0"
            or "frozen 1" in file.with_name("cgroup.events").read_text(encoding="ascii")
        )

    def ssh_words(self) -> list[str]:
        """The ssh command that logs in, for OpenSSH's client."""
        return [
            "ssh",
            "-p",
            str(self.port),
            "-i",
            str(self.key),
            "-o",
            f"UserKnownHostsFile={self.known_hosts}",
            "-o",
            "IdentitiesOnly=yes",
            f"{self.user}@{self.host}",
        ]


def up(
    name: str = "default",
    *,
    machine: str | None = None,
    pve_version: int | None = None,
    realistic: bool | None = None,
    peers: Mapping[str, str] | None = None,
) -> Lab:
    """Bring a lab up, making it if there is none of that name; one that is up is left alone.

    Except one whose simulated commands are of another fleet, or of an older state of this one: it is brought
    down and up again, and keeps its state.

    `machine` (a name in fleet/lab/machines), `pve_version` (8 or 9) and `realistic` (commands cost what they
    cost on a real node) are a lab's for good until it is reset; None takes what it has, or homelab, 9 and
    False. Safe to call from several processes.

    `peers` says which other labs `ssh` on its node reaches, {HOST: NAME OF A LAB}, from now on; None keeps
    them, which are the machine's own at first (`nas` is the lab of that name for homelab).
    """
    files = _files(name)
    asked = {"machine": machine, "pve_version": pve_version, "realistic": realistic}
    with _locked(files):
        record = _read(files)
        options = _settle(name, record, asked)
        code = _code()
        if _alive(record) and record.get("code") != code:
            _stop_daemon(record)
        if not _alive(record):
            _seed(files, options)
            files.record.write_text(json.dumps({**record, **options, "code": code}), encoding="utf-8")
            _start_daemon(files)
            record = _read(files)
        if peers is not None and record.get("peers") != dict(peers):
            record["peers"] = dict(peers)
            _write(files, record)
        return _lab(name, files, record)


def down(name: str = "default") -> bool:
    """Take a lab down; its state stays. False if it was not up."""
    files = _files(name)
    if not files.directory.exists():
        return False
    with _locked(files):
        return _stop_daemon(_read(files))


def reset(
    name: str = "default",
    *,
    machine: str | None = None,
    pve_version: int | None = None,
    realistic: bool | None = None,
    peers: Mapping[str, str] | None = None,
) -> Lab:
    """Throw the node's state away and bring the lab up anew; None keeps an option. Keys and port stay."""
    files = _files(name)
    with _locked(files):
        record = _read(files)
        _stop_daemon(record)
        asked = {"machine": machine, "pve_version": pve_version, "realistic": realistic}
        given = {key: value for key, value in asked.items() if value is not None}
        if files.root.exists():
            _remove(files.root)
        files.execs.unlink(missing_ok=True)
        if record:
            files.record.write_text(json.dumps({**record, **given}), encoding="utf-8")
    return up(name, machine=machine, pve_version=pve_version, realistic=realistic, peers=peers)


def status(name: str = "default") -> Lab | None:
    """The lab if it is up, None if it is not."""
    files = _files(name)
    record = _read(files)
    return _lab(name, files, record) if _alive(record) else None


def known() -> list[str]:
    """The names of all labs there are, up or not."""
    home = layout.home()
    return sorted(path.parent.name for path in home.glob("*/lab.json")) if home.is_dir() else []


def _code() -> str:
    """Which simulated commands these are: where they are, and when the last of them was changed."""
    here = Path(__file__).parent
    changed = max(path.stat().st_mtime_ns for folder in (here, here / "sim") for path in folder.glob("*.py"))
    return f"{here} {changed}"


def _files(name: str) -> layout.Files:
    try:
        return layout.files(name)
    except ValueError as error:
        raise LabError(str(error)) from None


@contextmanager
def _locked(files: layout.Files) -> Iterator[None]:
    try:
        files.directory.parent.mkdir(parents=True, exist_ok=True)
        lock = files.lock.open("a")
    except OSError as error:
        raise LabError(f"{layout.home()} cannot be the folder of the labs: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(files: layout.Files) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(files.record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return record


def _write(files: layout.Files, record: dict[str, Any]) -> None:
    temporary = files.record.with_suffix(".new")
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(files.record)


def _settle(name: str, record: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The options of a lab; LabError when others are asked for than it has."""
    options = {
        key: record.get(key, _DEFAULTS[key]) if value is None else value for key, value in asked.items()
    }
    different = [key for key in options if key in record and record[key] != options[key]]
    if different:
        said = ", ".join(f"{key.replace('_', '-')} is {record[key]}, not {options[key]}" for key in different)
        raise LabError(
            f"lab {name!r} exists and is another: {said}. "
            f"`inv lab.reset --name {name}` with these options makes it anew; "
            "another --name makes one beside it."
        )
    return options


def _seed(files: layout.Files, options: dict[str, Any]) -> None:
    if sys.platform != "linux":
        raise LabError(
            "the lab needs Linux: it is made of namespaces. "
            "Give a real host's address in hosts.yml instead of `address: lab`."
        )
    files.directory.mkdir(mode=0o700, exist_ok=True)
    try:
        description = machine.load(options["machine"], options["pve_version"])
    except ValueError as error:
        raise LabError(str(error)) from None
    if not files.root.exists():
        machine.seed(files.root, description, realistic=options["realistic"])
    machine.refresh(files.root, description)


def _start_daemon(files: layout.Files) -> None:
    reading, writing = os.pipe()
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    try:
        with files.log.open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "fleet.lab.daemon", str(files.directory), str(writing)],
                check=False,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                cwd="/",
                env={**os.environ, "PYTHONPATH": path},
                timeout=_START_SECONDS,
            )
    finally:
        os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answers:
        answer = answers.readline().strip()
    if answer != "ready":
        raise LabError(answer or f"the lab did not come up; {files.log} says why")


def _stop_daemon(record: dict[str, Any]) -> bool:
    if not _alive(record):
        return False
    os.kill(record["daemon"], signal.SIGTERM)
    patience = time.monotonic() + 10
    while _alive(record):
        if time.monotonic() > patience:
            os.kill(record["daemon"], signal.SIGKILL)
        time.sleep(0.01)
    return True


def _alive(record: dict[str, Any]) -> bool:
    """Whether the daemon of a record runs: that process, not another that has its number now."""
    return "daemon" in record and process_start(record["daemon"]) == record["daemon_start"]


def process_start(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if there is no such process or it is a zombie."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _lab(name: str, files: layout.Files, record: dict[str, Any]) -> Lab:
    return Lab(
        name=name,
        host="127.0.0.1",
        port=record["port"],
        user="root",
        key=files.client_key,
        known_hosts=files.known_hosts,
        machine=record["machine"],
        pve_version=record["pve_version"],
        realistic=record["realistic"],
    )


def _remove(tree: Path) -> None:
    """Delete a tree whose directories may not be readable."""
    for directory, names, _ in os.walk(tree):
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink() and path.stat().st_mode & 0o700 != 0o700:
                path.chmod(0o700)
    shutil.rmtree(tree)
