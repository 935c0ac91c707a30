"""What `zfs list -j` prints."""

from __future__ import annotations

import json

from .zfs_list import node_of, value_of
from .zfs_tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def show(tree: Tree, names: list[str], keys: list[str], literal: bool, numbers: bool) -> None:
    """Print properties of datasets; `numbers` as such rather than as texts."""
    datasets = {}
    for name in names:
        base, at, label = name.partition("@")
        about: dict[str, Any] = {
            "name": name,
            "type": tree.kind(name).upper(),
            "pool": base.partition("/")[0].partition("#")[0],
            "createtxg": _value(str(node_of(tree, name)["txg"]), numbers),
        }
        if at:
            about |= {"dataset": base, "snapshot_name": label}
        about["properties"] = {}
        for key in keys:
            value, source = value_of(tree, name, key, literal or numbers) or ("-", "-")
            if key != "name":
                about["properties"][key] = {"value": _value(value, numbers), "source": _source(source)}
        datasets[name] = about
    version = {"command": "zfs list", "vers_major": 0, "vers_minor": 1}
    print(json.dumps({"output_version": version, "datasets": datasets}, separators=(",", ":")))


def _value(text: str, numbers: bool) -> str | int:
    return int(text) if numbers and text.isdigit() else text


def _source(text: str) -> dict[str, str]:
    kind, _, where = text.partition(" from ")
    return {"type": "NONE" if kind == "-" else kind.upper(), "data": where or "-"}
