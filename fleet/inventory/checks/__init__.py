"""What no single value can show: containers against each other, the node, its bridges, its storage."""

from fleet.inventory.checks import network, order, pasted, sections, storage, unique
from fleet.inventory.checks.scene import Guest, Scene

__all__ = ["Guest", "Scene", "check"]


def check(scene: Scene) -> None:
    """Everything that is wrong between the parts of hosts.yml goes to the findings."""
    network.check_bridges(scene)
    storage.check_storage(scene)
    unique.check(scene)
    for guest in scene.guests:
        network.check_guest(scene, guest)
        storage.check_guest(scene, guest)
    storage.check_room(scene)
    order.check(scene)
    sections.check(scene)
    pasted.check(scene)
