"""Containers that run in the lab: what can be seen of them on the node, and what can be done in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
NET = "name=eth0,bridge=vmbr0,ip=10.10.10.100/24,gw=10.10.10.1"


@pytest.fixture(scope="module")
def lab(lab_home: object) -> Iterator[labs.Lab]:
    found = labs.reset("guests", machine="recording-zfs")
    options = f"--hostname web --memory 256 --cores 3 --rootfs local-zfs:1 --net0 {NET} --features nesting=1"
    create = f"pct create 100 {TEMPLATE} {options}"
    assert found.run(f"{create} && pct start 100")[0] == 0
    yield found
    labs.down("guests")


def test_a_running_container_is_seen_where_proxmox_looks(lab: labs.Lab, ok: Ok) -> None:
    assert re.search(r"@/var/lib/lxc/100/command$", ok(lab, "cat /proc/net/unix"), re.MULTILINE)
    assert ok(lab, "cat /sys/fs/cgroup/lxc/100/memory.max") == f"{256 << 20}\n"
    assert ok(lab, "lxc-info -n 100 -s; lxc-ls --running") == "State:          RUNNING\n100 \n"
    assert ok(lab, "ip -br link show master vmbr0").startswith("veth100i0@if2    UP")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("true", 0),
        ("false", 1),
        ("sh -c 'exit 7'", 7),
        ("sh -c 'exit 255'", 255),
        ("sh -c 'kill -9 $$'", 137),
        ("nosuch", 127),
        ("/etc/hostname", 126),
    ],
)
def test_the_exit_code_is_the_commands(lab: labs.Lab, command: str, code: int) -> None:
    assert lab.run(f"pct exec 100 -- {command}")[0] == code
    assert lab.run(f"lxc-attach -n 100 -- {command}")[0] == code


def test_streams_and_stdin_pass_through(lab: labs.Lab) -> None:
    assert lab.run("pct exec 100 -- sh -c 'cat; echo err >&2'", stdin="in\n") == (0, "in\n", "err\n")
    assert lab.run("head -c 3000000 /dev/zero | pct exec 100 -- wc -c")[1] == "3000000\n"


def test_the_environment_leaks_in_unless_told_otherwise(lab: labs.Lab, ok: Ok) -> None:
    assert "FOO=bar\n" in ok(lab, "FOO=bar pct exec 100 -- env")
    assert ok(lab, "FOO=bar pct exec 100 --keep-env 0 -- env") == (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\ncontainer=lxc\nTERM=linux\n"
    )


def test_a_guest_sees_itself(lab: labs.Lab, ok: Ok) -> None:
    assert ok(lab, "pct exec 100 -- hostname") == "web\n"
    assert ok(lab, "pct exec 100 -- nproc") == "3\n"
    assert ok(lab, "pct exec 100 -- cat /proc/1/uid_map").split() == ["0", "100000", "65536"]
    assert "MemTotal:         262144 kB" in ok(lab, "pct exec 100 -- cat /proc/meminfo")
    assert ok(lab, "pct exec 100 -- ip r") == (
        "default via 10.10.10.1 dev eth0 onlink \n"
        "10.10.10.0/24 dev eth0 proto kernel scope link src 10.10.10.100 \n"
    )
    assert "1.0G" in ok(lab, "pct exec 100 -- df -h /")


def test_a_guest_sees_nothing_of_the_node(lab: labs.Lab) -> None:
    assert lab.run("pct exec 100 -- ls /etc/pve /var/lib/fleet-lab")[0] != 0
    assert lab.run("pct exec 100 -- sh -c 'echo x > /run/host/x'")[0] != 0
    assert lab.run("sleep 77 & pct exec 100 -- ps ax; kill $!")[1].count("sleep 77") == 0


def test_proxmox_writes_name_hosts_resolver_and_network(lab: labs.Lab, ok: Ok) -> None:
    text = ok(lab, "pct exec 100 -- cat /etc/hostname /etc/hosts /etc/resolv.conf /etc/network/interfaces")
    assert text.startswith("web\n127.0.0.1\tlocalhost\n")
    assert "# --- BEGIN PVE ---\n10.10.10.100 web\n# --- END PVE ---\n" in text
    assert "nameserver 10.255.255.53\n" in text
    assert "iface eth0 inet static\n\taddress 10.10.10.100/24\n\tgateway 10.10.10.1\n" in text


def test_pushed_files_have_their_owner_and_mode(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "echo hello > /tmp/a; pct push 100 /tmp/a /root/a --perms 0600 --user 33 --group www-data")
    assert ok(lab, "pct exec 100 -- stat -c '%a %u %g %U' /root/a") == "600 33 33 www-data\n"
    assert ok(lab, "stat -c %u:%g /rpool/data/subvol-100-disk-0/root/a") == "100033:100033\n"
    assert ok(lab, "pct pull 100 /root/a /tmp/b; cat /tmp/b") == "hello\n"


def test_the_owners_of_a_bind_mount_are_shifted(lab: labs.Lab, ok: Ok) -> None:
    ok(
        lab,
        "mkdir -p /srv/a /srv/b; chown 100033:100033 /srv/a; chown 33:33 /srv/b; "
        "pct set 100 --mp5 /srv,mp=/srv/shared",
    )
    assert (
        ok(lab, "pct exec 100 -- stat -c %u:%g /srv/shared/a /srv/shared/b /srv/shared")
        == "33:33\n65534:65534\n65534:65534\n"
    )
    ok(lab, "pct exec 100 -- chown www-data /srv/shared/b")
    assert ok(lab, "stat -c %u:%g /srv/b") == "100033:33\n"


def test_volumes_mounted_live_appear_in_the_guest_and_stay(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "mkdir -p /srv/live; echo content > /srv/live/file; pct exec 100 -- true")
    ok(lab, "pct set 100 --mp1 /srv/live,mp=/mnt/live,ro=1; pct set 100 --mp2 local-zfs:1,mp=/data")
    assert ok(lab, "pct exec 100 -- cat /mnt/live/file") == "content\n"
    assert lab.run("pct exec 100 -- touch /mnt/live/x")[0] != 0
    ok(lab, "pct exec 100 -- touch /data/x; pct reboot 100")
    assert ok(lab, "pct exec 100 -- ls /data /mnt/live") == "/data:\nx\n\n/mnt/live:\nfile\n"


def test_a_stop_ends_what_runs_in_the_guest(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct exec 100 -- sh -c 'sleep 78 >/dev/null 2>&1 &'")
    assert "sleep 78" in ok(lab, "ps ax -o args")
    ok(lab, "pct stop 100")
    assert "sleep 78" not in ok(lab, "ps ax -o args")
    assert "lxc/100" not in ok(lab, "cat /proc/net/unix") and lab.run("ls /sys/fs/cgroup/lxc/100")[0] != 0
    assert "veth100" not in ok(lab, "ip -br link")
    assert lab.run("pct exec 100 -- true") == (255, "", "container '100' not running!\n")
    ok(lab, "pct start 100")


def wait_for(lab: labs.Lab, state: str) -> None:
    assert (
        lab.run(
            f"for i in $(seq 50); do pct status 100 | grep -q {state} && exit 0; sleep 0.1; done; exit 1"
        )[0]
        == 0
    )


def test_a_guest_can_switch_itself_off_and_pending_changes_come_true(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct set 100 --nameserver 9.9.9.9")
    code, _, err = lab.run("pct exec 100 -- poweroff")
    assert (code, err) == (
        0,
        "Failed to connect to system scope bus via local transport: No such file or directory\n",
    )
    wait_for(lab, "stopped")
    assert (
        lab.run(
            "for i in $(seq 50); do grep -q pending /etc/pve/lxc/100.conf || exit 0; sleep 0.1; done; exit 1"
        )[0]
        == 0
    )
    ok(lab, "pct start 100")
    assert "nameserver 9.9.9.9" in ok(lab, "pct exec 100 -- cat /etc/resolv.conf")


def test_a_guest_can_reboot_itself(lab: labs.Lab, ok: Ok) -> None:
    before = ok(lab, "lxc-info -n 100 -p")
    ok(lab, "pct exec 100 -- reboot")
    changed = f"[ \"$(lxc-info -n 100 -p)\" != '{before.strip()}' ]"
    ok(lab, f"for i in $(seq 50); do {changed} && exit 0; sleep 0.1; done; exit 1")
    wait_for(lab, "running")


def test_what_ran_runs_again_after_the_lab_was_down(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct exec 100 -- sh -c 'echo kept > /root/kept'")
    labs.down(lab.name)
    again = labs.up(lab.name)
    assert ok(again, "pct status 100; pct exec 100 -- cat /root/kept") == "status: running\nkept\n"


def test_looking_for_the_state_makes_no_process_for_a_container(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"pct create 101 {TEMPLATE} --rootfs local-zfs:1 --features nesting=1 && pct start 101")
    count = "ps -e -o comm= | grep -c '^systemd'"
    before = ok(lab, count)
    ok(lab, "pct status 101 --verbose; pct list; pvesh get /nodes/pve/lxc --output-format json")
    assert ok(lab, count) == before
    ok(lab, "pct exec 101 -- true")
    assert int(ok(lab, count)) == int(before) + 1
    ok(lab, "pct stop 101; pct destroy 101")


def test_alpine_has_no_bash_and_its_own_ids(lab_home: object, ok: Ok) -> None:
    lab = labs.reset("alpine", machine="homelab")
    template = "alpine-3.22-default_20250617_amd64.tar.xz"
    ok(
        lab,
        f"pveam download local {template}; zfs create tank/guests; "
        "pvesm add zfspool guests --pool tank/guests",
    )
    ok(
        lab,
        f"pct create 100 local:vztmpl/{template} --rootfs guests:1 --hostname alp "
        "--net0 name=eth0,bridge=vmbr0,ip=dhcp",
    )
    ok(lab, "pct start 100")
    assert lab.run("pct exec 100 -- bash -c true")[0] == 127
    assert (
        ok(lab, "pct exec 100 -- sh -c 'getent group video; cat /etc/alpine-release'")
        == "video:x:27:\n3.22.0\n"
    )
    assert "iface eth0 inet dhcp" in ok(lab, "pct exec 100 -- cat /etc/network/interfaces")
    assert "ostype: alpine" in ok(lab, "pct config 100")
    labs.down("alpine")
