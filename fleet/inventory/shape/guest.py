"""What a layer may say of a container: `defaults`, a profile, or the container itself."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from fleet.inventory.document import Map
from fleet.inventory.shape.backup import GuestBackup
from fleet.inventory.shape.fields import (
    Bool,
    Description,
    DnsName,
    DomainList,
    GuestName,
    IpList,
    Mib,
    Names,
    SwapMib,
    Tags,
    Text,
    Vmid,
    Volid,
    decimal,
    kind_of,
    text,
    whole,
)
from fleet.inventory.shape.guest_sections import GuestFirewall, GuestMonitor, Service
from fleet.inventory.shape.host_fields import PublicKey, Zone
from fleet.inventory.shape.lxc_fields import Entrypoint, Env, Raw
from fleet.inventory.shape.model import Section
from fleet.inventory.shape.props import Dev, Features, MountPoint, Net, Rootfs, Startup

#: Families of numbered keys: name, type, highest number. In `Layer` each is one field, `net[n]`.
FAMILIES: dict[str, tuple[type, int]] = {"net": (Net, 31), "mp": (MountPoint, 255), "dev": (Dev, 255)}

#: Lines of `pct config` that are no settings, and what to do with them.
NO_SETTINGS = {
    "lock": "is set while Proxmox works on the guest, which fleet then leaves alone; leave this line out",
    "snaptime": "is of a snapshot's section, not of the guest; leave this line out",
    "password": "is no setting of fleet; give the guest ssh-public-keys",
}

#: Lines of `pct config` that are Proxmox's own: read over, so that a configuration pastes in whole.
PROXMOX_OWN = re.compile(r"parent|digest|unused[0-9]+")

_NUMBERED = re.compile(r"(net|mp|dev)([0-9]+)")


def _mounts(value: object) -> dict[str, object]:
    """What is said of each shared mount: {data: {}, docker: {size: 24G}}; None takes one away."""
    if isinstance(value, str):
        value = re.split(r"[\s,;]+", value)
    if isinstance(value, Map):
        entries: list[tuple[str, object]] = [
            (name, {} if own is None else own) for name, own in value.items()
        ]
    elif isinstance(value, list):
        entries = []
        for each in value:
            entries.extend(each.items() if isinstance(each, Map) else [(text(each), {})])
    else:
        raise ValueError("must be a list of names of `mounts`: [data, docker]")
    made: dict[str, object] = {}
    for name, own in entries:
        if name in made:
            raise ValueError(f"{name!r} is given twice")
        made[name] = own
    return made


Mounts = Annotated[
    dict[str, MountPoint | None],
    BeforeValidator(_mounts),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": ["string", "object"]}}),
]


class Layer(Section):
    """Settings of a container in Proxmox's own names: of defaults, of a profile, of the container itself."""

    profiles: Names | None = Field(None, description="Names of profiles, merged in this order.")
    template: Text | None = Field(
        None, description="What it is created from: a key of storage.templates, or a volume id."
    )
    category: Text | None = Field(None, description="A group for --limit category:NAME and the figures.")
    description: Description | None = Field(None, description="Notes, as the web interface shows them.")
    tags: Tags | None = Field(
        None, description="Tags: a list, or `a;b`. fleet's own tag, `fleet`, is always there."
    )
    started: Bool | None = Field(None, description="Whether it is to be running (default yes).")
    onboot: Bool | None = Field(None, description="Whether it starts with the node (default no).")
    startup: Startup | None = Field(None, description="Place in the start-up order.")
    depends_on: Names | None = Field(
        None, description="Guests that have to be up before it; checked against startup."
    )
    protection: Bool | None = Field(
        None,
        description="Whether Proxmox refuses to remove it or its volumes; not given: as it is.",
    )
    unprivileged: Bool | None = Field(
        None, description="Whether root inside is nobody outside (default yes). Fixed at creation."
    )

    cores: Annotated[int, whole(1, 8192)] | None = Field(None, description="CPU cores (default: all).")
    cpulimit: Annotated[str, decimal(0, 8192)] | None = Field(
        None, description="CPU time in cores; 0 is no limit."
    )
    cpuunits: Annotated[int, whole(0, 500000)] | None = Field(
        None, description="CPU weight against other guests (default 100)."
    )
    memory: Mib | None = Field(None, description="Memory in MiB (default 512).")
    swap: SwapMib | None = Field(None, description="Swap in MiB (default 512).")

    rootfs: Rootfs | None = Field(None, description="Volume of the root file system: `guests:8`. Required.")
    mounts: Mounts | None = Field(
        None,
        description="Names of `mounts`, with own properties where wanted: `[data, {docker: {size: 24G}}]`.",
    )
    mp: dict[str, MountPoint | None] = Field(
        default_factory=dict, alias="mp[n]", description="Mount points `mp0` to `mp255` of this guest alone."
    )
    net: dict[str, Net | None] = Field(
        default_factory=dict, alias="net[n]", description="Network interfaces `net0` to `net31`."
    )
    dev: dict[str, Dev | None] = Field(
        default_factory=dict, alias="dev[n]", description="Devices of the host, `dev0` to `dev255`."
    )
    features: Features | None = Field(None, description="What it may do beyond the usual.")
    raw: Raw | None = Field(None, description="`lxc.*` lines, for what Proxmox has no key for.")

    nameserver: IpList | None = Field(None, description="DNS servers (default: the node's).")
    searchdomain: DomainList | None = Field(None, description="DNS search domains (default: the node's).")
    timezone: Zone | None = Field(None, description="Time zone inside, or `host`.")
    hookscript: Volid | None = Field(
        None, description="Script of content `snippets`: `local:snippets/hook.sh`."
    )
    arch: Literal["amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"] | None = Field(
        None, description="Architecture."
    )
    ostype: (
        Literal[
            "debian",
            "devuan",
            "ubuntu",
            "centos",
            "fedora",
            "opensuse",
            "archlinux",
            "alpine",
            "gentoo",
            "nixos",
            "unmanaged",
        ]
        | None
    ) = Field(None, description="Kind of system (default: as the template says).")
    console: Bool | None = Field(None, description="Whether it has a console (default yes).")
    tty: Annotated[int, whole(0, 6)] | None = Field(None, description="Number of terminals (default 2).")
    cmode: Literal["tty", "console", "shell"] | None = Field(
        None, description="What the console attaches to."
    )
    entrypoint: Entrypoint | None = Field(None, description="Command run as init (Proxmox VE 9.1).")
    env: Env | None = Field(
        None, description="One variable of init's environment, NAME=VALUE (Proxmox VE 9.1)."
    )
    debug: Bool | None = Field(None, description="Verbose log of the start.")
    ssh_public_keys: tuple[PublicKey, ...] | None = Field(
        None, alias="ssh-public-keys", description="Keys that may log in as root, put in at creation."
    )

    firewall: GuestFirewall | None = Field(None, description="Open ports.")
    service: Service | None = Field(None, description="The service it runs.")
    gpu: Bool | None = Field(
        None, description="Whether it uses the node's GPU; its devices are dev0, dev1 ..."
    )
    backup: GuestBackup | None = Field(None, description="How it is backed up.")
    monitor: GuestMonitor | None = Field(None, description="How it is watched.")

    @model_validator(mode="before")
    @classmethod
    def _gather_numbered(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        made: dict[str, Any] = {}
        families: dict[str, dict[str, Any]] = {}
        for key, each in value.items():
            match = _NUMBERED.fullmatch(key)
            if (
                match
                and (len(match[2]) == 1 or match[2][0] != "0")
                and int(match[2]) <= FAMILIES[match[1]][1]
            ):
                families.setdefault(f"{match[1]}[n]", {})[key] = each
            elif not PROXMOX_OWN.fullmatch(key):
                made[key] = each
        return {**made, **families}

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        """In a layer null is said on purpose: it takes an inherited value away."""
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        raise PydanticCustomError("fleet", "must be a mapping of keys, not {what}", {"what": kind_of(value)})

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The numbered keys as patterns."""
        schema = handler.resolve_ref_schema(handler(core))
        properties = schema["properties"]
        patterns = {}
        for family, (_, highest) in FAMILIES.items():
            entry = properties.pop(f"{family}[n]")
            digits = "[12]?[0-9]|3[01]" if highest == 31 else "[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]"
            patterns[f"^{family}({digits})$"] = {
                **entry["additionalProperties"],
                "description": entry["description"],
            }
        patterns[f"^({PROXMOX_OWN.pattern})$"] = {"description": "Proxmox's own; fleet does not manage it."}
        schema["patternProperties"] = patterns
        return schema

    def given(self) -> dict[str, Any]:
        """What this layer says, by Proxmox's names; None for what it takes away."""
        fields = type(self).model_fields
        made: dict[str, Any] = {}
        for name in self.model_fields_set:
            if name in FAMILIES:
                made.update(getattr(self, name))
            else:
                made[fields[name].alias or name] = getattr(self, name)
        return made


class ContainerLayer(Layer):
    """A container: what only it can say, and everything that `defaults` and `profiles` may say too."""

    vmid: Vmid = Field(description="Its number on the node, 100 or more. Never changed.")
    hostname: DnsName | None = Field(None, description="Its host name (default: its key in hosts.yml).")


Containers = dict[GuestName, ContainerLayer]
