"""A lab does wrong what it is told to, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import paramiko
import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
Connect = Callable[[], paramiko.SSHClient]
CREATE = (
    "pct create {} local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst --rootfs btr:1 --features nesting=1"
)
LOST = (paramiko.SSHException, EOFError, OSError)


@pytest.fixture(scope="module")
def lab(lab_home: object) -> Iterator[labs.Lab]:
    found = labs.reset("faulty", machine="recording-btr")
    yield found
    labs.down("faulty")


@pytest.fixture
def connect(lab: labs.Lab) -> Iterator[Connect]:
    clients: list[paramiko.SSHClient] = []

    def new() -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        client.load_host_keys(str(lab.known_hosts))
        client.connect(
            lab.host, lab.port, "root", key_filename=str(lab.key), allow_agent=False, look_for_keys=False
        )
        clients.append(client)
        return client

    lab.run("rm -f /tmp/ran /tmp/done")
    yield new
    lab.faults.clear()
    for client in clients:
        client.close()


def execute(client: paramiko.SSHClient, command: str, seconds: float = 10) -> tuple[bytes, int]:
    """(stdout, exit status; -1 when none came)."""
    _, stdout, _ = client.exec_command(command, timeout=seconds)
    return stdout.read(), stdout.channel.recv_exit_status()


def lost(client: paramiko.SSHClient, command: str) -> bool:
    """Whether the command got no exit status because the link went away."""
    try:
        return execute(client, command)[1] == -1 and not client.get_transport().is_active()  # type: ignore[union-attr]
    except LOST:
        return True


def test_a_link_dropped_before_means_that_nothing_ran(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.drop("before", nth=1)
    assert lost(connect(), "touch /tmp/ran")
    assert lab.run("ls /tmp/ran")[0] != 0
    assert execute(connect(), "touch /tmp/ran; echo fine") == (b"fine\n", 0)


def test_a_link_dropped_after_means_that_all_ran_and_no_answer_came(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.drop("after", nth=1)
    client = connect()
    try:
        out, code = execute(client, "touch /tmp/ran; echo an answer")
    except LOST:
        out, code = b"", -1
    assert (out, code) == (b"", -1)
    assert lab.run("ls /tmp/ran")[0] == 0


def test_a_link_dropped_during_a_command_leaves_it_running(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.drop("during", nth=1, ms=150)
    assert lost(connect(), "touch /tmp/ran; sleep 0.5; touch /tmp/done")
    assert lab.run("ls /tmp/ran")[0] == 0
    assert (
        lab.run("for i in 1 2 3 4 5 6 7 8 9; do [ -e /tmp/done ] && exit 0; sleep 0.1; done; exit 1")[0] == 0
    )


def test_the_nth_execution_is_counted_from_now(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.drop("before", nth=3)
    client = connect()
    assert execute(client, "echo 1")[1] == 0
    assert execute(client, "echo 2")[1] == 0
    assert lost(client, "echo 3")
    assert execute(connect(), "echo 4")[1] == 0


def test_a_pattern_strikes_only_what_it_matches_and_only_so_often(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.drop("before", match=r"pct\s+create", times=1)
    assert execute(connect(), "echo pct list")[1] == 0
    assert lost(connect(), "echo pct create 100")
    assert execute(connect(), "echo pct create 100")[1] == 0


def test_other_connections_are_not_dropped(lab: labs.Lab, connect: Connect) -> None:
    bystander, victim = connect(), connect()
    lab.faults.drop("before", match="victim")
    assert lost(victim, "echo victim")
    assert execute(bystander, "echo alive") == (b"alive\n", 0)


def test_a_hanging_execution_never_answers_and_the_link_stays(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.hang("after", nth=1)
    client = connect()
    with pytest.raises(TimeoutError):
        execute(client, "touch /tmp/ran", seconds=0.7)
    assert lab.run("ls /tmp/ran")[0] == 0
    assert execute(client, "echo next") == (b"next\n", 0)


def test_a_slow_lab_takes_that_many_times_as_long(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.slow(4)
    began = time.monotonic()
    execute(connect(), "sleep 0.2")
    assert time.monotonic() - began > 0.8


def test_without_quorum_nothing_below_etc_pve_is_written(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.quorum(lost=True)
    code, _, err = lab.run(
        "pct create 190 local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst --rootfs btr:1"
    )
    assert code != 0 and ("Permission denied" in err or "no quorum" in err)
    assert lab.run("echo x > /etc/pve/x")[0] != 0
    assert lab.run("cat /etc/pve/storage.cfg")[0] == 0
    lab.faults.quorum(lost=False)
    assert lab.run("echo x > /etc/pve/x && rm /etc/pve/x")[0] == 0


def test_a_held_config_lock_is_waited_for(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.hold_config_lock(191)
    lock = "/run/lock/lxc/pve-config-191.lock"
    assert lab.run(f"flock -n {lock} true")[0] != 0
    lab.faults.release_config_lock(191)
    assert lab.run(f"flock -n {lock} true")[0] == 0


def test_a_killed_command_ends_by_that_signal_and_the_next_does_not(lab: labs.Lab, connect: Connect) -> None:
    lab.faults.kill("pct", nth=2)
    script = "pct list; echo $?; pct list; echo $?; pct list; echo $?"
    assert lab.run(script)[1] == "0\n137\n0\n"


def test_a_create_killed_in_its_middle_leaves_what_proxmox_leaves(lab: labs.Lab, connect: Connect) -> None:
    create = CREATE.format(192)
    left: list[str] = []
    ms = 10
    while ms < 5000:  # how far it comes in that time depends on how busy the machine is
        lab.faults.kill("pct", nth=1, ms=ms)
        code, _, _ = lab.run(create)
        left.append(lab.run("cat /etc/pve/lxc/192.conf")[1] if code == 137 else "")
        lab.faults.clear()
        lab.run("pct unlock 192; pct destroy 192 --force; rm -f /etc/pve/lxc/192.conf")
        if "lock: create" in left[-1]:
            return
        ms += max(5, ms // 8)
    pytest.fail(f"no create was killed between its lock and its end: {left}")


def test_a_full_storage_refuses_volumes_until_it_is_not(lab: labs.Lab, connect: Connect) -> None:
    create = CREATE.format(193)
    lab.faults.disk_full("btr")
    assert lab.run(create)[0] != 0
    assert lab.run("cat /etc/pve/lxc/193.conf")[0] != 0
    lab.faults.disk_full()
    assert lab.run(create)[0] == 0
    lab.run("pct destroy 193")


def test_a_fault_that_makes_no_sense_is_refused(lab: labs.Lab) -> None:
    with pytest.raises(ValueError, match="before, during or after"):
        lab.faults.drop("sometimes", nth=1)
    with pytest.raises(ValueError, match="how-manieth"):
        lab.faults.drop("before")
    assert lab.faults.current() == {}
