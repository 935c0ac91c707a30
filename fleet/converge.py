"""The road: desired (hosts.yml) + facts (one read of the host) -> plan -> guarded steps -> read again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from fleet.core import plan as core
from fleet.core.errors import HostError, LinkLost
from fleet.core.plan import Note, Plan, Why
from fleet.core.probe import Answer, Probe, compose, split
from fleet.domains import guests, storage
from fleet.domains.guests.facts import GuestFacts
from fleet.domains.guests.spec import Container
from fleet.domains.storage.facts import StorageFacts
from fleet.domains.storage.spec import StorageSpec
from fleet.host.jobs import Job, jobs_probe, read_jobs
from fleet.host.shell import Shell
from fleet.inventory import Inventory
from fleet.selectors import Candidate, select

#: How often the node is read before a link that breaks each time is an error.
READINGS = 3
#: A read takes a fraction of a second; one that takes so long hangs in a blocked /etc/pve or pool.
READING_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that one read of a node says."""

    guests: GuestFacts
    storage: StorageFacts
    jobs: tuple[Job, ...]  # of earlier runs: still running, or ended with nobody there to see it
    more: Mapping[str, Answer] = field(default_factory=dict)  # the answers of the probes that were added


def gather(shell: Shell, inventory: Inventory, more: Sequence[Probe] = ()) -> Facts:
    """The facts of the node, in one remote execution; where the link breaks in it, in another one."""
    facts, answers = gather_with(shell, inventory, more)
    return replace(facts, more={probe.name: answers[probe.name] for probe in more})


def gather_with(
    shell: Shell, inventory: Inventory, more: Sequence[Probe], *, seconds: float = READING_SECONDS
) -> tuple[Facts, Mapping[str, Answer]]:
    """The facts of the node and the answers of all probes, `more` ones too, in one remote execution.

    `seconds`: so long it may take.
    """
    mark = f"fleet-{secrets.token_hex(12)}"
    probes = (
        *guests.probes(guests.watched_paths(inventory.containers)),
        *storage.probes(inventory.storage.datasets, inventory.storage.templates),
        jobs_probe(),
        *more,
    )
    # Reading again is harmless, which no action is: only here the link may break and the run goes on.
    attempts = Retrying(
        stop=stop_after_attempt(READINGS), retry=retry_if_exception_type(LinkLost), reraise=True
    )
    output = attempts(shell.run, compose(probes, mark), timeout=seconds)
    if output.code:
        raise HostError(
            f"reading the host failed (exit {output.code}): {output.err.strip() or 'it said nothing'}"
        )
    answers = split(output.out, mark)
    found = guests.read(answers, mark)
    if found.node != inventory.node.name:
        raise HostError(
            f"{inventory.node.address} is the node {found.node}, "
            f"hosts.yml says node.name: {inventory.node.name}; nothing was changed"
        )
    facts = Facts(found, storage.read(answers, inventory.storage.datasets), read_jobs(answers["jobs"]))
    return facts, answers


def selected(
    inventory: Inventory, facts: Facts | None, limit: Sequence[str], exclude: Sequence[str]
) -> tuple[Container, ...]:
    """The containers that --limit and --exclude mean; UsageError where they mean none."""
    by_name = {want.name: want for want in inventory.containers}
    chosen = select((_candidate(want, facts) for want in inventory.containers), limit, exclude)
    return tuple(by_name[candidate.name] for candidate in chosen)


def make_plan(
    inventory: Inventory,
    facts: Facts,
    *,
    limit: Sequence[str] = (),
    exclude: Sequence[str] = (),
    restart: bool = False,
) -> Plan:
    """What makes the node as hosts.yml says; with a selection only what that needs."""
    wanted = selected(inventory, facts, limit, exclude)
    whole = replace(
        inventory.storage,
        datasets=storage.located(inventory.storage.datasets, facts.storage.mountpoints),
    )
    made = storage.plan(_needed(whole, wanted) if limit or exclude else whole, facts.storage)
    planned = frozenset(step.id for step in made.steps)
    parts = (
        made,
        guests.plan(
            wanted,
            facts.guests,
            storage.volume_ids(whole, facts.storage),
            storage.providers(whole),
            restart=restart,
            directories=storage.directories(whole, facts.storage, planned),
        ),
    )
    declared = frozenset(want.vmid for want in inventory.containers)
    others = () if limit or exclude else (guests.unmanaged(facts.guests, declared), _not_yet(inventory))
    plan = core.join(facts.guests.node, (*parts, *others))
    return replace(plan, digests={**plan.digests, "hosts.yml": inventory.digest})


def _candidate(want: Container, facts: Facts | None) -> Candidate:
    status = ""
    if facts is not None:
        guest = facts.guests.guests.get(want.vmid)
        status = "absent" if guest is None else "running" if guest.running else "stopped"
    return Candidate(want.name, want.vmid, frozenset(want.tags), want.category or "", status)


def _needed(spec: StorageSpec, wanted: tuple[Container, ...]) -> StorageSpec:
    """The part of the storage that these containers stand on."""
    binds = {mount.bind for want in wanted for mount in want.mounts if mount.bind is not None}
    storages = {mount.storage for want in wanted for mount in want.mounts} | {
        want.rootfs_storage for want in wanted
    }
    kept = tuple(each for each in spec.storages if each.name in storages)
    paths = {value for each in kept for key, value in each.options if key == "path"}
    pools = {value for each in kept for key, value in each.options if key == "pool"}
    return StorageSpec(
        pools=spec.pools,
        datasets=spec.beneath(binds | paths, pools),
        storages=kept,
        templates=tuple(each for each in spec.templates if each.name in {want.template for want in wanted}),
    )


def _not_yet(inventory: Inventory) -> core.Part:
    paths = ", ".join(inventory.not_managed_yet)
    return core.Part(
        notes=(Note("hosts.yml", Why.NOT_YET, f"declared, not managed yet: {paths}"),) if paths else ()
    )
