"""How the tests are shared out between processes (`pytest -n 2 --dist loadgroup`), and what they counted."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, each by itself; others with those of their file, which share what it sets up.

    A file that is marked slow as a whole stays together, too.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if not any(mark.name == "slow" for mark in item.own_markers):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each kind of crash that was tried, and their sum."""
    counted = [
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "crash cases"
    ]
    if counted:
        total = sum(int(text.split(",")[0]) for text in counted)
        terminalreporter.section(f"crash cases: {total}")
        for text in sorted(counted):
            terminalreporter.write_line(text)
