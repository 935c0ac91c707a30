"""The simulated `zfs send` and `zfs receive`: what arrives, what is refused, and streams that break off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.simzfs import Host

SIZE = 300_000


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A node with tank/a, which holds a file and has the snapshot @one, and the empty pool `other`."""
    made = Host(tmp_path, monkeypatch)
    made.ok("zfs create tank/a")
    made.write("/tank/a/etc/file", "first")
    made.write("/tank/a/gone", "soon")
    made.write("/tank/a/big", "x" * SIZE)
    made.ok("zfs snapshot tank/a@one")
    return made


def changed(host: Host) -> None:
    """Change tank/a and take @two."""
    host.write("/tank/a/etc/file", "second")
    (host.root / "tank/a/gone").unlink()
    (host.root / "tank/a/link").symlink_to("etc/file")
    host.ok("zfs snapshot tank/a@two")


def sent(host: Host, words: str) -> bytes:
    code, stream, err = host.raw(f"zfs send {words}")
    assert (code, err) == (0, "")
    return stream


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in root.rglob("*")
        if (path.is_symlink() or path.is_file()) and ".zfs" not in path.relative_to(root).parts
    }


# --- what arrives


def test_a_whole_stream_brings_the_files_guid_creation_and_space(host: Host) -> None:
    host.ok("zfs receive other/copy", sent(host, "tank/a@one"))
    assert files(host.root / "other/copy") == files(host.root / "tank/a")
    for what in ("guid", "creation", "referenced"):
        assert host.get(what, "other/copy@one") == host.get(what, "tank/a@one")
    assert host.get("guid", "other/copy") != host.get("guid", "tank/a")
    assert host.get("written", "other/copy") == "0"


@pytest.mark.parametrize("base", ["@one", "tank/a@one", "#mark"])
def test_an_incremental_stream_brings_only_what_differs(host: Host, base: str) -> None:
    whole = sent(host, "tank/a@one")
    host.ok("zfs receive other/copy", whole)
    host.ok("zfs bookmark tank/a@one #mark")
    changed(host)
    if base == "#mark":
        host.ok("zfs destroy tank/a@one")
    stream = sent(host, f"-i {base} tank/a@two")
    assert len(stream) < 5000 < len(whole)
    host.ok("zfs receive other/copy", stream)
    assert files(host.root / "other/copy") == files(host.root / "tank/a")
    assert files(host.root / "other/copy/.zfs/snapshot/one")["etc/file"] == "first"
    assert host.get("guid", "other/copy@two") == host.get("guid", "tank/a@two")


def test_capital_i_sends_the_snapshots_between_too(host: Host) -> None:
    host.ok("zfs receive other/copy", sent(host, "tank/a@one"))
    changed(host)
    host.ok("zfs snapshot tank/a@three")
    host.ok("zfs receive other/copy", sent(host, "-I @one tank/a@three"))
    assert host.ok("zfs list -H -o name -t snapshot other/copy").split() == [
        "other/copy@one",
        "other/copy@two",
        "other/copy@three",
    ]


def test_a_package_brings_all_below_with_their_snapshots_and_properties(host: Host) -> None:
    host.ok("zfs create -o fleet:note=x tank/a/below")
    host.write("/tank/a/below/file", "inner")
    changed(host)
    host.ok("zfs snapshot tank/a/below@two")
    host.ok("zfs receive other/copy", sent(host, "-R tank/a@two"))
    host.ok("zfs snapshot -r tank/a@three")
    host.ok("zfs receive other/copy", sent(host, "-R -I @two tank/a@three"))
    assert host.ok("zfs list -H -o name -t snapshot -r other/copy").split() == [
        "other/copy@one",
        "other/copy@two",
        "other/copy@three",
        "other/copy/below@two",
        "other/copy/below@three",
    ]
    assert host.ok("zfs get -Hp -o value,source fleet:note other/copy/below") == "x\treceived\n"
    assert files(host.root / "other/copy") == files(host.root / "tank/a")
    refused = host.run("zfs receive -F other/copy", sent(host, "-R tank/a@three"))
    assert "does not simulate" in refused[2]


