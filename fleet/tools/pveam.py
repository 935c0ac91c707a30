"""Appliance templates: file names, versions, and the pveam commands (pve-facts 3.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fleet.core.command import Command, Word, command


def newest(names: Iterable[str], prefix: str) -> str | None:
    """The newest of the templates whose file name begins with the prefix, by version."""
    matching = [name for name in names if name.startswith(prefix) and re.search(r"\.tar\.[a-z0-9]+$", name)]
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


def _version(name: str) -> tuple[tuple[int, str], ...]:
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part
    )
