"""What restoring decides: which backup, which number, what a copy's configuration is, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import Refused, UsageError
from fleet.core.plan import Step
from fleet.domains.backup.assemble import items
from fleet.domains.backup.items import Archive, BackupFacts, Item, Kind, Of, Proof
from fleet.domains.backup.restore import drill as drills
from fleet.domains.backup.restore.choice import Named, found, free_vmid, named
from fleet.domains.backup.restore.config import (
    Link,
    Wish,
    copied,
    mac,
    marked_line,
    section_of,
    volume_line,
)
from fleet.domains.backup.restore.files import Source, source_of
from fleet.domains.backup.restore.inplace import Unfinished, aside, back_in_place
from fleet.domains.backup.restore.plan import (
    Copy,
    Node,
    Place,
    Request,
    Restoring,
    mark_of,
    restore_dataset,
    restore_guest,
)
from fleet.domains.backup.spec import Drill, Subject
from fleet.tools.pct.config import parse_config
from tests.domains.backup_values import (
    ID,
    NOW,
    at,
    bind,
    daily,
    facts,
    guest,
    section,
    subject_of,
    volume,
    zfs,
)

CONFIG = """#Movies%3A the web page
arch: amd64
dev0: /dev/dri/renderD128,gid=993
features: nesting=1
hookscript: local:snippets/x.pl
hostname: ct101
lxc.mount.entry: /srv srv none bind
lxc.idmap: u 0 100000 65536
mp0: /data,mp=/data
mp1: docker:subvol-101-disk-0,mp=/docker,backup=1,size=8G
net0: name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:12:94:79,ip=10.0.0.2/24,tag=20,type=veth
onboot: 1
parent: before
protection: 1
rootfs: guests:subvol-101-disk-0,size=4G
startup: order=2
tags: fleet;media
unprivileged: 1
unused0: guests:subvol-101-disk-5

[pve:pending]
memory: 4096

