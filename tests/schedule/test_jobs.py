"""Which jobs the schedules of hosts.yml make, and that their command lines are ones that `inv` takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from invoke.parser.context import ParserContext
from invoke.parser.parser import Parser

from fleet.domains.backup.spec import (
    ArchivePolicy,
    BackupSpec,
    Drill,
    Keep,
    Replica,
    SnapshotPolicy,
    Subject,
)
from fleet.inventory import load
from fleet.schedule.jobs import jobs
from fleet.tasks import namespace

ROOT = Path(__file__).resolve().parents[2]
KEEP = Keep(daily=7)


def guest(name: str, at: str | None = "02:00", archived: str | None = None, **more: object) -> Subject:
    return Subject(
        name,
        100,
        snapshots=SnapshotPolicy(at, KEEP) if at else None,
        archives=ArchivePolicy(archived, KEEP, "backups") if archived else None,
        **more,  # type: ignore[arg-type]
    )


def replica(name: str, at: str) -> Replica:
    return Replica(name, "usb/replica", None, at, KEEP)


def spec(*subjects: Subject, **more: object) -> BackupSpec:
    return BackupSpec("America/New_York", subjects, **more)  # type: ignore[arg-type]


def made(wanted: BackupSpec) -> list[tuple[str, str, str]]:
    """Name, command line and event of each job."""
    return [(job.name, " ".join(job.words), job.event) for job in jobs(wanted, "pve")]


def test_guests_that_share_a_schedule_share_a_job() -> None:
    assert made(spec(guest("a"), guest("b"), guest("c", archived="03:00"))) == [
        ("fleet-pve-snapshot", "backup.snapshot", "02:00 America/New_York"),
        ("fleet-pve-dump", "backup.dump", "03:00 America/New_York"),
    ]


def test_each_of_several_schedules_has_a_job_for_its_own_guests() -> None:
    assert made(spec(guest("a"), guest("b", "sun 03:30"), guest("c", "02:00"))) == [
        ("fleet-pve-snapshot-02-00", "backup.snapshot --schedule 02:00", "02:00 America/New_York"),
        (
            "fleet-pve-snapshot-sun-03-30",
            "backup.snapshot --schedule sun 03:30",
            "sun 03:30 America/New_York",
        ),
    ]


def test_replicas_with_schedules_of_their_own_are_sent_one_by_one() -> None:
    places = {
        "usb": replica("usb", "04:00"),
        "nas": replica("nas", "05:00 UTC"),
        "old": replica("old", "06:00"),
    }
    assert made(spec(guest("a", None, replicas=("usb", "nas")), replicas=places)) == [
        ("fleet-pve-send-nas", "backup.send --replica nas", "05:00 UTC"),
        ("fleet-pve-send-usb", "backup.send --replica usb", "04:00 America/New_York"),
    ]
    places["nas"] = replica("nas", "04:00")
    assert made(spec(guest("a", None, replicas=("usb", "nas")), replicas=places)) == [
        ("fleet-pve-send", "backup.send", "04:00 America/New_York")
    ]


def test_a_drill_runs_only_where_it_has_a_schedule() -> None:
    drill = Drill((9900, 9909), 30 * 86400, schedule="sun 05:00")
    assert made(spec(drill=drill)) == [("fleet-pve-drill", "backup.drill", "sun 05:00 America/New_York")]
    assert made(spec(drill=replace(drill, schedule=None))) == []


def test_what_is_excluded_schedules_nothing() -> None:
    assert made(spec(guest("a", exclude="only a cache"))) == []


def test_a_schedule_at_which_no_snapshot_could_be_taken_has_no_job() -> None:
    vzdump = SnapshotPolicy("05:00", KEEP, method="vzdump")
    other = replace(guest("b", archived="03:00"), snapshots=vzdump)
    assert [words for _, words, _ in made(spec(guest("a"), other))] == ["backup.snapshot", "backup.dump"]


def test_two_schedules_never_share_a_name() -> None:
    texts = ["*:0/15", "*:0,15", "*:0..15", "0/15:00"]
    names = [name for name, _, _ in made(spec(*(guest(text, text) for text in texts)))]
    assert len(set(names)) == len(texts)


def test_a_nodes_name_makes_the_name_of_a_unit() -> None:
    [job] = jobs(spec(guest("a")), "pve1.Example.org")
    assert job.name == "fleet-pve1-example-org-snapshot"


def test_every_command_line_is_one_that_inv_takes() -> None:
    drill = Drill((9900, 9909), 30 * 86400, schedule="sun 05:00")
    places = {"usb": replica("usb", "04:00"), "nas": replica("nas", "05:00")}
    one = guest("a", "02:00", "03:00", replicas=("usb",))
    two = guest("b", "02:30", "03:30", replicas=("nas",))
    parser = Parser(namespace.to_contexts(), initial=ParserContext())
    parsed = [
        parser.parse_argv([*job.words, "--inventory", "hosts.yml"])
        for job in jobs(spec(one, two, replicas=places, drill=drill), "pve")
    ]
    assert [contexts[1].name for contexts in parsed] == [
        *["backup.snapshot"] * 2,
        *["backup.dump"] * 2,
        *["backup.send"] * 2,
        "backup.drill",
    ]


def test_the_reference_homelab_runs_at_two_three_and_on_sundays() -> None:
    inventory = load(ROOT / "hosts.yml")
    assert made(inventory.backups) == [
        ("fleet-pve-snapshot", "backup.snapshot", "02:00 America/New_York"),
        ("fleet-pve-dump", "backup.dump", "03:00 America/New_York"),
        ("fleet-pve-drill", "backup.drill --sample 9", "sun 05:00 America/New_York"),
    ]


@pytest.mark.parametrize("event", ["02:00 UTC", "sun 03:30 Asia/Tokyo"])
def test_an_event_with_a_zone_keeps_it(event: str) -> None:
    [job] = jobs(spec(guest("a", event)), "pve")
    assert (job.schedule, job.event) == (event, event)
