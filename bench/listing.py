"""`inv --list` next to Python's own start: what a command costs before it does anything."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measure import Contestant, Sample, machine, memory, middle, rounds

ROOT = Path(__file__).resolve().parents[1]


def table(runs: int) -> str:
    """A Markdown table of both, and the difference."""
    python = Contestant("`python -c pass`", 0, (sys.executable, "-c", "pass"), runs, ROOT)
    inv = Contestant("`inv --list`", 0, (str(Path(sys.executable).with_name("inv")), "--list"), runs, ROOT)
    samples: dict[str, list[Sample]] = {python.name: [], inv.name: []}
    for each, sample in rounds([python, inv]):
        samples[each.name].append(sample)
    lines = ["| How | Wall s | CPU s | Peak MiB |", "|---|---|---|---|"]
    middles = {name: middle(found) for name, found in samples.items()}
    lines += [f"| {name} | {m.wall:.3f} | {m.cpu:.3f} | {memory(m)} |" for name, m in middles.items()]
    more = middles[inv.name].wall - middles[python.name].wall
    work = middles[inv.name].cpu - middles[python.name].cpu
    said = f"`inv --list` takes {more:.3f} s ({work:.3f} of CPU) more than Python's start; aim: at most 0.25."
    return "\n".join([*lines, "", said])


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="bench/list", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="runs of each (default: 15)")
    print(f"{machine()}\n\n{table(parser.parse_args().runs)}")


if __name__ == "__main__":
    main()
