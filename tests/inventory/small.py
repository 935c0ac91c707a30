"""A small hosts.yml to change: what a test is about, it says itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.core.errors import InventoryError
from fleet.domains.guests.spec import Container
from fleet.inventory import Inventory
from fleet.inventory.reading import load_bytes

HEAD = """\
node: {name: pve, address: lab}
storage:
  pools: [tank]
  datasets:
    tank/data: {mountpoint: /data}
  storages:
    local: {given: true}
    guests: {type: zfspool, pool: tank, content: [rootdir]}
  templates:
    debian: {storage: local, prefix: debian-13-standard}
mounts:
  data: {source: /data, mp: /data, slot: mp0}
  docker: {storage: guests, mp: /docker, size: 8G, slot: mp1, backup: 1}
"""
WEB = "containers:\n  web:\n    vmid: 100\n    template: debian\n    rootfs: guests:8\n"


def load_text(text: str | bytes) -> Inventory:
    """What this text of hosts.yml says."""
    return load_bytes(text if isinstance(text, bytes) else text.encode(), Path("hosts.yml"))


def web(lines: str = "", *, layers: str = "") -> Container:
    """The container web with these lines added to it."""
    added = "".join(f"    {line}\n" for line in lines.splitlines())
    (container,) = load_text(f"{HEAD}{layers}{WEB}{added}").containers
    return container


def problems(text: str | bytes) -> list[str]:
    """What is said of a text that is refused."""
    with pytest.raises(InventoryError) as caught:
        load_text(text)
    return [str(problem) for problem in caught.value.problems]


def web_problems(lines: str, *, layers: str = "") -> list[str]:
    """What is said of the container web with these lines, without file and line."""
    added = "".join(f"    {line}\n" for line in lines.splitlines())
    return [said.split(" ", 1)[1] for said in problems(f"{HEAD}{layers}{WEB}{added}")]
