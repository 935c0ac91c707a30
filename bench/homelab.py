"""Labs of many containers, all of them as their hosts.yml says: the reference homelab, once and in copies.

The first 28 containers are made by `inv provision.all`. A copy of one takes its configuration file as `pct`
wrote it, under another VMID, name and address; all of the storage's state is taken over as it is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fleet import lab

ROOT = Path(__file__).resolve().parents[1]
INV = Path(sys.executable).with_name("inv")
REFERENCE = 28
_STATE = Path("var/lib/fleet-lab")
_CONFIGS = Path("etc/pve/nodes/pve/lxc")


@dataclass(frozen=True)
class Fleet:
    """A lab that is up and converged, and the folder of the fleet that says so."""

    lab: lab.Lab
    folder: Path
    vmids: tuple[int, ...]

    @property
    def configs(self) -> Path:
        """The folder of the configuration files."""
        return self.lab.root / _CONFIGS

    def refresh(self) -> None:
        """Bring .vmlist up to date, by the lab's own code for it."""
        words = [sys.executable, "-c", "from fleet.lab.sim import vmlist; vmlist.refresh()"]
        subprocess.run(words, cwd=ROOT, env={**os.environ, "FLEET_LAB_ROOT": str(self.lab.root)}, check=True)


def build(folder: Path, sizes: Iterable[int]) -> dict[int, Fleet]:
    """A fleet of each size (a multiple of 28) below `folder`, in labs where commands cost what they cost."""
    os.environ["FLEET_LAB_HOME"] = str(folder / "labs")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    text = (ROOT / "hosts.yml").read_text(encoding="utf-8")
    first = lab.up("reference")
    _inv(write(folder / "reference", text, 1, first), "provision.all", "--yes")
    return {size: _copied(folder, text, first, size) for size in sizes}


def _copied(folder: Path, text: str, first: lab.Lab, size: int) -> Fleet:
    copies, rest = divmod(size, REFERENCE)
    if rest or not 1 <= copies <= 100:
        raise SystemExit(f"{size} is not 28 times 1 to 100")
    name = f"of-{size}"
    new = lab.up(name, realistic=True)
    lab.down(name)
    shutil.rmtree(new.root)
    subprocess.run(["cp", "-a", str(first.root), str(new.root)], check=True)
    machine = json.loads((new.root / _STATE / "machine.json").read_text(encoding="utf-8"))
    (new.root / _STATE / "machine.json").write_text(
        json.dumps({**machine, "realistic": True}), encoding="utf-8"
    )
    running = json.loads((new.root / _STATE / "running.json").read_text(encoding="utf-8"))
    everywhere = [vmid_of(vmid, copy) for copy in range(copies) for vmid in running]
    (new.root / _STATE / "running.json").write_text(json.dumps(everywhere), encoding="utf-8")
    originals = {
        int(path.stem): path.read_text(encoding="utf-8") for path in (new.root / _CONFIGS).glob("*.conf")
    }
    for copy in range(1, copies):
        for vmid, config in originals.items():
            target = new.root / _CONFIGS / f"{vmid_of(vmid, copy)}.conf"
            target.write_text(config_of(config, vmid, copy), encoding="utf-8")
    new = lab.up(name)
    vmids = tuple(vmid_of(vmid, copy) for copy in range(copies) for vmid in sorted(originals))
    fleet = Fleet(new, write(folder / name, text, copies, new), vmids)
    fleet.refresh()
    _inv(fleet.folder, "plan", "--detailed-exitcode")
    return fleet


def write(folder: Path, reference: str, copies: int, where: lab.Lab) -> Path:
    """A fleet's folder, with a hosts.yml that reaches the lab as it would reach a real node."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tasks.py", folder)
    address = (
        f"  address: {where.host}\n  port: {where.port}\n  user: {where.user}\n"
        f"  identity-file: {where.key}\n  known-hosts: {where.known_hosts}\n"
    )
    text, times = re.subn(r"^  address: lab\b.*\n", address, hosts_yml(reference, copies), flags=re.MULTILINE)
    if times != 1:
        raise SystemExit("hosts.yml: `  address: lab` is not there once")
    (folder / "hosts.yml").write_text(text, encoding="utf-8")
    return folder


# ── copies ────────────────────────────────────────────────────────────────────────────────────────


def vmid_of(vmid: int, copy: int) -> int:
    """The VMID of a copy; the reference homelab's own go from 100 to 133."""
    return vmid + 100 * copy


def hosts_yml(reference: str, copies: int) -> str:
    """The reference homelab's hosts.yml with its containers `copies` times and networks wide enough."""
    before, block, after = _containers(_wide(reference))
    return before + "".join(_copy(block, copy) for copy in range(copies)) + after


def config_of(config: str, vmid: int, copy: int) -> str:
    """A container's configuration file under the VMID, name and addresses of a copy."""
    new = vmid_of(vmid, copy)
    config = re.sub(rf"\b(subvol|vm)-{vmid}-disk", rf"\1-{new}-disk", config)
    config = re.sub(r"^hostname: (.*)$", rf"hostname: \1-{copy}", config, flags=re.MULTILINE)
    config = re.sub(r"(hwaddr=..:..:..):..:..:", rf"\1:{copy:02X}:{vmid % 100:02X}:", config)
    return _addresses(config, copy)


def _wide(text: str) -> str:
    return text.replace("10.10.10.0/24", "10.10.0.0/16").replace("/24", "/16")


def _containers(text: str) -> tuple[str, str, str]:
    """The text before the entries of `containers:`, the entries, and the text after them."""
    match = re.search(r"^containers:[^\n]*\n((?:(?:[ #][^\n]*)?\n)*)", text, re.MULTILINE)
    if not match:
        raise SystemExit("hosts.yml has no containers:")
    return text[: match.start(1)], match[1], text[match.end(1) :]


def _copy(block: str, copy: int) -> str:
    if copy == 0:
        return block
    names = re.findall(r"^  ([a-z0-9-]+):", block, re.MULTILINE)
    block = re.sub(r"^  ([a-z0-9-]+):", rf"  \1-{copy}:", block, flags=re.MULTILINE)
    block = re.sub(r"\bvmid: (\d+)", lambda match: f"vmid: {vmid_of(int(match[1]), copy)}", block)
    block = re.sub(
        r"\bdepends_on: .*",
        lambda match: re.sub(rf"\b({'|'.join(names)})(?![\w-])", rf"\1-{copy}", match[0]),
        block,
    )
    return _addresses(block, copy)


def _addresses(text: str, copy: int) -> str:
    """The text with the guests' own addresses moved: 192.168.0.x to 192.168.COPY.x, 10.10.10.x likewise."""
    text = re.sub(r"\b(ip[=:] ?)192\.168\.0\.", rf"\g<1>192.168.{copy}.", text)
    return re.sub(r"\b(ip[=:] ?)10\.10\.10\.", rf"\g<1>10.10.{10 + copy}.", text)


def _inv(folder: Path, *words: str) -> None:
    done = subprocess.run([INV, *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"inv {' '.join(words)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}"
        )
