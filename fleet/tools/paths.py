"""Paths of the host, compared as text."""

from __future__ import annotations


def within(path: str, directory: str) -> bool:
    """Whether the path is the directory or lies in it."""
    return bool(path and directory) and f"{path}/".startswith(f"{directory.rstrip('/')}/")
