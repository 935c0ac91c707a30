"""`id` and `whoami` for users that are not root, who are told from it by a variable only."""

from __future__ import annotations

import os
import pwd
import sys


def main(argv: list[str]) -> int:
    """Answer for the user of the session; for root, and for other options, the machine's own program does."""
    name = os.environ.get("FLEET_LAB_USER")
    options = "".join(sorted("".join(word.lstrip("-") for word in argv[1:])))
    if name is None or options not in ("", "u", "nu", "g", "gn", "G", "Gn"):
        return _machine(argv)
    number = pwd.getpwnam(name).pw_uid
    if argv[0] == "whoami" or options in ("nu", "gn"):
        print(name)
    elif options in ("u", "g"):
        print(number)
    elif options in ("G", "Gn"):
        print(f"{name} sudo" if options == "Gn" else f"{number} 27")
    else:
        print(f"uid={number}({name}) gid={number}({name}) groups={number}({name}),27(sudo)")
    return 0


def _machine(argv: list[str]) -> int:
    sys.stdout.flush()
    place = next(path for path in (f"/usr/bin/{argv[0]}", f"/bin/{argv[0]}") if os.path.exists(path))
    pid = os.posix_spawn(place, argv, os.environ)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
