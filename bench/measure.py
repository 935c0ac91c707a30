"""Whole processes measured from outside: wall clock, CPU of the process tree, peak memory; medians."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Contestant:
    """One command line: who it is, for how many containers, how often it runs."""

    name: str
    size: int
    argv: Sequence[str]
    runs: int
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One finished process and all descendants that it waited for."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: float  # MiB, of the largest single process


class Failed(Exception):
    """A command ended with a code that it must not have: what it measured would mean nothing."""


def run(contestant: Contestant) -> Sample:
    """One run, its output thrown away; Failed for any exit code but 0."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            contestant.argv,
            cwd=contestant.cwd,
            env={**os.environ, **contestant.environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")
            raise Failed(f"{contestant.name}: exit code {process.returncode}\n{text[-2000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


#: Whoever runs at least so often first runs once uncounted: files get into memory, byte code is written.
WARMED_UP = 5

Samples = dict[tuple[str, int], list[Sample]]


def rounds(contestants: Sequence[Contestant]) -> Iterator[tuple[Contestant, Sample]]:
    """Everybody in turn, round after round, so that a machine whose speed drifts is slow for all of them."""
    for each in contestants:
        if each.runs >= WARMED_UP:
            run(each)
    for number in range(max(each.runs for each in contestants)):
        for each in contestants:
            if number < each.runs:
                yield each, run(each)


def ratio(these: Sequence[Sample], those: Sequence[Sample]) -> float:
    """How many times longer these runs took than those: the median of the ratios round by round."""
    return median(one.wall / other.wall for one, other in zip(these, those, strict=False))


def middle(samples: Sequence[Sample]) -> Sample:
    """The median of each figure."""
    return Sample(
        median(each.wall for each in samples),
        median(each.cpu for each in samples),
        median(each.peak for each in samples),
    )


def memory(sample: Sample) -> str:
    """The peak in MiB; a process is born with that of the one that started it: less does not show."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{sample.peak:.0f}" if sample.peak > own + 1 else f"under {own:.0f}"


def machine() -> str:
    """Where this runs, in general terms: cores and Python's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{os.cpu_count()} cores, Linux, Python {version}"
