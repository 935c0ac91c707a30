"""The commands of tests/zfs/commands, what they answer on a machine, and what two answers have in common.

    python tests/zfs/answers.py record     run them on real OpenZFS (scripts/zfs-vm) and keep what it says
    python tests/zfs/answers.py compare    what the lab says otherwise
    python tests/zfs/answers.py docs       docs/conformance-zfs.md

Each file is one topic: commands of the shell, one a line, run in order on a pool `tank`.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from fleet.lab import lab as labs  # noqa: E402
from tests.zfs import machine  # noqa: E402
from tests.zfs.different import DIFFERENT  # noqa: E402

COMMANDS = HERE / "commands"
RECORDINGS = HERE / "recordings"
DOCS = ROOT / "docs" / "conformance-zfs.md"

#: A shell script to (exit code, stdout, stderr).
Run = Callable[[str], tuple[int, str, str]]

# (pattern, what stands for it, why it must differ)
_REPLACED: tuple[tuple[str, str, str], ...] = (
    (r"\b1-[0-9a-f]+-[0-9a-f]+-[0-9a-f]{20,}\b", "TOKEN", "resume tokens hold guids"),
    (r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ +\d+:\d\d \d{4}\b", "DATE", "time of day"),
    (r"\b1[7-9]\d{8}\b", "EPOCH", "time of day"),
    (r"(\tGUID\d+\t)\d+(\tEPOCH)", r"\1TXG\2", "transaction groups (createtxg)"),
    (r"\b(createtxg(?:\t|\":\"))\d+", r"\1TXG", "transaction groups (createtxg)"),
)
_GUID = re.compile(r"\b\d{16,20}\b")


@dataclass(frozen=True)
class Answer:
    """A command and what it answered."""

    cmd: str
    rc: int
    stdout: str
    stderr: str


@dataclass
class Normaliser:
    """Text without what must differ between two machines; guids are numbered as they appear."""

    _guids: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """The text as it is compared."""
        text = _GUID.sub(lambda found: self._guids.setdefault(found[0], f"GUID{len(self._guids) + 1}"), text)
        for pattern, replacement, _ in _REPLACED:
            text = re.sub(pattern, replacement, text)
        return text


def topics() -> tuple[str, ...]:
    """The names of the lists of commands."""
    return tuple(sorted(path.stem for path in COMMANDS.glob("*.txt")))


def commands(topic: str) -> list[str]:
    """The commands of a topic."""
    lines = (COMMANDS / f"{topic}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def ask(run: Run, topic: str) -> list[Answer]:
    """What a machine answers to the commands of a topic, in one script."""
    asked = commands(topic)
    lines = ["cd /tmp"]
    for each in asked:
        lines.append(f"timeout 60 sh -c {shlex.quote(each)} </dev/null >answers.out 2>answers.err; code=$?")
        lines.append(r"printf '\036%s\037' $code; cat answers.out; printf '\037'; cat answers.err")
    code, out, err = run("\n".join(lines) + "\n")
    assert code == 0, err
    found = out.split("\x1e")[1:]
    assert len(found) == len(asked), out[-1000:]
    answers = []
    for cmd, text in zip(asked, found, strict=True):
        rc, stdout, stderr = text.split("\x1f")
        answers.append(Answer(cmd, int(rc), stdout, stderr))
    return answers


def recorded(topic: str) -> list[Answer]:
    """What real OpenZFS answered when it was last asked."""
    lines = (RECORDINGS / f"{topic}.jsonl").read_text(encoding="utf-8").splitlines()
    return [Answer(**json.loads(line)) for line in lines]


def differences(real: Sequence[Answer], other: Sequence[Answer]) -> Iterator[tuple[int, str, list[str]]]:
    """(number, command, what differs) of each command that answered otherwise; numbers from 0."""
    assert [each.cmd for each in real] == [each.cmd for each in other], "recorded anew? answers.py record"
    sides = Normaliser(), Normaliser()
    for number, (wanted, had) in enumerate(zip(real, other, strict=True)):
        found = [] if wanted.rc == had.rc else [f"exit code {wanted.rc}, not {had.rc}"]
        for stream in ("stdout", "stderr"):
            one, two = (
                side.text(_sorted(getattr(each, stream)))
                for side, each in zip(sides, (wanted, had), strict=True)
            )
            if one != two:
                diff = list(difflib.unified_diff(one.splitlines(), two.splitlines(), lineterm="", n=0))[2:]
                found += [f"{stream} {line}" for line in diff] or [f"{stream} differs in blanks at the end"]
        if found:
            yield number, wanted.cmd, found


def _sorted(text: str) -> str:
    """The text, refusals that follow each other sorted: for several datasets the kernel's order varies."""
    runs = groupby(text.splitlines(keepends=True), lambda line: line.startswith("cannot "))
    return "".join(line for refused, run in runs for line in (sorted(run) if refused else run))


