"""Running something inside a lab's node: the namespaces of its process 1, and sshd's environment."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"


def words(pid: int, argv: Sequence[str]) -> list[str]:
    """The words that run argv inside the node whose process 1 is `pid`, in root's home.

    The namespaces are named one by one, since `nsenter --all` of older util-linux stumbles over ones it
    cannot join.
    """
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        raise FileNotFoundError("the lab needs `nsenter`, of the package util-linux, which is not installed")
    return [
        nsenter,
        f"--target={pid}",
        "--user",
        "--preserve-credentials",
        "--mount",
        "--pid",
        "--net",
        "--uts",
        "--ipc",
        "--wd",
        "--",
        *argv,
    ]


def shell(command: str | None, user: str) -> list[str]:
    """What sshd runs for a user: their shell with `-c COMMAND`, or as a login shell for None."""
    argv = [SHELL, "-l"] if command is None else [SHELL, "-c", command]
    return argv if user == "root" else ["/bin/sh", "-c", 'cd "$HOME" && exec "$@"', "sh", *argv]


def environment(user: str) -> dict[str, str]:
    """The variables that sshd and PAM of a Proxmox node set."""
    home = "/root" if user == "root" else f"/home/{user}"
    common = {
        "SHELL": SHELL,
        "LOGNAME": user,
        "MOTD_SHOWN": "pam",
        "HOME": home,
        "LANG": "C.UTF-8",
        "USER": user,
        "PATH": PATH,
    }
    return (
        common if user == "root" else {**common, "FLEET_LAB_USER": user}
    )  # all is one uid: this says who is not root
