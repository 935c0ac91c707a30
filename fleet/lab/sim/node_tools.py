"""`nproc` and `uname` of the node, as the machine description says."""

from __future__ import annotations

import os
import sys

from . import machine


def main(argv: list[str]) -> int:
    """One of the two, by argv[0]."""
    return _nproc() if argv[0] == "nproc" else _uname(argv[1:])


def _nproc() -> int:
    print(machine.facts()["cpus"])
    return 0


def _uname(words: list[str]) -> int:
    """`uname` with the letters a, s, n, r, v, m and o."""
    letters = "".join(word.lstrip("-") for word in words) or "s"
    if set(letters) - set("asnrvmo") or any(word.startswith("--") for word in words):
        sys.stderr.write(
            f"uname: unrecognized option '{words[0]}'\nTry 'uname --help' for more information.\n"
        )
        return 1
    have = os.uname()
    release = str(machine.facts()["kernel"])
    values = {
        "s": "Linux",
        "n": have.nodename,
        "r": release,
        "v": "#1 SMP PREEMPT_DYNAMIC PMX",
        "m": have.machine,
        "o": "GNU/Linux",
    }
    print(" ".join(value for letter, value in values.items() if letter in letters or "a" in letters))
    return 0
