"""What `zfs` does to datasets.

Create, destroy, snapshot, rollback, clone, promote (changes to existing ones: zfs_change.py).

Each function changes the tree in memory (and the files) or raises ZfsError with zfs's own words, which come
from libzfs.
"""

from __future__ import annotations

from . import clock, machine, zfs_content, zfs_data, zfs_streams
from .zfs_names import busy_check, check_name, reservation_for, valid_props
from .zfs_tree import Node, Tree, ZfsError, files_of, first_block, new_block, new_dataset, new_guid


def check_parent(tree: Tree, name: str) -> None:
    """Refuse a new dataset without a parent file system (check_parents)."""
    parent, slash, _ = name.rpartition("/")
    if not slash:
        raise ZfsError(f"cannot create '{name}': missing dataset name")
    if name.partition("/")[0] not in tree.pools:
        raise ZfsError(f"cannot create '{name}': no such pool '{name.partition('/')[0]}'")
    if parent not in tree.datasets:
        raise ZfsError(f"cannot create '{name}': parent does not exist")
    if tree.datasets[parent]["type"] != "filesystem":
        raise ZfsError(f"cannot create '{name}': parent is not a filesystem")


def create(
    tree: Tree,
    name: str,
    given: dict[str, str],
    *,
    volsize: int | None = None,
    sparse: bool = False,
    mounting: bool = True,
) -> None:
    """Create a file system, or a volume if a size is given."""
    what = f"cannot create '{name}'"
    kind = "filesystem" if volsize is None else "volume"
    check_name(what, name, "")
    check_parent(tree, name)
    if name in tree.datasets:
        raise ZfsError(f"{what}: dataset already exists")
    props = valid_props(what, kind, given, creating=True)
    if volsize is not None:
        if volsize == 0:
            raise ZfsError(f"{what}: volume size cannot be zero")
        block = int(props.get("volblocksize", "16384"))
        size = (volsize + block - 1) // block * block
        props["volsize"] = str(size)
        if not sparse:
            props.setdefault("refreservation", str(reservation_for(size)))
    parent = name.rpartition("/")[0]
    if full(name) or tree.available(parent) < int(props.get("refreservation", "0")) + (96 << 10):
        raise ZfsError(f"{what}: out of space")
    if int(props.get("reservation", "0")) > tree.available(parent):
        raise ZfsError(f"{what}: out of space")
    tree.datasets[name] = new_dataset(tree, kind, props, first_block(), None)
    tree.touched()
    if mounting and props.get("canmount", "on") == "on":
        zfs_data.mount(tree, name)


def full(name: str) -> bool:
    """Whether the lab was told that there is no space in a dataset or above it.

    faults.json says so: {"disk_full": [NAME, ...]}.
    """
    return any(
        name == full or name.startswith((full + "/", full + "@"))
        for full in machine.faults().get("disk_full", ())
    )


def destroy(tree: Tree, name: str, looking: bool = False) -> None:
    """Remove one dataset or snapshot, which must have been seen to be free to go.

    `looking`: refuse while a process is in the file system. Proxmox, which tries again and again then, does
    not look.
    """
    if "@" in name:
        node = tree.snapshots.pop(name)
        tree.touched()
        zfs_content.release(tree, name.partition("@")[0], files_of(node))
        return
    what = f"cannot destroy '{name}'"
    if tree.children(name):
        raise ZfsError(f"{what}: dataset already exists")
    if tree.snaps(name) or zfs_streams.sending(tree.datasets[name]["guid"]):
        raise ZfsError(f"{what}: dataset is busy")
    origin = tree.datasets[name]["origin"]
    busy_check(name, _unmounting(tree, name), tree.datasets[name]["mounted"] if looking else None)
    zfs_data.remove(tree, name)
    for mark in tree.marks(name):
        destroy_bookmark(tree, mark)
    tree.drop(name)
    if origin:
        destroy_deferred(tree, origin)


def _unmounting(tree: Tree, name: str) -> str:
    """What fails first of destroying a busy dataset: the unmount, where it is mounted."""
    where = tree.datasets[name]["mounted"]
    return f"cannot unmount '{where}': pool or" if where else f"cannot destroy '{name}':"


def destroy_deferred(tree: Tree, name: str) -> None:
    """Destroy a snapshot that `zfs destroy -d` marked, once nothing keeps it any more."""
    node = tree.snapshots.get(name)
    if node and node.get("defer") and not node["holds"] and not tree.clones(name):
        destroy(tree, name)


def destroy_bookmark(tree: Tree, name: str) -> None:
    """Remove a bookmark."""
    node = tree.bookmarks.pop(name)
    if "files" in node:
        zfs_content.release(tree, name.partition("#")[0], node["files"])


def dependents(tree: Tree, name: str) -> list[str]:
    """Everything that goes when a dataset goes.

    Children, snapshots, clones elsewhere, each after what depends on it.
    """
    found: list[str] = []

    def visit(one: str) -> None:
        """Add what depends on one dataset or snapshot, then itself."""
        below = tree.clones(one) if "@" in one else [*tree.children(one), *tree.snaps(one)]
        for other in below:
            if other not in found:
                visit(other)
                found.append(other)

    visit(name)
    return found


