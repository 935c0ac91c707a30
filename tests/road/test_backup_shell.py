"""What backups do on the host, under real sh, where the host is not as it should be."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.core.command import command
from fleet.host.guarded import library

SET = "fleet-daily-20261123t070000z"


@dataclass
class Host:
    """A folder that stands for the node: fleet's state, and programs that say what they were asked."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "state" / "backups.log"

    @property
    def calls(self) -> list[str]:
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def program(self, name: str, body: str) -> None:
        """A program of this name, which writes down its words first."""
        file = self.root / "bin" / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.root}/calls"\n{body}\n')
        file.chmod(0o755)

    def run(
        self, *words: str, before: str = "", libraries: tuple[str, ...] = ("backup.sh",)
    ) -> subprocess.CompletedProcess[str]:
        """Calls a function of fleet's; `before` stands between the libraries and the call."""
        texts = [library(name) for name in ("prelude.sh", *libraries)]
        here = [text.replace("/etc/pve", f"{self.root}/pve") for text in texts]
        return subprocess.run(
            ["sh", "-c", "\n".join((*here, before, command(*words).sh()))],
            env={
                **os.environ,
                "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
                "FLEET_STATE": str(self.root / "state"),
                "FLEET_RUN": str(self.root / "run"),
                "FLEET_CGROUPS": str(self.root / "cgroups"),
            },
            capture_output=True,
            text=True,
            timeout=30,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A node with the guest 101."""
    for name in ("bin", "state", "pve/lxc", "cgroups"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "pve/lxc/101.conf").write_text("hostname: plain\nrootfs: guests:subvol-101-disk-0,size=8G\n")
    return Host(tmp_path)


# ── the record ────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_made_that_the_record_cannot_hold(host: Host) -> None:
    host.record.mkdir()  # as on a full disk: nothing can be written there
    host.program("zfs", "[ $1 = list ] && exit 1; exit 0")
    host.program("pct", "exit 0")
    for done in (
        host.run("fleet_take_zfs", SET, "5", "- run tank/data", "101 run tank/guests/subvol-101-disk-0"),
        host.run("fleet_take_pct", SET, "4", "101 pct tank/guests/subvol-101-disk-0"),
    ):
        assert f"fleet: failed 101 {host.record} cannot be written" in done.stdout
    assert not [call for call in host.calls if call.startswith(("zfs snapshot", "pct snapshot"))]


def test_a_line_that_a_full_disk_cut_short_spoils_no_other(host: Host) -> None:
    host.record.write_text("1795330800 making fleet-daily-20261123t07")
    assert host.run("fleet_record", "making", SET, f"tank/data@{SET}", "-").returncode == 0
    assert host.run("fleet_recorded", f"tank/data@{SET}").returncode == 0
    assert host.record.read_text().count("\n") == 2


def test_an_installation_that_a_power_cut_emptied_is_made_anew(host: Host) -> None:
    (host.root / "state/installation").touch()
    first = host.run("fleet_installation").stdout.strip()
    assert len(first) == 32
    assert host.run("fleet_installation").stdout.strip() == first


def test_without_an_installation_nothing_is_made(host: Host) -> None:
    (host.root / "state/installation").write_text("half\n")
    host.program("zfs", "exit 0")
    done = host.run("fleet_take_zfs", SET, "5", "- run tank/data")
    assert done.returncode != 0
    assert "holds no id of 32 digits: what it would mark is not made" in done.stderr
    assert host.calls == []


# ── Proxmox's own snapshots ───────────────────────────────────────────────────────────────────────


def test_a_snapshot_that_does_not_end_is_interrupted_and_its_guest_runs_on(host: Host) -> None:
    frozen = host.root / "cgroups/101/ns"
    frozen.mkdir(parents=True)
    (frozen / "cgroup.freeze").write_text("1\n")
    host.program("pct", f"echo 'frozen 1' >{frozen}/cgroup.events; exec sleep 20")
    done = host.run("fleet_take_pct", SET, "4", "101 pct", before="fleet_slow=0.5")
    assert "fleet: failed 101 pct snapshot did not end within 0.5 seconds" in done.stdout
    assert (frozen / "cgroup.freeze").read_text() == "0\n"
    assert "made" not in host.record.read_text().split()


def test_what_somebody_else_froze_stays_frozen(host: Host) -> None:
    frozen = host.root / "cgroups/101/ns"
    frozen.mkdir(parents=True)
    (frozen / "cgroup.freeze").write_text("1\n")
    (frozen / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    host.program("pct", "exec sleep 20")
    host.run("fleet_take_pct", SET, "4", "101 pct", before="fleet_slow=0.5")
    assert (frozen / "cgroup.freeze").read_text() == "1\n"


def test_a_guest_that_leaves_the_node_meanwhile_keeps_its_snapshot_in_the_record(host: Host) -> None:
    assert host.run("fleet_installation").returncode == 0
    ours = (host.root / "state/installation").read_text().strip()
    conf = host.root / "pve/lxc/101.conf"
    conf.write_text(f"hostname: plain\n\n[{SET}]\n#fleet%3A owner={ours} set={SET}\nsnaptime: 1795330800\n")
    host.run("fleet_record", "made", SET, f"101@{SET}", "-")
    host.program("pct", f"rm {conf}")
    done = host.run("fleet_drop_pct", "4", f"101 pct {SET}")
    assert "pct delsnapshot" in host.calls[-1]
    assert f"fleet: kept 101@{SET} the guest is no longer on this node" in done.stdout
    assert "removed" not in host.record.read_text().split()


def test_a_container_that_cannot_be_frozen_is_said_to_run_on(host: Host) -> None:
    done = host.run("fleet_freeze", "5", "101", before="fleet_running() { :; }")
    assert done.stdout == "fleet: running 101\n"
    assert host.run("fleet_freeze", "5", "101", before="fleet_running() { return 1; }").stdout == ""


def test_a_guest_of_ha_is_waited_for_as_ha_only_takes_orders(host: Host) -> None:
    (host.root / "pve/ha").mkdir()
    (host.root / "pve/ha/resources.cfg").write_text("ct: 101\n\tstate started\n")
    runs = host.root / "runs"
    runs.touch()
    later = f"(sleep 0.5; [ $1 = start ] && touch {runs} || rm {runs}) >/dev/null 2>&1 &"
    host.program("pct", f"{later}\nexit 0")
    done = host.run(
        "fleet_rollback", "101", "fleet-before-20261123t080000z", SET, "running",
        before=f"fleet_running() {{ [ -e {runs} ]; }}; fleet_rolled_back() {{ [ ! -e {runs} ]; }}",
        libraries=("backup.sh", "restore.sh"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [call.split()[1] for call in host.calls] == ["shutdown", "start"]
    assert runs.exists()


# ── archives ──────────────────────────────────────────────────────────────────────────────────────

#: As `pvesh get /nodes/localhost/storage/pbs/content` prints it of a backup server that has verified it.
OF_PBS = """[
   {
      "content" : "backup",
      "ctime" : 1795330800,
      "format" : "pbs-ct",
      "notes" : "fleet: owner=OWNER set=SET plain",
      "protected" : 1,
      "size" : 5000,
      "subtype" : "lxc",
      "verification" : {
         "state" : "ok",
         "upid" : "UPID:pbs:0000"
      },
      "vmid" : 101,
      "volid" : "pbs:backup/ct/101/2026-11-22T07:00:00Z"
   }
]
"""


def test_an_archive_that_a_backup_server_has_verified_is_one(host: Host) -> None:
    (host.root / "answer").write_text(OF_PBS)
    host.program("pvesh", f"cat {host.root}/answer")
    done = host.run("fleet_archives", "pbs", "101", libraries=("backup.sh", "dump.sh"))
    assert done.stdout.splitlines() == [
        "pbs:backup/ct/101/2026-11-22T07:00:00Z\t1795330800\t5000\t1\tfleet: owner=OWNER set=SET plain"
    ]


# ── replicas ──────────────────────────────────────────────────────────────────────────────────────

#: A `zfs` as on FreeBSD or Alpine: what comes after the first operand is an operand. It knows two copies.
STRICT_ZFS = """
case $1 in
list)
    case $* in
    *"-o name -d"*) printf 'backup/pve\\nbackup/pve/tank:data\\n' ;;
    *fleet:replica*) printf 'mark\\t-\\n' ;;
    *) [ -e gone ] || printf 'backup/pve/tank:data@fleet-daily-20261120t070000z\\t11\\n'
        printf 'backup/pve/tank:data@fleet-daily-20261121t070000z\\t22\\n' ;;
    esac ;;
