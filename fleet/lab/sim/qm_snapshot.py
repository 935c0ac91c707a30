"""The verbs of `qm` about snapshots and sizes: snapshot, listsnapshot, rollback, delsnapshot, resize."""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager

from . import files, qm_conf, storage, tasks
from .errors import Die, ParamError
from .qm_conf import Keys
from .sizes import format_size, parse_size

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
_LEFT_OUT = ("lock", "digest", "parent", "snaptime", "description", "vmstate", "runningmachine")


def _locked(vmid: int) -> AbstractContextManager[None]:
    return files.locked(f"/var/lock/qemu-server/lock-{vmid}.conf", 10)


def _check_name(name: str) -> None:
    """Refuse a malformed or reserved name of a snapshot."""
    if not _NAME.fullmatch(name):
        raise ParamError({"snapname": f"invalid format - invalid configuration ID '{name}'\n"})
    if len(name) > 40:
        raise ParamError({"snapname": "value may only be 40 characters long"})
    if name in ("current", "pending"):
        raise Die(f"unable to use snapshot name '{name}' (reserved name)")


def snapshot(words: list[str], given: Keys) -> int:
    """`qm snapshot`."""
    vmid, name = int(words[0]), words[1]
    _check_name(name)

    def work(out: tasks.Out) -> None:
        with _locked(vmid):
            found = qm_conf.sections(vmid)
            main = found[""]
            qm_conf.check_lock(main)
            if name in found:
                raise Die(f"snapshot name '{name}' already used")
            disks = qm_conf.disks(main)
            if not all(storage.has_feature(volume, "snapshot") for _, volume in disks):
                raise Die("snapshot feature is not available")
            kept = {key: value for key, value in main.items() if key not in _LEFT_OUT}
            kept["snaptime"] = str(int(time.time()))
            if "parent" in main:
                kept["parent"] = main["parent"]
            if "description" in given:
                kept["description"] = given["description"]
            for key, volume in disks:
                out.write(f"snapshotting 'drive-{key}' ({volume})\n")
                storage.snapshot(volume, name)
            qm_conf.save_all(vmid, {**found, "": {**main, "parent": name}, name: kept})

    return tasks.run("qmsnapshot", str(vmid), work)


def _need(found: dict[str, Keys], name: str) -> Keys:
    """A snapshot's section."""
    if not name or name not in found:
        raise Die(f"snapshot '{name}' does not exist")
    return found[name]


def rollback(words: list[str], given: Keys) -> int:
    """`qm rollback`."""
    del given
    vmid, name = int(words[0]), words[1]

    def work(_out: tasks.Out) -> None:
        with _locked(vmid):
            found = qm_conf.sections(vmid)
            then = _need(found, name)
            qm_conf.check_lock(found[""])
            for _, volume in qm_conf.disks(then):
                storage.rollback_possible(volume, name)
            for _, volume in qm_conf.disks(then):
                storage.rollback(volume, name)
            main = {key: value for key, value in then.items() if key not in _LEFT_OUT}
            now = found[""].get("description")
            kept = {} if now is None else {"description": now}
            qm_conf.save_all(vmid, {**found, "": {**main, **kept, "parent": name}})

    return tasks.run("qmrollback", str(vmid), work)


def delsnapshot(words: list[str], given: Keys) -> int:
    """`qm delsnapshot`."""
    force = given.get("force") == "1"
    vmid, name = int(words[0]), words[1]

    def work(_out: tasks.Out) -> None:
        with _locked(vmid):
            found = qm_conf.sections(vmid)
            gone = _need(found, name)
            qm_conf.check_lock(found[""])
            for _, volume in qm_conf.disks(gone):
                try:
                    storage.delete_snapshot(volume, name)
                except Die:
                    if not force:
                        raise
            del found[name]
            for keys in found.values():
                if keys.get("parent") == name:
                    del keys["parent"]
                    if "parent" in gone:
                        keys["parent"] = gone["parent"]
            qm_conf.save_all(vmid, found)

    return tasks.run("qmdelsnapshot", str(vmid), work)


def listsnapshot(words: list[str], given: Keys) -> int:
    """`qm listsnapshot`: a tree by parents, children by time."""
    del given
    found = qm_conf.sections(int(words[0]))
    snaps = {name: keys for name, keys in found.items() if name and "snaptime" in keys}

    def show(parent: str, depth: int) -> None:
        children = [n for n, keys in snaps.items() if _parent(keys, snaps) == parent]
        for name in sorted(children, key=lambda n: (int(snaps[n]["snaptime"]), n)):
            keys = snaps[name]
            taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(keys["snaptime"])))
            text = keys.get("description", "").split("\n")[0] or "no-description"
            print(f"{' ' * depth}`-> {name:<{28 - depth}}{taken:<24}{text}")
            show(name, depth + 1)
        if _parent(found[""], snaps) == parent:
            print(f"{' ' * depth}`-> {'current':<{28 - depth}}{'':<24}You are here!")

    show("", 0)
    return 0


def _parent(keys: Keys, snaps: dict[str, Keys]) -> str:
    """The snapshot that came before; empty for none."""
    name = keys.get("parent", "")
    return name if name in snaps else ""


def resize(words: list[str], given: Keys) -> int:
    """`qm resize`: like `qm disk resize`, an error of the worker is told on stderr only."""
    del given
    vmid, key, text = int(words[0]), words[1], words[2]
    if not re.fullmatch(r"\+?\d+(?:\.\d+)?[KMGT]?", text):
        raise ParamError({"size": "value does not match the regex pattern"})

    def work(out: tasks.Out) -> None:
        with _locked(vmid):
            keys = qm_conf.read(vmid)
            qm_conf.check_lock(keys)
            if key not in dict(qm_conf.disks(keys)):
                raise Die(f"disk '{key}' does not exist")
            volume, *options = keys[key].split(",")
            size = storage.size(volume)
            wanted = parse_size(text.removeprefix("+")) or 0
            wanted = size + wanted if text.startswith("+") else wanted
            if wanted < size:
                raise Die("shrinking disks is not supported")
            if wanted > size:
                storage.resize(volume, wanted, False, out)
            kept = [option for option in options if not option.startswith("size=")]
            keys[key] = ",".join([volume, *kept, f"size={format_size(wanted)}"])
            qm_conf.save(vmid, keys)

    qm_conf.read(vmid)
    return tasks.run_unchecked("resize", str(vmid), work)
