"""The reading half of the API that `pvesh get` shows.

Which path answers with what (pve-manager API2, pve-container API2).

A route is a path pattern with `{name}` parts, the parameters it takes, and a function (parts, parameters) ->
data.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from . import machine
from .errors import Die

Parts = dict[str, str]
Data = Any
Getter = Callable[[Parts, Parts], Data]


class Route(NamedTuple):
    """One path of the API. `child` is the key of its entries that names the paths below.

    `first` are the columns shown first.
    """

    pattern: str
    get: Getter
    params: tuple[str, ...] = ()
    child: str | None = None
    capabilities: str = "r---"
    first: tuple[str, ...] = ()

    def match(self, path: str) -> Parts | None:
        """The parts of a path that fits, None for one that does not."""
        regex = self.pattern.replace("{volume}", "(?P<volume>.+)")  # a volume id may contain slashes
        regex = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", regex)
        found = re.fullmatch(regex, path)
        return found.groupdict() if found else None


def _routes(path: str) -> list[Route]:
    """The routes that may fit a path; only their module is imported."""
    from importlib import import_module

    parts = path.split("/")[1:]
    guests = parts[0] == "nodes" and parts[2:3] in (["lxc"], ["qemu"])
    module = "api_guests" if guests else "api_nodes" if parts[0] == "nodes" else "api_cluster"
    found: list[Route] = import_module(f".{module}", __package__).ROUTES
    return found


def find(path: str) -> tuple[Route, Parts] | None:
    """The route of a path and its parts; Die for a node that is not this one."""
    clean = "/" + "/".join(part for part in path.split("/") if part)
    for route in _routes(clean):
        parts = route.match(clean)
        if parts is not None:
            if "node" in parts:
                check_node(parts["node"])
            return route, parts
    return None


def check_node(name: str) -> None:
    """Refuse a node other than this one, as the look-up of its address fails."""
    if name not in ("localhost", machine.node()):
        raise Die(
            f"hostname lookup '{name}' failed - failed to get address info for: {name}: "
            "Temporary failure in name resolution",
            11,
        )


def subdirs(*names: str) -> Getter:
    """A directory of the API that only lists what is below it."""
    return lambda _parts, _params: [{"name": name} for name in names]
