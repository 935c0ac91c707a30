"""hosts.yml -> typed values, or everything that is wrong with it.

document   text -> plain values that know their lines
shape      what may stand there: plain values -> typed layers
merge      defaults, profiles, container -> one
build      -> the values that the planner works from
checks     what no single value can show
policy     what is wanted of backups, one policy a guest and dataset
reading    all of it, with every problem at once
"""

from pathlib import Path

from fleet.inventory.values import Bridge, Declared, Inventory, Node, OpenPort, Service

__all__ = ["Bridge", "Declared", "Inventory", "Node", "OpenPort", "Service", "load"]


def load(path: str | Path) -> Inventory:
    """What the file says; InventoryError with all of its problems, FleetError where it cannot be read.

    pydantic and yaml are imported only here, so that whoever handles an Inventory need not pay for them.
    """
    from fleet.inventory.reading import load_file  # noqa: PLC0415

    return load_file(Path(path))
