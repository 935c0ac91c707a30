"""What is read of the node's guests: the script under real sh, and its answers as values."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.core.probe import Answer, compose, split, split_files
from fleet.domains.guests import probes, read

MARK = "fleet-mark"
AWKS = [name for name in ("mawk", "gawk", "original-awk", "busybox") if shutil.which(name)]


def answers(folder: Path, awk: str) -> dict[str, Answer]:
    """The probes' answers of a node whose /etc/pve is in the folder."""
    (folder / "bin").mkdir()
    program = folder / "bin/awk"
    program.write_text(f'#!/bin/sh\nexec {"busybox awk" if awk == "busybox" else awk} "$@"\n')
    program.chmod(0o755)
    ovs = folder / "bin/ovs-vsctl"
    ovs.write_text("#!/bin/sh\n[ $# = 2 ] && echo vmbr7\n")
    ovs.chmod(0o755)
    script = compose(probes(()), MARK).replace("/etc/pve", f"{folder}/etc/pve")
    done = subprocess.run(
        ["sh", "-c", f"PATH={folder}/bin:$PATH\n{script}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return {
        name: Answer(each.text.replace(f"{folder}/etc/pve", "/etc/pve"), each.code)
        for name, each in split(done.stdout, MARK).items()
    }


@pytest.fixture(params=AWKS)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Answer]:
    """A node with two containers, one that has gone since the shell saw it, and an empty file."""
    (tmp_path / "etc/pve/nodes").mkdir(parents=True)
    (tmp_path / "etc/pve/lxc").mkdir()
    (tmp_path / "etc/pve/lxc/100.conf").write_text("hostname: a\n")
    (tmp_path / "etc/pve/lxc/101.conf").symlink_to("gone")
    (tmp_path / "etc/pve/lxc/102.conf").write_text("hostname: c\n#note")
    (tmp_path / "etc/pve/lxc/103.conf").write_text("")
    return answers(tmp_path, request.param)


def test_a_guest_that_goes_while_it_is_read_hides_no_other(node: dict[str, Answer]) -> None:
    found = read(node, MARK).guests
    assert {vmid: guest.name for vmid, guest in found.items()} == {100: "a", 102: "c", 103: "CT103"}
    assert found[102].config.current["description"] == "note"


def test_a_guest_that_goes_between_its_digest_and_its_text_is_no_guest_with_nothing_in_it(
    node: dict[str, Answer],
) -> None:
    late = f"{'0' * 40}  /etc/pve/lxc/104.conf\n"
    node["digests"] = Answer(node["digests"].text + "\n" + late, 0)
    assert 104 not in read(node, MARK).guests


def test_a_text_is_never_older_than_its_digest() -> None:
    names = [probe.name for probe in probes(())]
    assert names.index("digests") < names.index("guests")


def test_a_bridge_of_open_vswitch_is_a_bridge(node: dict[str, Answer]) -> None:
    assert "vmbr7" in read(node, MARK).bridges


def test_what_a_container_was_started_with_is_what_was_kept_else_what_proxmox_wrote_at_its_start(
    tmp_path: Path,
) -> None:
    unix = tmp_path / "unix"
    unix.write_text(
        "".join(
            f"0000000000000000: 00000002 00000000 00010000 0001 01 {vmid}7 @/var/lib/lxc/{vmid}/command\n"
            for vmid in (100, 101, 102)
        )
    )
    for vmid, text in ((100, "lxc.arch = amd64\nlxc.rootfs.path = /x\nlxc.cap.drop = a\n"), (101, "none\n")):
        (tmp_path / f"lxc/{vmid}").mkdir(parents=True)
        (tmp_path / f"lxc/{vmid}/config").write_text(text)
    (tmp_path / "lxc-101-1017").write_text("lxc.rootfs.path = /y\nlxc.cap.drop = b")
    (tmp_path / "lxc-100-6").write_text("lxc.rootfs.path = /y\nlxc.cap.drop = of another start\n")
    (started,) = (probe for probe in probes(()) if probe.name == "started")
    for awk in AWKS:
        script = (
            compose([started], MARK)
            .replace("/proc/net/unix", str(unix))
            .replace("/run/fleet", str(tmp_path))
            .replace('"/var/lib/lxc/', f'"{tmp_path}/lxc/')
            .replace("awk ", "busybox awk " if awk == "busybox" else f"{awk} ")
        )
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=30)
        assert split_files(split(done.stdout, MARK)["started"].text, MARK) == {
            "100": "lxc.cap.drop = a\n",
            "101": "lxc.cap.drop = b\n",
        }, awk
