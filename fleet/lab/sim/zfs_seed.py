"""The first state of a lab's pools: what machine.json says of them."""

from __future__ import annotations

from typing import Any

from . import clock, machine, zfs_data
from .zfs_props import ALIASES, PROPS, ZERO_IS_NONE, is_user, parse
from .zfs_tree import Tree, first_block, new_dataset, new_guid


def seed() -> Tree:
    """The tree that machine.json describes.

    `pools` [{name, size}], `datasets` [{name, properties?, mountpoint?, ...}].
    """
    tree = Tree({"txg": 1, "pools": {}, "datasets": {}, "bookmarks": {}})
    facts = machine.facts()
    for pool in facts.get("pools", []):
        tree.pools[pool["name"]] = {
            "size": int(pool["size"]),
            "guid": new_guid(),
            "created": int(clock.now()),
            "props": {},
        }
        _seed_dataset(tree, pool["name"], pool)
    for dataset in sorted(facts.get("datasets", []), key=lambda d: str(d["name"])):
        _seed_dataset(tree, dataset["name"], dataset)
    for name in sorted(tree.datasets):
        zfs_data.mount(tree, name)
    if tree.pools:
        tree.save()
    return tree


def _seed_dataset(tree: Tree, name: str, facts: dict[str, Any]) -> None:
    """One dataset of machine.json; its properties may stand in `properties` or beside the name."""
    given = {**facts, **facts.get("properties", {})}
    props = {
        ALIASES.get(k, k): _seed_value(k, v)
        for k, v in given.items()
        if (k in PROPS and PROPS[k].how != "r") or is_user(k)
    }
    tree.datasets[name] = new_dataset(tree, "filesystem", props, first_block(), None)


def _seed_value(key: str, value: object) -> str:
    """A stored value from one of machine.json."""
    text = str(value)
    if key in ZERO_IS_NONE or (key in PROPS and PROPS[key].kind == "n"):
        return parse(key, text, "filesystem")
    return text
