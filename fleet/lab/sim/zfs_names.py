"""What `zfs` refuses at once: names of datasets, properties, busy datasets, in libzfs's words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from . import machine, paths
from .zfs_props import PROPS, BadValue, canonical, is_user, parse
from .zfs_tree import Tree, ZfsError

_NAME_CHARACTERS = re.compile(r"[^A-Za-z0-9_\-.: %@#/]")


def check_name(what: str, name: str, kinds: str, new: bool = True) -> None:
    """Refuse a malformed name; `what` begins the message.

    `kinds` holds s where a snapshot may stand, b where a bookmark may; `new` is a name that is to be given.
    """
    problem = "invalid character % in name" if new and "%" in name else _name_problem(name, kinds)
    if problem:
        raise ZfsError(f"{what}: {problem}")


def _name_problem(name: str, kinds: str) -> str | None:
    """What is wrong with a name (zfs_validate_name), None if nothing."""
    if "s" not in kinds and "@" in name:
        return "snapshot delimiter '@' is not expected here"
    if kinds == "s" and "@" not in name:
        return "missing '@' delimiter in snapshot name"
    if "b" not in kinds and "#" in name:
        return "bookmark delimiter '#' is not expected here"
    if len(name) >= 256:
        return "name is too long"
    if name.startswith("/"):
        return "leading slash in name"
    if name.endswith("/") or ("/" in re.split("[@#]", name, maxsplit=1)[-1] and re.search("[@#]", name)):
        return "trailing slash in name"
    if name.count("@") + name.count("#") > 1:
        return "multiple '@' and/or '#' delimiters in name"
    if any(part == "" for part in re.split(r"[/@#]", name)):
        return "empty component or misplaced '@' or '#' delimiter in name"
    bad = _NAME_CHARACTERS.search(name)
    if bad:
        return f"invalid character '{bad.group()}' in name"
    if not name[0].isalpha():
        return "pool doesn't begin with a letter"
    parts = re.split(r"[/@#]", name)
    if "." in parts:
        return "self reference, '.' is found in name"
    return "parent reference, '..' is found in name" if ".." in parts else None


def need(tree: Tree, name: str, kinds: str = "fvs") -> None:
    """Refuse a name that is no dataset of these kinds (zfs_open)."""
    letters = {"filesystem": "f", "volume": "v", "snapshot": "s", "bookmark": "b"}
    check_name(f"cannot open '{name}'", name, kinds, new=False)
    if tree.find(name) is None:
        raise ZfsError(f"cannot open '{name}': dataset does not exist")
    if letters[tree.kind(name)] not in kinds:
        raise ZfsError(f"cannot open '{name}': operation not applicable to datasets of this type")


def valid_props(what: str, kind: str, given: dict[str, str], creating: bool) -> dict[str, str]:
    """The stored form of properties given by the user; `what` begins the message, `kind` is the dataset's."""
    result: dict[str, str] = {}
    for given_name, value in given.items():
        if is_user(given_name):
            if len(value) >= 8192:
                raise ZfsError(f"{what}: property value too long")
            result[given_name] = value
            continue
        if kind == "snapshot":
            raise ZfsError(f"{what}: this property can not be modified for snapshots")
        name = canonical(given_name)
        if name is None or name == "name":
            raise ZfsError(f"{what}: invalid property '{given_name}'")
        prop = PROPS[name]
        if kind[0] not in prop.types:
            raise ZfsError(f"{what}: '{name}' does not apply to datasets of this type")
        if prop.how == "r" or (prop.how == "o" and not creating):
            raise ZfsError(f"{what}: '{name}' is readonly")
        try:
            result[name] = parse(name, value, kind)
        except BadValue as error:
            raise ZfsError(f"{what}: {error}") from None
    return result


def reservation_for(volsize: int) -> int:
    """The refreservation of a thick volume.

    Its size and its metadata (zvol_volsize_to_reservation, about 1.6 %).
    """
    return volsize + volsize // 64


def busy_check(name: str, what: str, where: str | None) -> None:
    """Refuse when a process is in what is mounted at `where`.

    Or when the lab was told that the dataset is busy (faults.json: {"zfs_busy": [dataset]}).

    `what` begins the message, up to its colon and what may follow: `cannot unmount '/a': pool or`.
    """
    if name in machine.faults().get("zfs_busy", ()) or (where and _used_by_a_process(where)):
        raise ZfsError(f"{what} dataset is busy")


def _used_by_a_process(where: str) -> bool:
    """Whether a process of the node has its directory, or a file open, in a mounted file system."""
    if paths.ROOT:
        return False  # a plain directory that stands for a node has no processes of its own
    place = os.path.realpath(where)
    return any(
        target == place or target.startswith(place + "/")
        for pid in os.listdir("/proc")
        if pid.isdigit()
        for target in _places(f"/proc/{pid}")
    )


def _places(process: str) -> Iterator[str]:
    """Where a process has its directory, its root and its open files."""
    try:
        links = ["cwd", "root", *(f"fd/{number}" for number in os.listdir(f"{process}/fd"))]
    except OSError:
        return  # it has ended
    for link in links:
        try:
            yield os.readlink(f"{process}/{link}")
        except OSError:
            continue
