"""Replay recordings of a real Proxmox VE host against the lab, command by command.

And compare exit code, stdout and stderr.

`python tests/lab/conformance/replay.py` prints every disagreement; `--docs` writes docs/conformance.md and
the pinned numbers. FLEET_RECORDINGS may name a directory with other recordings of the same names.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from fleet.lab import lab as labs  # noqa: E402
from tests.lab.conformance.expected import BRIDGES, DIFFERENT, HELPERS, MACHINES  # noqa: E402
from tests.lab.conformance.normalise import Normaliser  # noqa: E402

RECORDINGS = Path(os.environ.get("FLEET_RECORDINGS", HERE / "recordings"))
PINS = HERE / "pins.json"
DOCS = HERE.parents[2] / "docs" / "conformance.md"
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Line:
    """One command and what the real host answered."""

    cmd: str
    rc: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Outcome:
    """How one line of a recording fared: what differs (none: it agrees), as lines of a diff."""

    recording: str
    index: int
    cmd: str
    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the lab answered as the host."""
        return not self.differences


def load(name: str) -> list[Line]:
    """The lines of a recording."""
    lines = (
        json.loads(text) for text in (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    )
    return [Line(line["cmd"], line["rc"], line["stdout"], line["stderr"]) for line in lines if "rc" in line]


def _shortened(cmd: str) -> str:
    """The command without the waits for a slow host."""
    return re.sub(r"\bsleep [1-9]\d*;", "sleep 0.4;", cmd)


def _compare(
    recording: str, index: int, line: Line, got: tuple[int, str, str], sides: tuple[Normaliser, Normaliser]
) -> Outcome:
    """Compare one answer; both sides are normalised even if the code differs.

    To keep the numbering in step.
    """
    differences: list[str] = []
    if got[0] != line.rc:
        differences.append(f"exit code {line.rc}, got {got[0]}")
    for stream, real, simulated in (("stdout", line.stdout, got[1]), ("stderr", line.stderr, got[2])):
        wanted, had = sides[0].text(real), sides[1].text(simulated)
        if wanted != had:
            diff = difflib.unified_diff(
                wanted.splitlines(), had.splitlines(), "host", "lab", lineterm="", n=0
            )
            differences += [f"{stream} {text}" for text in list(diff)[2:]] or [
                f"{stream} differs in blanks at the end"
            ]
    return Outcome(recording, index, line.cmd, tuple(differences))


class Login:
    """A connection to the lab over SSH, as the recordings were made."""

    def __init__(self, lab: labs.Lab) -> None:
        import paramiko

        self._client = paramiko.SSHClient()
        self._client.load_host_keys(str(lab.known_hosts))
        self._client.connect(
            lab.host, lab.port, lab.user, key_filename=str(lab.key), allow_agent=False, look_for_keys=False
        )

    def run(self, command: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of a shell command."""
        _, stdout, stderr = self._client.exec_command(HELPERS + command, timeout=_TIMEOUT)
        texts = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
        return stdout.channel.recv_exit_status(), *texts

    def close(self) -> None:
        """Log out."""
        self._client.close()


def replay(machine: str, recordings: list[str], name: str) -> Iterator[Outcome]:
    """The outcomes of all lines of the recordings, one after the other on one machine."""
    login = Login(labs.reset(name, machine=machine))
    try:
        for recording in recordings:
            for command in BRIDGES.get(recording, ()):
                code, stdout, stderr = login.run(command)
                if code:
                    raise AssertionError(
                        f"bridging to {recording}: {command!r} gave {code}: {stdout}{stderr}"
                    )
            sides = (Normaliser(), Normaliser())
            for index, line in enumerate(load(recording)):
                got = login.run(_shortened(line.cmd))
                yield _compare(recording, index, line, got, sides)
    finally:
        login.close()
        labs.down(name)


def all_outcomes(only: str | None = None) -> dict[str, list[Outcome]]:
    """Outcomes by recording."""
    found: dict[str, list[Outcome]] = {}
    for machine, recordings in MACHINES.items():
        if only is None or only in recordings:
            last = recordings[: recordings.index(only) + 1] if only else recordings
            for outcome in replay(machine, last, f"conformance-{machine}"):
                found.setdefault(outcome.recording, []).append(outcome)
    return found


def document(outcomes: dict[str, list[Outcome]]) -> str:
    """docs/conformance.md."""
    from tests.lab.conformance.normalise import reasons

    lines = [
        "# How faithful the lab is",
        "",
        "Made by `python tests/lab/conformance/replay.py --docs`: recordings of real Proxmox VE 9 hosts,",
        "replayed against the lab over SSH, command by command. A line agrees if exit code, stdout and",
        "stderr are the same after these have been put out of the way:",
        "",
        *(f"- {reason}" for reason in reasons()),
        "",
        "| Recording | Lines | Agree |",
        "|---|---|---|",
    ]
    for recording, found in outcomes.items():
        lines.append(f"| {recording} | {len(found)} | {sum(outcome.agrees for outcome in found)} |")
    total = [outcome for found in outcomes.values() for outcome in found]
    lines += [f"| all | {len(total)} | {sum(outcome.agrees for outcome in total)} |", ""]
    lines += [
        "Where the host's state at the start of a recording is not that at the end of the one before, these",
        "commands bring it about:",
        "",
    ]
    for recording, commands in BRIDGES.items():
        lines += [f"- {recording}: " + "; ".join(f"`{command}`" for command in commands)]
    lines += [
        "",
        "## Lines that do not agree",
        "",
        "| Recording | Line | Command | Why |",
        "|---|---|---|---|",
    ]
    for outcome in total:
        if not outcome.agrees:
            why = DIFFERENT.get(outcome.recording, {}).get(
                outcome.index, "not looked into: " + outcome.differences[0][:100]
            )
            command = outcome.cmd if len(outcome.cmd) <= 80 else outcome.cmd[:77] + "..."
            lines.append(f"| {outcome.recording} | {outcome.index} | `{_cell(command)}` | {_cell(why)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Print disagreements, or write the documentation and the pins."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recording", nargs="?")
    parser.add_argument("--docs", action="store_true")
    arguments = parser.parse_args()
    outcomes = all_outcomes(arguments.recording)
    for recording, found in outcomes.items():
        if arguments.recording not in (None, recording):
            continue
        for outcome in found:
            if not outcome.agrees:
                known = "" if outcome.index not in DIFFERENT.get(recording, {}) else " (known)"
                print(
                    f"{recording} [{outcome.index}]{known} $ {outcome.cmd}",
                    *outcome.differences,
                    sep="\n    ",
                )
    for recording, found in outcomes.items():
        print(f"{recording}: {sum(outcome.agrees for outcome in found)} of {len(found)} agree")
    if arguments.docs:
        DOCS.write_text(document(outcomes), encoding="utf-8")
        pins = {recording: sum(outcome.agrees for outcome in found) for recording, found in outcomes.items()}
        PINS.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
