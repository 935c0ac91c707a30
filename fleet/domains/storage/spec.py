"""What hosts.yml may want of the node's storage. Pure values."""

from __future__ import annotations

from dataclasses import dataclass


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

    @property
    def directory(self) -> str:
        """Where it is mounted: where hosts.yml says, else where ZFS mounts it by itself; empty: nowhere."""
        return "" if self.mountpoint in ("none", "legacy") else self.mountpoint or f"/{self.name}"


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
