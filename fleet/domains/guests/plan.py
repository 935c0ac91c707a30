"""Containers: desired + facts -> steps and notes.

    on the host                              what is planned
    nothing has the VMID                     create, then start
    another node, or a VM, has it            refused
    a container of another name has it       refused: it could be somebody else's data
    it lacks the tag fleet                   refused until `inv provision.adopt NAME`
    Proxmox holds a lock on it               left alone, said
    it differs                               set and delete what differs; grow; what only a new container
                                             could have is said, never done
    it is as hosts.yml says                  nothing, and why

Nothing here can plan to destroy: that is `plan_destroy`, and only by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from fleet.core.command import Capture
from fleet.core.errors import Refused
from fleet.core.plan import Difference, Impact, Note, Part, Step, Why
from fleet.domains.guests import steps
from fleet.domains.guests.compare import TAG, Comparison, compare, is_mount
from fleet.domains.guests.facts import Guest, GuestFacts
from fleet.domains.guests.spec import Container
from fleet.tools.paths import within
from fleet.tools.pct.keys import family, props_of
from fleet.tools.pct.lxc import raw_in_force
from fleet.tools.props import TRUE
from fleet.tools.pvesm import StorageEntry, dataset


def plan(
    wanted: Iterable[Container],
    facts: GuestFacts,
    templates: Mapping[str, str | Capture],
    providers: Mapping[str, tuple[str, ...]],
    *,
    restart: bool,
    directories: Mapping[str, str] = MappingProxyType({}),
) -> Part:
    """What makes the containers as hosts.yml says.

    `templates`: the volume id of each template. `providers`: ids of the steps that make a storage, a
    template or a host path, by its name; they come first where they are in the plan.
    `restart`: also do what interrupts a running container. `directories`: of declared datasets, and the
    storages in them, each with why the dataset is not mounted there, or empty; what uses one that is not
    is left as it is.
    """
    wanted = tuple(wanted)
    made = [
        item
        for want in wanted
        for item in _on_mounted(
            want, _container(want, facts, templates, providers, restart=restart), directories
        )
    ]
    planned = tuple(item for item in made if isinstance(item, Step))
    notes = tuple(item for item in made if isinstance(item, Note))
    return Part(
        steps=_start_in_order(planned, wanted),
        notes=notes,
        digests={f"guest {want.vmid}": _digest(facts.guests.get(want.vmid)) for want in wanted},
    )


def plan_adopt(want: Container, facts: GuestFacts) -> Part:
    """The step that puts a container under fleet's rule; Refused where it is not the one meant."""
    guest = facts.guests.get(want.vmid)
    if guest is None:
        raise Refused(
            f"{want.name}: no guest {want.vmid} is on this node; `inv provision.one {want.name}` creates it"
        )
    if refusal := _not_it(want, guest):
        raise Refused(f"{want.name}: {refusal}")
    if TAG in guest.config.tags:
        return Part(notes=(Note(steps.subject(want), Why.UNCHANGED, "it carries the tag fleet already"),))
    then = f"from then on hosts.yml rules it; what that changes: inv plan --limit {want.name}"
    return Part(steps=(steps.adopt(want, guest),), notes=(Note(steps.subject(want), Why.WARNING, then),))


def plan_destroy(
    want: Container,
    facts: GuestFacts,
    *,
    stop: bool,
    snapshots: Iterable[str] | None = (),
    storages: Mapping[str, StorageEntry] = MappingProxyType({}),
) -> Part:
    """The steps that destroy one container; Refused where protected, foreign, or running without `stop`.

    `snapshots`: the ZFS snapshots of the node that could be of its volumes, which are in `storages`; None:
    they could not be listed.
    """
    guest = facts.guests.get(want.vmid)
    if guest is None:
        return Part(
            notes=(Note(steps.subject(want), Why.UNCHANGED, f"no guest {want.vmid} is on this node"),)
        )
    if refusal := _not_it(want, guest) or _not_ours(want, guest):
        raise Refused(f"{want.name}: {refusal}")
    if lock := guest.config.current.get("lock"):
        raise Refused(f"{want.name}: Proxmox holds a lock on it ({lock})")
    if _is_on(guest, "protection"):
        raise Refused(f"{want.name}: protection is on; set protection: 0 in hosts.yml and apply that first")
    if guest.running and not stop:
        raise Refused(f"{want.name}: it is running; add --stop to shut it down first")
    zfs = _zfs_snapshots(guest, snapshots, storages)
    return Part(steps=steps.destroy(want, guest, zfs, stop_first=guest.running))


