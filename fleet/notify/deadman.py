"""Does anybody notice when no run happens at all? A watcher elsewhere, told of each start and end.

The convention is that of Healthchecks.io, which others follow: URL/start, URL at success, URL/fail, with what
there is to say as the body. Where nothing comes in time, the watcher raises the alarm.
"""

from __future__ import annotations

from enum import StrEnum
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

from fleet.core.errors import FleetError
from fleet.core.secret import Secret, redact
from fleet.host.secrets import Reference, Secrets
from fleet.notify.limited import start
from fleet.render.lines import printable

#: How long the watcher may take to answer.
SECONDS = 10.0
_BODY = 10_000  # bytes: Healthchecks.io keeps no more of a body in its free plan


class Signal(StrEnum):
    """What a run tells the watcher."""

    START = "start"
    SUCCESS = "success"
    FAIL = "fail"


def ping(url: Secret, signal: Signal, summary: str = "", *, seconds: float = SECONDS) -> str:
    """Tell the watcher; empty, or in one line why it did not hear it. Never raises, never takes longer."""
    try:
        address = _address(url.reveal(), signal)
        why = start(lambda: _post(address, summary, seconds)).result(seconds)
    except TimeoutError:
        why = f"no answer within {seconds:g} seconds"
    except (OSError, HTTPException, ValueError) as error:
        why = str(error) or type(error).__name__
    return f"the dead-man switch was not told ({signal}): {printable(redact(why, (url,)))}" if why else ""


def tell(
    ref: Reference | None, signal: Signal, secrets: Secrets, summary: str = "", *, seconds: float = SECONDS
) -> str:
    """`ping` of the watcher that hosts.yml names, if it names one; nothing secret is in what it is told."""
    if ref is None:
        return ""
    try:
        url = secrets.get(ref)
    except FleetError as error:
        return f"the dead-man switch was not told ({signal}): {error}"
    return ping(url, signal, redact(summary, secrets.known), seconds=seconds)


def _address(url: str, signal: Signal) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("its URL has to begin with https:// or http://")
    end = "" if signal is Signal.SUCCESS else f"/{signal}"
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + end))


def _post(address: str, summary: str, seconds: float) -> str:
    body = summary.encode()[:_BODY]
    request = Request(address, data=body, headers={"Content-Type": "text/plain; charset=utf-8"})  # noqa: S310
    try:
        with urlopen(request, timeout=seconds):  # noqa: S310 - http and https only, see _address
            return ""
    except HTTPError as error:
        with error:
            return f"it answered {error.code} {error.reason}"
    except URLError as error:
        return str(error.reason)