def test_p_sends_properties_which_count_as_received(host: Host) -> None:
    host.ok("zfs set compression=lz4 fleet:note=x quota=1G tank/a")
    host.ok("zfs snapshot -o fleet:owner=me tank/a@two")
    host.ok("zfs receive other/copy", sent(host, "-p tank/a@two"))
    got = host.ok("zfs get -Hp -o value,source compression,fleet:note,quota other/copy")
    assert got == "lz4\treceived\nx\treceived\n1073741824\treceived\n"
    assert host.ok("zfs get -Hp -o value,source fleet:owner other/copy@two") == "me\treceived\n"
    host.ok("zfs receive other/bare", sent(host, "tank/a@two"))
    assert host.get("fleet:owner", "other/bare@two") == "-"


def test_o_sets_and_x_leaves_out_what_is_received(host: Host) -> None:
    host.ok("zfs set compression=lz4 fleet:note=x quota=1G tank/a")
    host.ok("zfs snapshot tank/a@two")
    stream = sent(host, "-p tank/a@two")
    host.ok("zfs receive -u -o readonly=on -o fleet:note=y -x compression -x quota other/copy", stream)
    got = host.ok("zfs get -Hp -o value,source readonly,fleet:note,compression,quota,mounted other/copy")
    assert got == "on\tlocal\ny\tlocal\non\tdefault\n0\tdefault\nno\t-\n"


def test_inherit_hides_a_received_value_and_capital_s_brings_it_back(host: Host) -> None:
    host.ok("zfs set fleet:note=x tank/a")
    host.ok("zfs receive other/copy", sent(host, "-p tank/a@one"))
    host.ok("zfs inherit fleet:note other/copy")
    assert host.get("fleet:note", "other/copy") == "-"
    host.ok("zfs inherit -S fleet:note other/copy")
    assert host.get("fleet:note", "other/copy") == "x"


def test_a_readonly_target_takes_streams(host: Host) -> None:
    host.ok("zfs receive -o readonly=on other/copy", sent(host, "tank/a@one"))
    changed(host)
    host.ok("zfs receive other/copy", sent(host, "-i @one tank/a@two"))
    assert host.get("readonly", "other/copy") == "on"


def test_a_snapshot_that_is_there_already_is_passed_over(host: Host) -> None:
    host.ok("zfs receive other/copy", sent(host, "tank/a@one"))
    changed(host)
    stream = sent(host, "-i @one tank/a@two")
    host.ok("zfs receive other/copy", stream)
    assert host.ok("zfs receive -v other/copy", stream) == (
        "receiving incremental stream of tank/a@two into other/copy@two\n"
        "snap other/copy@two already exists; ignoring\n"
    )


def test_later_snapshots_on_the_target_without_a_change_are_no_divergence(host: Host) -> None:
    host.ok("zfs receive other/copy", sent(host, "tank/a@one"))
    host.ok("zfs snapshot other/copy@theirs")
    changed(host)
    host.ok("zfs receive other/copy", sent(host, "-i @one tank/a@two"))


# --- what is refused


def test_a_changed_target_refuses_an_incremental_stream(host: Host) -> None:
    host.ok("zfs receive other/copy", sent(host, "tank/a@one"))
    host.write("/other/copy/etc/file", "local")
    changed(host)
    stream = sent(host, "-i @one tank/a@two")
    assert host.run("zfs receive other/copy", stream) == (
        1,
        "",
        (
            "cannot receive incremental stream: destination other/copy has been modified\n"
            "since most recent snapshot\n"
        ),
    )
    host.ok("zfs receive -F other/copy", stream)
    assert files(host.root / "other/copy") == files(host.root / "tank/a")


