"""Runs that restore: a copy beside the original, its data back in place, drills; read, act, read again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleet.backups.reading import Reading
from fleet.backups.run import Work
from fleet.core.command import command
from fleet.core.errors import ExitCode, HostError, Refused
from fleet.core.plan import Part, Plan, join
from fleet.core.probe import Probe, split_files
from fleet.domains.backup.facts import STATE
from fleet.domains.backup.items import Item, Kind
from fleet.domains.backup.proofs import of_item
from fleet.domains.backup.restore import drill as drills
from fleet.domains.backup.restore.choice import LATEST, Named, found
from fleet.domains.backup.restore.config import TAG
from fleet.domains.backup.restore.inplace import Unfinished, back_in_place
from fleet.domains.backup.restore.plan import (
    Copy,
    Node,
    Place,
    Request,
    restore_dataset,
    restore_guest,
)
from fleet.domains.backup.spec import Drill, Subject
from fleet.host.apply import Result
from fleet.host.guarded import GOOD
from fleet.host.shell import Shell
from fleet.inventory import Inventory
from fleet.tools.props import parse_props

_MARK = re.compile(r"fleet: restore owner=(?P<owner>[0-9a-f]{32}) for=(?P<purpose>\w+) from=\S+")
_COPIED_DATASETS = Probe(
    "restored-datasets", "zfs get -Hp -t filesystem,volume -s local -o name,value fleet:restored"
)
_RECORD = Probe(
    "restore-record",
    "awk '$3 ~ /^[0-9]+$/ && $2 ~ /^(making|made|removing|removed)$/ { last[$3] = $2 }"
    f' END {{ for (vmid in last) print vmid, last[vmid] }}\' "{STATE}/restores.log"',
)
_SAID = re.compile(r"fleet: (?P<what>fault|note) (?P<text>.*)")


@dataclass(frozen=True, slots=True)
class Planned:
    """What restoring would do; `vmid`: of the copy, where there is one."""

    plan: Plan
    item: Item
    vmid: int | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a restore: each step's result, and what a fresh read still asks for."""

    planned: Planned
    results: tuple[Result, ...]
    left: tuple[str, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0, or 3 where a step failed or something is left."""
        bad = self.left or any(result.outcome not in GOOD for result in self.results)
        return ExitCode.SOME_FAILED if bad else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Drilled:
    """What became of a drill, by `NAME@ITEM`: what was proven of the good ones, why others failed."""

    proven: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: tuple[int, ...] = ()  # copies of failed ones that stay to be looked at
    left: tuple[str, ...] = ()  # copies that could not be destroyed
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0; 3 where one was not proven, or a copy could not be destroyed."""
        return ExitCode.SOME_FAILED if self.failed or self.left else ExitCode.DONE


# ── a copy, or back in place ──────────────────────────────────────────────────────────────────────


def probes(wanted: Named) -> tuple[Probe, ...]:
    """What has to be read besides the node's facts: configurations, and rollbacks that were interrupted."""
    subject = wanted.subject
    if subject.vmid is None:
        return (_COPIED_DATASETS,)
    return (_RECORD, _configs_probe((subject.vmid,)), _rolling_probe(subject.vmid))


def plan(
    shell: Shell, inventory: Inventory, reading: Reading, wanted: Named, request: Request | None
) -> Planned:
    """What restores this backup: to a new VMID, to a new dataset, or (`request` None) in its place."""
    name, subject = inventory.node.name, wanted.subject
    if request is None:
        unfinished = _unfinished(reading, subject)
        if unfinished is not None and wanted.item in (LATEST, unfinished.item):
            item = Item(subject.name, Kind.ZFS, unfinished.item, 0, 0, 0, ours=True, owner="fleet")
        else:
            item = found(wanted, reading.backups)
        return Planned(join(name, (back_in_place(subject, item, reading.backups, unfinished),)), item)
    item = found(wanted, reading.backups)
    if subject.vmid is None:
        copies = _copied_datasets(reading)
        return Planned(join(name, (restore_dataset(subject, item, reading.backups, copies),)), item)
    config = archive_config(shell, item) if item.archive else config_of(reading, subject, item)
    made = restore_guest(subject, item, config, reading.backups, node_of(inventory, reading), request)
    return Planned(join(name, (made.part,)), item, made.vmid)


def restore(
    work: Work, wanted: Named, request: Request | None, agree: Callable[[Plan], None], *, jobs: int = 1
) -> Restored:
    """Restore a backup, once `agree` has seen the plan; then read again."""
    began = time.monotonic()

    def planned() -> Planned:
        reading = work.read(archives=wanted.in_archives, more=probes(wanted))
        return plan(work.shell, work.inventory, reading, wanted, request)

    first = planned()
    agree(first.plan)
    results = work.apply(Part(first.plan.steps), jobs=jobs, quiet=False)
    left: tuple[str, ...] = ()
    if results and request is not None:
        left = tuple(f"{step.subject}: {step.action}" for step in planned().plan.steps)
    elif results:
        guest = work.read().backups.guests.get(wanted.subject.vmid or 0)
        left = (
            (f"{wanted.subject.name} is locked ({guest.lock})",) if guest is not None and guest.lock else ()
        )
    return Restored(first, results, left, time.monotonic() - began)


def archive_config(shell: Shell, item: Item) -> str:
    """The container's configuration in an archive; HostError where it holds none."""
    output = shell.run(command("pvesm", "extractconfig", item.name).sh(), timeout=600)
    if output.code or "rootfs:" not in output.out:
        raise HostError(
            f"{item.name}: its configuration cannot be read: {output.err.strip() or 'there is none'}"
        )
    return output.out


def config_of(reading: Reading, subject: Subject, item: Item) -> str:
    """The guest's configuration as of a backup, where it was saved with it; else today's."""
    files = split_files(reading.answers["restore-configs"].text, _mark(reading))
    for path in (f"{subject.vmid}@{item.name}.conf", f"{subject.vmid}.conf"):
        for name, text in files.items():
            if name.endswith(f"/{path}"):
                return text
    raise Refused(f"{subject.name}: neither {item.name} nor the node has a configuration of it")


def node_of(inventory: Inventory, reading: Reading) -> Node:
    """What restoring has to know of the node."""
    guests = reading.facts.guests
    policy = reading.spec.drill
    reserved = {want.vmid for want in inventory.containers}
    if policy is not None:
        reserved |= set(range(policy.vmids[0], policy.vmids[1] + 1))
    return Node(
        guests=frozenset({*guests.guests, *guests.elsewhere}),
        reserved=frozenset(reserved),
        storages={
            name: Place(entry.type, entry.options.get("pool") if entry.type == "zfspool" else None)
            for name, entry in reading.facts.storage.storages.items()
        },
        copies=tuple(_copies(reading)),
        addresses={
            vmid: _addresses(guest.config.current) for vmid, guest in guests.guests.items() if guest.running
        },
    )


def _copies(reading: Reading) -> Iterator[Copy]:
    """The copies that fleet made. One that has lost our tag, or is fleet's since, is no copy any more."""
    said = reading.answers["restore-record"].text.split("\n")
    states = {int(words[0]): words[1] for words in map(str.split, said) if len(words) == 2}
    for vmid, guest in sorted(reading.facts.guests.guests.items()):
        current = guest.config.current
        tags = guest.config.tags
        whole = TAG in tags and "fleet" not in tags and "lock" not in current
        if guest.kind != "lxc" or vmid not in states or not (whole or states[vmid] == "making"):
            continue
        for line in current.get("description", "").split("\n"):
            match = _MARK.fullmatch(line.strip())
            if match and match["owner"] == reading.backups.installation:
                yield Copy(vmid, line.strip(), not whole, guest.running)


def _addresses(current: Mapping[str, str]) -> frozenset[str]:
    found_addresses = set()
    for key, value in current.items():
        if re.fullmatch(r"net\d+", key):
            try:
                props = parse_props(value)
            except ValueError:
                continue
            found_addresses |= {props.get("ip", "").partition("/")[0], props.get("ip6", "").partition("/")[0]}
    return frozenset(found_addresses) - {"", "dhcp", "manual", "auto"}


def _copied_datasets(reading: Reading) -> frozenset[str]:
    lines = [line.split("\t") for line in reading.answers["restored-datasets"].text.split("\n")]
    return frozenset(
        cells[0] for cells in lines if len(cells) == 2 and cells[1] == reading.backups.installation
    )


def _configs_probe(vmids: Iterable[int]) -> Probe:
    """The configurations of these guests: today's, and those that were saved with their backups."""
    lines = [
        f'for file in "{STATE}/configs/{vmid}@"*.conf /etc/pve/lxc/{vmid}.conf; do\n'
        '  [ ! -f "$file" ] || { printf "%s file %s\\n" "$FLEET_MARK" "$file"; cat "$file"; echo; }\ndone'
        for vmid in vmids
    ]
    return Probe("restore-configs", "\n".join([*lines, 'echo "mark $FLEET_MARK"']))


def _rolling_probe(vmid: int) -> Probe:
    return Probe(
        "restore-rolling",
        f'awk \'$3 == {vmid} && ($2 == "rolling" || $2 == "rolled") {{ last = $0 }} END {{ print last }}\''
        f' "{STATE}/restores.log"',
    )


def _mark(reading: Reading) -> str:
    match = re.search(r"^mark (\S+)$", reading.answers["restore-configs"].text, re.MULTILINE)
    return match[1] if match else "?"


def _unfinished(reading: Reading, subject: Subject) -> Unfinished | None:
    guest = reading.backups.guests.get(subject.vmid or 0)
    words = reading.answers["restore-rolling"].text.split()
    if guest is None or guest.lock != "rollback" or len(words) < 5 or words[1] != "rolling":
        return None
    item, _, state = words[4].rpartition(",")
    return Unfinished(words[3], item, state == "running")


# ── drills ────────────────────────────────────────────────────────────────────────────────────────


def drill(
    work: Work,
    subjects: Sequence[Subject],
    *,
    number: int | None = 1,
    keep_failed: bool = False,
    archives: bool = False,
    jobs: int = 2,
) -> Drilled:
    """Restore the newest backups of some subjects to scratch numbers, prove them, destroy the copies."""
    began = time.monotonic()
    policy = work.inventory.backups.drill
    if policy is None:
        raise Refused("hosts.yml has no backup.drill: it has to say which VMIDs are for drills (vmids)")
    reading = work.read(archives=True, more=(_RECORD,))
    chosen = drills.sample(subjects, reading.backups, number, archives=archives)
    if not chosen:
        raise Refused(
            "none of these has a backup of fleet's that could be restored: `inv backup.snapshot` makes one"
        )
    _clean(work, reading, policy)
    over = Drilled()
    # Few at a time: each copy needs a number of the range, and memory while it runs.
    size = min(jobs, policy.vmids[1] - policy.vmids[0] + 1)
    for first in range(0, len(chosen), size):
        over = _joined(over, _batch(work, chosen[first : first + size], policy, over.kept, keep_failed, jobs))
    return replace(over, seconds=time.monotonic() - began)


def _clean(work: Work, reading: Reading, policy: Drill) -> None:
    """Destroys what an earlier drill left in the range; HostError where that cannot be."""
    before = drills.leftovers(policy, node_of(work.inventory, reading))
    if not before.steps:
        return
    work.apply(before, jobs=1)
    if left := drills.leftovers(policy, node_of(work.inventory, work.read(more=(_RECORD,)))).steps:
        names = ", ".join(step.subject for step in left)
        raise HostError(f"copies of an earlier drill cannot be destroyed: {names}")


def _batch(
    work: Work,
    chosen: Sequence[tuple[Subject, Item]],
    policy: Drill,
    kept: Sequence[int],
    keep_failed: bool,
    jobs: int,
) -> Drilled:
    """Restore, prove and destroy these."""
    guests = [subject.vmid for subject, _ in chosen if subject.vmid is not None]
    reading = work.read(more=(_RECORD, _configs_probe(guests)))
    configs = {
        drills.shown(item): archive_config(work.shell, item)
        if item.archive
        else config_of(reading, subject, item)
        for subject, item in chosen
        if subject.vmid is not None
    }
    health = {
        subject.name: _health(work.inventory, subject.name)
        for subject, _ in chosen
        if subject.vmid is not None
    }
    node = node_of(work.inventory, reading)
    drilling = drills.drill(chosen, configs, health, reading.backups, node, policy)
    results = work.apply(*drilling.parts.values(), jobs=jobs)
    failed = {**drilling.refused, **_failed(drilling, results)}
    if keep_failed:
        kept = (*kept, *(drilling.copies[name] for name in failed if name in drilling.copies))
    proven = work.read(more=(_RECORD,))
    after = node_of(work.inventory, proven)
    if (scraps := drills.leftovers(policy, after, but=kept)).steps:
        work.apply(scraps, jobs=jobs)
        after = node_of(work.inventory, work.read(more=(_RECORD,)))
    return Drilled(
        proven={name: _proven(drilling.items[name], proven) for name in drilling.parts if name not in failed},
        failed=failed,
        notes=_notes(drilling, results),
        kept=tuple(vmid for vmid in kept if vmid in after.guests),
        left=tuple(step.subject for step in drills.leftovers(policy, after, but=kept).steps),
    )


def _proven(item: Item, reading: Reading) -> str:
    """What the record says of the proof that was just made."""
    proof = reading.backups.proven.get((item.subject, of_item(item)))
    return proof.what if proof else ""


def _joined(one: Drilled, other: Drilled) -> Drilled:
    return Drilled(
        proven={**one.proven, **other.proven},
        failed={**one.failed, **other.failed},
        notes={**one.notes, **other.notes},
        kept=other.kept,
        left=other.left,
    )


def _health(inventory: Inventory, name: str) -> drills.Health:
    service = inventory.declared[name].service
    return drills.Health(service.kind, service.name, service.directory or "") if service else drills.Health()


def _failed(drilling: drills.Drilling, results: Sequence[Result]) -> dict[str, str]:
    """Why each backup was not proven, in the host's words."""
    by_id = {result.step.id: result for result in results}
    failed = {}
    for name, part in drilling.parts.items():
        for step in part.steps:
            result = by_id.get(step.id)
            if result is None or result.outcome not in GOOD:
                failed[name] = _why(result)
                break
    return failed


def _why(result: Result | None) -> str:
    if result is None:
        return "it was not begun"
    said = [
        match["text"] for line in result.log if (match := _SAID.fullmatch(line)) and match["what"] == "fault"
    ]
    if said:
        return said[-1]
    return result.log[-1] if result.log else str(result.outcome)


def _notes(drilling: drills.Drilling, results: Sequence[Result]) -> dict[str, tuple[str, ...]]:
    notes: dict[str, tuple[str, ...]] = {}
    for name, part in drilling.parts.items():
        steps = {step.id for step in part.steps}
        said = tuple(
            match["text"]
            for result in results
            if result.step.id in steps
            for line in result.log
            if (match := _SAID.fullmatch(line)) and match["what"] == "note"
        )
        if said:
            notes[name] = said
    return notes
