"""Two labs: `ssh` on the node of one runs commands on the other, over a link that can be cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]


@pytest.fixture(scope="module")
def nas(lab_home: Path) -> labs.Lab:
    return labs.reset("peers-nas", machine="replica")


@pytest.fixture(scope="module")
def pve(lab_home: Path, nas: labs.Lab) -> labs.Lab:
    return labs.reset("peers-pve", machine="homelab", peers={"nas": "peers-nas", "off": "peers-off"})


@pytest.fixture(autouse=True)
def _no_faults(pve: labs.Lab, nas: labs.Lab) -> Iterator[None]:
    yield
    for one in (pve, nas):
        one.faults.clear()


def wait_until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10"


def test_a_command_runs_on_the_other_node_with_its_streams_and_code(pve: labs.Lab) -> None:
    script = f"printf 'in\\n' | {SSH} root@nas 'hostname; cat; echo bad >&2; exit 7'"
    assert pve.run(script) == (7, "nas\nin\n", "bad\n")


def test_words_behind_the_host_are_one_command_line_for_its_shell(pve: labs.Lab) -> None:
    assert pve.run(f"{SSH} nas -- echo '$((1 + 1))' two </dev/null")[1] == "2 two\n"


def test_much_data_goes_both_ways(pve: labs.Lab) -> None:
    script = f"head -c 5000000 /dev/zero | {SSH} nas 'cat' | wc -c"
    assert pve.run(script)[1].strip() == "5000000"


def test_a_command_that_reads_nothing_does_not_hang_the_pipe(pve: labs.Lab) -> None:
    assert pve.run(f"head -c 3000000 /dev/zero | {SSH} nas 'exit 3'", timeout=20)[0] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere true", "ssh: Could not resolve hostname nowhere: Name or service not known\r\n"),
        ("off true", "ssh: connect to host off port 22: No route to host\r\n"),
        ("bob@nas true", "bob@nas: Permission denied (publickey,password).\r\n"),
        ("-o Batchmod=yes nas true", "command-line: line 0: Bad configuration option: batchmod\r\n"),
        ("-Z nas true", "unknown option -- Z\nusage: ssh "),
    ],
)
def test_ssh_says_why_it_gets_nowhere_and_exits_255(pve: labs.Lab, words: str, said: str) -> None:
    code, out, err = pve.run(f"ssh {words} </dev/null")
    assert (code, out, err[: len(said)]) == (255, "", said)


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        ("hostkey", "Host key verification failed.\r\n"),
        ("publickey", "root@nas: Permission denied (publickey,password).\r\n"),
        ("refused", "ssh: connect to host nas port 22: Connection refused\r\n"),
    ],
)
def test_a_connection_is_refused_on_demand(pve: labs.Lab, refuse: str, said: str) -> None:
    pve.faults.link("nas", refuse=refuse)
    assert pve.run(f"{SSH} nas true </dev/null") == (255, "", said)
    assert pve.run(f"{SSH} nas true </dev/null")[0] == 255
    pve.faults.clear()
    assert pve.run(f"{SSH} nas true </dev/null")[0] == 0


def test_a_link_is_cut_after_so_many_bytes_once(pve: labs.Lab, nas: labs.Lab) -> None:
    pve.faults.link("nas", after=100_000)
    code, _, err = pve.run(f"head -c 300000 /dev/zero | {SSH} nas 'cat >/tmp/got'")
    assert (code, err) == (255, "client_loop: send disconnect: Broken pipe\r\n")
    got = nas.root / "tmp/got"
    wait_until(lambda: got.stat().st_size == 100_000)
    assert pve.run(f"head -c 300000 /dev/zero | {SSH} nas 'cat >/tmp/got'")[0] == 0


def test_a_stream_that_was_cut_goes_on_where_it_broke_off(pve: labs.Lab, nas: labs.Lab, ok: Ok) -> None:
    ok(
        pve,
        "zfs create tank/data && head -c 400000 /dev/urandom >/tank/data/file && zfs snapshot tank/data@one",
    )
    pve.faults.link("nas", after=150_000)
    code, _, err = pve.run(f"zfs send tank/data@one | {SSH} nas zfs receive -s -u backup/data")
    assert code == 255
    assert "Partially received snapshot is saved." not in err, (
        "what the other end says does not come any more"
    )
    wait_until(lambda: nas.run("pgrep -f 'zfs.*receive'")[0] == 1)  # the other end sees it a moment later
    token = ok(pve, f"{SSH} nas zfs get -H -o value receive_resume_token backup/data </dev/null").strip()
    assert token.startswith("1-")
    ok(pve, f"zfs send -t {token} | {SSH} nas zfs receive -s -u backup/data")
    ok(nas, "zfs mount backup/data")
    assert ok(nas, "cksum </backup/data/file") == ok(pve, "cksum </tank/data/file")
    assert ok(nas, "zfs get -H -o value guid backup/data@one") == ok(
        pve, "zfs get -H -o value guid tank/data@one"
    )


def test_peers_can_be_changed_while_a_lab_is_up(pve: labs.Lab) -> None:
    labs.up("peers-pve", peers={"backup.example": "peers-nas"})
    assert pve.run("ssh backup.example hostname </dev/null")[1] == "nas\n"
    labs.up("peers-pve", peers={"nas": "peers-nas", "off": "peers-off"})
