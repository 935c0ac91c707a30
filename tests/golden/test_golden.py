"""Golden folders: hosts.yml and a host's files on one side, the plan as people see it on the other.

CASE/hosts.yml      what is wanted
CASE/options        words of the command line (--restart, --limit web), if any
CASE/host/lxc/ID.conf, qemu-server/ID.conf, storage.cfg, vmlist      Proxmox's own files
CASE/host/running   a line `ID` for each container that runs
CASE/host/started/ID.config          what LXC started it with, from the line after lxc.rootfs.path on
CASE/host/datasets  lines `NAME PROPERTY VALUE` as `zfs get -Hp` prints them, `owner NAME UID GID MODE`
CASE/host/templates, index, missing, bridges                         a line for each
CASE/plan.txt       the plan with its commands; FLEET_GOLDEN=write writes it anew
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fleet.converge import Facts, make_plan
from fleet.core.probe import Answer
from fleet.domains import guests, storage
from fleet.inventory import Inventory, load
from fleet.render.plan import plan_lines

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/hosts.yml"))
MARK = "golden"

_STORAGE_CFG = "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup\n\n"
_TEMPLATES = "/var/lib/vz/template/cache/debian-13-standard_13.1-2_amd64.tar.zst\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_of_a_host_is_the_one_in_the_folder(case: Path) -> None:
    inventory = load(case / "hosts.yml")
    words = _text(case / "options").split()
    made = make_plan(
        inventory,
        _facts(case / "host", inventory),
        restart="--restart" in words,
        limit=[words[words.index("--limit") + 1]] if "--limit" in words else (),
    )
    text = "".join(f"{line.text}\n" for line in plan_lines(made, commands=True))
    golden = case / "plan.txt"
    if os.environ.get("FLEET_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_there_are_cases() -> None:
    assert len(CASES) >= 15


def _facts(host: Path, inventory: Inventory) -> Facts:
    """What the probes of a node with these files would have answered."""
    lines = _text(host / "datasets").splitlines()
    owners = dict(line.split(" ", 2)[1:] for line in lines if line.startswith("owner "))
    running = "".join(f"@/var/lib/lxc/{vmid}/command {vmid}7\n" for vmid in _text(host / "running").split())
    bridges = _text(host / "bridges", "vmbr0\n").split()
    answers = {
        "guests": "".join(f"{MARK} file {path}\n{text}" for path, text in _configs(host).items()),
        "digests": "".join(
            f"{hashlib.sha1(text.encode()).hexdigest()}  {path}\n" for path, text in _configs(host).items()
        ),
        "vmlist": _text(host / "vmlist", '{"ids": {}}'),
        "running": running,
        "started": "".join(
            f"{MARK} file {path.stem}\n{path.read_text(encoding='utf-8')}"
            for path in sorted((host / "started").glob("*.config"))
        ),
        "node": "pve\npve-container 6.1.10\nmemory 33554432\n"
        + "".join(f"/sys/class/net/{bridge}/bridge\n" for bridge in bridges),
        "missing": _text(host / "missing"),
        "storages": _text(host / "storage.cfg", _STORAGE_CFG),
        "caches": _text(host / "templates", _TEMPLATES),
        "index": _text(host / "index"),
        "architecture": "amd64\n",
        "pools": "tank\n",
        "datasets": "".join(
            "\t".join(line.split(" ", 2)) + "\n" for line in lines if not line.startswith("owner ")
        )
        + "".join(f"{name}\tdirectory\t{found}\n" for name, found in owners.items()),
    }
    found: Mapping[str, Answer] = {name: Answer(text, 0) for name, text in answers.items()}
    return Facts(guests.read(found, MARK), storage.read(found, inventory.storage.datasets), ())


def _configs(host: Path) -> dict[str, str]:
    return {
        f"/etc/pve/{path.relative_to(host)}": path.read_text(encoding="utf-8")
        for kind in ("lxc", "qemu-server")
        for path in sorted((host / kind).glob("*.conf"))
    }


def _text(path: Path, default: str = "") -> str:
    return path.read_text(encoding="utf-8") if path.exists() else default
