"""Lines of a crontab: ours between two marks, everybody else's byte for byte as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.core.errors import Refused
from fleet.core.plan import Plan, Why
from fleet.host.guarded import Outcome
from fleet.schedule.units import cron_jobs
from tests.schedule.conftest import Box, job, place

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT, DUMP = job(), job("fleet-pve-dump", "03:00 UTC")

#: What people have in their crontabs, and some bytes that are no text.
THEIRS = (
    b"# m h dom mon dow   command\n"
    b'MAILTO="me@example.org"\n'
    b"\n"
    b"  */5\t*  * * *\tcd /srv && ./run --date=\\%F   \n"
    b"@reboot sleep 5; echo caf\xe9 \xff \\\\n %s\n"
    b"0 0 * * 0 # fleet: made by somebody\n"
    b"   \n"
)


@pytest.fixture
def cron(box: Box) -> Box:
    box.boot(systemd=False)
    return box


def test_our_lines_come_after_theirs_and_go_without_a_trace(cron: Box) -> None:
    cron.crontab.write_bytes(THEIRS)
    made, [result] = cron.install([SNAPSHOT, DUMP])
    assert (made.steps[0].action, result.outcome) == ("create", Outcome.DONE)
    now = cron.crontab.read_bytes()
    assert now.startswith(THEIRS)
    ours = now[len(THEIRS) :].decode().splitlines()
    assert (ours[0], ours[-1]) == (cron.place.begin, cron.place.end)
    assert [line.split(" cd ")[0] for line in ours[1:-1]] == ["0 2 * * *", "0 3 * * *"]

    cron.install([])
    assert cron.crontab.read_bytes() == THEIRS


def test_lines_above_and_below_ours_stay_when_ours_change(cron: Box) -> None:
    cron.install([SNAPSHOT])
    cron.crontab.write_bytes(THEIRS + cron.crontab.read_bytes() + b"@daily below \xff\n")
    made, [result] = cron.install([SNAPSHOT, DUMP])
    assert (made.steps[0].action, result.outcome) == ("update", Outcome.DONE)
    assert cron.crontab.read_bytes().startswith(THEIRS + b"@daily below \xff\n" + cron.place.begin.encode())
    cron.install([])
    assert cron.crontab.read_bytes() == THEIRS + b"@daily below \xff\n"


def test_installing_again_changes_nothing(cron: Box) -> None:
    cron.install([SNAPSHOT])
    calls = cron.calls
    made, results = cron.install([SNAPSHOT])
    assert (made.steps, results, cron.calls) == ((), (), calls)
    assert [note.why for note in made.notes if note.subject == SNAPSHOT.name] == [Why.UNCHANGED]


def test_a_user_without_a_crontab_has_none_again_afterwards(cron: Box) -> None:
    cron.install([SNAPSHOT])
    assert cron.crontab.exists()
    cron.install([])
    assert not cron.crontab.exists()
    assert cron.calls[-1] == "crontab -r"


def test_a_line_that_was_changed_by_hand_is_put_back(cron: Box) -> None:
    cron.install([SNAPSHOT])
    good = cron.crontab.read_text()
    cron.crontab.write_text(good.replace("0 2 * * *", "0 9 * * *"))
    made, _ = cron.install([SNAPSHOT])
    assert [(each.was or "")[:9] for each in made.steps[0].because] == ["0 9 * * *", ""]
    assert cron.crontab.read_text() == good


def test_a_crontab_that_cannot_be_read_is_not_taken_for_an_empty_one(cron: Box) -> None:
    cron.crontab.write_bytes(THEIRS)
    made = cron.look([SNAPSHOT])[1]
    (cron.state / "crontab-fails").touch()
    refused = cron.look([SNAPSHOT])[1]
    assert refused.steps == ()
    assert "not allowed" in next(note.text for note in refused.notes if note.why is Why.REFUSED)
    [result] = cron.apply(made)
    assert result.outcome is Outcome.STALE
    assert cron.crontab.read_bytes() == THEIRS


def test_a_crontab_that_would_not_come_back_as_it_was_is_left_alone(cron: Box) -> None:
    """Debian's crontab -l shows a carriage return as two characters."""
    theirs = THEIRS + b"0 1 * * * from-windows\r\n"
    cron.crontab.write_bytes(theirs)
    made, _ = cron.install([SNAPSHOT])
    assert made.steps == ()
    assert "carriage return" in next(note.text for note in made.notes if note.why is Why.REFUSED)
    assert cron.crontab.read_bytes() == theirs


def test_a_block_without_an_end_swallows_nothing(cron: Box) -> None:
    cron.install([SNAPSHOT])
    broken = cron.crontab.read_text().replace(f"{cron.place.end}\n", "") + "@daily theirs\n"
    cron.crontab.write_text(broken)
    made, _ = cron.install([DUMP])
    assert made.steps == ()
    assert "no last one" in next(note.text for note in made.notes if note.why is Why.REFUSED)
    assert cron.crontab.read_text() == broken


def test_two_fleets_share_a_crontab(cron: Box, tmp_path: Path) -> None:
    other = place(tmp_path / "other", cron.units)
    cron.install([SNAPSHOT])
    cron.install([DUMP], other)
    assert cron.install([SNAPSHOT])[0].steps == ()
    cron.install([])
    assert cron.crontab.read_text().splitlines()[0] == other.begin


def test_what_changed_since_the_plan_is_not_overwritten(cron: Box) -> None:
    made = cron.look([SNAPSHOT])[1]
    cron.install([DUMP])
    before = cron.crontab.read_bytes()
    [result] = cron.apply(made)
    assert result.outcome is Outcome.STALE
    assert cron.crontab.read_bytes() == before