def partial(tree: Tree, name: str) -> bool:
    """Whether a dataset is only the beginning of one that is being received."""
    return bool(tree.datasets[name].get("receiving", {}).get("new"))


def snapshot(tree: Tree, names: list[str], given: dict[str, str]) -> None:
    """Take snapshots, all of them at one moment or none; ZfsError has a line for each that cannot be."""
    for name in names:
        check_name(f"cannot create snapshot '{name}'", name, "s")
        if name.partition("@")[0] not in tree.datasets:
            raise ZfsError(f"cannot open '{name.partition('@')[0]}': dataset does not exist")
    what = "cannot create snapshots "
    props = valid_props(what, "snapshot", given, creating=True)
    bases = [name.partition("@")[0] for name in names]
    if len(set(bases)) < len(bases) or len({base.partition("/")[0] for base in bases}) > 1:
        raise ZfsError(f"{what}: multiple snapshots of same fs not allowed")
    problems = [
        f"cannot create snapshot '{name}': {why}" for name in names if (why := _no_snapshot(tree, name))
    ]
    if problems:
        raise ZfsError(*problems)
    txg, now = tree.next_txg(), int(clock.now())
    for name in names:
        base = name.partition("@")[0]
        node = tree.datasets[base]
        entry: Node = {
            "guid": new_guid(),
            "txg": txg,
            "created": now,
            "props": dict(props),
            "holds": {},
            "blocks": dict(node["blocks"]),
        }
        if node["type"] == "volume":
            entry["props"]["volsize"] = node["props"]["volsize"]
        else:
            entry["files"] = zfs_content.take(tree, base)
        tree.snapshots[name] = entry
    tree.touched()


def _no_snapshot(tree: Tree, name: str) -> str | None:
    """Why a snapshot cannot be made, None if it can."""
    base = name.partition("@")[0]
    if name in tree.snapshots:
        return "dataset already exists"
    if partial(tree, base):
        return "dataset is busy"
    return "out of space" if full(base) else None


def clone(tree: Tree, origin: str, name: str, given: dict[str, str], mounting: bool = True) -> None:
    """Make a dataset from a snapshot; it shares the snapshot's space."""
    what = f"cannot create '{name}'"
    check_name(what, name, "")
    check_parent(tree, name)
    base = tree.datasets[origin.partition("@")[0]]
    props = valid_props(what, base["type"], given, creating=True)
    if name.partition("/")[0] != origin.partition("/")[0]:
        raise ZfsError(f"{what}: source and target pools differ")
    if name in tree.datasets:
        raise ZfsError(f"{what}: dataset already exists")
    if base["type"] == "volume":
        props.setdefault("volsize", tree.snapshots[origin]["props"]["volsize"])
    node = new_dataset(tree, base["type"], props, dict(tree.snapshots[origin]["blocks"]), origin)
    tree.datasets[name] = node
    tree.touched()
    if base["type"] == "filesystem":
        zfs_content.copy(tree, origin, zfs_data.store(node["guid"]))
        if mounting and props.get("canmount", "on") == "on":
            zfs_data.mount(tree, name)


def promote(tree: Tree, name: str) -> None:
    """Make a clone independent of its origin: the snapshots up to it become the clone's."""
    origin = tree.datasets[name]["origin"]
    if not origin:
        raise ZfsError(f"cannot promote '{name}': not a cloned filesystem")
    old = origin.partition("@")[0]
    moved = [s for s in tree.snaps(old) if tree.snapshots[s]["txg"] <= tree.snapshots[origin]["txg"]]
    clash = next((s for s in moved if f"{name}@{s.partition('@')[2]}" in tree.snapshots), None)
    if clash:
        raise ZfsError(
            f"cannot promote '{name}': conflicting snapshot '{clash.partition('@')[2]}' "
            f"from parent '{origin}'"
        )
    zfs_content.part(tree, old, moved)
    tree.datasets[name]["origin"] = tree.datasets[old]["origin"]
    tree.datasets[old]["origin"] = origin
    for snap in moved:
        rename_snapshot(tree, snap, f"{name}@{snap.partition('@')[2]}")
    tree.touched()


def rename_snapshot(tree: Tree, old: str, new: str) -> None:
    """Give a snapshot another name, everywhere."""
    tree.snapshots[new] = tree.snapshots.pop(old)
    for node in tree.datasets.values():
        if node["origin"] == old:
            node["origin"] = new


def create_ancestors(tree: Tree, name: str) -> None:
    """Create the missing file systems above a name (`-p`)."""
    parts = name.split("/")[:-1]
    if parts and parts[0] not in tree.pools:
        raise ZfsError(f"cannot create '{name}': no such pool '{parts[0]}'")
    for depth in range(1, len(parts) + 1):
        above = "/".join(parts[:depth])
        if above not in tree.datasets:
            create(tree, above, {})


def grow(tree: Tree, name: str, size: int) -> None:
    """Let a dataset refer to `size` bytes, as if that much had been written into it.

    For the guests' apparent sizes.
    """
    blocks = tree.datasets[name]["blocks"]
    short = size - sum(blocks.values())
    if short > 0:
        blocks[new_block()] = short
        tree.touched()
