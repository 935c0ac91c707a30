"""The policy of backups: what the node says, what layers change of it, and what comes out of it."""

from __future__ import annotations

import pytest

from fleet.domains.backup.spec import ArchivePolicy, BackupSpec, Keep, SnapshotPolicy, Subject
from fleet.inventory.figures import figures
from tests.inventory.small import HEAD, WEB, load_text, problems

STORES = HEAD.replace(
    "    guests: {type", "    store: {type: dir, path: /store, content: [backup]}\n    guests: {type"
)
NODE = """\
backup:
  snapshots: {schedule: "02:00"}
  archives: {schedule: "03:00", storage: store, prune-backups: keep-daily=7}
  replicas:
    usb: {target: usb/replica, schedule: "04:00"}
    nas: {target: "root@192.168.0.20:backup/pve", schedule: "sun 04:30", bwlimit: 50M}
"""
WEEK = Keep(last=1, daily=7)


def spec(web: str = "", *, node: str = NODE, layers: str = "", head: str = STORES) -> BackupSpec:
    """The policy where the container web says this."""
    return load_text(f"{head}{node}{layers}{WEB}{f'    backup: {web}' if web else ''}\n").backups


def web(said: str = "", *, node: str = NODE, layers: str = "") -> Subject:
    """What the container web ends up with."""
    return next(each for each in spec(said, node=node, layers=layers).subjects if each.vmid == 100)


def data(said: str = "", *, node: str = NODE) -> Subject:
    """What the dataset tank/data ends up with."""
    head = STORES.replace("{mountpoint: /data}", f"{{mountpoint: /data, backup: {said or '{}'}}}")
    return next(each for each in spec(node=node, head=head).subjects if each.vmid is None)


def web_problem(said: str, *, node: str = NODE, layers: str = "") -> str:
    """The one thing that is wrong with it, without file and line; warnings aside."""
    found = problems(f"{STORES}{node}{layers}{WEB}    backup: {said}\n")
    (wrong,) = [each for each in found if "warning:" not in each]
    return wrong.split(" ", 1)[1]


# ── the node ──────────────────────────────────────────────────────────────────────────────────────


def test_without_a_policy_nothing_is_backed_up_and_nothing_is_invented() -> None:
    made = spec(node="")
    assert [(each.snapshots, each.archives, each.replicas) for each in made.subjects] == [
        (None, None, ())
    ] * 2
    assert made.drill is None


def test_snapshots_are_of_every_guest_and_dataset_with_seven_full_days_by_default() -> None:
    assert web().snapshots == SnapshotPolicy("02:00", WEEK, "auto", freeze=True)
    assert data().snapshots == SnapshotPolicy("02:00", WEEK, "zfs", freeze=False)
    assert web().archives is None


def test_subjects_are_guests_by_vmid_then_datasets_by_name() -> None:
    head = STORES.replace("    tank/data:", "    tank/a: {}\n    tank/data:")
    text = f"{head}{NODE}{WEB}  db: {{vmid: 99999, template: debian, rootfs: guests:8}}\n"
    named = [(each.name, each.vmid) for each in load_text(text).backups.subjects]
    assert named == [("web", 100), ("db", 99999), ("tank/a", None), ("tank/data", None)]


def test_a_dataset_of_guests_volumes_is_no_subject() -> None:
    head = STORES.replace("    tank/data:", "    tank/guests: {}\n    tank/data:")
    head = head.replace("pool: tank,", "pool: tank/guests,")
    assert [each.name for each in spec(head=head).subjects] == ["web", "tank/data"]


def test_a_target_of_this_node_is_no_subject_and_one_elsewhere_says_nothing_of_it() -> None:
    head = STORES.replace("pools: [tank]", "pools: [tank, usb, backup]").replace(
        "    tank/data:", "    usb/replica: {}\n    backup/pve: {}\n    tank/data:"
    )
    assert [each.name for each in spec(head=head).subjects] == ["web", "backup/pve", "tank/data"]


