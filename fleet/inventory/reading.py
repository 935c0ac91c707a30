"""Reading hosts.yml: every problem is found in one go, whatever else is wrong."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from fleet.core.errors import FleetError, InventoryError, Problem
from fleet.inventory import document
from fleet.inventory.build import Builder, channels, dead_man, declared, storage_spec
from fleet.inventory.checks import Guest, Scene, check
from fleet.inventory.checks.network import bridges
from fleet.inventory.document import DocumentError, List, Map
from fleet.inventory.document import Path as Place
from fleet.inventory.merge import merge_all
from fleet.inventory.policy import backup_spec
from fleet.inventory.problems import Findings, said, shown, user_path
from fleet.inventory.secret import in_clear
from fleet.inventory.shape.hosts_file import HostsFile
from fleet.inventory.values import Inventory, Node

#: Sections that no domain acts on yet.
_SECTIONS = ("firewall", "wireguard", "monitoring", "upgrade", "heal")
_GUEST_SECTIONS = ("firewall", "service", "gpu", "monitor")


def load_file(path: Path) -> Inventory:
    """What the file says; InventoryError with all of its problems, FleetError where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(document.MAX_BYTES + 1)
    except OSError as error:
        raise FleetError(f"{path}: {error.strerror or error}") from error
    # Looking for plugins of pydantic reads the metadata of every installed package; fleet has none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    with _no_garbage_collection():
        return load_bytes(data, path)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Some 100,000 values without a circle are made: looking for garbage would take a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # they live to the end of the run: nobody need ever look through them
        if was_on:
            gc.enable()


def load_bytes(data: bytes, path: Path) -> Inventory:
    """What these bytes say; `path` is what problems call the file."""
    file = _file_name(path)
    try:
        top, faults = document.read(data)
    except DocumentError as error:
        raise InventoryError(
            tuple(Problem(file, line, shown(place), text) for line, place, text in error.faults)
        ) from None
    findings = Findings(top)
    for place, text in in_clear(top):
        findings.error(place, text)
    secret = {place for place, _ in findings.errors}
    hosts = _validated(top, findings, secret)
    inventory = (
        _built(hosts, top, findings, path, hashlib.sha256(data).hexdigest()) if hosts is not None else None
    )
    warnings = tuple(
        sorted(
            Problem(file, line, shown(place), text, warning=True)
            for (place, text), line in findings.warnings.items()
        )
    )
    problems = [Problem(file, line, shown(place), text) for (place, text), line in findings.errors.items()]
    problems += [Problem(file, line, shown(place), text) for line, place, text in faults]
    if problems or inventory is None:
        raise InventoryError((*problems, *warnings))
    return replace(inventory, warnings=warnings)


def _validated(top: Map, findings: Findings, secret: set[Place]) -> HostsFile | None:
    """The typed file. What is wrong is said and taken out, so that the rest can be checked."""
    raw: Map = top
    for _ in range(8):
        try:
            return HostsFile.model_validate(raw)
        except ValidationError as error:
            if raw is top:
                raw = _copy(top)
            gone: set[Place] = set()
            for each in error.errors(include_url=False):
                place = user_path(each["loc"])
                if not findings.spoiled(*place) and not any(place[: len(known)] == known for known in secret):
                    findings.error(place, said(each))
                findings.lost(place)
                if each["type"] == "missing" and place[-1] in _STAND_INS:
                    _put_in_for_lost(raw)
                elif not any(place[: len(known)] == known for known in gone):
                    gone.add(_take_out(raw, place))
            _put_in_for_lost(raw)
    return None


#: What must be there, and is put in where it was wrong, so that everything around it can still be checked.
_STAND_INS = frozenset({"node", "name", "address", "vmid"})


