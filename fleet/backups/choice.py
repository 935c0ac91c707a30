"""Which guests and datasets a run of backups is about."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from fleet.converge import selected
from fleet.core.errors import UsageError
from fleet.domains.backup.spec import Subject
from fleet.inventory import Inventory

_NAMED = 8  # so many are named in an error


def chosen(
    inventory: Inventory, limit: Sequence[str], exclude: Sequence[str], schedule: str = ""
) -> tuple[Subject, ...]:
    """The subjects that --limit, --exclude and --schedule mean; UsageError where they mean none.

    A word with a slash is a dataset or a pattern of such; all others select guests, as everywhere.
    """
    subjects = inventory.backups.subjects
    if not subjects:
        raise UsageError("hosts.yml declares neither guests nor datasets: there is nothing to back up")
    wanted = _selected(inventory, subjects, limit) if limit else {each.name for each in subjects}
    wanted -= _selected(inventory, subjects, exclude) if exclude else set()
    found = tuple(
        each
        for each in subjects
        if each.name in wanted
        and (not schedule or (each.snapshots is not None and each.snapshots.schedule == schedule))
    )
    if not found:
        raise UsageError(
            f"--schedule {schedule!r}: no guest or dataset of hosts.yml has its snapshots then"
            if schedule
            else f"{_words(limit, exclude)}: this selects no guest and no dataset at all"
        )
    return found


def snapshotted(subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    """The same subjects; UsageError where hosts.yml wants no snapshots of any of them."""
    if all(each.no_snapshots for each in subjects):
        reasons = "; ".join(f"{each.name}: {each.no_snapshots}" for each in subjects[:_NAMED])
        more = f"; and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
        raise UsageError(f"hosts.yml wants no snapshots of what is selected: {reasons}{more}")
    return tuple(subjects)


def _words(limit: Sequence[str], exclude: Sequence[str]) -> str:
    """The selection as it stood on the command line."""
    return " ".join(
        f"--{name} {','.join(words)}" for name, words in (("limit", limit), ("exclude", exclude)) if words
    )


def _selected(inventory: Inventory, subjects: Sequence[Subject], words: Sequence[str]) -> set[str]:
    datasets = [each.name for each in subjects if each.vmid is None]
    named: set[str] = set()
    guests = []
    for word in words:
        if "/" not in word:
            guests.append(word)
            continue
        matching = {each for each in datasets if fnmatchcase(each, word)}
        if not matching:
            raise UsageError(f"{word!r} is no dataset of hosts.yml: {', '.join(datasets) or 'it has none'}")
        named |= matching
    if guests:
        named |= {each.name for each in selected(inventory, None, guests, ())}
    return named
