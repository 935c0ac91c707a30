"""The dead-man switch: told of start, success and failure, and never in the way."""

from __future__ import annotations

import threading
import time

import pytest

from fleet.core.secret import Secret
from fleet.host.secrets import Secrets
from fleet.inventory.secret import SecretRef
from fleet.notify import Signal, ping, tell
from tests.notify.receiver import Receiver

UUID = "3f9a7c51-marker-4b1c-9a8e-00c0ffee0001"


def secret(url: str) -> Secret:
    return Secret(url, "env:FLEET_DEAD_MAN")


def test_start_success_and_failure_have_the_addresses_of_healthchecks_io(receiver: Receiver) -> None:
    url = secret(receiver.at(f"{UUID}/"))
    assert [ping(url, signal, f"it is {signal}") for signal in Signal] == ["", "", ""]
    assert [(each.method, each.path, each.body) for each in receiver.requests] == [
        ("POST", f"/{UUID}/start", "it is start"),
        ("POST", f"/{UUID}", "it is success"),
        ("POST", f"/{UUID}/fail", "it is fail"),
    ]


def test_the_query_of_the_url_stays(receiver: Receiver) -> None:
    ping(secret(receiver.at(f"ping/{UUID}?create=1")), Signal.FAIL)
    assert receiver.requests[0].path == f"/ping/{UUID}/fail?create=1"


def test_a_long_summary_is_cut(receiver: Receiver) -> None:
    ping(secret(receiver.at(UUID)), Signal.SUCCESS, "x" * 50_000)
    assert len(receiver.requests[0].body) == 10_000


@pytest.mark.parametrize("status", [404, 500])
def test_a_watcher_that_refuses_is_one_line_without_its_url(receiver: Receiver, status: int) -> None:
    receiver.status = status
    line = ping(secret(receiver.at(UUID)), Signal.START)
    assert line.startswith(f"the dead-man switch was not told (start): it answered {status} ")
    assert UUID not in line


def test_a_watcher_that_hangs_or_trickles_takes_no_longer_than_the_limit(receiver: Receiver) -> None:
    began = time.monotonic()
    receiver.silent = threading.Event()
    lines = [ping(secret(receiver.at(UUID)), Signal.START, seconds=0.3)]
    receiver.silent.set()
    receiver.trickles = True
    lines.append(ping(secret(receiver.at(UUID)), Signal.START, seconds=0.3))
    assert time.monotonic() - began < 10
    assert lines[1] == "the dead-man switch was not told (start): no answer within 0.3 seconds"
    assert all("was not told" in line for line in lines)


def test_a_watcher_that_is_not_there_is_one_line(nobody: str) -> None:
    line = ping(secret(f"http://{nobody}/{UUID}"), Signal.SUCCESS)
    assert "refused" in line
    assert UUID not in line


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "hc-ping.com/x", "http://[/x"])
def test_only_http_is_spoken(url: str) -> None:
    line = ping(secret(url), Signal.START)
    assert line.startswith("the dead-man switch was not told (start): ")
    assert "\n" not in line


def test_without_a_watcher_nobody_is_told(secrets: Secrets) -> None:
    assert tell(None, Signal.START, secrets) == ""


def test_a_watcher_whose_url_is_not_to_be_had_is_one_line(secrets: Secrets, ref: SecretRef) -> None:
    assert tell(ref, Signal.START, secrets) == (
        "the dead-man switch was not told (start): env:FLEET_TEST_URL: this environment variable is not set"
    )


def test_what_the_watcher_is_told_holds_no_secret(
    receiver: Receiver, secrets: Secrets, ref: SecretRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_TEST_URL", receiver.at(UUID))
    assert tell(ref, Signal.FAIL, secrets, f"could not reach {receiver.at(UUID)}") == ""
    assert receiver.requests[0].body == "could not reach ***"
