"""A run that is stopped from outside is a failure that somebody has to hear of."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fleet.core.errors import FleetError


@contextmanager
def terminated_is_an_error() -> Iterator[None]:
    """While the block runs, SIGTERM raises FleetError in it: systemd sends it at a time limit or a shutdown.

    By itself it would end the process at once, and nobody would be told. A second one does just that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise FleetError("it was stopped by SIGTERM: a time limit, a shutdown, or somebody's kill")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
