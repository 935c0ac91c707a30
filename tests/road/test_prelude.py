"""The functions that guards call on the host, under real sh and every awk that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.core.command import command
from fleet.host.guarded import prelude
from fleet.tools.pct.config import encode_description, parse_config

AWKS = [name for name in ("mawk", "gawk", "original-awk", "busybox") if shutil.which(name)]

#: The configuration of container 100 after 04-run.jsonl's changes, with every section that a file can have.
RECORDED = """#Fleet%3A media
#second line
arch: amd64
cores: 2
features: nesting=1
hostname: web
lxc.cap.drop: sys_time
lxc.mount.entry: /dev/dri dev/dri none bind,optional,create=dir
memory: 1024
mp0: tank:subvol-100-disk-1,mp=/srv,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:12:94:79,ip=10.0.0.2/24,type=veth
ostype: debian
parent: before
rootfs: guests:subvol-100-disk-0,size=8G
swap: 512
tags: fleet;media
unprivileged: 1

[pve:pending]
cores: 4
delete: !mp0,nameserver
features: nesting=1,fuse=1

[before]
cores: 1
hostname: old
lxc.cap.drop: nothing
memory: 256
rootfs: guests:subvol-100-disk-0,size=8G
snaptime: 1763800000
"""


@dataclass
class Host:
    """A folder that stands for the node's files, and one awk."""

    folder: Path
    awk: str

    def write(self, text: str, vmid: int = 100) -> Path:
        path = self.folder / "etc/pve/nodes/pve/lxc" / f"{vmid}.conf"
        path.write_text(text, encoding="utf-8")
        return path

    def ask(self, script: str) -> tuple[int, str]:
        """Exit code and stdout of a script that has the functions."""
        moved = prelude()
        for path in ("/etc/pve", "/proc/net/unix", "/run/lock/lxc", "/run/fleet"):
            moved = moved.replace(path, f"{self.folder}{path}")
        moved = moved.replace('"/var/lib/lxc/', f'"{self.folder}/var/lib/lxc/')  # sockets keep their names
        done = subprocess.run(
            ["sh", "-c", f"{moved}\n{script}"],
            env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
            capture_output=True,
            timeout=30,
        )
        assert b"yntax error" not in done.stderr, done.stderr
        return done.returncode, done.stdout.decode()

    def holds(self, *words: str) -> bool:
        return self.ask(command(*words).sh())[0] == 0


@pytest.fixture(scope="module", params=AWKS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """The host, once for each awk."""
    folder = tmp_path_factory.mktemp("host")
    for name in ("etc/pve/nodes/pve/lxc", "etc/pve/nodes/pve/qemu-server", "proc/net", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/pve/lxc").symlink_to("nodes/pve/lxc")
    there = shutil.which(request.param)
    assert there
    if request.param == "busybox":
        (folder / "bin/awk").write_text(f'#!/bin/sh\nexec {there} awk "$@"\n')
        (folder / "bin/awk").chmod(0o755)
    else:
        (folder / "bin/awk").symlink_to(there)
    return Host(folder, request.param)


def test_there_is_an_awk_to_test_with() -> None:
    assert AWKS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hostname", "web"),
        ("memory", "1024"),
        ("cores", "4"),
        ("features", "nesting=1,fuse=1"),
        ("mp0", None),
        ("nameserver", None),
        ("snaptime", None),
        ("description", "#Fleet%3A media\n#second line"),
        ("net", None),
        ("onboot", None),
    ],
)
def test_a_value_is_what_holds_after_the_next_restart(host: Host, key: str, value: str | None) -> None:
    host.write(RECORDED)
    code, out = host.ask(f"fleet_value 100 {key}")
    assert (code == 0, out.rstrip("\n")) == (value is not None, value or "")
    assert host.holds("fleet_unset", "100", key) == (value is None)