def _zfs_snapshots(
    guest: Guest, listed: Iterable[str] | None, storages: Mapping[str, StorageEntry]
) -> Mapping[str, list[str]]:
    """The names of the snapshots of its volumes, by dataset; Refused where these could not be listed."""
    volumes = [value for key, value in guest.config.current.items() if steps.holds_volume(key, value)]
    datasets = {dataset(value.removeprefix("volume=").split(",")[0], storages) for value in volumes}
    if listed is None and any(datasets):
        raise Refused(f"{guest.name}: the ZFS snapshots that would go with it could not be listed")
    found: dict[str, list[str]] = {}
    for of, _, name in sorted(each.partition("@") for each in listed or ()):
        if of in datasets:
            found.setdefault(of, []).append(name)
    return found


def unmanaged(facts: GuestFacts, declared: frozenset[int]) -> Part:
    """A note for every guest of the node that hosts.yml does not declare."""
    return Part(
        notes=tuple(
            Note(
                f"{guest.name} ({vmid})",
                Why.UNMANAGED,
                "carries the tag fleet, but is not in hosts.yml: never changed"
                if TAG in guest.config.tags
                else "not in hosts.yml: never changed",
            )
            for vmid, guest in sorted(facts.guests.items())
            if vmid not in declared
        )
    )


def watched_paths(wanted: Iterable[Container]) -> frozenset[str]:
    """The device nodes and bind sources whose presence on the host matters to these containers."""
    wanted = tuple(wanted)
    binds = {mount.bind for want in wanted for mount in want.mounts if mount.bind is not None}
    devices = {
        props_of(key, value)["path"]
        for want in wanted
        for key, value in want.config.items()
        if family(key) == "dev"
    }
    return frozenset(binds | devices)


# ── one container ─────────────────────────────────────────────────────────────────────────────────


def _container(
    want: Container,
    facts: GuestFacts,
    templates: Mapping[str, str | Capture],
    providers: Mapping[str, tuple[str, ...]],
    *,
    restart: bool,
) -> Iterator[Step | Note]:
    subject = steps.subject(want)
    guest = facts.guests.get(want.vmid)
    if guest is None:
        if refusal := _cannot_create(want, facts, providers):
            yield Note(subject, Why.REFUSED, refusal)
        else:
            yield from _create(want, templates, providers)
    elif guest.kind == "lxc" and guest.config.current.get("lock") == "create":
        yield Note(subject, Why.LOCKED, _locked(want, "create"))  # until its end it has neither name nor tag
    elif refusal := _not_it(want, guest) or _not_ours(want, guest):
        yield Note(subject, Why.REFUSED, refusal)
    elif lock := guest.config.current.get("lock"):
        yield Note(subject, Why.LOCKED, _locked(want, lock))
    else:
        yield from _converge(want, guest, facts, providers, restart=restart)


def _on_mounted(
    want: Container, items: Iterable[Step | Note], directories: Mapping[str, str]
) -> Iterator[Step | Note]:
    """The items; a refusal in their place where steps would put a container on a bare directory."""
    items = tuple(items)
    bare = []
    for name in _uses(want):
        on = max((each for each in directories if within(name, each)), key=len, default="")
        if why := directories.get(on, ""):
            bare.append(f"{name}: {why}")
    if bare and any(isinstance(item, Step) for item in items):
        yield Note(
            steps.subject(want),
            Why.REFUSED,
            f"it would work on a bare directory of the node ({'; '.join(sorted(bare))}); mount that first",
        )
    else:
        yield from items


