"""The steps of snapshots: one for all that ZFS does at once, one for all that Proxmox does guest by guest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleet.core.command import command
from fleet.core.plan import Check, Difference, Impact, Step
from fleet.domains.backup.items import Item, Kind, ZfsSnapshot

#: How long a container may be frozen at most before the host itself lets it go (seconds).
FREEZE_LIMIT = 5
#: How many `pct snapshot` run side by side.
SIDE_BY_SIDE = 4

#: The ids of the steps, which say what failed.
TAKE_ZFS, TAKE_PCT = "snapshot zfs", "snapshot pct"


def take_zfs(name: str, groups: Sequence[tuple[str, bool, tuple[str, ...]]], subject: str) -> Step:
    """One atomic snapshot a pool; a group is the VMID (`-`: none), whether to freeze it, its datasets."""
    words = [" ".join((vmid, "freeze" if freeze else "run", *datasets)) for vmid, freeze, datasets in groups]
    paths = [f"{dataset}@{name}" for _, _, datasets in groups for dataset in datasets]
    return Step(
        id=TAKE_ZFS,
        subject=subject,
        action="snapshot",
        because=(Difference("snapshot", None, name, reason="zfs snapshot, one transaction a pool"),),
        done=(Check(command("fleet_has", *paths), "the snapshots exist"),),
        expect=(),
        do=(command("fleet_take_zfs", name, str(FREEZE_LIMIT), *words),),
        impact=Impact.LIVE if any(freeze for _, freeze, _ in groups) else Impact.NONE,
    )


def take_pct(name: str, groups: Sequence[tuple[int, str, tuple[str, ...]]], subject: str) -> Step:
    """Proxmox's own snapshots; a group is the VMID, the tool (pct or qm), and the datasets of its volumes."""
    words = [" ".join((str(vmid), tool, *datasets)) for vmid, tool, datasets in groups]
    return Step(
        id=TAKE_PCT,
        subject=subject,
        action="snapshot",
        because=(Difference("snapshot", None, name, reason="pct snapshot, qm snapshot"),),
        done=(
            Check(
                command("fleet_has_pct", name, *(str(vmid) for vmid, _, _ in groups)),
                "the guests' configurations hold the snapshots",
            ),
        ),
        expect=(),
        do=(command("fleet_take_pct", name, str(SIDE_BY_SIDE), *words),),
        impact=Impact.LIVE,
    )


def drop_zfs(removals: Iterable[tuple[str, Item, str]], subject: str) -> Step:
    """Removes snapshots, one a command; a removal is the VMID (`-`: none), the item and the rule."""
    removals = tuple(removals)
    gone = [
        (f"{vmid} {part.path} {part.guid}", part, why) for vmid, item, why in removals for part in item.parts
    ]
    return Step(
        id="remove zfs",
        subject=subject,
        action="remove",
        because=tuple(_removal(item, why) for _, item, why in removals),
        done=(Check(command("fleet_gone_zfs", *(words for words, _, _ in gone)), "the snapshots are gone"),),
        expect=(),
        do=(command("fleet_drop_zfs", *(f"{words} {_reason([part], why)}" for words, part, why in gone)),),
    )


def drop_pct(removals: Iterable[tuple[int, str, Item, str]], subject: str) -> Step:
    """Removes snapshots of guests through Proxmox; a removal is the VMID, the tool, the item and the rule."""
    removals = tuple(removals)
    entries = [f"{vmid} {tool} {item.name}" for vmid, tool, item, _ in removals]
    meant = [
        " ".join(
            (entry, *(f"{part.path}={part.guid}" for part in item.parts), "--", _reason(item.parts, why))
        )
        for entry, (_, _, item, why) in zip(entries, removals, strict=True)
    ]
    return Step(
        id="remove pct",
        subject=subject,
        action="remove",
        because=tuple(_removal(item, why) for _, _, item, why in removals),
        done=(Check(command("fleet_gone_pct", *entries), "the snapshots are gone"),),
        expect=(),
        do=(command("fleet_drop_pct", str(SIDE_BY_SIDE), *meant),),
    )


def pin(item: Item, vmid: int | None, until: str) -> Step:
    """Pins a snapshot until a date; `-` unpins it. One that is on no ZFS is pinned in the node's record."""
    assert item.kind is not Kind.VZDUMP
    paths = [part.path for part in item.parts] or [f"{vmid}@{item.name}"]
    there = command("fleet_has", *paths) if item.parts else command("fleet_has_pct", item.name, str(vmid))
    return Step(
        id=f"pin {item.subject}@{item.name}",
        subject=item.subject,
        action="unpin" if until == "-" else "pin",
        because=(Difference("pinned", item.pinned or None, None if until == "-" else until),),
        done=(Check(command("fleet_pinned", until, *paths), "it is"),),
        expect=(Check(there, "the snapshot exists"),),
        do=(command("fleet_pin", until, *paths),),
    )


def adopt(items: Sequence[Item]) -> Step:
    """Makes snapshots ours that a fleet made whose record is lost, as the operator says."""
    paths = [part.path for item in items for part in item.parts]
    return Step(
        id=f"adopt {items[0].subject}",
        subject=items[0].subject,
        action="adopt",
        because=tuple(Difference(item.name, item.owner, "fleet") for item in items),
        done=(Check(command("fleet_adopted", *paths), "they carry our mark and stand in the record"),),
        expect=(Check(command("fleet_has", *paths), "the snapshots exist"),),
        do=(command("fleet_adopt", *paths),),
    )


def _removal(item: Item, why: str) -> Difference:
    return Difference(f"{item.subject}@{item.name}", item.name, None, reason=why)


def _reason(parts: Sequence[ZfsSnapshot], why: str) -> str:
    """What the node's record says of a removal."""
    made = ",".join(str(part.createtxg) for part in parts)
    return f"createtxg={made} {why}" if made else why
