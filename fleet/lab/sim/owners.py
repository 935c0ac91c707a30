"""Owners of files that this one-user sandbox cannot have: in the attribute user.fleet.owner, "UID:GID".

Inside the lab everybody is one user, so chown(2) to 100000 fails. `chown`, `chgrp` and `stat` are simulated
on top of the attribute, and every simulated command that gives a volume to a container uses chown() here. A
symbolic link cannot carry the attribute: it is root's.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from functools import partial

from . import machine

ATTRIBUTE = "user.fleet.owner"
_FORMAT = re.compile(r"%([-+ #0']*\d*(?:\.\d+)?)([%a-zA-Z])")
_NOBODY = 65534
_SHIFT, _IDS = 100000, 65536


def owner(path: str, *, follow: bool = True) -> tuple[int, int]:
    """(uid, gid) of a file. OSError if it does not exist."""
    info = os.stat(path, follow_symlinks=follow)
    if path.startswith("/dev/"):
        return _device_owner(path)
    try:
        uid, _, gid = os.getxattr(path, ATTRIBUTE, follow_symlinks=follow).decode().partition(":")
        return int(uid), int(gid)
    except (OSError, ValueError):
        return info.st_uid, info.st_gid


def _device_owner(path: str) -> tuple[int, int]:
    """Simulated devices belong to whom the machine description says."""
    devices = machine.facts().get("devices", ())
    return 0, next((int(device["gid"]) for device in devices if device["path"] == path), 0)


def chown(path: str, uid: int, gid: int, *, follow: bool = True) -> None:
    """Give a file to somebody; -1 leaves that half alone."""
    if not follow and os.path.islink(path):
        return
    old_uid, old_gid = owner(path)
    new = (old_uid if uid < 0 else uid, old_gid if gid < 0 else gid)
    if new == (old_uid, old_gid):
        return
    if new == (0, 0):
        os.removexattr(path, ATTRIBUTE)
    else:
        os.setxattr(path, ATTRIBUTE, f"{new[0]}:{new[1]}".encode())


def inside(path: str, binds: tuple[str, ...]) -> tuple[int, int]:
    """(uid, gid) as an unprivileged container sees them: its ids are shifted, all others are nobody's.

    What nobody ever gave away is root's: the container's in its own volumes, the node's (so nobody's) in
    bind mounts.
    """
    uid, gid = owner(path)
    if (uid, gid) == (0, 0) and not any(
        (os.path.abspath(path) + "/").startswith(bind.rstrip("/") + "/") for bind in binds
    ):
        return 0, 0
    return _unshift(uid), _unshift(gid)


def _unshift(number: int) -> int:
    return number - _SHIFT if _SHIFT <= number < _SHIFT + _IDS else _NOBODY


def main(argv: list[str], *, binds: tuple[str, ...] | None = None) -> int:
    """`stat`, `chown` and `chgrp`, by argv[0]; with `binds` as a guest with these bind mounts."""
    if argv[0] == "stat":
        return _stat(argv[1:], binds)
    return _chown(argv[0], argv[1:], 0 if binds is None else _SHIFT)


# --- stat ---


def _stat(words: list[str], binds: tuple[str, ...] | None) -> int:
    """The machine's stat, with the four letters that tell owners answered here."""
    option, files = _stat_format(words)
    if option is None:
        return _machine("stat", words)
    kind, text, others = option
    code = 0
    for file in files:
        try:
            ids = (
                (0, 0)
                if os.path.islink(file) and "-L" not in others
                else owner(file)
                if binds is None
                else inside(file, binds)
            )
        except OSError:
            ids = (0, 0)  # the machine's stat says what is wrong
        code |= _machine(
            "stat", [*others, f"--{kind}={_FORMAT.sub(partial(_answer, ids=ids), text)}", "--", file]
        )
    return code


def _answer(found: re.Match[str], ids: tuple[int, int]) -> str:
    flags, letter = found.groups()
    values = {"u": str(ids[0]), "g": str(ids[1])}
    if letter in "UG":
        number = ids[letter == "G"]
        name = _names("passwd" if letter == "U" else "group").get(number, "UNKNOWN")
        return f"%{flags}s" % name
    return f"%{flags}s" % values[letter] if letter in values else found[0]