def _create(
    want: Container, templates: Mapping[str, str | Capture], providers: Mapping[str, tuple[str, ...]]
) -> Iterator[Step]:
    template = templates.get(want.template, want.template)
    create = steps.create(want, template, _provided(want, providers))
    yield create
    last = create.id
    if want.raw:
        raw = steps.raw(want, want.raw, (), False, (create.id,))
        yield raw
        last = raw.id
    if want.started:
        yield steps.start(want, _startup_order(want), (last,))


def _converge(
    want: Container,
    guest: Guest,
    facts: GuestFacts,
    providers: Mapping[str, tuple[str, ...]],
    *,
    restart: bool,
) -> Iterator[Step | Note]:
    subject = steps.subject(want)
    found = compare(want, guest.config, running=guest.running, devices_hotplug=facts.devices_hotplug)
    provided = _provided(want, providers)
    planned: list[Step] = []
    if found.changes or found.reverts:
        mounts = any(is_mount(change.key) for change in found.changes)
        planned.append(steps.update(want, guest, found.changes, found.reverts, provided if mounts else ()))
    if want.raw is not None and want.raw != guest.config.raw:
        waits = guest.running and _raw_in_force(guest, want.raw) != want.raw
        planned.append(steps.raw(want, want.raw, guest.config.raw, waits, _ids(planned)))
    for growth in found.growths:
        planned.append(steps.grow(want, growth, _ids(planned)))
    yield from planned
    waiting = tuple(_waiting(want, guest, found, planned))
    needs = (*_ids(planned), *provided)
    if want.started and not guest.running:
        yield steps.start(want, _startup_order(want), needs)
    elif not want.started and guest.running:
        if restart:
            yield steps.shut_down(want, needs)
        else:
            yield Note(
                subject,
                Why.NEEDS_RESTART,
                "it is running, hosts.yml wants it stopped: --restart shuts it down",
            )
    elif guest.running and waiting:
        if restart:
            yield steps.restart(want, guest, waiting, needs)
        else:
            keys = ", ".join(difference.key for difference in waiting)
            away = f"about {steps.REBOOT_SECONDS:.0f} s away"
            how = f"effective after a restart ({away}; --restart does it): {keys}"
            yield Note(subject, Why.PENDING, how, waiting)
    yield from _said(want, guest, found)
    if not planned and not found.by_hand and not waiting and want.started == guest.running:
        yield Note(subject, Why.UNCHANGED, f"{'running' if guest.running else 'stopped'}, as hosts.yml says")


def _waiting(
    want: Container, guest: Guest, found: Comparison, planned: Iterable[Step]
) -> Iterator[Difference]:
    """What a restart will change: pending already, or pending once the planned steps have run."""
    changed = {change.key: change.difference for change in found.changes}
    for key in guest.config.waiting:
        if key not in changed and key not in found.reverts:
            yield Difference(key, guest.config.current.get(key), guest.config.effective(key), Impact.RESTART)
    for step in planned:
        yield from (difference for difference in step.because if difference.impact is Impact.RESTART)
    if want.raw is not None and want.raw == guest.config.raw:
        in_force = _raw_in_force(guest, want.raw)
        if in_force is not None and in_force != want.raw:
            yield steps.raw_difference(in_force, want.raw, waits=True)


def _raw_in_force(guest: Guest, raw: tuple[str, ...]) -> tuple[str, ...] | None:
    """The raw lines that it was started with, `raw` wherever it can be these; None where nobody knows."""
    return None if guest.started is None else raw_in_force(guest.started, raw)


def _said(want: Container, guest: Guest, found: Comparison) -> Iterator[Note]:
    subject = steps.subject(want)
    for difference in found.by_hand:
        how = difference.reason.replace("VMID", str(want.vmid))
        has = difference.was if difference.was is not None else "absent"
        wants = difference.want if difference.want is not None else "absent"
        yield Note(
            subject, Why.BY_HAND, f"{difference.key} is {has}, hosts.yml says {wants}: {how}", (difference,)
        )
    unused = [
        f"{key} ({value})" for key, value in sorted(guest.config.current.items()) if family(key) == "unused"
    ]
    if unused:
        yield Note(subject, Why.WARNING, f"detached volumes are kept: {', '.join(unused)}")
    for line in guest.config.unread:
        yield Note(
            subject,
            Why.WARNING,
            f"Proxmox cannot read this line of its configuration and will drop it: {line}",
        )


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────


