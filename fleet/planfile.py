"""Plans and results as JSON: saved, read back, and shown to programs. The format has a version."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from fleet import __version__
from fleet.core.errors import FleetError
from fleet.core.plan import Plan

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan as it stands in a file: what made it, when, from which selection, and the plan itself."""

    format: int
    fleet: str
    created: str  # UTC, ISO 8601
    limit: tuple[str, ...]
    exclude: tuple[str, ...]
    restart: bool
    plan: Plan


_SAVED = TypeAdapter(SavedPlan)
_PLAN = TypeAdapter(Plan)


def save(
    path: Path, plan: Plan, *, created: str, limit: Sequence[str], exclude: Sequence[str], restart: bool
) -> None:
    """Write the plan to a file that only its owner can read; FleetError where that cannot be."""
    saved = SavedPlan(FORMAT, __version__, created, tuple(limit), tuple(exclude), restart, plan)
    try:
        _write(path, _SAVED.dump_json(saved, indent=2) + b"\n")
    except OSError as error:
        raise FleetError(f"{path}: the plan cannot be saved: {error.strerror}") from error


def load(path: Path) -> SavedPlan:
    """The plan of a file; FleetError where it is none, or one of another version."""
    try:
        saved = _SAVED.validate_json(path.read_bytes())
    except OSError as error:
        raise FleetError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise FleetError(
            f"{path}: not a saved plan: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
    if saved.format != FORMAT:
        raise FleetError(f"{path}: a plan of format {saved.format}, this fleet reads {FORMAT}; plan again")
    return saved


def _write(path: Path, data: bytes) -> None:
    """Put a private file there, whole or not at all; what is there and is no file stays."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise


def plan_data(plan: Plan) -> dict[str, Any]:
    """The plan as JSON-ready data."""
    data: dict[str, Any] = _PLAN.dump_python(plan, mode="json")
    return data
