"""Container templates: small archives, real in form (tar in gzip, xz or zstd), as long as the machine says.

The tree in one is what the toolkit and its later domains look at: release files, users and groups with that
distribution's ids, network files, and links to the machine's own programs (a guest sees those under
/run/host, see guest.py).
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from . import packing


@dataclass(frozen=True)
class Distribution:
    """What one family of templates is like; `ids` are the groups with ids of its own."""

    id: str
    name: str
    codename: str
    init: str
    ids: dict[str, int]
    shell: str = "/bin/bash"


_DEBIAN_IDS = {
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "sudo": 27,
    "audio": 29,
    "www-data": 33,
    "video": 44,
    "users": 100,
}
_KNOWN: tuple[tuple[str, Distribution], ...] = (
    (
        "debian-11",
        Distribution("debian", "Debian GNU/Linux", "bullseye", "systemd", {**_DEBIAN_IDS, "render": 106}),
    ),
    (
        "debian-12",
        Distribution("debian", "Debian GNU/Linux", "bookworm", "systemd", {**_DEBIAN_IDS, "render": 104}),
    ),
    (
        "debian-",
        Distribution("debian", "Debian GNU/Linux", "trixie", "systemd", {**_DEBIAN_IDS, "render": 992}),
    ),
    (
        "ubuntu-22",
        Distribution("ubuntu", "Ubuntu", "jammy", "systemd", {**_DEBIAN_IDS, "ssl-cert": 104, "render": 110}),
    ),
    ("ubuntu-24", Distribution("ubuntu", "Ubuntu", "noble", "systemd", {**_DEBIAN_IDS, "render": 993})),
    ("ubuntu-", Distribution("ubuntu", "Ubuntu", "plucky", "systemd", {**_DEBIAN_IDS, "render": 992})),
    (
        "devuan-",
        Distribution("devuan", "Devuan GNU/Linux", "daedalus", "sysvinit", {**_DEBIAN_IDS, "render": 106}),
    ),
    (
        "alpine-",
        Distribution(
            "alpine",
            "Alpine Linux",
            "",
            "openrc",
            {"tty": 5, "video": 27, "www-data": 82, "users": 100},
            "/bin/sh",
        ),
    ),
    (
        "fedora-",
        Distribution("fedora", "Fedora Linux", "", "systemd", {"tty": 5, "video": 39, "render": 105}),
    ),
    ("archlinux", Distribution("arch", "Arch Linux", "", "systemd", {"tty": 5, "video": 985, "render": 989})),
    (
        "opensuse",
        Distribution(
            "opensuse-leap", "openSUSE Leap", "", "systemd", {"tty": 5, "video": 483, "render": 484}
        ),
    ),
    (
        "rockylinux",
        Distribution("rocky", "Rocky Linux", "", "systemd", {"tty": 5, "video": 39, "render": 105}),
    ),
    (
        "almalinux",
        Distribution("almalinux", "AlmaLinux", "", "systemd", {"tty": 5, "video": 39, "render": 105}),
    ),
    (
        "centos",
        Distribution("centos", "CentOS Stream", "", "systemd", {"tty": 5, "video": 39, "render": 105}),
    ),
)

_PROGRAMS = (
    "awk base64 basename bunzip2 bzip2 cat chmod chgrp chown cmp cp cut date dd diff dirname du echo env "
    "expr false find fold getent grep gunzip gzip head hostname id install kill less ln logger ls md5sum "
    "mkdir mkfifo mktemp mount mv nice nohup od paste printf ps pwd readlink realpath rm rmdir sed seq "
    "setsid sh sha256sum sleep sort split stat stty sync tail tar tee test timeout touch tr true truncate "
    "tty umount uname uniq unxz unzip uptime vi watch wc which who xargs xz yes zcat "
).split()
_BASH = ("bash", "curl", "wget", "perl")  # in no Alpine template
_TOOLS = (
    "df",
    "free",
    "halt",
    "hostname",
    "ip",
    "mount",
    "nproc",
    "poweroff",
    "reboot",
    "stat",
    "chown",
    "chgrp",
)  # simulated, see guest_tools.py
_INIT_TOOLS = {
    "systemd": ("systemctl",),
    "openrc": ("rc-service", "rc-status", "rc-update"),
    "sysvinit": ("service",),
}
_PATHS = ("usr/bin", "usr/sbin", "bin", "sbin")
_SYSTEMD = {
    "debian-11": 247,
    "debian-12": 252,
    "debian-13": 257,
    "ubuntu-22": 249,
    "ubuntu-24": 255,
    "ubuntu-25": 257,
    "ubuntu-26": 259,
}


def distribution(template: str) -> Distribution | None:
    """The distribution of a template's file name (debian-13-standard_...), None for one nobody knows."""
    return next((known for prefix, known in _KNOWN if template.startswith(prefix)), None)


def write(path: str, template: str, size: int) -> None:
    """Write the archive for a template name, `size` bytes long (sparse; never shorter than it must be)."""
    raw = archive(template)
    packed = packing.raw_frame(raw) if template.endswith(".zst") else packing.pack(raw, template)
    packing.write(path, packed, size, template)


def unpack(path: str, target: str) -> int:
    """Unpack an archive into a directory; the bytes of its tar stream. OSError, ValueError if it is none."""
    raw = packing.expand(path)
    packing.extract(raw, target)
    return len(raw)


