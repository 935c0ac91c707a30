"""How fast a stream goes, and the lines that `zfs send -v` prints each second meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from . import clock, machine
from .zfs_props import nice

_REALISTIC = 200 << 20  # bytes a second, of a pool of two disks
_STEP = 0.05  # seconds between two writes of a stream that is to take time


class Progress:
    """Prints what was sent each second, if -v asks for it."""

    def __init__(self, name: str, flags: set[str]) -> None:
        self.sent = 0
        self._name, self._parsable = name, "P" in flags
        self._wanted = "v" in flags
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Progress:
        """Begin to print."""
        if self._wanted:
            if not self._parsable:
                print(f"TIME        SENT   SNAPSHOT {self._name}", file=sys.stderr, flush=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._over.set()
        if self._wanted:
            self._thread.join()

    def _tell(self) -> None:
        while not self._over.wait(1):
            when = time.strftime("%H:%M:%S", time.localtime(clock.now()))
            line = (
                f"{when}\t{self.sent}\t{self._name}"
                if self._parsable
                else f"{when}   {nice(self.sent):>5}   {self._name}"
            )
            print(line, file=sys.stderr, flush=True)


def paced(write: Callable[[bytes], object], progress: Progress) -> Callable[[bytes], None]:
    """Write and count, as fast as the node is said to be (faults.json: {"zfs_rate": BYTES A SECOND})."""
    rate = machine.faults().get("zfs_rate") or (_REALISTIC if machine.facts().get("realistic") else 0)

    def plain(data: bytes) -> None:
        write(data)
        progress.sent += len(data)

    if not rate:
        return plain
    step = max(1, int(rate * _STEP))

    def slow(data: bytes) -> None:
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            time.sleep(len(piece) / rate)
            plain(piece)
            sys.stdout.flush()

    return slow