@pytest.mark.parametrize(
    ("target", "which", "said"),
    [
        (
            "other/copy",
            "-i @two tank/a@three",
            "incremental stream: most recent snapshot of other/copy does not\nmatch incremental source\n",
        ),
        (
            "other/copy",
            "tank/a@two",
            "new filesystem stream: destination 'other/copy' exists\nmust specify -F to overwrite it\n",
        ),
        ("other/none", "-i @one tank/a@two", "incremental stream: destination 'other/none' does not exist\n"),
        (
            "other",
            "tank/a@two",
            "new filesystem stream: destination 'other' exists\nmust specify -F to overwrite it\n",
        ),
    ],
)
def test_streams_that_do_not_fit_are_refused(host: Host, target: str, which: str, said: str) -> None:
    host.ok("zfs receive other/copy", sent(host, "tank/a@one"))
    changed(host)
    host.ok("zfs snapshot tank/a@three")
    assert host.run(f"zfs receive {target}", sent(host, which)) == (1, "", f"cannot receive {said}")


def test_a_missing_parent_is_named(host: Host) -> None:
    assert host.run("zfs receive other/no/copy", sent(host, "tank/a@one")) == (
        1,
        "",
        (
            "cannot open 'other/no': dataset does not exist\n"
            "cannot receive new filesystem stream: unable to restore to destination\n"
        ),
    )


def test_a_full_pool_takes_no_stream(host: Host) -> None:
    host.fault(disk_full=["other"])
    said = "cannot receive new filesystem stream: out of space\n"
    assert host.run("zfs receive other/copy", sent(host, "tank/a@one")) == (1, "", said)
    host.fault()
    assert host.run("zfs list other/copy")[0] == 1


def test_a_quota_that_is_exceeded_leaves_a_part_that_can_go_on(host: Host) -> None:
    host.ok("zfs create -o quota=300K other/small")
    said = "cannot receive new filesystem stream: destination other/small/copy space quota exceeded.\n"
    assert host.run("zfs receive other/small/copy", sent(host, "tank/a@one")) == (1, "", said)
    assert host.run("zfs list other/small/copy")[0] == 1
    assert host.run("zfs receive -s other/small/copy", sent(host, "tank/a@one")) == (1, "", said)
    host.ok("zfs set quota=none other/small")
    token = host.get("receive_resume_token", "other/small/copy")
    host.ok("zfs receive -s other/small/copy", sent(host, f"-t {token}"))
    assert files(host.root / "other/small/copy") == files(host.root / "tank/a")


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b"", "cannot receive: failed to read from stream\n"),
        (b"nothing", "cannot receive: failed to read from stream\n"),
        (b"no stream" * 50, "cannot receive: invalid stream (bad magic number)\n"),
    ],
)
def test_what_is_no_stream_is_refused(host: Host, stream: bytes, said: str) -> None:
    assert host.run("zfs receive other/copy", stream) == (1, "", said)


def test_a_damaged_stream_leaves_nothing(host: Host) -> None:
    stream = bytearray(sent(host, "tank/a@one"))
    stream[-2000] ^= 1
    assert host.run("zfs receive -s other/copy", bytes(stream)) == (
        1,
        "",
        "cannot receive new filesystem stream: checksum mismatch\n",
    )
    assert host.run("zfs list other/copy")[0] == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("tank/a@no", 1, "cannot open 'tank/a@no': dataset does not exist\n"),
        ("-i @no tank/a@one", 1, "cannot open 'tank/a@no': dataset does not exist\n"),
        (
            "-i #no tank/a@one",
            1,
            "warning: cannot send 'tank/a@one': incremental source (tank/a#no) does not exist\n",
        ),
        (
            "-i @two tank/a@one",
            1,
            "warning: cannot send 'tank/a@one': not an earlier snapshot from the same fs\n",
        ),
        (
            "-i other@x tank/a@one",
            1,
            "warning: cannot send 'tank/a@one': not an earlier snapshot from the same fs\n",
        ),
        ("-t 1-0-0-00", 1, "cannot resume send: resume token is corrupt (incorrect checksum)\n"),
        ("-h tank/a@one", 1, "this lab does not simulate `zfs send -h`\n"),
        (
            "-R tank/a@two",
            1,
            "cannot send tank/a@two recursively: snapshot tank/a/below@two does not exist\n",
        ),
        ("-Z tank/a@one", 2, "invalid option 'Z'\nusage:\n"),
        ("", 2, "missing snapshot argument\nusage:\n"),
    ],
)
def test_sends_are_refused_in_the_words_of_zfs(host: Host, words: str, code: int, said: str) -> None:
    changed(host)
    host.ok("zfs create tank/a/below")
    host.ok("zfs snapshot other@x")
    got = host.run(f"zfs send {words}")
    assert (got[0], got[2][: len(said)]) == (code, said)


