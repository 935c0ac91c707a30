"""What the report of a run of snapshots says of the host's words and of two reads, on values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from fleet.backups import run
from fleet.backups.reading import Reading
from fleet.core.plan import Part
from fleet.core.probe import Probe
from fleet.domains.backup.items import BackupFacts
from fleet.domains.backup.spec import BackupSpec
from fleet.host.apply import Result
from fleet.host.guarded import Outcome
from tests.domains.backup_values import bind, facts, guest, spec, subject_of, volume, zfs

ONE, TWO = guest(101, volume(), bind()), guest(102, volume(vmid=102), bind())


class OneWork(run.Work):
    """A run whose reads show `before`, then `after`, and whose steps say these lines."""

    def __init__(self, policy: BackupSpec, before: BackupFacts, after: Callable[[str], BackupFacts]) -> None:
        self.inventory = cast(Any, SimpleNamespace(backups=policy))
        self.shell = cast(Any, SimpleNamespace(executions=0))
        self._policy = policy
        self._facts = before
        self._after = after
        self.log: tuple[str, ...] = ()

    def read(self, *, archives: bool = False, more: Sequence[Probe] = ()) -> Reading:
        return Reading(cast(Any, None), self._facts, self._policy, {})

    def apply(self, *parts: Part, **_given: Any) -> tuple[Result, ...]:
        steps = [step for part in parts for step in part.steps]
        if steps:
            self._facts = self._after(str(steps[0].because[0].want))
        return tuple(Result(step, Outcome.DONE, self.log) for step in steps)


def test_a_run_of_zfs_that_fell_apart_is_a_warning_with_the_reason() -> None:
    subjects = (subject_of(ONE), subject_of(TWO))

    def after(name: str) -> BackupFacts:
        made = [zfs(f"tank/guests/subvol-{each.vmid}-disk-0", name, each.vmid) for each in (ONE, TWO)]
        return facts([ONE, TWO], made)

    work = OneWork(spec(*subjects), facts([ONE, TWO]), after)
    work.log = ("fleet: apart cannot create snapshot: out of space",)
    report = run.snapshot(work, subjects, label="daily")
    assert set(report.taken) == {"ct101", "ct102"}
    said = "what ZFS took in tank is of 2 moments, not of one: cannot create snapshot: out of space"
    assert report.warnings == (said,)


def test_a_guest_that_is_locked_after_a_run_and_was_not_before_is_an_alarm() -> None:
    state = guest()
    subject = subject_of(state)
    work = OneWork(spec(subject), facts([state]), lambda _name: facts([replace(state, lock="snapshot")]))
    report = run.snapshot(work, (subject,), label="daily")
    [alarm] = report.alarms
    assert alarm.startswith("ct101: Proxmox holds the lock snapshot on it;")
    assert alarm.endswith("`pct unlock 101`")
    assert report.exit_code == 3
