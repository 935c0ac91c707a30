"""Names on replicas: where each source goes, the mark that says so, the bookmarks of what both have."""

from __future__ import annotations

import re

from fleet.domains.backup.spec import Replica

_BOOKMARK = re.compile(r"fleet-(?P<replica>.+)-(?P<time>\d{8}t\d{6}z)")
_ESCAPED = {".": "..", ":": ".c", "/": ":"}
_PLAIN = {text: char for char, text in _ESCAPED.items()}


def flat(dataset: str) -> str:
    """The dataset's path as one name: `tank/guests/subvol-107-disk-0` is `tank:guests:subvol-107-disk-0`.

    One level, so that no copy stands in the way of another one's parent; no two paths have one name.
    """
    return "".join(_ESCAPED.get(char, char) for char in dataset)


def unflat(name: str) -> str:
    """The path that `flat` was given."""
    return re.sub(r"\.\.|\.c|:", lambda match: _PLAIN[match[0]], name)


def target(replica: Replica, dataset: str) -> str:
    """The dataset on the replica that holds the copies of a source."""
    return f"{replica.dataset}/{flat(dataset)}"


def mark(installation: str, dataset: str) -> str:
    """The value of fleet:replica on the dataset that holds the copies of a source."""
    return f"{installation}:{dataset}"


def place(replica: Replica) -> str:
    """What stands before a dataset of the replica in the record; empty for one of this node."""
    return f"{replica.host}:" if replica.host else ""


def bookmark(replica: Replica, dataset: str, snapshot: str) -> str:
    """The bookmark of the newest snapshot that the replica has: `tank/data#fleet-usb-20261123t070000z`."""
    return f"{dataset}#fleet-{replica.name}-{snapshot[-16:]}"


def replica_of(bookmark_name: str) -> str:
    """The replica that a bookmark of ours (after the #) is for; empty for one that is not ours."""
    match = _BOOKMARK.fullmatch(bookmark_name)
    return match["replica"] if match else ""
