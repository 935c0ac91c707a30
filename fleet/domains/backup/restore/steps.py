"""The steps of restoring; each looks again in the script that acts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fleet.core.command import command
from fleet.core.plan import Check, Difference, Impact, Step
from fleet.domains.backup.items import Item, Kind, ZfsSnapshot
from fleet.domains.backup.restore.config import marked_line
from fleet.tools.pct import commands as pct

#: Seconds that a guest of a drill gets to come up.
UP_SECONDS = 180


@dataclass(frozen=True, slots=True)
class VolumeCopy:
    """One volume of a copy: of which snapshot, as which dataset, and its refquota in bytes."""

    snapshot: str
    guid: str
    dataset: str
    refquota: str


@dataclass(frozen=True, slots=True)
class VolumeBack:
    """One volume that is put back: its name, its snapshot's guid, and where its present state goes."""

    dataset: str
    guid: str
    aside: str


def restore_id(vmid: int) -> str:
    """The id of the step that makes a copy."""
    return f"restore {vmid}"


def copy_zfs(
    vmid: int,
    mark: str,
    subject: str,
    item: Item,
    how: str,
    text: str,
    lines: Sequence[str],
    volumes: Sequence[VolumeCopy],
) -> Step:
    """A container of clones (`how` clone) or copies (full) of ZFS snapshots."""
    entries = [f"{each.snapshot} {each.guid} {each.dataset} {each.refquota}" for each in volumes]
    return Step(
        id=restore_id(vmid),
        subject=subject,
        action="create",
        because=(
            Difference("of", None, f"{item.subject}@{item.name}"),
            *(Difference("volume", None, f"{each.dataset} ({how} of {each.snapshot})") for each in volumes),
        ),
        done=(_whole(vmid, mark),),
        expect=(
            _open(vmid, mark),
            *(
                Check(command("fleet_is_snapshot", each.snapshot, each.guid), f"{each.snapshot} is there")
                for each in volumes
            ),
        ),
        do=(
            command(
                "fleet_copy_zfs",
                str(vmid),
                marked_line(mark),
                _from(item),
                how,
                text,
                "\n".join(lines),
                *entries,
            ),
        ),
        order=vmid,
    )


def copy_pct(
    vmid: int, mark: str, subject: str, item: Item, text: str, words: Sequence[str], of: int | None = None
) -> Step:
    """A copy that Proxmox makes, by `pct clone` of the guest `of` or by `pct restore`."""
    there = (
        (Check(command("fleet_has_pct", item.name, str(of)), f"{of} has the snapshot {item.name}"),)
        if of is not None
        else (Check(command("pvesm", "path", item.name), f"{item.name} is there"),)
    )
    return Step(
        id=restore_id(vmid),
        subject=subject,
        action="create",
        because=(Difference("of", None, f"{item.subject}@{item.name}", reason=" ".join(words[:2])),),
        done=(_whole(vmid, mark),),
        expect=(_open(vmid, mark), *there),
        do=(command("fleet_copy_pct", str(vmid), marked_line(mark), _from(item), text, *words),),
        order=vmid,
    )


def start(vmid: int, mark: str, subject: str, needs: Iterable[str]) -> Step:
    """Starts a copy."""
    return Step(
        id=f"start {vmid}",
        subject=subject,
        action="start",
        because=(Difference("status", "stopped", "running"),),
        done=(Check(command("fleet_running", str(vmid)), "it runs"),),
        expect=(_whole(vmid, mark),),
        do=(pct.start(vmid),),
        needs=tuple(needs),
        order=vmid + 1,
    )


def clone_dataset(part: ZfsSnapshot, target: str, mountpoint: str, subject: str) -> Step:
    """A writable clone of a dataset's snapshot."""
    return Step(
        id=f"restore {target}",
        subject=target,
        action="create",
        because=(Difference("clone", None, f"of {part.path}, mounted at {mountpoint}"),),
        done=(Check(command("fleet_has_dataset_copy", target), "it is there, mounted"),),
        expect=(
            Check(command("fleet_is_snapshot", part.path, part.guid), f"{part.path} is there"),
            Check(command("fleet_vacant", mountpoint), f"{mountpoint} is empty, so that nothing gets hidden"),
        ),
        do=(
            command(
                "fleet_clone_dataset", part.path, part.guid, target, mountpoint, f"{subject}@{part.name}"
            ),
        ),
    )


