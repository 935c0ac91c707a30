"""A container with its network unplugged, as a trial restore runs it; volumes mounted on the node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
NET = "name=eth0,bridge=vmbr0,ip=10.10.10.100/24,gw=10.10.10.1"


@pytest.fixture(scope="module")
def node(lab_home: object) -> Iterator[labs.Lab]:
    found = labs.reset("scratch", machine="recording-zfs")
    create = (
        f"pct create 100 {TEMPLATE} --hostname web --rootfs local-zfs:1 --mp0 local-zfs:1,mp=/data "
        f"--net0 {NET},link_down=1 --features nesting=1"
    )
    assert found.run(f"mkdir -p /srv/x; {create}")[0] == 0
    yield found
    labs.down("scratch")


@pytest.fixture
def lab(node: labs.Lab) -> Iterator[labs.Lab]:
    yield node
    node.run("pct unmount 100; pct unlock 100; pct stop 100")


def test_an_unplugged_interface_is_down_on_both_ends_and_on_no_bridge(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct start 100")
    assert re.search(r"^veth100i0@if\d+ +DOWN ", ok(lab, "ip -br link"), re.MULTILINE)
    assert ok(lab, "ls /sys/class/net/vmbr0/brif") == ""
    assert re.search(r"^eth0@if\d+ +DOWN ", ok(lab, "pct exec 100 -- ip -br a"), re.MULTILINE)
    assert ok(lab, "pct exec 100 -- sh -c 'echo healthy; hostname'") == "healthy\nweb\n"


def test_it_is_plugged_in_and_out_while_the_container_runs(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct start 100")
    mac = ok(lab, "grep -o 'hwaddr=[^,]*' /etc/pve/lxc/100.conf").strip()
    ok(lab, f"pct set 100 --net0 {NET},{mac}; pct exec 100 -- true")
    assert ok(lab, "ls /sys/class/net/vmbr0/brif") == "veth100i0\n"
    assert " UP " in ok(lab, "pct exec 100 -- ip -br a show dev eth0")
    ok(lab, f"pct set 100 --net0 {NET},{mac},link_down=1; pct exec 100 -- true")
    assert ok(lab, "ls /sys/class/net/vmbr0/brif") == ""
    assert " DOWN " in ok(lab, "pct exec 100 -- ip -br a show dev eth0")


def test_a_mounted_container_shows_all_its_volumes_and_is_locked(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct set 100 --mp1 /srv/x,mp=/shared,ro=1")
    assert ok(lab, "pct mount 100") == "mounted CT 100 in '/var/lib/lxc/100/rootfs'\n"
    ok(lab, "echo new > /var/lib/lxc/100/rootfs/data/file")
    assert lab.run("touch /var/lib/lxc/100/rootfs/shared/y")[0] != 0
    assert "lock: mounted\n" in ok(lab, "cat /etc/pve/lxc/100.conf")
    assert lab.run("pct snapshot 100 one")[2] == "CT is locked (mounted)\n"
    ok(lab, "pct unmount 100")
    assert ok(lab, "ls /var/lib/lxc/100/rootfs") == ""
    assert ok(lab, "cat /rpool/data/subvol-100-disk-1/file") == "new\n"
    assert "lock" not in ok(lab, "cat /etc/pve/lxc/100.conf")
    ok(lab, "pct set 100 --delete mp1")


def test_what_cannot_be_mounted_leaves_nothing_mounted(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct set 100 --mp1 /srv/gone,mp=/shared")
    code, _, err = lab.run("pct mount 100")
    assert code != 0 and "mounting container failed\n" in err
    assert ok(lab, "grep -c lxc/100/rootfs /proc/self/mounts || true") == "0\n"
    ok(lab, "pct unlock 100; pct set 100 --delete mp1")
