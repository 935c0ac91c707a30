"""The verbs of `qm` about snapshots and sizes: snapshot, listsnapshot, rollback, delsnapshot, resize."""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager

from . import clock, files, qm_conf, storage, tasks
from .errors import Die, ParamError
from .pct_snapshot import migration_lock
from .qm_conf import NO_KVM, Keys
from .sizes import format_size, parse_size

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
_LEFT_OUT = ("lock", "digest", "parent", "snaptime", "snapstate", "description", "vmstate", "runningmachine")


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


def _disks(keys: Keys) -> list[tuple[str, str]]:
    """(key, volid) of the disks that a snapshot is about: none of them a CD-ROM or a cloud-init drive."""
    return [(key, volume) for key, volume in qm_conf.disks(keys) if "media=cdrom" not in keys[key]]


def _with_lock(vmid: int, lock: str) -> dict[str, Keys]:
    """The sections of a machine, which must have this lock."""
    found = qm_conf.sections(vmid)
    if found[""].get("lock") != lock:
        raise Die(f"encountered invalid lock, expected '{lock}'")
    return found


def _need(found: dict[str, Keys], name: str) -> Keys:
    """A snapshot's section."""
    if not name or name not in found:
        raise Die(f"snapshot '{name}' does not exist")
    return found[name]


def snapshot(words: list[str], given: Keys) -> int:
    """`qm snapshot`: the machine never runs, so there is nothing to freeze and no state to save."""
    vmid, name = int(words[0]), words[1]
    _check_name(name)
    description = given.get("description")
    return tasks.run("qmsnapshot", str(vmid), lambda out: _create(vmid, name, description, out))


def _create(vmid: int, name: str, description: str | None, out: tasks.Out) -> None:
    section = _prepare(vmid, name, description)
    taken: list[str] = []
    try:
        for key, volume in _disks(section):
            out.write(f"snapshotting 'drive-{key}' ({volume})\n")
            storage.snapshot(volume, name)
            taken.append(key)
    except Die:
        out.write("snapshot create failed: starting cleanup\n")
        try:
            _remove(vmid, name, True, out, taken)
        except Die as error:
            out.write(error.message.rstrip("\n") + "\n")
        raise
    with _locked(vmid):
        found = _with_lock(vmid, "snapshot")
        del _need(found, name)["snapstate"]
        del found[""]["lock"]
        found[""]["parent"] = name
        qm_conf.save_all(vmid, found)


def _prepare(vmid: int, name: str, description: str | None) -> Keys:
    """Write the snapshot's section, incomplete, and the lock; the section."""
    with _locked(vmid):
        found = qm_conf.sections(vmid)
        main = found[""]
        if main.get("template") == "1":
            raise Die("you can't take a snapshot if it's a template")
        qm_conf.check_lock(main)
        if name in found:
            raise Die(f"snapshot name '{name}' already used")
        if not all(storage.has_feature(volume, "snapshot") for _, volume in _disks(main)):
            raise Die("snapshot feature is not available")
        kept = {k: v for k, v in main.items() if k not in _LEFT_OUT and not k.startswith("unused")}
        kept |= {"snaptime": str(int(clock.now())), "snapstate": "prepare"}
        if "parent" in main:
            kept["parent"] = main["parent"]
        if description:
            kept["description"] = description
        qm_conf.save_all(vmid, {**found, "": {**main, "lock": "snapshot"}, name: kept})
        return kept


def delsnapshot(words: list[str], given: Keys) -> int:
    """`qm delsnapshot`."""
    force = given.get("force") == "1"
    vmid, name = int(words[0]), words[1]

    def work(out: tasks.Out) -> None:
        if force:
            _remove(vmid, name, True, out)
        else:
            with migration_lock(vmid):
                _remove(vmid, name, False, out)

    return tasks.run("qmdelsnapshot", str(vmid), work)


