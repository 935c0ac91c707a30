"""One container, desired and actual, compared by meaning: what differs, and what to say to pct."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fleet.core.plan import Difference, Impact
from fleet.domains.guests.spec import Container, Mount
from fleet.tools.pct.config import Config
from fleet.tools.pct.keys import (
    KEYS,
    Hot,
    family,
    index,
    join_tags,
    normal,
    print_value,
    props_of,
    split_tags,
)
from fleet.tools.sizes import parse_size, print_size

TAG = "fleet"

#: Keys that hosts.yml does not rule when it is silent about them: generated, or somebody's notes and guard.
_LEFT_ALONE = frozenset(
    {"arch", "ostype", "description", "lock", "parent", "protection", "snaptime", "template", "unprivileged"}
)

#: Keys that an OCI image brings along (pve-facts 10, 9.1): without them what is in it does not start.
_FROM_IMAGE = frozenset({"env", "entrypoint", "cmode"})


@dataclass(frozen=True, slots=True)
class Change:
    """One key to set (`value`) or to delete (`value` is None), and the difference that says why."""

    key: str
    value: str | None
    difference: Difference
    generated: tuple[str, ...] = ()  # properties whose value Proxmox makes up: hwaddr, volume, size


@dataclass(frozen=True, slots=True)
class Growth:
    """A volume to be grown."""

    key: str
    was: str  # as the config says it: 8G
    want: str

    @property
    def difference(self) -> Difference:
        """Both sizes."""
        return Difference(f"{self.key}.size", self.was, self.want, Impact.LIVE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that differs on one container."""

    changes: tuple[Change, ...]
    reverts: tuple[str, ...]  # pending changes that nobody wants
    growths: tuple[Growth, ...]
    by_hand: tuple[Difference, ...]  # said, not done


def compare(want: Container, config: Config, *, running: bool, devices_hotplug: bool) -> Comparison:
    """What differs between a container and what hosts.yml says of it."""
    slots = _slots(want.mounts, config)
    desired = dict(_desired(want, config))
    changes: list[Change] = []
    reverts: list[str] = []
    for key in sorted({*desired, *config.current, *config.pending}):
        if (
            key in ("rootfs", *slots)
            or family(key) == "unused"
            or (key not in desired and _ignored(key, config))
        ):
            continue
        change = _change(key, desired.get(key), config, running=running, devices_hotplug=devices_hotplug)
        if change is None:
            continue
        if key in config.waiting and normal(key, config.current.get(key)) == normal(key, desired.get(key)):
            reverts.append(key)
        else:
            if change.value is None and key in config.pending:
                reverts.append(key)  # else the pending change beats the delete (observed.md 7)
            changes.append(change)
    volumes = [
        _volume("rootfs", want.rootfs_storage, want.rootfs_size, want.rootfs_options, None, config, running)
    ]
    for slot, mount in slots.items():
        if config.effective(slot) is None and slot in config.current:
            reverts.append(slot)  # somebody's pending delete; setting it anew would allocate a second volume
            config = replace(config, pending_delete=config.pending_delete - {slot})
        if config.effective(slot) is None:
            changes.append(_new_mount(slot, mount, running=running))
        elif (kept := _other_kind(slot, mount, config)) is not None:
            volumes.append(Comparison((), (), (), (kept,)))
        elif mount.bind is not None:
            if (change := _bind(slot, mount, config, running=running)) is not None:
                changes.append(change)
        else:
            volumes.append(
                _volume(slot, mount.storage or "", mount.size or 0, mount.options, mount.mp, config, running)
            )
    all_changes = (*changes, *(change for volume in volumes for change in volume.changes))
    protected = (
        tuple(change for change in all_changes if is_mount(change.key)) if _protected(want, config) else ()
    )
    return Comparison(
        changes=tuple(change for change in all_changes if change not in protected),
        reverts=tuple(reverts),
        growths=tuple(growth for volume in volumes for growth in volume.growths),
        by_hand=(
            *(_kept_by_protection(change) for change in protected),
            *(difference for volume in volumes for difference in volume.by_hand),
            *_privilege(want, config),
            *_undeclared_volumes(slots, config),
        ),
    )


def desired_values(want: Container) -> dict[str, str]:
    """Every key of `pct create` for this container except rootfs and mpN."""
    return {
        **want.config,
        "hostname": want.hostname,
        "tags": ";".join(split_tags(";".join((*want.tags, TAG)))),
    }


def is_mount(key: str) -> bool:
    """True for rootfs and mpN: what Proxmox changes on no protected container."""
    return key == "rootfs" or family(key) == "mp"


def mount_value(mount: Mount) -> str:
    """The property string that makes Proxmox attach this mount, a new volume where it is one."""
    volume = mount.bind if mount.bind is not None else new_volume(mount.storage or "", mount.size or 0)
    return print_value("mp0", {"volume": volume, "mp": mount.mp, **dict(mount.options)})