def test_a_value_of_a_guest_that_is_not_there_neither_is_nor_is_unset(host: Host) -> None:
    assert not host.holds("fleet_unset", "999", "memory")
    assert not host.holds("fleet_is", "999", "memory", "512")
    assert not host.holds("fleet_ours", "999", "web")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (("fleet_ours", "100", "web"), True),
        (("fleet_ours", "100", "old"), False),
        (("fleet_tagged", "100", "fleet"), True),
        (("fleet_tagged", "100", "flee"), False),
        (("fleet_tagged", "100", "med"), False),
        (("fleet_unlocked", "100"), True),
        (("fleet_settled", "100"), False),
        (("fleet_free", "100"), False),
        (("fleet_free", "101"), True),
        (("fleet_like", "100", "rootfs", "(.*,)?size=8G(,.*)?"), True),
        (("fleet_like", "100", "rootfs", "(.*,)?size=8(,.*)?"), False),
        (("fleet_size", "100", "rootfs", "8G"), True),
        (("fleet_size", "100", "rootfs", "8"), False),
        (("fleet_size", "100", "mp0", "1G"), True),  # whatever waits for the restart
        (("fleet_tags", "100", "Media;FLEET"), True),
        (("fleet_tags", "100", "media"), False),
        (("fleet_tags", "100", "fleet;media;web"), False),
        (
            (
                "fleet_raw_is",
                "100",
                "lxc.cap.drop: sys_time\nlxc.mount.entry: /dev/dri dev/dri none bind,optional,create=dir",
            ),
            True,
        ),
        (("fleet_raw_is", "100", "lxc.cap.drop: nothing"), False),
    ],
)
def test_a_question_about_a_recorded_file_has_this_answer(
    host: Host, question: tuple[str, ...], answer: bool
) -> None:
    host.write(RECORDED)
    assert host.holds(*question) is answer


def test_a_lock_or_a_foreign_tag_list_is_seen(host: Host) -> None:
    host.write("hostname: web\nlock: backup\ntags: a, Fleet b\n")
    assert not host.holds("fleet_unlocked", "100")
    assert host.holds("fleet_ours", "100", "web")
    host.write("hostname: web\nlock: create\ntags: fleet\n")
    assert not host.holds("fleet_ours", "100", "web")


