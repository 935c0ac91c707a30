"""What `pct create` does to a fresh root file system: finding out what it is, SSH host keys, warnings."""

from __future__ import annotations

import base64
import glob
import os
import re
import secrets

from . import costs, machine, paths
from .conf import Config
from .errors import Die
from .tasks import Out

_FAMILIES = {
    **{
        name: name for name in ("debian", "devuan", "ubuntu", "centos", "fedora", "alpine", "gentoo", "nixos")
    },
    **dict.fromkeys(("rhel", "almalinux", "rocky", "ol"), "centos"),
    **dict.fromkeys(("opensuse-leap", "opensuse-tumbleweed"), "opensuse"),
    **dict.fromkeys(("arch", "archarm"), "archlinux"),
}
_HOST_KEYS = ("rsa", "ecdsa", "ed25519")
_NEEDS_NESTING = 257  # the first systemd that does not boot well without


def extract(archive: str, root: str, out: Out) -> int:
    """Unpack a template; prints tar's total, and gives it.

    What the real template holds, which the lab's small one stands for.
    """
    from . import runtime

    try:
        size = max(runtime.unpack_template(paths.real(archive), root), _unpacked(archive))
    except (OSError, ValueError) as error:
        raise Die(f"unable to extract '{archive}': {error}") from None
    out.write(f"Total bytes read: {size} ({-(-size // 1024**2)}MiB, {_rate()}MiB/s)\n")
    return size


def _unpacked(archive: str) -> int:
    """Bytes in the real template.

    As the machine says, else as its compressed size lets one guess (tar pads to 10 KiB).
    """
    for template in machine.facts().get("templates", {}).get("present", ()):
        if template["name"] == os.path.basename(archive) and "unpacked" in template:
            return int(template["unpacked"])
    return -(-os.path.getsize(paths.real(archive)) * 3 // 10240) * 10240


def _rate() -> int:
    return 200 + secrets.randbelow(150)


def release(root: str) -> dict[str, str]:
    """The fields of /etc/os-release; {} without one."""
    try:
        with open(f"{root}/etc/os-release", encoding="utf-8") as file:
            return {
                key: value.strip("\"'")
                for key, value in re.findall(r"^(\w+)=(.*)$", file.read(), re.MULTILINE)
            }
    except FileNotFoundError:
        return {}


def detect(root: str, config: Config, out: Out) -> None:
    """Architecture and system, written into the configuration where nobody gave them."""
    out.write("Detected container architecture: amd64\n")
    config.keys.setdefault("arch", "amd64")
    found = _FAMILIES.get(release(root).get("ID", ""), "unmanaged")
    given = config.keys.setdefault("ostype", found)
    if given not in (found, "unmanaged"):
        out.write(f"got unexpected ostype ({given} != {found})\n")


def first_steps(root: str, config: Config, keys: str | None, out: Out) -> None:
    """Host name, SSH keys, and the warning about systemd and nesting."""
    if config.keys["ostype"] == "unmanaged":
        return
    name = config.keys.get("hostname", "localhost")
    if keys is not None:
        _write(f"{root}/root/.ssh/authorized_keys", keys)
    if os.path.isdir(f"{root}/etc/ssh"):
        kinds = list(_HOST_KEYS)
        secrets.SystemRandom().shuffle(kinds)
        for kind in kinds:
            _make_host_key(root, kind, name, out)
    version = _systemd_version(root)
    if (
        machine.pve_major() >= 9
        and version >= _NEEDS_NESTING
        and "nesting=1" not in config.keys.get("features", "").split(",")
    ):
        out.warn(f"Systemd {version} detected. You may need to enable nesting.")


def _make_host_key(root: str, kind: str, host: str, out: Out) -> None:
    out.write(f"Creating SSH host key 'ssh_host_{kind}_key' - this may take some time ...\n")
    costs.spend("host key")
    print_of_key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    _write(f"{root}/etc/ssh/ssh_host_{kind}_key", f"the {kind} key of {host}\n")
    _write(f"{root}/etc/ssh/ssh_host_{kind}_key.pub", f"ssh-{kind} SHA256:{print_of_key} root@{host}\n")
    out.write(f"done: SHA256:{print_of_key} root@{host}\n")


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _systemd_version(root: str) -> int:
    """The version that the name of systemd's shared library tells; 0 without systemd."""
    names = [
        name
        for place in ("usr/lib/systemd", "usr/lib/*/systemd")
        for name in glob.glob(f"{root}/{place}/libsystemd-core-*")
    ]
    found = [int(match[1]) for name in names if (match := re.search(r"core-(\d+)", name))]
    return max(found, default=0)
