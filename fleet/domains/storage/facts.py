"""What the host says about its ZFS datasets, storages and templates, in file reads and two ZFS calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet.core.command import command
from fleet.core.probe import Answer, Probe
from fleet.domains.storage.spec import Dataset, Template
from fleet.tools.pvesm import StorageEntry, parse_storage_cfg

#: The index that `pveam update` fetches.
_INDEX = "/var/lib/pve-manager/apl-info/download.proxmox.com"


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """One dataset: its properties as `zfs get -p` prints them, and who owns its mounted directory."""

    properties: Mapping[str, str]
    owner: tuple[int, int] | None  # uid, gid; None where it is not mounted
    mode: str | None  # octal, as `stat -c %a` prints it


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """Pools, the declared datasets that exist, all storages, and the templates there and on offer."""

    pools: frozenset[str]
    datasets: Mapping[str, DatasetFacts]  # and those above the declared ones, the pools' own too
    storages: Mapping[str, StorageEntry]
    cached: Mapping[str, tuple[str, ...]]  # directory -> template files
    available: tuple[str, ...]  # template files that pveam offers; empty where it has no index
    architecture: str  # the node's, as Debian calls it: amd64; empty where it does not say
    zfs: str = ""  # the version of ZFS, as `2.3.4-pve1`

    @property
    def mountpoints(self) -> Mapping[str, str]:
        """The mountpoint of every dataset that was read, by its name."""
        found = {name: each.properties.get("mountpoint", "-") for name, each in self.datasets.items()}
        return {name: mountpoint for name, mountpoint in found.items() if mountpoint != "-"}

    def templates(self, storage: str) -> tuple[str, ...]:
        """The template files in a storage's cache."""
        return self.cached.get(cache_dir(self.storages.get(storage)), ())


def cache_dir(entry: StorageEntry | None) -> str:
    """Where a dir storage keeps its templates; empty for a storage that has no directory."""
    path = entry.options.get("path", "") if entry else ""
    return f"{path}/template/cache" if path else ""


_READ_CACHES = r"""
case $ids in *' local '*) echo /var/lib/vz ;; esac | cat - /etc/pve/storage.cfg | awk -v ids="$ids" '
  /^\// { print; next }
  /^[^ \t:#]+:/ { here = index(ids, " " $2 " "); next }
  here && $1 == "path" { print $2 }' | sort -u | while read -r path; do
  for file in "$path"/template/cache/*; do [ ! -e "$file" ] || echo "$file"; done
done"""

#: What `zfs get` prints, and after the line of each mountpoint one of the directory there: uid, gid and mode.
_STAT_MOUNTPOINTS = r"""while IFS=$tab read -r name property value; do
  printf '%s\t%s\t%s\n' "$name" "$property" "$value"
  case $property$value in mountpoint/*) stat -c "$name${tab}directory$tab%u %g %a" -- "$value" ;; esac
done"""


def probes(datasets: Iterable[Dataset], templates: Iterable[Template]) -> tuple[Probe, ...]:
    """The reads for the storage domain.

    Only storages that are to hold templates are looked into: another may be of a server that is down,
    and whoever looks there waits for it.
    """
    datasets = tuple(datasets)
    ids = " ".join(sorted({each.storage for each in templates}))
    found: list[Probe] = [
        Probe("storages", "cat /etc/pve/storage.cfg"),
        Probe("caches", f"ids=' {ids} '{_READ_CACHES}"),
        Probe("index", rf"sed -n 's|^Location: *system/||p' {_INDEX}"),
        Probe("architecture", "dpkg --print-architecture"),
    ]
    if datasets:
        declared = {name for each in datasets for name, _ in each.properties}
        properties = ",".join(sorted({"quota", "mountpoint", "used", "mounted", "canmount"} | declared))
        get = command("zfs", "get", "-Hp", "-o", "name,property,value", properties, *_names(datasets))
        found += [
            Probe("pools", "zpool list -H -o name"),
            Probe("datasets", f"tab=$(printf '\\t'); {get.sh()} | {_STAT_MOUNTPOINTS}"),
            Probe("zfs", "cat /sys/module/zfs/version"),
        ]
    return tuple(found)


def read(answers: Mapping[str, Answer], wanted: Iterable[Dataset]) -> StorageFacts:
    """The facts in the probes' answers."""
    properties: dict[str, dict[str, str]] = {}
    for line in _lines(answers, "datasets"):
        name, name_of, value = line.split("\t", 2)
        properties.setdefault(name, {})[name_of] = value
    datasets = {name: _dataset(properties[name]) for name in _names(wanted) if name in properties}
    cached: dict[str, tuple[str, ...]] = {}
    for path in _lines(answers, "caches"):
        directory, _, name = path.rpartition("/")
        cached[directory] = (*cached.get(directory, ()), name)
    return StorageFacts(
        pools=frozenset(_lines(answers, "pools")),
        datasets=datasets,
        storages=parse_storage_cfg(answers["storages"].text),
        cached=cached,
        available=tuple(_lines(answers, "index")),
        architecture=answers["architecture"].text.strip(),
        zfs="".join(_lines(answers, "zfs")),
    )


def _names(datasets: Iterable[Dataset]) -> list[str]:
    """The datasets and all that they are below: what is not declared there can give them a mountpoint."""
    parts = [each.name.split("/") for each in datasets]
    return sorted({"/".join(each[:depth]) for each in parts for depth in range(1, len(each) + 1)})


def _dataset(found: dict[str, str]) -> DatasetFacts:
    directory = found.pop("directory", "").split()
    if found.get("mounted") != "yes" or len(directory) != 3:
        return DatasetFacts(found, None, None)
    return DatasetFacts(found, (int(directory[0]), int(directory[1])), directory[2])


def _lines(answers: Mapping[str, Answer], name: str) -> list[str]:
    return [line for line in answers[name].text.split("\n") if line] if name in answers else []