[before]
#said then
hostname: old
rootfs: guests:subvol-101-disk-0,size=2G
snaptime: 1763800000
"""
ROOT, DOCKER = "tank/guests/subvol-101-disk-0", "tank/docker/subvol-101-disk-0"
STATE = guest(101, volume(), bind(), replace(volume("mp1", storage="docker"), path="/docker"))
SUBJECT = subject_of(STATE)
DATA = Subject("tank/data", None, snapshots=SUBJECT.snapshots)
STORAGES = {
    "guests": Place("zfspool", "tank/guests"),
    "docker": Place("zfspool", "tank/docker"),
    "local": Place("dir"),
    "usb": Place("zfspool", "usb/guests"),
}
NODE = Node(guests=frozenset({100, 101}), reserved=frozenset({102, *range(900, 910)}), storages=STORAGES)
COPY = Request()
DRILL = Drill(vmids=(900, 909), max_age=30 * 86_400)


def here(*days: int, **changes: object) -> BackupFacts:
    """The node with the guest and one set of both volumes of each of these days ago."""
    sets = [each for ago in days for each in (daily(ROOT, ago), daily(DOCKER, ago), daily("tank/data", ago))]
    return facts([STATE], sets, **changes)


def newest(read: BackupFacts, subject: Subject = SUBJECT) -> Item:
    return items(subject, read)[0]


def restored(
    read: BackupFacts, request: Request = COPY, node: Node = NODE, config: str = CONFIG
) -> Restoring:
    return restore_guest(SUBJECT, newest(read), config, read, node, request)


def words(step: Step) -> tuple[str, ...]:
    assert len(step.do) == 1
    return tuple(str(word) for word in step.do[0].words)


def text_of(made: Restoring) -> str:
    """The configuration that the copy gets."""
    return words(made.part.steps[0])[5]


# ── which backup ──────────────────────────────────────────────────────────────────────────────────


def test_a_backup_is_named_by_a_name_or_a_vmid_and_its_own_name() -> None:
    assert named("ct101@latest", [SUBJECT, DATA]) == Named(SUBJECT, "latest")
    assert named("101@x", [SUBJECT]).subject is SUBJECT
    assert named("tank/data@fleet-daily-x", [SUBJECT, DATA]).subject is DATA


@pytest.mark.parametrize("text", ["ct101", "@latest", "ct101@", ""])
def test_what_names_no_backup_is_an_error_that_says_how_one_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="NAME@ITEM"):
        named(text, [SUBJECT])


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean ct101"):
        named("ct110@latest", [SUBJECT, DATA])


def test_latest_is_the_newest_that_fleet_made() -> None:
    foreign = zfs(ROOT, "by-hand", NOW, ours=False)
    read = facts([STATE], [daily(ROOT, 2), daily(DOCKER, 2), daily(ROOT, 1), daily(DOCKER, 1), foreign])
    assert found(Named(SUBJECT, "latest"), read).created == at(1)


def test_latest_is_whole() -> None:
    newest_set = daily(ROOT, 0)
    read = facts([STATE], [daily(ROOT, 1), daily(DOCKER, 1), newest_set])
    read = replace(read, recorded=read.recorded | {f"{DOCKER}@{newest_set.name}"})
    assert not newest(read).whole
    assert found(Named(SUBJECT, "latest"), read).created == at(1)
    assert drills.newest(SUBJECT, read) == (found(Named(SUBJECT, "latest"), read),)


def test_a_snapshot_of_somebody_else_is_restored_by_its_name() -> None:
    read = facts([STATE], [zfs(ROOT, "by-hand", NOW, ours=False)])
    assert found(Named(SUBJECT, "by-hand"), read).name == "by-hand"
    with pytest.raises(UsageError, match="by-hand"):
        found(Named(SUBJECT, "latest"), read)


def test_an_unknown_backup_is_an_error_with_the_nearest_and_how_to_list() -> None:
    read = here(1, 2)
    name = newest(read).name
    with pytest.raises(UsageError, match=rf"{name}.*backup\.list --limit ct101"):
        found(Named(SUBJECT, name[:-3] + "59z"), read)


def test_what_is_half_done_is_not_restored() -> None:
    state = guest(101, snapshots=(section("fleet-daily-20261120t020000z", at(2), state="delete"),))
    read = facts([state], [daily(ROOT, 1)])
    assert found(Named(subject_of(state), "latest"), read).created == at(1)
    with pytest.raises(UsageError, match="half done"):
        found(Named(subject_of(state), "fleet-daily-20261120t020000z"), read)


def test_archive_is_the_newest_archive() -> None:
    made = tuple(Archive(f"local:backup/vzdump-lxc-101-{n}.tar.zst", 101, at(n), 5) for n in (3, 1, 2))
    read = here(archives={"local": made})
    assert found(Named(SUBJECT, "archive"), read).name == made[1].volid
    assert found(Named(SUBJECT, made[0].volid), read).kind is Kind.VZDUMP


# ── which number ──────────────────────────────────────────────────────────────────────────────────


def test_a_copy_gets_the_lowest_number_that_nobody_has_or_will_have() -> None:
    assert restored(here(1)).vmid == 103
    assert free_vmid({100, 101}, ["tank/guests/subvol-102-disk-0", "tank/guests/vm-103-cloudinit"]) == 104


@pytest.mark.parametrize(("vmid", "why"), [(101, "taken"), (102, "hosts.yml"), (905, "drills")])
def test_a_number_that_is_taken_is_refused(vmid: int, why: str) -> None:
    with pytest.raises(Refused, match=why):
        restored(here(1), Request(vmid=vmid))


def test_a_guest_that_is_gone_can_have_its_own_number_and_name_again() -> None:
    said = of_archive(vmid=101)
    assert said[5:8] == ("pct", "restore", "101")
    assert said[said.index("--hostname") + 1] == "ct101"


def test_a_snapshot_with_blanks_in_its_name_is_an_error_that_says_what_to_do() -> None:
    read = facts([STATE], [zfs(ROOT, "my snap", NOW, ours=False)])
    with pytest.raises(UsageError, match="zfs rename"):
        found(Named(SUBJECT, "my snap"), read)


def test_a_number_whose_volumes_a_destroyed_guest_left_is_refused() -> None:
    read = here(1)
    read = replace(read, datasets=read.datasets | {"tank/guests/subvol-150-disk-0"})
    with pytest.raises(Refused, match="subvol-150-disk-0"):
        restored(read, Request(vmid=150))


def test_what_is_restored_already_is_not_restored_again_unless_another_number_is_named() -> None:
    read = here(1)
    there = replace(NODE, copies=(Copy(103, mark_of(read, newest(read), "copy"), half=False),))
    again = restored(read, node=there)
    assert again.vmid == 103
    assert not again.part.steps
    assert restored(read, Request(vmid=150), there).part.steps


def test_what_was_interrupted_is_finished_under_its_number() -> None:
    read = here(1)
    there = replace(
        NODE,
        guests=NODE.guests | {107},
        copies=(Copy(107, mark_of(read, newest(read), "copy"), half=True),),
    )
    read = replace(read, datasets=read.datasets | {"tank/guests/subvol-107-disk-0"})
    made = restored(read, node=there)
    assert made.vmid == 107
    assert made.part.steps[0].id == "restore 107"


# ── the copy's configuration ──────────────────────────────────────────────────────────────────────


def wish(**changes: object) -> Wish:
    return replace(Wish(103, "web-restored", f"fleet: restore owner={ID} for=copy from=a@b", "a"), **changes)  # type: ignore[arg-type]


def test_a_copy_does_nothing_by_itself_and_shares_nothing() -> None:
    made = copied(CONFIG, wish())
    config = parse_config(made.text, "")
    current = config.current
    assert current["onboot"] == "0"
    assert "link_down=1" in current["net0"]
    assert "BC:24:11:12:94:79" not in made.text
    assert current["tags"] == "fleet-restored;media"
    for gone in ("hookscript", "protection", "mp0", "unused0", "parent", "lock", "rootfs", "mp1"):
        assert gone not in current
    assert config.raw == ("lxc.idmap: u 0 100000 65536",)
    assert not config.pending and not config.snapshots and not config.unread
    assert current["unprivileged"] == "1" and current["startup"] == "order=2" and "dev0" in current


def test_what_is_left_out_is_said() -> None:
    said = " ".join(copied(CONFIG, wish(devices=False)).said)
    assert all(part in said for part in ("/data", "lxc.mount.entry", "dev0"))


def test_bind_mounts_come_along_only_when_asked_and_then_read_only() -> None:
    made = copied(CONFIG, wish(binds=True))
    assert "mp0: /data,mp=/data,ro=1" in made.text.split("\n")


def test_a_copy_on_the_isolated_bridge_has_neither_vlan_nor_gateway() -> None:
    net = parse_config(copied(CONFIG, wish(link=Link.UP, bridge="vmbr9")).text, "").current["net0"]
    assert "bridge=vmbr9" in net
    assert not re.search(r"tag=|gw=|link_down", net)
    assert "net0" not in parse_config(copied(CONFIG, wish(link=Link.NONE)).text, "").current


def test_mac_addresses_are_proxmox_own_and_differ_by_copy() -> None:
    assert re.fullmatch(r"BC:24:11(:[0-9A-F]{2}){3}", mac("a"))
    assert mac("a") == mac("a") != mac("b")


def test_the_mark_survives_the_config_file() -> None:
    made = copied(CONFIG, wish())
    assert marked_line(wish().mark) in made.text.split("\n")
    assert wish().mark in parse_config(made.text, "").current["description"].split("\n")


def test_a_snapshot_of_proxmox_is_restored_with_the_configuration_of_its_time() -> None:
    text = section_of(CONFIG, "before")
    assert text is not None and "hostname: old" in text and "said then" in text
    assert section_of(CONFIG, "after") is None
    assert section_of(CONFIG, "pve:pending") == "memory: 4096\n"


def test_volumes_keep_everything_but_their_name() -> None:
    props = copied(CONFIG, wish()).volumes["mp1"]
    assert volume_line("mp1", props, "docker:subvol-103-disk-0") == (
        "mp1: docker:subvol-103-disk-0,mp=/docker,backup=1,size=8G"
    )


LINES = st.lists(
    st.sampled_from(
        [line for line in CONFIG.split("\n") if line] + ["lock: backup", "template: 1", "net1: x", "%%"]
    )
)


@given(LINES)
def test_no_configuration_makes_a_copy_that_starts_by_itself_or_reaches_out(lines: list[str]) -> None:
    kept = [line for line in lines if line != "net1: x"]
    made = copied("\n".join(kept), wish(link=Link.NONE))
    config = parse_config(made.text, "")
    assert config.current["onboot"] == "0"
    assert not any(key.startswith(("net", "lock", "template", "hookscript")) for key in config.current)
    assert not any("=/" in line or ": /data" in line or "lxc.mount" in line for line in made.text.split("\n"))
    assert "fleet" not in config.tags


# ── a copy of raw ZFS snapshots ───────────────────────────────────────────────────────────────────


def test_each_volume_is_cloned_by_its_guid_under_the_name_that_proxmox_gives() -> None:
    read = here(1)
    name = newest(read).name
    root, docker = newest(read).parts[0], newest(read).parts[1]
    step = restored(read).part.steps[0]
    assert words(step)[0] == "fleet_copy_zfs"
    assert words(step)[4] == "clone"
    assert words(step)[6].split("\n") == [
        "rootfs: guests:subvol-103-disk-0,size=4G",
        "mp1: docker:subvol-103-disk-0,mp=/docker,backup=1,size=8G",
    ]
    assert words(step)[7:] == (
        f"{ROOT}@{name} {root.guid} tank/guests/subvol-103-disk-0 {4 << 30}",
        f"{DOCKER}@{name} {docker.guid} tank/docker/subvol-103-disk-0 {8 << 30}",
    )


def test_two_volumes_of_one_storage_get_two_names() -> None:
    state = guest(101, volume(), volume("mp1", number=1))
    read = facts([state], [daily(ROOT, 1), daily("tank/guests/subvol-101-disk-1", 1)])
    config = "rootfs: guests:subvol-101-disk-0,size=1G\nmp1: guests:subvol-101-disk-1,mp=/x,size=1G\n"
    made = restore_guest(subject_of(state), items(subject_of(state), read)[0], config, read, NODE, Request())
    assert [line.split(",")[0] for line in words(made.part.steps[0])[6].split("\n")] == [
        "rootfs: guests:subvol-103-disk-0",
        "mp1: guests:subvol-103-disk-1",
    ]


def test_a_volume_that_is_not_in_the_snapshot_is_left_out_and_said_but_never_the_root() -> None:
    made = restored(facts([STATE], [daily(ROOT, 1)]))
    assert any("mp1" in note.text and "left out" in note.text for note in made.part.notes)
    with pytest.raises(Refused, match="root file system"):
        restored(facts([STATE], [daily(DOCKER, 1)]))


def test_a_clone_says_what_depends_on_it_and_a_full_copy_does_not() -> None:
    said = " ".join(note.text for note in restored(here(1)).part.notes)
    assert "clones" in said
    full = restored(here(1), Request(full=True))
    assert words(full.part.steps[0])[4] == "full"
    assert "clones" not in " ".join(note.text for note in full.part.notes)


def test_another_pool_needs_a_full_copy_and_another_kind_of_storage_cannot_be() -> None:
    with pytest.raises(Refused, match="--full"):
        restored(here(1), Request(storage="usb"))
    made = restored(here(1), Request(storage="usb", full=True))
    assert "usb/guests/subvol-103-disk-1" in " ".join(words(made.part.steps[0]))
    with pytest.raises(Refused, match="type dir"):
        restored(here(1), Request(storage="local"))
    with pytest.raises(Refused, match="no storage nowhere"):
        restored(here(1), Request(storage="nowhere"))


def test_the_copy_of_a_running_guest_is_not_plugged_in_with_its_address() -> None:
    there = replace(NODE, addresses={101: frozenset({"10.0.0.2"})})
    with pytest.raises(Refused, match=r"10\.0\.0\.2"):
        restored(here(1), Request(link=Link.UP), there)
    assert "link_down" not in text_of(restored(here(1), Request(link=Link.UP)))


def test_the_script_itself_looks_again_whether_the_number_is_free_and_the_snapshots_are_there() -> None:
    step = restored(here(1)).part.steps[0]
    assert [check.command.words[0] for check in step.expect] == ["fleet_open", *["fleet_is_snapshot"] * 2]
    assert [check.command.words[0] for check in step.done] == ["fleet_has_copy"]


def test_nothing_is_restored_where_fleet_has_no_identity_yet() -> None:
    with pytest.raises(Refused, match="nothing on this node"):
        restored(here(1, installation=""))


# ── copies that Proxmox makes ─────────────────────────────────────────────────────────────────────


def test_a_snapshot_of_proxmox_is_cloned_by_proxmox() -> None:
    state = guest(101, snapshots=(section("before", at(1)),))
    read = facts([state], [zfs(ROOT, "before", at(1))])
    item = items(subject_of(state), read)[0]
    step = restore_guest(subject_of(state), item, CONFIG, read, NODE, Request()).part.steps[0]
    said = words(step)
    assert said[0] == "fleet_copy_pct"
    assert said[5:9] == ("pct", "clone", "101", "103")
    assert said[said.index("--snapname") + 1] == "before"
    assert "hostname: ct101-restored" in said[4]
    locked = facts([replace(state, lock="backup")], [zfs(ROOT, "before", at(1))])
    with pytest.raises(Refused, match="backup"):
        restore_guest(subject_of(state), item, CONFIG, locked, NODE, Request())


def of_archive(**changes: object) -> tuple[str, ...]:
    archive = Archive("local:backup/vzdump-lxc-101-2026_11_20-03_00_00.tar.zst", 101, at(1), 5)
    read = facts([], archives={"local": (archive,)})
    item = found(Named(SUBJECT, "archive"), read)
    alone = replace(NODE, guests=frozenset({100}), reserved=NODE.reserved | {101})
    made = restore_guest(SUBJECT, item, CONFIG, read, alone, Request(**changes))  # type: ignore[arg-type]
    return words(made.part.steps[0])


def test_an_archive_is_restored_to_a_new_number_and_never_by_force() -> None:
    said = of_archive()
    assert said[5:8] == ("pct", "restore", "103")
    assert "--force" not in said
    assert not any("force" in word for word in said)
    assert said[said.index("--unique") + 1] == "1"
    assert said[said.index("--onboot") + 1] == "0"
    assert "link_down=1" in said[said.index("--net0") + 1]


def test_an_archive_is_unpacked_into_volumes_that_are_named_one_by_one_and_into_no_bind_mount() -> None:
    said = of_archive()
    assert said[said.index("--rootfs") + 1] == "guests:4"
    assert said[said.index("--mp1") + 1] == "docker:8,mp=/docker,backup=1"
    assert "--mp0" not in said
    other = of_archive(storage="usb")
    assert other[other.index("--rootfs") + 1] == "usb:4"


def test_the_guest_of_an_archive_need_not_be_on_the_node() -> None:
    assert of_archive(vmid=150)[7] == "150"


def test_a_virtual_machine_is_not_restored_but_how_is_said() -> None:
    state = guest(101, kind="qemu", snapshots=(section("before", at(1)),))
    read = facts([state])
    with pytest.raises(Refused, match="qm clone 101"):
        restore_guest(subject_of(state), items(subject_of(state), read)[0], "", read, NODE, Request())


# ── datasets ──────────────────────────────────────────────────────────────────────────────────────


def test_a_dataset_is_restored_beside_itself_where_it_hides_nothing() -> None:
    read = here(1)
    item = newest(read, DATA)
    (step,) = restore_dataset(DATA, item, read, ()).steps
    target = f"tank/data-restored-{item.name}"
    assert words(step)[:5] == (
        "fleet_clone_dataset",
        item.parts[0].path,
        item.parts[0].guid,
        target,
        f"/mnt/fleet/tank-data-restored-{item.name}",
    )
    assert not restore_dataset(DATA, item, read, {target}).steps
    with pytest.raises(Refused, match="did not make"):
        restore_dataset(DATA, item, replace(read, datasets=read.datasets | {target}), ())


# ── back in place ─────────────────────────────────────────────────────────────────────────────────


def test_a_guest_is_put_back_volume_by_volume_and_its_present_state_set_aside() -> None:
    read = here(1, 2)
    (step,) = back_in_place(SUBJECT, newest(read), read).steps
    said = words(step)
    assert said[:2] == ("fleet_rollback", "101")
    assert said[4] == "running"
    assert said[5].split() == [ROOT, newest(read).parts[0].guid, aside(ROOT, said[2])]
    assert said[2].startswith("fleet-before-")
    assert not re.search(r"/(subvol|vm|base|basevol)-[^/]*$", aside(ROOT, said[2]))


def test_newer_snapshots_whosever_they_are_stand_against_it_and_are_listed() -> None:
    read = facts(
        [STATE],
        [
            *(daily(name, ago) for name in (ROOT, DOCKER) for ago in (2, 1)),
            zfs(DOCKER, "autosnap_2026-11-22_00:00:00_daily", NOW, ours=False),
        ],
    )
    item = items(SUBJECT, read)[-1]
    with pytest.raises(Refused) as error:
        back_in_place(SUBJECT, item, read)
    assert "autosnap" in str(error.value) and "sanoid" in str(error.value)
    assert f"{ROOT}@" in str(error.value) and f"{DOCKER}@" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lock": "backup"}, "lock backup"),
        ({"kind": "qemu"}, "not a container"),
        ({"volumes": (volume(kind="lvmthin"),)}, "not on ZFS"),
    ],
)
def test_what_cannot_be_put_back_without_loss_is_refused(changes: dict[str, object], why: str) -> None:
    read = here(1)
    item = newest(read)
    read = replace(read, guests={101: replace(STATE, **changes)})  # type: ignore[arg-type]
    with pytest.raises(Refused, match=why):
        back_in_place(SUBJECT, item, read)


def test_neither_an_archive_nor_a_dataset_nor_half_a_set_is_put_back() -> None:
    archive = Archive("local:backup/vzdump-lxc-101-2026_11_20-03_00_00.tar.zst", 101, at(1), 5)
    read = here(1, archives={"local": (archive,)})
    with pytest.raises(Refused, match="archive"):
        back_in_place(SUBJECT, found(Named(SUBJECT, "archive"), read), read)
    with pytest.raises(Refused, match="beside itself"):
        back_in_place(DATA, newest(read, DATA), read)
    half = facts([STATE], [daily(ROOT, 1)])
    with pytest.raises(Refused, match="does not hold"):
        back_in_place(SUBJECT, newest(half), half)


def test_an_interrupted_rollback_is_finished_with_the_names_that_it_had() -> None:
    safety = "fleet-before-20261122t170000z"
    snapshot = daily(ROOT, 1)
    moved = replace(snapshot, dataset=aside(ROOT, safety), guid="7")
    read = facts([replace(STATE, lock="rollback", running=False)], [moved, daily(DOCKER, 1)])
    item = Item(SUBJECT.name, Kind.ZFS, snapshot.name, 0, 0, 0, ours=True, owner="fleet")
    (step,) = back_in_place(SUBJECT, item, read, Unfinished(safety, item.name, was_running=True)).steps
    assert words(step)[2] == safety
    assert words(step)[4] == "running"
    assert words(step)[5] == f"{ROOT} 7 {aside(ROOT, safety)}"
    with pytest.raises(Refused, match="finish that first"):
        back_in_place(
            SUBJECT, replace(item, name="other"), read, Unfinished(safety, snapshot.name, was_running=True)
        )


# ── drills ────────────────────────────────────────────────────────────────────────────────────────


def drill_copy(vmid: int) -> Copy:
    return Copy(vmid, f"fleet: restore owner={ID} for=drill from=a@b", half=False)


def test_a_drill_takes_those_first_that_were_proven_longest_ago() -> None:
    read = here(1, proven={("ct101", Of.SNAPSHOT): Proof(NOW - 10)})
    assert [subject.name for subject, _ in drills.sample((SUBJECT, DATA), read, 1)] == ["tank/data"]
    assert len(drills.sample((SUBJECT, DATA), read, None)) == 2


def test_a_drill_takes_an_archive_once_the_snapshot_of_the_guest_is_proven() -> None:
    archive = ours_archive()
    proven = {("ct101", Of.SNAPSHOT): Proof(NOW - 10)}
    read = here(1, proven=proven, archives={"local": (archive,)})
    read = replace(read, recorded=read.recorded | {archive.volid})
    assert [item.name for _, item in drills.sample((SUBJECT,), read, 1)] == [archive.volid]
    assert len(drills.sample((SUBJECT,), read, None)) == 2
    assert len(drills.sample((SUBJECT,), read, None, archives=True)) == 1
    proven |= {("ct101", Of.ARCHIVE): Proof(NOW - 5)}
    read = replace(read, proven=proven)
    assert [item.archive for _, item in drills.sample((SUBJECT,), read, 1)] == [None]


def test_the_snapshot_and_the_archive_of_a_guest_are_proven_in_one_drill() -> None:
    archive = ours_archive()
    read = here(1, archives={"local": (archive,)})
    read = replace(read, recorded=read.recorded | {archive.volid})
    chosen = drills.sample((SUBJECT,), read, None)
    configs = {drills.shown(item): CONFIG for _, item in chosen}
    drilling = drills.drill(chosen, configs, {}, read, NODE, DRILL)
    assert not drilling.refused
    assert sorted(drilling.copies.values()) == [900, 901]
    assert len({step.id for part in drilling.parts.values() for step in part.steps}) == 4


def ours_archive() -> Archive:
    return Archive(
        "local:backup/vzdump-lxc-101-1.tar.zst", 101, at(1), 5, notes=f"fleet: owner={ID} set=fleet-dump-x"
    )


def test_a_drill_takes_only_what_fleet_made_and_an_archive_where_there_is_no_snapshot() -> None:
    archive = ours_archive()
    read = facts(
        [STATE],
        [zfs(ROOT, "by-hand", NOW, ours=False)],
        archives={"local": (archive,)},
        recorded=frozenset({archive.volid}),
    )
    assert [item.name for item in drills.newest(SUBJECT, read)] == [archive.volid]
    assert drills.newest(SUBJECT, replace(read, archives={})) == ()


def test_a_drill_restores_into_its_range_without_network_devices_or_shared_data() -> None:
    read = here(1)
    name = drills.shown(newest(read))
    drilling = drills.drill([(SUBJECT, newest(read))], {name: CONFIG}, {}, read, NODE, DRILL)
    restore, prove = drilling.parts[name].steps
    assert drilling.copies == {name: 900}
    config = parse_config(words(restore)[5], "").current
    assert not any(key.startswith(("net", "dev", "mp0")) for key in config)
    assert prove.needs == (restore.id,)
    assert words(prove)[:2] == ("fleet_prove", "900")
    assert words(prove)[-2:] == ("/", "/docker")


def test_copies_of_one_drill_get_different_numbers() -> None:
    other = guest(104, name="other")
    read = facts(
        [STATE, other], [daily(ROOT, 1), daily(DOCKER, 1), daily("tank/guests/subvol-104-disk-0", 1)]
    )
    chosen = [(SUBJECT, newest(read)), (subject_of(other), newest(read, subject_of(other)))]
    texts = (CONFIG, "rootfs: guests:subvol-104-disk-0,size=1G\n")
    configs = {drills.shown(item): text for (_, item), text in zip(chosen, texts, strict=True)}
    assert sorted(drills.drill(chosen, configs, {}, read, NODE, DRILL).copies.values()) == [900, 901]


def test_a_full_range_refuses_the_rest_and_says_so() -> None:
    read = here(1)
    policy = replace(DRILL, vmids=(900, 900))
    full = replace(NODE, guests=NODE.guests | {900})
    name = drills.shown(newest(read))
    drilling = drills.drill([(SUBJECT, newest(read))], {name: CONFIG}, {}, read, full, policy)
    assert not drilling.parts
    assert "900" in drilling.refused[name]


def test_a_guest_in_the_range_that_no_drill_made_stops_every_drill() -> None:
    there = replace(NODE, guests=NODE.guests | {901, 902}, copies=(drill_copy(901),))
    with pytest.raises(Refused, match="902"):
        drills.leftovers(DRILL, there)


def test_only_copies_of_drills_in_their_range_are_destroyed() -> None:
    copies = (
        drill_copy(901),
        drill_copy(150),
        replace(drill_copy(903), mark=f"fleet: restore owner={ID} for=copy from=a@b"),
    )
    there = replace(NODE, guests=NODE.guests | {901, 150}, copies=copies)
    (step,) = drills.leftovers(DRILL, there).steps
    assert words(step) == ("fleet_scrap", "901", marked_line(copies[0].mark), "900", "909")
    assert not drills.leftovers(DRILL, there, but=(901,)).steps


# ── files ─────────────────────────────────────────────────────────────────────────────────────────


def source(path: str, subject: Subject = SUBJECT, item: str = "latest") -> Source:
    return source_of(
        Named(subject, item), path, here(1), (SUBJECT, DATA), {"tank/data": "/data", "tank": "/tank"}
    )


@pytest.mark.parametrize(
    ("path", "dataset", "inside"),
    [
        ("/etc/hosts", ROOT, "etc/hosts"),
        ("etc/hosts", ROOT, "etc/hosts"),
        ("/", ROOT, ""),
        ("/docker/app/x", DOCKER, "app/x"),
        ("/docker", DOCKER, ""),
        ("/dockerfile", ROOT, "dockerfile"),
        ("/data/films/a", "tank/data", "films/a"),
    ],
)
def test_a_path_is_in_the_volume_or_the_shared_dataset_that_is_mounted_there(
    path: str, dataset: str, inside: str
) -> None:
    read = here(1)
    got = source(path)
    assert (got.snapshot.partition("@")[0], got.path) == (dataset, inside)
    assert got.guid in {snapshot.guid for snapshot in read.snapshots[dataset]}


def test_what_lies_in_a_folder_and_is_another_file_system_is_said() -> None:
    assert source("/").apart == ("/data", "/docker")
    assert source("/etc").apart == ()


def test_a_path_of_a_dataset_is_inside_of_it() -> None:
    assert source("films", DATA).path == "films"


@pytest.mark.parametrize("path", ["../x", "/etc/../../x", "a/.."])
def test_a_path_that_climbs_is_an_error(path: str) -> None:
    with pytest.raises(UsageError, match=r"\.\."):
        source(path)


def test_what_no_backup_holds_is_said() -> None:
    with pytest.raises(UsageError, match=r"no dataset of hosts\.yml"):
        source_of(Named(SUBJECT, "latest"), "/data/x", here(1), (SUBJECT,), {})
