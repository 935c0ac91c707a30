"""The pools and datasets of the lab, their lock, and what can be computed from them.

They are kept as zfs_store.py says:

    {"txg": N,
     "pools":     {POOL: {"size": BYTES, "guid": STR, "created": EPOCH, "props": {}}},
     "datasets":  {NAME: {"type": "filesystem"|"volume", "guid": STR, "txg": N, "created": EPOCH,
                          "props": {KEY: VALUE}, "received": {KEY: VALUE}, "blocks": {ID: BYTES},
                          "origin": SNAPSHOT|null, "mounted": PATH|null, "log": [N, BYTES],
                          "content": [SIGNATURE, ID], "receiving": {...}}},
     "bookmarks": {NAME#MARK: {"guid": STR, "txg": N, "created": EPOCH, "blocks": {}, "files": ID}}}

and each snapshot as {"guid": STR, "txg": N, "created": EPOCH, "props": {}, "received": {}, "blocks": {},
"holds": {TAG: EPOCH}, "files": ID, "defer": BOOL}.

`blocks` models space: a snapshot keeps its dataset's blocks, a clone starts with its origin's, so used,
referenced and written follow as they do on a real pool. `props` are the values set here (source local). It is
made from machine.json (`pools`, `datasets`) on first use, and written atomically under a lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import clock, paths, zfs_store
from .zfs_props import PROPS

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
        self.bookmarks: dict[str, Node] = data["bookmarks"]
        self.snapshots = zfs_store.Snapshots(self.datasets)
        self.txg: int = data["txg"]
        self._gone: list[str] = []
        self.touched()
        for name, node in data.get("snapshots", {}).items():  # as labs of older fleets kept them
            self.snapshots[name] = node

    def save(self) -> None:
        """Write what changed; all of it counts at once."""
        from . import zfs_control

        for base, labels in self.snapshots.save():
            zfs_control.update(self, base, labels)
        zfs_store.write(
            {"txg": self.txg, "pools": self.pools, "datasets": self.datasets, "bookmarks": self.bookmarks}
        )
        for guid in self._gone:
            zfs_store.forget(guid)
            zfs_control.forget(guid)

    def touched(self) -> None:
        """Forget what was computed, after a change."""
        self._used: dict[str, int] | None = None
        self._index: tuple[dict[str, list[str]], dict[str, list[str]]] | None = None
        self._snaps: dict[str, list[str]] = {}
        self._unique: dict[str, dict[str, int]] = {}
        self._written: dict[str, dict[str, int]] = {}
        self._above: dict[tuple[str, str], tuple[str, str] | None] = {}

    def drop(self, name: str) -> None:
        """Take a dataset with its snapshots and bookmarks out of the tree."""
        for mark in self.marks(name):
            del self.bookmarks[mark]
        self._gone.append(self.datasets.pop(name)["guid"])
        self.touched()

    def _indexed(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """(children of datasets, clones of snapshots)."""
        if self._index is None:
            children: dict[str, list[str]] = {}
            clones: dict[str, list[str]] = {}
            for name in sorted(self.datasets):
                children.setdefault(name.rpartition("/")[0], []).append(name)
                if self.datasets[name]["origin"]:
                    clones.setdefault(self.datasets[name]["origin"], []).append(name)
            self._index = children, clones
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
        found = self._snaps.get(name)
        if found is None:
            nodes = self.snapshots.of(name)
            found = [f"{name}@{label}" for label in sorted(nodes, key=lambda one: int(nodes[one]["txg"]))]
            self._snaps[name] = found
        return list(found)

    def marks(self, name: str) -> list[str]:
        """The bookmarks of one dataset, by name."""
        return sorted(b for b in self.bookmarks if b.startswith(name + "#"))

    def clones(self, snapshot: str) -> list[str]:
        """The datasets made from a snapshot, sorted."""
        return list(self._indexed()[1].get(snapshot, ()))

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
        if key in received_of(own):
            return str(own["received"][key]), "received"
        if prop is None or prop.how == "i":
            found = self._from_above(base if "@" in name else base.rpartition("/")[0], key)
            if found is not None:
                value, above = found
                return self._inherited(name, above, key, value), f"inherited from {above}"
        if prop is None:
            return None
        if prop.how == "o":
            return prop.default, "-" if key != "encryption" else "default"
        if key == "mountpoint":
            return "/" + base, "default"
        return prop.default, "-" if key == "version" else "default"

    def _from_above(self, base: str, key: str) -> tuple[str, str] | None:
        """(value, where it is set) of a property in a dataset or the nearest one above it."""
        if (base, key) not in self._above:
            found: tuple[str, str] | None = None
            above = base
            while above and found is None:
                node = self.datasets[above]
                for where in (node["props"], received_of(node)):
                    if key in where:
                        found = str(where[key]), above
                        break
                above = above.rpartition("/")[0]
            self._above[base, key] = found
        return self._above[base, key]

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

    def origin_blocks(self, name: str) -> dict[str, int]:
        """The blocks that a clone began with; none for a dataset that is no clone."""
        origin = self.datasets[name]["origin"]
        return dict(self.snapshots[origin]["blocks"]) if origin and origin in self.snapshots else {}

    def by_dataset(self, name: str) -> int:
        """usedbydataset: what destroying the dataset alone would free."""
        shared = self.origin_blocks(name)
        return sum(size for block, size in self.datasets[name]["blocks"].items() if block not in shared)

    def by_snapshots(self, name: str, snaps: list[str]) -> int:
        """usedbysnapshots: what destroying all of its snapshots would free."""
        shared = {**self.origin_blocks(name), **self.datasets[name]["blocks"]}
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
        return self._unique_of(name.partition("@")[0])[name]

    def _unique_of(self, base: str) -> dict[str, int]:
        """{snapshot: bytes that only it refers to} of a dataset's snapshots."""
        if base not in self._unique:
            snaps = self.snaps(base)
            count: dict[str, int] = {}
            for node in [
                self.datasets[base],
                *(self.snapshots[snap] for snap in snaps),
                *(self.datasets[clone] for snap in snaps for clone in self.clones(snap)),
            ]:
                for block in node["blocks"]:
                    count[block] = count.get(block, 0) + 1
            shared = self.origin_blocks(base)
            self._unique[base] = {
                snap: sum(
                    size
                    for block, size in self.snapshots[snap]["blocks"].items()
                    if count[block] == 1 and block not in shared
                )
                for snap in snaps
            }
        return self._unique[base]

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
        if base not in self._written:
            before = self.origin_blocks(base)
            found: dict[str, int] = {}
            for one in [*self.snaps(base), base]:
                node = self.find(one)
                assert node is not None
                blocks = node["blocks"]
                found[one] = sum(size for block, size in blocks.items() if block not in before)
                before = blocks
            self._written[base] = found
        return self._written[base][name]


