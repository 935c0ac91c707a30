"""Where is a secret to be had? On this machine: a variable, a file, or what a command prints.

A reference becomes a value only when something needs it. Errors name the reference, never what it gave.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Protocol

from fleet.core.errors import FleetError
from fleet.core.secret import Secret

#: How long a command may take that fetches a secret: a password manager may have to ask its server.
COMMAND_SECONDS = 20.0
_LARGEST = 1 << 20


class Reference(Protocol):
    """What hosts.yml says in a secret's place; as text it is `env:NAME`, `file:PATH` or `command:...`."""

    @property
    def kind(self) -> str:
        """env, file or command."""

    @property
    def target(self) -> str:
        """The variable, the path (relative to the folder of hosts.yml) or the command's words."""


class Secrets:
    """The secrets of one run: each is fetched when first asked for, and known from then on.

    `folder` is that of hosts.yml: paths are relative to it, and commands run in it.
    """

    def __init__(self, folder: Path, *, command_seconds: float = COMMAND_SECONDS) -> None:
        self._folder = folder
        self._command_seconds = command_seconds
        self._found: dict[tuple[str, str], Secret] = {}
        self.warnings: list[str] = []  # said once: a file that others may read

    @property
    def known(self) -> tuple[Secret, ...]:
        """All that were fetched so far: what a text must not hold."""
        return tuple(self._found.values())

    def get(self, ref: Reference) -> Secret:
        """The secret; FleetError, naming the reference, where it is not to be had."""
        key = (ref.kind, ref.target)
        if key not in self._found:
            name = f"{ref.kind}:{ref.target}"
            self._found[key] = Secret(self._value(ref, name), name)
        return self._found[key]

    def _value(self, ref: Reference, name: str) -> str:
        match ref.kind:
            case "env":
                value = os.environ.get(ref.target)
                if value is None:
                    raise FleetError(f"{name}: this environment variable is not set")
            case "file":
                value = self._file(ref.target, name)
            case "command":
                value = self._output(ref.target, name)
            case _:
                raise FleetError(f"{ref.kind!r} is no kind of secret: env, file or command")
        value = value.rstrip("\r\n")
        if not value.strip():
            raise FleetError(f"{name}: the secret is empty")
        return value

    def _file(self, target: str, name: str) -> str:
        path = self._folder / Path(target).expanduser()
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_LARGEST + 1)
        except OSError as error:
            raise FleetError(f"{name}: {path}: {error.strerror or error}") from None
        if stat.S_IMODE(mode) & 0o077:
            self.warnings.append(
                f"{name}: others than its owner may read this file (mode {stat.S_IMODE(mode):04o}):"
                f" chmod 600 {path}"
            )
        return _text(data, name)

    def _output(self, target: str, name: str) -> str:
        try:
            words = shlex.split(target)
        except ValueError as error:
            raise FleetError(f"{name}: this is no command line: {error}") from None
        try:
            done = subprocess.run(
                words,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it may show what it failed with
                timeout=self._command_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FleetError(f"{name}: no answer within {self._command_seconds:g} seconds") from None
        except OSError as error:
            raise FleetError(f"{name}: it cannot be run: {error.strerror or error}") from None
        if done.returncode:
            raise FleetError(f"{name}: it failed (exit {done.returncode}); run it by hand to see why")
        return _text(done.stdout, name)


def _text(data: bytes, name: str) -> str:
    if len(data) > _LARGEST:
        raise FleetError(f"{name}: more than {_LARGEST >> 20} MiB is no secret")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise FleetError(f"{name}: the secret is no UTF-8 text") from None
