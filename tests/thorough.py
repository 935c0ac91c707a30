"""How much is tried of what could be tried for hours: `FLEET_THOROUGH=1` tries all, else what finds most.

Of a broken link, "during" and "after" an execution are where something can be lost; before it nothing ran.
"""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

Value = TypeVar("Value")

THOROUGH = os.environ.get("FLEET_THOROUGH") == "1"

#: When the link is cut, as seen from an execution.
MOMENTS = ("before", "during", "after") if THOROUGH else ("during", "after")


#: On what takes minutes in an emulated machine.
only = pytest.mark.skipif(not THOROUGH, reason="takes minutes: run with FLEET_THOROUGH=1")


def cases(count: int) -> range:
    """1 to `count`: all where everything is to be tried, else every third."""
    return range(1, count + 1, 1 if THOROUGH else 3)


def of(first: Value, *others: Value) -> tuple[Value, ...]:
    """The first, or all where everything is to be tried."""
    return (first, *others) if THOROUGH else (first,)


def examples(count: int) -> int:
    """How many of what hypothesis makes up: three times as many where everything is to be tried."""
    return 3 * count if THOROUGH else count
