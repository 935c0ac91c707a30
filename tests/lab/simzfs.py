"""A node's root in a plain directory, and its zfs and zpool called in this process."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet.lab.sim import machine, paths, zfs, zpool

TANK = 100 << 30
COMMANDS = {"zfs": zfs.main, "zpool": zpool.main}


class Host:
    """A node with the pool `tank` (100 GiB) and `other`."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._patch = monkeypatch
        facts = {"node": "pve", "pools": [{"name": "tank", "size": TANK}, {"name": "other", "size": TANK}]}
        self.write("/var/lib/fleet-lab/machine.json", json.dumps(facts))

    def write(self, path: str, text: str) -> Path:
        """Write a file of the node."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def read(self, path: str) -> str:
        """A file of the node."""
        return (self.root / path.lstrip("/")).read_text()

    def fault(self, **faults: Any) -> None:
        """Tell the node what is to go wrong; nothing is without arguments."""
        self.write("/var/lib/fleet-lab/faults.json", json.dumps(faults))
        machine.faults.cache_clear()

    @contextmanager
    def here(self) -> Iterator[None]:
        """Let the simulated commands see this node."""
        self._patch.setattr(paths, "ROOT", str(self.root))
        machine.facts.cache_clear()
        machine.faults.cache_clear()
        yield
        machine.facts.cache_clear()
        machine.faults.cache_clear()

    def run(self, line: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of `zfs ...` or `zpool ...`, words separated by blanks."""
        code, out, err = self.raw(line, stdin)
        return code, out.decode(), err

    def raw(self, line: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """The same with stdout as bytes."""
        words = line.split()
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with self.here(), self._patch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = COMMANDS[words[0]](words)
            out.flush()
            return code, out.buffer.getvalue(), err.getvalue()

    def ok(self, line: str, stdin: bytes = b"") -> str:
        """The stdout of a command that must succeed without a word on stderr."""
        code, out, err = self.run(line, stdin)
        assert (code, err) == (0, ""), f"{line}: {code} {err}"
        return out

    def get(self, what: str, name: str) -> str:
        """The value of one property."""
        return self.ok(f"zfs get -Hp -o value {what} {name}").rstrip("\n")
