"""A new fleet's files, and the writing of them into a folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fleet.core.errors import FleetError, Refused
from fleet.inventory.schema import schema_text

#: Name in the new folder, and name here (where a dot file or a module would be taken for one of the package).
FILES = {
    "hosts.yml": "hosts.yml",
    "tasks.py": "tasks.py.txt",
    "README.md": "README.md",
    ".gitignore": "gitignore",
}
SCHEMA = "hosts.schema.json"


def make(folder: Path) -> list[Path]:
    """The paths of the files written into the folder; Refused, writing nothing, if one is there already."""
    try:
        taken = [name for name in (*FILES, SCHEMA) if (folder / name).exists()]
        if taken:
            raise Refused(f"{folder} has {', '.join(taken)} already: nothing was written")
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in FILES.items():
            (folder / name).write_text(files(__name__).joinpath(source).read_text("utf-8"), encoding="utf-8")
        (folder / SCHEMA).write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise FleetError(f"cannot write the new fleet: {error.filename}: {error.strerror}") from error
    return [folder / name for name in (*FILES, SCHEMA)]
