"""Containers are frozen and thawed through their control group as on a real node."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from fleet import lab as labs
from fleet.lab import inside

Ok = Callable[[labs.Lab, str], str]
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
GROUP = "/sys/fs/cgroup/lxc/100"
SEEN = f"grep -q 'frozen {{}}' {GROUP}/cgroup.events"
WAIT = f"for i in $(seq 200); do {SEEN} && exit 0; sleep 0.005; done; exit 1"


@pytest.fixture(scope="module")
def node(lab_home: object) -> Iterator[labs.Lab]:
    found = labs.reset("freezer", machine="recording-zfs")
    assert found.run(f"pct create 100 {TEMPLATE} --rootfs local-zfs:1 --start 1")[0] == 0
    yield found
    labs.down("freezer")


@pytest.fixture
def lab(node: labs.Lab) -> Iterator[labs.Lab]:
    yield node
    node.faults.clear()
    node.run(f"echo 0 > {GROUP}/cgroup.freeze; {WAIT.format(0)}")


def freeze(lab: labs.Lab) -> None:
    assert lab.run(f"echo 1 > {GROUP}/cgroup.freeze; {WAIT.format(1)}")[0] == 0


def thaw(lab: labs.Lab) -> None:
    assert lab.run(f"echo 0 > {GROUP}/cgroup.freeze; {WAIT.format(0)}")[0] == 0


def begin(lab: labs.Lab, script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        inside.words(lab.pid, inside.shell(script, "root")), env=inside.environment("root"), stdout=-1
    )


def test_a_running_container_is_populated_and_not_frozen(lab: labs.Lab, ok: Ok) -> None:
    assert ok(lab, f"cat {GROUP}/cgroup.events {GROUP}/cgroup.freeze") == "populated 1\nfrozen 0\n0\n"
    ok(lab, "pct exec 100 -- true")
    assert ok(lab, f"cat {GROUP}/cgroup.procs") == ""
    assert ok(lab, f"cat {GROUP}/ns/cgroup.procs").strip() == ok(lab, "lxc-info -p 100").split()[-1]


def test_writing_1_freezes_and_0_thaws(lab: labs.Lab, ok: Ok) -> None:
    freeze(lab)
    assert ok(lab, f"cat {GROUP}/cgroup.freeze; lxc-info -s 100") == "1\nState:          FROZEN\n"
    assert lab.still_frozen() == [100]
    thaw(lab)
    assert ok(lab, "lxc-info -s 100") == "State:          RUNNING\n"
    assert lab.still_frozen() == []


def test_what_runs_in_a_frozen_guest_makes_no_progress(lab: labs.Lab, ok: Ok) -> None:
    ok(
        lab,
        "pct exec 100 -- sh -c 'rm -f /n; (while :; do echo >> /n; sleep 0.01; done) >/dev/null 2>&1 &'",
    )
    count = "wc -l < /rpool/data/subvol-100-disk-0/n"
    freeze(lab)
    before = ok(lab, count)
    time.sleep(0.1)
    assert ok(lab, count) == before
    thaw(lab)
    time.sleep(0.1)
    assert int(ok(lab, count)) > int(before)
    ok(lab, "pct stop 100 && pct start 100")


def test_exec_in_a_frozen_container_waits_until_it_is_thawed(lab: labs.Lab) -> None:
    freeze(lab)
    process = begin(lab, "pct exec 100 -- echo there")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.4)
    thaw(lab)
    assert process.communicate(timeout=5)[0] == b"there\n"


def test_how_long_a_container_was_frozen_is_noted(lab: labs.Lab) -> None:
    before = len(lab.frozen())
    freeze(lab)
    time.sleep(0.1)
    thaw(lab)
    (found,) = lab.frozen()[before:]
    assert found[0] == 100 and 0.1 <= found[1] < 20


def test_a_container_that_never_freezes_says_so_and_can_be_let_go(lab: labs.Lab, ok: Ok) -> None:
    lab.faults.freeze(100, ms=None)
    ok(lab, f"echo 1 > {GROUP}/cgroup.freeze; sleep 0.1")
    assert "frozen 0" in ok(lab, f"cat {GROUP}/cgroup.events")
    assert lab.still_frozen() == [100]
    thaw(lab)
    assert lab.still_frozen() == []


def test_a_slow_container_freezes_late_and_not_at_all_once_it_is_no_longer_asked(
    lab: labs.Lab, ok: Ok
) -> None:
    lab.faults.freeze(100, ms=200)
    before = len(lab.frozen())
    ok(lab, f"echo 1 > {GROUP}/cgroup.freeze; sleep 0.05; grep -q 'frozen 0' {GROUP}/cgroup.events")
    freeze(lab)
    thaw(lab)
    ok(lab, f"echo 1 > {GROUP}/cgroup.freeze; sleep 0.05; echo 0 > {GROUP}/cgroup.freeze; sleep 0.25")
    assert "frozen 0" in ok(lab, f"cat {GROUP}/cgroup.events")
    assert len(lab.frozen()) == before + 1


def test_what_is_neither_0_nor_1_is_taken_back(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"echo yes > {GROUP}/cgroup.freeze; sleep 0.1")
    assert ok(lab, f"cat {GROUP}/cgroup.freeze {GROUP}/cgroup.events") == "0\npopulated 1\nfrozen 0\n"


def test_a_stop_ends_a_frozen_container_and_its_next_start_is_thawed(lab: labs.Lab, ok: Ok) -> None:
    freeze(lab)
    ok(lab, "pct stop 100 && pct start 100")
    assert ok(lab, "pct exec 100 -- echo there") == "there\n"
    assert lab.still_frozen() == []


def test_a_frozen_container_does_not_hear_of_a_shutdown(lab: labs.Lab, ok: Ok) -> None:
    freeze(lab)
    code, _, err = lab.run("pct shutdown 100 --timeout 1")
    assert (code, err) == (255, "container did not stop\n")
    assert ok(lab, "pct status 100") == "status: running\n"
    ok(lab, "pct shutdown 100 --timeout 1 --forceStop 1 && pct start 100")


def test_lxc_freeze_waits_for_what_it_asked(lab: labs.Lab, ok: Ok) -> None:
    assert ok(lab, "lxc-freeze -n 100; lxc-info -s 100").endswith("FROZEN\n")
    assert ok(lab, "lxc-unfreeze -n 100; lxc-info -s 100").endswith("RUNNING\n")
    assert lab.run("lxc-freeze -n 999")[0] == 1
