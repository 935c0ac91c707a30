"""What `zfs` does to datasets: create, destroy, snapshot, rollback, clone, promote, rename, set, inherit.

Each function changes the tree in memory (and the files) or raises ZfsError with zfs's own words, which come from libzfs.
"""

from __future__ import annotations

import os
import re
import time

from . import machine, paths, zfs_data
from .zfs_props import PROPS, ZERO_IS_NONE, BadValue, canonical, is_user, parse
from .zfs_tree import Node, Tree, ZfsError, first_block, new_dataset, new_guid

_NAME_CHARACTERS = re.compile(r"[^A-Za-z0-9_\-.: %@#/]")


def check_name(what: str, name: str, kinds: str) -> None:
    """Refuse a malformed name; `kinds` holds s where a snapshot may stand, b a bookmark. `what` begins the message."""
    problem = _name_problem(name, kinds)
    if problem:
        raise ZfsError(f"{what}: {problem}")


def _name_problem(name: str, kinds: str) -> str | None:
    """What is wrong with a name (zfs_validate_name), None if nothing."""
    if "s" not in kinds and "@" in name:
        return "snapshot delimiter '@' is not expected here"
    if kinds == "s" and "@" not in name:
        return "missing '@' delimiter in snapshot name"
    if "b" not in kinds and "#" in name:
        return "bookmark delimiter '#' is not expected here"
    if len(name) >= 256:
        return "name is too long"
    if name.startswith("/"):
        return "leading slash in name"
    if name.endswith("/"):
        return "trailing slash in name"
    if name.count("@") + name.count("#") > 1:
        return "multiple '@' and/or '#' delimiters in name"
    if any(part == "" for part in re.split(r"[/@#]", name)):
        return "empty component or misplaced '@' or '#' delimiter in name"
    bad = _NAME_CHARACTERS.search(name)
    if bad:
        return f"invalid character '{bad.group()}' in name"
    if not name[0].isalpha():
        return "pool doesn't begin with a letter"
    parts = re.split(r"[/@#]", name)
    if "." in parts:
        return "self reference, '.' is found in name"
    return "parent reference, '..' is found in name" if ".." in parts else None


def need(tree: Tree, name: str, kinds: str = "fvs") -> None:
    """Refuse a name that is no dataset of these kinds (zfs_open)."""
    letters = {"filesystem": "f", "volume": "v", "snapshot": "s", "bookmark": "b"}
    check_name(f"cannot open '{name}'", name, kinds)
    if tree.find(name) is None:
        raise ZfsError(f"cannot open '{name}': dataset does not exist")
    if letters[tree.kind(name)] not in kinds:
        raise ZfsError(f"cannot open '{name}': operation not applicable to datasets of this type")


def _check_parent(tree: Tree, name: str) -> None:
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


def valid_props(what: str, kind: str, given: dict[str, str], creating: bool) -> dict[str, str]:
    """The stored form of properties given by the user; `what` begins the message, `kind` is the dataset's."""
    result: dict[str, str] = {}
    for given_name, value in given.items():
        if is_user(given_name):
            if len(value) >= 8192:
                raise ZfsError(f"{what}: property value is too long")
            result[given_name] = value
            continue
        name = canonical(given_name)
        if name is None or name == "name":
            raise ZfsError(f"{what}: invalid property '{given_name}'")
        prop = PROPS[name]
        if kind == "snapshot":
            raise ZfsError(f"{what}: this property can not be modified for snapshots")
        if kind[0] not in prop.types:
            raise ZfsError(f"{what}: '{name}' does not apply to datasets of this type")
        if prop.how == "r" or (prop.how == "o" and not creating):
            raise ZfsError(f"{what}: '{name}' is readonly")
        try:
            result[name] = parse(name, value, kind)
        except BadValue as error:
            raise ZfsError(f"{what}: {error}") from None
    return result


def reservation_for(volsize: int) -> int:
    """The refreservation of a thick volume: its size and its metadata (zvol_volsize_to_reservation, about 1.6 %)."""
    return volsize + volsize // 64


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
    _check_parent(tree, name)
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
    if _full(name) or tree.available(parent) < int(props.get("refreservation", "0")) + (96 << 10):
        raise ZfsError(f"{what}: out of space")
    if int(props.get("reservation", "0")) > tree.available(parent):
        raise ZfsError(f"{what}: out of space")
    tree.datasets[name] = new_dataset(tree, kind, props, first_block(), None)
    tree.touched()
    if mounting and props.get("canmount", "on") == "on":
        zfs_data.mount(tree, name)


