"""Who hears of runs, kept from when hosts.yml could last be read: a slip in it must not make runs silent.

    ${XDG_STATE_HOME:-~/.local/state}/fleet/contacts/DIGEST.json     mode 0600

What is kept are references (`env:NAME`), never what they give.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.host.secrets import Reference
from fleet.notify.notice import Severity
from fleet.notify.send import Channel, channels

if TYPE_CHECKING:
    from fleet.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Contacts:
    """Whom the runs of one node tell."""

    node: str
    channels: tuple[Channel, ...] = ()
    #: By task, and schedule or replica where the task has several jobs.
    dead_man: Mapping[str, Mapping[str, Reference]] = field(default_factory=dict)


def contacts(inventory: Inventory) -> Contacts:
    """As hosts.yml says."""
    return Contacts(inventory.node.name, channels(inventory), inventory.dead_man)


def keep(hosts: Path, there: Contacts) -> str:
    """Keep them for the runs of this hosts.yml; empty, or in one line why that failed."""
    data = {
        "hosts": str(hosts.absolute()),
        "node": there.node,
        "channels": [[each.severity.value, _text(each.url), each.topic] for each in there.channels],
        "dead-man": {
            task: {job: _text(url) for job, url in each.items()} for task, each in there.dead_man.items()
        },
    }
    path, text = _path(hosts), json.dumps(data)
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return ""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except (OSError, ValueError) as error:
        return f"whom to tell when hosts.yml cannot be read is not kept: {error}"
    return ""


def kept(hosts: Path) -> Contacts | None:
    """Those that were kept last; None where there are none."""
    from fleet.inventory.secret import parse_ref  # noqa: PLC0415 - only where hosts.yml could not be read

    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        data = json.loads(_path(hosts).read_text(encoding="utf-8"))
        return Contacts(
            node=str(data["node"]),
            channels=tuple(
                Channel(Severity(severity), parse_ref(url), topic)
                for severity, url, topic in data["channels"]
            ),
            dead_man={
                task: {job: parse_ref(url) for job, url in each.items()}
                for task, each in data["dead-man"].items()
            },
        )
    return None


def _text(ref: Reference) -> str:
    return f"{ref.kind}:{ref.target}"


def _path(hosts: Path) -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    digest = hashlib.sha256(os.fsencode(hosts.absolute())).hexdigest()[:32]
    return base / "fleet" / "contacts" / f"{digest}.json"
