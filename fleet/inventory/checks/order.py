"""Guests against each other and the node: who starts before whom, and whether all have room in its memory."""

from __future__ import annotations

from collections.abc import Mapping

from fleet.inventory.checks.scene import Guest, Scene
from fleet.inventory.figures import gib
from fleet.inventory.problems import nearest
from fleet.inventory.shape.fields import MIB


def check(scene: Scene) -> None:
    """Dependencies, start-up order, memory."""
    by_name = {guest.name: guest for guest in scene.guests}
    for guest in scene.guests:
        for name in guest.values.get("depends_on", ()):
            other = by_name.get(name)
            if name == guest.name:
                scene.error(scene.where(guest, "depends_on"), f"{name} cannot depend on itself")
            elif other is not None:
                _order(scene, guest, other)
            elif not scene.findings.spoiled("containers", name):
                text = f"{name!r} is no container{nearest(name, by_name)}"
                scene.error(scene.where(guest, "depends_on"), text)
    for circle in _circles(by_name):
        text = f"they depend on each other: {' -> '.join((*circle, circle[0]))}"
        scene.error(scene.where(by_name[circle[0]], "depends_on"), text)
    _memory(scene)


def _order(scene: Scene, guest: Guest, needed: Guest) -> None:
    """What depends on another must not start with the node before it does."""
    if guest.values.get("started", True) and not needed.values.get("started", True):
        text = f"{guest.name} depends on {needed.name}, which is not to be running (started: 0)"
        scene.warning(scene.where(guest, "depends_on"), text)
    if not guest.values.get("onboot", False):
        return
    if not needed.values.get("onboot", False):
        text = f"{guest.name} starts with the node, {needed.name}, on which it depends, does not (onboot: 0)"
        scene.warning(scene.where(guest, "depends_on"), text)
    elif _place(guest) < _place(needed):
        scene.error(
            scene.where(guest, "startup" if "startup" in guest.values else "depends_on"),
            f"{guest.name} ({_said(guest)}) starts before {needed.name} ({_said(needed)}),"
            f" on which it depends; give {needed.name} a smaller startup order",
        )


def _place(guest: Guest) -> tuple[float, int]:
    """Proxmox starts by order, then by VMID; guests without an order come last."""
    order = guest.values.get("startup", {}).get("order")
    return (float("inf") if order is None else order, guest.merged.vmid)


def _said(guest: Guest) -> str:
    order = guest.values.get("startup", {}).get("order")
    vmid = guest.merged.vmid
    return f"VMID {vmid}, no startup order" if order is None else f"startup order {order}, VMID {vmid}"


def _circles(by_name: Mapping[str, Guest]) -> list[tuple[str, ...]]:
    """The circles of dependencies, each beginning with its first name."""
    needs = {
        name: [each for each in guest.values.get("depends_on", ()) if each in by_name and each != name]
        for name, guest in by_name.items()
    }
    found: set[tuple[str, ...]] = set()
    done: set[str] = set()
    for start in sorted(needs):
        trail: dict[str, list[str]] = {} if start in done else {start: list(needs[start])}
        while trail:
            name, left = next(reversed(trail.items()))
            if not left:
                done.add(name)
                del trail[name]
            elif (following := left.pop(0)) in trail:
                names = list(trail)
                circle = names[names.index(following) :]
                first = circle.index(min(circle))
                found.add((*circle[first:], *circle[:first]))
            elif following not in done:
                trail[following] = list(needs[following])
    return sorted(found)


def _memory(scene: Scene) -> None:
    node = scene.hosts.node.memory
    started = (guest.values for guest in scene.guests if guest.values.get("started", True))
    wanted = sum(values.get("memory", 512) for values in started) * MIB
    if node and wanted > node:
        text = f"the guests that are to be running have {gib(wanted)} of memory, the node {gib(node)}"
        scene.warning(("node", "memory"), text)
