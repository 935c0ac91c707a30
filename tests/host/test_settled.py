"""Which job of an earlier run is followed, which is left alone, and which stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fleet.core.errors import Locked
from fleet.host.jobs import Job
from fleet.host.lock import NODE, TRANSFERS
from fleet.host.script import ScriptShell
from fleet.run import run_id, settled


def reads(here: ScriptShell, made_by: Sequence[str], held: Sequence[str], *, running: bool = False) -> int:
    """How often is read by who holds these locks, where a job is found whose run held those."""
    job = Job(f"{run_id(made_by)}-0001", "tank/data to usb: send", running)
    found: list[int] = []

    def read() -> int:
        found.append(1)
        return len(found)

    return settled(here, read, lambda number: (job,) if number == 1 else (), held)


@pytest.fixture(autouse=True)
def _no_jobs_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time that a job is looked for, it is gone."""
    monkeypatch.setenv("FLEET_RUN", str(tmp_path / "run"))


def test_a_transfer_goes_on_beside_a_run_that_holds_only_the_node(here: ScriptShell) -> None:
    assert reads(here, (TRANSFERS,), (NODE,), running=True) == 1


def test_what_cannot_go_beside_a_transfer_does_not_hold_the_node_until_it_is_over(here: ScriptShell) -> None:
    with pytest.raises(Locked, match="tank/data to usb: send"):
        reads(here, (TRANSFERS,), (NODE, TRANSFERS), running=True)
    assert reads(here, (TRANSFERS,), (NODE, TRANSFERS)) == 2


@pytest.mark.parametrize("held", [(NODE,), (TRANSFERS,), (NODE, TRANSFERS)])
def test_a_job_of_a_run_that_held_both_locks_is_followed_by_who_holds_one_of_them(
    here: ScriptShell, held: Sequence[str]
) -> None:
    assert reads(here, (NODE, TRANSFERS), held, running=True) == 2


def test_a_job_under_the_nodes_lock_is_followed_by_its_next_holder_and_not_by_transfers(
    here: ScriptShell,
) -> None:
    assert reads(here, (NODE,), (NODE,)) == 2
    assert reads(here, (NODE,), (TRANSFERS,)) == 1