def _full(name: str) -> bool:
    """Whether the lab was told that there is no space in a dataset or above it (faults.json: {"disk_full": [NAME, ...]})."""
    return any(
        name == full or name.startswith((full + "/", full + "@"))
        for full in machine.faults().get("disk_full", ())
    )


def destroy(tree: Tree, name: str) -> None:
    """Remove one dataset or snapshot that nothing depends on."""
    what = f"cannot destroy '{name}'"
    if "@" in name:
        if tree.snapshots[name]["holds"]:
            raise ZfsError(f"cannot destroy snapshot {name}: dataset is busy")
        zfs_data.remove(tree, name)
        del tree.snapshots[name]
    else:
        if tree.children(name) or tree.snaps(name):
            raise ZfsError(f"{what}: filesystem has children")
        busy_check(tree, name, what)
        zfs_data.remove(tree, name)
        for mark in tree.marks(name):
            del tree.bookmarks[mark]
        del tree.datasets[name]
    tree.touched()


def busy_check(tree: Tree, name: str, what: str) -> None:
    """Refuse when the lab was told that a dataset is busy (faults.json: {"zfs_busy": [dataset]})."""
    if name in machine.faults().get("zfs_busy", ()):
        raise ZfsError(f"{what}: dataset is busy")


def dependents(tree: Tree, name: str) -> list[str]:
    """Everything that goes when a dataset goes (children, snapshots, clones elsewhere), each after what depends on it."""
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


def snapshot(tree: Tree, names: list[str], given: dict[str, str]) -> None:
    """Take snapshots, all of them at one moment or none."""
    for name in names:
        base = name.partition("@")[0]
        check_name(f"cannot create snapshot '{name}'", name, "s")
        if base not in tree.datasets:
            raise ZfsError(f"cannot open '{base}': dataset does not exist")
    props = valid_props("cannot create snapshots", "snapshot", given, creating=True)
    taken = [name for name in names if name in tree.snapshots]
    if taken:
        raise ZfsError(
            *(f"cannot create snapshot '{name}': dataset already exists" for name in taken),
            *(["no snapshots were created"] if len(names) > 1 else []),
        )
    if _full(names[0]):
        raise ZfsError(*(f"cannot create snapshot '{name}': out of space" for name in names))
    txg, now = tree.next_txg(), int(time.time())
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
            zfs_data.copy(tree, base, zfs_data.store(entry["guid"]))
        tree.snapshots[name] = entry
    tree.touched()


def newer(tree: Tree, name: str) -> list[str]:
    """The snapshots, then the bookmarks, made after a snapshot of the same dataset."""
    base, since = name.partition("@")[0], tree.snapshots[name]["txg"]
    return [
        *(s for s in tree.snaps(base) if tree.snapshots[s]["txg"] > since),
        *(b for b in tree.marks(base) if tree.bookmarks[b]["txg"] > since),
    ]


def rollback(tree: Tree, name: str, recursive: bool = False, with_clones: bool = False) -> None:
    """Take a dataset back to a snapshot; newer ones only go when told so."""
    need(tree, name, "s")
    later = newer(tree, name)
    if later and not recursive:
        raise ZfsError(
            f"cannot rollback to '{name}': more recent snapshots or bookmarks exist",
            "use '-r' to force deletion of the following snapshots and bookmarks:",
            *later,
        )
    clones = [c for s in later if "@" in s for c in dependents(tree, s)]
    if clones and not with_clones:
        raise ZfsError(
            f"cannot rollback to '{name}': clones of previous snapshots exist",
            "use '-R' to force deletion of the following clones and dependents:",
            *clones,
        )
    for clone in clones:
        destroy(tree, clone)
    for one in later:
        if "#" in one:
            del tree.bookmarks[one]
        else:
            destroy(tree, one)
    base = name.partition("@")[0]
    if tree.datasets[base]["type"] == "filesystem":
        zfs_data.replace(tree, base, name)
    else:
        tree.datasets[base]["props"]["volsize"] = tree.snapshots[name]["props"]["volsize"]
    tree.datasets[base]["blocks"] = dict(tree.snapshots[name]["blocks"])
    tree.touched()


