"""`ip link add`, `set` and `delete` on the node: links are directories of plain files in /sys/class/net."""

from __future__ import annotations

import os
import secrets
import shutil
import sys

_TOP = "/sys/class/net"
_KINDS = {"wireguard": 1420, "bridge": 1500, "dummy": 1500, "veth": 1500}
_PERMANENT = ("lo",)


class Refused(Exception):
    """What ip says, exit code 2 unless told otherwise."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


def change(words: list[str]) -> int:
    """Carry out `add ...`, `set ...` or `delete ...`; the exit code."""
    try:
        {"add": _add, "set": _set, "del": _delete, "delete": _delete}[words[0]](words[1:])
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return refusal.code
    return 0


def _name(words: list[str]) -> str:
    """The name of the link: the first word, after `dev` or `name` where that is said."""
    if words[:1] and words[0] in ("dev", "name"):
        words.pop(0)
    if not words:
        raise Refused('Not enough information: "dev" argument is required.', 255)
    return words.pop(0)


def _add(words: list[str]) -> None:
    name = _name(words)
    if words[:1] != ["type"] or len(words) < 2:
        raise Refused('Not enough information: "type" argument is required', 255)
    kind = words[1]
    if kind not in _KINDS:
        raise Refused("Error: Unknown device type.")
    if os.path.isdir(f"{_TOP}/{name}"):
        raise Refused("RTNETLINK answers: File exists")
    used = [int(_read(entry, "ifindex")) for entry in os.listdir(_TOP)]
    mac = (
        "" if kind == "wireguard" else ":".join(["02", *(f"{secrets.randbelow(256):02x}" for _ in range(5))])
    )
    os.makedirs(f"{_TOP}/{name}/bridge" if kind == "bridge" else f"{_TOP}/{name}")
    if kind == "bridge":
        os.mkdir(f"{_TOP}/{name}/brif")
    for file, value in (
        ("address", mac),
        ("mtu", _KINDS[kind]),
        ("ifindex", max(used) + 1),
        ("operstate", "down"),
        ("kind", kind),
    ):
        _write(name, file, str(value))


def _delete(words: list[str]) -> None:
    name = _name(words)
    _check(name)
    if name in _PERMANENT:
        raise Refused("RTNETLINK answers: Operation not supported")
    _release(name)
    shutil.rmtree(f"{_TOP}/{name}")


def _set(words: list[str]) -> None:
    name = _name(words)
    _check(name)
    while words:
        word = words.pop(0)
        if word in ("up", "down"):
            _write(name, "operstate", word)
        elif word == "nomaster":
            _release(name)
        elif word in ("mtu", "master") and words:
            value = words.pop(0)
            if word == "mtu":
                _write(name, "mtu", value)
            else:
                _check(value)
                _release(name)
                os.symlink(f"../{value}", f"{_TOP}/{name}/master")
                os.makedirs(f"{_TOP}/{value}/brif/{name}")
        else:
            raise Refused(f'Error: either "dev" is duplicate, or "{word}" is a garbage.', 255)


def _release(name: str) -> None:
    """Take a link out of its bridge."""
    link = f"{_TOP}/{name}/master"
    if os.path.islink(link):
        shutil.rmtree(f"{_TOP}/{os.path.basename(os.readlink(link))}/brif/{name}", ignore_errors=True)
        os.unlink(link)


def _check(name: str) -> None:
    if not os.path.isdir(f"{_TOP}/{name}"):
        raise Refused(f'Cannot find device "{name}"', 1)


def _read(name: str, file: str) -> str:
    with open(f"{_TOP}/{name}/{file}", encoding="ascii") as source:
        return source.read().strip() or "0"


def _write(name: str, file: str, value: str) -> None:
    with open(f"{_TOP}/{name}/{file}", "w", encoding="ascii") as target:
        target.write(f"{value}\n")