# --- sizes and progress


def test_a_dry_run_prints_sizes_close_to_the_stream(host: Host) -> None:
    changed(host)
    kind, name, size, word, total = host.ok("zfs send -nvP tank/a@one").split()
    assert (kind, name, word) == ("full", "tank/a@one", "size")
    assert size == total
    assert abs(int(size) - len(sent(host, "tank/a@one"))) < 1000
    assert host.ok("zfs send -nvP -i @one tank/a@two").startswith("incremental\ttank/a@one\ttank/a@two\t")
    assert host.ok("zfs send -nv tank/a@one").startswith("full send of tank/a@one estimated size is 29")


# --- streams that break off


def test_a_cut_stream_leaves_nothing_without_s(host: Host) -> None:
    stream = sent(host, "tank/a@one")
    assert host.run("zfs receive other/copy", stream[:100_000]) == (
        1,
        "",
        "cannot receive new filesystem stream: incomplete stream\n",
    )
    assert host.run("zfs list other/copy")[0] == 1


def test_a_cut_stream_goes_on_with_its_token(host: Host) -> None:
    stream = sent(host, "-p tank/a@one")
    code, _, err = host.run("zfs receive -s other/copy", stream[:100_000])
    token = host.get("receive_resume_token", "other/copy")
    assert code == 1
    assert err == (
        "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\n"
        "Partially received snapshot is saved.\n"
        "A resuming stream can be generated on the sending system by running:\n"
        f"    zfs send -t {token}\n"
    )
    assert host.get("mounted", "other/copy") == "no"
    code, out, _ = host.run(f"zfs send -nvP -t {token}")
    assert code == 0
    assert out.startswith("resume token contents:\nnvlist version: 0\n")
    rest = sent(host, f"-t {token}")
    assert len(rest) < len(stream) - 90_000
    assert host.run("zfs receive -s other/copy", rest[:50_000])[0] == 1, "cut again"
    host.ok("zfs receive -s other/copy", sent(host, f"-t {host.get('receive_resume_token', 'other/copy')}"))
    assert files(host.root / "other/copy") == files(host.root / "tank/a")
    assert host.get("receive_resume_token", "other/copy") == "-"
    assert host.get("guid", "other/copy@one") == host.get("guid", "tank/a@one")


def test_an_incremental_stream_goes_on_too_and_nothing_else_comes_before_it(host: Host) -> None:
    host.ok("zfs receive other/copy", sent(host, "tank/a@one"))
    host.write("/tank/a/new", "y" * SIZE)
    changed(host)
    stream = sent(host, "-i @one tank/a@two")
    assert host.run("zfs receive -s other/copy", stream[:70_000])[0] == 1
    assert host.read("/other/copy/etc/file") == "first"
    assert host.run("zfs receive -s other/copy", stream) == (
        1,
        "",
        (
            "cannot receive incremental stream: destination other/copy contains "
            'partially-complete state from "zfs receive -s".\n'
        ),
    )
    token = host.get("receive_resume_token", "other/copy")
    host.ok("zfs receive -s other/copy", sent(host, f"-t {token}"))
    assert files(host.root / "other/copy") == files(host.root / "tank/a")