get)
    shift
    while getopts Hps:o: option; do :; done
    shift $((OPTIND - 1))
    [ $# -eq 2 ] || { echo "cannot open '$2': invalid name" >&2; exit 1; }
    case $1 in fleet:replica) echo mark ;; userrefs) echo 0 ;; clones) echo ;; esac ;;
destroy) touch gone ;;
esac
"""


def test_a_copy_is_removed_where_options_have_to_come_first(host: Host) -> None:
    name, copy = "fleet-daily-20261120t070000z", "backup/pve/tank:data"
    host.program("zfs", f"cd {host.root}\n{STRICT_ZFS}")
    host.run("fleet_record", "made", name, f"{copy}@{name}", "11")
    done = host.run(
        "fleet_drop_copies", "-", "backup/pve", copy, "mark", "22", f"{name}=11",
        libraries=("backup.sh", "dump.sh", "send.sh"),
    )  # fmt: skip
    assert done.stdout == ""
    assert done.returncode == 0
    assert f"zfs destroy {copy}@{name}" in host.calls


# ── back in its place ─────────────────────────────────────────────────────────────────────────────


def test_a_guest_that_was_started_again_is_not_put_back(host: Host) -> None:
    conf = host.root / "pve/lxc/101.conf"
    before = conf.read_text()
    both = ("backup.sh", "dump.sh", "send.sh", "restore.sh")
    done = host.run("fleet_set_lock_now", "101", before="fleet_stopped() { return 1; }", libraries=both)
    assert done.returncode != 0
    assert "started again meanwhile" in done.stderr
    assert conf.read_text() == before
    assert host.run("fleet_set_lock_now", "101", libraries=both).returncode == 0
    assert "lock: rollback" in conf.read_text()


# ── beside transfers ──────────────────────────────────────────────────────────────────────────────


def removing(host: Host, *sent: str) -> subprocess.CompletedProcess[str]:
    """What the removal of two snapshots by ZFS and one of Proxmox says, while these guids are being sent."""
    (host.root / "state/installation").write_text("0" * 32)
    paths = ("tank/data@fleet-a-20261122t070000z", f"tank/data@{SET}")
    host.record.write_text("".join(f"1 made {SET} {path} -\n" for path in (*paths, f"101@{SET}")))
    section = f"[{SET}]\n#fleet%3A owner={'0' * 32} set={SET}\n"
    (host.root / "pve/lxc/101.conf").write_text(f"hostname: plain\n{section}")
    host.program(
        "zfs",
        "case $* in *guid,userrefs*) case $* in *20261122*) guid=11 ;; *101*) guid=33 ;; *) guid=22 ;; esac\n"
        f"printf 'guid\\t%s\\t-\\nfleet:owner\\t{'0' * 32}\\tlocal\\n' $guid ;; esac",
    )
    host.program("pct", "exit 0")
    (host.root / "run/sending").mkdir(parents=True)
    entries = command("fleet_drop_zfs", f"- {paths[0]} 11", f"- {paths[1]} 22").sh()
    holds = "".join(f'exec 8>>"$fleet_sending/{guid}"; flock 8\n' for guid in sent)
    before = f"{holds}{entries}\n"
    return host.run("fleet_drop_pct", "4", f"101 pct {SET} tank/subvol-101-disk-0@{SET}=33", before=before)


def test_a_snapshot_that_is_being_sent_is_not_removed_and_its_guest_not_left_locked(host: Host) -> None:
    done = removing(host, "22")
    assert f"fleet: kept tank/data@{SET} it is being sent to a replica" in done.stdout
    destroyed = [call for call in host.calls if call.startswith(("zfs destroy", "pct delsnapshot"))]
    assert destroyed == ["zfs destroy tank/data@fleet-a-20261122t070000z", f"pct delsnapshot 101 {SET}"]


def test_nor_is_one_of_proxmox_of_which_a_volume_is_being_sent(host: Host) -> None:
    done = removing(host, "33")
    assert f"fleet: kept 101@{SET} it is being sent to a replica" in done.stdout
    assert not [call for call in host.calls if call.startswith("pct delsnapshot")]
    assert len([call for call in host.calls if call.startswith("zfs destroy")]) == 2


def test_what_was_removed_just_now_is_not_sent(host: Host) -> None:
    host.program("zfs", "exit 1")
    words = ("-", "usb", "usb/copy", "mark", "filesystem", "plain", "0", f"tank/data@{SET}", "22", "full")
    done = host.run("fleet_send", *words, libraries=("backup.sh", "send.sh"))
    assert done.returncode == 1
    assert f"tank/data@{SET} was removed just now" in done.stdout
    assert not [call for call in host.calls if call.startswith("zfs send")]