def test_an_hour_off_in_summer_and_a_cron_that_does_not_run_are_said(cron: Box) -> None:
    found, made = cron.look([job(event="02:00 Australia/Lord_Howe")])
    said = " ".join(note.text for note in made.notes)
    assert (
        "cron knows no time zones: 02:00 Australia/Lord_Howe is '30 15 * * *'" in said
        or found.zone != "Etc/UTC"
    )
    assert "an hour earlier or later" in said
    assert found.cron_runs or "no cron daemon is running" in said
    assert "does not catch up" in said


def test_a_schedule_that_crontab_cannot_say_is_an_error_with_what_would_be_right(cron: Box) -> None:
    with pytest.raises(
        Refused, match=r"'mon \*-\*-1 02:00 UTC'.*never both.*write a schedule that crontab can"
    ):
        cron.look([job("x", "mon *-*-1 02:00 UTC")])


def test_a_line_runs_the_program_with_exactly_these_words(tmp_path: Path) -> None:
    folder = tmp_path / "my fl%eet $HOME 'q'"
    program = folder / "inv"
    where = place(folder, tmp_path, str(program))
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$FLEET_NOTIFY_URL" "$@"\n')
    program.chmod(0o755)
    (folder / ".env").write_text("FLEET_NOTIFY_URL='ntfys://a:b@host/?x=1&y=$2'\n")
    [made] = cron_jobs([job("n", "02:00 UTC", "--schedule", "mon,tue 02:00")], where, "UTC", 2026)
    fields, command = made.line[:9], made.line[10:]
    assert fields == "0 2 * * *"
    # What cron does before sh sees it: an unescaped % would end the command there.
    assert "%" not in command.replace(r"\%", "")
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace(r"\%", "%")], env=clean, cwd="/", capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        str(folder),
        "ntfys://a:b@host/?x=1&y=$2",
        "backup.snapshot",
        "--schedule",
        "mon,tue 02:00",
        "--inventory",
        str(folder / "hosts.yml"),
    ], done.stderr


def test_without_a_file_of_variables_the_line_runs_all_the_same(tmp_path: Path) -> None:
    where = place(tmp_path / "fleet", tmp_path, "/bin/echo")
    [made] = cron_jobs([job()], where, "UTC", 2026)
    done = subprocess.run(["/bin/sh", "-c", made.line[10:]], capture_output=True, text=True)
    assert done.stdout == f"backup.snapshot --inventory {where.hosts}\n"


def test_a_line_that_is_too_long_for_cron_is_refused(tmp_path: Path) -> None:
    where = place(tmp_path / ("d" * 200), tmp_path)
    with pytest.raises(Refused, match="as long as"):
        cron_jobs([job("n", "02:00 UTC", *["w" * 50] * 10)], where, "UTC", 2026)


#: Any line of a crontab but one that crontab -l would not give back.
LINE = st.binary(max_size=20).filter(
    lambda line: not set(line) & set(b"\0\n\r") and not line.endswith(rb"\r")
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(above=st.lists(LINE, max_size=4), below=st.lists(LINE, max_size=4))
def test_whatever_others_have_in_their_crontab_stays(
    cron: Box, above: list[bytes], below: list[bytes]
) -> None:
    theirs = [b"".join(line + b"\n" for line in lines) for lines in (above, below)]
    ours = "\n".join((cron.place.begin, "0 2 * * * x", cron.place.end, ""))
    cron.crontab.write_bytes(theirs[0] + ours.encode() + theirs[1])
    step = cron.look([SNAPSHOT])[1].steps[0]
    assert step.action == "update"
    cron.apply(Plan("here", (step,)))
    assert cron.crontab.read_bytes().startswith(theirs[0] + theirs[1] + cron.place.begin.encode())


REAL = shutil.which("crontab")
UNSHARE = subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode == 0

INSTALL_AND_REMOVE = """
import subprocess, sys
from pathlib import Path
from tests.schedule.conftest import Box, job, place
folder = Path(sys.argv[1])
box = Box(folder, place(folder / "real", folder / "units"))
show = lambda: subprocess.run(["crontab", "-l"], capture_output=True).stdout
subprocess.run(["crontab", folder / "theirs"], check=True)
first = show()
box.install([job(), job("b", "03:00 UTC")])
(folder / "with").write_bytes(show())
assert not box.install([job(), job("b", "03:00 UTC")])[0].steps
box.install([])
(folder / "same").write_text(str(show() == first))
"""


@pytest.mark.skipif(
    REAL is None or not UNSHARE, reason="NO REAL crontab, or no namespace to use it in: install cron"
)
def test_a_real_crontab_program_keeps_their_lines(cron: Box, tmp_path: Path) -> None:
    """In a mount namespace of its own, whose crontabs are gone with it."""
    (Path(os.environ["PATH"].partition(":")[0]) / "crontab").unlink()  # the stand-in
    (tmp_path / "theirs").write_bytes(THEIRS)
    script = 'mount -t tmpfs none /var/spool && mkdir -p /var/spool/cron/crontabs && exec "$0" -c "$1" "$2"'
    words = ["unshare", "-Urm", "sh", "-c", script, sys.executable, INSTALL_AND_REMOVE, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "with").read_bytes()
    assert THEIRS in shown
    assert shown.decode("latin-1").splitlines()[-1] == f"# fleet: end of {tmp_path}/real/hosts.yml"
    assert (tmp_path / "same").read_text() == "True"
