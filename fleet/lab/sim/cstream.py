"""`cstream -t N`: stdin to stdout at N bytes a second on average. Every node has it: pve-manager needs it."""

from __future__ import annotations

import os
import sys
import time

_PIECE = 1 << 13  # bytes, cstream's default block


def main(argv: list[str]) -> int:
    """The command `cstream`; of its options only `-t` is simulated."""
    if len(argv) != 3 or argv[1] != "-t" or not argv[2].lstrip("-").isdigit():
        sys.stderr.write("this lab simulates only `cstream -t BYTES`\n")
        return 1
    limit, sent, began = abs(int(argv[2])), 0, time.monotonic()
    while piece := os.read(0, _PIECE):
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(1, view) :]
        except BrokenPipeError:
            return 1
        sent += len(piece)
        ahead = sent / limit - (time.monotonic() - began) if limit else 0.0
        if ahead > 0:
            time.sleep(ahead)
    return 0
