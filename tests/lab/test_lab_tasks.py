"""`inv lab.*` as a process, as people use it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
INV = Path(sys.executable).parent / "inv"


def inv(home: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLEET_LAB_HOME": str(home)}
    return subprocess.run(
        [INV, *words], input=stdin, capture_output=True, text=True, cwd=REPO, env=environment, timeout=60
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("tasks")
    up = inv(home, "lab.up", "--name", "t", "--machine", "recording-btr")
    assert up.returncode == 0, up.stderr
    yield home
    inv(home, "lab.down", "--name", "t")


def test_up_says_how_to_log_in(home: Path) -> None:
    again = inv(home, "lab.up", "--name", "t")
    assert again.returncode == 0
    assert "Proxmox VE 9" in again.stdout and "ssh -p " in again.stdout


def test_status_as_json_has_all_that_an_ssh_client_needs(home: Path) -> None:
    facts = json.loads(inv(home, "lab.status", "--name", "t", "--json").stdout)
    assert facts["up"] and facts["host"] == "127.0.0.1" and facts["user"] == "root"
    assert Path(facts["key"]).stat().st_mode & 0o077 == 0
    assert facts["known_hosts_line"].startswith(f"[127.0.0.1]:{facts['port']} ssh-ed25519 ")


def test_a_home_of_labs_that_is_no_folder_is_an_error_without_a_traceback() -> None:
    for task in ("up", "reset"):
        done = inv(Path(os.devnull), f"lab.{task}", *(["--yes"] if task == "reset" else []))
        assert (done.returncode, done.stderr) == (
            1,
            "/dev/null cannot be the folder of the labs: File exists\n",
        )
    assert inv(Path(os.devnull), "lab.status").returncode == 1


def test_status_of_a_lab_that_is_not_up_is_exit_1_and_names_the_others(home: Path) -> None:
    done = inv(home, "lab.status", "--name", "other")
    assert done.returncode == 1 and "not up" in done.stdout and "t" in done.stdout


def test_exec_passes_streams_and_the_exit_code(home: Path) -> None:
    done = inv(home, "lab.exec", "cat; echo err >&2; exit 7", "--name", "t", stdin="in")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in", "err\n")


def test_another_machine_under_the_same_name_is_an_error_without_a_traceback(home: Path) -> None:
    done = inv(home, "lab.up", "--name", "t", "--machine", "homelab")
    assert done.returncode == 1 and "lab.reset --name t" in done.stderr and "Traceback" not in done.stderr


def test_reset_asks_first(home: Path) -> None:
    assert inv(home, "lab.exec", "touch /root/mine", "--name", "t").returncode == 0
    refused = inv(home, "lab.reset", "--name", "t")
    assert refused.returncode == 6 and inv(home, "lab.exec", "ls /root/mine", "--name", "t").returncode == 0
    assert inv(home, "lab.reset", "--name", "t", "--yes").returncode == 0
    assert inv(home, "lab.exec", "ls /root/mine", "--name", "t").returncode != 0


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("pool-health --pool tank", "pool_health", {"tank": "DEGRADED"}),
        ("zfs-busy --dataset tank/a", "zfs_busy", ["tank/a"]),
        ("zfs-slow --command snapshot --seconds 1.5", "zfs_slow", {"snapshot": 1.5}),
        ("zfs-rate --rate 1000", "zfs_rate", 1000),
        ("clock --seconds=-60", "clock", -60.0),
    ],
)
def test_faults_of_zfs_and_of_the_clock_are_set(home: Path, words: str, key: str, value: object) -> None:
    done = inv(home, "lab.fault", *words.split(), "--name", "t", "--json")
    assert json.loads(done.stdout)[key] == value
    inv(home, "lab.fault", "clear", "--name", "t")


def test_a_link_is_cut_or_refused_and_says_which_it_needs(home: Path) -> None:
    done = inv(home, "lab.fault", "link", "--peer", "nas", "--after", "1000", "--name", "t", "--json")
    link = json.loads(done.stdout)["links"][0]
    assert (link["peer"], link["after"], link["refuse"], link["times"]) == ("nas", 1000, None, 1)
    done = inv(home, "lab.fault", "link", "--name", "t")
    assert done.returncode == 64 and "after how many bytes" in done.stderr
    inv(home, "lab.fault", "clear", "--name", "t")


def test_peers_are_named_on_the_command_line(home: Path) -> None:
    assert inv(home, "lab.up", "--name", "t", "--peers", "nas=other,b=c").returncode == 0
    assert json.loads((home / "t" / "lab.json").read_text())["peers"] == {"nas": "other", "b": "c"}
    assert "HOST=LAB" in inv(home, "lab.up", "--name", "t", "--peers", "nas").stderr


def test_a_fault_is_set_shown_and_cleared(home: Path) -> None:
    assert inv(home, "lab.fault", "disk-full", "--name", "t", "--storage", "btr").returncode == 0
    assert json.loads(inv(home, "lab.fault", "show", "--name", "t", "--json").stdout) == {
        "disk_full": ["btr"]
    }
    assert inv(home, "lab.fault", "clear", "--name", "t").stdout == "nothing is set to fail\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch",), "no fault 'nosuch'"),
        (("kill",), "needs --command"),
        (("drop", "--when", "never"), "before, during or after"),
    ],
)
def test_a_wrong_fault_is_wrong_usage(home: Path, words: tuple[str, ...], said: str) -> None:
    done = inv(home, "lab.fault", *words, "--name", "t")
    assert done.returncode == 64 and said in done.stderr


def test_shell_attaches_the_terminal(home: Path) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "FLEET_LAB_HOME": str(home), "TERM": "dumb"}
    shell = subprocess.Popen(
        [INV, "lab.shell", "--name", "t"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=REPO,
        env=environment,
        start_new_session=True,
    )
    os.close(slave)
    os.write(master, b"echo node=$(hostname) tty=$(test -t 0 && echo yes); exit 5\n")
    seen, patience = b"", time.monotonic() + 20
    while b"node=pve tty=yes" not in seen and time.monotonic() < patience:
        if select.select([master], [], [], 0.5)[0]:
            seen += os.read(master, 4096)
    assert shell.wait(20) == 5, seen
    os.close(master)
    assert b"node=pve tty=yes" in seen