def received_of(node: Node) -> dict[str, str]:
    """The received properties of a dataset or snapshot, without those that `zfs inherit` hid."""
    hidden = node.get("hidden", ())
    received: dict[str, str] = node.get("received", {})
    return {key: value for key, value in received.items() if key not in hidden} if hidden else received


def files_of(snapshot: Node) -> str:
    """The ID of the copy of a snapshot's files; older labs had one for each, by its guid."""
    return str(snapshot.get("files") or snapshot["guid"])


def new_guid() -> str:
    """A random guid as ZFS has them."""
    return str(int.from_bytes(os.urandom(8), "big") | 1 << 60)


def new_block() -> str:
    """The id of a block that nothing refers to yet."""
    return os.urandom(5).hex()


def load(measured: bool = False) -> Tree:
    """The tree as it is now; with the sizes of what lies in mounted file systems if asked for."""
    tree = _load()
    if measured:
        from . import zfs_data

        zfs_data.measure(tree)
    return tree


def _load() -> Tree:
    """The tree that is kept, or that of machine.json."""
    data = zfs_store.read()
    if data is not None:
        tree = Tree(data)
        if any("receiving" in node for node in tree.datasets.values()):
            from . import zfs_partial

            zfs_partial.forget_dead(tree)
        return tree
    from . import zfs_seed

    return zfs_seed.seed()


@contextmanager
def changing(measured: bool = False) -> Iterator[Tree]:
    """The tree, locked; written when the block ends without an error. `measured` as for load."""
    import fcntl

    file = paths.real(zfs_store.LOCK)
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
        "created": int(clock.now()),
        "props": props,
        "received": {},
        "blocks": blocks,
        "origin": origin,
        "mounted": None,
    }


def first_block() -> dict[str, int]:
    """The blocks of an empty dataset."""
    return {new_block(): EMPTY}
