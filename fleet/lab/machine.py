"""A machine: the description of a Proxmox node (fleet/lab/machines/NAME.json), and its file tree.

Everything is written in Proxmox's own files where Proxmox has one; what the simulated commands need beyond
that stands in /var/lib/fleet-lab/machine.json, which is the description with the chosen Proxmox version
merged in.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.lab import layout, sandbox
from fleet.lab.sim import commands, procfs, templates

_DESCRIPTIONS = Path(__file__).resolve().parent / "machines"
_SIM = Path(__file__).resolve().parent / "sim"
_GROUPS = {
    "root": 0,
    "daemon": 1,
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "sudo": 27,
    "www-data": 33,
    "backup": 34,
    "video": 44,
}
_MAINTAINER = "Proxmox Support Team <support@proxmox.com>"

Machine = Mapping[str, Any]


def names() -> list[str]:
    """The machines there are, sorted."""
    return sorted(path.stem for path in _DESCRIPTIONS.glob("*.json"))


def load(name: str, pve_version: int) -> dict[str, Any]:
    """A machine with a Proxmox version (8 or 9) chosen; ValueError where there is none such."""
    if name not in names():
        raise ValueError(f"there is no machine {name!r}; there are {', '.join(names())}")
    machine: dict[str, Any] = json.loads((_DESCRIPTIONS / f"{name}.json").read_text(encoding="utf-8"))
    versions = machine.pop("versions")
    if str(pve_version) not in versions:
        raise ValueError(f"machine {name!r} has no Proxmox VE {pve_version}; it has {', '.join(versions)}")
    return {"machine": name, **machine, **versions[str(pve_version)]}


def seed(root: Path, machine: Machine, *, realistic: bool) -> None:
    """Write the file tree of a node that was never used. The directory must not exist yet."""
    building = root.with_name(f"{root.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    tree = _Tree(building)
    _directories(tree)
    _system(tree, machine)
    _proxmox(tree, machine)
    _network(tree, machine)
    _templates(tree, machine)
    tree.write("var/lib/fleet-lab/machine.json", json.dumps({**machine, "realistic": realistic}, indent=1))
    building.rename(root)


def refresh(root: Path, machine: Machine) -> None:
    """Write what belongs to each start of a node: an empty /run, shims, and files of the kernel."""
    tree = _Tree(root)
    shutil.rmtree(root / "run", ignore_errors=True)
    for name in ("run/lock/lxc", "run/fleet-lab"):
        tree.directory(name)
    total = machine.get("memory_bytes", machine["memory_mib"] << 20) >> 10
    tree.write(
        "var/lib/fleet-lab/proc/meminfo",
        procfs.meminfo(total, used=total // 8, cached=total // 16, swap=machine.get("swap_mib", 0) << 10),
    )
    tree.write(
        "var/lib/fleet-lab/proc/cpuinfo",
        "".join(
            f"processor\t: {n}\nmodel name\t: {machine['cpu_model']}\ncpu cores\t: {machine['cpus']}\n\n"
            for n in range(machine["cpus"])
        ),
    )
    tree.write("var/lib/fleet-lab/proc/boot_id", f"{uuid.uuid4()}\n")
    if version := machine["packages"].get("zfsutils-linux"):
        tree.write("sys/module/zfs/version", f"{version}\n")
    for name in commands.MODULES:
        tree.write(f"usr/local/sbin/{name}", _shim(sandbox.interpreter(), layout.SIM, f'"{name}"'), 0o755)
    for name in ("date", "dpkg"):
        tree.write(f"usr/local/sbin/{name}", (_SIM / f"{name}.sh").read_text(encoding="utf-8"), 0o755)
    inside = [
        word.replace(layout.MACHINE, "/run/host") if layout.MACHINE in word else f"/run/host{word}"
        for word in sandbox.interpreter()
    ]
    tree.write(
        f"{layout.MACHINE[1:]}/guest-tool", _shim(inside, "/run/host/sim", '"guest-tool", sys.argv[0]'), 0o755
    )


def _shim(interpreter: list[str], sim: str, words: str) -> str:
    """A program that runs a simulated command: a script of Python's own, with no shell in between."""
    line = f"/usr/bin/env -S {' '.join(interpreter)} -IS" if len(interpreter) > 1 else f"{interpreter[0]} -IS"
    return (
        f"#!{line}\nimport sys\nsys.path.insert(0, {str(Path(sim).parent)!r})\nfrom sim.dispatch import run\n"
        f"sys.exit(run([{words}, *sys.argv[1:]]))\n"
    )


