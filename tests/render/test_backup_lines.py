"""What a run of snapshots and the table of coverage say in few words."""

from __future__ import annotations

from fleet.backups.run import Report
from fleet.domains.backup.ages import Age
from fleet.domains.backup.coverage import Row, State
from fleet.render.backups import ages_text, coverage_lines, report_lines


def test_whom_a_run_skips_is_in_its_one_line() -> None:
    (line,) = report_lines(Report("fleet-daily-x", skipped={"tank/backups": "excluded: archives"}))
    assert "1 skipped (tank/backups)" in line.text


def test_ages_name_their_kinds_where_there_are_several() -> None:
    assert ages_text((Age("snapshot", 7260),)) == "2 h 1 min"
    several = (Age("snapshot", 7260), Age("archive", None), Age("usb", 5 * 86400, late=True))
    assert ages_text(several) == "snapshot 2 h 1 min, archive never, usb 5 d LATE"


def test_the_figures_of_coverage_count_what_is_late_or_was_never_made() -> None:
    rows = [Row(f"ct{number}", "rootfs", "x", each, "") for number, each in enumerate(State)]
    *_, figures = coverage_lines(rows)
    assert figures.text == "1 protected, 1 late, 1 never, 1 excluded, 1 uncovered"
    assert "red" in figures.style
