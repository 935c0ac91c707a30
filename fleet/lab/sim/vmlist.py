"""Which guests the cluster has.

The configuration files below /etc/pve/nodes, and /etc/pve/.vmlist, which tells of them.
"""

from __future__ import annotations

import os

from . import files, machine, paths

_KINDS = {"lxc": "lxc", "qemu-server": "qemu"}
_FILE = f"{paths.PVE}/.vmlist"


class Guest:
    """A guest of the cluster; `kind` is lxc or qemu."""

    __slots__ = ("kind", "node", "vmid")

    def __init__(self, vmid: int, node: str, kind: str) -> None:
        self.vmid, self.node, self.kind = vmid, node, kind

    @property
    def title(self) -> str:
        """CT or VM."""
        return "CT" if self.kind == "lxc" else "VM"


def guests() -> dict[int, Guest]:
    """All guests of the cluster by VMID, from their configuration files."""
    found: dict[int, Guest] = {}
    top = paths.real(f"{paths.PVE}/nodes")
    for node in sorted(os.listdir(top)) if os.path.isdir(top) else ():
        for directory, kind in _KINDS.items():
            for name in _names(f"{top}/{node}/{directory}"):
                number, dot, ending = name.partition(".")
                if ending == "conf" and dot and number.isdecimal():
                    found[int(number)] = Guest(int(number), node, kind)
    return found


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def local(kind: str = "lxc") -> list[int]:
    """The VMIDs of this node's guests of a kind, sorted."""
    directory = {"lxc": "lxc", "qemu": "qemu-server"}[kind]
    names = _names(paths.real(f"{paths.PVE}/nodes/{machine.node()}/{directory}"))
    return sorted(int(name[:-5]) for name in names if name.endswith(".conf") and name[:-5].isdecimal())


def refresh() -> None:
    """Write .vmlist anew where it does not tell of the guests there are.

    Call after making or removing a configuration.
    """
    import json

    path = paths.real(_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            old = json.load(file)
    except (FileNotFoundError, ValueError):
        old = {"version": 0, "ids": {}}
    version = int(old["version"])
    entries: dict[str, dict[str, object]] = {}
    for vmid, guest in sorted(guests().items()):
        known = old["ids"].get(str(vmid))
        same = known is not None and known.get("node") == guest.node and known.get("type") == guest.kind
        if not same:
            version += 1
        entries[str(vmid)] = {
            "node": guest.node,
            "type": guest.kind,
            "version": known["version"] if same else version,
        }
    if entries.keys() == old["ids"].keys() and version == int(old["version"]) and os.path.exists(path):
        return
    lines = [
        f'"{vmid}": {{ "node": "{entry["node"]}", "type": "{entry["type"]}", "version": {entry["version"]} }}'
        for vmid, entry in entries.items()
    ]
    body = ",\n".join(lines)
    files.write(_FILE, f'{{\n"version": {version + 1},\n"ids": {{\n{body}}}\n\n}}\n'.encode())