def new_volume(storage: str, size: int) -> str:
    """STORAGE:GIB, the form that allocates a new volume; decimals are allowed (pve-facts 1.5).

    Ten of them say every whole MiB exactly; Proxmox cuts off what is below one (create_disks, PVE/LXC.pm).
    """
    return f"{storage}:{size / 1024**3:.10f}".rstrip("0").rstrip(".")


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────


def _desired(want: Container, config: Config) -> Iterator[tuple[str, str]]:
    for key, value in desired_values(want).items():
        if key == "tags":
            yield key, ";".join(join_tags(config.current.get("tags", ""), value))
        elif family(key) == "net":
            keep = ("hwaddr", "host-managed") if config.from_image else ("hwaddr",)
            yield key, _keep(keep, value, config.effective(key) or config.current.get(key))
        else:
            yield key, value


def _keep(names: tuple[str, ...], value: str, actual: str | None) -> str:
    """The interface with what Proxmox made up for it: without hwaddr, `pct set` makes a new one (trap 4)."""
    wanted = props_of("net0", value)
    try:
        found = props_of("net0", actual or "")
    except ValueError:
        return value
    kept = {name: found[name] for name in names if name in found and name not in wanted}
    return print_value("net0", {**wanted, **kept}) if kept else value


def _ignored(key: str, config: Config) -> bool:
    if key in _FROM_IMAGE and config.from_image:
        return True
    return key in _LEFT_ALONE or (key not in KEYS and family(key) not in KEYS) or _is_volume(key, config)


def _change(
    key: str, value: str | None, config: Config, *, running: bool, devices_hotplug: bool
) -> Change | None:
    actual = config.effective(key)
    if value == actual or normal(key, value) == normal(key, actual):
        return None
    spec = KEYS.get(family(key))
    if value is None and spec is not None and not spec.deletable:
        value = spec.default
    impact, reason = _impact(key, value, config, running=running, devices_hotplug=devices_hotplug)
    generated = ("hwaddr",) if value is not None and family(key) == "net" and "hwaddr=" not in value else ()
    return Change(key, value, Difference(key, actual, value, impact, reason), generated)


def _impact(
    key: str, value: str | None, config: Config, *, running: bool, devices_hotplug: bool
) -> tuple[Impact, str]:
    if not running:
        return Impact.NONE, "the container is stopped"
    hot = KEYS[family(key)].hot if family(key) in KEYS else Hot.PEND
    new = key not in config.current
    if hot is Hot.CFG:
        return Impact.NONE, "a setting of the host only" if key != "hostname" else "inside at the next start"
    if family(key) == "net" and value is None and index(key) > 9:
        return Impact.RESTART, "Proxmox unplugs only net0 to net9 from a running container"
    if (family(key) == "mp" and new) or (family(key) == "dev" and new and devices_hotplug):
        return Impact.LIVE, "plugged into the running container"
    if hot is Hot.LIVE:
        return Impact.LIVE, "applied to the running container"
    return Impact.RESTART, "Proxmox applies it at the next start"


# ── volumes and mounts ────────────────────────────────────────────────────────────────────────────


def _slots(mounts: tuple[Mount, ...], config: Config) -> dict[str, Mount]:
    """Each wanted mount under the mpN where it is or goes: by its path, by its slot, then the next free."""
    paths = {
        key: _straight(_prop(key, config, "mp"))
        for key in {*config.current, *config.pending}
        if family(key) == "mp"
    }
    placed: dict[str, Mount] = {}
    waiting: list[Mount] = []
    for mount in mounts:
        slot = next((key for key in sorted(paths, key=index) if paths[key] == mount.mp), None)
        if slot is None or slot in placed:
            waiting.append(mount)
        else:
            placed[slot] = mount
    for mount in waiting:
        free = (
            f"mp{number}"
            for number in range(256)
            if f"mp{number}" not in paths and f"mp{number}" not in placed
        )
        own = mount.slot not in placed and (mount.slot not in paths or _same_place(mount, mount.slot, config))
        placed[mount.slot if own else next(free)] = mount
    return placed


def _straight(path: str | None) -> str | None:
    """The path as Proxmox mounts it: /data for /data/, //data and data."""
    return None if path is None else "/" + "/".join(part for part in path.split("/") if part)


def _other_kind(slot: str, mount: Mount, config: Config) -> Difference | None:
    """What to say where a volume is and a bind mount is wanted, or the other way round: data would vanish."""
    volume = _prop(slot, config, "volume") or ""
    if not volume or volume.startswith("/") == (mount.bind is not None):
        return None
    return Difference(
        slot,
        config.effective(slot),
        mount_value(mount),
        Impact.OFFLINE,
        f"what is mounted at {mount.mp} may hold data and stays; to give it up: pct set VMID --delete {slot}",
    )


def _protected(want: Container, config: Config) -> bool:
    """True if protection is on and stays on; where hosts.yml takes it off, it goes first."""
    on = config.current.get("protection")
    return "1" == normal("protection", on) == normal("protection", want.config.get("protection", on))