def test_the_rest_needs_the_snapshot_that_it_is_the_rest_of(host: Host) -> None:
    host.run("zfs receive -s other/copy", sent(host, "tank/a@one")[:100_000])
    token = host.get("receive_resume_token", "other/copy")
    host.ok("zfs destroy tank/a@one")
    gone = "cannot resume send: 'tank/a@one' used in the initial send no longer exists\n"
    assert host.run(f"zfs send -t {token}")[2] == gone
    host.ok("zfs snapshot tank/a@one")
    other = "cannot resume send: 'tank/a@one' is no longer the same snapshot used in the initial send\n"
    assert host.run(f"zfs send -t {token}")[2] == other


def test_capital_a_drops_what_came(host: Host) -> None:
    stream = sent(host, "tank/a@one")
    host.run("zfs receive -s other/copy", stream[:100_000])
    host.ok("zfs receive -A other/copy")
    assert host.run("zfs list other/copy")[0] == 1
    host.ok("zfs receive other/copy", stream)
    said = "'other/copy' does not have any resumable receive state to abort\n"
    assert host.run("zfs receive -A other/copy") == (1, "", said)
    assert not list((host.root / "var/lib/fleet-lab/zfs-data").glob("*.receiving"))


# --- while it runs


def wait_until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


class Pipe:
    """`zfs send` of tank/a@one into a `zfs receive`, as processes of their own, slowly."""

    def __init__(self, host: Host, *receive: str) -> None:
        host.fault(zfs_rate=100_000)
        script = "import sys; from fleet.lab.sim import zfs; sys.exit(zfs.main(['zfs', *sys.argv[1:]]))"
        words = [sys.executable, "-c", script]
        environment = {**os.environ, "FLEET_LAB_ROOT": str(host.root), "PYTHONPATH": str(Path.cwd())}
        reading, writing = os.pipe()
        self.sender = subprocess.Popen(
            [*words, "send", "-vP", "tank/a@one"], env=environment, stdout=writing, stderr=subprocess.PIPE
        )
        self.receiver = subprocess.Popen([*words, "receive", *receive], env=environment, stdin=reading)
        os.close(reading)
        os.close(writing)

    def kill_receiver(self) -> int:
        """The exit code of the sender, whose reader is gone."""
        self.receiver.kill()
        self.receiver.wait()
        self.sender.communicate(timeout=20)
        return self.sender.returncode


def spooled(host: Host) -> int:
    return sum(f.stat().st_size for f in (host.root / "var/lib/fleet-lab/zfs-data").glob("*.receiving"))


def test_a_slow_stream_keeps_both_ends_busy_and_leaves_a_token_when_it_is_killed(host: Host) -> None:
    pipe = Pipe(host, "-s", "other/copy")
    wait_until(lambda: spooled(host) > 60_000)
    busy = "cannot destroy snapshot tank/a@one: dataset is busy\n"
    assert host.run("zfs destroy tank/a@one") == (1, "", busy)
    assert host.run("zfs destroy other/copy") == (1, "", "cannot destroy 'other/copy': dataset is busy\n")
    assert pipe.kill_receiver() == -signal.SIGPIPE, "as zfs, which does not catch it"
    host.fault()
    token = host.get("receive_resume_token", "other/copy")
    host.ok("zfs receive -s other/copy", sent(host, f"-t {token}"))
    assert files(host.root / "other/copy") == files(host.root / "tank/a")
    host.ok("zfs destroy tank/a@one")


def test_a_killed_receive_without_s_leaves_nothing(host: Host) -> None:
    pipe = Pipe(host, "other/copy")
    wait_until(lambda: host.run("zfs list other/copy")[0] == 0)
    pipe.kill_receiver()
    assert host.run("zfs list other/copy")[0] == 1
    host.ok("zfs create other/copy")
