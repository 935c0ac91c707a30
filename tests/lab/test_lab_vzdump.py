"""vzdump makes real archives, says what Proxmox says, and leaves what Proxmox leaves."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
DUMP = "/var/lib/vz/dump"
STORAGE = "/nodes/pve/storage/local"
VOLUMES = "--rootfs local-zfs:1 --mp0 local-zfs:1,mp=/data,backup=1 --mp1 local-zfs:1,mp=/cache"


@pytest.fixture(scope="module")
def node(lab_home: object) -> Iterator[labs.Lab]:
    found = labs.reset("vzdump", machine="recording-zfs")
    create = f"pct create 100 {TEMPLATE} --hostname web {VOLUMES} --features nesting=1 --start 1"
    assert found.run(create)[0] == 0
    assert found.run(f"pct create 101 {TEMPLATE} --hostname plain --rootfs local-zfs:1")[0] == 0
    yield found
    labs.down("vzdump")


@pytest.fixture
def lab(node: labs.Lab) -> Iterator[labs.Lab]:
    yield node
    node.faults.clear()
    node.run(f"pct unlock 100; pct unlock 101; rm -rf {DUMP}/*; pct set 100 --delete mp5")


def dumped(lab: labs.Lab) -> list[str]:
    return sorted(file.name for file in (lab.root / DUMP.lstrip("/")).iterdir())


def archives(lab: labs.Lab) -> list[str]:
    return [name for name in dumped(lab) if re.search(r"\.tar(\.(zst|gz))?$", name)]


def config(lab: labs.Lab, vmid: int = 100) -> str:
    return lab.run(f"cat /etc/pve/lxc/{vmid}.conf")[1]


def members(lab: labs.Lab, ok: Ok, archive: str, program: str) -> list[str]:
    return ok(lab, f"{program} < {DUMP}/{archive} | tar t").splitlines()


@pytest.mark.parametrize(
    ("compress", "ending", "program"),
    [("zstd", ".tar.zst", "zstd -dc"), ("gzip", ".tar.gz", "gzip -dc"), ("0", ".tar", "cat")],
)
def test_an_archive_is_what_its_name_says(
    lab: labs.Lab, ok: Ok, compress: str, ending: str, program: str
) -> None:
    if lab.run(f"command -v {program.split(maxsplit=1)[0]}")[0]:
        pytest.skip(f"no {program} here")
    ok(lab, "pct exec 100 -- sh -c 'echo kept > /root/kept; echo data > /data/file; echo no > /cache/file'")
    ok(lab, f"vzdump 100 --storage local --compress {compress}")
    (archive,) = archives(lab)
    assert re.fullmatch(rf"vzdump-lxc-100-\d{{4}}_\d\d_\d\d-\d\d_\d\d_\d\d{re.escape(ending)}", archive)
    inside = members(lab, ok, archive, program)
    assert inside[:3] == ["./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw", "./"]
    assert {"./root/kept", "./data/file"} <= set(inside) and "./cache/file" not in inside
    text = ok(lab, f"{program} < {DUMP}/{archive} | tar xO ./etc/vzdump/pct.conf")
    assert "hostname: web\n" in text and "lock" not in text and "vzdump" not in text


def test_the_owners_in_an_archive_are_those_that_the_guest_sees(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pct exec 100 -- sh -c 'echo w > /root/web; chown www-data:www-data /root/web'")
    ok(lab, "vzdump 100 --storage local")
    (archive,) = archives(lab)
    listed = ok(lab, f"tar tvf {DUMP}/{archive} --numeric-owner --no-recursion ./root/ ./root/web")
    assert [line.split()[1] for line in listed.splitlines()] == ["0/0", "33/33"]


def test_a_backup_of_two_volumes_tells_of_the_short_stop(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "mkdir -p /srv/x; pct set 100 --mp5 /srv/x,mp=/mnt/x")
    before = len(lab.frozen())
    text = ok(lab, "vzdump 100 --storage local --compress zstd")
    lines = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d+MiB/s", "T", line) for line in text.splitlines()]
    assert lines[1:13] == [
        "INFO: Starting Backup of VM 100 (lxc)",
        "INFO: Backup started at T",
        "INFO: status = running",
        "INFO: CT Name: web",
        "INFO: including mount point rootfs ('/') in backup",
        "INFO: including mount point mp0 ('/data') in backup",
        "INFO: excluding volume mount point mp1 ('/cache') from backup (disabled)",
        "INFO: excluding bind mount point mp5 ('/mnt/x') from backup (not a volume)",
        "INFO: backup mode: snapshot",
        "INFO: ionice priority: 7",
        "INFO: suspend vm to make snapshot",
        "INFO: create storage snapshot 'vzdump'",
    ]
    assert "INFO: cleanup temporary 'vzdump' snapshot" in lines
    assert lines[-1] == "INFO: Backup job finished successfully"
    frozen = lab.frozen()[before:]
    assert frozen and all(vmid == 100 and seconds < 1 for vmid, seconds in frozen)
    assert lab.still_frozen() == []
    assert "vzdump" not in config(lab) and "lock" not in config(lab)
    assert "@vzdump" not in ok(lab, "zfs list -t snapshot -o name")


def test_a_suspended_guest_is_copied_twice_and_runs_again(lab: labs.Lab, ok: Ok) -> None:
    text = ok(lab, "vzdump 100 --mode suspend --storage local")
    assert re.search(
        r"starting first sync /proc/\d+/root/ to /var/lib/vz/dump/vzdump-lxc-100-\S+\.tmp\n", text
    )
    assert "INFO: guest is online again after <1 seconds\n" in text
    assert lab.still_frozen() == []
    assert not [name for name in dumped(lab) if name.endswith((".tmp", ".dat"))]
    (archive,) = archives(lab)
    assert "./data/" in members(lab, ok, archive, "cat")


def test_a_stopped_guest_is_started_again_after_its_backup(lab: labs.Lab, ok: Ok) -> None:
    text = ok(lab, "vzdump 100 --mode stop --storage local")
    assert "INFO: stopping virtual guest\n" in text and "INFO: restarting vm\n" in text
    assert ok(lab, "pct status 100") == "status: running\n"


def test_where_no_snapshot_can_be_the_guest_is_suspended(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "pvesm set local --content backup,images,iso,rootdir,snippets,vztmpl")
    ok(lab, f"pct create 110 {TEMPLATE} --rootfs local:1 --features nesting=1 --start 1")
    text = ok(lab, "vzdump 110 --storage local --mode snapshot")
    assert (
        "INFO: mode failure - some volumes do not support snapshots\n"
        "INFO: trying 'suspend' mode instead\nINFO: backup mode: suspend\n"
    ) in text
    ok(lab, "pct stop 110; pct destroy 110")


def test_what_is_excluded_is_not_in_the_archive(lab: labs.Lab, ok: Ok) -> None:
    ok(
        lab,
        "pct exec 100 -- sh -c 'mkdir -p /srv/big; cd /srv; echo x > big/f; echo x > a.iso; echo x > /tmp/t'",
    )
    ok(lab, "vzdump 100 --storage local --exclude-path /srv/big --exclude-path '*.iso'")
    (archive,) = archives(lab)
    inside = members(lab, ok, archive, "cat")
    assert "./srv/" in inside and "./tmp/" in inside
    assert not {"./srv/big/", "./srv/big/f", "./srv/a.iso", "./tmp/t"} & set(inside)


def test_notes_protection_and_log_lie_beside_the_archive(lab: labs.Lab, ok: Ok) -> None:
    ok(
        lab,
        r"vzdump 101 --storage local --notes-template '{{guestname}} {{vmid}} {{node}}\nmore' --protected 1",
    )
    (archive,) = archives(lab)
    assert ok(lab, f"cat {DUMP}/{archive}.notes") == "plain 101 pve\nmore"
    log = ok(lab, f"cat {DUMP}/{archive.removesuffix('.tar')}.log")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO: Starting Backup of VM 101 \(lxc\)\n", log)
    volid = f"local:backup/{archive}"
    code, _, err = lab.run(f"pvesm free {volid}")
    assert (code, err) == (0, f"cannot remove protected volume 'backup/{archive}' on 'local'\n")
    (entry,) = json.loads(
        ok(lab, "pvesh get /nodes/pve/storage/local/content --content backup --output-format json")
    )
    assert (entry["notes"], entry["protected"], entry["subtype"], entry["vmid"]) == (
        "plain 101 pve",
        1,
        "lxc",
        101,
    )
    ok(lab, f"pvesh set /nodes/pve/storage/local/content/{volid} --protected 0 --notes other")
    shown = json.loads(ok(lab, f"pvesh get /nodes/pve/storage/local/content/{volid} --output-format json"))
    assert (shown["notes"], shown["protected"]) == ("other", 0)
    assert "Removed volume" in ok(lab, f"pvesm free {volid}")
    assert dumped(lab) == []


def test_the_time_of_an_archive_is_that_of_its_name_in_the_nodes_zone(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, f"echo x > {DUMP}/vzdump-lxc-101-2026_03_08-02_30_00.tar; echo x > {DUMP}/mine-101-x.tar")
    listing = "pvesh get /nodes/pve/storage/local/content --content backup --output-format json"
    found = {entry["volid"]: entry["ctime"] for entry in json.loads(ok(lab, listing))}
    here = int(ok(lab, "date -d '2026-03-08 02:30:00' +%s"))
    assert found["local:backup/vzdump-lxc-101-2026_03_08-02_30_00.tar"] == here
    assert abs(found["local:backup/mine-101-x.tar"] - time.time()) < 60


def test_pruning_marks_and_removes_only_what_vzdump_named(lab: labs.Lab, ok: Ok) -> None:
    for day in (1, 2, 3):
        ok(lab, f"echo x > {DUMP}/vzdump-lxc-101-2026_01_0{day}-02_00_00.tar")
    ok(
        lab,
        f"cd {DUMP}; touch vzdump-lxc-101-2026_01_01-02_00_00.tar.protected; echo x > vzdump-lxc-101-a.tar",
    )
    plan = json.loads(
        ok(
            lab,
            f"pvesh get {STORAGE}/prunebackups --prune-backups keep-last=1 --output-format json",
        )
    )
    marks = {entry["volid"].rpartition("/")[2]: entry["mark"] for entry in plan}
    assert marks == {
        "vzdump-lxc-101-2026_01_01-02_00_00.tar": "protected",
        "vzdump-lxc-101-2026_01_02-02_00_00.tar": "remove",
        "vzdump-lxc-101-2026_01_03-02_00_00.tar": "keep",
        "vzdump-lxc-101-a.tar": "renamed",
    }
    text = ok(lab, "vzdump 101 --storage local --prune-backups keep-last=2")
    assert "INFO: pruned 1 backup(s) not covered by keep-retention policy\n" in text
    assert "vzdump-lxc-101-2026_01_02-02_00_00.tar" not in archives(lab) and len(archives(lab)) == 4


def test_a_limit_without_pruning_refuses_the_next_backup(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "vzdump 101 --storage local")
    code, out, err = lab.run("vzdump 101 --storage local --prune-backups keep-last=1 --remove 0")
    assert (code, err) == (255, "job errors\n") and "There is a max backup limit of 1 enforced" in out


def test_a_locked_guest_fails_and_the_others_are_backed_up(lab: labs.Lab) -> None:
    lab.run("pct set 100 --lock migrate")
    code, out, err = lab.run("vzdump 100 101 999 --storage local")
    assert (code, err) == (255, "job errors\n")
    assert "ERROR: Backup of VM 100 failed - CT is locked (migrate)\n" in out
    assert "ERROR: Backup of VM 999 failed - unable to find VM '999'\n" in out
    assert "INFO: Finished Backup of VM 101" in out and "INFO: Backup job finished with errors\n" in out
    assert [name[:14] for name in archives(lab)] == ["vzdump-lxc-101"]
    assert "lock: migrate" in config(lab)


def test_a_full_storage_leaves_the_log_only(lab: labs.Lab, ok: Ok) -> None:
    lab.faults.disk_full("local")
    code, out, err = lab.run("vzdump 100 --storage local --compress zstd")
    assert (code, err) == (255, "job errors\n")
    assert "No space left on device" in out
    assert re.search(
        r"ERROR: Backup of VM 100 failed - command 'set -o pipefail && .* failed: exit code 70\n", out
    )
    assert [name.rpartition(".")[2] for name in dumped(lab)] == ["log"]
    assert "lock" not in config(lab) and "@vzdump" not in ok(lab, "zfs list -t snapshot -o name")


def test_a_guest_that_does_not_freeze_fails_its_backup_and_runs_on(lab: labs.Lab, ok: Ok) -> None:
    lab.faults.freeze(100, ms=None)
    code, out, _ = lab.run("vzdump 100 --storage local", timeout=30)
    assert code == 255 and "ERROR: Backup of VM 100 failed - command failed: Operation not permitted\n" in out
    assert "lock" not in config(lab)
    assert lab.still_frozen() == [100]  # as Proxmox leaves it: asked to freeze
    ok(lab, "echo 0 > /sys/fs/cgroup/lxc/100/cgroup.freeze")


def test_a_killed_vzdump_leaves_the_lock_the_snapshot_and_half_an_archive(lab: labs.Lab, ok: Ok) -> None:
    job = threading.Thread(target=lambda: lab.run("vzdump 100 --storage local --bwlimit 20000"))
    job.start()
    deadline = time.monotonic() + 20
    while not [name for name in dumped(lab) if name.endswith(".dat")]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ok(lab, "kill -9 $((16#$(cut -d: -f3 /var/run/vzdump.pid)))")
    job.join()
    left = {name.partition("-lxc-100-")[2][19:] for name in dumped(lab)}
    assert left == {".dat", ".tmp"}
    assert "lock: backup\n" in config(lab) and "\n[vzdump]\n" in config(lab)
    assert "@vzdump" in ok(lab, "zfs list -t snapshot -o name")
    code, out, _ = lab.run("vzdump 100 --storage local")
    assert code == 255 and "CT is locked (backup)" in out
    ok(lab, "pct unlock 100")
    assert "INFO: found old vzdump snapshot (force removal)\n" in ok(lab, "vzdump 100 --storage local")
    assert "vzdump" not in config(lab)


def test_an_interrupted_vzdump_tidies_up(lab: labs.Lab, ok: Ok) -> None:
    code, out, err = lab.run(
        "vzdump 100 --storage local --bwlimit 20000 > /tmp/out & "
        "for i in $(seq 500); do ls /var/lib/vz/dump/*.dat 2>/dev/null && break; sleep 0.01; done; "
        "kill -TERM $!; wait $!; code=$?; cat /tmp/out; exit $code"
    )
    assert (code, err) == (255, "interrupted by signal\n")
    assert "ERROR: Backup of VM 100 failed - interrupted by signal\n" in out
    assert "ERROR: Backup job failed - interrupted by signal\n" in out
    assert "lock" not in config(lab) and "vzdump" not in config(lab)
    assert archives(lab) == []


def test_two_jobs_wait_for_each_other(lab: labs.Lab) -> None:
    code, out, _ = lab.run(
        "flock /var/run/vzdump.lock sleep 0.6 & sleep 0.2; vzdump 101 --storage local", timeout=20
    )
    assert code == 0
    assert out.startswith("INFO: trying to get global lock - waiting...\nINFO: got global lock\n")


def test_all_exclude_and_pool_choose_the_guests(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "echo 'pool:mine:a comment:101::' >> /etc/pve/user.cfg")
    assert ok(lab, "vzdump --pool mine --storage local").count("Starting Backup") == 1
    assert "VM 101" in ok(lab, "vzdump --exclude 100 --storage local")
    assert ok(lab, "vzdump --all --storage local --mode stop").count("Starting Backup") == 2
    assert lab.run("vzdump --pool nosuch --storage local")[0] != 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", "vmid: property is missing\n"),
        ("100 --all", "all: option conflicts with option 'vmid'\n"),
        ("100 --protected 1", "storage: missing property - 'protected' requires this property\n"),
        ("100 --compress rar", "compress: value 'rar' does not have a value in the enumeration"),
        (r"100 --storage local --notes-template '\x'", r"found unknown: escape sequence '\x' at char 0"),
        ("100 --storage local --notes-template '{{a}}'", "found unknown: variable 'a' at char 2"),
        ("100 --prune-backups keep-all=1,keep-last=2", "keep-all cannot be set together with other options."),
    ],
)
def test_wrong_parameters_are_refused(lab: labs.Lab, words: str, text: str) -> None:
    code, out, err = lab.run(f"vzdump {words}")
    assert code != 0 and out == ""
    assert err.startswith("400 Parameter verification failed.\n") and text in err
    assert err.endswith("vzdump {<vmid>} [OPTIONS]\n")


def test_a_storage_that_holds_no_backups_is_refused(lab: labs.Lab) -> None:
    assert lab.run("vzdump 100 --storage local-zfs") == (
        255,
        "",
        (
            "could not get storage information for 'local-zfs': "
            "can't use storage 'local-zfs' for backups - wrong content type\n"
        ),
    )


def test_a_quiet_job_says_nothing_and_still_fails(lab: labs.Lab) -> None:
    assert lab.run("vzdump 101 --storage local --quiet 1") == (0, "", "")
    assert lab.run("vzdump 999 --storage local --quiet 1") == (255, "", "")


def test_a_virtual_machine_fails_where_qemu_would_start(lab: labs.Lab) -> None:
    lab.run("qm create 300 --name vm --memory 512 --scsi0 local-zfs:1")
    code, out, _ = lab.run("vzdump 300 --storage local")
    assert code == 255
    assert "INFO: VM Name: vm\n" in out and re.search(r"INFO: include disk 'scsi0' '\S+' 1G\n", out)
    assert "INFO: starting kvm to execute backup task\nERROR: Backup of VM 300 failed - KVM" in out
    assert "lock" not in lab.run("cat /etc/pve/qemu-server/300.conf")[1]
    lab.run("qm destroy 300")


def test_an_archive_takes_the_room_that_it_is_said_to_be_long(lab: labs.Lab, ok: Ok) -> None:
    def used() -> int:
        listed = json.loads(ok(lab, "pvesh get /nodes/pve/storage/local/status --output-format json"))
        return int(listed["used"])

    before = used()
    ok(lab, "vzdump 101 --storage local --compress zstd")
    (archive,) = archives(lab)
    file = lab.root / DUMP.lstrip("/") / archive
    assert used() - before >= file.stat().st_size > 10 << 20
    assert file.stat().st_blocks * 512 < 5 << 20


def test_the_configuration_comes_out_of_an_archive(lab: labs.Lab, ok: Ok) -> None:
    ok(lab, "vzdump 101 --storage local --compress gzip")
    (archive,) = archives(lab)
    assert ok(lab, f"pvesm extractconfig local:backup/{archive}") == config(lab, 101)


def test_the_api_backs_up_prunes_and_deletes_as_the_commands_do(lab: labs.Lab, ok: Ok) -> None:
    for day in (1, 2):
        ok(lab, f"echo x > {DUMP}/vzdump-lxc-101-2026_01_0{day}-02_00_00.tar")
    out = ok(lab, "pvesh create /nodes/pve/vzdump --vmid 101 --storage local --prune-backups keep-last=2")
    assert re.search(r"^UPID:pve:\w+:\w+:\w+:vzdump:101:root@pam:$", out.splitlines()[-1])
    assert len(archives(lab)) == 2
    text = ok(lab, "pvesm prune-backups local --vmid 101 --keep-last 1 --dry-run 1")
    rows = [line.split() for line in text.splitlines()[3:]]
    assert rows[0] == ["Backup", "Backup-ID", "Prune-Mark"]
    assert [row[1:] for row in rows[1:]] == [["lxc/101", "remove"], ["lxc/101", "keep"]]
    assert len(archives(lab)) == 2
    assert ok(lab, "pvesm prune-backups local --vmid 101 --keep-last 1").startswith("removing backup 'local:")
    (left,) = archives(lab)
    assert "Removed volume" in ok(lab, f"pvesh delete {STORAGE}/content/local:backup/{left}")
    assert archives(lab) == []
    ok(lab, f"echo x > {DUMP}/vzdump-lxc-101-2026_01_01-02_00_00.tar")
    ok(lab, f"pvesh delete {STORAGE}/prunebackups --prune-backups keep-last=1")
    assert len(archives(lab)) == 1