def _remove(vmid: int, name: str, force: bool, out: tasks.Out, taken: list[str] | None = None) -> None:
    """Delete a snapshot as pct_snapshot.remove does that of a container."""
    lock = "snapshot" if taken is not None else "snapshot-delete"
    _need(qm_conf.sections(vmid), name)
    with _locked(vmid):
        found = qm_conf.sections(vmid)
        section = _need(found, name)
        if taken is None:
            qm_conf.check_lock(found[""])
            found[""]["lock"] = lock
        if found[""].get("template") == "1":
            raise Die("you can't delete a snapshot if vm is a template")
        section["snapstate"] = "delete"
        qm_conf.save_all(vmid, found)
    for key, volume in _disks(section):
        if taken is None or key in taken:
            try:
                storage.delete_snapshot(volume, name)
            except Die as error:
                if not force:
                    raise
                out.write(error.message.rstrip("\n") + "\n")
        if not force:
            with _locked(vmid):
                found = _with_lock(vmid, lock)
                left = _need(found, name)
                left.pop(key, None)
                _add_unused(left, volume)
                qm_conf.save_all(vmid, found)
    with _locked(vmid):
        found = _with_lock(vmid, lock)
        gone = _need(found, name)
        del found[name]
        for keys in found.values():
            if keys.get("parent") == name:
                del keys["parent"]
                if "parent" in gone:
                    keys["parent"] = gone["parent"]
        del found[""]["lock"]
        current = {volume for _, volume in qm_conf.disks(found[""])}
        for _, volume in _disks(section):
            if volume not in current and taken is None:
                _add_unused(found[""], volume)
        qm_conf.save_all(vmid, found)


def _add_unused(keys: Keys, volume: str) -> None:
    """Keep a volume as unusedN, with the lowest free number."""
    if volume in (value for key, value in keys.items() if key.startswith("unused")):
        return
    number = next(n for n in range(256) if f"unused{n}" not in keys)
    keys[f"unused{number}"] = volume


def rollback(words: list[str], given: Keys) -> int:
    """`qm rollback`."""
    vmid, name = int(words[0]), words[1]

    def work(_out: tasks.Out) -> None:
        with migration_lock(vmid):
            _rollback(vmid, name)
        if given.get("start") == "1":
            raise Die(NO_KVM)

    return tasks.run("qmrollback", str(vmid), work)


def _rollback(vmid: int, name: str) -> None:
    with _locked(vmid):
        found = qm_conf.sections(vmid)
        if found[""].get("template") == "1":
            raise Die("you can't rollback if vm is a template")
        then = _need(found, name)
        for _, volume in _disks(then):
            storage.rollback_possible(volume, name)
        if "snapstate" in then:
            raise Die(f"unable to rollback to incomplete snapshot (snapstate = {then['snapstate']})")
        qm_conf.check_lock(found[""])
        found[""]["lock"] = "rollback"
        qm_conf.save_all(vmid, found)
    for _, volume in _disks(then):
        storage.rollback(volume, name)
    with _locked(vmid):
        found = _with_lock(vmid, "rollback")
        now, then = found[""], _need(found, name)
        main = {key: value for key, value in then.items() if key not in _LEFT_OUT}
        kept = {key: value for key, value in now.items() if key == "description" or key.startswith("unused")}
        main |= kept
        for _, volume in qm_conf.disks(now):
            if volume not in {volume for _, volume in qm_conf.disks(then)}:
                _add_unused(main, volume)
        qm_conf.save_all(vmid, {**found, "": {**main, "parent": name}})


def entries(vmid: int) -> list[dict[str, object]]:
    """/nodes/N/qemu/ID/snapshot."""
    import hashlib

    found = qm_conf.sections(vmid)
    listed: list[dict[str, object]] = []
    for name, keys in found.items():
        if name and "snaptime" in keys:
            entry: dict[str, object] = {
                "name": name,
                "description": keys.get("description", ""),
                "snaptime": int(keys["snaptime"]),
                "vmstate": int("vmstate" in keys),
            }
            listed.append(entry | ({"parent": keys["parent"]} if "parent" in keys else {}))
    now: dict[str, object] = {
        "name": "current",
        "description": "You are here!",
        "digest": hashlib.sha1(qm_conf.raw(vmid).encode(), usedforsecurity=False).hexdigest(),
        "running": 0,
    }
    return [*listed, now | ({"parent": found[""]["parent"]} if "parent" in found[""] else {})]


def describe(vmid: int, name: str, description: str | None) -> int:
    """Change the description of a snapshot (PUT .../snapshot/NAME/config)."""
    with _locked(vmid):
        found = qm_conf.sections(vmid)
        qm_conf.check_lock(found[""])
        section = _need(found, name)
        if description is not None:
            section["description"] = description
        qm_conf.save_all(vmid, found)
    return 0


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
