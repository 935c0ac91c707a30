"""The volumes of a container: what rootfs, mpN and unusedN mean, and making new ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from . import conf, props, schema, storage_cfg
from .conf import Config, Keys, Section
from .errors import Die
from .props import FormatError
from .sizes import format_size
from .storage_base import Writer

NEW_DISK = re.compile(r"([^:\s]+):(\d+(?:\.\d+)?)")
_GIB = 1024**3


@dataclass(frozen=True)
class Mount:
    """A mount point: its key, the kind (volume, bind or device), its properties."""

    key: str
    kind: str
    props: dict[str, str]

    @property
    def volume(self) -> str:
        """The volume id or path."""
        return self.props["volume"]

    @property
    def target(self) -> str:
        """Where it is mounted in the container."""
        return "/" if self.key == "rootfs" else self.props["mp"]

    def text(self) -> str:
        """The property string as Proxmox prints it."""
        return props.render(schema_of(self.key), self.props)

    def with_volume(self, volume: str, size: int) -> Mount:
        """The same mount point with another volume of this many bytes."""
        return replace(self, props={**self.props, "volume": volume, "size": format_size(size)})


def schema_of(key: str) -> props.Schema:
    """The schema of a volume key."""
    found = schema.property_schema(key)
    assert found is not None
    return found


def parse(key: str, value: str) -> Mount:
    """The mount point that a key's value describes."""
    try:
        found = props.parse(schema_of(key), value)
    except FormatError as error:
        raise Die(error.text) from None
    volume = found["volume"]
    kind = "device" if volume.startswith("/dev/") else "bind" if volume.startswith("/") else "volume"
    return Mount(key, kind, found)


def of(keys: Keys) -> list[Mount]:
    """The root file system first, then mp0, mp1 ...; not the unused ones."""
    return [parse(key, keys[key]) for key in schema.VOLUME_KEYS if key in keys]


def storage_of(volume: str) -> str:
    """The storage id of a volume id."""
    storage, colon, name = volume.partition(":")
    if not colon or not name or not re.fullmatch(r"(?i)[a-z][a-z0-9\-_.]*[a-z0-9]", storage):
        raise Die(f"unable to parse volume ID '{volume}'")
    return storage


def is_new(mount: Mount) -> bool:
    """Whether the volume is still to be made (STORAGE:SIZE)."""
    return mount.kind == "volume" and NEW_DISK.fullmatch(mount.volume) is not None


def make(vmid: int, mount: Mount, unprivileged: bool, out: Writer) -> Mount:
    """Allocate the volume of a STORAGE:SIZE mount point; prints what mkfs prints."""
    from . import costs, owners, storage

    match = NEW_DISK.fullmatch(mount.volume)
    assert match is not None
    size = int(float(match[2]) * 1024 * 1024) * 1024
    costs.spend("mkfs")
    volume = storage.alloc(match[1], vmid, size, out)
    if unprivileged:
        owners.chown(storage.root_dir(volume), 100000, 100000)
    return mount.with_volume(volume, size)


def check_content(mount: Mount) -> None:
    """Refuse a storage that does not exist or is not for containers."""
    name = storage_of(mount.volume)
    if "rootdir" not in storage_cfg.get(name).content:
        raise Die(f"storage '{name}' does not allow content type 'rootdir' (Container)")


def in_use(config: Config, volume: str) -> bool:
    """Whether a snapshot or a pending change still names the volume."""
    sections = [config.pending, *(snapshot.keys for snapshot in config.snapshots.values())]
    return any(volume in conf.volumes(keys) for keys in sections)


def add_unused(config: Section, volume: str) -> None:
    """Keep a volume as unusedN, with the lowest free number."""
    if volume in (value for key, value in config.keys.items() if key.startswith("unused")):
        return
    for key in schema.UNUSED_KEYS:
        if key not in config.keys:
            config.keys[key] = volume
            return
    raise Die("Too many unused volumes - please delete them first.")