# --- the tree ---


def archive(template: str) -> bytes:
    """The tar archive of a template."""
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content, mode in _entries(template):
            info = tarfile.TarInfo(path)
            info.mode = mode
            info.mtime = int(time.time())
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif content.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:]
                tar.addfile(info)
            else:
                data = content.encode()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


Entry = tuple[str, str | None, int]  # path; text, "->TARGET" or None for a directory; mode


def _entries(template: str) -> Iterator[Entry]:
    distro = distribution(template)
    for path in (
        "boot",
        "dev",
        "etc",
        "etc/network",
        "home",
        "media",
        "mnt",
        "opt",
        "proc",
        "root",
        "run",
        "srv",
        "sys",
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/local",
        "usr/local/bin",
        "usr/local/sbin",
        "usr/sbin",
        "usr/share",
        "var",
        "var/lib",
        "var/log",
    ):
        yield path, None, 0o700 if path == "root" else 0o755
    yield "tmp", None, 0o1777
    yield "var/tmp", None, 0o1777
    yield from _links()
    if distro is not None:
        yield from _programs(distro)
        yield from _etc(template, distro)


def _links() -> Iterator[Entry]:
    """The links that make the machine's programs run: their loader and libraries."""
    yield "bin", "->usr/bin", 0o777
    yield "sbin", "->usr/sbin", 0o777
    for name in ("lib", "lib64", "lib32", "libx32"):
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            yield name, f"->/run/host/{name}", 0o777
        elif os.path.islink(f"/{name}"):
            yield name, f"->/run/host/usr/{name}", 0o777


def _programs(distro: Distribution) -> Iterator[Entry]:
    tools = (*_TOOLS, *_INIT_TOOLS[distro.init])
    for name in (*_PROGRAMS, *(_BASH if distro.id != "alpine" else ())):
        if name not in tools and (found := _machine_program(name)):
            yield f"usr/bin/{name}", f"->/run/host{found}", 0o777
    for name in tools:
        directory = (
            "usr/sbin"
            if name in ("halt", "ip", "poweroff", "reboot", "rc-service", "rc-update", "service")
            else "usr/bin"
        )
        yield f"{directory}/{name}", "->/run/host/guest-tool", 0o777


def _machine_program(name: str) -> str | None:
    """Where the machine has a program, links followed; None if it has it not."""
    for directory in _PATHS:
        path = f"/{directory}/{name}"
        if os.path.exists(path):
            real = os.path.realpath(path)
            return (
                real
                if real.split("/")[1] in ("usr", "bin", "sbin", "lib") and not real.startswith("/usr/local/")
                else None
            )
    return None


def _etc(template: str, distro: Distribution) -> Iterator[Entry]:
    version = template.partition("_")[0].partition("-")[2].partition("-")[0]
    if distro.id == "debian":
        build = template.split("_")[1].split("-", maxsplit=1)[0] if "_" in template else version
        yield "etc/debian_version", f"{build}\n", 0o644
    elif distro.id == "alpine":
        version = f"{version}.0"
        yield "etc/alpine-release", f"{version}\n", 0o644
    pretty = (
        f"{distro.name} {version} ({distro.codename})"
        if distro.codename
        else f"{distro.name} {version}".strip()
    )
    yield (
        "etc/os-release",
        (
            f'PRETTY_NAME="{pretty}"\nNAME="{distro.name}"\nVERSION_ID="{version}"\nID={distro.id}\n'
            + (f"VERSION_CODENAME={distro.codename}\n" if distro.codename else "")
        ),
        0o644,
    )
    groups = {"root": 0, "daemon": 1, **distro.ids, "nogroup": 65534}
    yield "etc/group", "".join(f"{name}:x:{number}:\n" for name, number in groups.items()), 0o644
    web = distro.ids.get("www-data")
    yield (
        "etc/passwd",
        (
            f"root:x:0:0:root:/root:{distro.shell}\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
            + (f"www-data:x:{web}:{web}:www-data:/var/www:/usr/sbin/nologin\n" if web else "")
            + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        ),
        0o644,
    )
    yield "etc/shadow", "root:*:20000:0:99999:7:::\n", 0o600
    yield "etc/hostname", "localhost\n", 0o644
    yield (
        "etc/hosts",
        (
            "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\n"
            "ff02::2\t\tip6-allrouters\n"
        ),
        0o644,
    )
    yield "etc/resolv.conf", "", 0o644
    yield "etc/machine-id", "uninitialized\n", 0o444
    if distro.id in ("debian", "devuan"):
        yield (
            "etc/network/interfaces",
            (
                "# interfaces(5) file used by ifup(8) and ifdown(8)\n"
                "# Include files from /etc/network/interfaces.d:\nsource /etc/network/interfaces.d/*\n"
            ),
            0o644,
        )
    if distro.init == "systemd":
        yield "etc/systemd", None, 0o755
        yield "etc/systemd/network", None, 0o755
        yield "etc/systemd/system", None, 0o755
        yield "usr/lib/systemd", None, 0o755
        yield (
            f"usr/lib/systemd/libsystemd-core-{_SYSTEMD.get(template.split('_', maxsplit=1)[0][:9], 255)}.so",
            "",
            0o644,
        )  # says its version
    if distro.id in ("debian", "ubuntu", "devuan"):
        yield "etc/ssh", None, 0o755
        yield "etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n", 0o644
