"""A run of transfers beside which others take and remove snapshots; and what the record says of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fleet.backups import copies, run
from fleet.backups.reading import Reading
from fleet.core.plan import Part
from fleet.domains.backup import replicas
from fleet.domains.backup.items import ZfsSnapshot
from fleet.domains.backup.replicas.facts import ReplicaFacts
from fleet.host.apply import Result
from fleet.host.guarded import Outcome
from tests.domains.backup_values import daily, facts
from tests.domains.test_backup_replicas import DATA, THERE, USB, bookmark, copy_of, found, policy, target

ONE, TWO = daily(DATA, 1), daily(DATA, 0)


class OneWork(run.Work):
    """A run whose steps end as told."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.inventory = cast(Any, None)
        self.shell = cast(Any, SimpleNamespace(executions=0))
        self._outcomes = list(outcomes)

    def apply(self, *parts: Part, **_given: Any) -> tuple[Result, ...]:
        return tuple(Result(step, self._outcomes.pop(0)) for part in parts for step in part.steps)


def sent(
    monkeypatch: pytest.MonkeyPatch,
    reads: Sequence[tuple[Sequence[ZfsSnapshot], ReplicaFacts]],
    *outcomes: Outcome,
) -> copies.Copies:
    """The report of a run of these reads."""
    made = policy()
    left = [(Reading(cast(Any, None), facts(snapshots=there), made, {}), at) for there, at in reads]
    monkeypatch.setattr(copies, "_read", lambda _work: left.pop(0))
    return copies.send(OneWork(outcomes), made.subjects)


def test_a_snapshot_that_came_during_the_transfer_is_the_next_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    after = found(target(copy_of(ONE)), marks=[bookmark(ONE)])
    report = sent(monkeypatch, [([ONE], found()), ([ONE, TWO], after)], Outcome.DONE)
    assert (report.exit_code, report.failed) == (0, {})
    assert report.made == {f"{DATA} to usb": ONE.name}


def test_what_was_rotated_away_before_its_turn_gives_way_to_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after = found(target(copy_of(TWO)), marks=[bookmark(TWO)])
    reads = [([ONE], found()), ([TWO], found()), ([TWO], after)]
    report = sent(monkeypatch, reads, Outcome.STALE, Outcome.DONE)
    assert (report.exit_code, report.failed) == (0, {})
    assert report.made == {f"{DATA} to usb": TWO.name}


def test_what_did_not_arrive_is_a_failure_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    report = sent(monkeypatch, [([ONE], found()), ([ONE, TWO], found())], Outcome.FAILED)
    assert list(report.failed) == [f"{DATA} to usb"]


def test_the_record_says_which_transfer_of_a_dataset_has_no_end(tmp_path: Path) -> None:
    nas = "root@nas:backup/pve/tank:data"
    (tmp_path / "backups.log").write_text(
        f"1 making a {THERE}@a 1\n1 made a {THERE}@a 1\n"
        f"2 making b {THERE}@b 2\n3 making c {THERE}@c 3\n"  # b was given up
        f"4 making d {nas}@d 4\n5 failed d {nas}@d 4\n6 making e {nas}@e 5\n"
        f"7 making f {DATA}@f -\n8 making g {DATA}#g 7\n9 made f {DATA}@f 3\n"
    )
    [probe] = [each for each in replicas.probes([USB]) if each.name == "replica-sending"]
    done = subprocess.run(
        ["sh", "-c", probe.sh],
        env={**os.environ, "FLEET_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert set(done.stdout.splitlines()) == {f"{THERE}@c 3", f"{nas}@e 5"}, done.stderr
