"""`lxc-attach`, `lxc-info`, `lxc-ls`, `lxc-freeze` and `lxc-unfreeze`."""

from __future__ import annotations

import os
import sys

from . import cgroup, machine, paths, runtime

_PROGRAM_VERSION = {9: "6.0.4", 8: "6.0.0"}


def main(argv: list[str]) -> int:
    """One of them, by argv[0]."""
    if "--version" in argv:
        print(_PROGRAM_VERSION.get(machine.pve_major(), "6.0.4"))
        return 0
    if argv[0] in ("lxc-freeze", "lxc-unfreeze"):
        return _freeze(argv[0], argv[1:])
    return {"lxc-attach": _attach, "lxc-info": _info, "lxc-ls": _ls}[argv[0]](argv[1:])


def _name(words: list[str]) -> tuple[str | None, list[str]]:
    """The container's name (-n NAME, -nNAME, --name[=]NAME, or the first plain word) and the other words."""
    rest: list[str] = []
    name = None
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += ["--", *words]
            break
        if word in ("-n", "--name") and words:
            name = words.pop(0)
        elif word.startswith("--name="):
            name = word.partition("=")[2]
        elif word.startswith("-n") and len(word) > 2 and not word.startswith("--"):
            name = word[2:]
        elif not word.startswith("-") and name is None:
            name = word
        else:
            rest.append(word)
    return name, rest


def _missing_name(program: str) -> int:
    sys.stderr.write(f"{program}: No container name specified\n")
    return 1


def _attach(words: list[str]) -> int:
    name, rest = _name(words)
    if name is None:
        return _missing_name("lxc-attach")
    if not name.isdecimal() or int(name) not in runtime.running():
        where = f"lxc-attach: {name}: ../src/lxc/attach.c:"
        sys.stderr.write(
            f"{where} get_attach_context: 405 Connection refused - Failed to get init pid\n"
            f"{where} lxc_attach: 1470 Connection refused - Failed to get attach context\n"
        )
        return 1
    options, argv = (rest[: rest.index("--")], rest[rest.index("--") + 1 :]) if "--" in rest else (rest, [])
    unknown = [option for option in options if option not in ("--clear-env", "--keep-env")]
    if unknown:
        sys.stderr.write(f"lxc-attach: unrecognized option '{unknown[0]}'\n")
        return 1
    return runtime.exec_in_guest(int(name), argv or ["/bin/sh"], "--clear-env" not in options)


def _freeze(program: str, words: list[str]) -> int:
    """Freeze or thaw a running container; LXC waits for it without a limit."""
    name, rest = _name(words)
    if name is None:
        return _missing_name(program)
    if rest:
        sys.stderr.write(f"{program}: unrecognized option '{rest[0]}'\n")
        return 1
    if not name.isdecimal() or int(name) not in runtime.running():
        sys.stderr.write(f"{program}: {name} is not running\n")
        return 1
    change = cgroup.freeze if program == "lxc-freeze" else cgroup.thaw
    return 0 if change(int(name), float("inf")) else 1


def _info(words: list[str]) -> int:
    name, options = _name(words)
    if name is None:
        return _missing_name("lxc-info")
    if name not in _containers():
        sys.stderr.write(f"{name} doesn't exist\n")
        return 1
    runs = int(name) in runtime.running()
    letters = {letter for option in options if not option.startswith("--") for letter in option[1:]}
    letters |= {option[2] for option in options if option in ("--state", "--pid", "--ips", "--no-humanize")}
    if letters - set("spiHnS"):
        sys.stderr.write(f"lxc-info: invalid option -- '{min(letters - set('spiHnS'))}'\n")
        return 1
    if not letters:
        print(f"{'Name:':<16}{name}")
    if not letters or "s" in letters:
        state = "FROZEN" if runs and cgroup.frozen(int(name)) else "RUNNING" if runs else "STOPPED"
        print(f"{'State:':<16}{state}")
    if runs and (not letters or "p" in letters):
        print(f"{'PID:':<16}{runtime.look_into(int(name))}")
    return 0


def _ls(words: list[str]) -> int:
    running = runtime.running()
    names = _containers()
    for word in words:
        if word in ("--running", "--active"):
            names = [name for name in names if int(name) in running]
        elif word == "--stopped":
            names = [name for name in names if int(name) not in running]
        elif word not in ("-1", "--line"):
            sys.stderr.write(f"lxc-ls: unrecognized option '{word}'\n")
            return 1
    if {"-1", "--line"} & set(words):
        print("".join(f"{name}\n" for name in names), end="")
    elif names:
        print("".join(f"{name} " for name in names))
    return 0


def _containers() -> list[str]:
    """The containers that were started once: LXC knows those that have a configuration of its own."""
    top = paths.real(paths.LXC)
    found = (name for name in os.listdir(top) if name.isdecimal() and os.path.exists(f"{top}/{name}/config"))
    return sorted(found, key=int)
