"""What did fleet do, and when? One file of JSON lines a node, on the operator's side, only ever appended to.

    ${XDG_STATE_HOME:-~/.local/state}/fleet/journal/NODE.jsonl     mode 0600

Each line has `at` (UTC, ISO 8601), `run` and `event`; `started` and `ended` are the steps'. Only plain
values are written: text, numbers, truth, lists and tables of them. Anything else, a secret's type first of
all, is written as the name of its type.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fleet.core.errors import FleetError
from fleet.core.plan import Difference, Step
from fleet.host.apply import Result, Watcher
from fleet.host.guarded import GOOD

#: How much of a failed step's log is kept (lines).
_LAST_LINES = 20
#: Settings into which people write what they like, passwords too: of these the journal has no values.
_FREE_TEXT = frozenset({"description", "env", "raw"})


class Journal:
    """Writes the events of one run; each is on disk when `write` returns."""

    def __init__(self, node: str, run: str, *, folder: Path | None = None) -> None:
        self._path = _path(node, folder)
        self._run = run
        self._file = -1

    def __enter__(self) -> Self:
        """The journal, open; FleetError if it cannot be written."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                os.write(self._file, b"\n")  # the last writer died in the middle of a line
        except OSError as error:
            raise FleetError(f"the journal {self._path} cannot be written: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; a run that failed leaves a line that says how."""
        if error is not None:
            self.write("failed", error=kind.__name__ if kind else "")
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def write(self, event: str, **fields: object) -> None:
        """Append one event. A disk that is full does not stop what runs on the host: it is said, once."""
        if self._file < 0:
            return
        line: dict[str, object] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self._run,
            "event": event,
        }
        line |= {key: plain(value) for key, value in fields.items()}
        text = json.dumps(line, ensure_ascii=False) + "\n"
        try:
            os.write(self._file, text.encode("utf-8", "backslashreplace"))
            os.fdatasync(self._file)
        except OSError as error:
            self._file, file = -1, self._file
            os.close(file)
            print(f"the journal {self._path} is no longer written: {error.strerror}", file=sys.stderr)

    def watch(self, watcher: Watcher) -> Watcher:
        """A watcher that writes each step's start and end down before it tells the other one."""

        def started(step: Step) -> None:
            self.write(
                "started",
                step=step.id,
                subject=step.subject,
                action=step.action,
                impact=step.impact,
                because=[_because(each) for each in step.because],
            )
            watcher.started(step)

        def ended(result: Result) -> None:
            log = () if result.outcome in GOOD else result.log[-_LAST_LINES:]
            self.write(
                "ended",
                step=result.step.id,
                outcome=result.outcome,
                seconds=round(result.seconds, 2),
                **({"log": log} if log else {}),
            )
            watcher.ended(result)

        return replace(watcher, started=started, ended=ended)


def read(node: str, *, folder: Path | None = None) -> Iterator[Mapping[str, Any]]:
    """The events of a node, the oldest first; lines that were not finished are left out."""
    try:
        lines = _path(node, folder).read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _because(difference: Difference) -> dict[str, str | None]:
    values = {} if difference.key in _FREE_TEXT else {"was": difference.was, "want": difference.want}
    return {"key": difference.key, "reason": difference.reason, **values}


def plain(value: object) -> object:
    """The value as JSON has it, and nothing that is not plainly meant to be written."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return f"<{type(value).__name__}>"


def _path(node: str, folder: Path | None) -> Path:
    if folder is None:
        state = os.environ.get("XDG_STATE_HOME", "")
        # The XDG specification has relative paths ignored.
        base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
        folder = base / "fleet" / "journal"
    return folder / f"{node.replace('/', '_')}.jsonl"
