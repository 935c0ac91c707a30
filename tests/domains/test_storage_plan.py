"""Datasets, storages and templates: what is planned, and what is only said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.core.command import Capture
from fleet.core.plan import Impact, Part, Step, Why
from fleet.domains.storage import directories, plan, providers, volume_ids
from fleet.domains.storage.facts import DatasetFacts, StorageFacts
from fleet.domains.storage.spec import Dataset, Storage, StorageSpec, Template, located
from fleet.tools.pvesm import StorageEntry

TIB = 1 << 40
DATA = Dataset("tank/data", "/data", 10 * TIB, (("compression", "lz4"),), (100000, 100000), "2775")
PROPERTIES = {
    "quota": str(10 * TIB),
    "mountpoint": "/data",
    "compression": "lz4",
    "used": "4096",
    "mounted": "yes",
}
THERE = DatasetFacts(PROPERTIES, (100000, 100000), "2775")
GUESTS = Storage("guests", "zfspool", (("pool", "tank/guests"),), frozenset({"rootdir", "images"}))
ENTRY = StorageEntry("guests", "zfspool", {"pool": "tank/guests", "content": "images,rootdir"})
LOCAL = StorageEntry("local", "dir", {"path": "/var/lib/vz", "content": "vztmpl"})
DEBIAN = Template("debian-13", "local", "debian-13-standard")
CACHE = "/var/lib/vz/template/cache"


def facts(**given: object) -> StorageFacts:
    found: dict[str, object] = {
        "pools": frozenset({"tank"}),
        "datasets": {},
        "storages": {"local": LOCAL},
        "cached": {},
        "available": (),
        "architecture": "amd64",
        **given,
    }
    return StorageFacts(**found)  # type: ignore[arg-type]


def of(part: Part) -> tuple[list[str], list[Why]]:
    return [step.action for step in part.steps], [note.why for note in part.notes]


def words(step: Step) -> list[str]:
    return [command.sh() for command in step.do]


def test_what_is_there_as_declared_needs_nothing() -> None:
    spec = StorageSpec(("tank",), (DATA,), (GUESTS,), (DEBIAN,))
    found = facts(
        datasets={"tank/data": THERE},
        storages={"local": LOCAL, "guests": ENTRY},
        cached={CACHE: ("debian-13-standard_13.1-2_amd64.tar.zst",)},
    )
    assert of(plan(spec, found)) == ([], [Why.UNCHANGED] * 3)


def test_an_absent_dataset_is_created_and_then_given_its_owner() -> None:
    create, own = plan(StorageSpec(("tank",), (DATA,)), facts()).steps
    assert words(create) == ["zfs create -p -o mountpoint=/data -o quota=10T -o compression=lz4 tank/data"]
    assert words(own) == ["chown 100000:100000 /data", "chmod 02775 /data"]
    assert own.needs == (create.id,)


def test_a_dataset_is_not_mounted_over_files() -> None:
    create = plan(StorageSpec(("tank",), (DATA,)), facts()).steps[0]
    assert ("fleet_vacant", "/data") in [check.command.words for check in create.expect]


def test_a_dataset_without_a_mountpoint_is_not_mounted_over_files_either() -> None:
    create = plan(StorageSpec(("tank",), (Dataset("tank/plain"),)), facts()).steps[0]
    assert ("fleet_vacant", "/tank/plain") in [check.command.words for check in create.expect]
    assert ("fleet_zfs", "tank/plain", "mounted", "yes") in [check.command.words for check in create.done]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Dataset("tank/data", "/data"), Dataset("tank/data/media")),  # zfs create -p would make it otherwise
        (Dataset("tank/data", "/data"), Dataset("tank/data/a/b", "/b")),
        (Dataset("tank/z", "/data"), Dataset("tank/a", "/data/media")),  # mounted later, it would hide it
        (Dataset("tank/data"), Dataset("tank/a", "/tank/data/a")),
    ],
)
def test_a_dataset_is_made_after_what_it_is_below(first: Dataset, then: Dataset) -> None:
    for order in ((first, then), (then, first)):
        made = plan(StorageSpec(("tank",), order), facts()).steps
        assert {step.id: step.needs for step in made} == {
            f"storage.datasets.{first.name}": (),
            f"storage.datasets.{then.name}": (f"storage.datasets.{first.name}",),
        }


def test_a_dataset_waits_for_all_that_it_is_below_directly_or_not() -> None:
    below = Dataset("tank/b/c", "/data/c")
    spec = StorageSpec(("tank",), (below, Dataset("tank/b", "/x/y"), Dataset("tank/a", "/x"), DATA))
    last = next(step for step in plan(spec, facts()).steps if step.id == "storage.datasets.tank/b/c")
    assert last.needs == tuple(f"storage.datasets.tank/{name}" for name in ("a", "b", "data"))


def test_datasets_that_each_have_to_be_made_before_the_other_are_refused() -> None:
    spec = StorageSpec(("tank",), (Dataset("tank/a", "/x/y"), Dataset("tank/a/b", "/x"), DATA))
    part = plan(spec, facts())
    assert {step.subject for step in part.steps} == {"dataset tank/data"}
    assert [(note.subject, note.why) for note in part.notes] == [
        ("dataset tank/a", Why.REFUSED),
        ("dataset tank/a/b", Why.REFUSED),
    ]
    assert "each of tank/a, tank/a/b would have to be made before the others" in part.notes[0].text
    there = {
        name: DatasetFacts({"mountpoint": at, "mounted": "yes"}, None, None)
        for name, at in (("tank/a", "/x/y"), ("tank/a/b", "/x"))
    }
    assert of(plan(StorageSpec(("tank",), spec.datasets[:2]), facts(datasets=there))) == (
        [],
        [Why.UNCHANGED] * 2,
    )


def test_what_is_there_needs_no_place_in_the_order() -> None:
    root, above = Dataset("rpool/ROOT/pve-1", "/"), Dataset("rpool/ROOT")
    there = {
        each.name: DatasetFacts({"mountpoint": each.directory, "mounted": "yes"}, None, None)
        for each in (root, above)
    }
    (step,) = plan(
        StorageSpec(("rpool", "tank"), (above, root, DATA)),
        facts(pools=frozenset({"rpool", "tank"}), datasets=there),
    ).steps[:1]
    assert (step.id, step.needs) == ("storage.datasets.tank/data", ())


@pytest.mark.parametrize(
    ("read", "directory"),
    [
        ({}, "/data/media"),
        ({"tank/data/media": "/mnt/media"}, "/mnt/media"),
        ({"tank/data": "/old"}, "/old/media"),
        ({"tank/data": "none"}, ""),
    ],
)
def test_a_dataset_is_where_the_host_says_else_below_the_mountpoint_that_it_inherits(
    read: dict[str, str], directory: str
) -> None:
    _, media = located((Dataset("tank/data", "/data"), Dataset("tank/data/media")), read)
    assert media.directory == directory


def test_a_pool_that_is_mounted_elsewhere_takes_its_datasets_along() -> None:
    (plain,) = located((Dataset("tank/a/plain"),), {"tank": "/mnt/tank"})
    assert plain.directory == "/mnt/tank/a/plain"
    assert located((Dataset("tank/a"),), {"tank": "/"})[0].directory == "/a"
    assert located((Dataset("tank/a/plain"),))[0].directory == "/tank/a/plain"


def test_a_missing_pool_is_refused_since_fleet_makes_none() -> None:
    part = plan(StorageSpec(("tank",), (DATA,)), facts(pools=frozenset()))
    assert of(part) == ([], [Why.REFUSED, Why.REFUSED])


def test_only_what_differs_is_set() -> None:
    found = replace(THERE, properties={**PROPERTIES, "quota": "0"})
    (step,) = plan(StorageSpec(("tank",), (DATA,)), facts(datasets={"tank/data": found})).steps
    assert words(step) == ["zfs set quota=10T tank/data"]


@pytest.mark.parametrize(
    ("want", "has", "why"),
    [
        (DATA, {"mountpoint": "/old"}, "zfs set mountpoint=/data tank/data"),
        (replace(DATA, quota=1024), {"quota": "0"}, "4096 bytes are in use"),
        (
            replace(DATA, properties=(("utf8only", "on"),)),
            {"utf8only": "off"},
            "only when a dataset is created",
        ),
    ],
)
def test_what_would_hurt_or_cannot_be_is_said_and_not_done(
    want: Dataset, has: dict[str, str], why: str
) -> None:
    found = replace(THERE, properties={**PROPERTIES, **has})
    part = plan(StorageSpec(("tank",), (want,)), facts(datasets={"tank/data": found}))
    assert of(part)[0] == []
    assert part.notes[0].why is Why.BY_HAND
    assert why in part.notes[0].text


def test_an_owner_is_set_only_where_the_dataset_is_mounted() -> None:
    other = replace(THERE, owner=(0, 0))
    assert of(plan(StorageSpec(("tank",), (DATA,)), facts(datasets={"tank/data": other})))[0] == ["own"]
    unmounted = DatasetFacts({**PROPERTIES, "mounted": "no"}, None, None)
    assert of(plan(StorageSpec(("tank",), (DATA,)), facts(datasets={"tank/data": unmounted}))) == (
        [],
        [Why.WARNING],
    )


def test_a_dataset_gets_its_owner_where_it_is_mounted_and_not_where_it_would_be_by_its_name() -> None:
    read = {"mountpoint": "/mnt/tank/plain", "mounted": "yes"}
    found = facts(datasets={"tank/plain": DatasetFacts(read, (0, 0), "755")})
    spec = StorageSpec(("tank",), located((Dataset("tank/plain", owner=(7, 7)),), found.mountpoints))
    (step,) = plan(spec, found).steps
    assert words(step) == ["chown 7:7 /mnt/tank/plain"]
    assert ("fleet_zfs", "tank/plain", "mountpoint", "/mnt/tank/plain") in [
        check.command.words for check in step.expect
    ]


@pytest.mark.parametrize(
    "read", [{"mountpoint": "none", "mounted": "no"}, {"mountpoint": "/x", "mounted": "no"}, None]
)
def test_an_owner_that_cannot_be_set_is_said(read: dict[str, str] | None) -> None:
    there = {"tank": DatasetFacts({"mountpoint": "none"}, None, None)}
    if read is not None:
        there["tank/plain"] = DatasetFacts(read, None, None)
    found = facts(datasets=there)
    spec = StorageSpec(("tank",), located((Dataset("tank/plain", mode="755"),), found.mountpoints))
    part = plan(spec, found)
    assert (of(part)) == (["create"] if read is None else [], [Why.WARNING])
    assert "not mounted" in part.notes[0].text or "its owner and mode are not set" in part.notes[0].text


@pytest.mark.parametrize(
    ("version", "prints"),  # what it prints for what can be written (zfs_prop.c)
    [
        ("2.2.8-pve1", {"off": "off", "on": "on", "sa": "sa", "dir": "on"}),
        ("2.3.4-pve1", {"off": "off", "on": "on", "sa": "on", "dir": "dir"}),
        ("2.4.0-pve1", {"off": "off", "on": "sa", "sa": "sa", "dir": "dir"}),
    ],
)
def test_xattr_is_as_declared_where_zfs_prints_what_it_prints_for_that(
    version: str, prints: dict[str, str]
) -> None:
    for want, printed in prints.items():
        spec = StorageSpec(("tank",), (Dataset("tank/a", properties=(("xattr", want),)),))
        for has in set(prints.values()):
            there = {"tank/a": DatasetFacts({"xattr": has, "mounted": "yes"}, None, None)}
            made = plan(spec, facts(datasets=there, zfs=version)).steps
            guards = [[check.command.words[-1] for check in (*step.expect, *step.done)] for step in made]
            assert guards == ([] if has == printed else [[has, printed]])


def test_a_storage_is_added_after_the_dataset_that_it_stands_on() -> None:
    spec = StorageSpec(("tank",), (Dataset("tank/guests"),), (GUESTS,))
    part = plan(spec, facts())
    add = next(step for step in part.steps if step.subject == "storage guests")
    assert words(add) == ["pvesm add zfspool guests --pool tank/guests --content images,rootdir"]
    assert "storage.datasets.tank/guests" in add.needs


def test_the_content_of_a_storage_is_a_set() -> None:
    entry = StorageEntry("guests", "zfspool", {"pool": "tank/guests", "content": "rootdir"})
    (step,) = plan(StorageSpec(storages=(GUESTS,)), facts(storages={"guests": entry})).steps
    assert words(step) == ["pvesm set guests --content images,rootdir"]


@pytest.mark.parametrize(
    "entry",
    [
        StorageEntry("guests", "zfspool", {"pool": "tank/other", "content": "images,rootdir"}),
        StorageEntry("guests", "dir", {"path": "/x"}),
    ],
)
def test_a_storage_is_never_pointed_at_other_data(entry: StorageEntry) -> None:
    assert of(plan(StorageSpec(storages=(GUESTS,)), facts(storages={"guests": entry}))) == ([], [Why.BY_HAND])


def test_a_given_storage_is_left_as_it_is_and_missed_when_absent() -> None:
    given = replace(GUESTS, given=True)
    entry = StorageEntry("guests", "zfspool", {"pool": "x"})
    assert of(plan(StorageSpec(storages=(given,)), facts(storages={"guests": entry}))) == (
        [],
        [Why.UNCHANGED],
    )
    assert of(plan(StorageSpec(storages=(given,)), facts())) == ([], [Why.REFUSED])


def test_a_template_is_resolved_by_its_prefix_when_it_is_downloaded() -> None:
    (step,) = plan(StorageSpec(templates=(DEBIAN,)), facts()).steps
    assert words(step) == [
        "pveam update",
        'pveam download local "$(fleet_available debian-13-standard)"',
        f"fleet_template {CACHE} debian-13-standard",
    ]
    assert isinstance(volume_ids(StorageSpec(templates=(DEBIAN,)), facts())["debian-13"], Capture)


def test_the_newest_cached_template_is_used() -> None:
    names = ("debian-13-standard_13.1-2_amd64.tar.zst", "debian-13-standard_13.10-1_amd64.tar.zst")
    found = facts(cached={CACHE: names})
    assert volume_ids(StorageSpec(templates=(DEBIAN,)), found) == {"debian-13": f"local:vztmpl/{names[1]}"}


def test_a_template_of_another_architecture_than_the_nodes_is_none() -> None:
    names = ("debian-13-standard_13.1-2_amd64.tar.zst", "debian-13-standard_13.1-2_arm64.tar.zst")
    spec = StorageSpec(templates=(DEBIAN,))
    (step,) = plan(spec, facts(cached={CACHE: names[1:]}, available=names)).steps
    assert step.because[0].want == names[0]
    assert volume_ids(spec, facts(cached={CACHE: names})) == {"debian-13": f"local:vztmpl/{names[0]}"}
    assert volume_ids(spec, facts(cached={CACHE: names}, architecture="arm64")) == {
        "debian-13": f"local:vztmpl/{names[1]}"
    }


def test_guests_know_which_steps_make_what_they_use() -> None:
    spec = StorageSpec(("tank",), (DATA, Dataset("tank/guests")), (GUESTS,), (DEBIAN,))
    made = providers(spec)
    assert made["/data"][0] == "storage.datasets.tank/data"
    assert made["/tank/guests"][0] == "storage.datasets.tank/guests"
    assert made["storage guests"][0] == "storage.storages.guests"
    assert made["template debian-13"] == ("storage.templates.debian-13",)


def test_no_plan_destroys() -> None:
    spec = StorageSpec(("tank",), (DATA,), (GUESTS,), (DEBIAN,))
    for found in (facts(), facts(datasets={"tank/data": replace(THERE, owner=(0, 0))})):
        for step in plan(spec, found).steps:
            assert step.impact is not Impact.DESTROYS_DATA
            assert not any(word in line for line in words(step) for word in ("destroy", "remove", "rollback"))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (facts(datasets={"tank/data": THERE}), ""),
        (facts(), "tank/data is not there"),
        (facts(pools=frozenset()), "the pool tank of tank/data is not there"),
        (
            facts(datasets={"tank/data": DatasetFacts({**PROPERTIES, "mounted": "no"}, None, None)}),
            "tank/data is not mounted",
        ),
        (
            facts(datasets={"tank/data": DatasetFacts({**PROPERTIES, "mountpoint": "/old"}, None, None)}),
            "tank/data is mounted at /old, not at /data",
        ),
    ],
)
def test_directories_where_a_declared_dataset_is_not_mounted_are_known(found: StorageFacts, why: str) -> None:
    store = Storage("store", "dir", (("path", "/data/store"),))
    spec = StorageSpec(("tank",), (DATA,), (store, GUESTS))
    assert directories(spec, found, ()) == {"/data": why, "storage store": why}


def test_a_dataset_that_is_never_mounted_hides_nothing() -> None:
    off = DatasetFacts({**PROPERTIES, "mounted": "no", "canmount": "off"}, None, None)
    spec = StorageSpec(("tank",), (DATA,))
    assert directories(spec, facts(datasets={"tank/data": off}), ()) == {"/data": ""}


def test_a_dataset_that_the_plan_makes_will_be_mounted() -> None:
    spec = StorageSpec(("tank",), (DATA, Dataset("tank/plain")))
    planned = {step.id for step in plan(spec, facts()).steps}
    assert directories(spec, facts(), planned) == {"/data": "", "/tank/plain": ""}
    assert directories(spec, facts(), planned - {"storage.datasets.tank/plain"}) == {
        "/data": "",
        "/tank/plain": "tank/plain is not there",
    }


def test_a_dataset_that_was_made_but_could_not_be_mounted_is_not_done() -> None:
    step = next(
        step for step in plan(StorageSpec(("tank",), (DATA,)), facts()).steps if step.action == "create"
    )
    assert [check.command.sh() for check in step.done] == [
        "fleet_dataset tank/data",
        "fleet_zfs tank/data mounted yes",
    ]