class _Tree:
    """A file tree to write into."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, path: str, mode: int = 0o755) -> None:
        target = self.root / path
        target.mkdir(parents=True, exist_ok=True)
        if mode != 0o755:
            target.chmod(mode)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            target.chmod(mode)

    def link(self, path: str, target: str) -> None:
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)


def _directories(tree: _Tree) -> None:
    for name in (
        "boot",
        "dev",
        "etc/cron.d",
        "home",
        "media",
        "mnt",
        "opt",
        "proc",
        "run",
        "srv",
        "sys/fs/cgroup/lxc",
        "usr",
        "usr/local/sbin",
        "usr/local/bin",
        "usr/local/etc",
        "var/cache",
        "var/lib/lxc",
        "var/lib/vz/template/iso",
        "var/lib/vz/template/cache",
        "var/lib/vz/dump",
        "var/lib/vz/snippets",
        "var/lib/vz/images",
        "var/log/pve/tasks",
        "var/spool",
        "var/tmp",
        layout.SIM[1:],
        f"{layout.MACHINE[1:]}/sim",
        f"{layout.MACHINE[1:]}/usr",
        layout.PYTHON[1:],
    ):
        tree.directory(name)
    for name, mode in (("root", 0o700), ("tmp", 0o1777)):
        tree.directory(name, mode)
    tree.link("var/run", "/run")
    tree.link("var/lock", "/run/lock")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        outside = Path("/", name)
        if outside.is_symlink():
            tree.link(name, str(outside.readlink()))
        elif outside.is_dir():
            tree.directory(name)
            tree.directory(f"{layout.MACHINE[1:]}/{name}")
    for name in ("alternatives", "ld.so.conf.d"):
        tree.directory(f"etc/{name}")
    for name in ("ld.so.cache", "ld.so.conf"):
        tree.write(f"etc/{name}", "")


def _system(tree: _Tree, machine: Machine) -> None:
    """Identity, users and packages."""
    node, domain, address = machine["node"], machine["domain"], machine["address"]
    tree.write("etc/hostname", f"{node}\n")
    tree.write("etc/hosts", f"127.0.0.1 localhost.localdomain localhost\n{address} {node}.{domain} {node}\n")
    search = f"search {machine['search']}\n" if "search" in machine else ""
    tree.write("etc/resolv.conf", search + "".join(f"nameserver {ip}\n" for ip in machine["nameservers"]))
    tree.write("etc/timezone", f"{machine['timezone']}\n")
    tree.link("etc/localtime", f"/usr/share/zoneinfo/{machine['timezone']}")
    codename = {"12": "bookworm", "13": "trixie"}[machine["debian"]]
    tree.write("etc/debian_version", f"{machine['debian']}.1\n")
    tree.write(
        "etc/os-release",
        f'PRETTY_NAME="Debian GNU/Linux {machine["debian"]} ({codename})"\nNAME="Debian GNU/Linux"\n'
        f'VERSION_ID="{machine["debian"]}"\nVERSION_CODENAME={codename}\nID=debian\n',
    )
    users = {name: 1000 + number for number, name in enumerate(machine["users"])}
    tree.write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
        "backup:x:34:34:backup:/var/backups:/usr/sbin/nologin\n"
        + "".join(f"{name}:x:{number}:{number}::/home/{name}:/bin/bash\n" for name, number in users.items())
        + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    )
    groups = {**_GROUPS, "render": machine["render_gid"], **users, "nogroup": 65534}
    tree.write(
        "etc/group",
        "".join(
            f"{name}:x:{number}:{','.join(users) if name == 'sudo' else ''}\n"
            for name, number in groups.items()
        ),
    )
    tree.write("etc/subuid", "root:100000:65536\n")
    tree.write("etc/subgid", "root:100000:65536\n")
    tree.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    for name in users:
        tree.directory(f"home/{name}")
    tree.write(
        "var/lib/dpkg/status",
        "".join(
            f"Package: {name}\nStatus: install ok installed\nPriority: optional\nSection: admin\n"
            f"Maintainer: {_MAINTAINER}\nArchitecture: amd64\nVersion: {version}\nDescription: {name}\n\n"
            for name, version in sorted(machine["packages"].items())
        ),
    )
    for name in ("info", "updates", "triggers"):
        tree.directory(f"var/lib/dpkg/{name}")
    tree.write("var/lib/dpkg/available", "")


def _proxmox(tree: _Tree, machine: Machine) -> None:
    """/etc/pve as pmxcfs shows it."""
    node = machine["node"]
    for name in ("lxc", "qemu-server", "priv"):
        tree.directory(f"etc/pve/nodes/{node}/{name}")
    for name in ("firewall", "ha", "mapping", "priv/lock", "sdn/firewall"):
        tree.directory(f"etc/pve/{name}")
    tree.link("etc/pve/local", f"nodes/{node}")
    for name in ("lxc", "qemu-server"):
        tree.link(f"etc/pve/{name}", f"nodes/{node}/{name}")
    tree.write("etc/pve/storage.cfg", "\n".join(machine["storage_cfg"]) + "\n\n", 0o640)
    tree.write("etc/pve/datacenter.cfg", "\n".join(machine["datacenter_cfg"]) + "\n", 0o640)
    tree.write("etc/pve/user.cfg", "user:root@pam:1:0:::root@example.com::\n\n", 0o640)
    tree.write("etc/pve/.vmlist", '{\n"version": 1,\n"ids": {}\n\n}\n')
    tree.write("etc/pve/.members", f'{{\n"nodename": "{node}",\n"version": 0\n}}\n')
    tree.write("etc/pve/.version", f'{{\n"starttime": {int(time.time())},\n"vmlist": 1\n}}\n')
    tree.write("var/log/pve/tasks/index", "")


def _network(tree: _Tree, machine: Machine) -> None:
    """Interfaces, in Debian's file and in /sys/class/net."""
    tree.write("etc/network/interfaces", "\n".join(machine["interfaces"]) + "\n")
    tree.directory("etc/network/interfaces.d")
    links = {"lo": {"address": "00:00:00:00:00:00", "mtu": 65536}, **machine["links"]}
    for number, (name, link) in enumerate(links.items(), 1):
        base = f"sys/class/net/{name}"
        for file, value in (
            ("address", link["address"]),
            ("mtu", link["mtu"]),
            ("ifindex", number),
            ("operstate", "unknown" if name == "lo" else "up"),
        ):
            tree.write(f"{base}/{file}", f"{value}\n")
        if link.get("bridge"):
            tree.write(f"{base}/bridge/stp_state", "0\n")
            tree.directory(f"{base}/brif")
        if master := link.get("master"):
            tree.link(f"{base}/master", f"../{master}")
            tree.directory(f"sys/class/net/{master}/brif/{name}")


def _templates(tree: _Tree, machine: Machine) -> None:
    """The templates that are there, and the index of those that can be had."""
    for template in machine["templates"]["present"]:
        templates.write(
            str(tree.root / "var/lib/vz/template/cache" / template["name"]),
            template["name"],
            template["size"],
        )
    available = machine["templates"]["available"]
    if available is not None:  # None: this node never ran `pveam update`
        tree.write(
            "var/lib/pve-manager/apl-info/download.proxmox.com",
            "\n".join(
                _index_entry(template["name"], template["os"], template.get("section", "system"))
                for template in available
            ),
        )
        tree.write("var/lib/pve-manager/apl-info/releases.turnkeylinux.org", "")


def _index_entry(name: str, system: str, section: str) -> str:
    """A template in the form of the index that `pveam update` downloads."""
    package, version, _ = name.split("_", 2)
    return (
        f"Package: {package}\nVersion: {version}\nType: lxc\nOS: {system}\nSection: {section}\n"
        f"Maintainer: {_MAINTAINER}\nArchitecture: amd64\n"
        f"Location: {section}/{name}\nDescription: {package}\n"
    )