def test_replicas_are_of_this_node_or_another() -> None:
    made = spec().replicas
    assert [(each.name, each.host, each.dataset) for each in made.values()] == [
        ("usb", None, "usb/replica"),
        ("nas", "root@192.168.0.20", "backup/pve"),
    ]
    assert [each.bwlimit for each in made.values()] == [None, 50 * 1024]
    assert {each.keep for each in made.values()} == {WEEK}


@pytest.mark.parametrize(
    ("node", "zone"),
    [
        ("{name: pve, address: lab}", "UTC"),
        ("{name: pve, address: lab, timezone: host}", "UTC"),
        ("{name: pve, address: lab, timezone: Europe/Berlin}", "Europe/Berlin"),
    ],
)
def test_days_are_counted_in_the_zone_of_the_node_unless_the_policy_says_another(
    node: str, zone: str
) -> None:
    head = STORES.replace("{name: pve, address: lab}", node)
    assert spec(head=head).timezone == zone
    assert spec(head=head, node=f"{NODE}  timezone: Asia/Kathmandu\n").timezone == "Asia/Kathmandu"


def test_a_drill_has_its_own_vmids() -> None:
    drill = spec(node=f"{NODE}  drill: {{vmids: 9900-9909, max-age: 2w}}\n").drill
    assert drill is not None
    assert (drill.vmids, drill.max_age, drill.bridge, drill.schedule) == ((9900, 9909), 1209600, None, None)


def test_a_drill_on_an_isolated_bridge_without_guests_is_right() -> None:
    bridges = "network: {bridges: {vmbr9: {subnet: 10.9.0.0/24}}}\n"
    node = f"{bridges}{NODE}  drill: {{vmids: 9900, bridge: vmbr9}}\n"
    assert spec(node=node).drill is not None
    (said,) = [
        each
        for each in problems(f"{STORES}{node}{WEB}    net0: name=eth0,bridge=vmbr9\n")
        if "warning:" not in each
    ]
    assert "vmbr9 has web on it" in said


def dead_man(said: str, more: str = "") -> dict[tuple[str, str], str]:
    """The URL of each task and job."""
    inventory = load_text(f"{STORES}{NODE}  dead-man: {said}\n{WEB}{more}")
    return {(task, job): str(url) for task, each in inventory.dead_man.items() for job, url in each.items()}


HOURLY = '    backup: {snapshots: {schedule: "hourly"}, replicas: [usb, nas]}\n'


def test_each_task_has_its_own_dead_man() -> None:
    assert dead_man("{snapshot: file:secrets/snapshot, drill: env:DRILL}") == {
        ("backup.snapshot", ""): "file:secrets/snapshot",
        ("backup.drill", ""): "env:DRILL",
    }
    assert load_text(f"{STORES}{NODE}{WEB}").dead_man == {}


def test_each_of_several_jobs_of_a_task_has_its_own_dead_man() -> None:
    said = '{snapshot: {"02:00": env:NIGHTLY, hourly: env:HOURLY}, send: {nas: env:NAS}}'
    assert dead_man(said, HOURLY) == {
        ("backup.snapshot", "02:00"): "env:NIGHTLY",
        ("backup.snapshot", "hourly"): "env:HOURLY",
        ("backup.send", "nas"): "env:NAS",
    }


@pytest.mark.parametrize(
    ("said", "more", "says"),
    [
        (
            "{snapshot: env:A}",
            HOURLY,
            "has 2 jobs, and one that runs would hide another that does not; write",
        ),
        (
            "{snapshot: {daily: env:A}}",
            HOURLY,
            "'daily': no job of backup.snapshot; they are '02:00', 'hourly'",
        ),
        ('{snapshot: {"02:00": env:A}}', "", "backup.snapshot has one job; write one URL alone"),
    ],
)
def test_a_dead_man_that_is_not_of_one_job_is_refused(said: str, more: str, says: str) -> None:
    found = problems(f"{STORES}{NODE}  dead-man: {said}\n{WEB}{more}")
    (error,) = [each for each in found if "warning:" not in each]
    assert says in error


