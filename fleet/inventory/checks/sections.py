"""Sections whose domain is still to come name only guests, bridges and networks that are there."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.inventory.checks.scene import Scene
from fleet.inventory.document import Path
from fleet.inventory.problems import nearest
from fleet.inventory.shape.net_fields import subnet
from fleet.tools.pct.keys import family


def check(scene: Scene) -> None:
    """Every name in these sections."""
    names = {guest.name for guest in scene.guests}
    for path, name in _named_guests(scene):
        if name not in names and not scene.findings.spoiled("containers", name):
            scene.error(path, f"{name!r} is no container{nearest(name, names)}")
    _gpu(scene)
    _wireguard(scene)
    _sources(scene)


def _named_guests(scene: Scene) -> Iterator[tuple[Path, str]]:
    if (wireguard := scene.hosts.wireguard) is not None:
        yield ("wireguard", "gateway"), wireguard.gateway
        for number, forward in enumerate(wireguard.forwards):
            yield ("wireguard", "forwards", number, "to"), forward.to
    if (monitoring := scene.hosts.monitoring) is not None:
        for key in ("logs", "metrics"):
            if (keeper := getattr(monitoring, key)) is not None:
                yield ("monitoring", key, "container"), keeper.container
        for name, exporter in monitoring.exporters.items():
            if exporter.container is not None:
                yield ("monitoring", "exporters", name, "container"), exporter.container


def _gpu(scene: Scene) -> None:
    """A guest that uses the GPU has devices of it."""
    for guest in scene.guests:
        if guest.values.get("gpu") and not any(family(key) == "dev" for key in guest.values):
            text = f"{guest.name} uses the GPU, but no device is passed on; write dev0: /dev/dri/renderD128"
            scene.warning(scene.where(guest, "gpu"), text)


def _wireguard(scene: Scene) -> None:
    wireguard, known = scene.hosts.wireguard, scene.bridges
    if wireguard is None:
        return
    if wireguard.network not in known and not scene.findings.spoiled("network"):
        text = f"{wireguard.network!r} is no bridge of network.bridges{nearest(wireguard.network, known)}"
        scene.error(("wireguard", "network"), text)
    ports: dict[str, str] = {}
    for number, forward in enumerate(wireguard.forwards):
        if ports.setdefault(forward.port, forward.to) != forward.to:
            text = f"{forward.port} leads to {ports[forward.port]} already"
            scene.error(("wireguard", "forwards", number, "port"), text)


def _sources(scene: Scene) -> None:
    """Sources of firewall rules are aliases or networks."""
    firewall = scene.hosts.firewall
    aliases = firewall.aliases if firewall else {}
    rules: list[tuple[Path, str]] = []
    for number, rule in enumerate(firewall.accept_in if firewall else ()):
        rules += [(("firewall", "accept_in", number, "source"), source) for source in rule.source]
    for guest in scene.guests:
        for rule in guest.values.get("firewall", {}).get("accept_in", ()):
            rules += [(scene.where(guest, "firewall", "accept_in"), source) for source in rule.source]
    for path, source in rules:
        if source in aliases or scene.findings.spoiled("firewall", "aliases"):
            continue
        try:
            subnet(source if "/" in source else f"{source}/32")
        except ValueError:
            text = (
                f"{source!r} is neither an alias of firewall.aliases nor a network{nearest(source, aliases)}"
            )
            scene.error(path, text)
