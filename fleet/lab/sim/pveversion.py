"""`pveversion`: the version of Proxmox VE, or of its packages as dpkg has them.

Of pve-manager's bin/pveversion and API2/APT.pm.
"""

from __future__ import annotations

import re
import sys

from . import costs, machine, paths
from .api_nodes import kernel

# The packages that `pveversion -v` tells of (pve-manager API2/APT.pm): those in the second list only where
# they are installed.
_PACKAGES = (
    "ceph-fuse corosync libjs-extjs libknet1 libproxmox-acme-perl libproxmox-backup-qemu0 libproxmox- "
    "rs-perl libpve-access-control libpve-cluster-api-perl libpve-cluster-perl libpve-common-perl "
    "libpve-guest-common-perl libpve-http-server-perl libpve-notify-perl libpve-rs-perl libpve-storage- "
    "perl libqb0 libspice-server1 lvm2 lxc-pve lxcfs novnc-pve proxmox-backup-client proxmox-backup- "
    "restore-image proxmox-mail-forward proxmox-mini-journalreader proxmox-widget-toolkit pve-cluster "
    "pve-container pve-docs pve-edk2-firmware pve-firewall pve-firmware pve-ha-manager pve-i18n pve- "
    "qemu-kvm pve-xtermjs qemu-server smartmontools spiceterm swtpm vncterm"
).split()
_OPTIONAL = (
    "amd64-microcode ceph criu dnsmasq frr-pythontools gfs2-utils ifupdown ifupdown2 intel-microcode "
    "ksm-control-daemon ksmtuned libpve-apiclient-perl libpve-network-perl openvswitch-switch proxmox- "
    "backup-file-restore proxmox-enterprise-support-keyring proxmox-firewall proxmox-kernel-helper "
    "proxmox-offline-mirror-helper pve-esxi-import-tools pve-zsync zfsutils-linux"
).split()
_DEBIAN = (
    "ceph-fuse",
    "corosync",
    "libspice-server1",
    "lvm2",
)  # what apt knows from Debian, even where it is not installed


def installed() -> dict[str, str]:
    """{package: version} of what dpkg says is installed."""
    try:
        with open(paths.real("/var/lib/dpkg/status"), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    for record in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", record, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            found[fields["Package"]] = fields["Version"]
    return found


def short() -> str:
    """`pve-manager/9.1.1/HASH`."""
    facts = machine.facts()
    return f"pve-manager/{facts.get('pve_version', '9.1.1')}/{facts.get('repoid', '0' * 16)}"


def _verbose() -> str:
    """One line for each package that apt knows, the two that matter first."""
    have = installed()
    lines = []
    if "proxmox-ve" in have:
        lines.append(f"proxmox-ve: {have['proxmox-ve']} (running kernel: {kernel()})")
    if "pve-manager" in have:
        lines.append(
            f"pve-manager: {have['pve-manager']} (running version: {short().removeprefix('pve-manager/')})"
        )
    for package in sorted([*_PACKAGES, *_OPTIONAL]):
        if package in have:
            lines.append(f"{package}: {have[package]}")
        elif package in _DEBIAN:
            lines.append(f"{package}: not correctly installed")
    return "".join(line + "\n" for line in lines)


def main(argv: list[str]) -> int:
    """The command `pveversion`."""
    costs.spend("pveversion start-up")
    words = argv[1:]
    if not words:
        print(f"{short()} (running kernel: {kernel()})")
        return 0
    if len(words) == 1 and re.fullmatch(r"--?v(?:e(?:r(?:b(?:o(?:se?)?)?)?)?)?", words[0]):
        sys.stdout.write(_verbose())
        return 0
    if words[0].startswith("-"):
        print(f"Unknown option: {words[0].lstrip('-')}", file=sys.stderr)
    print("USAGE: pveversion [--verbose]", file=sys.stderr)
    return 255