def test_the_digest_is_of_the_files_bytes(host: Host) -> None:
    path = host.write(RECORDED)
    found = subprocess.run(["sha1sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert host.holds("fleet_digest", "100", found)
    host.write(f"{RECORDED}\n")
    assert not host.holds("fleet_digest", "100", found)


def test_a_running_container_is_one_with_a_command_socket(host: Host) -> None:
    (host.folder / "proc/net/unix").write_text(
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 21 @/var/lib/lxc/100/command\n"
        "0000000000000000: 00000003 00000000 00000000 0001 03 22\n"
    )
    assert host.holds("fleet_running", "100")
    assert host.holds("fleet_stopped", "10")
    assert host.holds("fleet_stopped", "1001")
    assert host.holds("fleet_started_anew", "100", "20")
    assert not host.holds("fleet_started_anew", "100", "21")
    assert not host.holds("fleet_started_anew", "101", "20")


def test_a_storage_option_is_compared_as_a_set(host: Host) -> None:
    (host.folder / "etc/pve/storage.cfg").write_text(
        "dir: local\n\tpath /var/lib/vz\n\tcontent vztmpl,iso,backup\n\n"
        "zfspool: guests\n\tpool tank/guests\n\tsparse\n\nnas2-nfs: nas\n\tpool elsewhere\n"
    )
    assert host.holds("fleet_storage", "guests")
    assert host.holds("fleet_storage", "nas")
    assert host.holds("fleet_no_storage", "guest")
    assert host.holds("fleet_storage_value", "local", "content", "backup,iso,vztmpl")
    assert not host.holds("fleet_storage_value", "local", "content", "backup,iso")
    assert not host.holds("fleet_storage_value", "guests", "content", "backup")
    assert host.holds("fleet_storage_value", "guests", "pool", "tank/guests")
    assert host.holds("fleet_storage_value", "guests", "sparse", "1")


def test_the_newest_template_is_by_version_and_no_download_in_work(host: Host, tmp_path: Path) -> None:
    for name in ("d-13_13.1-2.tar.zst", "d-13_13.1-10.tar.zst", "d-13_13.2.tar.zst.tmp.7"):
        (tmp_path / name).touch()
    assert host.ask(f"fleet_template {tmp_path} d-13")[1] == "d-13_13.1-10.tar.zst\n"
    assert (
        host.ask(f"fleet_template_volume local {tmp_path} d-13")[1] == "local:vztmpl/d-13_13.1-10.tar.zst\n"
    )
    assert host.holds("fleet_no_template", str(tmp_path), "d-12")
    assert host.holds("fleet_no_template", str(tmp_path / "none"), "d-13")


@pytest.mark.parametrize(
    ("architecture", "found", "asked"),
    [("amd64", "d_2_amd64.tar.zst", "d_2_i386.tar.zst"), ("arm64", "d_2_arm64.tar.zst", "d_2_i386.tar.zst")],
)
def test_a_template_is_one_of_the_nodes_architecture(
    host: Host, tmp_path: Path, architecture: str, found: str, asked: str
) -> None:
    names = ("d_1_amd64.tar.zst", "d_2_amd64.tar.zst", "d_2_arm64.tar.zst", "d_2_i386.tar.zst", "own.tar.gz")
    for name in names:
        (tmp_path / name).touch()
    listed = "\\n".join(f"system {name} any" for name in names)
    fakes = f"dpkg() {{ echo {architecture}; }}; pveam() {{ printf '{listed}\\n'; }}\n"
    for lookup in (f"fleet_template {tmp_path}", "fleet_available"):
        assert host.ask(f"{fakes}{lookup} d_")[1] == f"{found}\n"
        assert host.ask(f"{fakes}{lookup} d_2_i386")[1] == f"{asked}\n"
        assert host.ask(f"{fakes}{lookup} own")[1] == "own.tar.gz\n"


# ── the same reading as the planner's ─────────────────────────────────────────────────────────────

KEYS = ("memory", "mp0", "mp10", "net0", "features", "nameserver", "hostname", "tags")

_VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_characters="\x7f\x85\xa0"), min_size=1
)
_LINES = st.one_of(
    st.builds(
        lambda key, blank, value, end: f"{key}:{blank}{value}{end}",
        st.sampled_from(KEYS),
        st.sampled_from(("", " ", "  ", "\t")),
        _VALUES,
        st.sampled_from(("", " ", "\t ")),
    ),
    st.builds(lambda text: f"#{text}", _VALUES),
    st.sampled_from(("lxc.cap.drop: x", "lxc.cap.drop = y", "", "   ", "nonsense", "Memory: 1")),
)
_DELETES = st.builds(
    lambda keys, separator, force: f"delete: {separator.join(force + key for key in keys)}",
    st.lists(st.sampled_from(KEYS), min_size=1, unique=True),
    st.sampled_from((",", ", ", " ", ";")),
    st.sampled_from(("", "!")),
)


@st.composite
def configs(draw: Callable[..., object]) -> str:
    """The text of a config file: a main section, and perhaps pending changes and snapshots."""
    main = draw(st.lists(_LINES, max_size=8))
    pending = ["[pve:pending]", *draw(st.lists(_LINES | _DELETES, max_size=4))]  # type: ignore[misc]
    snapshot = ["[before]", *draw(st.lists(_LINES, max_size=3))]  # type: ignore[misc]
    sections = draw(
        st.sampled_from(([], pending, snapshot, [*pending, "", *snapshot], [*snapshot, "", *pending]))
    )
    return "\n".join([*main, *sections]) + "\n"  # type: ignore[misc]


