"""Lines of `pct config` that are Proxmox's own: they stand in the file, and nothing comes of them."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.inventory.checks.scene import Scene
from fleet.inventory.document import Map, Path
from fleet.inventory.shape.guest import PROXMOX_OWN


def check(scene: Scene) -> None:
    """A warning for each of them."""
    for path, layer in _layers(scene.top):
        for key in layer:
            if PROXMOX_OWN.fullmatch(key):
                scene.warning((*path, key), "is Proxmox's own, not a setting; fleet does not manage it")


def _layers(top: Map) -> Iterator[tuple[Path, Map]]:
    for section in ("profiles", "containers"):
        layers = top.get(section)
        if isinstance(layers, Map):
            yield from (((section, name), layer) for name, layer in layers.items() if isinstance(layer, Map))
    if isinstance(top.get("defaults"), Map):
        yield ("defaults",), top["defaults"]
