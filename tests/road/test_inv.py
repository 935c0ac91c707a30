"""End to end: `inv` as a process, against the lab behind its SSH server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.road import fleets
from tests.road.operator import ROOT
from tests.road.world import State, World

INV = Path(sys.executable).with_name("inv")

TWO = {"web": fleets.guest(100, tags="front"), "db": fleets.guest(101, template="alpine", started=False)}


@dataclass
class Inv:
    """A fleet's folder, and `inv` run in it."""

    folder: Path

    def write(self, containers: Mapping[str, Mapping[str, Any]], **sections: Any) -> Path:
        return fleets.write(self.folder, fleets.fleet(containers, **sections))

    def __call__(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which must be this exit code, and no traceback ever."""
        done = subprocess.run([INV, *words], cwd=self.folder, capture_output=True, text=True, timeout=110)
        assert done.returncode == code, (
            f"inv {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        assert "Traceback" not in done.stdout + done.stderr
        assert "in a way it should not" not in done.stderr
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Run it in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            [INV, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )


@pytest.fixture
def inv(tmp_path: Path) -> Inv:
    """A folder with tasks.py and hosts.yml."""
    (tmp_path / "tasks.py").write_text((ROOT / "tasks.py").read_text())
    folder = Inv(tmp_path)
    folder.write(TWO)
    return folder


@pytest.fixture(scope="module")
def up(_world: World, prepared: State, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The node with the two guests of TWO."""
    _world.restore(prepared)
    folder = tmp_path_factory.mktemp("up")
    (folder / "tasks.py").write_text((ROOT / "tasks.py").read_text())
    made = Inv(folder)
    made.write(TWO)
    made("provision.all", "--yes")
    return _world.state()


@pytest.fixture
def node(_world: World, up: State) -> World:
    """The node with the two guests."""
    _world.restore(up)
    return _world


def until(happens: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something to happen."""
    patience = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < patience, "it did not happen"
        time.sleep(0.02)


def rest(run: subprocess.Popen[str]) -> tuple[str, str]:
    """What it still prints to its end; `communicate` would lose what a readline has read ahead."""
    assert run.stdout and run.stderr
    with run:
        err, out = run.stderr.read(), run.stdout.read()
    return out, err


# ── the road ──────────────────────────────────────────────────────────────────────────────────────


def test_a_fresh_node_is_made_as_hosts_yml_says_and_the_second_run_says_why_it_does_nothing(
    world: World, inv: Inv
) -> None:
    first = inv("provision.all", "--yes")
    assert "the host is as hosts.yml says" in first.stdout
    assert "done        web (100): create" in first.stderr
    assert world.names() == {100: "web", 101: "db"}
    assert world.running() == {100}
    second = inv("provision.all", "--yes")
    assert "pve: nothing to do" in second.stdout
    assert "= unchanged: running, as hosts.yml says (1): web (100)" in second.stdout
    assert "= unchanged: stopped, as hosts.yml says (1): db (101)" in second.stdout


@pytest.mark.timeout(300)
def test_the_reference_homelab_of_28_containers_comes_up_and_stays(world: World, inv: Inv) -> None:
    hosts = str(ROOT / "hosts.yml")
    inv("provision.all", "--yes", "--inventory", hosts)
    assert (len(world.names()), len(world.running())) == (28, 27)
    assert world.leftovers() == []
    again = inv("provision.all", "--yes", "--inventory", hosts)
    assert "pve: nothing to do" in again.stdout
    status = json.loads(inv("status", "--json", "--inventory", hosts).stdout)
    states = [(each["status"], each["state"]) for each in status["containers"]]
    assert states.count(("running", "as hosts.yml says")) == 27
    assert states.count(("stopped", "as hosts.yml says")) == 1
    executions = world.lab.exec_count()
    inv("plan", "--inventory", hosts)
    assert world.lab.exec_count() - executions <= 2


def test_a_plan_of_a_converged_fleet_is_one_connection_and_at_most_two_executions(
    node: World, inv: Inv
) -> None:
    executions = node.lab.exec_count()
    inv("plan")
    assert node.lab.exec_count() - executions <= 2
    clients = {each["command"] for each in node.lab.execs()[executions:]}
    assert len(clients) <= 2


def test_a_node_of_proxmox_8_converges_too(
    inv: Inv, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_LAB_HOME", str(tmp_path_factory.mktemp("labs8")))
    inv("lab.up", "--pve-version", "8")
    try:
        inv.write({**TWO, "web": fleets.guest(100, dev0="/dev/dri/renderD128,gid=104", mp0="/data,mp=/data")})
        inv("provision.all", "--yes")
        inv.write({**TWO, "web": fleets.guest(100, dev1="/dev/fuse", mp0="/data,mp=/data,ro=1")})
        inv("provision.all", "--yes", "--restart")
        assert "pve: nothing to do" in inv("provision.all", "--yes", "--restart").stdout
    finally:
        inv("lab.down")


def test_a_user_who_is_not_root_works_through_sudo(node: World, inv: Inv) -> None:
    address = {"address": node.lab.host, "port": node.lab.port, "user": "admin"}
    files = {"identity-file": str(node.lab.key), "known-hosts": str(node.lab.known_hosts)}
    inv.write({**TWO, "web": fleets.guest(100, memory=512)}, node={"name": "pve", **address, **files})
    inv("provision.all", "--yes")
    assert "memory: 512" in node.config(100)
    inv.write(TWO, node={"name": "other", **address, **files})
    refused = inv("plan", code=1)
    assert "is the node pve, hosts.yml says node.name: other; nothing was changed" in refused.stderr


# ── plans ─────────────────────────────────────────────────────────────────────────────────────────


def test_check_and_plan_change_nothing_and_tell_by_their_exit_code_on_demand(node: World, inv: Inv) -> None:
    before = node.config(100)
    inv.write({**TWO, "web": fleets.guest(100, memory=512)})
    for words in (("plan",), ("provision.all", "--check", "--diff"), ("provision.one", "web", "--check")):
        done = inv(*words, "--detailed-exitcode", code=2)
        assert "memory: 256 -> 512" in done.stdout
        inv(*words)
    assert "$ pct set 100 --memory 512" in inv("plan", "--commands").stdout
    assert node.config(100) == before
    inv.write(TWO)
    inv("plan", "--detailed-exitcode")


def test_a_saved_plan_is_run_once_and_then_refused_as_stale(node: World, inv: Inv) -> None:
    inv.write({**TWO, "web": fleets.guest(100, memory=512)})
    inv("plan", "--out", "saved.json")
    assert oct((inv.folder / "saved.json").stat().st_mode & 0o777) == "0o600"
    node.run("pct set 100 --cores 2")
    done = inv("apply", "saved.json", "--yes", code=6)
    assert "the plan is stale, nothing was changed: guest 100 changed since; plan again" in done.stderr
    inv("plan", "--out", "saved.json")
    assert "memory: 256 -> 512" in inv("apply", "saved.json", "--check", "--detailed-exitcode", code=2).stdout
    inv("apply", "saved.json", "--yes")
    assert "memory: 512\n" in node.config(100)
    inv("apply", "saved.json", "--yes", code=6)
    (inv.folder / "saved.json").write_text("{}")
    assert "not a saved plan" in inv("apply", "saved.json", "--yes", code=1).stderr


def test_limit_and_exclude_say_which_guests_are_meant(node: World, inv: Inv) -> None:
    inv.write({"web": fleets.guest(100, memory=512, tags="front"), "db": fleets.guest(101, memory=512)})
    for words in (
        ("--limit", "web"),
        ("--exclude", "db"),
        ("--limit", "tag:front"),
        ("--limit", "status:running"),
    ):
        steps = json.loads(inv("plan", "--json", *words).stdout)["steps"]
        assert {step["subject"] for step in steps} == {"web (100)"}, words
    inv("provision.all", "--yes", "--limit", "w*")
    assert ("memory: 512" in node.config(100), "memory: 512" in node.config(101)) == (True, False)
    assert "nobody" in inv("plan", "--limit", "nobody", code=64).stderr


def test_json_is_all_that_stands_on_stdout(node: World, inv: Inv) -> None:
    inv.write({**TWO, "web": fleets.guest(100, memory=512)})
    assert json.loads(inv("plan", "--json").stdout)["steps"][0]["because"][0]["want"] == "512"
    run = json.loads(inv("provision.all", "--yes", "--json").stdout)
    assert (run["exit"], [step["outcome"] for step in run["steps"]], run["left"]) == (0, ["done"], [])
    assert json.loads(inv("status", "--json").stdout)["containers"][0]["status"] == "running"


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────


def test_destroy_refuses_until_every_word_is_said(node: World, inv: Inv) -> None:
    template = "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz"
    node.run(f"pct create 200 {template} --rootfs guests:1 --hostname foreign")
    inv.write({**TWO, "foreign": fleets.guest(200, net0="name=eth0,bridge=vmbr0,ip=dhcp")})
    volumes = node.volumes()
    assert "--allow-destroy=db" in inv("provision.destroy", "db", "--yes", code=6).stderr
    assert (
        "--allow-destroy=db" in inv("provision.destroy", "db", "--allow-destroy=web", "--yes", code=6).stderr
    )
    assert "--stop" in inv("provision.destroy", "web", "--allow-destroy=web", "--yes", code=6).stderr
    unmanaged = inv("provision.destroy", "foreign", "--allow-destroy=foreign", "--yes", code=6)
    assert "does not manage it" in unmanaged.stderr
    node.run("pct set 101 --protection 1")
    inv("provision.all", "--yes", "--limit", "db")
    assert "protection" in inv("provision.destroy", "db", "--allow-destroy=db", "--yes", code=6).stderr
    assert "did you mean web?" in inv("provision.destroy", "wep", "--allow-destroy=wep", code=64).stderr
    assert node.volumes() == volumes
    node.run("pct snapshot 100 before; zfs snapshot tank/guests/subvol-100-disk-0@mine")
    gone = inv("provision.destroy", "web", "--allow-destroy=web", "--stop", "--yes")
    assert "snapshots: before -> (not set)" in gone.stdout
    assert "snapshots of tank/guests/subvol-100-disk-0: before, mine -> (not set)" in gone.stdout
    assert gone.stdout.endswith("web is gone; hosts.yml still has it, so provision.all makes it anew\n")
    assert node.names() == {101: "db", 200: "foreign"}
    assert volumes - node.volumes() == {"tank/guests/subvol-100-disk-0"}


def test_a_question_that_waits_keeps_nobody_from_the_node_and_is_stale_once_it_changed(
    node: World, inv: Inv
) -> None:
    inv.write({**TWO, "web": fleets.guest(100, memory=512)})

    def answered(meanwhile: Callable[[], object]) -> tuple[int, str]:
        terminal, stdin = os.openpty()
        run = subprocess.Popen(
            [INV, "provision.all"],
            cwd=inv.folder,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert run.stderr
        asked = b""
        while b"[y/N]" not in asked:
            asked += (more := os.read(run.stderr.fileno(), 4096))
            assert more, asked.decode()
        meanwhile()
        os.write(terminal, b"y\n")
        _, err = run.communicate(timeout=60)
        os.close(terminal)
        os.close(stdin)
        return run.returncode, err.decode()

    code, err = answered(lambda: inv("provision.adopt", "web", "--yes"))
    assert (code, "done        web (100): update" in err) == (0, True), err
    inv.write({**TWO, "web": fleets.guest(100, memory=600)})
    code, err = answered(lambda: inv("provision.all", "--yes"))
    assert code == 6
    assert "the plan is stale, nothing was changed: guest 100 changed since; plan again" in err


def test_nothing_is_done_without_an_answer_where_nobody_can_be_asked(node: World, inv: Inv) -> None:
    inv.write({**TWO, "web": fleets.guest(100, memory=512)})
    assert "--yes" in inv("provision.all", code=6).stderr
    assert "memory: 256" in node.config(100)


def test_a_guest_without_the_tag_is_left_until_it_is_adopted(node: World, inv: Inv) -> None:
    node.run("pct set 100 --tags front")
    inv.write({**TWO, "web": fleets.guest(100, memory=512, tags="front")})
    assert "inv provision.adopt web" in inv("provision.all", "--yes", code=6).stdout
    assert "pve: nothing to do" in inv("plan", "--detailed-exitcode", code=2).stdout
    assert "memory: 256" in node.config(100)
    inv("provision.adopt", "web", "--yes")
    assert "tags: fleet;front\n" in node.config(100)
    assert "memory: 256" in node.config(100)
    inv("provision.all", "--yes")
    assert "memory: 512" in node.config(100)


def test_wrong_usage_and_a_wrong_hosts_yml_contact_nobody(node: World, inv: Inv) -> None:
    executions = node.lab.exec_count()
    for words in (("provision.al",), ("plan", "--limitt", "x"), ("provision.all", "--jobs", "0")):
        inv(*words, code=64)
    inv.write({"web": fleets.guest(100, memori=512)})
    assert "did you mean" in inv("plan", code=1).stderr.lower() + inv("plan", code=1).stdout.lower()
    assert node.lab.exec_count() == executions


def test_a_host_that_is_not_there_is_exit_4(inv: Inv) -> None:
    data = {"name": "pve", "address": "127.0.0.1", "port": 1, "memory": "32G"}
    inv.write(TWO, node=data)
    assert "no connection" in inv("plan", code=4).stderr


def test_a_guest_that_is_locked_is_said_and_left_and_the_others_are_done(node: World, inv: Inv) -> None:
    node.edit(100, r"\Aarch", "lock: backup\narch")
    inv.write({"web": fleets.guest(100, memory=512), "db": fleets.guest(101, memory=512)})
    done = inv("provision.all", "--yes", code=3)
    assert "locked: Proxmox holds a lock on it (backup)" in done.stdout
    assert ("memory: 512" in node.config(100), "memory: 512" in node.config(101)) == (False, True)


# ── when something goes wrong ─────────────────────────────────────────────────────────────────────


def test_one_guest_that_fails_stops_no_other_and_the_summary_names_it(node: World, inv: Inv) -> None:
    node.lab.faults.disk_full("docker")
    inv.write(
        {
            **TWO,
            "full": fleets.guest(102, mp0="docker:1,mp=/docker"),
            "after": fleets.guest(103, depends_on=["full"], started=False),
            "fine": fleets.guest(104, started=False),
        }
    )
    done = inv("provision.all", "--yes", code=3)
    assert "failed      full (102): create" in done.stderr
    assert "not run     full (102): start" in done.stderr
    assert "full (102): create" in done.stdout.split("read again:")[1]
    assert {103: "after", 104: "fine"}.items() <= node.names().items()
    node.lab.faults.clear()
    inv("provision.all", "--yes")
    assert 102 in node.running()


def test_quorum_that_is_lost_fails_the_change_and_loses_nothing(node: World, inv: Inv) -> None:
    inv.write({**TWO, "web": fleets.guest(100, memory=512), "new": fleets.guest(102, started=False)})
    volumes = node.volumes()
    node.lab.faults.quorum(lost=True)
    done = inv("provision.all", "--yes", code=3)
    assert "Permission denied" in done.stderr
    node.lab.faults.clear()
    inv("provision.all", "--yes")
    assert node.names()[102] == "new"
    assert len(node.volumes()) == len(volumes) + 1


def test_a_second_run_meets_the_lock_of_the_first_and_says_whose_it_is(node: World, inv: Inv) -> None:
    inv.write({**TWO, "web": fleets.guest(100, memory=512)})
    node.lab.faults.hold_config_lock(100)
    first = inv.start("provision.all", "--yes")
    try:
        until(lambda: list((node.root / "run/fleet/jobs").glob("*/pid")))
        second = inv("provision.all", "--yes", code=8)
        assert "another run holds the node" in second.stderr
        assert "running `provision.all` since" in second.stderr
        inv("plan")  # reading needs no lock
    finally:
        node.lab.faults.release_config_lock(100)
        out, err = first.communicate(timeout=60)
    assert first.returncode == 0, out + err


# ── Ctrl-C ────────────────────────────────────────────────────────────────────────────────────────


def test_ctrl_c_once_finishes_what_runs_and_starts_nothing_more(node: World, inv: Inv) -> None:
    inv.write({"web": fleets.guest(100, memory=512), "db": fleets.guest(101, memory=512)})
    node.lab.faults.hold_config_lock(100)
    run = inv.start("provision.all", "--yes", "--jobs", "1")
    until(lambda: list((node.root / "run/fleet/jobs").glob("*/pid")))
    os.killpg(run.pid, signal.SIGINT)
    assert run.stderr
    until(lambda: "stopping: waiting for 1 running step" in run.stderr.readline())  # type: ignore[union-attr]
    node.lab.faults.release_config_lock(100)
    out, err = rest(run)
    assert run.returncode == 130, out + err
    assert "done        web (100): update" in err
    assert "not run     db (101): update" in err
    assert ("memory: 512" in node.config(100), "memory: 512" in node.config(101)) == (True, False)
    assert node.leftovers() == []
    inv("provision.all", "--yes")


def test_ctrl_c_twice_leaves_it_to_the_host_and_the_next_run_follows_it(node: World, inv: Inv) -> None:
    inv.write({**TWO, "web": fleets.guest(100, memory=512)})
    node.lab.faults.hold_config_lock(100)
    run = inv.start("provision.all", "--yes")
    until(lambda: list((node.root / "run/fleet/jobs").glob("*/pid")))
    os.killpg(run.pid, signal.SIGINT)
    assert run.stderr
    until(lambda: "Ctrl-C again leaves" in run.stderr.readline())  # type: ignore[union-attr]
    os.killpg(run.pid, signal.SIGINT)
    out, err = rest(run)
    assert run.returncode == 130, out + err
    assert "detached    web (100): update" in err
    assert "the next run follows it" in err
    second = inv.start("provision.all", "--yes")
    assert second.stderr
    until(lambda: "web (100): update; following it" in second.stderr.readline())  # type: ignore[union-attr]
    node.lab.faults.release_config_lock(100)
    out, err = rest(second)
    assert second.returncode == 0, out + err
    assert "memory: 512" in node.config(100)
    assert node.leftovers() == []
