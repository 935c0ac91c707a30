"""Merged layers -> the values that the planner works from, printed as Proxmox prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.domains.guests.spec import Container, Mount
from fleet.domains.storage.spec import Dataset, Storage, StorageSpec, Template, located
from fleet.inventory.document import Map, Path, line_of
from fleet.inventory.merge import Merged, Values, merge_props, where
from fleet.inventory.problems import Findings, nearest
from fleet.inventory.secret import SecretRef
from fleet.inventory.shape.backup import TASKS, BackupSection
from fleet.inventory.shape.hosts_file import HostsFile
from fleet.inventory.shape.notifications import SEVERITIES, NotificationSection
from fleet.inventory.shape.storage import NO_PROPERTIES
from fleet.inventory.values import Channel, Declared, OpenPort, Service
from fleet.tools.pct.keys import family
from fleet.tools.props import print_props

_PLAIN = (
    "onboot", "protection", "cores", "cpulimit", "cpuunits", "memory", "swap", "hookscript", "nameserver",
    "searchdomain", "timezone", "arch", "ostype", "console", "tty", "cmode", "entrypoint", "env", "debug",
    "description",
)  # fmt: skip
_FAMILIES = frozenset({"net", "dev"})
_PLACE = frozenset({"storage", "size", "source", "mp", "slot"})


def printed(value: object) -> str:
    """One value as Proxmox prints it."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return " ".join(str(each) for each in value)
    return str(value)


class Builder:
    """Makes containers; what is missing or unknown goes to the findings."""

    def __init__(self, hosts: HostsFile, top: Map, findings: Findings) -> None:
        self._hosts = hosts
        self._top = top
        self._findings = findings

    def container(self, merged: Merged) -> Container | None:
        """The container; None where something without which it cannot be is missing."""
        values = merged.values
        rootfs = values.get("rootfs", {})
        mounts = self._mounts(merged)
        config = self._config(merged)
        template = values.get("template")
        if template is None:
            self._missing(merged, "template", "is missing: write a key of storage.templates")
        complete = self._has_volume(merged, "rootfs", rootfs)
        if template is None or not complete:
            return None
        return Container(
            name=merged.name,
            vmid=merged.vmid,
            template=template,
            hostname=values.get("hostname", merged.name),
            unprivileged=values.get("unprivileged", True),
            config=config,
            rootfs_storage=rootfs["storage"],
            rootfs_size=rootfs["size"],
            rootfs_options=_options(rootfs),
            mounts=mounts,
            tags=tuple(tag for tag in values.get("tags", ()) if tag != "fleet"),
            raw=values.get("raw"),
            started=values.get("started", True),
            depends_on=values.get("depends_on", ()),
            ssh_public_keys=values.get("ssh-public-keys", ()),
            line=line_of(self._top, ("containers", merged.name)),
            category=values.get("category"),
        )

    def _config(self, merged: Merged) -> dict[str, str]:
        values = merged.values
        config = {key: printed(values[key]) for key in _PLAIN if values.get(key, "") != ""}
        for key in sorted(values):
            if family(key) in _FAMILIES or key in ("features", "startup"):
                props = {
                    name: printed(value)
                    for name, value in values[key].items()
                    if (name, value) != ("type", "veth")
                }
                required = {"net": "name", "dev": "path"}.get(family(key))
                if required and required not in props:
                    like = "name=eth0" if required == "name" else "path=/dev/..."
                    self._missing(merged, key, f"{required} is missing: write {like}", required)
                if props:
                    config[key] = print_props(props, first=("name", "path", "order"))
        return config

    # ── mounts ────────────────────────────────────────────────────────────────────────────────────

    def _mounts(self, merged: Merged) -> tuple[Mount, ...]:
        made: list[tuple[Mount, Path]] = []
        for name, own in merged.values.get("mounts", {}).items():
            shared = self._hosts.mounts.get(name)
            path = where(self._top, merged, "mounts")
            if shared is None:
                if not self._findings.spoiled("mounts", name):
                    self._findings.error(
                        path, f"{name!r} is no mount of `mounts`{nearest(name, self._hosts.mounts)}"
                    )
                continue
            props = merge_props({key: each for key, each in shared.given().items() if each is not None}, own)
            slot = props.get("slot")
            if slot is not None and (mount := self._mount(merged, slot, props, "mounts")) is not None:
                made.append((mount, path))
        for key, props in merged.values.items():
            if family(key) == "mp" and (mount := self._mount(merged, key, props, key)) is not None:
                made.append((mount, where(self._top, merged, key)))
        made.sort(key=lambda each: int(each[0].slot[2:]))
        self._apart(made)
        return tuple(mount for mount, _ in made)

    def shared_mounts(self) -> None:
        """Errors of the section `mounts`, whether a container uses it or not."""
        for name, shared in self._hosts.mounts.items():
            props, path = shared.given(), ("mounts", name)
            for key, like in (("mp", "mp: /data"), ("slot", "slot: mp0")):
                if props.get(key) is None and not self._findings.spoiled(*path):
                    self._findings.error((*path, key), f"is missing: write {like}")
            volume = props.get("storage") is not None or props.get("size") is not None
            if props.get("source") is not None and volume:
                self._findings.error(path, "has both a source and a volume; keep source, or storage and size")
            elif (
                props.get("source") is None
                and props.get("storage") is None
                and not self._findings.spoiled(*path)
            ):
                self._findings.error(
                    path, "mounts nothing: write source: /path/on/the/node, or storage and size"
                )

    def _mount(self, merged: Merged, slot: str, props: Values, key: str) -> Mount | None:
        if "mp" not in props:
            if key != "mounts":
                self._missing(merged, key, "mp is missing: write mp=/path/in/the/guest", "mp")
            return None
        if "source" not in props and not self._has_volume(merged, key, props):
            return None
        if "source" in props and ("storage" in props or "size" in props):
            self._findings.error(
                where(self._top, merged, key),
                "has both a source and a volume; keep source, or storage and size",
            )
            return None
        return Mount(
            slot, props["mp"], props.get("source"), props.get("storage"), props.get("size"), _options(props)
        )

    def _apart(self, mounts: list[tuple[Mount, Path]]) -> None:
        """An error where two mounts of a guest want the same path or key."""
        paths: dict[str, str] = {}
        slots: dict[str, str] = {}
        for mount, path in mounts:
            if mount.mp in paths:
                self._findings.error(
                    path, f"{mount.slot} and {paths[mount.mp]} are both mounted at {mount.mp}"
                )
            elif mount.slot in slots:
                self._findings.error(
                    path, f"{mount.mp} and {slots[mount.slot]} both want {mount.slot}; give one another slot"
                )
            paths.setdefault(mount.mp, mount.slot)
            slots.setdefault(mount.slot, mount.mp)

    def _has_volume(self, merged: Merged, key: str, props: Values) -> bool:
        missing = [name for name in ("storage", "size") if name not in props]
        if len(missing) == 2:
            what = "is missing" if not props else "storage and size are missing"
            like = (
                "guests:8, or {storage: guests, size: 8G}"
                if key == "rootfs"
                else "storage and size, or source"
            )
            self._missing(merged, key, f"{what}: write {like}")
        elif missing:
            like = "storage: guests" if missing == ["storage"] else "size: 8G"
            self._missing(merged, key, f"{missing[0]} is missing: write {like}", missing[0])
        return not missing

    def _missing(self, merged: Merged, key: str, text: str, part: str = "") -> None:
        """An error, unless something at that place is wrong already and has been said."""
        if not any(self._findings.spoiled(*layer, key) for layer in merged.layers):
            path = where(self._top, merged, key)
            self._findings.error(
                (*path, part) if part else path, text.removeprefix(f"{part} ") if part else text
            )


