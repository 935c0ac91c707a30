"""Labs come up, go down and come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
REPO = Path(__file__).resolve().parents[2]


def test_up_leaves_a_lab_alone_that_is_up(shared: labs.Lab) -> None:
    assert labs.up("shared") == shared


def test_importing_the_lab_does_not_import_paramiko() -> None:
    code = "import fleet.lab, sys; sys.exit('paramiko' in sys.modules or 'cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO).returncode == 0


def test_concurrent_ups_give_one_lab(lab_home: Path) -> None:
    code = "import fleet.lab; lab = fleet.lab.up('race'); print(lab.port, lab.pid)"
    with ThreadPoolExecutor(4) as pool:
        said = set(
            pool.map(
                lambda _: (
                    subprocess.run(
                        [sys.executable, "-c", code], cwd=REPO, capture_output=True, check=True
                    ).stdout
                ),
                range(4),
            )
        )
    labs.down("race")
    assert len(said) == 1


def test_state_port_and_keys_survive_down_and_up(fresh: labs.Lab, ok: Ok) -> None:
    ok(fresh, "echo kept > /etc/pve/firewall/cluster.fw; echo gone > /run/gone; mkdir -p /data/x")
    known = fresh.known_hosts_line
    assert labs.down(fresh.name)
    assert labs.status(fresh.name) is None
    again = labs.up(fresh.name)
    assert (again.port, again.known_hosts_line) == (fresh.port, known)
    assert ok(again, "cat /etc/pve/firewall/cluster.fw; ls -d /data/x") == "kept\n/data/x\n"
    assert again.run("cat /run/gone")[0] != 0


def test_a_lab_of_an_older_fleet_is_brought_up_anew_with_its_state(fresh: labs.Lab, ok: Ok) -> None:
    ok(fresh, "mkdir -p /data/x")
    record = json.loads(fresh.files.record.read_text())
    fresh.files.record.write_text(json.dumps({**record, "code": "of another fleet"}))
    again = labs.up(fresh.name)
    assert again.pid != record["daemon"]
    assert ok(again, "ls /data").split() == ["x"]
    assert labs.up(fresh.name) == again


def test_a_restarted_lab_has_another_boot_id(fresh: labs.Lab, ok: Ok) -> None:
    before = ok(fresh, "cat /proc/sys/kernel/random/boot_id")
    labs.down(fresh.name)
    assert ok(labs.up(fresh.name), "cat /proc/sys/kernel/random/boot_id") != before


def test_reset_forgets_everything_but_port_and_keys(fresh: labs.Lab, ok: Ok) -> None:
    ok(fresh, "touch /root/mine; mkdir -m 000 /root/closed")
    again = labs.reset(fresh.name)
    assert again.run("ls /root/mine")[0] != 0
    assert (again.port, again.machine) == (fresh.port, "recording-btr")


def test_reset_can_make_another_machine(fresh: labs.Lab, ok: Ok) -> None:
    again = labs.reset(fresh.name, machine="homelab", pve_version=8)
    assert "pve-manager/8." in ok(again, "pveversion")
    assert "33554432 kB" in ok(again, "cat /proc/meminfo")


def test_another_machine_under_the_same_name_is_refused(shared: labs.Lab) -> None:
    with pytest.raises(
        labs.LabError, match=r"machine is recording-btr, not homelab.*lab\.reset --name shared"
    ):
        labs.up("shared", machine="homelab")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "-x", "x" * 65])
def test_a_bad_name_is_refused(lab_home: Path, name: str) -> None:
    with pytest.raises(labs.LabError, match="is no name for a lab"):
        labs.up(name)


def test_an_unknown_machine_is_refused_with_those_there_are(lab_home: Path) -> None:
    with pytest.raises(labs.LabError, match="homelab, recording-btr, recording-zfs, replica"):
        labs.up("nosuch", machine="nosuch")


def test_down_says_whether_it_was_up(lab_home: Path) -> None:
    assert not labs.down("never")


def test_the_sandbox_ends_with_its_daemon(fresh: labs.Lab) -> None:
    record = fresh.files.record.read_text()
    daemon = int(record.split('"daemon": ')[1].split(",")[0])
    node = fresh.pid
    os.kill(daemon, 9)
    patience = time.monotonic() + 5
    while Path(f"/proc/{node}").exists():
        assert time.monotonic() < patience
        time.sleep(0.01)
    assert labs.status(fresh.name) is None
    assert labs.up(fresh.name).run("true")[0] == 0


def test_a_lab_whose_directory_was_deleted_ends(fresh: labs.Lab) -> None:
    node = fresh.pid
    fresh.files.record.unlink()
    patience = time.monotonic() + 20
    while Path(f"/proc/{node}").exists():
        assert time.monotonic() < patience
        time.sleep(0.1)


def test_nothing_outside_can_be_seen_or_written(shared: labs.Lab, tmp_path: Path) -> None:
    assert shared.run(f"ls {tmp_path}")[0] != 0
    assert shared.run("ls /work")[0] != 0
    for place in (
        "/usr/x",
        "/usr/bin/x",
        "/bin/x",
        "/usr/local/lib/fleet-lab/sim/x",
        "/proc/meminfo",
        "/etc/alternatives/x",
    ):
        assert shared.run(f"echo x > {place}")[0] != 0, place


def test_only_loopback_is_in_the_node(shared: labs.Lab, ok: Ok) -> None:
    assert [line.split(":")[0].strip() for line in ok(shared, "cat /proc/net/dev").splitlines()[2:]] == ["lo"]


def test_the_node_is_what_its_machine_says(shared: labs.Lab, ok: Ok) -> None:
    assert ok(shared, "hostname; readlink /etc/pve/local; ls /etc/pve/lxc; readlink /etc/pve/lxc") == (
        "pve\nnodes/pve\nnodes/pve/lxc\n"
    )
    assert ok(shared, "nproc; uname -r; id -u") == "2\n6.18.44-fc-v657\n0\n"
    assert ok(shared, "dpkg --print-architecture") == "amd64\n"
    assert ok(shared, "dpkg-query -W -f '${Package} ${Version}\\n' lvm2") == "lvm2 2.03.31-2\n"
    assert "dir: local" in ok(shared, "cat /etc/pve/storage.cfg")
    assert "address 10.10.10.1/24" in ok(shared, "cat /etc/network/interfaces")


@pytest.mark.skipif(os.getuid() != 0, reason="the tests run as an ordinary user already")
def test_an_ordinary_user_has_the_same_lab(tmp_path: Path) -> None:
    """The system's Python runs it, for a user may not look into root's home, where this one may be."""
    python = "/usr/bin/python3"
    packages = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    good = "import sys, paramiko; assert sys.version_info >= (3, 11)"
    path = f"{REPO}:{packages}"
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin",
        "HOME": "/nonexistent",
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if subprocess.run([*user, python, "-c", good], env=environment, capture_output=True).returncode != 0:
        pytest.skip("no Python that an ordinary user can run this project with")
    home = Path("/tmp") / f"fleet-lab-test-{os.getpid()}"  # the parents of tmp_path are closed to others
    home.mkdir()
    os.chown(home, 65534, 65534)
    code = (
        "import fleet.lab as l\nlab = l.up('plain', machine='recording-btr')\n"
        "print(*lab.run('id -u; chown 100000:33 /srv; stat -c %u:%g /srv; pct create 100 "
        "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst --rootfs btr:1 --features nesting=1 >/dev/null "
        "&& pct start 100 && pct exec 100 -- id -u'))\n"
        "l.down('plain')\n"
    )
    done = subprocess.run(
        [*user, python, "-c", code],
        env={**environment, "FLEET_LAB_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    subprocess.run(["rm", "-rf", str(home)], check=True)
    assert done.stdout.split() == ["0", "0", "100000:33", "0"], done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="user namespaces can be turned off by root only")
def test_without_user_namespaces_the_error_says_what_to_do(tmp_path: Path) -> None:
    """In a user namespace that may hold no further ones: what a machine with max_user_namespaces=0 does."""
    code = "import fleet.lab as l\ntry: l.up('x')\nexcept l.LabError as error: print(error)\n"
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && exec {sys.executable} -c '{code}'".replace(
        "'x'", '"x"'
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script],
        cwd=REPO,
        text=True,
        capture_output=True,
        env={**os.environ, "FLEET_LAB_HOME": str(tmp_path)},
    )
    assert "user.max_user_namespaces" in done.stdout and "docker" in done.stdout.lower(), (
        done.stdout + done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr
