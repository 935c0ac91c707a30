"""How the pools and datasets of the lab are kept: one small file, and a log of snapshots for each dataset.

`/var/lib/fleet-lab/zfs.json` holds pools, datasets and bookmarks. The snapshots of a dataset stand in
`zfs-snapshots/GUID.GENERATION`, a line each: `["LABEL", {...}]`, or `["LABEL"]` for one that is gone. The
dataset's `log` in zfs.json says which generation counts and how many bytes of it, so that one rename commits
a change of many datasets, and what a killed command appended is as if it had never been. A change costs what
it touches: a thousand snapshots elsewhere are not read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, MutableMapping

from . import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Node = dict[str, Any]

FILE = "/var/lib/fleet-lab/zfs.json"
LOCK = "/var/lib/fleet-lab/zfs.lock"
_LOGS = "/var/lib/fleet-lab/zfs-snapshots"
_SPARE_LINES = 64  # a log is written anew when it has so many lines more than twice its snapshots


class _Group:
    """The snapshots of one dataset, by label, and what of them is not in the log yet."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.lines = 0
        self.changed: dict[str, None] = {}


class Snapshots(MutableMapping[str, "Node"]):
    """All snapshots by full name; those of a dataset are read when they are first asked for.

    A node that is changed in place is written only after `changed(name)`.
    """

    def __init__(self, datasets: dict[str, Node]) -> None:
        self._datasets = datasets
        self._groups: dict[str, _Group] = {}

    def of(self, base: str) -> dict[str, Node]:
        """{label: snapshot} of one dataset, not to be changed; {} where there is no such dataset."""
        group = self._group(base)
        return group.nodes if group else {}

    def changed(self, name: str) -> Node:
        """The snapshot of that name, which is about to be changed in place."""
        base, _, label = name.partition("@")
        group = self._group(base)
        if group is None:
            raise KeyError(name)
        group.changed[label] = None
        return group.nodes[label]

    def save(self) -> list[tuple[str, list[str]]]:
        """Append what changed to the logs; the datasets' `log` says so in zfs.json when that is written.

        (dataset, labels that came, changed or went) of each dataset that was written.
        """
        written: list[tuple[str, list[str]]] = []
        for base, node in self._datasets.items():
            group = self._groups.get(node["guid"])
            if group and group.changed:
                written.append((base, list(group.changed)))
                _append(node, group)
        return written

    def _group(self, base: str) -> _Group | None:
        node = self._datasets.get(base)
        if node is None:
            return None
        group = self._groups.get(node["guid"])
        if group is None:
            group = self._groups[node["guid"]] = _read(node)
        return group

    def __getitem__(self, name: str) -> Node:
        base, _, label = name.partition("@")
        group = self._group(base)
        if group is None:
            raise KeyError(name)
        return group.nodes[label]

    def __setitem__(self, name: str, node: Node) -> None:
        base, _, label = name.partition("@")
        group = self._group(base)
        if group is None:
            raise KeyError(name)
        group.nodes[label] = node
        group.changed[label] = None

    def __delitem__(self, name: str) -> None:
        base, _, label = name.partition("@")
        group = self._group(base)
        if group is None:
            raise KeyError(name)
        del group.nodes[label]
        group.changed[label] = None

    def __iter__(self) -> Iterator[str]:
        for base in self._datasets:
            for label in self.of(base):
                yield f"{base}@{label}"

    def __len__(self) -> int:
        return sum(len(self.of(base)) for base in self._datasets)


def _log(node: Node, generation: int) -> str:
    return paths.real(f"{_LOGS}/{node['guid']}.{generation}")


def _read(node: Node) -> _Group:
    """The snapshots that a dataset's log holds."""
    group = _Group()
    generation, length = node.get("log") or (0, 0)
    if not length:
        return group
    try:
        with open(_log(node, generation), "rb") as file:
            lines = file.read(length).splitlines()
    except FileNotFoundError:  # who reads without the lock may come late: what is there now counts
        fresh = [
            one for one in (read() or {"datasets": {}})["datasets"].values() if one["guid"] == node["guid"]
        ]
        return _read(fresh[0]) if fresh and fresh[0].get("log") != node["log"] else group
    group.lines = len(lines)
    for entry in json.loads(b"[" + b",".join(lines) + b"]"):
        if len(entry) == 1:
            del group.nodes[entry[0]]
        else:
            group.nodes[entry[0]] = entry[1]
    return group


def _append(node: Node, group: _Group) -> None:
    """Write a dataset's changes behind what counts of its log, or all of it into a log of its own."""
    generation, length = node.get("log") or (0, 0)
    labels = list(group.changed)
    group.changed.clear()
    if group.lines + len(labels) > 2 * len(group.nodes) + _SPARE_LINES:
        stale = _log(node, generation - 1)  # the one before is left for whoever reads at this moment
        if os.path.exists(stale):
            os.unlink(stale)
        generation, length, labels = generation + 1, 0, list(group.nodes)
        group.lines = 0
    group.lines += len(labels)
    data = "".join(
        json.dumps([label, group.nodes[label]] if label in group.nodes else [label]) + "\n"
        for label in labels
        if length or label in group.nodes
    ).encode()
    os.makedirs(paths.real(_LOGS), exist_ok=True)
    fd = os.open(_log(node, generation), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.ftruncate(fd, length)
        os.pwrite(fd, data, length)
    finally:
        os.close(fd)
    node["log"] = [generation, length + len(data)]


def forget(guid: str) -> None:
    """Delete the logs of a dataset that is gone."""
    directory = paths.real(_LOGS)
    if os.path.isdir(directory):
        for name in os.listdir(directory):
            if name.partition(".")[0] == guid:
                os.unlink(f"{directory}/{name}")


def read() -> dict[str, Any] | None:
    """What zfs.json holds; None where there is none yet."""
    try:
        with open(paths.real(FILE), encoding="utf-8") as file:
            data: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return data


def write(data: dict[str, Any]) -> None:
    """Replace zfs.json at once."""
    file = paths.real(FILE)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    temporary = f"{file}.tmp.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as out:
        out.write(json.dumps(data))  # json.dump is the slow one
    os.rename(temporary, file)
