"""`pct push` and `pct pull`: both exit 0 when the copying fails (pve-facts 0, trap 1)."""

from __future__ import annotations

import grp
import os
import pwd
from typing import Any

from . import container, paths, tasks
from .cli import Arguments
from .errors import Die
from .tasks import Out

_MODE = 0o644


def _mode(arguments: Arguments) -> int:
    """--perms: octal, or hexadecimal with 0x."""
    text = arguments.take("perms")
    if text is None:
        return _MODE
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text, 8)
    except ValueError:
        return 0


def push(arguments: Arguments) -> int:
    """Copy a file of the node into a running container."""
    vmid = arguments.vmid()
    if not container.running(vmid):
        raise Die("can only push files to a running CT")
    source, target, mode = arguments.values["file"], arguments.values["destination"], _mode(arguments)
    user, group = arguments.take("user"), arguments.take("group")

    def work(_: Out) -> None:
        from . import runtime

        try:
            with open(paths.real(source), "rb") as file:
                content = file.read()
        except OSError:
            raise Die(f"failed to open {source} for reading") from None
        uid = runtime.user_id(vmid, user or "0")
        if uid is None:
            raise Die(f"failed to get uid for: {user}")
        gid = runtime.group_id(vmid, group or "0")
        if gid is None:
            raise Die(f"failed to get gid for: {group}")
        try:
            runtime.write_file(vmid, target, content, mode, uid, gid)
        except OSError as error:
            raise Die(f"failed to create file: {target}: {error.strerror}") from None

    return tasks.run_unchecked("push_file", str(vmid), work)


def pull(arguments: Arguments) -> int:
    """Copy a file out of a running container; of a directory nothing comes, and nothing is said."""
    vmid = arguments.vmid()
    if not container.running(vmid):
        raise Die("can only pull files from a running VM at /usr/share/perl5/PVE/CLI/pct.pm line 664.")
    source, target, mode = arguments.values["path"], arguments.values["destination"], _mode(arguments)
    user, group = arguments.take("user"), arguments.take("group")

    def work(_: Out) -> None:
        from . import owners, runtime

        uid, gid = _local_id(pwd.getpwnam, "uid", user), _local_id(grp.getgrnam, "gid", group)
        try:
            content = runtime.read_file(vmid, source)
        except IsADirectoryError:
            content = b""
        except OSError as error:
            raise Die(f"failed to open {source}: {error.strerror}") from None
        place = paths.real(target)
        try:
            with open(place, "wb") as file:
                file.write(content)
        except OSError as error:
            raise Die(f"failed to create file {target}: {error.strerror}") from None
        os.chmod(place, mode)
        owners.chown(place, uid, gid)

    return tasks.run_unchecked("pull_file", str(vmid), work)


def _local_id(look_up: Any, kind: str, name: str | None) -> int:  # noqa: ANN401
    """The number of a user or group of the node."""
    if name is None or name.isdecimal():
        return int(name or 0)
    try:
        return int(look_up(name)[2])
    except KeyError:
        raise Die(f"failed to get {kind} for: {name}") from None
