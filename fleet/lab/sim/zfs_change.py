"""What `zfs` changes in datasets that exist: names, properties, and with them mount points."""

from __future__ import annotations

import os
import re

from . import paths, zfs_data
from .zfs_names import busy_check, check_name, reservation_for, valid_props
from .zfs_ops import check_parent, create_ancestors, rename_snapshot
from .zfs_props import ZERO_IS_NONE
from .zfs_tree import Tree, ZfsError


def rename(tree: Tree, old: str, new: str, *, recursive: bool = False, parents: bool = False) -> None:
    """Give a dataset (with everything below it) or a snapshot another name; guids stay."""
    if "@" in old:
        _rename_snapshots(tree, old, new, recursive)
        return
    if old == new:
        return
    to, what = f"cannot rename to '{new}'", f"cannot rename '{old}'"
    check_name(to, new, "")
    if parents:
        create_ancestors(tree, new)
    check_parent(tree, new)
    if new.partition("/")[0] != old.partition("/")[0]:
        raise ZfsError(f"{to}: datasets must be within same pool")
    if "/" not in old:
        raise ZfsError(f"{what}: operation does not apply to pools")
    if new.startswith(old + "/"):
        raise ZfsError(f"{to}: New dataset name cannot be a descendant of current dataset name")
    if new in tree.datasets:
        raise ZfsError(f"{what}: dataset already exists")
    where = tree.datasets[old]["mounted"]
    busy_check(old, f"cannot unmount '{where}': pool or" if where else f"{what}:", where)
    remount = [n for n in [old, *tree.below(old)] if tree.datasets[n]["mounted"]]
    for name in reversed(remount):
        _leave_mountpoint(tree, name)
    for table in (tree.datasets, tree.bookmarks):
        for name in [n for n in table if re.match(re.escape(old) + r"(?:[/#]|$)", n)]:
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


def _rename_snapshots(tree: Tree, old: str, given: str, recursive: bool) -> None:
    """Rename a snapshot within its dataset, or in the datasets below it too."""
    base, _, label = old.partition("@")
    new = given if "@" in given and given[0] != "@" else f"{base}@{given.lstrip('@')}"
    if base != new.partition("@")[0]:
        raise ZfsError(f"cannot rename to '{given}': snapshots must be part of same dataset")
    check_name(f"cannot rename to '{given}'", new, "s")
    if old == new:
        return
    target = new.partition("@")[2]
    bases = [base, *tree.below(base)] if recursive else [base]
    for one in bases:
        if f"{one}@{label}" in tree.snapshots and f"{one}@{target}" in tree.snapshots:
            raise ZfsError(
                f"cannot rename '{one}@{label}': "
                + (
                    "a child dataset already has a snapshot with the new name"
                    if recursive
                    else "dataset already exists"
                )
            )
    for one in bases:
        if f"{one}@{label}" in tree.snapshots:
            rename_snapshot(tree, f"{one}@{label}", f"{one}@{target}")
    tree.touched()


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
    if kind == "snapshot":
        tree.snapshots.changed(name)
    node["props"].update(props)
    tree.touched()
    for one in moves:
        zfs_data.mount(tree, one)
    if kind == "filesystem" and "mountpoint" in props and tree.local(name, "canmount") == "on":
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
    if (key == "quota" and size < tree.used(name)) or (
        key == "refquota" and size < tree.referenced(tree.datasets[name])
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


def inherit(tree: Tree, name: str, key: str, received: bool = False) -> None:
    """Drop the local value of a property; the received one counts again only with `received`."""
    node = tree.snapshots.changed(name) if "@" in name else tree.datasets[name]
    moves = _moved_by(tree, name, {"mountpoint": ""}) if key == "mountpoint" and "@" not in name else []
    for one in reversed(moves):
        _leave_mountpoint(tree, one)
    node["props"].pop(key, None)
    hidden = set(node.get("hidden", ())) - {key}
    if not received and key in node.get("received", {}):
        hidden.add(key)
    node["hidden"] = sorted(hidden)
    tree.touched()
    for one in moves:
        zfs_data.mount(tree, one)