def _stat_format(words: list[str]) -> tuple[tuple[str, str, list[str]] | None, list[str]]:
    """((printf or format, its text, other options), files); None where no format is asked for."""
    text: str | None = None
    kind, others, files = "format", list[str](), list[str]()
    rest = iter(words)
    for word in rest:
        if word == "--":
            files += rest
        elif word in ("-c", "--format", "--printf"):
            text, kind = next(rest, ""), "printf" if word == "--printf" else "format"
        elif word.startswith(("--format=", "--printf=")):
            kind, _, text = word[2:].partition("=")
        elif re.fullmatch(r"-[Lf]*c.*", word) and not word.startswith("--"):
            flags, _, attached = word[1:].partition("c")
            others += [f"-{flags}"] if flags else []
            text, kind = attached or next(rest, ""), "format"
        elif word.startswith("-") and word != "-":
            others.append(word)
        else:
            files.append(word)
    return (None if text is None or "-f" in others else (kind, text, others)), files


# --- chown and chgrp ---


def _chown(name: str, words: list[str], shift: int) -> int:
    flags = [word for word in words if word.startswith("-") and word != "--"]
    operands = [word for word in words if not word.startswith("-")]
    reference = next((flag.partition("=")[2] for flag in flags if flag.startswith("--reference=")), None)
    unknown = [
        flag
        for flag in flags
        if not re.fullmatch(
            r"-[RhvcfLHP]+|--(recursive|no-dereference|verbose|changes|silent|quiet"
            r"|dereference|reference=.*|preserve-root)",
            flag,
        )
    ]
    if unknown:
        return _complain(name, f"unrecognized option '{unknown[0]}'", hint=True)
    if len(operands) < (1 if reference else 2):
        return _complain(
            name,
            "missing operand" if not operands else f"missing operand after \u2018{operands[-1]}\u2019",
            hint=True,
        )
    try:
        ids = owner(reference) if reference else _ids(name, operands.pop(0), shift)
    except (KeyError, OSError) as error:
        return _complain(
            name,
            error.args[0] if isinstance(error, KeyError) else f"failed to get attributes of '{reference}'",
        )
    recursive = any(flag == "--recursive" or (not flag.startswith("--") and "R" in flag) for flag in flags)
    follow = not any(
        flag == "--no-dereference" or (not flag.startswith("--") and "h" in flag) for flag in flags
    )
    code = 0
    for operand in operands:
        for path in _tree(operand) if recursive else [operand]:
            try:
                chown(path, *ids, follow=follow and not recursive)
            except OSError as error:
                code = _complain(
                    name,
                    f"cannot access '{path}': {error.strerror}"
                    if not os.path.lexists(path)
                    else f"changing ownership of '{path}': {error.strerror}",
                )
    return code


def _ids(name: str, said: str, shift: int) -> tuple[int, int]:
    """The numbers that OWNER[:GROUP] means, -1 for what it does not say; KeyError with a message."""
    user, colon, group = (said, "", "") if name == "chown" else ("", ":", said)
    if name == "chown":
        user, colon, group = said.partition(":") if ":" in said else said.partition(".")
        user, colon, group = (said, "", "") if colon == "." and not user.isdigit() else (user, colon, group)
    uid = _number(user, "passwd", f"invalid user: \u2018{said}\u2019", shift) if user else -1
    gid = _number(group, "group", f"invalid group: \u2018{said}\u2019", shift) if group else -1
    if user and colon and not group:
        gid = uid
    return uid, gid


def _number(text: str, table: str, wrong: str, shift: int) -> int:
    if text.isdigit():
        return int(text) + shift
    for number, name in _names(table).items():
        if name == text:
            return number + shift
    raise KeyError(wrong)


def _names(table: str) -> dict[int, str]:
    """Number to name, from /etc/passwd or /etc/group."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError), open(f"/etc/{table}", encoding="utf-8") as file:
        for line in file:
            fields = line.split(":")
            if len(fields) > 2 and fields[2].isdigit():
                found.setdefault(int(fields[2]), fields[0])
    return found


def _tree(top: str) -> Iterator[str]:
    yield top
    if not os.path.islink(top):
        for directory, directories, files in os.walk(top):
            yield from (os.path.join(directory, name) for name in (*directories, *files))


def _complain(name: str, text: str, *, hint: bool = False) -> int:
    sys.stderr.write(f"{name}: {text}\n" + (f"Try '{name} --help' for more information.\n" if hint else ""))
    return 1


def _machine(name: str, words: list[str]) -> int:
    """Run the machine's own program of that name."""
    place = next(
        (
            path
            for path in (
                f"/usr/bin/{name}",
                f"/bin/{name}",
                f"/run/host/usr/bin/{name}",
                f"/run/host/bin/{name}",
            )
            if os.path.exists(path) and not os.path.realpath(path).endswith("/guest-tool")
        ),
        f"/usr/bin/{name}",
    )
    pid = os.posix_spawn(place, [name, *words], os.environ)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