def _put_in_for_lost(raw: Map) -> None:
    if not isinstance(raw.get("node"), Map):
        raw["node"] = Map(1)
    raw["node"].setdefault("name", "node")
    raw["node"].setdefault("address", "lab")
    containers = raw.get("containers")
    if isinstance(containers, Map):
        for number, (name, container) in enumerate(containers.items()):
            if container is None:
                containers[name] = Map(1)
            if isinstance(containers[name], Map):
                containers[name].setdefault("vmid", str(999_999_999 - number))


def _take_out(raw: Map, place: Place) -> Place:
    """Remove the deepest part of the place that is there, the whole of what lacks something; which it was."""
    trail: list[tuple[Map | List, str | int]] = []
    value: object = raw
    for part in place:
        if isinstance(value, Map) and part in value:
            trail.append((value, part))
            value = value[str(part)]
        elif isinstance(value, List) and isinstance(part, int) and part < len(value):
            trail.append((value, part))
            value = value[part]
        else:
            break
    if not trail:
        return place
    lists = [number for number, (owner, _) in enumerate(trail) if isinstance(owner, List)]
    owner, part = (
        trail[lists[0] - 1] if lists else trail[-1]
    )  # positions in a list must stay: the whole list goes
    if isinstance(owner, Map):
        owner.pop(str(part), None)
    return place[: lists[0] if lists else len(trail)]


def _copy(value: document.Value) -> document.Value:
    if isinstance(value, Map):
        made = Map(value.line)
        made.lines = dict(value.lines)
        made.update({key: _copy(each) for key, each in value.items()})
        return made
    if isinstance(value, List):
        copied = List(value.line)
        copied.lines = list(value.lines)
        copied.extend(_copy(each) for each in value)
        return copied
    return value


def _built(hosts: HostsFile, top: Map, findings: Findings, path: Path, digest: str) -> Inventory:
    builder = Builder(hosts, top, findings)
    guests = [Guest(merged, builder.container(merged)) for merged in merge_all(hosts, findings)]
    guests.sort(key=lambda guest: (guest.merged.vmid, guest.name))
    builder.shared_mounts()
    scene = Scene(hosts, top, tuple(guests), bridges(hosts), findings)
    check(scene)
    backups = backup_spec(scene)
    complete = [(guest.merged, guest.container) for guest in guests if guest.container is not None]
    return Inventory(
        path=path,
        digest=digest,
        node=_node(hosts, path),
        storage=storage_spec(hosts, top),
        containers=tuple(container for _, container in complete),
        bridges=scene.bridges,
        declared={container.name: declared(merged, container) for merged, container in complete},
        backups=backups,
        channels=channels(hosts.notifications),
        dead_man=dead_man(hosts.backup),
        not_managed_yet=tuple(_not_managed_yet(hosts, guests)),
        firewall=hosts.firewall,
        wireguard=hosts.wireguard,
        monitoring=hosts.monitoring,
        upgrade=hosts.upgrade,
        heal=hosts.heal,
    )


def _node(hosts: HostsFile, path: Path) -> Node:
    node = hosts.node

    def file(name: str | None) -> Path | None:
        return None if name is None else path.parent / Path(name).expanduser()

    return Node(
        name=node.name,
        address=node.address,
        user=node.user,
        port=node.port,
        identity_file=file(node.identity_file),
        known_hosts=file(node.known_hosts),
        memory=node.memory,
        timezone=node.timezone,
        gateway=node.gateway,
        dns=node.dns or (),
    )


def _not_managed_yet(hosts: HostsFile, guests: Iterable[Guest]) -> Iterable[str]:
    """Paths of what is declared and validated, and that no domain acts on yet."""
    if hosts.network.bridges:
        yield "network.bridges"
    if hosts.node.gpu is not None:
        yield "node.gpu"
    yield from (name for name in _SECTIONS if getattr(hosts, name) is not None)
    guests = tuple(guests)
    for name in _GUEST_SECTIONS:
        if any(name in guest.values for guest in guests):
            yield f"containers.*.{name}"


def _file_name(path: Path) -> str:
    """The file as the user would type it from the working directory."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near
