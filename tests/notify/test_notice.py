"""What is told of a run: grouped, short, without secrets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleet.core.secret import Secret
from fleet.notify.notice import BODY, TITLE, Notice, Report, Severity, grouped, notices, texts

ALL_GOOD = Report("backup.snapshot", "pve", "28 guests: 28 taken, 28 removed")


def told(**changes: tuple[str, ...]) -> dict[str, Notice]:
    report = Report("backup.snapshot", "pve", "28 guests: 26 taken", **changes)
    return {notice.severity: notice for notice in notices(report)}


def test_a_run_without_fault_is_one_success_with_its_summary() -> None:
    assert notices(ALL_GOOD) == (
        Notice(Severity.SUCCESS, "pve: backup.snapshot: done", ("28 guests: 28 taken, 28 removed",)),
    )


def test_all_failures_of_a_run_are_one_critical_notice() -> None:
    found = told(failed=("plex (120): the pool is full", "odoo (125): locked (backup)"))
    assert list(found) == ["critical"]
    assert found["critical"].title == "pve: backup.snapshot: 2 failures"
    assert found["critical"].lines == (
        "28 guests: 26 taken",
        "plex (120): the pool is full",
        "odoo (125): locked (backup)",
    )


def test_failures_and_warnings_go_to_their_own_channels_and_are_no_success() -> None:
    found = told(failed=("plex (120): gone",), warnings=("drive (101): uncovered",), info=("news",))
    assert list(found) == ["critical", "warning", "info"]
    assert "drive" not in " ".join(found["critical"].lines)


def test_a_warning_alone_is_no_success() -> None:
    assert list(told(warnings=("drive (101): uncovered",))) == ["warning"]


def test_notices_of_one_severity_are_joined_and_keep_their_titles() -> None:
    one, two = Notice(Severity.INFO, "one", ("a",)), Notice(Severity.INFO, "two", ("b", "c"))
    bad = Notice(Severity.CRITICAL, "bad")
    assert grouped([one, bad, two]) == (
        bad,
        Notice(Severity.INFO, "one (and 1 more)", ("one", "a", "two", "b", "c")),
    )


def test_what_does_not_fit_is_cut_and_counted() -> None:
    title, body = texts(Notice(Severity.INFO, "t" * 500, tuple(f"guest {n:03}: x" for n in range(500))), ())
    assert len(title) == TITLE
    lines = body.splitlines()
    assert len(body) <= BODY
    assert lines[-1] == f"... and {500 - len(lines) + 1} more lines"


@given(st.lists(st.text()), st.text())
def test_no_notice_is_too_long_or_moves_a_cursor(lines: list[str], title: str) -> None:
    shown_title, body = texts(Notice(Severity.INFO, title, tuple(lines)), ())
    assert len(shown_title) <= TITLE
    assert len(body) <= BODY
    assert all(part.isprintable() for part in (shown_title, *body.split("\n")))


def test_known_secrets_are_taken_out_of_title_and_lines() -> None:
    secret = Secret("marker-3f9a7c51", "env:X")
    title, body = texts(Notice(Severity.INFO, f"a {secret.reveal()}", (f"b {secret.reveal()}",)), [secret])
    assert (title, body) == ("a ***", "b ***")