def clone(tree: Tree, origin: str, name: str, given: dict[str, str], mounting: bool = True) -> None:
    """Make a dataset from a snapshot; it shares the snapshot's space."""
    what = f"cannot create '{name}'"
    check_name(what, name, "")
    _check_parent(tree, name)
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
        zfs_data.copy(tree, origin, zfs_data.store(node["guid"]))
        if mounting and props.get("canmount", "on") == "on":
            zfs_data.mount(tree, name)


def promote(tree: Tree, name: str) -> None:
    """Make a clone independent of its origin: the snapshots up to it become the clone's."""
    origin = tree.datasets[name]["origin"]
    if not origin:
        raise ZfsError(f"cannot promote '{name}': not a cloned filesystem")
    old = origin.partition("@")[0]
    moved = [s for s in tree.snaps(old) if tree.snapshots[s]["txg"] <= tree.snapshots[origin]["txg"]]
    clash = [s for s in moved if f"{name}@{s.partition('@')[2]}" in tree.snapshots]
    if clash:
        raise ZfsError(
            f"cannot promote '{name}': snapshot name '{clash[0]}' from origin ",
            f"conflicts with '{name}@{clash[0].partition('@')[2]}' from target",
        )
    tree.datasets[name]["origin"], old_origin = tree.datasets[old]["origin"], origin
    for snap in moved:
        _rename_snapshot(tree, snap, f"{name}@{snap.partition('@')[2]}")
    tree.datasets[old]["origin"] = f"{name}@{old_origin.partition('@')[2]}"
    tree.touched()


def _rename_snapshot(tree: Tree, old: str, new: str) -> None:
    """Give a snapshot another name, everywhere."""
    tree.snapshots[new] = tree.snapshots.pop(old)
    for node in tree.datasets.values():
        if node["origin"] == old:
            node["origin"] = new


def rename(tree: Tree, old: str, new: str, *, recursive: bool = False, parents: bool = False) -> None:
    """Give a dataset (with everything below it) or a snapshot another name."""
    what = f"cannot rename '{old}'"
    if "@" in old:
        _rename_one_snapshot(
            tree, what, old, new if "@" in new else f"{old.partition('@')[0]}@{new}", recursive
        )
        return
    check_name(f"cannot rename to '{new}'", new, "")
    if new.partition("/")[0] != old.partition("/")[0]:
        raise ZfsError(f"{what}: datasets must be within same pool")
    if "/" not in old:
        raise ZfsError(f"{what}: operation does not apply to pools")
    if new.startswith(old + "/"):
        raise ZfsError(f"{what}: New dataset name cannot be a descendant of current dataset name")
    if parents:
        create_ancestors(tree, new)
    parent = new.rpartition("/")[0]
    if parent not in tree.datasets:
        raise ZfsError(f"{what}: parent does not exist" if parent else f"{what}: missing dataset name")
    if new in tree.datasets:
        raise ZfsError(f"{what}: dataset already exists")
    busy_check(tree, old, what)
    remount = [n for n in [old, *tree.below(old)] if tree.datasets[n]["mounted"]]
    for name in reversed(remount):
        _leave_mountpoint(tree, name)
    for table in (tree.datasets, tree.snapshots, tree.bookmarks):
        for name in [n for n in table if re.match(re.escape(old) + r"(?:[/@#]|$)", n)]:
            table[new + name[len(old) :]] = table.pop(name)
    for node in tree.datasets.values():
        if node["origin"] and re.match(re.escape(old) + r"[/@]", node["origin"]):
            node["origin"] = new + node["origin"][len(old) :]
    tree.touched()
    for name in remount:
        zfs_data.mount(tree, new + name[len(old) :])


def _leave_mountpoint(tree: Tree, name: str) -> None:
    """Unmount a file system and remove the empty directory it leaves."""
    place = paths.real(tree.datasets[name]["mounted"])
    zfs_data.unmount(tree, name)
    if not os.listdir(place):
        os.rmdir(place)


