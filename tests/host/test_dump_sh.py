"""What the host's functions make of Proxmox's list of archives, under every awk that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

AWKS = [name for name in ("mawk", "gawk", "original-awk", "busybox") if shutil.which(name)]
ID = "0123456789abcdef0123456789abcdef"
SET = "fleet-dump-20261123t030000z"
VOLID = "pbs:backup/ct/107/2026-11-23T03:00:00Z"

#: As pvesh prints it: sorted keys, one a line; a backup server's entries have a table of their own inside.
LISTED = f"""[
   {{
      "content" : "backup",
      "ctime" : 1795402800,
      "format" : "pbs-ct",
      "notes" : "fleet: owner={ID} set={SET} web",
      "protected" : 1,
      "size" : 60173659,
      "subtype" : "lxc",
      "verification" : {{
         "state" : "ok",
         "upid" : "UPID:pbs:0001:0002:0003:verify:::root@pam:"
      }},
      "vmid" : 107,
      "volid" : "{VOLID}"
   }},
   {{
      "content" : "backup",
      "ctime" : 1795316400,
      "format" : "tar.zst",
      "notes" : "a \\"quoted\\" {{note}}, not fleet: owner={ID} set={SET}",
      "size" : 1,
      "vmid" : 107,
      "volid" : "pbs:backup/by-hand"
   }}
]
"""


@pytest.fixture(params=AWKS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a pvesh that prints the list, one awk, and the state of this installation."""
    made = tmp_path / "bin"
    made.mkdir()
    (tmp_path / "list").write_text(LISTED)
    (made / "pvesh").write_text(f"#!/bin/sh\ncat {tmp_path}/list\n")
    there = shutil.which(request.param)
    word = f"{there} awk" if request.param == "busybox" else there
    (made / "awk").write_text(f'#!/bin/sh\nexec {word} "$@"\n')
    for file in made.iterdir():
        file.chmod(0o755)
    (tmp_path / "installation").write_text(f"{ID}\n")
    return tmp_path


def ask(host: Path, script: str) -> tuple[int, str]:
    """Exit code and stdout of a script that has the functions."""
    library = "".join(
        files("fleet.host").joinpath(name).read_text() for name in ("prelude.sh", "backup.sh", "dump.sh")
    )
    done = subprocess.run(
        ["sh", "-c", f"{library}\n{script}"],
        env={**os.environ, "PATH": f"{host}/bin:{os.environ['PATH']}", "FLEET_STATE": str(host)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout


def test_each_archive_is_one_line_whatever_is_inside_it(host: Path) -> None:
    code, out = ask(host, "fleet_archives pbs 107")
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[:4] for row in rows] == [
        [VOLID, "1795402800", "60173659", "1"],
        ["pbs:backup/by-hand", "1795316400", "1", "0"],
    ]


def test_ours_is_whose_notes_begin_with_our_mark(host: Path) -> None:
    assert ask(host, f"fleet_archives_of pbs 107 {SET} | cut -f 1")[1].split() == [VOLID]
    assert ask(host, f"fleet_archived pbs 107 {SET}")[0] == 0
    assert ask(host, f"fleet_archived pbs 107 {SET}x")[0] == 1
    assert ask(host, f"fleet_archived pbs 107 {SET[:-1]}")[0] == 1


def test_an_archive_that_the_record_does_not_know_is_not_removable(host: Path) -> None:
    question = f"fleet_archive_removable pbs 107 {VOLID} 1795402800"
    assert ask(host, question)[0] != 0
    (host / "backups.log").write_text(f"1795402800 made {SET} {VOLID} -\n")
    assert ask(host, question)[0] == 0
    assert ask(host, f"fleet_archive_removable pbs 107 {VOLID} 1795402801")[0] != 0
    (host / "installation").write_text(f"{'f' * 32}\n")
    assert ask(host, question)[0] != 0


def test_a_list_that_proxmox_does_not_give_says_nothing(host: Path) -> None:
    (host / "bin/pvesh").write_text("#!/bin/sh\nexit 255\n")
    assert ask(host, "fleet_archives pbs 107")[0] == 255
    assert ask(host, f"fleet_archived pbs 107 {SET}")[0] != 0
    assert ask(host, f"fleet_no_archive pbs 107 {VOLID}")[0] != 0


def test_an_archive_of_a_run_that_died_gets_into_the_record(host: Path) -> None:
    (host / "backups.log").write_text(
        f"1795402800 making {SET} pbs:107 -\n1795402800 making fleet-dump-20261101t030000z pbs:107 -\n"
    )
    ask(host, "fleet_settle_archives pbs 107")
    lines = [line.split(" ", 1)[1] for line in (host / "backups.log").read_text().splitlines()]
    assert f"made {SET} {VOLID} -" in lines
    assert f"made {SET} pbs:107 -" in lines
    assert "failed fleet-dump-20261101t030000z pbs:107 -" in lines
    ask(host, "fleet_settle_archives pbs 107")
    assert len((host / "backups.log").read_text().splitlines()) == len(lines)