def test_a_dead_man_of_two_tasks_is_refused() -> None:
    (said,) = problems(
        f"{STORES}{NODE}  dead-man: {{snapshot: env:A, dump: env:A}}\n{WEB}    backup: {{critical: 1}}\n"
    )
    assert said.endswith("two jobs share a URL: one that runs would hide another that does not")


# ── layers ────────────────────────────────────────────────────────────────────────────────────────


def test_a_guests_policy_merges_through_the_layers_key_by_key() -> None:
    layers = """\
defaults: {backup: {snapshots: {prune-backups: keep-weekly=4}}}
profiles: {db: {backup: {snapshots: {method: zfs, freeze: no}, archives: {mode: stop}}}}
"""
    text = f"{STORES}{NODE}{layers}{WEB}    profiles: [db]\n    backup: {{snapshots: {{schedule: hourly}}}}\n"
    subject = load_text(text).backups.subjects[0]
    assert subject.snapshots == SnapshotPolicy("hourly", Keep(last=1, daily=7, weekly=4), "zfs", freeze=False)
    assert subject.archives == ArchivePolicy("03:00", Keep(daily=7), "store", mode="stop")


def test_null_takes_an_inherited_policy_away() -> None:
    layers = "defaults: {backup: {exclude: all of it, snapshots: {method: zfs, freeze: no}}}\n"
    assert web(layers=layers).exclude == "all of it"
    subject = web("{exclude: null, snapshots: {method: null}}", layers=layers)
    assert subject.exclude is None
    assert subject.snapshots == SnapshotPolicy("02:00", WEEK, "auto", freeze=False)


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ("keep-daily=14", Keep(last=1, daily=14)),
        ("keep-last=0", Keep(daily=7)),
        ("keep-daily=0,keep-weekly=2", Keep(last=1, weekly=2)),
        ("{keep-daily: null, keep-weekly: 2}", Keep(last=1, weekly=2)),
        ("keep-all=1", Keep(all=True)),
    ],
)
def test_what_is_kept_merges_with_the_nodes_own(own: str, kept: Keep) -> None:
    quoted = own if own.startswith("{") else f"'{own}'"
    subject = web(f"{{snapshots: {{prune-backups: {quoted}}}}}")
    assert subject.snapshots is not None
    assert subject.snapshots.keep == kept


def test_a_number_takes_an_inherited_keep_all_away() -> None:
    layers = "defaults: {backup: {snapshots: {prune-backups: keep-all=1}}}\n"
    subject = web("{snapshots: {prune-backups: keep-monthly=6}}", layers=layers)
    assert subject.snapshots is not None
    assert subject.snapshots.keep == Keep(monthly=6)


def test_a_guest_can_have_a_policy_that_the_node_has_not() -> None:
    subject = web("{snapshots: {schedule: daily, prune-backups: keep-weekly=3}}", node="")
    assert subject.snapshots == SnapshotPolicy("daily", Keep(weekly=3))


def test_a_container_turns_on_again_what_a_profile_turns_off() -> None:
    layers = "defaults: {backup: {snapshots: no}}\n"
    assert web(layers=layers).snapshots is None
    assert web("{snapshots: yes}", layers=layers).snapshots == SnapshotPolicy("02:00", WEEK)
    assert web("{snapshots: {freeze: no}}", layers=layers).snapshots == SnapshotPolicy(
        "02:00", WEEK, freeze=False
    )


# ── one guest, one dataset ────────────────────────────────────────────────────────────────────────


def test_what_is_excluded_has_a_reason_and_nothing_else() -> None:
    for subject in (web("{exclude: 'a cache, made anew'}"), data("{exclude: 'a cache, made anew'}")):
        assert subject.exclude == "a cache, made anew"
        assert (subject.snapshots, subject.archives, subject.replicas) == (None, None, ())


def test_what_is_declared_nowhere_is_excluded_by_vmid_dataset_or_path() -> None:
    node = NODE + "  exclude: {9000: a template, tank/scratch: made anew, /dev/sdb1: the backup disk}\n"
    assert spec(node=node).excluded == {
        "9000": "a template",
        "tank/scratch": "made anew",
        "/dev/sdb1": "the backup disk",
    }


