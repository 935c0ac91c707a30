"""`pveam`: templates on offer and on storages.

Of pve-manager's CLI/pveam.pm, APLInfo.pm, API2/Nodes.pm apl_download.

The index of what is on offer is the file that `pveam update` fetches,
/var/lib/pve-manager/apl-info/download.proxmox.com; the lab makes it, and the templates, from
`templates.available` of machine.json: [{"name", "os", "size", "section"?}], or null where nothing can be
fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from . import cli, clock, costs, errors, files, machine, paths, storage, storage_cfg, tasks, templates
from .cli import Arguments
from .errors import Die, ParamError

INDEX_DIRECTORY = "/var/lib/pve-manager/apl-info"
INDEXES = ("download.proxmox.com", "releases.turnkeylinux.org")
URL = "http://download.proxmox.com/images"
_ARCH_SINCE = (9, 2, 7)


def index_entry(name: str, system: str, section: str) -> str:
    """A template in the form of the index that `pveam update` fetches."""
    package, version, _ = name.split("_", 2)
    return (
        f"Package: {package}\nVersion: {version}\nType: lxc\nOS: {system}\nSection: {section}\n"
        "Maintainer: Proxmox Support Team <support@proxmox.com>\nArchitecture: amd64\n"
        f"Location: {section}/{name}\nInfoPage: "
        f"https://pve.proxmox.com/wiki/Linux_Container#pct_supported_distributions\n"
        f"sha512sum: {checksum(name)}\nDescription: {package}\n A template of the lab.\n"
    )


def checksum(name: str) -> str:
    """The SHA-512 that the index gives for a template of the lab."""
    return hashlib.sha512(name.encode()).hexdigest()


def read_index() -> dict[str, dict[str, str]]:
    """{template file: its record, keys in lower case} of all indexes; a missing one is said on stderr."""
    found: dict[str, dict[str, str]] = {}
    for index in INDEXES:
        file = f"{INDEX_DIRECTORY}/{index}"
        try:
            with open(paths.real(file), encoding="utf-8") as text:
                records = re.split(r"\n\s*\n", text.read())
        except FileNotFoundError:
            print(f"unable to open file '{file}' - No such file or directory", file=sys.stderr)
            continue
        for record in records:
            keys = {
                key.lower(): value.strip()
                for line in record.splitlines()
                if not line.startswith(" ")
                for key, colon, value in [line.partition(":")]
                if colon
            }
            if "location" in keys:
                found[keys["location"].rpartition("/")[2]] = keys
    return found


def _update(arguments: Arguments) -> int:
    del arguments
    offered = machine.facts().get("templates", {}).get("available")
    if offered is None or machine.faults().get("no_network"):
        _log("update failed: 500 Can't connect to download.proxmox.com:80")
        print("update failed - see /var/log/pveam.log for details", file=sys.stderr)
        return 0
    text = "\n".join(index_entry(t["name"], t["os"], t.get("section", "system")) for t in offered)
    files.write(f"{INDEX_DIRECTORY}/{INDEXES[0]}", text.encode())
    files.write(f"{INDEX_DIRECTORY}/{INDEXES[1]}", b"")
    _log("update successful")
    print("update successful")
    return 0


def _log(text: str) -> None:
    """A line in /var/log/pveam.log."""
    file = paths.real("/var/log/pveam.log")
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%F %H:%M:%S')} {text}\n")


def _available(arguments: Arguments) -> int:
    wanted = arguments.values.get("section")
    version = tuple(
        int(part) for part in re.findall(r"\d+", str(machine.facts().get("pve_version", "9.1")))[:3]
    )
    for name, record in sorted(read_index().items(), key=lambda item: (item[1].get("section", ""), item[0])):
        section = record.get("section", "unknown")
        if wanted in (None, section):
            arch = f" {record.get('architecture', 'unknown')}" if version >= _ARCH_SINCE else ""
            print(f"{section:<15} {name:<60}{arch}")
    return 0


def _list(arguments: Arguments) -> int:
    name = arguments.values["storage"]
    section = storage_cfg.get(name)
    storage.check_enabled(section)
    if "vztmpl" not in section.content:
        raise Die("Storage does not support templates!")
    print(f"{'NAME':<60} {'SIZE':<6}")
    for volume in storage.volumes(name, kinds=("vztmpl",)):
        print(f"{volume.volid:<60} {volume.size / (1 << 20):<4.2f}MB")
    return 0


def _download(arguments: Arguments) -> int:
    target, name = arguments.values["storage"], arguments.values["template"]
    record = read_index().get(name)
    if record is None:
        raise ParamError({"template": "no such template"})
    section = storage_cfg.get(target)
    storage.check_enabled(section)
    if "vztmpl" not in section.content:
        raise Die(f"storage '{target}' does not support templates")
    from .storage_file import Directory

    store = storage.backend_of(section)
    assert isinstance(store, Directory)
    place = f"{store.subdir('vztmpl')}/{name}"
    return tasks.run_unchecked("download", name, lambda out: _fetch(name, record, target, place, out))


def _fetch(name: str, record: dict[str, str], target: str, place: str, out: tasks.Out) -> None:
    """The worker of a download: what wget and the check of the sum print, and the file."""
    url = f"{URL}/{record['location']}"
    out.write(f"downloading {url} to {place}\n")
    if os.path.isfile(paths.real(place)):
        out.write(
            "calculating checksum of existing file...OK, got correct file already, no need to download\n"
        )
        return
    offered: list[dict[str, Any]] = machine.facts().get("templates", {}).get("available") or []
    facts = next((t for t in offered if t["name"] == name), None)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(clock.now()))
    out.write(
        f"--{stamp}--  {url}\nResolving download.proxmox.com (download.proxmox.com)... 66.70.154.82\n"
        "Connecting to download.proxmox.com (download.proxmox.com)|66.70.154.82|:80... connected.\n"
        "HTTP request sent, awaiting response... "
    )
    if facts is None or machine.faults().get("no_network"):
        out.write(f"404 Not Found\n{stamp} ERROR 404: Not Found.\n\n")
        raise Die("download failed: exit code 8")
    size = int(facts["size"])
    out.write(
        f"200 OK\nLength: {size} ({_binary(size)}) [application/octet-stream]\n"
        f"Saving to: '{place}.tmp_dwnl.{os.getpid()}'\n"
    )
    _progress(size, out)
    if target in machine.faults().get("disk_full", ()):
        raise Die("download failed: exit code 3")
    templates.write(paths.real(place), name, size)
    out.write(
        f"{stamp} (30.2 MB/s) - '{place}.tmp_dwnl.{os.getpid()}' saved [{size}/{size}]\n"
        f"calculating checksum...OK, checksum verified\ndownload of '{url}' to '{place}' finished\n"
    )


def _progress(size: int, out: tasks.Out) -> None:
    """Wget's dots (--progress=dot:giga: 32 MiB a line); takes its time on a realistic machine."""
    for start in range(0, size, 32 << 20):
        if machine.facts().get("realistic"):
            time.sleep(0.3)
        share = min(100, (start + (32 << 20)) * 100 // size)
        out.write(f"{start >> 10:6d}K {'.' * 8} {'.' * 8} {'.' * 8} {'.' * 8} {share:2d}% 30.2M\n")


def _binary(size: int) -> str:
    return f"{round(size / (1 << 20))}M" if size >= 10 << 20 else f"{size / (1 << 20):.1f}M"


def _remove(arguments: Arguments) -> int:
    volid = arguments.values["template_path"]
    if storage.parse_name(volid).vtype != "vztmpl":
        raise Die(f"unable to use volume {volid} - content type needs to be 'vztmpl'")
    os.unlink(paths.real(_existing(volid)))
    return 0


def _existing(volid: str) -> str:
    """The path of a template that is there."""
    place = storage.path(volid)
    if not os.path.isfile(paths.real(place)):
        raise Die(f"can't find file '{volid}'")
    return place


HANDLERS: dict[str, Callable[[Arguments], int]] = {
    "available": _available,
    "download": _download,
    "list": _list,
    "remove": _remove,
    "update": _update,
}


def main(argv: list[str]) -> int:
    """The command `pveam`."""
    costs.spend("pveam start-up")
    errors.left(errors.ENOENT)
    return cli.run("pveam", HANDLERS, {}, argv[1:])
