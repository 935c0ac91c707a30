"""SIGTERM, as systemd sends it to a run that takes too long."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fleet.core.errors import FleetError
from fleet.notify.terminated import terminated_is_an_error


def test_a_sigterm_is_an_error_that_can_be_told_of() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(FleetError, match="stopped by SIGTERM"), terminated_is_an_error():
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5)
        pytest.fail("the signal did not come")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_sigterm_ends_the_process() -> None:
    with terminated_is_an_error():
        with pytest.raises(FleetError):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(5)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_in_another_thread_nothing_is_changed() -> None:
    seen: list[object] = []

    def work() -> None:
        with terminated_is_an_error():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
