"""What `schedule.status` shows: installed or not, the last run and how it ended, the next one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fleet.host.journal import Journal, read
from fleet.schedule.status import Row, cron_rows, row_data, row_lines, rows
from fleet.schedule.units import cron_jobs
from tests.schedule.conftest import Box, job

SNAPSHOT, DUMP = job(), job("fleet-pve-dump", "03:00 UTC")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def states(box: Box, *jobs: Any) -> list[tuple[str, str]]:
    return [(row.name, row.state) for row in rows(jobs, *box.look(jobs))]


def test_a_job_is_missing_installed_changed_or_no_longer_wanted(box: Box) -> None:
    assert states(box, SNAPSHOT) == [("fleet-pve-snapshot", "missing")]
    box.install([SNAPSHOT, DUMP])
    assert states(box, SNAPSHOT, DUMP) == [
        ("fleet-pve-snapshot", "installed"),
        ("fleet-pve-dump", "installed"),
    ]
    assert states(box, job(event="05:00 UTC")) == [
        ("fleet-pve-snapshot", "changed"),
        ("fleet-pve-dump", "no longer wanted"),
    ]


def test_a_unit_of_somebody_else_is_said_to_be_theirs(box: Box) -> None:
    box.units.mkdir()
    (box.units / "fleet-pve-snapshot.service").write_text("[Service]\n")
    assert states(box, SNAPSHOT) == [("fleet-pve-snapshot", "not ours")]


@pytest.mark.parametrize(
    ("service", "result"),
    [
        ({"Result": "success", "ExecMainStatus": "0"}, "exit 0"),
        ({"Result": "exit-code", "ExecMainStatus": "3"}, "exit 3"),
        ({"Result": "timeout", "ExecMainStatus": "15"}, "timeout"),
        ({"Result": "signal", "ExecMainStatus": "9"}, "signal"),
        ({"Result": "success", "ActiveState": "activating"}, "running"),
    ],
)
def test_last_and_next_run_are_those_of_systemd(box: Box, service: dict[str, str], result: str) -> None:
    box.install([SNAPSHOT])
    box.shows(
        "fleet-pve-snapshot.timer",
        LastTriggerUSec="Mon 2026-11-23 07:03:11 UTC",
        NextElapseUSecRealtime="Tue 2026-11-24 07:04:59.123456 UTC",
    )
    ended = {"ExecMainExitTimestamp": "Mon 2026-11-23 07:05:00 UTC"}
    box.shows("fleet-pve-snapshot.service", **ended, **service)
    [row] = rows([SNAPSHOT], *box.look([SNAPSHOT]))
    assert row.last == datetime(2026, 11, 23, 7, 3, 11, tzinfo=UTC)
    assert row.next == datetime(2026, 11, 24, 7, 4, 59, tzinfo=UTC)
    assert row.result == result


def test_a_job_that_never_ran_has_no_result(box: Box) -> None:
    box.install([SNAPSHOT])
    box.shows("fleet-pve-snapshot.timer", LastTriggerUSec="n/a", NextElapseUSecRealtime="")
    box.shows("fleet-pve-snapshot.service", Result="success", ExecMainStatus="0", ExecMainExitTimestamp="n/a")
    [row] = rows([SNAPSHOT], *box.look([SNAPSHOT]))
    assert (row.last, row.result, row.next) == (None, "", None)


def in_crontab(box: Box, journal: Path, *jobs: Any) -> tuple[Row, ...]:
    found, plan = box.look(jobs)
    lines = cron_jobs(jobs, box.place, found.zone, 2026)
    return cron_rows(lines, found, plan, read("pve", folder=journal), NOW)


def test_of_a_crontab_line_the_next_run_is_computed_and_the_last_one_is_the_journals(
    box: Box, tmp_path: Path
) -> None:
    box.boot(systemd=False)
    [row] = in_crontab(box, tmp_path, SNAPSHOT)
    assert (row.state, row.last, row.result, row.next) == ("missing", None, "", None)
    box.install([SNAPSHOT])
    with Journal("pve", "1", folder=tmp_path) as journal:
        journal.write("run", what="backup.snapshot")
        journal.write("end", exit=3)
    with Journal("pve", "2", folder=tmp_path) as journal:
        journal.write("run", what="provision.all")
        journal.write("end", exit=0)
    [row] = in_crontab(box, tmp_path, SNAPSHOT)
    assert (row.state, row.result) == ("installed", "exit 3")
    assert row.last is not None
    assert row.next == datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def test_a_run_that_failed_is_said_and_one_that_goes_on_has_no_result(box: Box, tmp_path: Path) -> None:
    box.boot(systemd=False)
    box.install([SNAPSHOT])
    with pytest.raises(OSError, match="gone"), Journal("pve", "1", folder=tmp_path) as journal:
        journal.write("run", what="backup.snapshot")
        raise OSError("gone")
    assert in_crontab(box, tmp_path, SNAPSHOT)[0].result == "failed: OSError"
    with Journal("pve", "2", folder=tmp_path) as journal:
        journal.write("run", what="backup.snapshot")
        assert in_crontab(box, tmp_path, SNAPSHOT)[0].result == ""


def test_a_crontab_line_that_differs_is_changed(box: Box, tmp_path: Path) -> None:
    box.boot(systemd=False)
    box.install([SNAPSHOT])
    assert in_crontab(box, tmp_path, job(event="05:00 UTC"))[0].state == "changed"


def test_the_table_fits_its_contents_and_json_has_iso_times() -> None:
    shown = [
        Row("fleet-pve-snapshot", "backup.snapshot", "02:00 UTC", "installed", NOW, "exit 0", NOW),
        Row("fleet-pve-dump", "backup.dump", "03:00 UTC", "missing"),
    ]
    lines = [line.text for line in row_lines(shown)]
    assert lines[0].split() == ["JOB", "WHEN", "STATE", "LAST", "RUN", "RESULT", "NEXT", "RUN"]
    assert lines[2].split() == ["fleet-pve-dump", "03:00", "UTC", "missing", "-", "-", "-"]
    assert row_data(shown)[0]["next"] == "2026-11-23T12:00:00+00:00"
    assert row_data(shown)[1]["last"] is None
    assert [line.text for line in row_lines([])] == ["hosts.yml has no schedules, and none are installed"]
