"""`zfs mount` and `zfs unmount`."""

from __future__ import annotations

from . import zfs_data
from .zfs_names import busy_check, need
from .zfs_tree import ZfsError, changing, load
from .zfs_usage import one_operand, options


def mount(args: list[str]) -> int:
    """`zfs mount`: without operands what is mounted."""
    found, rest = options("mount", args, "aflvOR:o:")
    everything = any(letter == "a" for letter, _ in found)
    if not everything and not rest:
        for name, node in sorted(load().datasets.items(), key=lambda item: item[1]["txg"]):
            if node["mounted"]:
                print(f"{name:<30}  {node['mounted']}")
        return 0
    with changing() as tree:
        if everything:
            for name in sorted(tree.datasets):
                if tree.datasets[name]["type"] == "filesystem" and tree.local(name, "canmount") == "on":
                    zfs_data.mount(tree, name)
            return 0
        name = one_operand("mount", rest, "filesystem")
        need(tree, name, "f")
        where = tree.mountpoint(name)
        if where == "legacy":
            raise ZfsError(
                f"cannot mount '{name}': legacy mountpoint", "use mount(8) to mount this filesystem"
            )
        if where == "none":
            raise ZfsError(f"cannot mount '{name}': no mountpoint set")
        if tree.local(name, "canmount") == "off":
            raise ZfsError(f"cannot mount '{name}': 'canmount' property is set to 'off'")
        if not zfs_data.mount(tree, name):
            raise ZfsError(f"cannot mount '{name}': filesystem already mounted")
    return 0


def unmount(args: list[str]) -> int:
    """`zfs unmount`."""
    found, rest = options("unmount", args, "afu")
    with changing() as tree:
        if ("a", "") in found:
            for name in sorted(tree.datasets, reverse=True):
                zfs_data.unmount(tree, name)
            return 0
        name = one_operand("unmount", rest, "filesystem")
        if name.startswith("/"):
            at = [n for n, d in tree.datasets.items() if d["mounted"] == name]
            if not at:
                raise ZfsError(f"cannot unmount '{name}': not a ZFS filesystem")
            name = at[0]
        need(tree, name, "f")
        where = tree.datasets[name]["mounted"]
        if where:
            busy_check(name, f"cannot unmount '{where}': pool or", where)
        if not zfs_data.unmount(tree, name):
            raise ZfsError(f"cannot unmount '{name}': not currently mounted")
    return 0
