"""How does a notice get to people? Through apprise, which knows ntfy, mail, Discord, Telegram and many more.

A channel that fails, hangs or is not there never stops the run that wanted to tell something: what it
answered is a value.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from fleet.core.errors import FleetError
from fleet.core.secret import Secret, redact
from fleet.host.secrets import Reference, Secrets
from fleet.notify.limited import start
from fleet.notify.notice import Notice, Severity, grouped, texts
from fleet.render.lines import printable

if TYPE_CHECKING:
    from fleet.inventory import Inventory

#: How long a channel may take to accept a notice.
SECONDS = 10.0
_SAID = 200  # characters of a channel's answer that are shown

_TYPES: Mapping[Severity, str] = {
    Severity.CRITICAL: "failure",
    Severity.WARNING: "warning",
    Severity.INFO: "info",
    Severity.SUCCESS: "success",
}


@dataclass(frozen=True, slots=True)
class Channel:
    """Where notices of one severity go: a secret that is apprise's URL, and a topic that is added to it."""

    severity: Severity
    url: Reference
    topic: str = ""

    @property
    def name(self) -> str:
        """The channel for people: nothing in it is secret."""
        return f"{self.severity} ({self.topic or f'{self.url.kind}:{self.url.target}'})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one notice on one channel."""

    channel: str
    severity: Severity
    delivered: bool
    said: str  # why not; empty when it was delivered
    seconds: float = 0.0


def channels(inventory: Inventory) -> tuple[Channel, ...]:
    """The channels that hosts.yml declares under `notifications`."""
    return tuple(
        Channel(severity, each.url, each.topic)
        for severity in Severity
        for each in inventory.channels.get(severity.value, ())
    )


def send(
    told: Iterable[Notice], to: Sequence[Channel], secrets: Secrets, *, seconds: float = SECONDS
) -> tuple[Answer, ...]:
    """What each channel answered to the notices of its severity; all are asked side by side.

    Never raises for a channel, and takes no longer than `seconds`, however many hang.
    """
    by_severity = {notice.severity: notice for notice in grouped(told)}
    used = [channel for channel in to if channel.severity in by_severity]
    urls = [_url(channel, secrets) for channel in used]  # before any text is made: none may hold one of them
    began = time.monotonic()
    answers = [
        _begin(url, channel, by_severity[channel.severity], secrets.known)
        for channel, url in zip(used, urls, strict=True)
    ]
    return tuple(
        _answer(channel, answer, began, seconds, secrets.known)
        for channel, answer in zip(used, answers, strict=True)
    )


def complaints(answers: Iterable[Answer]) -> tuple[str, ...]:
    """One line for each notice that did not get through."""
    return tuple(
        f"notice not delivered: {answer.channel}: {answer.said}" for answer in answers if not answer.delivered
    )


def with_topic(url: str, topic: str) -> str:
    """The URL with the topic as the last part of its path: ntfys://ntfy.sh -> ntfys://ntfy.sh/TOPIC."""
    if not topic:
        return url
    address, mark, query = url.partition("?")
    return f"{address.rstrip('/')}/{quote(topic, safe='')}{mark}{query}"


def _url(channel: Channel, secrets: Secrets) -> Secret | FleetError:
    try:
        return secrets.get(channel.url)
    except FleetError as error:
        return error


def _begin(
    url: Secret | FleetError, channel: Channel, notice: Notice, known: Sequence[Secret]
) -> Future[str]:
    """The channel's answer, once it is there: empty if it took the notice, else why not."""
    if isinstance(url, FleetError):
        failed: Future[str] = Future()
        failed.set_result(str(url))
        return failed
    title, body = texts(notice, known)
    address = with_topic(url.reveal(), channel.topic)
    return start(lambda: _deliver(address, notice.severity, title, body))


def _deliver(address: str, severity: Severity, title: str, body: str) -> str:
    import apprise  # noqa: PLC0415 - a tenth of a second that only those pay who tell something

    for name in ("apprise", "urllib3"):
        logging.getLogger(name).propagate = False  # `inv -d` would show the URLs, and the tokens in them
    # apprise's own time limit leaves a thread behind that keeps the process from ending: ours does not.
    there = apprise.Apprise(asset=apprise.AppriseAsset(service_timeout=0, app_id="fleet"))
    if not there.add(address):
        return "the URL is none that apprise knows; its documentation lists them by service"
    result = there.notify(
        body=body or title, title=title, notify_type=_TYPES[severity], body_format=apprise.NotifyFormat.TEXT
    )
    if result:
        return ""
    said = [entry.message for each in result for entry in each.logs()]
    return "; ".join(dict.fromkeys(said)) or "it did not take the notice"


def _answer(
    channel: Channel, answer: Future[str], began: float, seconds: float, known: Sequence[Secret]
) -> Answer:
    try:
        said = answer.result(max(0.0, began + seconds - time.monotonic()))
    except TimeoutError:
        said = f"no answer within {seconds:g} seconds"
    except Exception as error:  # noqa: BLE001 - some hundred services of a library: none may stop a backup
        said = f"{type(error).__name__}: {error}"
    said = printable(redact(said, known))[:_SAID]
    return Answer(channel.name, channel.severity, not said, said, time.monotonic() - began)
