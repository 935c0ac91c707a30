"""Weeks of a node's life: runs, missed days, failures, people, wrong clocks; what must hold, holds.

What runs is fleet's own: fleet/backups/run.py and copies.py with all that they call. Only reading and
applying go to the model of a node in backup_host.py, whose tools refuse what the real ones refuse.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fleet.backups import copies, run
from fleet.backups.reading import Reading
from fleet.core.plan import Part, Step
from fleet.core.plan import join as join_parts
from fleet.core.probe import Probe
from fleet.domains.backup import facts as backup
from fleet.domains.backup.assemble import items
from fleet.domains.backup.names import VALID, parse_name, snapshot_name
from fleet.domains.backup.retention import FUTURE, Mark, mark
from fleet.domains.backup.spec import BackupSpec, Keep, Replica, SnapshotPolicy, Subject
from fleet.host.apply import Result
from fleet.host.guarded import Outcome, library
from tests.domains.backup_host import ID, ONE_SNAPSHOT, Node, PowerCutError, Section, Snap, ToolError

DAY = 86_400
START = 1_770_000_000  # 2026-02-02 02:40 UTC; two weeks later there is a change of clocks in Berlin's spring
#: Of each only so many that a quiet fortnight shows all of it.
POLICIES = (
    Keep(last=1, daily=7),
    Keep(daily=3),
    Keep(last=2),
    Keep(last=1),
    Keep(last=1, daily=2, weekly=2),
    Keep(daily=2, weekly=1, monthly=2),
    Keep(hourly=3, daily=2),
)
OTHERS = (
    "autosnap_2026-02-02_02:00:01_daily",
    "before-upgrade",
    "zrepl_20260202_020000_000",
    "__replicate_1__",
)


class ModelWork(run.Work):
    """A run on the model: reads its answers as those of a node, and does there what the steps say."""

    def __init__(self, node: Node, spec: BackupSpec) -> None:
        self.node = node
        self.inventory = cast(Any, SimpleNamespace(backups=spec))
        self.shell = cast(Any, SimpleNamespace(executions=0))
        self.reads = 0
        #: Which read is broken (from 1), after which part of the listing, and whether `zpool` fails, too.
        self.broken: tuple[int, float, bool] | None = None
        self.was_broken = False
        #: What somebody does between the plan of a removal and the removal.
        self.meddle: Callable[[Step], None] = lambda _step: None
        self.applied: list[Step] = []

    def read(self, *, archives: bool = False, more: Sequence[Probe] = ()) -> Reading:
        self.reads += 1
        here = self.broken if self.broken and self.broken[0] == self.reads else None
        self.was_broken = here is not None
        answers = self.node.answers(here[1], pools_too=here[2]) if here else self.node.answers()
        guests = {vmid: guest.state() for vmid, guest in self.node.guests.items()}
        found = backup.read(answers, guests)
        return Reading(cast(Any, None), found, self.inventory.backups, answers)

    def apply(self, *parts: Part, jobs: int, quiet: bool = True, show: Any = None) -> tuple[Result, ...]:
        results: list[Result] = []
        for step in join_parts("pve", parts).steps:
            self.applied.append(step)
            if step.action == "remove":
                assert not self.was_broken, "a removal is planned from a listing that is not whole"
                self.meddle(step)
            if not {each.step.id for each in results if each.outcome is Outcome.FAILED} & {*step.needs}:
                outcome, log = self.node.perform(step)
                results.append(Result(step, outcome, tuple(log)))
        return tuple(results)


class Backups(RuleBasedStateMachine):
    """The world, and what must hold in it."""

    @initialize(
        policies=st.lists(st.sampled_from(POLICIES), min_size=6, max_size=6),
        newest=st.sampled_from((1, 1, 2)),
        zone=st.sampled_from(("Europe/Berlin", "America/New_York", "UTC")),
    )
    def begin(self, policies: list[Keep], newest: int, zone: str) -> None:
        self.node = Node(START)
        self.node.destroyed = self.on_destroy
        usb = Replica("usb", "usb/replica", None, "04:00", Keep(daily=4))
        subjects = [
            Subject(guest.name, guest.vmid, replicas=("usb",) if guest.vmid in (101, 102) else ())
            for guest in self.node.guests.values()
        ]
        subjects.append(Subject("tank/data", None, replicas=("usb",)))
        self.spec = BackupSpec(
            zone,
            tuple(
                replace(subject, snapshots=SnapshotPolicy("02:00", keep))
                for subject, keep in zip(subjects, policies, strict=True)
            ),
            {"usb": usb},
            newest=newest,
        )
        self.foreign: dict[int, Snap | Section] = {}
        self.made: dict[str, list[tuple[str, list[Snap | Section]]]] = {each: [] for each in self.names}
        self.by_hand: dict[int, Snap | Section] = {}  # of ours, what people removed
        self.gone: list[str] = []  # what this run of fleet removed
        self.acting = False
        self.needed: set[str] = set()  # guids of what a replica and its source have last
        self.number = itertools.count()

    # ── what is known of the world ──

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.spec.subjects]

    def exists(self, thing: Snap | Section) -> bool:
        if isinstance(thing, Section):
            return any(thing is each for guest in self.node.guests.values() for each in guest.sections)
        return any(thing is each for each in self.node.every())

    def of_subject(self, subject: Subject, name: str) -> list[Snap | Section]:
        """All that a whole backup of this name consists of; empty where something of it is missing."""
        if subject.vmid is None:
            parts: list[Snap | Section | None] = [self.node.find(f"{subject.name}@{name}")]
        else:
            guest = self.node.guests[subject.vmid]
            parts = [self.node.find(f"{dataset}@{name}") for dataset in guest.datasets]
            if not any(kind == "bind" for _, kind, _ in guest.volumes):
                parts.append(
                    next((each for each in guest.sections if each.name == name and not each.state), None)
                )
        there = [part for part in parts if part is not None]
        return there if len(there) == len(parts) else []

    def ours(self) -> list[Snap]:
        return [each for found in self.node.snaps.values() for each in found if each.run is not None]

    def last_common(self) -> set[str]:
        """The newest snapshot of each source that its replica has, too."""
        found = set()
        for dataset, snaps in self.node.snaps.items():
            target = "usb/replica/" + dataset.replace("/", ":")
            guids = {each.guid for each in snaps}
            common = [each for each in self.node.copies.get(target, []) if each.guid in guids]
            found |= {common[-1].guid} if common else set()
        return found

    # ── the judge: asked at each removal, whoever removes ──

    def on_destroy(self, what: Snap | Section, where: str) -> None:
        if not self.acting:
            return
        self.gone.append(where)
        assert what.run is not None, f"{where} is not fleet's"
        assert what.run != self.node.run, f"{where} was made in this run"
        assert VALID.fullmatch(what.name), where
        assert parse_name(what.name), where
        if isinstance(what, Snap):
            assert ONE_SNAPSHOT.fullmatch(where), where
            assert not what.holds, f"{where} is held"
            assert not what.clones, f"{where} is cloned"
            assert not what.pinned or what.pinned < self.today(), f"{where} is pinned"
            assert what.guid not in self.needed or where.startswith("usb/"), (
                f"{where} is common with a replica"
            )
            assert not where.startswith("usb/") or what is not self.node.copies[what.dataset][-1]
        dated = what.time if isinstance(what, Section) else what.creation
        assert dated <= self.node.clock + FUTURE, f"{where} is of the future"

    def today(self) -> str:
        return f"{run.utc(self.node.clock):.10}"

    @contextmanager
    def fleet_acts(self, fuel: int | None = None) -> Iterator[ModelWork]:
        self.node.run += 1
        self.node.fuel = fuel
        self.needed = self.last_common()
        self.gone = []
        self.acting = True
        try:
            yield ModelWork(self.node, self.spec)
        except PowerCutError:
            note("the power went")
        finally:
            self.acting = False
            self.node.fuel = None

    # ── time and runs ──

    @rule(minutes=st.integers(1, 60 * 30))
    def time_passes(self, minutes: int) -> None:
        self.node.time += 60 * minutes

    @rule(days=st.integers(1, 40))
    def days_without_a_run(self, days: int) -> None:
        self.node.time += DAY * days

    @rule(
        failing=st.sets(
            st.sampled_from(
                ("101", "104", "tank/guests/subvol-102-disk-1", "fast/guests/subvol-103-disk-0", "tank/data")
            ),
            max_size=2,
        ),
        fuel=st.one_of(st.none(), st.none(), st.integers(0, 80)),
        broken=st.one_of(st.none(), st.none(), st.tuples(st.integers(1, 3), st.floats(0, 1), st.booleans())),
        label=st.sampled_from(("daily", "daily", "hourly")),
        agreed=st.sampled_from((None, None, 50)),
        meddling=st.sampled_from(("", "", "hold", "clone", "pin", "lock", "replace")),
    )
    def run_backups(
        self,
        failing: set[str],
        fuel: int | None,
        broken: tuple[int, float, bool] | None,
        label: str,
        agreed: int | None,
        meddling: str,
    ) -> None:
        self.node.time += 61  # two runs are never in one second
        self.snapshot(failing, fuel, broken, label, agreed, meddling)

    @rule(days=st.integers(2, 9))
    def nights(self, days: int) -> None:
        for _ in range(days):
            self.node.time += DAY
            self.snapshot()

    def snapshot(
        self,
        failing: set[str] = frozenset(),  # type: ignore[assignment]
        fuel: int | None = None,
        broken: tuple[int, float, bool] | None = None,
        label: str = "daily",
        agreed: int | None = None,
        meddling: str = "",
    ) -> run.Report | None:
        report = None
        before = {id(each) for each in self.node.every()}
        with self.fleet_acts(fuel) as work:
            self.node.failing = failing
            work.broken = broken
            work.meddle = lambda step: self.meddle(step, meddling)
            report = run.snapshot(work, self.spec.subjects, label=label, allowed=agreed)
        self.node.failing = set()
        things: list[Snap | Section] = [*self.node.every()]
        things += [each for guest in self.node.guests.values() for each in guest.sections]
        for name in {each.name for each in things if each.run == self.node.run}:
            for subject in self.spec.subjects:
                whole = self.of_subject(subject, name)
                if whole and all(each.run == self.node.run for each in whole):
                    self.made[subject.name].append((name, whole))
        if report:
            self.check_report(report, before)
        return report

    def check_report(self, report: run.Report, before: set[int]) -> None:
        for subject in self.spec.subjects:
            mine = [subject.name, *self.places(subject)]
            lost = [where for where in self.gone if where.partition("@")[0] in mine]
            if subject.name in report.failed:
                assert not lost, f"{subject.name} failed and lost {lost}"
                assert subject.name not in report.removed
            else:
                assert self.of_subject(subject, report.name), f"{subject.name} is said to have {report.name}"
            if subject.name in report.braked:
                assert not lost
        told = {f"{subject}@{name}" for subject, names in report.removed.items() for name in names}
        by_place = {place: each.name for each in self.spec.subjects for place in self.places(each)}
        really = {f"{by_place[where.partition('@')[0]]}@{where.partition('@')[2]}" for where in self.gone}
        assert told <= really
        left = really - told  # of an item in several datasets something could not go: that is said
        assert left <= set(report.kept), left

    def places(self, subject: Subject) -> list[str]:
        if subject.vmid is None:
            return [subject.name]
        return [str(subject.vmid), *self.node.guests[subject.vmid].datasets]

    def meddle(self, step: Step, how: str) -> None:
        """Somebody does something to the first that is to go, after the plan was made."""
        words = [str(word) for word in step.do[0].words]
        paths = [
            path.rpartition("=")[0] or path for word in words for path in word.split() if "@fleet-" in path
        ]
        snap = next((found for path in paths if (found := self.node.find(path))), None)
        if how and snap is not None and snap.dataset in self.node.snaps:
            note(f"{how} of {snap.path} just before")
            self.acting = False
            self.do_to(snap, how)
            self.acting = True

    def do_to(self, snap: Snap, how: str) -> None:
        if how == "hold":
            snap.holds += 1
        elif how == "clone":
            snap.clones.append(f"tank/clone-{next(self.number)}")
        elif how == "pin":
            snap.pinned = "2099-01-01"
        elif how == "lock":
            guest = next((each for each in self.node.guests.values() if snap.dataset in each.datasets), None)
            if guest is not None:
                guest.lock = guest.lock or "backup"
        else:
            self.replace_by_look_alike(snap)

    def replace_by_look_alike(self, snap: Snap) -> None:
        """Somebody destroys one of ours and makes another of that name, even with a copy of our marks."""
        if snap.holds or snap.clones or snap.run is None:
            return
        self.remove_by_hand(snap)
        self.node.snapshot([snap.path], None, snap.owner, snap.set)
        self.remember_foreign(self.node.find(snap.path))

    @rule(
        agreed=st.sampled_from((None, 50)),
        broken=st.one_of(st.none(), st.tuples(st.just(1), st.floats(0, 1), st.booleans())),
        fuel=st.one_of(st.none(), st.integers(0, 30)),
    )
    def rotate_alone(
        self, agreed: int | None, broken: tuple[int, float, bool] | None, fuel: int | None
    ) -> None:
        with self.fleet_acts(fuel) as work:
            work.broken = broken
            run.prune(work, self.spec.subjects, allowed=agreed)
            assert not (broken and self.gone), "something went by a listing that is not whole"

    @rule(fuel=st.one_of(st.none(), st.none(), st.integers(0, 12)), agreed=st.sampled_from((None, 50)))
    def send_to_the_replica(self, fuel: int | None, agreed: int | None) -> None:
        with self.fleet_acts(fuel) as work:
            copies.send(work, self.spec.subjects, allowed=agreed)

    @rule()
    def the_replica_comes_or_goes(self) -> None:
        self.node.replica_answers = not self.node.replica_answers

    # ── people, other tools, and accidents ──

    def remember_foreign(self, thing: Snap | Section | None) -> None:
        if thing is not None:
            self.foreign[id(thing)] = thing

    @rule(
        data=st.data(),
        kind=st.sampled_from((*OTHERS, "look-alike", "another fleet's", "copied mark")),
    )
    def somebody_snapshots_a_dataset(self, data: st.DataObject, kind: str) -> None:
        dataset = data.draw(st.sampled_from(sorted(self.node.snaps)))
        name = kind if kind in OTHERS else snapshot_name("daily", self.node.clock - next(self.number))
        owner = {"another fleet's": "f" * 32, "copied mark": ID}.get(kind, "")
        if self.node.find(f"{dataset}@{name}") is None:
            self.node.snapshot([f"{dataset}@{name}"], None, owner, name if owner else "")
            self.remember_foreign(self.node.find(f"{dataset}@{name}"))

    @rule(
        vmid=st.sampled_from((101, 104, 201)),
        kind=st.sampled_from(("before-upgrade", "look-alike", "copied mark")),
    )
    def somebody_snapshots_a_guest(self, vmid: int, kind: str) -> None:
        name = kind if kind in OTHERS else snapshot_name("daily", self.node.clock - next(self.number))
        text = f"fleet: owner={ID} set={name}" if kind == "copied mark" else "by hand"
        try:
            self.node.guest_snapshot(vmid, name, text)
        except ToolError:
            return
        self.remember_foreign(next(each for each in self.node.guests[vmid].sections if each.name == name))
        for dataset in self.node.guests[vmid].datasets:
            self.remember_foreign(self.node.find(f"{dataset}@{name}"))

    @rule(data=st.data())
    def somebody_marks_a_dataset_so_that_its_snapshots_inherit(self, data: st.DataObject) -> None:
        self.node.marked ^= {data.draw(st.sampled_from(sorted(self.node.snaps)))}

    @precondition(lambda self: self.ours())
    @rule(data=st.data(), how=st.sampled_from(("hold", "clone", "pin", "replace", "replace")))
    def somebody_does_something_to_one_of_ours(self, data: st.DataObject, how: str) -> None:
        self.do_to(data.draw(st.sampled_from(self.ours())), how)

    @precondition(lambda self: self.ours())
    @rule(data=st.data())
    def somebody_lets_go(self, data: st.DataObject) -> None:
        snap = data.draw(st.sampled_from(self.ours()))
        snap.holds, snap.clones, snap.pinned = 0, [], ""

    @precondition(lambda self: self.ours())
    @rule(data=st.data())
    def somebody_destroys_one_of_ours(self, data: st.DataObject) -> None:
        snap = data.draw(st.sampled_from(self.ours()))
        if not snap.holds and not snap.clones:
            self.remove_by_hand(snap)

    def remove_by_hand(self, snap: Snap) -> None:
        self.node.snaps[snap.dataset].remove(snap)
        self.by_hand[id(snap)] = snap

    @rule(vmid=st.sampled_from((101, 102, 103)))
    def a_volume_is_renamed(self, vmid: int) -> None:
        self.node.rename(vmid)

    @rule(
        vmid=st.sampled_from((101, 102, 103, 104, 201)),
        lock=st.sampled_from(("", "backup", "snapshot-delete")),
    )
    def a_lock_comes_or_goes(self, vmid: int, lock: str) -> None:
        self.node.guests[vmid].lock = lock

    @rule()
    def somebody_repairs_what_a_crash_left(self) -> None:
        self.repaired()

    def repaired(self) -> None:
        before: list[Snap | Section] = [*self.node.every()]
        before += [each for guest in self.node.guests.values() for each in guest.sections]
        self.node.repair()
        for thing in before:
            if not self.exists(thing):
                self.by_hand[id(thing)] = thing
                self.foreign.pop(id(thing), None)

    @rule(skew=st.one_of(st.just(0), st.just(0), st.integers(-400, 400).map(lambda days: days * DAY + 7)))
    def the_clock_jumps(self, skew: int) -> None:
        self.node.skew = skew

    @rule(which=st.integers(0, 5), keep=st.sampled_from(POLICIES))
    def the_policy_changes(self, which: int, keep: Keep) -> None:
        subjects = list(self.spec.subjects)
        subjects[which] = replace(subjects[which], snapshots=SnapshotPolicy("02:00", keep))
        self.spec = replace(self.spec, subjects=tuple(subjects))

    @rule()
    def a_quiet_fortnight(self) -> None:
        """Nobody does anything, nothing fails, and the operator agrees that what had piled up goes."""
        self.repaired()
        self.node.skew = 0
        self.node.replica_answers = True
        self.node.marked.clear()
        for snap in self.node.every():
            snap.holds, snap.clones, snap.pinned = 0, [], ""
        begin, nights = self.node.time, []
        for night in range(14):
            self.node.time += DAY
            report = self.snapshot(agreed=1000)
            assert report is not None
            assert not report.failed, report.failed
            assert not report.kept, report.kept
            assert not report.braked, report.braked
            nights.append(report.name)
            needed = self.needed
            if night % 4 == 0:
                with self.fleet_acts() as work:
                    copies.send(work, self.spec.subjects, allowed=1000)
        self.check_policy(begin, nights[::-1], needed)

    def check_policy(self, begin: int, nights: list[str], needed: set[str]) -> None:
        """Exactly what the policy wants is there. `nights`: newest first; `needed`: what replicas need."""
        facts = ModelWork(self.node, self.spec).read().backups
        for subject in self.spec.subjects:
            assert subject.snapshots is not None
            keep = subject.snapshots.keep
            there = [
                each for each in items(subject, facts) if each.ours and each.created <= facts.now + FUTURE
            ]
            free = [
                each
                for each in there
                if not each.blocks and not any(part.guid in needed for part in each.parts)
            ]
            # What a wrong clock once dated into this fortnight takes the place of a night.
            odd = [each.name for each in there if each.created > begin and each.name not in nights]
            wanted = nights[: max(keep.last + keep.hourly + keep.daily, self.spec.newest)]
            found = [each.name for each in there if each.name in nights]
            assert found[: self.spec.newest] == nights[: self.spec.newest]
            if keep.weekly or keep.monthly:
                whole = [each for each in there if each.whole]
                marks = mark([(each.created, None) for each in whole], keep, ZoneInfo(self.spec.timezone))
                beyond = {
                    each.name for each, (made, _) in zip(whole, marks, strict=True) if made is Mark.REMOVE
                }
                beyond &= {each.name for each in free} - set(wanted)
            else:
                beyond = {each.name for each in free} - {*wanted, *odd}
            assert not beyond, (subject.name, str(keep), beyond)
            assert odd or found[: len(wanted)] == wanted, (subject.name, str(keep), found)

    # ── what holds at any time ──

    @invariant()
    def nothing_foreign_is_ever_gone(self) -> None:
        for thing in self.foreign.values():
            assert self.exists(thing), thing

    @invariant()
    def the_newest_of_each_are_there(self) -> None:
        for subject, runs in self.made.items():
            for name, whole in runs[-self.spec.newest :]:
                for each in whole:
                    assert self.exists(each) or id(each) in self.by_hand, f"{subject}@{name} is gone"


def profile(examples: int, steps: int) -> settings:
    """The same examples in each run, and none made smaller, which would take minutes."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def test_what_the_model_plays_are_functions_that_the_host_is_sent() -> None:
    played = {name.removeprefix("do_") for name in dir(Node) if name.startswith("do_fleet_")}
    text = "".join(library(name) for name in ("prelude.sh", "backup.sh", "send.sh"))
    assert len(played) > 10
    assert played <= set(re.findall(r"^(fleet_\w+)\(\)", text, re.MULTILINE))


TestWeeksOfBackups = Backups.TestCase
TestWeeksOfBackups.settings = profile(8, 25)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_months_of_backups() -> None:
    run_state_machine_as_test(Backups, settings=profile(int(os.environ.get("FLEET_EXAMPLES", "40")), 60))
