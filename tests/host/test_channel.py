"""A channel's two outputs are filled by one thread and emptied by another: no news of either is lost."""

from __future__ import annotations

import sys
import threading
import time
from itertools import count
from types import FrameType
from typing import Any

import paramiko

from fleet.host.ssh.channel import ChannelPipe


class AtLine:
    """A tracer that fills stdout from another thread when the reader comes to its nth line of Python."""

    def __init__(self, channel: paramiko.Channel, line: int) -> None:
        self.met = False
        self._left = line
        self._filler = threading.Thread(target=channel.in_buffer.feed, args=(b"o",))

    def __call__(self, frame: FrameType, event: str, _: Any) -> AtLine:
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.met = True
                self._filler.start()
                self._filler.join(0.005)  # not for ever: the reader may hold the lock that it waits for
        return self

    def join(self) -> None:
        """Until it is filled."""
        if self.met:
            self._filler.join()


def test_what_comes_on_one_output_at_any_line_of_reading_the_other_wakes_the_reader() -> None:
    for line in count(1):
        channel = paramiko.Channel(1)
        pipe = ChannelPipe(channel, lambda: None)
        channel.in_stderr_buffer.feed(b"e")
        tracer = AtLine(channel, line)
        sys.settrace(tracer)
        try:
            first = pipe.exchange(memoryview(b""), 5)
        finally:
            sys.settrace(None)
        tracer.join()
        assert first.err == b"e"
        if not tracer.met:
            break
        began = time.monotonic()
        assert (first.out or pipe.exchange(memoryview(b""), 5).out) == b"o"
        assert time.monotonic() - began < 4, f"the news that came at line {line} was lost"
    assert line > 20
