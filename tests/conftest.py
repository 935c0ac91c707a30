"""How the tests are shared out between processes (`pytest -n 2 --dist loadgroup`)."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first and each by itself; those of one file together, since they share what it sets up."""
    items.sort(key=_is_quick)
    for item in filter(_is_quick, items):
        item.add_marker(pytest.mark.xdist_group(str(item.path)))


def _is_quick(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is None
