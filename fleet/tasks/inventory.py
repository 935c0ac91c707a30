"""`inv inventory.*`: what hosts.yml may hold, for editors and for people."""

from __future__ import annotations

from fleet.tasks.cli import Options, task

_OUT = {"out": "write to this file instead of stdout"}


@task(help=_OUT)
def schema(options: Options, out: str = "") -> int:
    """Print the JSON Schema of hosts.yml, with which editors complete and check the file."""
    from fleet.inventory.schema import schema_text

    return _write(schema_text(), out)


@task(help=_OUT)
def reference(options: Options, out: str = "") -> int:
    """Print the reference of hosts.yml, key by key, in Markdown."""
    from fleet.inventory.reference import reference as text

    return _write(text(), out)


def _write(text: str, out: str) -> int:
    from pathlib import Path

    from fleet.core.errors import FleetError

    if not out:
        print(text, end="")
        return 0
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FleetError(f"{out}: {error.strerror}") from error
    return 0
