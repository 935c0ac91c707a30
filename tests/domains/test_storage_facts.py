"""What is read of the node's storages: the script under real sh."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleet.core.probe import compose, split
from fleet.domains.storage import probes
from fleet.domains.storage.spec import Template

CFG = """dir: local
\tpath {0}/var/lib/vz
\tcontent vztmpl

nfs: nas
\tpath {0}/mnt/pve/nas
\tcontent vztmpl
"""


@pytest.mark.parametrize(
    ("cfg", "storages", "seen"),
    [
        (CFG, ("local",), ["/var/lib/vz"]),
        (CFG, ("local", "nas"), ["/mnt/pve/nas", "/var/lib/vz"]),
        ("", ("local",), ["/var/lib/vz"]),  # Proxmox knows local even where the file is silent
        (CFG, (), []),
    ],
)
def test_only_storages_that_are_to_hold_templates_are_looked_into(
    tmp_path: Path, cfg: str, storages: tuple[str, ...], seen: list[str]
) -> None:
    (tmp_path / "etc/pve").mkdir(parents=True)
    (tmp_path / "etc/pve/storage.cfg").write_text(cfg.format(tmp_path))
    for path in ("var/lib/vz", "mnt/pve/nas"):
        (tmp_path / path / "template/cache").mkdir(parents=True)
        (tmp_path / path / "template/cache/d_1.tar.zst").touch()
    script = compose(probes((), [Template("t", each, "d") for each in storages]), "m")
    for path in ("/etc/pve", "/var/lib/vz"):
        script = script.replace(path, f"{tmp_path}{path}")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    found = split(done.stdout, "m")["caches"].text.split()
    assert found == [f"{tmp_path}{path}/template/cache/d_1.tar.zst" for path in seen]