def _options(props: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, printed(value)) for name, value in props.items() if name not in _PLACE))


def declared(merged: Merged, container: Container) -> Declared:
    """What is said of a container for domains that are still to come."""
    values = merged.values
    monitor = values.get("monitor", {})
    ports = tuple(
        OpenPort(rule.port, rule.source) for rule in values.get("firewall", {}).get("accept_in", ())
    )
    return Declared(
        open_ports=ports,
        service=_service(values["service"], container, ports)
        if values.get("service", {}).get("kind")
        else None,
        gpu=values.get("gpu", False),
        threshold=monitor.get("threshold"),
        bridges=tuple(
            values[key]["bridge"]
            for key in sorted(values)
            if family(key) == "net" and "bridge" in values[key]
        ),
    )


def _service(said: Values, container: Container, open_ports: tuple[OpenPort, ...]) -> Service:
    name = said.get("name") or container.name
    compose = said["kind"] == "compose"
    base = "/docker" if any(mount.mp == "/docker" for mount in container.mounts) else "/opt"
    return Service(
        kind=said["kind"],
        name=name,
        directory=(said.get("directory") or f"{base}/{name}") if compose else None,
        package=None if compose else said.get("package") or name,
        ports=said.get("ports") or tuple(each.port for each in open_ports),
    )


def channels(section: NotificationSection | None) -> dict[str, tuple[Channel, ...]]:
    """Where notices of each severity go; only severities that go anywhere."""
    made: dict[str, tuple[Channel, ...]] = {}
    if section is None:
        return made
    for severity in SEVERITIES:
        topic = getattr(section.topics, severity) if section.topics is not None else ""
        common = () if section.url is None else (Channel(section.url, topic),)
        made[severity] = (*common, *(Channel(url) for url in getattr(section, severity)))
    return {severity: each for severity, each in made.items() if each}


def dead_man(section: BackupSection | None) -> dict[str, Mapping[str, SecretRef]]:
    """Who raises the alarm when a job is not heard of, by its task and what tells it from others of that."""
    said = section.dead_man if section is not None else None
    if said is None:
        return {}
    return {f"backup.{name}": getattr(said, name) for name in TASKS if name in said.model_fields_set}


# ── storage ───────────────────────────────────────────────────────────────────────────────────────


def storage_spec(hosts: HostsFile, top: Map) -> StorageSpec:
    """The section `storage`, as the planner reads it."""
    section = hosts.storage

    def line(kind: str, name: str) -> int:
        return line_of(top, ("storage", kind, name))

    return StorageSpec(
        pools=section.pools,
        datasets=located(
            Dataset(
                name=name,
                mountpoint=each.mountpoint,
                quota=each.quota,
                properties=tuple(
                    sorted(
                        (key, printed(getattr(each, key)))
                        for key in each.model_fields_set
                        if key not in NO_PROPERTIES
                    )
                ),
                owner=each.owner,
                mode=each.mode,
                line=line("datasets", name),
            )
            for name, each in sorted(section.datasets.items())
        ),
        storages=tuple(
            Storage(
                name=name,
                type=each.type or "",
                options=tuple(
                    sorted(
                        (key, printed(getattr(each, key)))
                        for key in each.model_fields_set
                        if key not in ("type", "content", "given")
                    )
                ),
                content=frozenset(each.content or ()),
                given=each.given,
                line=line("storages", name),
            )
            for name, each in sorted(section.storages.items())
        ),
        templates=tuple(
            Template(name, each.storage, each.prefix, line("templates", name))
            for name, each in sorted(section.templates.items())
        ),
    )