@pytest.mark.parametrize("key", ["100", "tank/data"])
def test_what_is_declared_is_excluded_where_it_is_declared(key: str) -> None:
    node = NODE + f"  exclude: {{{key}: not needed}}\n"
    (wrong,) = [each for each in problems(f"{STORES}{node}{WEB}") if "warning:" not in each]
    assert f"backup.exclude.{key}: hosts.yml declares it" in wrong


def test_an_exclusion_needs_a_reason_and_something_that_can_be() -> None:
    for said, says in (("9000: yes", "the reason, in words"), ("my disk: old", "is no VMID")):
        found = problems(f"{STORES}{NODE}  exclude: {{{said}}}\n{WEB}")
        assert any(says in each for each in found)


def test_critical_is_archived_and_replicated_everywhere() -> None:
    subject = web("{critical: yes}")
    assert subject.critical
    assert subject.archives == ArchivePolicy("03:00", Keep(daily=7), "store")
    assert subject.replicas == ("usb", "nas")


def test_what_is_said_of_something_critical_counts_more() -> None:
    assert web("{critical: yes, archives: no}").archives is None
    assert web("{critical: yes, replicas: [usb]}").replicas == ("usb",)
    assert web("{critical: yes, replicas: []}").replicas == ()


def test_a_critical_dataset_is_replicated_and_never_archived() -> None:
    subject = data("{critical: yes}")
    assert (subject.archives, subject.replicas) == (None, ("usb", "nas"))


def test_critical_means_copies_somewhere() -> None:
    node = 'backup: {snapshots: {schedule: "02:00"}}\n'
    assert web_problem("{critical: yes}", node=node) == (
        "containers.web.backup.critical: critical means copies elsewhere, and there are none;"
        " declare backup.archives or backup.replicas"
    )


def test_vzdump_as_the_method_is_archives_and_no_replicas() -> None:
    subject = web("{critical: yes, snapshots: {method: vzdump}}")
    assert subject.archives is not None
    assert subject.replicas == ()


def test_vzdump_as_the_method_needs_archives() -> None:
    node = 'backup: {snapshots: {schedule: "02:00", method: vzdump}}\n'
    assert web_problem("{}", node=node).startswith("backup.snapshots.method: method vzdump needs archives")


def test_archives_that_nobody_declares_are_an_error() -> None:
    node = 'backup: {snapshots: {schedule: "02:00"}}\n'
    assert web_problem("{archives: yes}", node=node) == (
        "containers.web.backup.archives: there is no backup.archives; declare it,"
        " or write schedule and storage here"
    )


ON_DIR = STORES.replace("content: [backup]", "content: [backup, rootdir]")
WEB_ON_DIR = WEB.replace("guests:8", "store:8")


def test_a_guest_on_a_directory_is_archived_since_no_snapshot_can_be_taken() -> None:
    text = f"{ON_DIR}{NODE}{WEB_ON_DIR}    backup: "
    assert load_text(f"{text}{{}}\n").backups.subjects[0].archives is not None
    assert load_text(f"{text}{{critical: yes}}\n").backups.subjects[0].replicas == ()
    assert load_text(f"{text}{{archives: no}}\n").backups.subjects[0].archives is None


def test_a_guest_on_a_directory_without_archives_is_odd() -> None:
    node = 'backup: {snapshots: {schedule: "02:00"}}\n'
    (said,) = warnings(f"{ON_DIR}{node}{WEB_ON_DIR}")
    assert said.startswith(
        "containers.web.rootfs: warning: web is on store (dir), of which no snapshot can be taken"
    )
    assert warnings(f"{ON_DIR}{node}{WEB_ON_DIR}    backup: {{exclude: made anew}}\n") == []
    assert warnings(f"{ON_DIR}{node}{WEB}") == []


def test_a_guest_without_snapshots_and_archives_is_left_to_be_uncovered() -> None:
    subject = web("{snapshots: no}")
    assert (subject.exclude, subject.snapshots, subject.archives) == (None, None, None)