@given(text=configs())
@settings(max_examples=25, deadline=None)
def test_the_host_reads_a_file_as_the_planner_does(host: Host, text: str) -> None:
    host.write(text)
    config = parse_config(text, "")
    _, out = host.ask(
        "\n".join(
            f"if found=$(fleet_value 100 {key}); then echo \"={key}=$found\"; else echo '={key}'; fi"
            for key in KEYS
        )
    )
    expected = [config.effective(key) for key in KEYS]
    assert out.splitlines() == [
        f"={key}" if value is None else f"={key}={value}" for key, value in zip(KEYS, expected, strict=True)
    ]


@given(
    text=configs(),
    lines=st.sampled_from(((), ("lxc.cap.drop: a",), ("lxc.net.0.x: $(b) 'c' \\n", "lxc.log.level: 1"))),
)
@settings(max_examples=20, deadline=None)
def test_writing_raw_lines_changes_nothing_else(host: Host, text: str, lines: tuple[str, ...]) -> None:
    path = host.write(text)
    before = parse_config(text, "")
    assert host.holds("fleet_raw", "100", "\n".join(lines))
    after = parse_config(path.read_text(encoding="utf-8"), "")
    assert after.raw == lines
    assert (after.current, after.pending, after.pending_delete, after.snapshots, after.unread) == (
        before.current,
        before.pending,
        before.pending_delete,
        before.snapshots,
        before.unread,
    )
    assert host.holds("fleet_raw_is", "100", "\n".join(lines))


def test_what_a_running_container_was_started_with_is_kept_before_its_raw_lines_change(host: Host) -> None:
    config = host.folder / "var/lib/lxc/100/config"
    config.parent.mkdir(parents=True)
    unix = host.folder / "proc/net/unix"
    kept = host.folder / "run/fleet"

    def change(inode: int, started: str) -> dict[str, str]:
        unix.write_text(f"0: 00000002 00000000 00010000 0001 01 {inode} @/var/lib/lxc/100/command\n")
        config.write_text(started)
        host.write("hostname: web\n")
        assert host.holds("fleet_raw", "100", "lxc.cap.drop: a")
        return {path.name: path.read_text() for path in kept.glob("lxc-*")}

    assert change(21, "as started") == {"lxc-100-21": "as started"}
    assert change(21, "written anew by pct set") == {"lxc-100-21": "as started"}
    assert change(22, "started again") == {"lxc-100-22": "started again"}
    unix.write_text("")


def test_raw_lines_are_not_written_past_a_lock(host: Host) -> None:
    path = host.write("hostname: web\nlock: backup\n")
    assert not host.holds("fleet_raw", "100", "lxc.cap.drop: a")
    assert path.read_text() == "hostname: web\nlock: backup\n"
    assert list(path.parent.glob("*.tmp*")) == []


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1))
@settings(max_examples=20, deadline=None)
def test_a_description_is_recognised_in_the_file_as_proxmox_encodes_it(host: Host, text: str) -> None:
    encoded = encode_description(text)
    host.write(f"{encoded}\nmemory: 512\n")
    assert host.holds("fleet_is", "100", "description", encoded)
    assert not host.holds("fleet_is", "100", "description", f"{encoded}.")
    if text.rstrip("\n"):
        assert parse_config(f"{encoded}\n", "").current["description"] == text.rstrip("\n")


def test_what_ha_manages_is_waited_for_and_nothing_else(host: Host) -> None:
    resources = host.folder / "etc/pve/ha/resources.cfg"
    resources.parent.mkdir(exist_ok=True)
    resources.write_text("ct: 100\n\tstate started\n\nct: 1001\n\tstate started\n")
    at_the_second_look = "tries=0; soon() { tries=$((tries + 1)); [ $tries -gt 1 ]; }\n"
    assert host.ask(f"{at_the_second_look}fleet_await_ha 100 soon && echo $tries") == (0, "2\n")
    assert host.ask("fleet_await_ha 101 false") == (0, "")
    resources.unlink()
    assert host.ask("fleet_await_ha 100 false") == (0, "")