def _kept_by_protection(change: Change) -> Difference:
    reason = "Proxmox changes no mount point while protection is on; write protection: 0 for the time of it"
    return Difference(change.key, change.difference.was, change.difference.want, Impact.OFFLINE, reason)


def _same_place(mount: Mount, slot: str, config: Config) -> bool:
    """True if the slot holds what is wanted, only at another path: a bind, or a volume of this storage."""
    volume = _prop(slot, config, "volume") or ""
    return volume.startswith("/") if mount.bind is not None else volume.startswith(f"{mount.storage}:")


def _new_mount(slot: str, mount: Mount, *, running: bool) -> Change:
    value = mount_value(mount)
    impact = Impact.LIVE if running else Impact.NONE
    reason = "plugged into the running container" if running else "the container is stopped"
    generated = () if mount.bind is not None else ("volume", "size")
    return Change(slot, value, Difference(slot, None, value, impact, reason), generated)


def _bind(slot: str, mount: Mount, config: Config, *, running: bool) -> Change | None:
    value, actual = mount_value(mount), config.effective(slot)
    if value == actual or normal(slot, value) == normal(slot, actual):
        return None
    impact = Impact.RESTART if running else Impact.NONE
    reason = "Proxmox changes a mount point at the next start" if running else "the container is stopped"
    return Change(slot, value, Difference(slot, actual, value, impact, reason))


def _volume(
    key: str,
    storage: str,
    size: int,
    options: tuple[tuple[str, str], ...],
    path: str | None,
    config: Config,
    running: bool,
) -> Comparison:
    """What differs on one volume: it is grown, its options are set; it is never moved, shrunk, replaced."""
    actual = config.effective(key) or ""
    try:
        found = props_of(key, actual)
    except ValueError:
        found = {}
    volume = found.get("volume", "")
    by_hand: list[Difference] = []
    growths: list[Growth] = []
    if not volume:
        by_hand.append(
            Difference(
                key, actual or None, f"{storage}, {print_size(size)}", Impact.RECREATE, "no volume is there"
            )
        )
        return Comparison((), (), (), tuple(by_hand))
    if volume.split(":")[0] != storage:
        by_hand.append(
            Difference(
                f"{key}.storage",
                volume.split(":")[0],
                storage,
                Impact.OFFLINE,
                f"moving a volume is left to you: pct move-volume VMID {key} {storage}",
            )
        )
    in_force = _size_in_force(key, volume, config) or found.get("size", "0")
    try:
        has = parse_size(in_force)
    except ValueError:
        has = 0
    if has and size > has:
        growths.append(Growth(key, in_force, print_size(size)))
    elif has > size:
        by_hand.append(
            Difference(
                f"{key}.size",
                in_force,
                print_size(size),
                Impact.RECREATE,
                f"a volume can only grow; write size: {in_force} in hosts.yml",
            )
        )
    wanted = {"volume": volume, **dict(options), **({"mp": path} if path else {})}
    if "size" in found:
        wanted["size"] = found["size"]
    value = print_value(key, wanted)
    if value == actual or normal(key, value) == normal(key, actual):
        return Comparison((), (), tuple(growths), tuple(by_hand))
    impact = Impact.RESTART if running else Impact.NONE
    reason = "Proxmox changes a mount point at the next start" if running else "the container is stopped"
    change = Change(key, value, Difference(key, actual, value, impact, reason))
    return Comparison((change,), (), tuple(growths), tuple(by_hand))


def _size_in_force(key: str, volume: str, config: Config) -> str | None:
    """The size that the config says now: `pct resize` leaves the old one in what is pending."""
    try:
        current = props_of(key, config.current.get(key, ""))
    except ValueError:
        return None
    return current.get("size") if current.get("volume") == volume else None


def _is_volume(key: str, config: Config) -> bool:
    """True if the mount point holds a volume, or will after the next restart."""
    values = [value for value in (config.current.get(key), config.pending.get(key)) if value is not None]
    return family(key) == "mp" and not all(value.removeprefix("volume=").startswith("/") for value in values)


def _prop(key: str, config: Config, name: str) -> str | None:
    try:
        return props_of(key, config.effective(key) or config.current.get(key) or "").get(name)
    except ValueError:
        return None


def _undeclared_volumes(slots: Mapping[str, Mount], config: Config) -> Iterator[Difference]:
    for key in sorted(config.current):
        if (
            family(key) == "mp"
            and key not in slots
            and _is_volume(key, config)
            and config.effective(key) is not None
        ):
            yield Difference(
                key,
                config.current[key],
                None,
                Impact.OFFLINE,
                f"its volume holds data and is left attached; detach it with: pct set VMID --delete {key}",
            )


def _privilege(want: Container, config: Config) -> Iterator[Difference]:
    has = normal("unprivileged", config.current.get("unprivileged")) == "1"
    if has != want.unprivileged:
        yield Difference(
            "unprivileged",
            str(int(has)),
            str(int(want.unprivileged)),
            Impact.RECREATE,
            "Proxmox cannot convert a container; back it up and restore it with the other setting",
        )
