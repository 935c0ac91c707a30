"""What `pct set` does to a configuration.

Checks, then all at once on a stopped container, live or pending on a running one.

The order of steps and the texts follow pve-container's update_pct_config, vmconfig_apply_pending and
vmconfig_hotplug_pending.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable

from . import conf, container, hotplug, mounts, network, paths, pending, props, schema, storage_cfg
from .conf import Config
from .errors import Die, ParamError, left
from .formats import split_list
from .mounts import Mount

FAST = frozenset("cores description hookscript hostname lock onboot protection startup tags".split())
_REQUIRED = ("memory", "ostype", "rootfs")


class _Skip(Exception):
    """The key cannot be changed on a running container: it stays pending."""


def unique_tags(text: str) -> str:
    """Tags as they are stored.

    Lower case, sorted, no doubles, joined by `;` (datacenter.cfg may say otherwise).
    """
    style = _tag_style()
    tags = split_list(text)
    if style.get("case-sensitive") != "1":
        tags = [tag.lower() for tag in tags]
    unique = dict.fromkeys(tags)
    return ";".join(unique if style.get("ordering") == "config" else sorted(unique))


def _tag_style() -> dict[str, str]:
    try:
        with open(paths.real(f"{paths.PVE}/datacenter.cfg"), encoding="utf-8") as file:
            found = re.search(r"^tag-style:\s*(\S+)", file.read(), re.MULTILINE)
    except FileNotFoundError:
        return {}
    return dict(part.partition("=")[::2] for part in found[1].split(",")) if found else {}


def _checked(config: Config, key: str, value: str) -> str:
    """The value as it goes into the pending section; Die or ParamError where it is refused."""
    if key == "rootfs" or re.fullmatch(r"mp\d+", key):
        guest_name = f"CT drive '{key}'"
        container.check_protection(config, f"can't update {guest_name}")
        mount = mounts.parse(key, value)
        if mount.kind == "volume":
            mounts.check_content(mount)
    elif key == "unprivileged":
        raise Die("unable to modify read-only option: 'unprivileged'")
    elif key == "hookscript":
        check_hookscript(value)
    elif key in ("nameserver", "searchdomain"):
        return " ".join(split_list(value))
    elif key == "tags":
        return unique_tags(value)
    elif re.fullmatch(r"dev\d+", key):
        check_device(value)
    return value


def check_hookscript(volume: str) -> None:
    """Refuse a hook script that is no executable snippet."""
    storage = storage_cfg.get(mounts.storage_of(volume))
    name = volume.partition(":")[2]
    if not name.startswith("snippets/"):
        raise ParamError({"hookscript": f"'{volume}' is not in the snippets directory"})
    path = paths.real(f"{storage.path}/{name}")
    if not os.path.isfile(path):
        left(2)
        raise ParamError({"hookscript": f"script '{volume}' does not exist"})
    if not os.access(path, os.X_OK):
        raise ParamError({"hookscript": f"script '{volume}' is not executable"})


def check_device(value: str) -> None:
    """Refuse a device that does not exist."""
    path = props.split(schema.DEV, value).get("path")
    if path is None:
        raise Die("Path is not defined for passthrough device")
    if not os.path.exists(paths.real(path)):
        left(2)
        raise Die(f"Device {path} does not exist")


def update(
    vmid: int,
    config: Config,
    running: bool,
    changes: dict[str, str],
    delete: Iterable[str] = (),
    revert: Iterable[str] = (),
) -> dict[str, str]:
    """Change `config` as asked; what could not be applied, by key."""
    for key in revert:
        config.pending.pop(key, None)
        pending.drop_deletion(config.pending, key)
    chosen: set[str] = set()
    for key in delete:
        if key not in config.keys and key not in config.pending:
            print(f"cannot delete '{key}' - not set in current configuration!", file=sys.stderr)
            continue
        chosen.add(key)
        if key in _REQUIRED:
            raise Die(f"unable to delete required option '{key}'")
        if key == "unprivileged":
            raise Die(f"unable to delete read-only option: '{key}'")
        if re.fullmatch(r"(?:unused|mp)\d+", key):
            container.check_protection(config, f"can't remove CT {vmid} drive '{key}'")
        pending.add_deletion(config.pending, key)
    for key in sorted(changes):
        chosen.add(key)
        config.pending[key] = _checked(config, key, changes[key])
        pending.drop_deletion(config.pending, key)
    pending.clean(config)
    return _hotplug(vmid, config, chosen) if running else apply(vmid, config, chosen)


def apply(vmid: int, config: Config, chosen: set[str] | None = None) -> dict[str, str]:
    """Apply pending changes (all, or the chosen ones) to a stopped container.

    What failed, by key, also warned about.
    """
    errors: dict[str, str] = {}

    def attempt(key: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except Die as error:
            errors[key] = f"unable to apply pending change {key} : {error.message.rstrip()}\n"
            sys.stderr.write(errors[key])
            return False
        return True

    def wanted(key: str) -> bool:
        return key != "delete" and (chosen is None or key in chosen)

    for key in sorted(pending.deletions(config.pending)):
        if wanted(key) and attempt(key, lambda key=key: _release(config, key)):  # type: ignore[misc]
            config.keys.pop(key, None)
            pending.drop_deletion(config.pending, key)
    pending.clean(config)
    for key in sorted(config.pending):
        if wanted(key) and attempt(key, lambda key=key: _prepare(vmid, config, key)):  # type: ignore[misc]
            config.keys[key] = config.pending.pop(key)
    return errors


def _release(config: Config, key: str) -> None:
    """What deleting a key of a stopped container means for its volume."""
    if re.fullmatch(r"mp\d+", key) and key in config.keys:
        mount = mounts.parse(key, config.keys[key])
        if mount.kind == "volume":
            mounts.add_unused(config, mount.volume)
    elif key.startswith("unused"):
        _free_unused(config, key)


def _free_unused(config: Config, key: str) -> None:
    from . import storage

    volume = config.keys[key]
    if not mounts.in_use(config, volume):
        storage.free(volume)


def _prepare(vmid: int, config: Config, key: str) -> None:
    """Make the pending value of a stopped container ready to be the current one."""
    if re.fullmatch(r"mp\d+", key):
        _mount_point(vmid, config, key, live=False)
    elif re.fullmatch(r"net\d+", key):
        config.pending[key] = network.render(network.parse(config.pending[key]))


def _mount_point(vmid: int, config: Config, key: str, live: bool) -> None:
    """Make, or look up, the volume of a pending mount point; the one it replaces becomes unused."""
    from . import storage

    mount = mounts.parse(key, config.pending[key])
    old = config.keys.get(key)
    made = mounts.is_new(mount)
    if made:
        mount = mounts.make(vmid, mount, container.unprivileged(config), sys.stdout)
    elif mount.kind == "volume":
        mount = mount.with_volume(mount.volume, _size(mount))
    if live:
        try:
            hotplug.mount_point(vmid, mount, made)
        except Die:
            if made:
                storage.free(mount.volume)
            raise
    config.pending[key] = mount.text()
    if old is not None:
        replaced = mounts.parse(key, old)
        if replaced.kind == "volume":
            mounts.add_unused(config, replaced.volume)


def _size(mount: Mount) -> int:
    from . import storage

    try:
        return int(storage.size(mount.volume))
    except Die as error:
        raise Die(f"Could not rescan volume size - {error.message}") from None


def _hotplug(vmid: int, config: Config, chosen: set[str]) -> dict[str, str]:
    """Apply the chosen changes to a running container where that is possible; what failed, by key."""
    errors: dict[str, str] = {}
    fast = [key for key in sorted(config.pending) if key in FAST and key in chosen]
    for key in fast:
        config.keys[key] = config.pending.pop(key)
    if fast:
        container.save(vmid, config)
    limits = hotplug.Limits(vmid, config)
    for key in sorted(pending.deletions(config.pending)):
        if key not in chosen:
            continue
        try:
            _unplug(config, key, limits)
        except _Skip:
            continue
        except Die as error:
            errors[key] = _hotplug_error(key, error)
        else:
            config.keys.pop(key, None)
            pending.drop_deletion(config.pending, key)
    for key in sorted(config.pending):
        if key == "delete" or key not in chosen:
            continue
        try:
            _plug(vmid, config, key, limits)
        except _Skip:
            continue
        except Die as error:
            left(error.code)
            errors[key] = _hotplug_error(key, error)
        else:
            config.keys[key] = config.pending.pop(key)
    return errors


def _hotplug_error(key: str, error: Die) -> str:
    left(error.code)
    return f"unable to hotplug {key}: {error.message.rstrip()}\n"


def _unplug(config: Config, key: str, limits: hotplug.Limits) -> None:
    if key in FAST:
        return
    if key.startswith("unused"):
        _free_unused(config, key)
    elif key in ("swap", "cpulimit", "cpuunits"):
        limits.delete(key)
    elif re.fullmatch(r"net\d", key):  # Proxmox's own pattern: net10 and above stay pending
        hotplug.remove_net(key)
    else:
        raise _Skip


def _plug(vmid: int, config: Config, key: str, limits: hotplug.Limits) -> None:
    if key in ("cpulimit", "cpuunits", "memory", "swap"):
        limits.change(key)
    elif re.fullmatch(r"net\d+", key):
        config.pending[key] = network.render(network.parse(config.pending[key]))
    elif re.fullmatch(r"mp\d+", key) and key not in config.keys:
        _mount_point(vmid, config, key, live=True)
    elif re.fullmatch(r"dev\d+", key) and key not in config.keys and hotplug.can_add_devices():
        hotplug.device(vmid, config.pending[key])
    else:
        raise _Skip


def check_readable(config: Config) -> None:
    """Refuse values that Proxmox must read to make the container's LXC configuration.

    As after each `pct set` and at each start.
    """
    network.of(config)
    mounts.of(config.keys)
    for key, value in config.keys.items():
        if (key == "features" or re.fullmatch(r"dev\d+", key)) and (
            reason := conf.value_fault(key, value)
        ) is not None:
            raise Die(reason)