def _rename_one_snapshot(tree: Tree, what: str, old: str, new: str, recursive: bool) -> None:
    """Rename a snapshot within its dataset, or in the datasets below it too."""
    if old.partition("@")[0] != new.partition("@")[0]:
        raise ZfsError(f"{what}: snapshots must be part of same dataset")
    check_name(f"cannot rename to '{new}'", new, "s")
    base, label, target = old.partition("@")[0], old.partition("@")[2], new.partition("@")[2]
    bases = [base, *tree.below(base)] if recursive else [base]
    for one in bases:
        if f"{one}@{target}" in tree.snapshots:
            raise ZfsError(f"{what}: dataset already exists")
    for one in bases:
        if f"{one}@{label}" in tree.snapshots:
            _rename_snapshot(tree, f"{one}@{label}", f"{one}@{target}")


def create_ancestors(tree: Tree, name: str) -> None:
    """Create the missing file systems above a name (`-p`)."""
    parts = name.split("/")[:-1]
    if parts and parts[0] not in tree.pools:
        raise ZfsError(f"cannot create '{name}': no such pool '{parts[0]}'")
    for depth in range(1, len(parts) + 1):
        above = "/".join(parts[:depth])
        if above not in tree.datasets:
            create(tree, above, {})


def set_props(tree: Tree, name: str, given: dict[str, str]) -> None:
    """Set properties of one dataset or snapshot, after checking all of them."""
    what = f"cannot set property for '{name}'"
    kind = tree.kind(name)
    props = valid_props(what, kind, given, creating=False)
    node = tree.find(name)
    assert node is not None
    if kind != "snapshot":
        for key, value in props.items():
            _check_space(tree, name, what, key, value)
            if key == "refreservation" and value == "auto":
                props[key] = str(reservation_for(tree.number(name, "volsize")))
        if "volsize" in props and tree.number(name, "refreservation") >= tree.number(name, "volsize"):
            props.setdefault("refreservation", str(reservation_for(int(props["volsize"]))))
    moves = _moved_by(tree, name, props) if kind == "filesystem" else []
    for one in reversed(moves):
        _leave_mountpoint(tree, one)
    node["props"].update(props)
    tree.touched()
    for one in moves:
        zfs_data.mount(tree, one)
    if (
        kind == "filesystem"
        and {"mountpoint", "canmount"} & props.keys()
        and tree.local(name, "canmount") == "on"
    ):
        zfs_data.mount(tree, name)


def _moved_by(tree: Tree, name: str, props: dict[str, str]) -> list[str]:
    """The mounted file systems that a change of properties mounts elsewhere, parents first."""
    if props.get("canmount") == "off":
        return [name] if tree.datasets[name]["mounted"] else []
    if "mountpoint" not in props:
        return []
    return [n for n in [name, *tree.below(name)] if tree.datasets[n]["mounted"]]


def _check_space(tree: Tree, name: str, what: str, key: str, value: str) -> None:
    """Refuse quotas below what is used and reservations above what is there (zfs_setprop_error)."""
    if key not in (*ZERO_IS_NONE, "volsize") or not value.isdigit() or value == "0":
        return
    size = int(value)
    if (
        (key == "quota"
        and size < tree.used(name))
        or (key == "refquota"
        and size < tree.referenced(tree.datasets[name]))
    ):
        raise ZfsError(f"{what}: size is less than current used or reserved space")
    if key in ("reservation", "refreservation"):
        held = tree.used(name) if key == "reservation" else tree.referenced(tree.datasets[name])
        if size - held > tree.available(name):
            raise ZfsError(f"{what}: size is greater than available space")
    if key == "volsize" and size % tree.number(name, "volblocksize"):
        raise ZfsError(
            f"{what}: 'volsize' must be a multiple of volume block size "
            f"({tree.number(name, 'volblocksize') // 1024}K)"
        )


def inherit(tree: Tree, name: str, key: str) -> None:
    """Drop the local value of a property."""
    node = tree.find(name)
    assert node is not None
    if key == "mountpoint" and key in node["props"]:
        moves = _moved_by(tree, name, {"mountpoint": ""})
        for one in reversed(moves):
            _leave_mountpoint(tree, one)
        node["props"].pop(key)
        for one in moves:
            zfs_data.mount(tree, one)
    node["props"].pop(key, None)
    tree.touched()


def grow(tree: Tree, name: str, size: int) -> None:
    """Let a dataset refer to `size` bytes, as if that much had been written into it (for the guests' apparent sizes)."""
    blocks = tree.datasets[name]["blocks"]
    short = size - sum(blocks.values())
    if short > 0:
        blocks[new_guid()] = short
        tree.touched()
