"""Three layers become one: defaults, profiles in their order, the container.

A single value overrides; property strings and sections merge key by key; tags and mounts add up; null unsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fleet.inventory.document import Map, Path
from fleet.inventory.problems import Findings, nearest
from fleet.inventory.shape.backup import KEEP, Prune
from fleet.inventory.shape.guest import ContainerLayer, Layer
from fleet.inventory.shape.hosts_file import HostsFile
from fleet.inventory.shape.model import Props, Section
from fleet.tools.pct.keys import KEYS, family
from fleet.tools.props import parse_props

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Merged:
    """A container with all that its layers say, by Proxmox's names; property strings as mappings."""

    name: str
    vmid: int
    values: Values
    layers: tuple[Path, ...]  # where it was said, the strongest last


def merge_all(hosts: HostsFile, findings: Findings) -> list[Merged]:
    """Every container, merged."""
    chains = _Chains(hosts, findings)
    return [
        Merged(
            name,
            layer.vmid,
            merge(chains.below(name, layer), layer.given()),
            (*chains.paths(layer), ("containers", name)),
        )
        for name, layer in hosts.containers.items()
    ]


def merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> Values:
    """What `layer` makes of `base`."""
    made = dict(base)
    for key, value in layer.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, Props):
            made[key] = merge_props(made.get(key, {}), value.given())
        elif isinstance(value, Section):
            made[key] = _merge_section(made.get(key, {}), value)
        elif key == "tags":
            made[key] = tuple(sorted({*made.get(key, ()), *value}))
        elif key == "mounts":
            made[key] = _merge_mounts(made.get(key, {}), value)
        else:
            made[key] = value
    return made


def merge_props(base: Mapping[str, Any], own: Mapping[str, Any]) -> Values:
    """A property string on top of another; a bind replaces a volume, and a volume a bind."""
    made = dict(base)
    if own.get("source") is not None:
        made.pop("storage", None)
        made.pop("size", None)
    elif own.get("storage") is not None:
        made.pop("source", None)
    for name, value in own.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = value
    return made


def merge_keep(base: Mapping[str, Any], own: Mapping[str, Any]) -> Values:
    """Numbers of keep-* on others: null is 0, keep-all replaces them all, and a number replaces keep-all."""
    counts = {name: value or 0 for name, value in own.items()}
    if counts.get("keep-all"):
        return {**dict.fromkeys((*KEEP, *base), 0), "keep-all": True}
    if any(counts.values()):
        counts["keep-all"] = 0
    return {**base, **counts}


def _merge_section(base: Mapping[str, Any], own: Section) -> Values:
    made = dict(base)
    for name in own.model_fields_set:
        value = getattr(own, name)
        if value is None:
            made.pop(name, None)
        elif isinstance(value, Section):
            made[name] = _merge_section(made.get(name, {}), value)
        elif isinstance(value, Prune):
            made[name] = merge_keep(made.get(name, {}), value.given())
        else:
            made[name] = value
    return made


def _merge_mounts(base: Mapping[str, Values], own: Mapping[str, Props | None]) -> dict[str, Values]:
    made = dict(base)
    for name, mount in own.items():
        if mount is None:
            made.pop(name, None)
        else:
            made[name] = merge_props(made.get(name, {}), mount.given())
    return made


class _Chains:
    """The layers below a container, and what they say; containers with the same profiles share both."""

    def __init__(self, hosts: HostsFile, findings: Findings) -> None:
        self._hosts = hosts
        self._findings = findings
        self._values: dict[tuple[str, ...], Values] = {}
        self._paths: dict[tuple[str, ...], tuple[Path, ...]] = {}
        self._complained: set[Path] = set()
        for name, profile in hosts.profiles.items():
            self._known(("profiles", name), profile.profiles or ())
            self._circle(name)
        self._known(("defaults",), hosts.defaults.profiles or ())

    def below(self, name: str, layer: ContainerLayer) -> Values:
        """What defaults and profiles say for this container."""
        chosen = layer.profiles or ()
        self._known(("containers", name), chosen)
        if chosen not in self._values:
            values: Values = {}
            paths: list[Path] = []
            for path, each in self._ordered(chosen):
                values = merge(values, each.given())
                paths.append(path)
            values.pop("profiles", None)
            self._values[chosen], self._paths[chosen] = values, tuple(paths)
        return self._values[chosen]

    def paths(self, layer: ContainerLayer) -> tuple[Path, ...]:
        """Where these layers stand, the weakest first."""
        return self._paths[layer.profiles or ()]

    def _ordered(self, chosen: Iterable[str]) -> list[tuple[Path, Layer]]:
        seen: set[str] = set()
        found: list[tuple[Path, Layer]] = []

        def add(name: str) -> None:
            profile = self._hosts.profiles.get(name)
            if profile is None or name in seen:
                return
            seen.add(name)
            for inner in profile.profiles or ():
                add(inner)
            found.append((("profiles", name), profile))

        for name in self._hosts.defaults.profiles or ():
            add(name)
        found.append((("defaults",), self._hosts.defaults))
        for name in chosen:
            add(name)
        return found

    def _known(self, path: Path, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._hosts.profiles and not self._findings.spoiled("profiles", name):
                self._findings.error(
                    (*path, "profiles"), f"{name!r} is no profile{nearest(name, self._hosts.profiles)}"
                )

    def _circle(self, start: str) -> None:
        """An error where a profile includes itself, directly or through others."""
        trail: list[str] = [start]

        def follow(name: str) -> bool:
            for inner in self._hosts.profiles[name].profiles or () if name in self._hosts.profiles else ():
                if inner == start:
                    return True
                if inner not in trail:
                    trail.append(inner)
                    if follow(inner):
                        return True
                    trail.remove(inner)
            return False

        if follow(start) and start == min(trail):
            self._findings.error(
                ("profiles", start, "profiles"),
                f"the profiles include each other: {' -> '.join((*trail, start))}",
            )


def where(top: Map, merged: Merged, *keys: str) -> Path:
    """The path where the strongest layer says this of a container; the container itself where none does."""
    for layer in reversed(merged.layers):
        value: Any = top
        for part in layer:
            value = value.get(str(part)) if isinstance(value, Map) else None
        if (
            isinstance(value, Map)
            and value.get(keys[0]) is not None
            and _says(keys[0], value[keys[0]], keys[1:])
        ):
            return (*layer, *keys)
    return (*merged.layers[-1], *keys)


def _says(key: str, value: object, rest: tuple[str, ...]) -> bool:
    if not rest:
        return True
    if isinstance(value, str) and family(key) in KEYS:
        default = KEYS[family(key)].default_key
        try:
            props = parse_props(value, default)
        except ValueError:
            return False
        return rest[0] in props or (
            default == "volume" and "volume" in props and rest[0] in ("storage", "size", "source")
        )
    if isinstance(value, Map):
        return rest[0] in value or ("volume" in value and rest[0] in ("storage", "size", "source"))
    return False
