"""What recordings do not show line by line: locks, aborted tasks, task logs, faults, PVE 8; all in a lab."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.lab import inside, lab
from fleet.lab.lab import Lab

TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_LAB_HOME", str(tmp_path_factory.mktemp("labs")))
        yield


@pytest.fixture(scope="module")
def node(home: None) -> Iterator[Lab]:
    yield lab.reset("pct", machine="recording-zfs")
    lab.down("pct")


@pytest.fixture(scope="module")
def slow(home: None) -> Iterator[Lab]:
    yield lab.reset("slow", machine="recording-btr", realistic=True)
    lab.down("slow")


def created(node: Lab, vmid: int, options: str = "") -> Lab:
    code, stdout, stderr = node.run(
        f"pct create {vmid} {TEMPLATE} --rootfs local-zfs:1 --features nesting=1 {options}"
    )
    assert code == 0, stdout + stderr
    return node


def conf(node: Lab, vmid: int) -> str:
    return node.run(f"cat /etc/pve/lxc/{vmid}.conf")[1]


def test_a_created_container_is_known_to_the_cluster_and_forgotten_when_destroyed(node: Lab) -> None:
    created(node, 200)
    known = json.loads(node.run("cat /etc/pve/.vmlist")[1])
    assert known["ids"]["200"]["type"] == "lxc"
    assert node.run("pct destroy 200")[0] == 0
    later = json.loads(node.run("cat /etc/pve/.vmlist")[1])
    assert "200" not in later["ids"]
    assert later["version"] > known["version"]


def test_a_task_leaves_its_log_and_a_line_in_the_index(node: Lab) -> None:
    created(node, 201)
    line = node.run("grep vzcreate:201 /var/log/pve/tasks/index | tail -1")[1].split()
    assert line[2:] == ["OK"]
    started = line[0].split(":")[4]
    log = node.run(f"cat /var/log/pve/tasks/{started[-1]}/{line[0]}")[1].splitlines()
    assert log[0].startswith("extracting archive")
    assert log[-1] == "TASK OK"
    assert node.run("grep -c vzcreate:201 /var/log/pve/tasks/active")[1] == "1\n"


def test_a_failed_task_says_so_in_log_and_index(node: Lab) -> None:
    code, stdout, stderr = node.run(f"pct create 202 {TEMPLATE.replace('13.1', '99')} --rootfs local-zfs:1")
    reason = f"volume '{TEMPLATE.replace('13.1', '99')}' does not exist"
    assert (code, stdout, stderr) == (255, reason + "\n", f"unable to create CT 202 - {reason}\n")
    assert (
        node.run("tail -1 /var/log/pve/tasks/index")[1]
        .rstrip()
        .endswith(f"unable to create CT 202 - {reason}")
    )
    assert node.run("ls /etc/pve/lxc/202.conf; zfs list rpool/data/subvol-202-disk-0")[0] == 1


def test_a_held_lock_is_waited_for(node: Lab) -> None:
    created(node, 203)
    code, _, stderr = node.run(
        "flock /run/lock/lxc/pve-config-203.lock sleep 0.5 & sleep 0.2; pct set 203 --memory 300; exit $?"
    )
    assert (code, stderr) == (0, "trying to acquire lock... OK\n")
    assert "memory: 300\n" in conf(node, 203)


def test_changes_side_by_side_are_all_kept(node: Lab) -> None:
    created(node, 204)
    keys = "memory=300 swap=64 cores=2 onboot=1 tags=x hostname=side".split()
    sets = " & ".join(f"pct set 204 --{key.replace('=', ' ')}" for key in keys)
    node.run(f"{sets} & wait")
    text = conf(node, 204)
    assert all(f"{key.replace('=', ': ')}\n" in text for key in keys)


def test_a_changed_digest_is_refused(node: Lab) -> None:
    created(node, 205)
    digest = node.run("sha1sum < /etc/pve/lxc/205.conf")[1].split()[0]
    assert node.run(f"pct set 205 --digest {digest} --memory 300")[0] == 0
    assert node.run(f"pct set 205 --digest {digest} --memory 301")[2] == (
        "detected modified configuration - file changed by other user? Try again.\n"
    )
    assert "memory: 300\n" in conf(node, 205)


def test_a_backup_is_restored_with_its_configuration_and_files(node: Lab) -> None:
    created(node, 210, "--hostname saved --net0 name=eth0,bridge=vmbr0,ip=dhcp --tags x")
    archive = "/var/lib/vz/dump/vzdump-lxc-210-2026_01_01-00_00_00.tar"
    code, stdout, stderr = node.run(
        "mkdir -p /tmp/b/etc/vzdump /var/lib/vz/dump; cp /etc/pve/lxc/210.conf /tmp/b/etc/vzdump/pct.conf; "
        f"echo kept > /tmp/b/file; tar -C /tmp/b -cf {archive} .; "
        f"pct restore 211 local:backup/{archive.rpartition('/')[2]} --storage local-zfs --hostname back"
    )
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[0].startswith("recovering backed-up configuration from 'local:backup/")
    assert stdout.splitlines()[-1] == "merging backed-up and given configuration.."
    expected = conf(node, 210).replace("saved", "back").replace("subvol-210", "subvol-211")
    assert conf(node, 211) == expected
    top = "/rpool/data/subvol-211-disk-0"
    assert node.run(f"cat {top}/file; ls -A {top}/etc/vzdump")[1] == "kept\n"
    again = node.run(f"pct restore 211 {archive} --storage local-zfs")
    assert again == (2, "", "CT 211 already exists on node 'pve'\n")
    assert node.run(f"pct restore 211 {archive} --storage local-zfs --force 1 --unique 1")[0] == 0
    mac = "hwaddr="
    assert conf(node, 211).split(mac)[1][:17] != conf(node, 210).split(mac)[1][:17]
    assert node.run("zfs list -H -o name -r rpool/data | grep -c 211")[1] == "1\n"


def test_an_option_of_a_newer_version_is_unknown_to_proxmox_8(home: None) -> None:
    old = lab.reset("old", machine="homelab", pve_version=8)
    try:
        template = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
        assert old.run(f"pveam update; pveam download local {template.rpartition('/')[2]}")[0] == 0
        assert old.run("pvesm add dir guests --path /guests --content rootdir,images")[0] == 0
        code, stdout, stderr = old.run(f"pct create 100 {template} --rootfs guests:1")
        assert (code, stderr) == (0, ""), stdout
        assert "unprivileged" not in conf(old, 100)
        assert old.run("pct set 100 --entrypoint /sbin/init")[2].startswith("Unknown option: entrypoint\n")
        assert (
            "host-managed: property is not defined"
            in old.run("pct set 100 --net0 name=eth0,host-managed=1")[2]
        )
    finally:
        lab.down("old")


def test_a_hand_written_interface_that_does_not_parse_blocks_reading_and_starting(node: Lab) -> None:
    created(node, 206)
    node.run("echo 'net5: garbage' >> /etc/pve/lxc/206.conf")
    assert node.run("pct config 206")[0] != 0
    assert node.run("pct start 206")[0] == 255
    code, _, _ = node.run("pct set 206 --memory 300")
    assert code != 0
    assert "memory: 300\n" in conf(node, 206)


def test_pending_changes_are_applied_when_the_guest_powers_itself_off(node: Lab) -> None:
    created(node, 207)
    assert node.run("pct start 207 && pct set 207 --nameserver 9.9.9.9")[0] == 0
    assert "[pve:pending]\nnameserver: 9.9.9.9\n" in conf(node, 207)
    node.run("pct exec 207 -- poweroff")
    deadline = time.monotonic() + 10
    while "[pve:pending]" in conf(node, 207) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "nameserver: 9.9.9.9\n" in conf(node, 207)
    assert "[pve:pending]" not in conf(node, 207)


def test_without_quorum_nothing_is_changed(node: Lab) -> None:
    created(node, 208)
    before = conf(node, 208)
    node.faults.quorum(lost=True)
    try:
        for command in (
            "pct set 208 --memory 300",
            "pct start 208",
            f"pct create 209 {TEMPLATE} --rootfs local-zfs:1",
        ):
            code, _, stderr = node.run(command)
            assert code != 0
            assert "Permission denied" in stderr or "no quorum" in stderr
    finally:
        node.faults.quorum(lost=False)
    assert conf(node, 208) == before
    assert node.run("ls /etc/pve/lxc/209.conf; zfs list rpool/data/subvol-209-disk-0")[0] == 1


def cut(node: Lab, command: str, seconds: float) -> None:
    """Start a command whose stdout goes away after so many seconds, as when the client is killed."""
    process = subprocess.Popen(
        inside.words(node.pid, inside.shell(command, "root")),
        env=inside.environment("root"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    time.sleep(seconds)
    process.stdout.close()
    process.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.9, 1.6, 2.2])
def test_a_create_whose_client_is_gone_is_aborted_and_removed(slow: Lab, seconds: float) -> None:
    cut(slow, f"pct create 150 {TEMPLATE} --rootfs btr:1", seconds)
    last = slow.run("tail -1 /var/log/pve/tasks/index")[1].split(maxsplit=2)
    assert (last[0].split(":")[5:7], last[2]) == (["vzcreate", "150"], "broken pipe\n")
    assert slow.run("cat /etc/pve/lxc/150.conf")[0] == 1
    assert "vm-150" not in slow.run("pvesm list btr")[1]
    assert slow.run("pct destroy 150")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["clone 154 155", "move-volume 154 rootfs local"])
def test_a_copy_whose_client_is_gone_leaves_no_volume(slow: Lab, verb: str) -> None:
    slow.run(f"pct create 154 {TEMPLATE} --rootfs btr:1")
    before = slow.run("cat /etc/pve/lxc/154.conf; ls /etc/pve/lxc; pvesm list btr; pvesm list local")
    cut(slow, f"pct {verb}", 1.2)
    assert slow.run("cat /etc/pve/lxc/154.conf; ls /etc/pve/lxc; pvesm list btr; pvesm list local") == before
    assert slow.run("tail -1 /var/log/pve/tasks/index")[1].endswith(" broken pipe\n")
    assert slow.run("pct destroy 154")[0] == 0


@pytest.mark.slow
def test_a_start_whose_client_is_gone_finishes(slow: Lab) -> None:
    slow.run(f"pct create 151 {TEMPLATE} --rootfs btr:1 --features nesting=1")
    cut(slow, "pct start 151", 1.2)
    assert slow.run("pct status 151")[1] == "status: running\n"
    assert slow.run("tail -1 /var/log/pve/tasks/index")[1].rstrip().endswith(" OK")


@pytest.mark.slow
def test_a_detached_create_outlives_its_client(slow: Lab) -> None:
    script = f"pct create 152 {TEMPLATE} --rootfs btr:1 >/root/log 2>&1; echo $? >/root/rc"
    cut(slow, f"setsid sh -c '{script}' </dev/null >/dev/null 2>&1 & sleep 0.1", 0.2)
    deadline = time.monotonic() + 20
    while not Path(slow.root, "root/rc").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert slow.run("cat /root/rc; ls /etc/pve/lxc/152.conf")[1] == "0\n/etc/pve/lxc/152.conf\n"


@pytest.mark.slow
def test_a_create_that_is_killed_leaves_its_lock_which_unlock_and_destroy_clear(slow: Lab) -> None:
    slow.run(f"pct create 153 {TEMPLATE} --rootfs btr:1 >/dev/null 2>&1 & sleep 1.5; kill -9 $!")
    assert "lock: create\n" in slow.run("cat /etc/pve/lxc/153.conf")[1]
    assert slow.run("pct destroy 153")[2] == "CT is locked (create)\n"
    assert slow.run("pct unlock 153 && pct destroy 153 --destroy-unreferenced-disks 1")[0] == 0
    assert "vm-153" not in slow.run("pvesm list btr")[1]