def scrap(vmid: int, mark: str, within: tuple[int, int] | None = None) -> Step:
    """Destroys a copy that fleet made, with its volumes; the script looks again that it is one."""
    limits = tuple(map(str, within)) if within else ()
    return Step(
        id=f"scrap {vmid}",
        subject=f"copy {vmid}",
        action="destroy",
        because=(Difference("copy", mark.partition(" from=")[2] or mark, None),),
        done=(Check(command("fleet_free", str(vmid)), "it is gone"),),
        expect=(
            Check(
                command("fleet_marked", str(vmid), marked_line(mark)),
                "its description says that it is a copy",
            ),
            Check(command("fleet_making", str(vmid)), "the record says that fleet made it"),
        ),
        do=(command("fleet_scrap", str(vmid), marked_line(mark), *limits),),
        impact=Impact.DESTROYS_DATA,
        order=vmid,
    )


def prove(
    vmid: int,
    mark: str,
    subject: str,
    item: Item,
    *,
    since: int,
    original: int | None,
    service: tuple[str, str, str],
    paths: Sequence[str],
    needs: Iterable[str],
) -> Step:
    """Starts a copy and looks whether it is as healthy as the original. `service`: kind, name, folder."""
    return Step(
        id=f"prove {item.subject}@{item.name}",
        subject=subject,
        action="prove",
        because=(Difference("proof", None, f"{item.subject}@{item.name}"),),
        done=(Check(command("fleet_proven", item.subject, item.name, str(since)), "it is proven"),),
        expect=(_whole(vmid, mark),),
        do=(
            command(
                "fleet_prove", str(vmid), marked_line(mark), item.subject, item.name,
                str(original) if original is not None else "-", str(UP_SECONDS), *service, *paths,
            ),
        ),
        needs=tuple(needs),
        order=vmid + 1,
    )  # fmt: skip


def prove_dataset(part: ZfsSnapshot, subject: str, since: int) -> Step:
    """Lists and reads a snapshot of a dataset where it is."""
    return Step(
        id=f"prove {subject}",
        subject=f"drill {subject}",
        action="prove",
        because=(Difference("proof", None, part.path),),
        done=(Check(command("fleet_proven", subject, part.name, str(since)), "it is proven"),),
        expect=(Check(command("fleet_is_snapshot", part.path, part.guid), f"{part.path} is there"),),
        do=(command("fleet_prove_dataset", part.path, part.guid, subject),),
    )


def roll_back(
    vmid: int, subject: str, item: Item, safety: str, *, was_running: bool, volumes: Sequence[VolumeBack]
) -> Step:
    """Puts a guest's data back in its place; its present state stays, under other names."""
    state = "running" if was_running else "stopped"
    return Step(
        id=f"roll back {vmid}",
        subject=subject,
        action="roll back",
        because=tuple(
            Difference(each.dataset, f"today's, kept as {each.aside}@{safety}", f"as of {item.name}")
            for each in volumes
        ),
        done=(Check(command("fleet_rolled", str(vmid), safety, state), "it is put back"),),
        expect=(
            Check(command("fleet_unlocked_or", str(vmid), "rollback"), "Proxmox holds no lock on it"),
        ),
        do=(
            command(
                "fleet_rollback", str(vmid), safety, item.name, state,
                *(f"{each.dataset} {each.guid} {each.aside}" for each in volumes),
            ),
        ),
        impact=Impact.OFFLINE if was_running else Impact.NONE,
        downtime=15.0 if was_running else 0.0,
    )  # fmt: skip


def _whole(vmid: int, mark: str) -> Check:
    return Check(command("fleet_has_copy", str(vmid), marked_line(mark)), "the copy is there, whole")


def _open(vmid: int, mark: str) -> Check:
    return Check(command("fleet_open", str(vmid), marked_line(mark)), f"no other guest has the VMID {vmid}")


def _from(item: Item) -> str:
    return f"{item.subject}@{item.name}" if item.kind is not Kind.VZDUMP else item.name
