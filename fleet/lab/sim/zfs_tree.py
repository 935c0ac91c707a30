"""The pools and datasets of the lab: /var/lib/fleet-lab/zfs.json, its lock, and what can be computed from it.

The file is a tree that tests may break by hand:

    {"txg": N,
     "pools":     {POOL: {"size": BYTES, "guid": STR, "created": EPOCH, "props": {}}},
     "datasets":  {NAME: {"type": "filesystem"|"volume", "guid": STR, "txg": N, "created": EPOCH,
                          "props": {KEY: VALUE}, "received": {KEY: VALUE}, "blocks": {ID: BYTES},
                          "origin": SNAPSHOT|null, "mounted": PATH|null}},
     "snapshots": {NAME@SNAP: {"guid": STR, "txg": N, "created": EPOCH, "props": {}, "blocks": {},
                               "holds": {TAG: EPOCH}}},
     "bookmarks": {NAME#MARK: {"guid": STR, "txg": N, "created": EPOCH}}}

`blocks` models space: a snapshot keeps its dataset's blocks, a clone starts with its origin's, so used,
referenced and written follow as they do on a real pool. `props` are the values set here (source local). It is
made from machine.json (`pools`, `datasets`) on first use, and written atomically under a lock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import machine, paths
from .zfs_props import ALIASES, PROPS, ZERO_IS_NONE, is_user

EMPTY = 96 * 1024  # what an empty file system refers to
POOL_OVERHEAD = 276 * 1024  # metadata of a pool that no dataset shows
_SLOP_MAX, _SLOP_MIN = 128 << 30, 128 << 20

Node = dict[str, Any]


class ZfsError(Exception):
    """A refusal of zfs: `lines` for stderr, exit code 1 unless told otherwise."""

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code


class Tree:
    """The tree in memory; changes are kept by `save` (or by `changing`, which does it at the end)."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.pools: dict[str, Node] = data["pools"]
        self.datasets: dict[str, Node] = data["datasets"]
        self.snapshots: dict[str, Node] = data["snapshots"]
        self.bookmarks: dict[str, Node] = data["bookmarks"]
        self.txg: int = data["txg"]
        self._used: dict[str, int] | None = None
        self._index: tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]] | None = None

    def save(self) -> None:
        """Write the file atomically."""
        file = paths.real("/var/lib/fleet-lab/zfs.json")
        os.makedirs(os.path.dirname(file), exist_ok=True)
        temporary = f"{file}.tmp.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as out:
            json.dump(
                {
                    "txg": self.txg,
                    "pools": self.pools,
                    "datasets": self.datasets,
                    "snapshots": self.snapshots,
                    "bookmarks": self.bookmarks,
                },
                out,
            )
        os.rename(temporary, file)

    def touched(self) -> None:
        """Forget what was computed, after a change."""
        self._used = None
        self._index = None

    def _indexed(self) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
        """(children of datasets, snapshots of datasets by age, clones of snapshots)."""
        if self._index is None:
            children: dict[str, list[str]] = {}
            snaps: dict[str, list[str]] = {}
            clones: dict[str, list[str]] = {}
            for name in sorted(self.datasets):
                children.setdefault(name.rpartition("/")[0], []).append(name)
                if self.datasets[name]["origin"]:
                    clones.setdefault(self.datasets[name]["origin"], []).append(name)
            for snap in sorted(self.snapshots, key=lambda s: int(self.snapshots[s]["txg"])):
                snaps.setdefault(snap.partition("@")[0], []).append(snap)
            self._index = children, snaps, clones
        return self._index

    # --- names

    def find(self, name: str) -> Node | None:
        """The dataset, snapshot or bookmark of that name, None if there is none."""
        if "@" in name:
            return self.snapshots.get(name)
        return self.bookmarks.get(name) if "#" in name else self.datasets.get(name)

    def kind(self, name: str) -> str:
        """filesystem, volume, snapshot or bookmark."""
        if "@" in name:
            return "snapshot"
        return "bookmark" if "#" in name else str(self.datasets[name]["type"])

    def children(self, name: str) -> list[str]:
        """The datasets right below one, sorted."""
        return list(self._indexed()[0].get(name, ()))

    def below(self, name: str) -> list[str]:
        """All datasets below one, sorted."""
        return sorted(n for n in self.datasets if n.startswith(name + "/"))

    def snaps(self, name: str) -> list[str]:
        """The snapshots of one dataset, oldest first."""
        return list(self._indexed()[1].get(name, ()))

    def marks(self, name: str) -> list[str]:
        """The bookmarks of one dataset, by name."""
        return sorted(b for b in self.bookmarks if b.startswith(name + "#"))

    def clones(self, snapshot: str) -> list[str]:
        """The datasets made from a snapshot, sorted."""
        return list(self._indexed()[2].get(snapshot, ()))

    def next_txg(self) -> int:
        """A transaction group later than all before."""
        self.txg += 1
        return self.txg

    # --- properties

    def local(self, name: str, key: str) -> str:
        """The value of a settable number of one dataset, its default if unset (`quota` -> "0")."""
        return str(self.datasets[name]["props"].get(key, PROPS[key].default))

    def number(self, name: str, key: str) -> int:
        """A settable number as such; 0 when there is none."""
        value = self.local(name, key)
        return int(value) if value.isdigit() else 0

    def source(self, name: str, key: str) -> tuple[str, str] | None:
        """(value, source) of a property that can be set, source as zfs prints it.

        None where it has no value.
        """
        base = name.partition("@")[0]
        prop = PROPS.get(key)
        own = self.snapshots[name] if "@" in name else self.datasets[base]
        if key in own["props"]:
            return str(own["props"][key]), "local"
        if key in own.get("received", {}):
            return str(own["received"][key]), "received"
        if prop is None or prop.how == "i":
            above = base if "@" in name else base.rpartition("/")[0]
            while above:
                node = self.datasets[above]
                for where in (node["props"], node.get("received", {})):
                    if key in where:
                        return self._inherited(name, above, key, str(where[key])), f"inherited from {above}"
                above = above.rpartition("/")[0]
        if prop is None:
            return None
        if prop.how == "o":
            return prop.default, "-" if key != "encryption" else "default"
        if key == "mountpoint":
            return "/" + base, "default"
        return prop.default, "-" if key == "version" else "default"

    def _inherited(self, name: str, above: str, key: str, value: str) -> str:
        """A value as the one below has it: a mount point gains the rest of the name."""
        if key != "mountpoint" or value in ("none", "legacy"):
            return value
        return value.rstrip("/") + name.partition("@")[0][len(above) :]

    def mountpoint(self, name: str) -> str:
        """Where a file system is to be mounted, or none, or legacy."""
        found = self.source(name, "mountpoint")
        return found[0] if found else "none"

    # --- space

    def referenced(self, node: Node) -> int:
        """Bytes of a dataset or snapshot that it can reach."""
        return sum(node["blocks"].values())

    def _origin_blocks(self, name: str) -> dict[str, int]:
        origin = self.datasets[name]["origin"]
        return dict(self.snapshots[origin]["blocks"]) if origin in self.snapshots else {}

    def by_dataset(self, name: str) -> int:
        """usedbydataset: what destroying the dataset alone would free."""
        shared = self._origin_blocks(name)
        return sum(size for block, size in self.datasets[name]["blocks"].items() if block not in shared)

    def by_snapshots(self, name: str, snaps: list[str]) -> int:
        """usedbysnapshots: what destroying all of its snapshots would free."""
        shared = {**self._origin_blocks(name), **self.datasets[name]["blocks"]}
        gone: dict[str, int] = {}
        for snap in snaps:
            gone |= {b: s for b, s in self.snapshots[snap]["blocks"].items() if b not in shared}
        return sum(gone.values())

    def by_refreservation(self, name: str) -> int:
        """usedbyrefreservation: what is set aside and not yet referred to."""
        return max(0, self.number(name, "refreservation") - self.referenced(self.datasets[name]))

    def used_all(self) -> dict[str, int]:
        """Used of every dataset, its children included."""
        if self._used is None:
            used: dict[str, int] = {}
            children: dict[str, int] = {}
            for name in sorted(self.datasets, key=lambda n: -n.count("/")):
                total = (
                    self.by_dataset(name)
                    + self.by_snapshots(name, self.snaps(name))
                    + self.by_refreservation(name)
                    + children.get(name, 0)
                )
                if "/" not in name:
                    total += POOL_OVERHEAD
                used[name] = total
                above = name.rpartition("/")[0]
                if above:
                    children[above] = children.get(above, 0) + max(total, self.number(name, "reservation"))
            self._used = used
        return self._used

    def used(self, name: str) -> int:
        """Used of one dataset, or of a snapshot: what destroying it alone would free."""
        if "@" not in name:
            return self.used_all()[name]
        base = name.partition("@")[0]
        others = [
            self.datasets[base],
            *(self.snapshots[s] for s in self.snaps(base) if s != name),
            *(self.datasets[c] for c in self.clones(name)),
        ]
        held = {block for node in others for block in node["blocks"]} | set(self._origin_blocks(base))
        return sum(s for b, s in self.snapshots[name]["blocks"].items() if b not in held)

    def pool_usable(self, pool: str) -> int:
        """Bytes that a pool can hold: its size less the slop of 1/32 (spa_get_slop_space)."""
        size = int(self.pools[pool]["size"])
        return size - min(max(size // 32, min(_SLOP_MIN, size // 2)), _SLOP_MAX)

    def available(self, name: str) -> int:
        """Avail of a dataset: the pool's rest, within every quota above and its own refquota."""
        used = self.used_all()
        pool = name.partition("/")[0]
        space = self.pool_usable(pool) - used[pool]
        above = name
        while above:
            quota = self.number(above, "quota")
            if quota:
                space = min(space, quota - used[above])
            above = above.rpartition("/")[0]
        space += self.by_refreservation(name)
        refquota = self.number(name, "refquota")
        if refquota:
            space = min(space, refquota - self.referenced(self.datasets[name]))
        return max(0, space)

    def written(self, name: str) -> int:
        """written: bytes referred to since the snapshot before."""
        base = name.partition("@")[0]
        node = self.snapshots[name] if "@" in name else self.datasets[base]
        earlier = [s for s in self.snaps(base) if self.snapshots[s]["txg"] < node["txg"] or name == base]
        before = self.snapshots[earlier[-1]]["blocks"] if earlier else self._origin_blocks(base)
        return sum(s for b, s in node["blocks"].items() if b not in before)


def new_guid() -> str:
    """A random guid as ZFS has them."""
    return str(int.from_bytes(os.urandom(8), "big") >> 1 | 1 << 62)


def load(measured: bool = False) -> Tree:
    """The tree as it is now; with the sizes of what lies in mounted file systems if asked for."""
    tree = _load()
    if measured:
        from . import zfs_data

        zfs_data.measure(tree)
    return tree


def _load() -> Tree:
    """The tree in the file, or that of machine.json."""
    try:
        with open(paths.real("/var/lib/fleet-lab/zfs.json"), encoding="utf-8") as file:
            return Tree(json.load(file))
    except FileNotFoundError:
        return _seed()


@contextmanager
def changing(measured: bool = False) -> Iterator[Tree]:
    """The tree, locked; written when the block ends without an error. `measured` as for load."""
    import fcntl

    file = paths.real("/var/lib/fleet-lab/zfs.lock")
    os.makedirs(os.path.dirname(file), exist_ok=True)
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = load(measured)
        yield tree
        tree.save()
    finally:
        os.close(lock)


def new_dataset(
    tree: Tree, kind: str, props: dict[str, str], blocks: dict[str, int], origin: str | None
) -> Node:
    """A dataset that is not in the tree yet."""
    return {
        "type": kind,
        "guid": new_guid(),
        "txg": tree.next_txg(),
        "created": int(time.time()),
        "props": props,
        "received": {},
        "blocks": blocks,
        "origin": origin,
        "mounted": None,
    }


def first_block() -> dict[str, int]:
    """The blocks of an empty dataset."""
    return {new_guid(): EMPTY}


def _seed() -> Tree:
    """The tree that machine.json describes.

    `pools` [{name, size}], `datasets` [{name, properties?, mountpoint?, ...}].
    """
    from . import zfs_data

    tree = Tree({"txg": 1, "pools": {}, "datasets": {}, "snapshots": {}, "bookmarks": {}})
    facts = machine.facts()
    for pool in facts.get("pools", []):
        tree.pools[pool["name"]] = {
            "size": int(pool["size"]),
            "guid": new_guid(),
            "created": int(time.time()),
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
    from .zfs_props import parse

    text = str(value)
    if key in ZERO_IS_NONE or (key in PROPS and PROPS[key].kind == "n"):
        return parse(key, text, "filesystem")
    return text
