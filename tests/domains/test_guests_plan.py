"""Containers: what is planned, what is refused, what is only said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.core.errors import Refused
from fleet.core.plan import Impact, Part, Step, Why
from fleet.domains.guests import plan, plan_adopt, plan_destroy, unmanaged
from fleet.domains.guests.compare import new_volume
from fleet.domains.guests.facts import GuestFacts
from fleet.domains.guests.spec import Container, Mount
from fleet.tools.pvesm import parse_storage_cfg
from tests.builders import CONF, GIB, bind, container, facts, guest, volume

DIGEST = "0" * 40


def planned(want: Container, found: GuestFacts, *, restart: bool = False) -> Part:
    return plan([want], found, {"debian-13": "local:vztmpl/d.tar.zst"}, {}, restart=restart)


def only_step(part: Part) -> Step:
    assert len(part.steps) == 1, [step.id for step in part.steps]
    return part.steps[0]


def said(part: Part) -> list[tuple[Why, str]]:
    return [(note.why, note.text) for note in part.notes]


def words(step: Step) -> list[str]:
    return [command.sh() for command in step.do]


# ── nothing to do ─────────────────────────────────────────────────────────────────────────────────


def test_a_container_as_declared_needs_nothing_and_says_so() -> None:
    part = planned(container(), facts(guest()))
    assert part.steps == ()
    assert said(part) == [(Why.UNCHANGED, "running, as hosts.yml says")]


@pytest.mark.parametrize(
    "same",
    [
        CONF.replace("nesting=1", "fuse=0,nesting=yes"),
        CONF.replace("tags: fleet", "tags: Fleet;theirs"),
        CONF.replace("name=eth0,bridge=vmbr0", "bridge=vmbr0,firewall=0,name=eth0"),
        CONF.replace("size=8G", "size=8192M"),
        CONF + "protection: 0\nconsole: 1\ncpuunits: 100\n",
        "#somebody's notes\n" + CONF,
        CONF + "unused0: guests:subvol-100-disk-9\n",
        CONF.replace("swap: 512\n", ""),
        CONF.replace("BC:24:11:12:94:79", "bc:24:11:12:94:79"),
    ],
)
def test_what_means_the_same_is_no_difference(same: str) -> None:
    assert planned(container(), facts(guest(same))).steps == ()


# ── creating ──────────────────────────────────────────────────────────────────────────────────────


def test_an_absent_container_is_created_with_the_tag_and_then_started() -> None:
    want = container(tags=("web",), mounts=(bind(), volume(backup="1")))
    create, start = planned(want, facts()).steps
    (line,) = words(create)
    assert line.startswith(
        "pct create 100 local:vztmpl/d.tar.zst --hostname web --unprivileged 1 --rootfs guests:8 "
    )
    assert "--tags 'fleet;web'" in line
    assert "--mp0 /data,mp=/data" in line
    assert "--mp1 docker:8,mp=/docker,backup=1" in line
    assert "--start" not in line
    assert (start.action, start.needs) == ("start", (create.id,))


def test_a_container_that_is_to_be_stopped_is_created_and_not_started() -> None:
    assert [step.action for step in planned(container(started=False), facts()).steps] == ["create"]


def test_what_is_bound_where_a_template_has_files_is_mounted_after_it_was_unpacked() -> None:
    want = container(mounts=(bind("/srv", "/data"), volume("/var", slot="mp1"), bind("/films", "/f", "mp2")))
    create = planned(want, facts()).steps[0]
    made, mounted = words(create)
    assert "--mp0" not in made
    assert "--mp1 docker:8,mp=/var --mp2 /f,mp=/films" in made
    assert mounted == "pct set 100 --mp0 /data,mp=/srv"
    assert [check.says for check in create.done][1:] == ["mp0 is /data,mp=/srv"]


def test_half_a_gibibyte_is_a_decimal() -> None:
    assert "--rootfs guests:0.5 " in words(planned(container(rootfs_size=GIB // 2), facts()).steps[0])[0]


@pytest.mark.parametrize("mib", [1, 100, 333, 2561, 7 * 1024 + 13])
def test_a_new_volume_has_every_mib_although_proxmox_cuts_off_the_rest(mib: int) -> None:
    _, _, gib = new_volume("guests", mib << 20).partition(":")
    assert int(float(gib) * 1024) == mib


def test_public_keys_reach_pct_in_a_file_of_the_host() -> None:
    put, create, remove = planned(container(ssh_public_keys=("ssh-ed25519 A a@b",)), facts()).steps[0].do
    path = put.words[1]
    assert put.words == ("fleet_put", path, "ssh-ed25519 A a@b")
    assert create.words[-2:] == ("--ssh-public-keys", path)
    assert remove.words == ("rm", "-f", path)


def test_raw_lines_are_written_between_create_and_start() -> None:
    steps = planned(container(raw=("lxc.cap.drop: sys_time",)), facts()).steps
    assert [(step.action, step.needs) for step in steps] == [
        ("create", ()),
        ("update", (steps[0].id,)),
        ("start", (steps[1].id,)),
    ]


def test_what_makes_its_storage_and_template_comes_first() -> None:
    providers = {
        "template debian-13": ("t",),
        "storage guests": ("s",),
        "/data": ("d",),
        "storage docker": ("x",),
    }
    part = plan([container(mounts=(bind(),))], facts(), {}, providers, restart=False)
    assert set(part.steps[0].needs) == {"t", "s", "d"}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (facts(elsewhere={100: "pve2"}), "node pve2"),
        (facts(guest(CONF, 200)), "VMID 200"),
        (facts(missing_paths=frozenset({"/dev/dri/card0"})), "no /dev/dri/card0"),
        (facts(bridges=frozenset({"vmbr9"})), "no bridge vmbr0; it has vmbr9"),
    ],
)
def test_what_would_fail_or_double_a_container_is_refused_before_anything_runs(
    found: GuestFacts, why: str
) -> None:
    part = planned(container(config={"dev0": "path=/dev/dri/card0"}), found)
    assert part.steps == ()
    assert [note.why for note in part.notes] == [Why.REFUSED]
    assert why in part.notes[0].text


def test_a_bind_source_that_a_planned_dataset_will_make_is_no_obstacle() -> None:
    found = facts(missing_paths=frozenset({"/data"}))
    part = plan(
        [container(mounts=(bind(),))], found, {}, {"/data": ("storage.datasets.tank/data",)}, restart=False
    )
    assert [step.action for step in part.steps] == ["create", "start"]


@pytest.mark.parametrize("found", [facts(), facts(guest(running=False)), facts(guest())])
@pytest.mark.parametrize("source", ["/data", "/data/media"])
def test_nothing_is_put_on_the_bare_directory_of_a_dataset_that_is_not_mounted(
    found: GuestFacts, source: str
) -> None:
    want = container(mounts=(bind(source=source),))
    part = plan(
        [want], found, {}, {"/data": ("d",)}, restart=True, directories={"/data": "tank/data is not mounted"}
    )
    assert part.steps == ()
    assert [note.why for note in part.notes] == [Why.REFUSED]
    assert f"{source}: tank/data is not mounted" in part.notes[0].text


def test_nothing_is_put_on_a_storage_in_the_bare_directory_of_a_dataset() -> None:
    bare = {"storage guests": "tank/store is not mounted", "storage docker": ""}
    part = plan([container()], facts(), {}, {}, restart=False, directories=bare)
    assert part.steps == ()
    assert "storage guests: tank/store is not mounted" in part.notes[0].text


def test_what_is_in_a_mounted_dataset_is_on_no_bare_directory_whatever_is_above_it() -> None:
    directories = {"/data": "tank/data is not mounted", "/data/media": ""}
    want = container(mounts=(bind(source="/data/media/films"),))
    part = plan([want], facts(), {}, {}, restart=False, directories=directories)
    assert [step.action for step in part.steps] == ["create", "start"]


@pytest.mark.parametrize(
    ("found", "actions"),
    [(facts(), ["create", "start"]), (facts(guest(running=False)), ["update", "start"])],
)
def test_what_binds_a_folder_waits_for_all_the_datasets_that_it_is_in(
    found: GuestFacts, actions: list[str]
) -> None:
    made = {"/data": ("d",), "/data/media": ("m",), "/data/med": ("x",), "/data/media/films/new": ("y",)}
    part = plan([container(mounts=(bind(source="/data/media/films"),))], found, {}, made, restart=False)
    assert [step.action for step in part.steps] == actions
    for step in part.steps:
        assert {"d", "m"} <= set(step.needs) or part.steps[0].id in step.needs
        assert not {"x", "y"} & set(step.needs)


def test_a_folder_that_nothing_makes_is_missed_even_if_a_planned_dataset_would_be_around_it() -> None:
    found = facts(missing_paths=frozenset({"/data/films"}))
    want = container(mounts=(bind(source="/data/films"),))
    part = plan([want], found, {}, {"/data": ("d",)}, restart=False)
    assert said(part) == [(Why.REFUSED, "the host has no /data/films")]


# ── whose is it ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (guest(CONF.replace("tags: fleet\n", "")), "inv provision.adopt web"),
        (guest(CONF.replace("hostname: web", "hostname: db")), "hosts.yml says web"),
        (guest("name: win\n", kind="qemu"), "virtual machine win"),
        (guest(CONF + "template: 1\n", running=False), "template"),
    ],
)
def test_what_is_not_ours_or_not_it_is_never_touched(found: object, why: str) -> None:
    part = planned(container(config={"memory": "2048"}), facts(found))  # type: ignore[arg-type]
    assert part.steps == ()
    assert part.notes[0].why is Why.REFUSED
    assert why in part.notes[0].text


def test_a_locked_guest_is_left_alone_and_said() -> None:
    part = planned(container(config={"memory": "2048"}), facts(guest(CONF + "lock: backup\n")))
    assert part.steps == ()
    assert part.notes[0].why is Why.LOCKED
    assert "pct unlock 100" in part.notes[0].text


def test_guests_that_hosts_yml_does_not_know_are_listed() -> None:
    part = unmanaged(facts(guest(), guest(CONF.replace("web", "other"), 200)), frozenset({100}))
    assert [note.subject for note in part.notes] == ["other (200)"]


# ── changing ──────────────────────────────────────────────────────────────────────────────────────


def test_all_differences_of_a_guest_are_one_pct_set_with_the_digest() -> None:
    want = container(config={"memory": "2048", "cores": None, "onboot": "0", "nameserver": "1.1.1.1"})
    step = planned(want, facts(guest(running=False))).steps[0]
    assert words(step) == [
        f"pct set 100 --memory 2048 --nameserver 1.1.1.1 --onboot 0 --delete cores --digest {'0' * 40}"
    ]


def test_a_changed_net_keeps_the_address_that_proxmox_made_up() -> None:
    want = container(config={"net0": "name=eth0,bridge=vmbr0,ip=dhcp"})
    step = only_step(planned(want, facts(guest())))
    assert "hwaddr=BC:24:11:12:94:79,ip=dhcp" in words(step)[0]


@pytest.mark.parametrize(
    ("key", "value", "impact"),
    [
        ("memory", "2048", Impact.LIVE),
        ("onboot", "0", Impact.NONE),
        ("net1", "name=eth1,bridge=vmbr1", Impact.LIVE),
        ("features", "nesting=1,keyctl=1", Impact.RESTART),
        ("nameserver", "1.1.1.1", Impact.RESTART),
        ("dev0", "path=/dev/fuse", Impact.LIVE),
    ],
)
def test_each_difference_has_the_impact_that_proxmox_gives_it(key: str, value: str, impact: Impact) -> None:
    step = only_step(planned(container(config={key: value}), facts(guest())))
    assert [(each.key, each.impact) for each in step.because] == [(key, impact)]


def test_a_new_device_waits_for_a_restart_where_proxmox_cannot_plug_it() -> None:
    old = facts(guest(), container_version=(5, 3, 5))
    assert only_step(planned(container(config={"dev0": "path=/dev/fuse"}), old)).impact is Impact.RESTART


def test_a_change_that_needs_a_restart_stays_pending_unless_asked() -> None:
    want = container(config={"features": "nesting=1,fuse=1"})
    part = planned(want, facts(guest()))
    assert [step.action for step in part.steps] == ["update"]
    assert [note.why for note in part.notes] == [Why.PENDING]
    assert [step.action for step in planned(want, facts(guest()), restart=True).steps] == [
        "update",
        "restart",
    ]


def test_what_is_pending_as_wanted_is_no_difference_but_is_said() -> None:
    found = guest(CONF + "\n[pve:pending]\nfeatures: nesting=1,fuse=1\n")
    part = planned(container(config={"features": "nesting=1,fuse=1"}), facts(found))
    assert part.steps == ()
    assert [note.why for note in part.notes] == [Why.PENDING]


def test_a_pending_change_that_nobody_wants_is_reverted() -> None:
    found = guest(CONF + "\n[pve:pending]\nfeatures: nesting=1,fuse=1\n")
    assert words(only_step(planned(container(), facts(found)))) == [
        f"pct set 100 --revert features --digest {DIGEST}"
    ]


def test_a_pending_change_is_reverted_before_its_key_is_deleted() -> None:
    found = guest(
        CONF.replace("memory", "nameserver: 9.9.9.9\nmemory") + "\n[pve:pending]\nnameserver: 8.8.8.8\n"
    )
    assert words(only_step(planned(container(), facts(found)))) == [
        f"pct set 100 --revert nameserver --digest {DIGEST}",
        "pct set 100 --delete nameserver",
    ]


def test_foreign_tags_are_kept() -> None:
    found = guest(CONF.replace("tags: fleet", "tags: fleet;theirs"))
    step = only_step(planned(container(tags=("mine",)), facts(found)))
    assert "--tags 'fleet;mine;theirs'" in words(step)[0]


def test_a_description_of_somebody_is_left_where_hosts_yml_is_silent() -> None:
    assert planned(container(), facts(guest("#note\n" + CONF))).steps == ()


def test_raw_lines_are_left_where_hosts_yml_is_silent_and_set_where_it_is_not() -> None:
    found = facts(guest(CONF + "lxc.cap.drop: x\n"))
    assert planned(container(), found).steps == ()
    assert only_step(planned(container(raw=()), found)).because[0].was == "lxc.cap.drop: x"


NET = "lxc.net.0.type = veth\nlxc.net.0.veth.pair = veth100i0\nlxc.net.0.name = eth0\n"
DROP = "lxc.cap.drop = sys_boot\n"


@pytest.mark.parametrize(
    ("started", "waits"),
    [
        (NET + DROP, False),
        (NET + DROP + "lxc.cgroup2.cpuset.cpus = 0-1\n", False),
        (f"lxc.init.cmd = /srv/run\n{NET}lxc.environment.runtime = A=b\n{DROP}", False),
        (None, False),
        (NET, True),
        (NET + "lxc.cap.drop = sys_time\n", True),
        (NET + "lxc.cap.drop = sys_time\n" + DROP, True),
        (NET + DROP + "lxc.cap.drop = sys_time\nlxc.cgroup2.cpuset.cpus = 0-1\n", True),
    ],
)
def test_raw_lines_that_a_running_container_was_not_started_with_wait_for_a_restart(
    started: str | None, waits: bool
) -> None:
    want = container(raw=("lxc.cap.drop: sys_boot",))
    found = facts(guest(CONF + "lxc.cap.drop: sys_boot\n", started=started))
    part = planned(want, found)
    assert part.steps == ()
    assert [why for why, _ in said(part)] == [Why.PENDING if waits else Why.UNCHANGED]
    assert [step.action for step in planned(want, found, restart=True).steps] == ["restart"] * waits


@pytest.mark.parametrize(
    ("started", "waits"), [(NET, False), (NET + "lxc.cgroup2.cpuset.cpus = 0\n", False), (NET + DROP, True)]
)
def test_raw_lines_that_are_gone_wait_for_a_restart_and_proxmoxs_own_do_not(
    started: str, waits: bool
) -> None:
    part = planned(container(raw=()), facts(guest(started=started)))
    assert [why for why, _ in said(part)] == [Why.PENDING if waits else Why.UNCHANGED]


def test_raw_lines_of_which_hosts_yml_says_nothing_wait_for_nothing() -> None:
    found = facts(guest(CONF + "lxc.cap.drop: sys_boot\n", started=NET))
    assert said(planned(container(), found)) == [(Why.UNCHANGED, "running, as hosts.yml says")]


def test_raw_lines_taken_back_before_the_restart_need_none() -> None:
    found = facts(guest(CONF + "lxc.cap.drop: sys_time\n", started=NET + DROP))
    part = planned(container(raw=("lxc.cap.drop: sys_boot",)), found, restart=True)
    assert [(step.action, step.impact) for step in part.steps] == [("update", Impact.NONE)]


IMAGE = (
    CONF.replace("type=veth", "host-managed=1,type=veth")
    + "cmode: console\nentrypoint: /srv/run --all\nlxc.environment.runtime: PATH=/bin\n"
    + "lxc.environment.runtime: HOME=/srv\nlxc.signal.halt: SIGTERM\n"
)


def test_what_an_oci_image_brings_along_is_left_where_hosts_yml_is_silent() -> None:
    assert planned(container(), facts(guest(IMAGE))).steps == ()
    step = only_step(planned(container(config={"env": "PATH=/bin"}), facts(guest(IMAGE))))
    assert [(each.key, each.was) for each in step.because] == [("env", "PATH=/bin\nHOME=/srv")]


def test_an_environment_that_no_image_brought_is_taken_away() -> None:
    found = facts(guest(CONF + "lxc.environment.runtime: A=1\n"))
    assert "--delete env" in words(only_step(planned(container(), found)))[0]


def test_a_weight_that_proxmox_has_cut_down_is_no_difference() -> None:
    found = facts(guest(CONF + "cpuunits: 10000\n"))
    assert planned(container(config={"cpuunits": "50000"}), found).steps == ()
    assert planned(container(config={"cpuunits": "9000"}), found).steps != ()


# ── volumes and mounts ────────────────────────────────────────────────────────────────────────────


def test_a_bigger_volume_is_grown() -> None:
    assert words(only_step(planned(container(rootfs_size=12 * GIB), facts(guest())))) == [
        "pct resize 100 rootfs 12G"
    ]


@pytest.mark.parametrize(
    ("want", "why"),
    [
        (container(rootfs_size=4 * GIB), "can only grow"),
        (container(rootfs_storage="other"), "pct move-volume 100 rootfs other"),
        (container(unprivileged=False), "cannot convert"),
    ],
)
def test_what_only_a_new_container_could_have_is_said_and_not_done(want: Container, why: str) -> None:
    part = planned(want, facts(guest()))
    assert part.steps == ()
    assert [note.why for note in part.notes] == [Why.BY_HAND]
    assert why in part.notes[0].text


def test_a_mount_that_is_there_under_another_number_is_found_by_its_path() -> None:
    found = facts(guest(CONF + "mp7: /data,mp=/data\n"))
    assert planned(container(mounts=(bind(slot="mp0"),)), found).steps == ()


def test_a_volume_whose_path_changes_keeps_its_data() -> None:
    found = facts(guest(CONF + "mp1: docker:subvol-100-disk-1,mp=/old,size=8G\n"))
    step = only_step(planned(container(mounts=(volume(mp="/new"),)), found))
    assert "--mp1 docker:subvol-100-disk-1,mp=/new,size=8G" in words(step)[0]


def test_a_slot_taken_by_something_else_is_not_replaced() -> None:
    found = facts(guest(CONF + "mp1: other:subvol-100-disk-1,mp=/theirs,size=8G\n"))
    part = planned(container(mounts=(volume(slot="mp1"),)), found)
    assert "--mp0 docker:8,mp=/docker" in words(only_step(part))[0]
    assert [note.why for note in part.notes] == [Why.BY_HAND]


def test_a_volume_that_hosts_yml_does_not_know_stays_attached() -> None:
    part = planned(container(), facts(guest(CONF + "mp3: docker:subvol-100-disk-1,mp=/x,size=8G\n")))
    assert part.steps == ()
    assert "pct set 100 --delete mp3" in part.notes[0].text


def test_a_bind_mount_that_hosts_yml_does_not_know_is_taken_away() -> None:
    step = only_step(planned(container(), facts(guest(CONF + "mp3: /srv,mp=/srv\n"))))
    assert "--delete mp3" in words(step)[0]


def test_a_pending_delete_of_a_wanted_volume_is_reverted_and_never_allocates_a_second() -> None:
    text = CONF + "mp1: docker:subvol-100-disk-1,mp=/docker,size=8G\n\n[pve:pending]\ndelete: mp1\n"
    assert words(only_step(planned(container(mounts=(volume(),)), facts(guest(text))))) == [
        f"pct set 100 --revert mp1 --digest {DIGEST}"
    ]


@pytest.mark.parametrize(
    ("line", "mount"),
    [
        ("mp1: docker:subvol-100-disk-1,mp=/docker,size=8G\n", bind("/docker", "/docker", "mp1")),
        ("mp1: /docker,mp=/docker\n", volume()),
    ],
)
def test_a_bind_mount_never_takes_the_place_of_a_volume_nor_a_volume_that_of_a_bind_mount(
    line: str, mount: Mount
) -> None:
    part = planned(container(mounts=(mount,)), facts(guest(CONF + line, running=False)))
    assert [step.action for step in part.steps] == ["start"]
    assert [note.why for note in part.notes] == [Why.BY_HAND]
    assert "pct set 100 --delete mp1" in part.notes[0].text


@pytest.mark.parametrize("typed", ["/docker/", "//docker", "docker"])
def test_a_volume_whose_path_was_typed_otherwise_is_found_and_none_is_made(typed: str) -> None:
    found = facts(guest(CONF + f"mp5: docker:subvol-100-disk-1,mp={typed},size=8G\n"))
    step = only_step(planned(container(mounts=(volume(slot="mp1"),)), found))
    assert words(step) == [f"pct set 100 --mp5 docker:subvol-100-disk-1,mp=/docker,size=8G --digest {DIGEST}"]


def test_a_new_volume_has_a_call_of_its_own_for_a_call_that_fails_would_lose_it() -> None:
    want = container(config={"net1": "name=eth1,bridge=vmbr1"}, mounts=(bind(), volume()))
    assert words(only_step(planned(want, facts(guest())))) == [
        f"pct set 100 --net1 name=eth1,bridge=vmbr1 --mp0 /data,mp=/data --digest {DIGEST}",
        "pct set 100 --mp1 docker:8,mp=/docker",
    ]


def test_protection_is_taken_off_before_the_mounts_that_it_guards_change() -> None:
    found = facts(guest(CONF + "protection: 1\n"))
    step = only_step(planned(container(config={"protection": "0"}, mounts=(bind(),)), found))
    assert words(step) == [
        f"pct set 100 --protection 0 --digest {DIGEST}",
        "pct set 100 --mp0 /data,mp=/data",
    ]


def test_protection_that_somebody_set_stays_where_hosts_yml_is_silent() -> None:
    assert planned(container(), facts(guest(CONF + "protection: 1\n"))).steps == ()
    step = only_step(planned(container(config={"protection": "0"}), facts(guest(CONF + "protection: 1\n"))))
    assert words(step) == [f"pct set 100 --protection 0 --digest {DIGEST}"]


@pytest.mark.parametrize("declared", ["1", None])
def test_mounts_of_a_protected_container_are_said_and_the_rest_is_done(declared: str | None) -> None:
    found = facts(guest(CONF + "protection: 1\n"))
    part = planned(container(config={"protection": declared, "memory": "2048"}, mounts=(bind(),)), found)
    assert words(only_step(part)) == [f"pct set 100 --memory 2048 --digest {DIGEST}"]
    assert [note.why for note in part.notes] == [Why.BY_HAND]
    assert "protection: 0" in part.notes[0].text


def test_a_volume_that_was_grown_while_a_change_of_it_waits_is_not_grown_again() -> None:
    text = CONF + "mp1: docker:subvol-100-disk-1,mp=/docker,size=12G\n"
    waits = "\n[pve:pending]\nmp1: docker:subvol-100-disk-1,mp=/docker,backup=1,size=8G\n"
    want = container(mounts=(volume(size=12 * GIB, backup="1"),))
    assert planned(want, facts(guest(text + waits))).steps == ()


# ── running or not ────────────────────────────────────────────────────────────────────────────────


def test_a_stopped_container_is_started_and_a_running_one_is_stopped_only_when_asked() -> None:
    assert only_step(planned(container(), facts(guest(running=False)))).action == "start"
    part = planned(container(started=False), facts(guest()))
    assert (part.steps, part.notes[0].why) == ((), Why.NEEDS_RESTART)
    assert only_step(planned(container(started=False), facts(guest()), restart=True)).action == "shutdown"


def test_a_container_starts_after_what_it_depends_on() -> None:
    wanted = [container("app", 101, depends_on=("db",)), container("db", 102)]
    starts = {
        step.subject: step
        for step in plan(wanted, facts(), {}, {}, restart=False).steps
        if step.action == "start"
    }
    assert starts["db (102)"].id in starts["app (101)"].needs


# ── adopt and destroy ─────────────────────────────────────────────────────────────────────────────


def test_adopting_adds_the_tag_and_nothing_else() -> None:
    found = facts(guest(CONF.replace("tags: fleet", "tags: theirs")))
    step = only_step(plan_adopt(container(config={"memory": "4096"}), found))
    assert words(step) == [f"pct set 100 --tags 'fleet;theirs' --digest {'0' * 40}"]


def test_foreign_tags_keep_their_case_which_a_data_center_may_count() -> None:
    found = facts(guest(CONF.replace("tags: fleet", "tags: Prod;zoo")))
    assert "--tags 'fleet;Prod;zoo'" in words(only_step(plan_adopt(container(), found)))[0]
    ours = facts(guest(CONF.replace("tags: fleet", "tags: Fleet;Prod")))
    assert "--tags 'Fleet;mine;Prod'" in words(only_step(planned(container(tags=("mine",)), ours)))[0]


def test_adopting_another_ones_container_is_refused() -> None:
    with pytest.raises(Refused, match=r"hosts\.yml says web"):
        plan_adopt(container(), facts(guest(CONF.replace("hostname: web", "hostname: db"))))
    with pytest.raises(Refused, match="no guest 100"):
        plan_adopt(container(), facts())


def test_destroying_names_what_is_lost() -> None:
    step = only_step(plan_destroy(container(), facts(guest(running=False)), stop=False))
    assert step.impact is Impact.DESTROYS_DATA
    assert [each.was for each in step.because] == ["guests:subvol-100-disk-0,size=8G"]


def test_destroying_is_refused_where_the_snapshots_that_would_go_cannot_be_listed() -> None:
    storages = parse_storage_cfg("zfspool: guests\n\tpool tank/guests\n")
    there = facts(guest(running=False))
    with pytest.raises(Refused, match="could not be listed"):
        plan_destroy(container(), there, stop=False, snapshots=None, storages=storages)
    on_folder = parse_storage_cfg("dir: guests\n\tpath /guests\n")
    assert plan_destroy(container(), there, stop=False, snapshots=None, storages=on_folder).steps


def test_destroying_names_the_snapshots_that_are_lost_too() -> None:
    text = (
        CONF
        + "mp0: docker:subvol-100-disk-0,mp=/docker\n\n[before]\nhostname: web\n\n[later]\nhostname: web\n"
    )
    step = only_step(
        plan_destroy(
            container(),
            facts(guest(text, running=False)),
            stop=False,
            snapshots=[
                "tank/guests/subvol-100-disk-0@later",
                "tank/guests/subvol-100-disk-0@fleet-daily-1",
                "tank/guests/subvol-1100-disk-0@theirs",
                "old/guests/subvol-100-disk-0@theirs",
            ],
            storages=parse_storage_cfg(
                "zfspool: guests\n\tpool tank/guests\n\ndir: docker\n\tpath /docker\n"
            ),
        )
    )
    assert [(each.key, each.was) for each in step.because][2:] == [
        ("snapshots", "before, later"),
        ("snapshots of tank/guests/subvol-100-disk-0", "fleet-daily-1, later"),
    ]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (guest(), "--stop"),
        (guest(CONF + "protection: 1\n", running=False), "protection"),
        (guest(CONF + "protection: yes\n", running=False), "protection"),
        (guest(CONF.replace("tags: fleet\n", ""), running=False), "does not manage"),
        (guest(CONF + "lock: backup\n", running=False), "lock"),
    ],
)
def test_destroying_is_refused(found: object, why: str) -> None:
    with pytest.raises(Refused, match=why):
        plan_destroy(container(), facts(found), stop=False)  # type: ignore[arg-type]


def test_a_running_container_is_shut_down_before_it_is_destroyed_with_stop() -> None:
    stopping, destroying = plan_destroy(container(), facts(guest()), stop=True).steps
    assert (stopping.action, destroying.needs) == ("shutdown", (stopping.id,))


def test_no_plan_of_provisioning_destroys_whatever_the_host_holds() -> None:
    texts = [
        CONF,
        "",
        "hostname: web\ntags: fleet\n",
        CONF.replace("tags: fleet\n", ""),
        CONF + "lock: create\n",
    ]
    for text in texts:
        for running in (True, False):
            steps = planned(
                replace(container(), mounts=(bind(), volume())),
                facts(guest(text, running=running)),
                restart=True,
            ).steps
            assert all(step.impact is not Impact.DESTROYS_DATA for step in steps)
            assert not any("destroy" in line or "unused" in line for step in steps for line in words(step))
