"""What Proxmox hands on to LXC: raw `lxc.*` lines, init's command and environment (pve-facts 1.3, 1.6)."""

from __future__ import annotations

import re
from typing import Annotated

from fleet.inventory.document import Map
from fleet.inventory.shape.fields import Reads, text


def _raw_lines(value: object) -> tuple[str, ...]:
    """`lxc.key: value` lines, from a list or a block of text, as Proxmox writes them."""
    if isinstance(value, Map):
        lines = [f"{key}: {text(each)}" for key, each in value.items()]
    elif isinstance(value, list):
        lines = [text(line) if isinstance(line, str) else _single(line) for line in value]
    else:
        lines = text(value).splitlines()
    return tuple(_raw_line(line.strip()) for line in lines if line.strip())


def _single(line: object) -> str:
    if isinstance(line, Map) and len(line) == 1:
        return f"{next(iter(line))}: {text(next(iter(line.values())))}"
    raise ValueError("must be a list of lines like 'lxc.mount.entry: /srv srv none bind'")


#: Keys of LXC that Proxmox passes on (pve-facts 1.6, PVE/LXC/Config.pm); it warns of any other, and drops it.
_RAW_KEYS = re.compile(
    r"lxc\.(?:apparmor\.(?:profile|allow_incomplete|allow_nesting|raw)|selinux\.context|include|arch|uts\.name"
    r"|signal\.(?:halt|reboot|stop)|init\.(?:cmd|cwd|uid|gid|groups)|pty\.max|console\.(?:logfile|path)|tty\.max"
    r"|devtty\.dir|hook\.(?:autodev|pre-start|pre-mount|mount|start|stop|post-stop|clone|destroy|version)|autodev|kmsg"
    r"|mount\.(?:fstab|entry|auto)|rootfs\.mount|cap\.(?:drop|keep)|seccomp\.(?:profile|notify\.proxy|notify\.cookie)"
    r"|idmap|log\.(?:level|file)|start\.(?:auto|delay|order)|group|environment(?:\.hooks)?"
    r"|sysctl\.(?:fs\.mqueue|kernel\.(?:msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced))"
    r"|cgroup2\.[a-z0-9_.-]+|prlimit\.[a-z0-9_.-]+|net\.[a-z0-9_.-]+)"
)


def _raw_line(line: str) -> str:
    match = re.fullmatch(r"(lxc\.[a-zA-Z0-9_.-]+)\s*[:=]\s*(\S.*)?", line)
    if not match:
        raise ValueError(f"{line!r} is no lxc line; write it like 'lxc.mount.entry: /srv srv none bind'")
    key, value = match[1], (match[2] or "").strip()
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line):
        raise ValueError(f"{key}: a line cannot hold control characters")
    if key in ("lxc.rootfs.path", "lxc.rootfs.options"):
        raise ValueError(f"{key} is Proxmox's own; it refuses this line (use rootfs)")
    if key == "lxc.environment.runtime":
        raise ValueError(f"{key} is what Proxmox writes for the key env; write env: NAME=VALUE")
    if key.startswith("lxc.cgroup."):
        raise ValueError(
            f"{key} is cgroup v1, which LXC ignores; write lxc.cgroup2.{key.removeprefix('lxc.cgroup.')}"
        )
    if not _RAW_KEYS.fullmatch(key):
        raise ValueError(f"{key} is no key that Proxmox passes on to LXC")
    return f"{key}: {value}"


def _env(value: object) -> str:
    """NAME=VALUE of a text, or of a mapping with one entry."""
    entries = (
        [f"{key}={text(each)}" for key, each in value.items()]
        if isinstance(value, Map)
        else text(value).split("\0")
    )
    for entry in entries:
        if not re.fullmatch(r"[A-Za-z0-9_]+=[^\x00-\x08\x0a-\x1f\x7f]*", entry):
            raise ValueError(f"{entry!r} is no variable; write NAME=VALUE, or a mapping")
    if len(entries) != 1:
        raise ValueError(
            "pct can set one variable only; write the others under raw: 'lxc.environment: NAME=VALUE'"
        )
    if entries[0] != entries[0].strip():
        raise ValueError(f"{entries[0]!r} begins or ends in a blank, which Proxmox loses; drop it")
    return entries[0]


def _entrypoint(value: object) -> str:
    found = text(value).strip()  # Proxmox loses blanks at the ends of a value
    if not re.fullmatch(r"[^\x00-\x08\x0a-\x1f\x7f]+", found):
        raise ValueError("must be one line without control characters")
    return found


Raw = Annotated[
    tuple[str, ...], Reads(_raw_lines, {"type": ["string", "array"], "items": {"type": "string"}})
]
Env = Annotated[str, Reads(_env, {"type": ["string", "object"], "additionalProperties": {"type": "string"}})]
Entrypoint = Annotated[str, Reads(_entrypoint, {"type": "string"})]
