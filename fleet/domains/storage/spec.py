"""What hosts.yml may want of the node's storage. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from fleet.tools.paths import within

#: Mountpoints with which ZFS mounts a dataset nowhere by itself.
_NOWHERE = ("none", "legacy")


@dataclass(frozen=True, slots=True)
class Dataset:
    """One wanted ZFS dataset; what is None or not among the properties is left as it is on the host."""

    name: str  # tank/data
    mountpoint: str | None = None
    quota: int | None = None  # bytes
    properties: tuple[tuple[str, str], ...] = ()  # ZFS's own names and values, sorted
    owner: tuple[int, int] | None = None  # uid and gid of the mounted directory, as the host counts them
    mode: str | None = None  # its permissions, octal: 2775
    line: int = 0
    inherited: str | None = None  # the mountpoint that it has where hosts.yml gives it none; None: /NAME

    @property
    def directory(self) -> str:
        """Where it is mounted: where hosts.yml says, else where ZFS mounts it by itself; empty: nowhere."""
        place = self.mountpoint or self.inherited or f"/{self.name}"
        return "" if place in _NOWHERE else place


@dataclass(frozen=True, slots=True)
class Storage:
    """One wanted section of storage.cfg; a `given` one must be there and is left as it is."""

    name: str
    type: str  # zfspool, dir
    options: tuple[tuple[str, str], ...] = ()  # printed storage.cfg values, sorted; without content
    content: frozenset[str] = frozenset()
    given: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """One wanted container template: the newest for the node whose file name begins with `prefix`."""

    name: str  # its key in hosts.yml
    storage: str
    prefix: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class StorageSpec:
    """All that is wanted of the node's storage; `pools` have to be there already."""

    pools: tuple[str, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    storages: tuple[Storage, ...] = ()
    templates: tuple[Template, ...] = ()

    def before(self, dataset: Dataset) -> tuple[Dataset, ...]:
        """What has to be there first: what it is below, in the pool or in the file tree; and what that is."""
        found: list[Dataset] = []
        waiting = [dataset]
        while waiting:
            each = waiting.pop()
            above = [other for other in self.datasets if other not in found and _above(other, each)]
            found += above
            waiting += above
        return tuple(found)

    def beneath(self, paths: Iterable[str], pools: Iterable[str]) -> tuple[Dataset, ...]:
        """The datasets that hold these paths, or are these pools of storages, and what has to be first."""
        paths, pools = tuple(paths), tuple(pools)
        on = [
            each
            for each in self.datasets
            if each.name in pools or any(within(path, each.directory) for path in paths)
        ]
        needed = {each.name for dataset in on for each in (dataset, *self.before(dataset))}
        return tuple(each for each in self.datasets if each.name in needed)


def located(
    datasets: Iterable[Dataset], read: Mapping[str, str] = MappingProxyType({})
) -> tuple[Dataset, ...]:
    """The datasets, each with the mountpoint that it inherits: as `read` on the host, else as is declared."""
    datasets = tuple(datasets)
    places = {**{each.name: each.mountpoint for each in datasets if each.mountpoint}, **read}
    return tuple(
        each if each.mountpoint else replace(each, inherited=_place(each.name, places)) for each in datasets
    )


def _place(name: str, places: Mapping[str, str]) -> str:
    """The mountpoint of a dataset: its own, or that of the nearest one above with the rest of the name."""
    if name in places:
        return places[name]
    above, _, last = name.rpartition("/")
    place = _place(above, places) if above else ""
    return place if place in _NOWHERE else f"{place.rstrip('/')}/{last}"


def _above(other: Dataset, dataset: Dataset) -> bool:
    return other.name != dataset.name and (
        dataset.name.startswith(f"{other.name}/") or within(dataset.directory, other.directory)
    )