@pytest.mark.parametrize("where", ["backup.snapshots", "containers.web.backup.snapshots"])
def test_a_policy_that_keeps_nothing_is_refused(where: str) -> None:
    nothing = "keep-last=0,keep-daily=0"
    node, said = NODE, f"{{snapshots: {{prune-backups: '{nothing}'}}}}"
    if where == "backup.snapshots":
        node, said = NODE.replace('"02:00"', f"'02:00', prune-backups: '{nothing}'"), "{}"
    assert web_problem(said, node=node) == (
        f"{where}.prune-backups: keeps nothing: every backup would be removed;"
        " write keep-all=1 to keep them all"
    )


# ── warnings ──────────────────────────────────────────────────────────────────────────────────────


def warnings(text: str) -> list[str]:
    """What is odd in a text that is right."""
    return [str(each).split(" ", 1)[1] for each in load_text(text).warnings]


@pytest.mark.parametrize(
    ("schedule", "odd"), [("02:00", True), ("sun 02:00", True), ("0/6:00", False), ("hourly", False)]
)
def test_hourly_ones_of_a_daily_schedule_are_days(schedule: str, odd: bool) -> None:
    node = f'backup: {{snapshots: {{schedule: "{schedule}", prune-backups: keep-hourly=24}}}}\n'
    said = [each for each in warnings(f"{STORES}{node}{WEB}") if "keep-hourly=24" in each]
    assert bool(said) == odd


def test_a_replica_on_its_sources_own_pool_is_odd() -> None:
    node = NODE.replace("usb/replica", "tank/replica")
    said = warnings(f"{STORES}{node}{WEB}    backup: {{critical: yes}}\n")
    assert [each for each in said if "on the pool of what is sent there" in each]
    assert not [
        each
        for each in warnings(f"{STORES}{NODE}{WEB}    backup: {{critical: yes}}\n")
        if "the pool of" in each
    ]


def test_copies_that_nobody_makes_are_odd() -> None:
    said = warnings(f"{STORES}{NODE}{WEB}")
    assert [each.split(":")[0] for each in said] == [
        "backup.archives",
        "backup.replicas.usb",
        "backup.replicas.nas",
    ]
    assert warnings(f"{STORES}{NODE}{WEB}    backup: {{critical: yes}}\n") == []


def test_snapshots_of_the_archives_own_dataset_are_odd() -> None:
    head = STORES.replace("    tank/data:", "    tank/store: {mountpoint: /store}\n    tank/data:")
    text = f"{head}{NODE}{WEB}    backup: {{critical: yes}}\n"
    (said,) = warnings(text)
    assert said.startswith("storage.datasets.tank/store: warning: tank/store holds the archives")
    assert (
        warnings(text.replace("{mountpoint: /store}", "{mountpoint: /store, backup: {exclude: archives}}"))
        == []
    )


# ── notices, figures ──────────────────────────────────────────────────────────────────────────────


def test_channels_are_one_url_for_all_and_own_ones() -> None:
    said = "{url: env:ALL, critical: [env:OPS, 'command:pass ops'], info: env:LOG}"
    text = f"{HEAD}{WEB}notifications: {said}\n"
    channels = {name: [str(each.url) for each in found] for name, found in load_text(text).channels.items()}
    assert channels == {
        "critical": ["env:ALL", "env:OPS", "command:pass ops"],
        "warning": ["env:ALL"],
        "info": ["env:ALL", "env:LOG"],
        "success": ["env:ALL"],
    }


def test_a_severity_without_a_url_has_no_channel() -> None:
    assert set(load_text(f"{HEAD}{WEB}notifications: {{critical: env:OPS}}\n").channels) == {"critical"}


@pytest.mark.parametrize(
    ("keep", "days"),
    [
        ("keep-daily=7", 6),
        ("keep-last=1,keep-daily=7", 7),
        ("keep-last=3,keep-daily=7", 9),
        ("keep-all=1", None),
    ],
)
def test_days_of_snapshots_are_full_days_that_they_reach_back(keep: str, days: int | None) -> None:
    node = f'backup: {{snapshots: {{schedule: "02:00", prune-backups: "{keep}"}}}}\n'
    assert figures(load_text(f"{STORES}{node}{WEB}")).snapshot_days == days
