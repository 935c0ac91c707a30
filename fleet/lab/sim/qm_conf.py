"""The configuration of a virtual machine, /etc/pve/nodes/NODE/qemu-server/VMID.conf: main keys, snapshots."""

from __future__ import annotations

import os
import re

from . import conf, files, machine, paths, vmlist
from .errors import ConfigMissing, Die

Keys = dict[str, str]

NO_KVM = (
    "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS."
)
_KEY = re.compile(r"([a-z][a-z_\d-]*):\s*(.+?)\s*")
DISK = re.compile(r"(?:scsi|virtio|sata|ide|efidisk|tpmstate)\d+")


def path(vmid: int) -> str:
    """The configuration file."""
    return f"{paths.PVE}/nodes/{machine.node()}/qemu-server/{vmid}.conf"


def raw(vmid: int) -> str:
    """The text of the file; ConfigMissing if this node has none."""
    try:
        with open(paths.real(path(vmid)), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise ConfigMissing(machine.node(), vmid, "qemu-server") from None


def _section(text: str) -> Keys:
    """The keys of one section, the description decoded."""
    lines = text.splitlines()
    keys = {match[1]: match[2] for line in lines if (match := _KEY.fullmatch(line))}
    description = "".join(conf.decode_text(line[1:]) + "\n" for line in lines if line.startswith("#"))
    return keys | ({"description": description} if description else {})


def sections(vmid: int) -> dict[str, Keys]:
    """{section: its keys}; the main one is called ""."""
    parts = re.split(r"^\[([^\]]+)\]\s*$", raw(vmid), flags=re.MULTILINE)
    return {"": _section(parts[0]), **{parts[i]: _section(parts[i + 1]) for i in range(1, len(parts), 2)}}


def read(vmid: int) -> Keys:
    """The main keys."""
    return sections(vmid)[""]


def _text(keys: Keys) -> str:
    lines = ["#" + conf.encode_text(line) for line in keys.get("description", "").splitlines()]
    lines += [f"{key}: {keys[key]}" for key in sorted(keys) if key != "description"]
    return "".join(line + "\n" for line in lines)


def save_all(vmid: int, found: dict[str, Keys]) -> None:
    """Write a configuration with its sections, those of snapshots by name."""
    new = not os.path.exists(paths.real(path(vmid)))
    text = _text(found[""]) + "".join(f"\n[{name}]\n{_text(found[name])}" for name in sorted(found) if name)
    files.write(path(vmid), text.encode())
    if new:
        vmlist.refresh()


def save(vmid: int, keys: Keys) -> None:
    """Write the main keys; the other sections stay."""
    known = sections(vmid) if os.path.exists(paths.real(path(vmid))) else {}
    save_all(vmid, {**known, "": keys})


def remove(vmid: int) -> None:
    """Delete the configuration."""
    files.remove(path(vmid))
    vmlist.refresh()


def check_lock(keys: Keys) -> None:
    """Refuse a machine whose configuration has a `lock:`."""
    if "lock" in keys:
        raise Die(f"VM is locked ({keys['lock']})")


def disks(keys: Keys) -> list[tuple[str, str]]:
    """(key, volid) of the disks on storages, by key."""
    found = [(key, keys[key].partition(",")[0]) for key in sorted(keys) if DISK.fullmatch(key)]
    return [(key, volume) for key, volume in found if re.fullmatch(r"[A-Za-z][\w.-]*:.+", volume)]
