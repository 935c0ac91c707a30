"""What every check sees: the typed file, where things stand in it, its containers, the findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet.domains.guests.spec import Container
from fleet.inventory.document import Map, Path
from fleet.inventory.merge import Merged, where
from fleet.inventory.problems import Findings
from fleet.inventory.shape.hosts_file import HostsFile
from fleet.inventory.values import Bridge
from fleet.tools.pct.keys import family


@dataclass(frozen=True, slots=True)
class Guest:
    """A container in all its forms."""

    merged: Merged
    container: Container | None  # None: something without which it cannot be is missing

    @property
    def name(self) -> str:
        """Its key in hosts.yml."""
        return self.merged.name

    @property
    def values(self) -> Mapping[str, Any]:
        """All that its layers say."""
        return self.merged.values

    @property
    def nets(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Its interfaces: netN and its properties."""
        return [(key, self.values[key]) for key in sorted(self.values) if family(key) == "net"]


@dataclass(frozen=True, slots=True)
class Scene:
    """The whole of hosts.yml, and what was found in it."""

    hosts: HostsFile
    top: Map
    guests: tuple[Guest, ...]  # by VMID, then by name
    bridges: Mapping[str, Bridge]
    findings: Findings

    def where(self, guest: Guest, *keys: str) -> Path:
        """The path where the strongest layer of a guest says this."""
        return where(self.top, guest.merged, *keys)

    def error(self, path: Path, text: str) -> None:
        """Something is wrong."""
        self.findings.error(path, text)

    def warning(self, path: Path, text: str) -> None:
        """Something is odd."""
        self.findings.warning(path, text)
