"""A secret's value: printed as `***` wherever it turns up, and taken out of texts that others wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NoReturn, final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

HIDDEN = "***"

#: Shorter texts are too common to be looked for: taking them out would spoil what is said.
_SHORTEST = 4
#: Parts of a URL that are shorter are words of an API, not tokens.
_SHORTEST_PART = 8


@final
class Secret:
    """A value that only `reveal` gives away; `name` says where it came from (`env:NAME`)."""

    __slots__ = ("__value", "name")

    def __init__(self, value: str, name: str) -> None:
        self.__value = value
        self.name = name

    def reveal(self) -> str:
        """The value itself: for what needs it, never for a message, a command line or a log."""
        return self.__value

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({self.name}: {HIDDEN})"

    def __format__(self, _spec: str) -> str:
        return HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """The text with `***` in place of the secrets, and of what a URL or a file among them hides."""
    hidden = {form for secret in secrets for form in _forms(secret.reveal())}
    for each in sorted(hidden, key=len, reverse=True):
        text = text.replace(each, HIDDEN)
    return text


def _forms(value: str) -> Iterator[str]:
    """Every text by which the value would be known."""
    for part in (value, *(line.strip() for line in value.splitlines()), *_of_url(value)):
        if len(part) >= _SHORTEST:
            yield from {part, quote(part), quote(part, safe=""), unquote(part)}


def _of_url(value: str) -> Iterator[str]:
    """The parts of a URL that give its owner's rights away: who logs in, tokens in path and query."""
    try:
        url = urlsplit(value)
        password, user = url.password, url.username
    except ValueError:
        return
    if not url.scheme or not url.netloc:
        return
    if password:
        yield password
    long = [user or "", *url.path.split("/"), *(each for _, each in parse_qsl(url.query))]
    if "." not in url.netloc and url.hostname != "localhost":
        long.append(url.netloc)  # discord://ID/TOKEN, tgram://TOKEN/CHAT: what looks like a host is none
    yield from (part for part in long if len(part) >= _SHORTEST_PART)
