"""`chown`, `chgrp` and `stat` where the lab has only one user id: who owns a file is noted in an extended attribute of the file.

Inside the lab's user namespace every file belongs to root and nothing else is possible; the attribute user.fleet.owner holds `UID:GID` of
any other owner. It moves with the file and is copied with it. The real programs do the rest of the work.
"""

from __future__ import annotations

import os
import re
import stat as modes
import subprocess
import sys

_NAME = "user.fleet.owner"
_PROGRAMS = "/usr/bin"
_SPEC = re.compile(r"([^:.]*)(?:[:.](.*))?")


def chown(path: str, uid: int, gid: int) -> None:
    """Note who owns a file or directory (a real path); -1 leaves one of the two as it is."""
    old = owner(path)
    new = (old[0] if uid < 0 else uid, old[1] if gid < 0 else gid)
    if new == old:
        return
    if new == (0, 0):
        os.removexattr(path, _NAME, follow_symlinks=False)
    else:
        os.setxattr(path, _NAME, f"{new[0]}:{new[1]}".encode(), follow_symlinks=False)


def owner(path: str) -> tuple[int, int]:
    """(uid, gid) of a file."""
    try:
        uid, _, gid = os.getxattr(path, _NAME, follow_symlinks=False).decode().partition(":")
    except OSError:
        return 0, 0
    return int(uid), int(gid)


def _lookup(word: str, file: str) -> int | None:
    """The number of a user or group given by number or name; None for one that is none."""
    if word.isdigit():
        return int(word)
    with open(file, encoding="utf-8") as lines:
        found = (line.split(":") for line in lines)
        return next((int(parts[2]) for parts in found if parts[0] == word), None)


def _ids(program: str, spec: str) -> tuple[int, int] | None:
    """(uid, gid) that a chown or chgrp operand means, -1 for "as it is"; None for a name that does not exist."""
    user, group = ("", spec) if program == "chgrp" else _SPEC.fullmatch(spec).groups(default="")  # type: ignore[union-attr]
    uid = _lookup(user, "/etc/passwd") if user else -1
    gid = _lookup(group, "/etc/group") if group else -1
    return None if uid is None or gid is None else (uid, gid)


def _change(program: str, args: list[str]) -> int:
    """chown or chgrp: the real one checks the call (for root's own id), then the owners are noted."""
    flags = [word for word in args if word.startswith("-") and word != "--"]
    words = [word for word in args if not word.startswith("-")]
    real = f"{_PROGRAMS}/{program}"
    simple = all(re.fullmatch(r"-[Rhvcf]+|--recursive|--no-dereference|--quiet|--silent", flag) for flag in flags)
    ids = _ids(program, words[0]) if simple and len(words) > 1 else None
    if ids is None:
        return subprocess.run([real, *args], check=False).returncode
    code = subprocess.run([real, *flags, "--", "0:0" if program == "chown" else "0", *words[1:]], check=False).returncode
    recursive = any(flag == "--recursive" or not flag.startswith("--") and "R" in flag for flag in flags)
    for path in words[1:]:
        for one in _below(path) if recursive else [path]:
            if os.path.exists(one):
                _note(program, one, ids)
    return code


def _note(program: str, path: str, ids: tuple[int, int]) -> None:
    """Note an owner; what can have none (links, devices) is left out."""
    mode = os.stat(path).st_mode
    if not (modes.S_ISREG(mode) or modes.S_ISDIR(mode)):
        return
    try:
        chown(os.path.realpath(path), *ids)
    except OSError as error:
        print(f"{program}: changing ownership of '{path}': {error.strerror}", file=sys.stderr)


def _below(path: str) -> list[str]:
    """A path and everything below it, links left out."""
    found = [path]
    for top, dirs, names in os.walk(path):
        found += [f"{top}/{name}" for name in (*dirs, *names) if not os.path.islink(f"{top}/{name}")]
    return found


def _stat(args: list[str]) -> int:
    """stat: for files with a noted owner the real one with their ids in the format."""
    real = f"{_PROGRAMS}/stat"
    form, flags, files = _stat_words(args)
    noted = [path for path in files if owner(path) != (0, 0)]
    if not noted or {"-f", "--file-system", "--help", "--version"} & set(flags):
        os.execv(real, ["stat", *args])
    code = 0
    for path in files:
        uid, gid = owner(path)
        if form is None:
            done = subprocess.run([real, *flags, "--", path], check=False, capture_output=True, text=True)
            sys.stdout.write(_owned_text(done.stdout, uid, gid))
            sys.stderr.write(done.stderr)
        else:
            option, text = form
            done = subprocess.run([real, *flags, f"{option}={_owned_format(text, uid, gid)}", "--", path], check=False, text=True)
        sys.stdout.flush()
        code = code or done.returncode
    return code


def _stat_words(args: list[str]) -> tuple[tuple[str, str] | None, list[str], list[str]]:
    """((option, format) or None, other options, files) of a stat call."""
    form: tuple[str, str] | None = None
    flags: list[str] = []
    files: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            files += list(words)
        elif word in ("-c", "--format", "--printf"):
            form = ("--printf" if word == "--printf" else "--format", next(words, ""))
        elif match := re.fullmatch(r"(--format|--printf)=(.*)", word, re.DOTALL):
            form = (match[1], match[2])
        elif match := re.fullmatch(r"-(L?)c(.+)", word, re.DOTALL):
            form, flags = ("--format", match[2]), [*flags, *(["-L"] if match[1] else [])]
        elif word.startswith("-") and word != "-":
            flags.append(word)
        else:
            files.append(word)
    return form, flags, files


def _owned_format(text: str, uid: int, gid: int) -> str:
    """A format with the owner's numbers and names in the place of %u, %g, %U and %G."""
    values = {"u": str(uid), "g": str(gid), "U": _name(uid, "/etc/passwd"), "G": _name(gid, "/etc/group")}
    return re.sub(r"%%|%[ugUG]", lambda found: values.get(found[0][1], found[0]), text)


def _owned_text(text: str, uid: int, gid: int) -> str:
    """stat's long output with the owner's numbers and names."""
    text = re.sub(r"Uid: \([^)]*\)", f"Uid: ({uid:5d}/{_name(uid, '/etc/passwd'):>8})", text)
    return re.sub(r"Gid: \([^)]*\)", f"Gid: ({gid:5d}/{_name(gid, '/etc/group'):>8})", text)


def _name(number: int, file: str) -> str:
    """The name of a user or group, UNKNOWN without one."""
    with open(file, encoding="utf-8") as lines:
        found = (line.split(":") for line in lines)
        return next((parts[0] for parts in found if parts[2] == str(number)), "UNKNOWN")


def main(argv: list[str]) -> int:
    """The commands chown, chgrp and stat."""
    return _stat(argv[1:]) if argv[0] == "stat" else _change(argv[0], argv[1:])
