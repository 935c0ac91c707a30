"""Datasets, storages, templates: desired + facts -> steps and notes. Nothing is ever destroyed or moved."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from fleet.core.command import Capture, command
from fleet.core.plan import Difference, Impact, Note, Part, Step, Why
from fleet.domains.storage import steps
from fleet.domains.storage.facts import DatasetFacts, StorageFacts, cache_dir
from fleet.domains.storage.spec import Dataset, Storage, StorageSpec, Template
from fleet.tools import pveam, zfs
from fleet.tools.paths import within
from fleet.tools.pvesm import StorageEntry

#: Options of storage.cfg that say where the data is: changing one would point the storage elsewhere.
_PLACE = frozenset(
    {"pool", "path", "vgname", "thinpool", "server", "datastore", "export", "share", "mountpoint"}
)


def plan(spec: StorageSpec, facts: StorageFacts) -> Part:
    """What makes datasets, storages and templates as hosts.yml says."""
    missing = replace(spec, datasets=tuple(each for each in spec.datasets if each.name not in facts.datasets))
    items = [
        *(
            Note("storage", Why.REFUSED, f"the host has no ZFS pool {pool}")
            for pool in _missing_pools(spec, facts)
        ),
        *(item for dataset in spec.datasets for item in _dataset(dataset, missing, facts)),
        *(item for storage in spec.storages for item in _storage(storage, spec, facts)),
        *(item for template in spec.templates for item in _template(template, facts)),
    ]
    return Part(
        steps=tuple(item for item in items if isinstance(item, Step)),
        notes=tuple(item for item in items if isinstance(item, Note)),
        digests={f"dataset {name}": _digest(found) for name, found in sorted(facts.datasets.items())},
    )


def volume_ids(spec: StorageSpec, facts: StorageFacts) -> dict[str, str | Capture]:
    """The volume id of each declared template; one still to be downloaded is found out by the host."""
    return {template.name: _volume_id(template, facts) for template in spec.templates}


def providers(spec: StorageSpec) -> dict[str, tuple[str, ...]]:
    """The ids of the steps that make each storage, template and host path, by the name that a guest uses."""
    made: dict[str, tuple[str, ...]] = {}
    for template in spec.templates:
        made[f"template {template.name}"] = (steps.template_id(template),)
    for dataset in spec.datasets:
        if dataset.directory:
            made[dataset.directory] = (steps.dataset_id(dataset), steps.owner_id(dataset))
    for storage in spec.storages:
        made[f"storage {storage.name}"] = (steps.storage_id(storage), *_below(storage, spec))
    return made


def directories(spec: StorageSpec, facts: StorageFacts, planned: Collection[str]) -> dict[str, str]:
    """The directories of declared datasets, and the storages in them: why the dataset is not mounted there.

    Empty where it is, or will be by its step that is `planned`. What a guest wrote to a bare directory
    would go to the node's root file system, and be hidden once the dataset is mounted.
    """
    found = {
        dataset.directory: _not_mounted(dataset, facts, planned)
        for dataset in spec.datasets
        if dataset.directory
    }
    for storage in spec.storages:
        path = dict(storage.options).get("path", "")
        if on := max((each for each in found if within(path, each)), key=len, default=""):
            found[f"storage {storage.name}"] = found[on]
    return found


# ── datasets ──────────────────────────────────────────────────────────────────────────────────────


def _missing_pools(spec: StorageSpec, facts: StorageFacts) -> Iterator[str]:
    if spec.datasets:
        yield from (pool for pool in spec.pools if pool not in facts.pools)


def _not_mounted(want: Dataset, facts: StorageFacts, planned: Collection[str]) -> str:
    pool = want.name.split("/")[0]
    if pool not in facts.pools:
        return f"the pool {pool} of {want.name} is not there"
    if (found := facts.datasets.get(want.name)) is None:
        return "" if steps.dataset_id(want) in planned else f"{want.name} is not there"
    if found.properties.get("canmount") == "off":
        return ""  # it only holds others: nothing will ever be mounted there and hide what is written
    if found.properties.get("mounted") == "no":
        return f"{want.name} is not mounted"
    has = found.properties.get("mountpoint", want.directory)
    return "" if has == want.directory else f"{want.name} is mounted at {has}, not at {want.directory}"


def _dataset(want: Dataset, missing: StorageSpec, facts: StorageFacts) -> Iterator[Step | Note]:
    subject = steps.dataset_subject(want)
    if want.name.split("/")[0] not in facts.pools:
        yield Note(
            subject, Why.REFUSED, f"its pool {want.name.split('/')[0]} is not there; fleet makes no pools"
        )
        return
    found = facts.datasets.get(want.name)
    owned = bool(want.owner or want.mode)
    items: list[Step | Note] = []
    if owned and not want.directory:
        how = "it has no mountpoint on the host: its owner and mode are not set"
        items.append(Note(subject, Why.WARNING, how))
    if found is None:
        if circle := _circle(want, missing):
            yield Note(subject, Why.REFUSED, circle)
            return
        yield steps.create_dataset(want, missing.before(want))
        if owned and want.directory:
            yield steps.own(want, None)
        yield from items
        return
    settable = []
    for difference in _differences(want, found, facts.zfs):
        if difference.impact in (Impact.RECREATE, Impact.OFFLINE):
            items.append(Note(subject, Why.BY_HAND, _said(difference), (difference,)))
        else:
            settable.append(difference)
    if settable:
        items.append(steps.set_properties(want, tuple(settable)))
    if (want.mountpoint or owned) and want.directory and found.properties.get("mounted") == "no":
        how = f"it is not mounted; `zfs mount {want.name}` on the host mounts it"
        items.append(Note(subject, Why.WARNING, how))
    elif found.properties.get("mountpoint") == want.directory and _owned_by_another(want, found):
        items.append(steps.own(want, found))
    yield from items or [Note(subject, Why.UNCHANGED, "as hosts.yml says")]


def _circle(want: Dataset, missing: StorageSpec) -> str:
    """Why a dataset cannot be made, where it or what has to be there first has to be there before itself."""
    for each in (want, *missing.before(want)):
        circle = sorted(other.name for other in missing.before(each) if each in missing.before(other))
        if circle:
            names = ", ".join(circle)
            return f"by names and mountpoints, each of {names} would have to be made before the others"
    return ""


def _differences(want: Dataset, found: DatasetFacts, version: str) -> Iterator[Difference]:
    for name, value in steps.properties(want):
        has = zfs.normal(name, found.properties.get(name, "-"), version)
        wanted = zfs.normal(name, value, version)
        if has == wanted:
            continue
        impact, reason = Impact.LIVE, ""
        if name in zfs.ONLY_AT_CREATION:
            impact, reason = Impact.RECREATE, "ZFS sets it only when a dataset is created"
        elif name == "mountpoint":
            impact = Impact.OFFLINE
            reason = f"stop what uses {has}, then on the host: zfs set mountpoint={wanted} {want.name}"
        elif name == "quota" and wanted != "0" and int(wanted) < int(found.properties.get("used", "0")):
            impact, reason = Impact.OFFLINE, f"{found.properties['used']} bytes are in use"
        yield Difference(name, zfs.shown(name, has), zfs.shown(name, wanted), impact, reason)


def _said(difference: Difference) -> str:
    has = difference.was if difference.was is not None else "not set"
    return f"{difference.key} is {has}, hosts.yml says {difference.want}: {difference.reason}"


def _owned_by_another(want: Dataset, found: DatasetFacts) -> bool:
    return bool(
        (want.owner and want.owner != found.owner)
        or (want.mode and int(want.mode, 8) != int(found.mode or "0", 8))
    )


def _digest(found: DatasetFacts) -> str:
    """What a saved plan remembers of a dataset: everything that was read but how full it is."""
    stable = {name: value for name, value in sorted(found.properties.items()) if name != "used"}
    return f"{stable} {found.owner} {found.mode}"


# ── storages ──────────────────────────────────────────────────────────────────────────────────────


def _storage(want: Storage, spec: StorageSpec, facts: StorageFacts) -> Iterator[Step | Note]:
    subject = steps.storage_subject(want)
    found = facts.storages.get(want.name)
    if found is None:
        if want.given:
            yield Note(
                subject, Why.REFUSED, "hosts.yml says that it is given, and storage.cfg has no such storage"
            )
        else:
            yield steps.add_storage(want, _below(want, spec))
        return
    if want.given:
        yield Note(subject, Why.UNCHANGED, "given; left as it is")
        return
    if found.type != want.type:
        yield Note(
            subject,
            Why.BY_HAND,
            f"it is of type {found.type}, hosts.yml says {want.type}: rename one of them",
        )
        return
    differences = tuple(_storage_differences(want, found))
    for difference in differences:
        if difference.impact is Impact.RECREATE:
            yield Note(
                subject,
                Why.BY_HAND,
                _said(difference),
                (difference,),
            )
    settable = tuple(each for each in differences if each.impact is not Impact.RECREATE)
    if settable:
        yield steps.set_storage(want, settable)
    elif not differences:
        yield Note(subject, Why.UNCHANGED, "as hosts.yml says")


def _storage_differences(want: Storage, found: StorageEntry) -> Iterator[Difference]:
    if want.content and want.content != found.content:
        yield Difference(
            "content", ",".join(sorted(found.content)), ",".join(sorted(want.content)), Impact.LIVE
        )
    for key, value in want.options:
        has = found.options.get(key)
        if has == value or (has is None and value in ("0", "")):
            continue
        if key in _PLACE:
            yield Difference(
                key, has, value, Impact.RECREATE, "it would point at other data; rename one of them"
            )
        else:
            yield Difference(key, has, value, Impact.LIVE)


def _below(storage: Storage, spec: StorageSpec) -> tuple[str, ...]:
    """The ids of the steps that make the datasets which a storage stands on."""
    options: Mapping[str, str] = dict(storage.options)
    pool, path = options.get("pool", ""), options.get("path", "")
    return tuple(
        step
        for dataset in spec.datasets
        if dataset.name == pool or within(path, dataset.directory)
        for step in (steps.dataset_id(dataset), steps.owner_id(dataset))
    )


# ── templates ─────────────────────────────────────────────────────────────────────────────────────


def _template(want: Template, facts: StorageFacts) -> Iterator[Step | Note]:
    subject = steps.template_subject(want)
    if name := _cached(want, facts):
        yield Note(subject, Why.UNCHANGED, f"{name} is there")
    elif directory := cache_dir(facts.storages.get(want.storage)):
        newest = pveam.newest(facts.available, want.prefix, facts.architecture)
        yield steps.download(want, directory, newest)
    else:
        yield Note(
            subject, Why.REFUSED, f"the storage {want.storage} keeps no templates that fleet could look at"
        )


def _volume_id(want: Template, facts: StorageFacts) -> str | Capture:
    if name := _cached(want, facts):
        return pveam.volume_id(want.storage, name)
    directory = cache_dir(facts.storages.get(want.storage))
    return Capture(command("fleet_template_volume", want.storage, directory, want.prefix))


def _cached(want: Template, facts: StorageFacts) -> str | None:
    return pveam.newest(facts.templates(want.storage), want.prefix, facts.architecture)
