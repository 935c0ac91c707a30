"""Work that may hang and must not hold anybody up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Result = TypeVar("_Result")


def start(work: Callable[[], _Result]) -> Future[_Result]:
    """Begin the work in a thread of its own; wait for it with `.result(seconds)`: TimeoutError if it hangs.

    A library's own time limits are those of single reads, which a server that sends a byte now and then never
    meets. The thread may be left behind: it is a daemon, which keeps no process from ending, as those of
    Python's own pools do.
    """
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            future.set_exception(error)

    threading.Thread(target=run, name="notice", daemon=True).start()
    return future
