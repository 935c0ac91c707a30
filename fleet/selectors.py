"""Which guests a run is about: the one grammar of --limit and --exclude. Pure.

    plex  arr*          a name, a pattern of names
    120   100-110       a VMID, a range of VMIDs, both ends included
    tag:db  category:media  status:running
    !x                  all but what x selects

Selecting means including: several selectors add up, and those after `!` are taken from what the others select
(from all guests where there are no others). A selector that selects nothing is an error: most likely it is
misspelt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from fleet.core.errors import UsageError

STATUSES = ("running", "stopped", "absent")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A guest as selectors see it; `status` is one of STATUSES, or empty where no host was read."""

    name: str
    vmid: int
    tags: frozenset[str] = frozenset()
    category: str = ""
    status: str = ""


def select(
    guests: Iterable[Candidate], limit: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[Candidate, ...]:
    """The guests that `limit` includes (all without any) and `exclude` does not; UsageError for none."""
    guests = tuple(guests)
    included = _selected(guests, limit) if limit else frozenset(guests)
    excluded = _selected(guests, exclude) if exclude else frozenset()
    chosen = included - excluded
    left = tuple(guest for guest in guests if guest in chosen)
    if not left and (limit or exclude):
        said = " ".join(
            f"--{option} {','.join(words)}"
            for option, words in (("limit", limit), ("exclude", exclude))
            if words
        )
        raise UsageError(f"{said}: this selects no guest at all")
    return left


def _selected(guests: tuple[Candidate, ...], selectors: Sequence[str]) -> frozenset[Candidate]:
    """What the selectors, taken together, select."""
    wanted = [_matching(guests, text) for text in selectors if not text.startswith("!")]
    unwanted = [_matching(guests, text[1:]) for text in selectors if text.startswith("!")]
    return frozenset(guests if not wanted else ()).union(*wanted).difference(*unwanted)


def _matching(guests: tuple[Candidate, ...], text: str) -> frozenset[Candidate]:
    """The guests that one selector without `!` means; UsageError if there is none."""
    found = frozenset(filter(_test(text), guests))
    if not found:
        raise UsageError(f"{text!r} selects no guest{_hint(guests, text)}")
    return found


def _test(text: str) -> Callable[[Candidate], bool]:
    """The question that a selector asks of each guest."""
    kind, colon, value = text.partition(":")
    if colon:
        return _keyed(kind, value)
    if span := re.fullmatch(r"(\d+)-(\d+)", text):
        first, last = int(span[1]), int(span[2])
        if first > last:
            raise UsageError(f"{text!r} is an empty range of VMIDs; write it as {last}-{first}")
        return lambda guest: first <= guest.vmid <= last
    if text.isdigit():
        return lambda guest: guest.vmid == int(text)
    return lambda guest: fnmatchcase(guest.name, text)


def _keyed(kind: str, value: str) -> Callable[[Candidate], bool]:
    if kind == "tag":
        return lambda guest: any(fnmatchcase(tag, value) for tag in guest.tags)
    if kind == "category":
        return lambda guest: fnmatchcase(guest.category, value)
    if kind == "status":
        if value not in STATUSES:
            raise UsageError(f"'status:{value}': the status of a guest is one of {', '.join(STATUSES)}")
        return lambda guest: guest.status == value
    near = get_close_matches(kind, ("tag", "category", "status"), n=1)
    hint = f"; did you mean {near[0]}:{value}?" if near else ""
    raise UsageError(f"'{kind}:{value}': a selector with a colon is tag:, category: or status:{hint}")


def _hint(guests: tuple[Candidate, ...], text: str) -> str:
    """What may have been meant, as text to append."""
    kind, colon, value = text.partition(":")
    if kind == "tag":
        known = {tag for guest in guests for tag in guest.tags}
    elif kind == "category":
        known = {guest.category for guest in guests if guest.category}
    elif colon or re.fullmatch(r"[\d-]+", text):
        known = set()
    else:
        known = {guest.name for guest in guests}
    near = get_close_matches(value if colon else text, sorted(known), n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(f'{kind}:{word}' if colon else word for word in near)}?"
    if colon and known:
        return f"; known are {', '.join(sorted(known))}"
    return "; `inv status` shows all guests"
