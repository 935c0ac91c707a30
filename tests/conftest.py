"""Where tests keep state, how they are shared out (`pytest -n 2 --dist loadgroup`), and what they counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _state_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Labs, journals and logs of all tests of a process are below one new folder, not in the operator's home.

    One for all: tests of several folders are run in turn, so that none may change it under the others.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_LAB_HOME", str(tmp_path_factory.mktemp("labs")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, each by itself; others with those of their file, which share what it sets up.

    A file that is marked slow as a whole stays together, too. Those of real ZFS share one machine, which may
    still be in the making: after the other slow ones, so that the quick ones run beside them.

    So a file that has both is visited twice, and so is what it sets up: a lab is reset, not only brought up.
    """
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, _asks_zfs(item)))
    for item in items:
        if _asks_zfs(item):
            item.add_marker(pytest.mark.xdist_group("zfs"))
        elif not any(mark.name == "slow" for mark in item.own_markers):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def _asks_zfs(item: pytest.Item) -> bool:
    return item.get_closest_marker("zfs") is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each kind of crash that was tried, and their sum; and if real ZFS was not asked, why."""
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, (tuple, list)) else ""
        if "REAL OPENZFS" in reason:
            terminalreporter.section(reason.removeprefix("Skipped: "))
            break
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
