"""`sudo`: run a command as root. Whoever the machine lists as a user may, without a password."""

from __future__ import annotations

import os
import sys

_WITH_VALUE = (
    "-u",
    "--user",
    "-g",
    "--group",
    "-p",
    "--prompt",
    "-C",
    "-D",
    "--chdir",
    "-h",
    "-r",
    "-t",
    "-T",
    "-U",
)
_ALONE = (
    "-n",
    "--non-interactive",
    "-H",
    "--set-home",
    "-S",
    "--stdin",
    "-E",
    "--preserve-env",
    "-k",
    "-b",
    "-i",
    "-s",
    "-A",
)
_USAGE = (
    "usage: sudo [-ABbEHnPS] [-D directory] [-g group] [-h host] [-p prompt] [-u user] [VAR=value] [-i | -s] "
    "[command [arg ...]]\n"
)
_SECURE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("TERM", "LANG", "LANGUAGE", "COLORS", "DISPLAY")


def main(argv: list[str]) -> int:
    """Becomes the command; the exit code of a wrong call otherwise."""
    options: list[str] = []
    words = argv[1:]
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        if word in _WITH_VALUE and words:
            words.pop(0)
        elif word not in _ALONE and not (
            not word.startswith("--") and all(f"-{letter}" in _ALONE for letter in word[1:])
        ):
            sys.stderr.write(f"sudo: invalid option -- '{word.lstrip('-')[:1]}'\n{_USAGE}")
            return 1
        options.append(word)
    if options == ["-V"] or (not words and not {"-i", "-s", "-k"} & set(options)):
        sys.stderr.write(_USAGE)
        return 1
    caller = os.environ.get("FLEET_LAB_USER", "root")
    kept = (
        dict(os.environ)
        if "-E" in options
        else {k: v for k, v in os.environ.items() if k in _KEPT or k.startswith("LC_")}
    )
    kept.pop("FLEET_LAB_USER", None)
    environment = {
        **kept,
        "PATH": _SECURE_PATH,
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/bash",
        "SUDO_USER": caller,
        "SUDO_COMMAND": " ".join(words),
    }
    while words and "=" in words[0] and words[0].partition("=")[0].isidentifier():
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    if {"-i", "-s"} & set(options):
        shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
        words = [shell, *(["-c", " ".join(words)] if words else ["-l"])]
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606 - the point of it
    except OSError:
        sys.stderr.write(f"sudo: {words[0]}: command not found\n")
        return 1