def _cannot_create(want: Container, facts: GuestFacts, providers: Mapping[str, tuple[str, ...]]) -> str:
    if node := facts.elsewhere.get(want.vmid):
        return (
            f"the VMID {want.vmid} belongs to a guest of node {node}; migrate it back if it is this one, "
            "or choose another in hosts.yml"
        )
    twins = [
        guest.vmid for guest in facts.guests.values() if guest.kind == "lxc" and guest.name == want.hostname
    ]
    if twins:
        return (
            f"a container named {want.hostname} exists with the VMID {twins[0]}; "
            f"write vmid: {twins[0]} in hosts.yml, or rename that one"
        )
    absent = sorted(path for path in watched_paths([want]) & facts.missing_paths if not providers.get(path))
    if absent:
        return f"the host has no {', '.join(absent)}"
    if facts.bridges:
        nets = [value for key, value in want.config.items() if family(key) == "net"]
        bridges = {props_of("net0", value).get("bridge", "") for value in nets} - {""}
        if unknown := sorted(bridges - facts.bridges):
            return f"the host has no bridge {', '.join(unknown)}; it has {', '.join(sorted(facts.bridges))}"
    return ""


def _not_it(want: Container, guest: Guest) -> str:
    if guest.kind != "lxc":
        return (
            f"the VMID {want.vmid} belongs to the virtual machine {guest.name}; choose another in hosts.yml"
        )
    if _is_on(guest, "template"):
        return f"{want.vmid} is a container template"
    if guest.name != want.hostname:
        return (
            f"the container {want.vmid} on the host is {guest.name}, hosts.yml says {want.hostname}; "
            f"if it is the same one, run `pct set {want.vmid} --hostname {want.hostname}` on the host, "
            "otherwise choose another vmid"
        )
    return ""


def _is_on(guest: Guest, key: str) -> bool:
    return guest.config.current.get(key, "").lower() in TRUE


def _not_ours(want: Container, guest: Guest) -> str:
    if TAG in guest.config.tags:
        return ""
    return f"it exists, but fleet does not manage it; to change that: inv provision.adopt {want.name}"


def _locked(want: Container, lock: str) -> str:
    if lock == "create":
        return (
            "an unfinished create holds its lock; if no task of it runs any more: "
            f"pct unlock {want.vmid} && pct destroy {want.vmid}, then run this again"
        )
    return f"Proxmox holds a lock on it ({lock}); if no task of it runs any more: pct unlock {want.vmid}"


# ── the fleet as a whole ──────────────────────────────────────────────────────────────────────────


def _digest(guest: Guest | None) -> str:
    """What a saved plan remembers of a guest."""
    return f"{guest.config.digest} {'running' if guest.running else 'stopped'}" if guest else "absent"


def _start_in_order(planned: tuple[Step, ...], wanted: tuple[Container, ...]) -> tuple[Step, ...]:
    """The steps, those that start a container after the starts of what it depends on."""
    ids = set(_ids(planned))
    starts = {want.name: step_id for want in wanted if (step_id := steps.step_id(want, "start")) in ids}
    depends = {
        starts[want.name]: tuple(starts[name] for name in want.depends_on if name in starts)
        for want in wanted
        if want.name in starts
    }
    return tuple(
        replace(step, needs=(*step.needs, *depends[step.id])) if depends.get(step.id) else step
        for step in planned
    )


def _uses(want: Container) -> Iterator[str]:
    yield f"template {want.template}"
    yield f"storage {want.rootfs_storage}"
    for mount in want.mounts:
        yield mount.bind if mount.bind is not None else f"storage {mount.storage}"


def _provided(want: Container, providers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The ids of the steps that make what it uses; of a path, also of the datasets that it is in."""
    used = [made for name in _uses(want) for made in providers if within(name, made)]
    return tuple(sorted({step for made in used for step in providers[made]}))


def _startup_order(want: Container) -> int:
    startup = want.config.get("startup")
    return int(props_of("startup", startup).get("order", 50_000)) if startup else 50_000


def _ids(planned: Iterable[Step]) -> tuple[str, ...]:
    return tuple(step.id for step in planned)
