"""`pct restore` makes the container of an archive again, in Proxmox's order and with its traps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
NET = "name=eth0,bridge=vmbr0,ip=dhcp,hwaddr=BC:24:11:00:00:01"
DUMP = "/var/lib/vz/dump"


@pytest.fixture(scope="module")
def node(lab_home: object) -> Iterator[labs.Lab]:
    found = labs.reset("restore", machine="recording-zfs")
    script = (
        "mkdir -p /srv/shared /etc/pve/firewall && "
        "printf '[OPTIONS]\\nenable: 1\\n' > /etc/pve/firewall/100.fw && "
        f"pct create 100 {TEMPLATE} --hostname web --rootfs local-zfs:1 --mp0 local-zfs:2,mp=/data,backup=1 "
        f"--mp1 local-zfs:1,mp=/cache --net0 {NET} --features nesting=1 --description 'the web' && "
        "pct snapshot 100 before && pct set 100 --mp2 /srv/shared,mp=/shared && pct start 100 && "
        "pct exec 100 -- sh -c 'echo r > /root/r; echo d > /data/d; chown www-data:www-data /data/d; "
        "ln -s r /root/link; chmod 600 /root/r; echo c > /cache/c' && "
        "vzdump 100 --storage local --compress gzip && pct delsnapshot 100 before"
    )
    code, out, err = found.run(script)
    assert code == 0, out + err
    yield found
    labs.down("restore")


@pytest.fixture
def lab(node: labs.Lab) -> Iterator[labs.Lab]:
    yield node
    node.faults.clear()
    node.run(
        "for id in 120 121; do pct unlock $id; pct set $id --protection 0; pct destroy $id --force; done"
    )
    node.run(f"rm -f {DUMP}/vzdump-lxc-100-2001*")


@pytest.fixture
def archive(lab: labs.Lab) -> str:
    files = (lab.root / DUMP.lstrip("/")).glob("vzdump-lxc-100-20[2-9]*.tar.gz")
    return f"local:backup/{next(file.name for file in files)}"


def config(lab: labs.Lab, vmid: int) -> str:
    return lab.run(f"cat /etc/pve/lxc/{vmid}.conf")[1]


def volumes(lab: labs.Lab, vmid: int) -> list[str]:
    return re.findall(rf"subvol-{vmid}-disk-\d+", lab.run("zfs list -H -o name")[1])


def test_a_restored_container_has_the_files_owners_and_modes(lab: labs.Lab, ok: Ok, archive: str) -> None:
    out = ok(lab, f"pct restore 120 {archive} --storage local-zfs")
    assert out.startswith(
        f"recovering backed-up configuration from '{archive}'\nrestoring '{archive}' now..\n"
    )
    assert out.endswith("merging backed-up and given configuration..\n")
    ok(lab, "pct start 120")
    looked = ok(
        lab,
        "pct exec 120 -- sh -c 'cat /root/link /data/d; stat -c %U:%a /root/r /data/d; ls /cache; hostname'",
    )
    assert looked == "r\nd\nroot:600\nwww-data:644\nweb\n"


def test_volumes_are_new_and_of_the_old_size_bind_mounts_as_they_were(
    lab: labs.Lab, ok: Ok, archive: str
) -> None:
    ok(lab, f"pct restore 120 {archive} --storage local-zfs")
    text = config(lab, 120)
    assert "rootfs: local-zfs:subvol-120-disk-0,size=1G\n" in text
    assert "mp0: local-zfs:subvol-120-disk-1,mp=/data,backup=1,size=2G\n" in text
    assert "mp1: local-zfs:subvol-120-disk-2,mp=/cache,size=1G\n" in text  # empty: it was not in the backup
    assert "mp2: /srv/shared,mp=/shared\n" in text
    assert text.startswith("#the web\n") and "[before]" not in text and "parent" not in text
    assert "hwaddr=BC:24:11:00:00:01" in text
    assert ok(lab, "cat /etc/pve/firewall/120.fw") == "[OPTIONS]\nenable: 1\n"


def test_given_options_win_and_unique_makes_new_addresses_even_so(
    lab: labs.Lab, ok: Ok, archive: str
) -> None:
    ok(
        lab,
        f"pct restore 120 {archive} --storage local-zfs --hostname other --memory 64 --onboot 0 "
        "--net0 name=eth0,bridge=vmbr0,link_down=1",
    )
    assert {"hostname: other", "memory: 64"} < set(config(lab, 120).splitlines())
    assert re.search(r"net0: name=eth0,bridge=vmbr0,hwaddr=\S+,link_down=1,type=veth\n", config(lab, 120))
    ok(
        lab,
        f"pct restore 121 {archive} --storage local-zfs --unique 1 --net0 name=eth0,bridge=vmbr0,link_down=1",
    )
    net = next(line for line in config(lab, 121).splitlines() if line.startswith("net0: "))
    assert "ip=dhcp" in net and "link_down" not in net and "BC:24:11:00:00:01" not in net


def test_without_a_storage_it_is_local_whatever_the_archive_says(lab: labs.Lab, archive: str) -> None:
    code, _, err = lab.run(f"pct restore 120 {archive}")
    assert code != 0
    assert err.splitlines()[:2] == [
        "400 Parameter verification failed.",
        "storage: storage 'local' does not support container directories",
    ]


def test_a_given_rootfs_takes_all_the_files(lab: labs.Lab, ok: Ok, archive: str) -> None:
    ok(lab, f"pct restore 120 {archive} --rootfs local-zfs:3")
    assert "mp0" not in config(lab, 120) and volumes(lab, 120) == ["subvol-120-disk-0"]
    assert ok(lab, "cat /rpool/data/subvol-120-disk-0/data/d") == "d\n"


def test_an_existing_container_is_refused_without_force_and_replaced_with_it(
    lab: labs.Lab, ok: Ok, archive: str
) -> None:
    ok(lab, f"pct create 120 {TEMPLATE} --rootfs local-zfs:1 --features nesting=1; pct snapshot 120 old")
    refused = lab.run(f"pct restore 120 {archive} --storage local-zfs")
    assert refused == (2, "", "CT 120 already exists on node 'pve'\n")
    ok(lab, "pct start 120")
    assert (
        "can't overwrite running container"
        in lab.run(f"pct restore 120 {archive} --rootfs local-zfs:1 --force")[2]
    )
    ok(lab, "pct stop 120; pct set 120 --protection 1")
    assert "protection mode enabled" in lab.run(f"pct restore 120 {archive} --rootfs local-zfs:1 --force")[2]
    ok(lab, "pct set 120 --protection 0")
    ok(lab, f"pct restore 120 {archive} --storage local-zfs --force 1")
    assert volumes(lab, 120) == [f"subvol-120-disk-{number}" for number in (1, 2, 3)]
    assert "@old" not in ok(lab, "zfs list -t snapshot -o name")


@pytest.mark.parametrize("cut", [40, 1500])
def test_a_cut_archive_leaves_nothing_and_has_cost_the_container_that_it_was_to_replace(
    lab: labs.Lab, ok: Ok, archive: str, cut: int
) -> None:
    path = f"{DUMP}/vzdump-lxc-100-2001_01_01-00_00_00.tar.gz"
    source = f"{DUMP}/{archive.rpartition('/')[2]}"
    ok(lab, f"head -c {cut} {source} > {path}")
    ok(lab, f"pct create 120 {TEMPLATE} --rootfs local-zfs:1 --features nesting=1")
    code, out, err = lab.run(f"pct restore 120 {path} --storage local-zfs --force 1")
    assert code == 255 and err.startswith("unable to restore CT 120 - ")
    if cut == 40:  # not even its configuration can be read: nothing was touched
        assert "ERROR: archive contains no configuration file" in err
        assert "rootfs: local-zfs:subvol-120-disk-0" in config(lab, 120) and "lock" not in config(lab, 120)
    else:
        assert "gzip: stdin: unexpected end of file\n" in out and err.endswith("failed: exit code 2\n")
        assert config(lab, 120) == "" and volumes(lab, 120) == []


def test_unpack_errors_can_be_ignored(lab: labs.Lab, ok: Ok, archive: str) -> None:
    path = f"{DUMP}/vzdump-lxc-100-2001_01_01-00_00_00.tar.gz"
    ok(lab, f"head -c 5000 {DUMP}/{archive.rpartition('/')[2]} > {path}")
    out = ok(lab, f"pct restore 120 {path} --storage local-zfs --ignore-unpack-errors 1")
    assert "gzip: stdin: unexpected end of file\n" in out
    assert "hostname: web\n" in config(lab, 120)


def test_a_flipped_bit_is_found(lab: labs.Lab, ok: Ok) -> None:
    if lab.run("command -v zstd")[0]:
        pytest.skip("only zstd's own archives carry a checksum")
    ok(lab, "vzdump 100 --storage local --compress zstd")
    (file,) = (lab.root / DUMP.lstrip("/")).glob("*.zst")
    content = bytearray(file.read_bytes()[:200_000])
    content[3000] ^= 4
    with file.open("r+b") as damaged:
        damaged.write(content)
    code, _, err = lab.run(f"pct restore 120 local:backup/{file.name} --storage local-zfs")
    assert code == 255 and err.startswith("unable to restore CT 120 - ")
    assert config(lab, 120) == "" and volumes(lab, 120) == []
    ok(lab, f"rm {DUMP}/{file.name}*")


def test_a_full_target_leaves_nothing(lab: labs.Lab, archive: str) -> None:
    lab.faults.disk_full("local-zfs")
    code, _, err = lab.run(f"pct restore 120 {archive} --storage local-zfs")
    assert (code, err) == (
        255,
        (
            "unable to restore CT 120 - "
            "zfs error: cannot create 'rpool/data/subvol-120-disk-0': out of space\n"
        ),
    )
    assert config(lab, 120) == ""


def test_what_does_not_fit_is_not_restored(lab: labs.Lab, archive: str) -> None:
    code, out, _ = lab.run(f"pct restore 120 {archive} --rootfs local-zfs:0.05")
    assert code == 255 and "No space left on device" in out
    assert config(lab, 120) == "" and volumes(lab, 120) == []


def test_an_archive_that_is_not_there_is_named(lab: labs.Lab) -> None:
    name = "local:backup/vzdump-lxc-100-1999_01_01-00_00_00.tar.gz"
    code, _, err = lab.run(f"pct restore 120 {name} --storage local-zfs")
    assert (code, err) == (255, f"unable to restore CT 120 - volume '{name}' does not exist\n")
    assert config(lab, 120) == ""
