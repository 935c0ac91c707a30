"""The steps of the storage domain."""

from __future__ import annotations

from collections.abc import Iterable

from fleet.core.command import Capture, command
from fleet.core.plan import Check, Difference, Impact, Step
from fleet.domains.storage.facts import DatasetFacts
from fleet.domains.storage.spec import Dataset, Storage, Template
from fleet.tools import pveam, pvesm, zfs


def dataset_id(dataset: Dataset) -> str:
    """The id of the step that makes a dataset."""
    return f"storage.datasets.{dataset.name}"


def owner_id(dataset: Dataset) -> str:
    """The id of the step that gives a dataset's directory its owner."""
    return f"storage.datasets.{dataset.name}.owner"


def storage_id(storage: Storage) -> str:
    """The id of the step that adds a storage."""
    return f"storage.storages.{storage.name}"


def template_id(template: Template) -> str:
    """The id of the step that downloads a template."""
    return f"storage.templates.{template.name}"


def dataset_subject(dataset: Dataset) -> str:
    """What a dataset's steps and notes are shown under."""
    return f"dataset {dataset.name}"


def storage_subject(storage: Storage) -> str:
    """What a storage's steps and notes are shown under."""
    return f"storage {storage.name}"


def template_subject(template: Template) -> str:
    """What a template's steps and notes are shown under."""
    return f"template {template.name}"


def properties(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    """Every property that hosts.yml gives a dataset."""
    own = [("mountpoint", dataset.mountpoint)] if dataset.mountpoint else []
    if dataset.quota is not None:
        own.append(("quota", zfs.shown("quota", str(dataset.quota))))
    return (*own, *dataset.properties)


def create_dataset(want: Dataset, before: Iterable[Dataset]) -> Step:
    """Creates a dataset; refused where its mountpoint would hide files that are there already.

    `before`: what has to be there first, since `zfs create -p` would make it without its settings.
    """
    expect = [Check(command("fleet_no_dataset", want.name), f"there is no dataset {want.name}")]
    done = [Check(command("fleet_dataset", want.name), "it exists")]
    if want.directory:
        # `zfs create` can make a dataset and fail to mount it: no guest may start on the bare directory.
        done.append(Check(command("fleet_zfs", want.name, "mounted", "yes"), "it is mounted"))
        expect.append(
            Check(
                command("fleet_vacant", want.directory),
                f"{want.directory} is empty, so that nothing gets hidden",
            )
        )
    return Step(
        id=dataset_id(want),
        subject=dataset_subject(want),
        action="create",
        because=tuple(Difference(name, None, value) for name, value in properties(want)),
        done=tuple(done),
        expect=tuple(expect),
        do=(zfs.create(want.name, properties(want)),),
        needs=tuple(sorted(dataset_id(each) for each in before)),
        order=-300 + want.name.count("/"),
    )


def set_properties(want: Dataset, differences: tuple[Difference, ...]) -> Step:
    """Sets the properties that differ."""
    return Step(
        id=dataset_id(want),
        subject=dataset_subject(want),
        action="update",
        because=differences,
        done=tuple(_has(want, each.key, each.want or "") for each in differences),
        expect=tuple(_has(want, each.key, each.was or "") for each in differences),
        do=(zfs.set_(want.name, ((each.key, each.want or "") for each in differences)),),
        impact=Impact.LIVE,
        order=-300,
    )


def own(want: Dataset, found: DatasetFacts | None) -> Step:
    """Gives the dataset's own directory its owner and mode; what is in it keeps its own."""
    path = want.directory
    do, done, because = [], [], []
    if want.owner:
        owner = f"{want.owner[0]}:{want.owner[1]}"
        was = f"{found.owner[0]}:{found.owner[1]}" if found and found.owner else None
        do.append(command("chown", owner, path))
        done.append(Check(command("fleet_owned", path, owner), f"{path} belongs to {owner}"))
        if was != owner:
            because.append(Difference("owner", was, owner, Impact.LIVE))
    if want.mode:
        mode = f"{int(want.mode, 8):o}"
        # With less than five digits, chmod leaves the setuid and setgid bits of a directory as they are.
        do.append(command("chmod", mode.zfill(5), path))
        done.append(Check(command("fleet_mode", path, mode), f"{path} has the mode {mode}"))
        if not found or found.mode != mode:
            because.append(Difference("mode", found.mode if found else None, mode, Impact.LIVE))
    return Step(
        id=owner_id(want),
        subject=dataset_subject(want),
        action="own",
        because=tuple(because),
        done=tuple(done),
        expect=(
            Check(command("fleet_zfs", want.name, "mounted", "yes"), f"{want.name} is mounted"),
            Check(command("fleet_zfs", want.name, "mountpoint", path), f"{want.name} is mounted at {path}"),
        ),
        do=tuple(do),
        impact=Impact.LIVE if found else Impact.NONE,
        needs=(dataset_id(want),),
        order=-290,
    )


def add_storage(want: Storage, needs: Iterable[str]) -> Step:
    """Adds a storage to storage.cfg."""
    options = (*want.options, ("content", ",".join(sorted(want.content))))
    return Step(
        id=storage_id(want),
        subject=storage_subject(want),
        action="create",
        because=tuple(Difference(key, None, value) for key, value in (("type", want.type), *options)),
        done=(Check(command("fleet_storage", want.name), "storage.cfg has it"),),
        expect=(Check(command("fleet_no_storage", want.name), "storage.cfg does not have it"),),
        do=(pvesm.add(want.type, want.name, options),),
        needs=tuple(needs),
        order=-200,
    )


def set_storage(want: Storage, differences: tuple[Difference, ...]) -> Step:
    """Sets the options of a storage that differ."""
    return Step(
        id=storage_id(want),
        subject=storage_subject(want),
        action="update",
        because=differences,
        done=tuple(_option(want, each.key, each.want or "") for each in differences),
        expect=tuple(_option(want, each.key, each.was or "") for each in differences),
        do=(pvesm.set_(want.name, ((each.key, each.want or "") for each in differences)),),
        impact=Impact.LIVE,
        order=-200,
    )


def download(want: Template, directory: str, name: str | None) -> Step:
    """Downloads the newest template of a prefix. `name`: what the host's index offered when it was read.

    The index may be old, and old templates vanish from the server (pve-facts 3.6): it is fetched anew first.
    """
    newest = Capture(command("fleet_available", want.prefix))
    return Step(
        id=template_id(want),
        subject=template_subject(want),
        action="download",
        because=(Difference("template", None, name or f"the newest {want.prefix}"),),
        done=(
            Check(command("fleet_template", directory, want.prefix), f"a {want.prefix} is in {directory}"),
        ),
        expect=(Check(command("fleet_no_template", directory, want.prefix), f"no {want.prefix} is there"),),
        # The exit code of pveam says nothing: without the file this has failed, and no container is tried.
        do=(
            pveam.update(),
            pveam.download(want.storage, newest),
            command("fleet_template", directory, want.prefix),
        ),
        order=-100,
    )


def _has(want: Dataset, name: str, value: str) -> Check:
    return Check(command("fleet_zfs", want.name, name, zfs.normal(name, value)), f"{name} is {value}")


def _option(want: Storage, key: str, value: str) -> Check:
    return Check(command("fleet_storage_value", want.name, key, value), f"{key} is {value or 'not set'}")
