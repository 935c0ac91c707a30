"""What stands in a guest's configuration of its snapshots, and when Proxmox could not remove one whole."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from fleet.backups.reading import guest_state, read
from fleet.core.probe import Probe
from fleet.domains.backup.assemble import items
from fleet.domains.backup.items import GuestState, Pool
from fleet.domains.backup.snapshots.plan import rotate, take
from fleet.domains.backup.spec import Keep, Subject
from fleet.domains.guests.facts import Guest
from fleet.host.shell import Output, Shell
from fleet.tools.pct.config import parse_config
from fleet.tools.pvesm import StorageEntry
from tests.domains.backup_values import ID, POLICY, daily, facts, guest, section, spec, subject_of
from tests.road import backups, fleets

STORAGES = {"guests": StorageEntry("guests", "zfspool", {"pool": "tank/guests"})}
FIRST, SECOND = "tank/guests/subvol-101-disk-0", "tank/guests/subvol-101-disk-1"


def state(text: str, kind: str = "lxc") -> GuestState:
    return guest_state(Guest(101, kind, parse_config(text, ""), running=False), STORAGES)


def with_sections(*, lost: str = "", datasets: tuple[str, ...] = (FIRST, SECOND)) -> tuple[list[str], str]:
    """What of three days goes, and what blocks the oldest. `lost`: a volume whose oldest one is gone."""
    found = [daily(dataset, days, set="") for dataset in datasets for days in (1, 2, 3)]
    found = [each for each in found if not (each.dataset == lost and each.name == daily(lost, 3).name)]
    names = [daily(FIRST, days).name for days in (1, 2, 3)]
    sections = [
        section(name, daily(FIRST, days).creation, datasets=(FIRST, SECOND))
        for days, name in enumerate(names, 1)
    ]
    known = facts([guest(101, snapshots=tuple(sections))], found)
    subject = subject_of(known.guests[101])
    oldest = next(item for item in items(subject, known) if item.name == names[2])
    rotation = rotate(spec(subject), [subject], known, keep=Keep(last=1))
    goes = [each.id for each in rotation.decisions["ct101"] if each.remove]
    return goes, "; ".join(oldest.blocks)


def test_a_snapshot_knows_the_volumes_that_the_guest_had_then() -> None:
    made = state(
        "rootfs: guests:subvol-101-disk-0,size=8G\n\n"
        f"[one]\n#fleet%3A owner={ID} set=one\nmp0: guests:subvol-101-disk-1,mp=/srv,size=1G\n"
        "mp1: /data,mp=/data\nrootfs: guests:subvol-101-disk-0,size=8G\nsnaptime: 1795330800\n"
    )
    (one,) = made.snapshots
    assert one.datasets == (SECOND, FIRST)
    assert (one.name, one.time, one.description) == ("one", 1795330800, f"fleet: owner={ID} set=one")


def test_what_waits_for_a_restart_of_a_vm_is_no_snapshot() -> None:
    made = state(
        "scsi0: guests:vm-101-disk-0\n\n[PENDING]\nmemory: 4096\n\n[special:cloudinit]\nname: web\n\n"
        "[one]\nscsi0: guests:vm-101-disk-0\nsnaptime: 1795330800\n",
        "qemu",
    )
    assert [each.name for each in made.snapshots] == ["one"]
    assert made.snapshots[0].datasets == ("tank/guests/vm-101-disk-0",)


def test_a_snapshot_that_is_whole_can_go() -> None:
    goes, blocks = with_sections()
    assert len(goes) == 2
    assert blocks == ""


def test_a_snapshot_of_proxmox_that_lacks_a_part_stays_as_its_removal_would_leave_the_guest_locked() -> None:
    goes, blocks = with_sections(lost=SECOND)
    assert blocks == f"not to be found on {SECOND}"
    assert goes == [daily(FIRST, 2).name]


def test_while_a_pool_is_away_no_snapshot_on_it_is_removed() -> None:
    goes, _ = with_sections(datasets=(FIRST,))
    assert goes == []


def test_what_holds_the_part_of_a_volume_that_the_guest_has_no_more_holds_the_snapshot() -> None:
    name = daily(FIRST, 3).name
    found = [daily(FIRST, 3, set=""), daily(SECOND, 3, set="", userrefs=1)]
    known = facts(
        [guest(101, snapshots=(section(name, found[0].creation, datasets=(FIRST, SECOND)),))], found
    )
    (item,) = items(subject_of(known.guests[101]), known)
    assert item.blocks == ("held",)
    assert {part.dataset for part in item.parts} == {FIRST, SECOND}


def test_a_pool_that_does_not_answer_is_not_asked_for_a_snapshot() -> None:
    known = facts([guest(101)], pools={"tank": Pool("tank", "SUSPENDED", 10, 0)})
    subjects = (subject_of(known.guests[101]), Subject("tank/data", None, snapshots=POLICY))
    taking = take(subjects, known, daily(FIRST, 0).name)
    assert set(taking.refused.values()) == {"the pool tank is SUSPENDED: see `zpool status tank`"}
    assert taking.part.steps == ()
    degraded = facts([guest(101)], pools={"tank": Pool("tank", "DEGRADED", 10, 0)})
    assert not take(subjects, degraded, daily(FIRST, 0).name).refused


def test_a_pool_that_does_not_answer_is_not_asked_to_remove_anything() -> None:
    made = [daily(FIRST, days) for days in range(4)]
    for health, goes in (("SUSPENDED", 0), ("DEGRADED", 3)):
        known = facts([guest(101)], made, pools={"tank": Pool("tank", health, 10, 0)})
        subject = subject_of(known.guests[101])
        rotation = rotate(spec(subject), [subject], known, keep=Keep(last=1), allowed=9)
        assert sum(each.remove for each in rotation.decisions["ct101"]) == goes
        assert bool(rotation.part.steps) is bool(goes)


class Asked(Exception):
    """A host was asked, and given so many seconds."""


class Silent:
    """A shell that says only for how long it was asked."""

    def run(self, script: str, *, stdin: bytes = b"", timeout: float | None = None) -> Output:
        raise Asked(timeout)


def test_one_storage_or_replica_that_does_not_answer_does_not_end_the_whole_read(tmp_path: Path) -> None:
    inventory = fleets.read(tmp_path, backups.fleet())
    given = []
    for more in ((), (Probe("a", "sleep 55"), Probe("b", "sleep 55"))):
        with pytest.raises(Asked) as asked:
            read(cast("Shell", Silent()), inventory, more=more)
        given.append(asked.value.args[0])
    assert given[0] >= 300
    assert given[1] - given[0] >= 110
