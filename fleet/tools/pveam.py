"""Appliance templates: file names, versions, and the pveam commands (pve-facts 3.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fleet.core.command import Command, Word, command

#: The end of a template's file name: the architecture, where it says one, and the kind of archive.
_END = re.compile(r"(_(?:amd64|i386|arm64|armhf|riscv32|riscv64))?\.tar\.[a-z0-9]+$")


def newest(names: Iterable[str], prefix: str, architecture: str) -> str | None:
    """The newest of the templates whose file name begins with the prefix, by version.

    One of another architecture than the node's (empty: unknown) is none, unless the prefix names it.
    """
    matching = [name for name in names if name.startswith(prefix) and _runs(name, prefix, architecture)]
    return max(matching, key=_version, default=None)


def volume_id(storage: str, name: str) -> str:
    """`local:vztmpl/NAME`."""
    return f"{storage}:vztmpl/{name}"


def update() -> Command:
    """`pveam update`: the index of what can be downloaded. Exit 0 means nothing."""
    return command("pveam", "update")


def download(storage: str, name: Word) -> Command:
    """`pveam download`. Exit 0 means nothing: the cache has to be looked at afterwards."""
    return command("pveam", "download", storage, name)


def _runs(name: str, prefix: str, architecture: str) -> bool:
    """The name is that of a template, and of this architecture as far as it says."""
    end = _END.search(name)
    if not end:
        return False
    own = end[1] or ""
    return not (own and architecture) or own == f"_{architecture}" or own in prefix


def _version(name: str) -> tuple[tuple[int, str], ...]:
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part
    )
