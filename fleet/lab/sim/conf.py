"""The configuration of a container.

/etc/pve/nodes/NODE/lxc/VMID.conf, read and written as Proxmox does (pve-facts 1.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import props, schema

_SECTION = re.compile(r"\[([a-z][a-z0-9_\-]+)\]\s*", re.IGNORECASE)
_RAW = re.compile(r"(lxc\.[a-z0-9_\-.]+)(?::|\s*=)\s*(.*?)\s*")
_KEY = re.compile(r"([a-z][a-z_]*\d*):\s*(.+?)\s*")
_PLAIN = re.compile(rb"[\x20-\x24\x26-\x39\x3b-\x7e]")
_RAW_PREFIXES = tuple(
    f"lxc.{name}."
    for name in (
        "apparmor cap cgroup cgroup2 console hook init log mount net notify prlimit pty seccomp selinux "
        "signal start sysctl"
    ).split()
)
_RAW_KEYS = frozenset(
    f"lxc.{name}"
    for name in (
        "include arch uts.name tty.max tty.dir devtty.dir autodev kmsg rootfs.mount idmap group environment "
        "environment.hooks monitor.unshare ephemeral proc namespace.clone namespace.keep"
    ).split()
)
_RUNTIME_ENVIRONMENT = "lxc.environment.runtime"

Warn = Callable[[str], None]
Keys = dict[str, str]


class Section:
    """One section: keys with their values (the description decoded, with its newlines).

    Raw lxc.* lines in order.
    """

    def __init__(self, keys: Keys | None = None, lxc: list[tuple[str, str]] | None = None) -> None:
        self.keys: Keys = {} if keys is None else keys
        self.lxc: list[tuple[str, str]] = [] if lxc is None else lxc

    def copy(self) -> Section:
        """A section of its own with the same content."""
        return Section(dict(self.keys), list(self.lxc))


class Config(Section):
    """A whole configuration file. `pending` may have the key `delete`; `raw` is the file as read."""

    def __init__(
        self, keys: Keys | None = None, lxc: list[tuple[str, str]] | None = None, raw: bytes = b""
    ) -> None:
        super().__init__(keys, lxc)
        self.pending: Keys = {}
        self.snapshots: dict[str, Section] = {}
        self.raw = raw

    @property
    def digest(self) -> str:
        """SHA-1 of the file, which Proxmox takes as its version."""
        from hashlib import sha1

        return sha1(self.raw, usedforsecurity=False).hexdigest()

    def replace(self, other: Section) -> None:
        """Take over the keys and raw lines of a snapshot."""
        self.keys, self.lxc = dict(other.keys), list(other.lxc)


def encode_text(text: str) -> str:
    """Text as it stands in a comment line: every byte but plain ones as %XX of UTF-8."""
    return "".join(
        chr(byte) if _PLAIN.match(bytes((byte,))) else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def decode_text(text: str) -> str:
    """The text that encode_text encoded."""
    raw = re.sub(
        rb"%([0-9a-fA-F]{2})",
        lambda match: bytes((int(match[1], 16),)),
        text.encode("utf-8", "surrogateescape"),
    )
    return raw.decode("utf-8", "replace")


def parse(raw: bytes, vmid: int, warn: Warn) -> Config:
    """The configuration in a file; what cannot be read is warned about and left out."""
    config = Config(raw=raw)
    section: Section = config
    description = ""

    def close() -> None:
        if description:
            section.keys["description"] = description

    for line in raw.decode("utf-8", "surrogateescape").split("\n"):
        if not line.strip():
            continue
        if re.fullmatch(r"\[pve:pending\]\s*", line, re.IGNORECASE):
            close()
            description, section = "", Section()
            config.pending = section.keys
        elif match := _SECTION.fullmatch(line):
            close()
            description, section = "", Section()
            config.snapshots[match[1]] = section
        elif line.startswith("#"):
            description += decode_text(line[1:]) + "\n"
        elif match := _RAW.fullmatch(line):
            _add_raw(section, match[1], match[2], f"vm {vmid} - ", warn)
        elif match := re.fullmatch(r"description:\s*(.*\S)\s*", line):
            description += decode_text(match[1])
        elif match := re.search(r"snapstate:\s*(prepare|delete)\s*$", line):
            section.keys["snapstate"] = match[1]
        elif match := re.fullmatch(r"delete:\s*(.*\S)\s*", line):
            if section.keys is config.pending:
                section.keys["delete"] = match[1]
            else:
                warn(f"vm {vmid} - property 'delete' is only allowed in [pve:pending]")
        elif match := _KEY.fullmatch(line):
            _add_key(section, match[1], match[2], f"vm {vmid} - ", warn)
        else:
            warn(f"vm {vmid} - unable to parse config: {line}")
    close()
    config.keys.pop("snapstate", None)
    return config


def _add_raw(section: Section, key: str, value: str, prefix: str, warn: Warn) -> None:
    if key == _RUNTIME_ENVIRONMENT:
        env = section.keys.get("env")
        section.keys["env"] = value if env is None else f"{env}\0{value}"
    elif key in ("lxc.rootfs.path", "lxc.rootfs", "lxc.rootfs.options"):
        warn(f"{prefix}{key}: lxc.rootfs is auto generated from rootfs")
    elif key in _RAW_KEYS or key.startswith(_RAW_PREFIXES):
        if key.startswith("lxc.cgroup."):
            warn(f"{prefix}{key}: cgroup v1 keys are ignored")
        section.lxc.append((key, value))
    else:
        warn(f"{prefix}unable to parse config: {key}: {value}")


def _add_key(section: Section, key: str, value: str, prefix: str, warn: Warn) -> None:
    reason = value_fault(key, value)
    if reason is not None:
        warn(f"{prefix}unable to parse value of '{key}' - {reason.rstrip()}")
    if schema.is_config_key(key):
        section.keys[key] = value


_TYPES = {
    **dict.fromkeys(("console", "debug", "onboot", "protection", "template", "unprivileged"), "boolean"),
    **dict.fromkeys(("cores", "cpuunits", "memory", "swap", "tty", "snaptime"), "integer"),
    "cpulimit": "number",
}


def value_fault(key: str, value: str) -> str | None:
    """What is wrong with the value of a key in the file, or None."""
    if not schema.is_config_key(key):
        return f"unknown setting '{key}'"
    kind = _TYPES.get(key)
    if kind is not None:
        return props.fault(props.Prop(kind), props.boolean(value) or value if kind == "boolean" else value)
    known = schema.known(key)
    if known is None or known.format is None:
        return None
    try:
        known.format(value)
    except props.FormatError as error:
        return error.text
    return None


def render(config: Config) -> bytes:
    """The file's content."""
    in_use = volumes(config.keys)
    main = config.copy()
    for key, value in config.keys.items():
        if key.startswith("unused") and value in in_use:
            del main.keys[key]
    text = _render_section(main)
    if config.pending:
        text += "\n[pve:pending]\n" + _render_section(Section(config.pending))
    for name in sorted(config.snapshots):
        text += f"\n[{name}]\n" + _render_section(config.snapshots[name])
    return text.encode("utf-8", "surrogateescape")


def volumes(keys: Keys) -> set[str]:
    """The volume parts of rootfs and mpN."""
    return {
        props.split(schema.ROOTFS, value).get("volume", "")
        for key, value in keys.items()
        if key == "rootfs" or re.fullmatch(r"mp\d+", key)
    }


def _render_section(section: Section) -> str:
    lines = ["#" + encode_text(line) for line in _description_lines(section.keys.get("description", ""))]
    lines += [
        f"{key}: {section.keys[key]}" for key in sorted(section.keys) if key not in ("description", "env")
    ]
    if "env" in section.keys:
        lines += [f"{_RUNTIME_ENVIRONMENT}: {entry}" for entry in section.keys["env"].split("\0")]
    lines += [f"{key}: {value}" for key, value in section.lxc]
    return "".join(line + "\n" for line in lines)


def _description_lines(text: str) -> list[str]:
    """The lines as Perl's split gives them: empty ones at the end are dropped."""
    stripped = text.rstrip("\n")
    return stripped.split("\n") if stripped else []
