"""Files out of a backup to the operator's machine."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from fleet.backups.reading import Reading, read
from fleet.core.command import command
from fleet.core.errors import UsageError
from fleet.domains.backup.restore.choice import Named
from fleet.domains.backup.restore.files import Source, source_of
from fleet.host.fetch import Fetched, Missing, fetch, target_of
from fleet.host.shell import Shell
from fleet.inventory import Inventory


def get(
    shell: Shell, inventory: Inventory, wanted: Named, path: str, dest: Path, *, replace: bool
) -> tuple[Fetched, Source]:
    """Make DEST of the path in a backup; UsageError where it is not there, with those that have it."""
    reading = read(shell, inventory, archives=wanted.in_archives)
    directories = {each.name: each.directory for each in inventory.storage.datasets}
    source = source_of(wanted, path, reading.backups, reading.spec.subjects, directories)
    name = PurePosixPath(source.path).name or wanted.subject.name.rpartition("/")[2]
    target = target_of(dest, name, replace=replace)
    call = (
        command("fleet_get_archive", source.snapshot, source.path)
        if source.archive
        else command("fleet_get", source.snapshot, source.guid, source.path)
    )
    try:
        return fetch(shell, call, target), source
    except Missing as error:
        raise UsageError(_missing(path, source, error.has, reading)) from None


def _missing(path: str, source: Source, has: tuple[str, ...], reading: Reading) -> str:
    if source.archive:
        return f"{source.snapshot} does not hold {path}"
    dataset = source.snapshot.partition("@")[0]
    order = [snapshot.name for snapshot in reversed(reading.backups.snapshots.get(dataset, ()))]
    others = [name for name in order if name in has]
    where = (
        f"; these have it: {', '.join(others[:8])}"
        if others
        else ", and neither has any other snapshot of it"
    )
    return f"{source.snapshot} does not hold {path}{where}"
