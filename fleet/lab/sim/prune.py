"""What `prune-backups` keeps: the retention of archives (pve-storage Storage.pm and Plugin.pm).

Each entry of a group gets a mark: keep, remove, protected or renamed. Periods are those of the node's time
zone. There is no current time in it: only the list counts.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from . import archives, storage
from .errors import Die, ParamError
from .storage_base import Volume

Keep = dict[str, int]

_PERIODS: tuple[tuple[str, str], ...] = (  # in the order of their passes
    ("keep-last", ""),
    ("keep-hourly", "%Y-%m-%d %H"),
    ("keep-daily", "%Y-%m-%d"),
    ("keep-weekly", "%G week %V"),
    ("keep-monthly", "%Y-%m"),
    ("keep-yearly", "%Y"),
)
KEYS = ("keep-all", *(key for key, _ in _PERIODS))


class Entry(NamedTuple):
    """One archive with its mark."""

    volid: str
    ctime: int
    kind: str  # lxc, qemu, openvz, unknown
    vmid: int | None
    mark: str


def parse(text: str, parameter: str = "prune-backups") -> Keep:
    """The numbers in a prune-backups property string; ParamError for what is none."""
    keep: Keep = {}
    problems = []
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        if key not in KEYS:
            problems.append(
                f"{parameter}.{key}: property is not defined in schema and the schema does not "
                "allow additional properties\n"
            )
        elif not re.fullmatch(r"\d+", value):
            kind = "boolean" if key == "keep-all" else "integer"
            problems.append(f"{parameter}.{key}: type check ('{kind}') failed - got '{value}'\n")
        else:
            keep[key] = int(value)
    if problems:
        raise ParamError({parameter: "invalid format - format error\n" + "".join(problems)})
    return check(keep, parameter)


def check(keep: Keep, parameter: str = "prune-backups") -> Keep:
    """The same; all zero means to keep all, which no other option goes with."""
    positive = [key for key, number in keep.items() if key != "keep-all" and number > 0]
    if not positive:
        return {"keep-all": 1}
    if keep.get("keep-all"):
        raise ParamError(
            {parameter: "invalid format - keep-all cannot be set together with other options.\n\n"}
        )
    return keep


def text(keep: Keep) -> str:
    """The property string, its keys sorted."""
    return ",".join(f"{key}={keep[key]}" for key in sorted(keep))


def marks(times: list[tuple[int, str | None]], keep: Keep) -> list[str]:
    """The mark of each (time, mark that it has already) of one group, in the order given."""
    found = [mark for _, mark in times]
    if keep.get("keep-all") or not any(keep.get(key, 0) > 0 for key, _ in _PERIODS):
        return [mark or "keep" for mark in found]
    newest_first = sorted(range(len(times)), key=lambda index: -times[index][0])
    for key, form in _PERIODS:
        if keep.get(key, 0):
            _pass(times, found, newest_first, keep[key], _period(form))
    return [mark or "remove" for mark in found]


def _period(form: str) -> Callable[[int], str]:
    return lambda moment: time.strftime(form, time.localtime(moment)) if form else str(moment)


def _pass(
    times: list[tuple[int, str | None]],
    found: list[str | None],
    order: list[int],
    count: int,
    period: Callable[[int], str],
) -> None:
    """Keep the newest of each of so many periods that no finer pass has covered."""
    covered = {period(times[index][0]) for index in order if found[index] == "keep"}
    opened: set[str] = set()
    for index in order:
        name = period(times[index][0])
        if found[index] is not None or name in covered:
            continue
        if name in opened:
            found[index] = "remove"
        elif len(opened) >= count:
            return
        else:
            opened.add(name)
            found[index] = "keep"


def plan(name: str, keep: Keep, vmid: int | None, kind: str | None) -> list[Entry]:
    """What pruning a storage would do, in the order of its listing."""
    groups: dict[tuple[str, int], list[tuple[Volume, archives.Info]]] = {}
    marked: dict[str, str] = {}
    listed = storage.volumes(name, vmid, ("backup",))
    entries = []
    for volume in listed:
        known = archives.info(os.path.basename(volume.volid))
        if kind is not None and (known.kind if known else "unknown") != kind:
            continue
        entries.append((volume, known))
        if known is None or not known.standard:
            marked[volume.volid] = "protected" if volume.protected else "renamed"
        else:
            assert known.vmid is not None
            groups.setdefault((known.kind, known.vmid), []).append((volume, known))
    for members in groups.values():
        times = [(known.ctime or 0, "protected" if volume.protected else None) for volume, known in members]
        for (volume, _), mark in zip(members, marks(times, keep), strict=True):
            marked[volume.volid] = mark
    return [
        Entry(
            volume.volid,
            known.ctime if known and known.ctime is not None else volume.ctime,
            known.kind if known else "unknown",
            known.vmid if known and known.standard else volume.vmid,
            marked[volume.volid],
        )
        for volume, known in entries
    ]


def prune(
    name: str, keep: Keep, vmid: int | None, kind: str | None, say: Callable[[str, str], object]
) -> list[Entry]:
    """Remove what is not kept; `say` is told (level, line). Die if something could not be removed."""
    found = plan(name, keep, vmid, kind)
    failed = False
    for entry in found:
        if entry.mark == "remove":
            say("info", f"removing backup '{entry.volid}'")
            try:
                archives.remove(storage.real_path(entry.volid))
            except (Die, OSError) as error:
                say("err", f"error when removing backup '{entry.volid}' - {error}")
                failed = True
    if failed:
        raise Die("error pruning backups - check log")
    return found


def keep_of(name: str, given: Keep | None) -> Keep:
    """The retention that was given, or that of the storage, which must hold backups."""
    from . import storage_cfg

    section = storage_cfg.get(name)
    if "backup" not in section.content:
        raise Die(f"storage '{name}' does not support backups")
    if given is not None:
        return given
    if "prune-backups" not in section.keys:
        raise Die(f"no prune-backups options configured for storage '{name}'")
    return parse(section.keys["prune-backups"])
