"""Datasets of the host that hosts.yml does not declare: nothing takes them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from fleet.domains.backup.items import BackupFacts
from fleet.domains.backup.spec import BackupSpec

#: What holds so much itself is more than a folder of other datasets (bytes); an empty one holds some 100 KiB.
_MORE = 1024**2
_GUEST_VOLUME = re.compile(r"(?:subvol|basevol|vm|base)-\d+-[^/]+")
#: What the installer of Proxmox VE makes on the pool that it installs to.
_SYSTEM = re.compile(r"[^/]+/(?:ROOT|swap|var-lib-vz)")


@dataclass(frozen=True, slots=True)
class Declared:
    """What hosts.yml and the node's storages say of datasets."""

    pools: frozenset[str] = frozenset()  # those that hosts.yml uses: others are not fleet's business
    datasets: frozenset[str] = frozenset()
    holders: frozenset[str] = frozenset()  # Proxmox puts volumes of guests directly below them
    targets: frozenset[str] = frozenset()  # replicas go directly below them


@dataclass(frozen=True, slots=True)
class Untaken:
    """A dataset that nothing takes. `below`: so many below it that nothing takes either."""

    name: str
    why: str
    excluded: bool = False
    below: int = 0


def untaken(declared: Declared, spec: BackupSpec, facts: BackupFacts) -> tuple[Untaken, ...]:
    """The datasets that nothing takes; of a branch without anything declared only its top."""
    known = {name for name in facts.datasets if _is_known(name, declared, facts)}
    folders = {*declared.holders, *declared.targets} - known
    folders |= {up for name in (*known, *folders, *spec.excluded) for up in _above(name)} - known
    tops: Counter[str] = Counter()
    found = []
    for name in sorted(facts.datasets - known):
        if name.split("/")[0] not in declared.pools:
            continue
        if "/" in name and (name not in folders or name in spec.excluded):
            tops[_top(name, (known | folders) - {*spec.excluded}, spec.excluded)] += 1
        elif name in facts.details and facts.details[name].own > _MORE:
            mib = facts.details[name].own // 1024**2
            found.append(_untaken(name, f"{mib} MiB lie in it beside its datasets: move them into one", spec))
    found += [
        _untaken(name, "not in hosts.yml: declare it in storage.datasets", spec, number - 1)
        for name, number in tops.items()
    ]
    return tuple(sorted(found, key=lambda each: each.name))


def exclusion(name: str, spec: BackupSpec) -> str | None:
    """The written reason that holds for a dataset: its own, or of the nearest above it that has a say."""
    subjects = {each.name: each.exclude for each in spec.subjects if each.vmid is None}
    for each in (name, *_above(name)):
        if each in spec.excluded:
            return spec.excluded[each]
        if each in subjects:
            return subjects[each]
    return None


def _is_known(name: str, declared: Declared, facts: BackupFacts) -> bool:
    """hosts.yml declares it, it is a guest's volume, or fleet made it of another one."""
    above, _, last = name.rpartition("/")
    is_volume = above in declared.holders and _GUEST_VOLUME.fullmatch(last) is not None
    is_declared = name in declared.datasets - declared.holders - declared.targets
    return is_declared or is_volume or (name in facts.details and facts.details[name].copy)


def _top(name: str, others: set[str], excluded: Collection[str]) -> str:
    """The highest dataset of its branch below the others; one that has a reason of its own is a top."""
    while name not in excluded and "/" in (above := name.rpartition("/")[0]) and above not in others:
        name = above
    return name


def _untaken(name: str, why: str, spec: BackupSpec, below: int = 0) -> Untaken:
    reason = exclusion(name, spec)
    if reason is None and _SYSTEM.fullmatch(name):
        reason = "the node's own system, which is installed anew"
    if reason is not None:
        return Untaken(name, reason, excluded=True, below=below)
    return Untaken(name, f"{why}, or backup: {{exclude: {{{name}: reason}}}}", below=below)


def _above(name: str) -> Iterator[str]:
    while "/" in name.lstrip("/"):
        name = name.rpartition("/")[0]
        yield name
