"""What pydantic found wrong, as problems of hosts.yml: the user's own path, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from fleet.inventory.document import Map, Path, line_of
from fleet.inventory.shape.fields import kind_of
from fleet.inventory.shape.guest import FAMILIES, NO_SETTINGS, ContainerLayer, Layer
from fleet.inventory.shape.hosts_file import HostsFile

#: What people write for a key that is called otherwise here.
OTHER_NAMES = {
    "id": "vmid", "ctid": "vmid", "ram": "memory", "mem": "memory", "cpu": "cores", "cpus": "cores",
    "vcpus": "cores", "disk": "rootfs", "root": "rootfs", "os": "template", "image": "template",
    "ostemplate": "template", "autostart": "onboot", "start_on_boot": "onboot", "order": "startup",
    "boot": "startup", "notes": "description", "comment": "description", "ip": "net0", "network": "net0",
    "bridge": "net0", "mac": "net0", "dns": "nameserver", "privileged": "unprivileged",
    "running": "started", "state": "started", "needs": "depends_on", "requires": "depends_on",
    "volumes": "mounts", "devices": "dev0", "device": "dev0", "profile": "profiles", "extends": "profiles",
    "lxc": "raw", "sshkeys": "ssh-public-keys", "authorized_keys": "ssh-public-keys", "ports": "firewall",
    "host": "node", "guests": "containers", "lxcs": "containers", "vms": "containers",
    "networks": "network", "hostname": "name", "ip_address": "address", "key": "identity-file",
    "ssh_key": "identity-file", "tz": "timezone", "nesting": "features", "keyctl": "features",
    "fuse": "features", "gw": "net0", "gateway": "net0", "hwaddr": "net0", "size": "rootfs",
    "storage": "rootfs", "autoboot": "onboot",
}  # fmt: skip


class Findings:
    """Problems and warnings, each once, and the paths whose value could not be used."""

    def __init__(self, top: Map) -> None:
        self._top = top
        self.errors: dict[tuple[Path, str], int] = {}
        self.warnings: dict[tuple[Path, str], int] = {}
        self._broken: set[Path] = set()
        self._above: set[Path] = set()

    def error(self, path: Path, text: str) -> None:
        """Something is wrong at this path."""
        self.errors.setdefault((path, text), line_of(self._top, path))

    def warning(self, path: Path, text: str) -> None:
        """Something is odd at this path."""
        self.warnings.setdefault((path, text), line_of(self._top, path))

    def lost(self, path: Path) -> None:
        """The value at this path could not be used."""
        self._broken.add(path)
        self._above.update(path[:length] for length in range(len(path)))

    def spoiled(self, *path: str | int) -> bool:
        """True if something at, above or below this path was wrong, and what is missing there follows."""
        above = (path[:length] for length in range(len(path) + 1))
        return path in self._above or any(each in self._broken for each in above)


def shown(path: Iterable[str | int]) -> str:
    """The path as the user would say it: containers.plex.net0.ip, firewall.accept_in[2]."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part or repr(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def user_path(loc: Iterable[str | int]) -> Path:
    """Pydantic's location without the parts that only our models have."""
    return tuple(part for part in loc if part not in ("net[n]", "mp[n]", "dev[n]", "[key]", "[on]"))


def said(error: ErrorDetails) -> str:
    """What is wrong, and what would be right."""
    given, kind, ctx = error["input"], error["type"], error.get("ctx", {})
    match kind:
        case "value_error":
            return str(ctx["error"])
        case "fleet":
            return error["msg"]
        case "extra_forbidden":
            return _unknown_key(error["loc"])
        case "missing":
            return _missing(error["loc"])
        case "literal_error":
            return _no_choice(given, str(ctx["expected"]))
        case "tuple_type":
            return f"must be a list: [a, b], not {kind_of(given)}"
        case "dict_type" | "model_type":
            return f"must be a mapping of keys, not {kind_of(given)}"
        case "too_short":
            return "must not be empty; leave the key out, or write null"
        case _:
            return f"{error['msg'][:1].lower()}{error['msg'][1:]}"


def _missing(loc: tuple[str | int, ...]) -> str:
    model = model_at(loc[:-1])
    name = str(loc[-1])
    field = (
        next((each for key, each in model.model_fields.items() if (each.alias or key) == name), None)
        if model
        else None
    )
    says = (field.description or "").split(". ")[0].rstrip(".") if field else ""
    return f"is missing: {says[:1].lower()}{says[1:]}" if says else "is missing"


def _no_choice(given: object, expected: str) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    if not isinstance(given, str):
        return f"must be one of {', '.join(choices)}, not {kind_of(given)}"
    near = get_close_matches(given, choices, n=1)
    return f"{given!r} is none of {', '.join(choices)}{f'; did you mean {near[0]}?' if near else ''}"


def _unknown_key(loc: tuple[str | int, ...]) -> str:
    key, model = str(loc[-1]), model_at(loc[:-1])
    if model is None:
        return "unknown key"
    known = [
        field.alias or name for name, field in model.model_fields.items() if "[" not in (field.alias or "")
    ]
    if issubclass(model, Layer):
        if says := _no_layer_key(key, model):
            return says
        known += [f"{family}0" for family in FAMILIES]
    return f"unknown key{nearest(key, known)}"


def _no_layer_key(key: str, model: type[Layer]) -> str | None:
    """Keys of `pct config` that a layer cannot hold, with the reason."""
    if key in NO_SETTINGS:
        return NO_SETTINGS[key]
    if key.startswith("lxc."):
        return f"stands under raw:, as a line of the list: '{key}: ...'"
    if match := re.fullmatch(r"(net|mp|dev)([0-9]+)", key):
        return f"there is no such key; they go from {match[1]}0 to {match[1]}{FAMILIES[match[1]][1]}"
    if key in ("vmid", "hostname") and model is not ContainerLayer:
        return "only a container can say this, since no two can share it"
    return None


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or what is known, or nothing."""
    known = list(known)
    other = OTHER_NAMES.get(word.lower().replace("-", "_"))
    near = [other] if other in known else get_close_matches(word, known, n=2, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(str(each) for each in near)}?"
    return f"; known are {', '.join(sorted(known))}" if 0 < len(known) <= 12 else ""


def model_at(loc: Iterable[str | int]) -> type[BaseModel] | None:
    """The model that describes this place of hosts.yml."""
    kinds: list[object] = [HostsFile]
    for part in loc:
        kinds = [inner for kind in kinds for inner in _step(kind, part)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _step(kind: object, part: str | int) -> list[object]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = [
            field.annotation for name, field in kind.model_fields.items() if part in (field.alias, name)
        ]
        return [inner for annotation in fields for inner in _plain(annotation)]
    if get_origin(kind) in (dict, tuple):
        return _plain(get_args(kind)[1 if get_origin(kind) is dict else 0])
    return []


def _plain(annotation: object) -> list[object]:
    """The types of an annotation, without Annotated and Optional around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [inner for each in get_args(annotation) for inner in _plain(each)]
    return [annotation]
