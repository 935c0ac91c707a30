"""Notices over the wire, to a real HTTP server: content, grouping, and servers that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.host.secrets import Secrets
from fleet.inventory import load
from fleet.inventory.secret import SecretRef
from fleet.notify import Channel, Notice, Report, Severity, channels, complaints, notices, send
from fleet.notify.send import with_topic
from tests.notify.receiver import Receiver

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "tk_marker3f9a7c51marker3f9a7c51ab"
FAILED = Report("backup.snapshot", "pve", "28 guests: 26 taken", failed=("plex: full", "odoo: locked"))


@dataclass
class World:
    receiver: Receiver
    secrets: Secrets
    ref: SecretRef
    patch: pytest.MonkeyPatch

    def url(self, url: str) -> None:
        self.patch.setenv("FLEET_TEST_URL", url)

    def channel(self, severity: Severity = Severity.CRITICAL, topic: str = "") -> Channel:
        return Channel(severity, self.ref, topic)


@pytest.fixture
def world(receiver: Receiver, secrets: Secrets, ref: SecretRef, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(receiver, secrets, ref, monkeypatch)


def test_all_failures_of_a_run_arrive_as_one_request(world: World) -> None:
    world.url(world.receiver.at("hook", "json"))
    [answer] = send(notices(FAILED), [world.channel()], world.secrets)
    assert (answer.delivered, answer.said) == (True, "")
    [request] = world.receiver.requests
    sent = json.loads(request.body)
    assert (request.method, request.path) == ("POST", "/hook")
    assert (sent["title"], sent["type"]) == ("pve: backup.snapshot: 2 failures", "failure")
    assert sent["message"] == "28 guests: 26 taken\nplex: full\nodoo: locked"


def test_each_severity_of_the_reference_homelab_has_its_ntfy_topic(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_NOTIFY_URL", world.receiver.at("", "ntfy"))
    told = [Notice(severity, f"a {severity}", ("line",)) for severity in Severity]
    answers = send(told, channels(load(ROOT / "hosts.yml")), world.secrets)
    assert [answer.delivered for answer in answers] == [True] * 4
    topics = {each["title"]: each["topic"] for each in (json.loads(r.body) for r in world.receiver.requests)}
    assert topics == {f"a {severity}": f"homelab-{severity}" for severity in Severity}


def test_a_severity_without_a_channel_is_not_sent(world: World) -> None:
    world.url(world.receiver.at("hook", "json"))
    assert send(notices(FAILED), [world.channel(Severity.SUCCESS)], world.secrets) == ()
    assert world.receiver.requests == []


def test_an_ntfy_token_is_used_and_never_shown(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.receiver.status = 403
    world.url(f"ntfy://{TOKEN}@127.0.0.1:{world.receiver.port}")
    told = [Notice(Severity.CRITICAL, f"failed with {TOKEN}", (f"as {TOKEN} said",))]
    answers = send(told, [world.channel(topic="homelab-critical")], world.secrets)
    [request] = world.receiver.requests
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in request.body
    [line] = complaints(answers)
    assert line.startswith("notice not delivered: critical (homelab-critical): ")
    assert "403" in line
    assert TOKEN not in repr(answers)
    assert capfd.readouterr() == ("", "")


def test_a_server_that_answers_500_is_reported(world: World) -> None:
    world.receiver.status = 500
    world.url(world.receiver.at("hook", "json"))
    [answer] = send(notices(FAILED), [world.channel()], world.secrets)
    assert not answer.delivered
    assert "500" in answer.said


def test_a_server_that_is_not_there_is_reported(world: World, nobody: str) -> None:
    world.url(f"json://{nobody}/hook")
    [answer] = send(notices(FAILED), [world.channel()], world.secrets)
    assert not answer.delivered
    assert answer.said


def test_servers_that_hang_take_no_longer_together_than_the_time_limit(world: World) -> None:
    world.receiver.silent = threading.Event()
    world.url(world.receiver.at("hook", "json"))
    told = [Notice(severity, "t", ("l",)) for severity in Severity]
    began = time.monotonic()
    answers = send(told, [world.channel(severity) for severity in Severity], world.secrets, seconds=0.3)
    assert time.monotonic() - began < 10
    assert {answer.said for answer in answers} == {"no answer within 0.3 seconds"}


def test_one_channel_that_fails_leaves_the_others_alone(world: World, nobody: str) -> None:
    world.url(world.receiver.at("hook", "json"))
    world.patch.setenv("FLEET_OTHER", f"json://{nobody}/")
    others = [Channel(Severity.CRITICAL, SecretRef("env", name)) for name in ("FLEET_OTHER", "FLEET_MISSING")]
    answers = send(notices(FAILED), [*others, world.channel()], world.secrets)
    assert [answer.delivered for answer in answers] == [False, False, True]
    assert answers[1].said == "env:FLEET_MISSING: this environment variable is not set"


@pytest.mark.parametrize("url", ["nonsense://x/y", "no url at all", "http://", "mailto://"])
def test_a_url_that_apprise_does_not_know_is_reported(
    world: World, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    world.url(url)
    [answer] = send(notices(FAILED), [world.channel()], world.secrets)
    assert not answer.delivered
    assert "apprise" in answer.said
    assert capfd.readouterr() == ("", "")


def test_a_process_ends_though_a_notifier_hangs(world: World) -> None:
    world.receiver.trickles = True
    program = (
        "from pathlib import Path\n"
        "from fleet.host.secrets import Secrets\n"
        "from fleet.inventory.secret import SecretRef\n"
        "from fleet.notify import Channel, Notice, Severity, send\n"
        "channel = Channel(Severity.INFO, SecretRef('env', 'FLEET_TEST_URL'))\n"
        "print(send([Notice(Severity.INFO, 't')], [channel], Secrets(Path()), seconds=0.5)[0].said)\n"
    )
    world.url(world.receiver.at("hook", "json"))
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("no answer within 0.5 seconds\n", "")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("ntfys://ntfy.sh", "ntfys://ntfy.sh/homelab"),
        ("ntfys://ntfy.sh/", "ntfys://ntfy.sh/homelab"),
        ("ntfys://u:p@host:8443/?priority=high", "ntfys://u:p@host:8443/homelab?priority=high"),
        ("ntfys://ntfy.sh?format=text", "ntfys://ntfy.sh/homelab?format=text"),
    ],
)
def test_the_topic_is_the_last_part_of_the_path(url: str, whole: str) -> None:
    assert with_topic(url, "homelab") == whole
    assert with_topic(url, "") == url


def test_a_text_is_sent_as_text_and_not_as_markup(world: World) -> None:
    world.url(world.receiver.at("hook", "json"))
    line = "<b>plex</b> *full* :smile: \\n & `x`"
    send([Notice(Severity.INFO, "t", (line,))], [world.channel(Severity.INFO)], world.secrets)
    assert json.loads(world.receiver.requests[0].body)["message"] == line


@pytest.mark.parametrize("url", ["json://127.0.0.1:9/{}", "ntfy://u:{}@127.0.0.1:9"])
def test_inv_s_own_debugging_output_shows_no_secret(url: str) -> None:
    environment = {**os.environ, "FLEET_NOTIFY_URL": url.format("marker3f9a7c51marker")}
    inv = Path(sys.executable).with_name("inv")
    words = [str(inv), "-d", "notify.test", "--severity", "info"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 3
    assert "invoke" in done.stderr  # it does show much
    assert "marker3f9a7c51" not in done.stdout + done.stderr
