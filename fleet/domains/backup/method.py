"""How each guest is snapshotted: Proxmox's own way where it allows it, else ZFS (backup.md 3.9)."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.domains.backup.items import GuestState, Kind, Volume
from fleet.domains.backup.spec import SnapshotPolicy

#: Storages that can snapshot a container's volume (pve-storage, volume_has_feature); a VM's qcow2 can, too.
_CAN_SNAPSHOT = frozenset({"zfspool", "lvmthin", "btrfs", "rbd"})


@dataclass(frozen=True, slots=True)
class Method:
    """The way a guest is snapshotted, None where there is none, and the reason; freeze: it is held still."""

    kind: Kind | None
    why: str
    freeze: bool = False


def method_of(guest: GuestState, policy: SnapshotPolicy) -> Method:
    """How this guest is snapshotted; never two ways on one guest."""
    if guest.template:
        return Method(None, "it is a template, which does not change")
    if not any(volume.storage for volume in guest.volumes):
        return Method(None, "it has no volume of its own")
    against_pct, against_zfs = _against_pct(guest), _against_zfs(guest)
    freeze = policy.freeze and guest.running and guest.kind == "lxc" and not guest.fuse
    match policy.method:
        case "vzdump":
            return Method(None, "hosts.yml says vzdump: `inv backup.dump` archives it")
        case "pct":
            return Method(None, against_pct) if against_pct else Method(Kind.PCT, "hosts.yml says pct")
        case "zfs":
            return (
                Method(None, against_zfs) if against_zfs else Method(Kind.ZFS, "hosts.yml says zfs", freeze)
            )
    if not against_pct:
        return Method(Kind.PCT, f"{'pct' if guest.kind == 'lxc' else 'qm'} snapshot")
    if not against_zfs:
        return Method(Kind.ZFS, f"zfs snapshot: {against_pct}", freeze)
    return Method(None, f"no snapshot is possible: {against_pct}; {against_zfs}")


def own_volumes(guest: GuestState) -> tuple[Volume, ...]:
    """The guest's volumes on storages of Proxmox: without bind and device mounts."""
    return tuple(volume for volume in guest.volumes if volume.storage)


def _against_pct(guest: GuestState) -> str:
    """Why Proxmox would refuse to snapshot it, or should not be asked to; empty: nothing."""
    for volume in guest.volumes:
        if not volume.storage:
            return f"{volume.key} is a bind mount, with which Proxmox takes no snapshot"
        if volume.storage_type not in _CAN_SNAPSHOT and not (
            guest.kind == "qemu" and volume.volid.endswith(".qcow2")
        ):
            return f"{volume.key} is on {volume.storage} ({volume.storage_type}), which has no snapshots"
    if guest.fuse:
        return "it may have FUSE or network file systems mounted, with which Proxmox's freeze can hang"
    return ""


def _against_zfs(guest: GuestState) -> str:
    for volume in own_volumes(guest):
        if volume.dataset is None:
            return f"{volume.key} is on {volume.storage} ({volume.storage_type}), which is not ZFS"
    return ""