def lab_answers(topic: str, lab: labs.Lab) -> list[Answer]:
    """What the lab answers to the commands of a topic."""
    return ask(lambda script: lab.run(script, timeout=300), topic)


def real_answers(topic: str, real: machine.Machine) -> list[Answer]:
    """What the machine answers, on a pool `tank` made for it."""
    real.ok(POOL)
    return ask(lambda script: real.run(script, timeout=300), topic)


#: A new pool `tank` as that of the lab's machine, in a file.
POOL = """
! zpool list -H -o name tank >/dev/null 2>&1 || zpool destroy -f tank || exit
mkdir -p /var/lib/pools && rm -f /var/lib/pools/tank && truncate -s 1G /var/lib/pools/tank &&
    zpool create -O compression=on -O atime=off tank /var/lib/pools/tank
"""


def _record() -> None:
    RECORDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fleet-zfs-") as folder:
        real = machine.up(Path(folder) / "vm")
        try:
            for topic in sys.argv[2:] or topics():
                said = real_answers(topic, real)
                lines = (json.dumps(vars(each), ensure_ascii=False) for each in said)
                (RECORDINGS / f"{topic}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        finally:
            machine.down(Path(folder) / "vm")


def _compared() -> Iterator[tuple[str, int, list[tuple[int, str, list[str]]]]]:
    with tempfile.TemporaryDirectory(prefix="fleet-zfs-") as folder:
        labs_home = labs.reset(f"answers-{Path(folder).name[-6:].lower().replace('_', 'x')}")
        try:
            for topic in topics():
                real = recorded(topic)
                yield topic, len(real), list(differences(real, lab_answers(topic, labs_home)))
        finally:
            labs.down(labs_home.name)


def _compare() -> None:
    for topic, count, found in _compared():
        print(f"== {topic}: {count - len(found)} of {count} agree")
        for number, cmd, what in found:
            known = DIFFERENT.get((topic, cmd))
            print(f"-- {number}: {cmd}" + (f"   [{known}]" if known else ""))
            print("\n".join(what))


def _docs() -> None:
    rows, kept = [], []
    total = [0, 0]
    for topic, count, found in _compared():
        about = (COMMANDS / f"{topic}.txt").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        rows.append(f"| {topic} | {about} | {count} | {count - len(found)} |")
        total = [total[0] + count, total[1] + count - len(found)]
        kept += [f"| {topic} | {_cell(cmd)} | {DIFFERENT[(topic, cmd)]} |" for _, cmd, _ in found]
    numbers = f"| all | | {total[0]} | {total[1]} |"
    replaced = [f"- {why}: {_cell(pattern)}" for pattern, _, why in _REPLACED]
    text = _DOCS.format(
        replaced="\n".join(replaced), rows="\n".join([*rows, numbers]), kept="\n".join(kept) or "| none | | |"
    )
    DOCS.write_text(text, encoding="utf-8")


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


_DOCS = """# How faithful the lab's ZFS is

Made by `python tests/zfs/answers.py docs`: the same commands on real OpenZFS and on the lab. The real answers
are those of the machine that `scripts/zfs-vm` makes (Debian 13, OpenZFS 2.3, as in Proxmox VE 9), recorded in
`tests/zfs/recordings`; a test asks the machine again, another one asks the lab. A command agrees if exit
code, stdout and stderr are the same after these have been put out of the way:

- guids: numbered as they appear, on both sides
- the order of several refusals (`cannot ...`): that of the kernel's table, which varies from boot to boot
{replaced}

| Topic | What | Commands | Agree |
|---|---|---|---|
{rows}

## Commands that do not agree

| Topic | Command | Why |
|---|---|---|
{kept}
"""

if __name__ == "__main__":
    {"record": _record, "compare": _compare, "docs": _docs}[sys.argv[1]]()
