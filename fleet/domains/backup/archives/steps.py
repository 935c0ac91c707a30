"""The steps of archives; the functions that they call on the host are in fleet/host/dump.sh."""

from __future__ import annotations

import re

from fleet.core.command import command
from fleet.core.plan import Check, Difference, Impact, Step
from fleet.domains.backup.items import GuestState, Item
from fleet.domains.backup.spec import Subject

_PINS = re.compile(r" ?fleet: pinned=[0-9-]*")


def dump_id(subject: Subject) -> str:
    """The id of the step that dumps a guest."""
    return f"dump {subject.name}"


def dump(subject: Subject, guest: GuestState, set_: str) -> Step:
    """One vzdump of one guest; vzdump itself lets only one run a node at a time."""
    policy = subject.archives
    assert policy is not None
    vmid, limit = str(guest.vmid), "" if policy.bwlimit is None else str(policy.bwlimit)
    tool = "pct" if guest.kind == "lxc" else "qm"
    stops = guest.running and policy.mode == "stop"
    return Step(
        id=dump_id(subject),
        subject=f"{subject.name} ({vmid})",
        action="dump",
        because=(Difference("archive", None, f"on {policy.storage}, mode {policy.mode}, {policy.compress}"),),
        done=(
            Check(
                command("fleet_archived", policy.storage, vmid, set_),
                "an archive of this run is there, with our notes, protected, and not empty",
            ),
        ),
        expect=(
            Check(command("fleet_conf_file", vmid), f"the guest {vmid} is on this node"),
            Check(command("fleet_archives", policy.storage, vmid), f"Proxmox can read {policy.storage}"),
            Check(
                command("fleet_unlocks", vmid),
                f"Proxmox holds no lock on it (if nothing works on it any more: `{tool} unlock {vmid}`)",
            ),
        ),
        do=(command("fleet_dump", set_, vmid, policy.storage, policy.mode, policy.compress, limit),),
        impact=Impact.OFFLINE if stops else Impact.LIVE if guest.running else Impact.NONE,
        order=guest.vmid,
    )


def pin(item: Item, notes: str, until: str) -> Step:
    """Pins an archive by its notes, of which `notes` are all lines; `-` unpins it."""
    archive = item.archive
    assert archive is not None
    storage = archive.volid.partition(":")[0]
    first, newline, rest = _PINS.sub("", notes).partition("\n")
    text = first.rstrip() + ("" if until == "-" else f" fleet: pinned={until}") + newline + rest
    content = f"/nodes/localhost/storage/{storage}/content/{archive.volid}"
    return Step(
        id=f"pin {archive.volid}",
        subject=f"{item.subject} ({archive.vmid})",
        action="unpin" if until == "-" else "pin",
        because=(Difference("pinned", item.pinned or None, None if until == "-" else until),),
        done=(Check(command("fleet_archive_pinned", storage, archive.volid, until), "it is"),),
        expect=(Check(command("pvesm", "path", archive.volid), f"{archive.volid} is there"),),
        do=(command("pvesh", "set", content, "--notes", text),),
    )


def remove(item: Item, reason: str) -> Step:
    """Removes one archive that fleet made: what says so is read again on the host directly before."""
    archive = item.archive
    assert archive is not None
    storage, vmid, created = archive.volid.partition(":")[0], str(archive.vmid), str(archive.created)
    which = (storage, vmid, archive.volid)
    return Step(
        id=f"remove {archive.volid}",
        subject=f"{item.subject} ({vmid})",
        action="remove",
        because=(Difference("archive", archive.volid, None, reason=reason),),
        done=(Check(command("fleet_no_archive", *which), f"{archive.volid} is gone"),),
        expect=(
            Check(
                command("fleet_archive_removable", *which, created),
                f"{archive.volid} is the one that was planned, is ours, and is not pinned",
            ),
        ),
        do=(command("fleet_drop_archive", item.set, *which, created, reason),),
        order=archive.created,
    )
