"""What is read of the node's storages: the script under real sh."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fleet.core.probe import Answer, compose, split
from fleet.domains.storage import probes, read
from fleet.domains.storage.spec import Dataset, Template

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


def test_the_owner_of_a_dataset_is_that_of_the_directory_where_the_host_has_mounted_it(
    tmp_path: Path,
) -> None:
    place = tmp_path / "mnt of tank"
    place.mkdir(mode=0o750)
    zfs = tmp_path / "zfs"
    zfs.write_text(
        "#!/bin/sh\nprintf '%s\\t%s\\t%s\\n' "
        f"tank mountpoint none tank mounted no tank/a mountpoint '{place}' tank/a mounted yes "
        f"tank/b mountpoint '{place}' tank/b mounted no\n"
    )
    zfs.chmod(0o755)
    wanted = (Dataset("tank/a"), Dataset("tank/b"), Dataset("tank/c"))
    script = f"PATH={tmp_path}:$PATH\n{compose(probes(wanted, ()), 'm')}"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, timeout=30, cwd=tmp_path
    )
    found = read({**split(done.stdout, "m"), "storages": Answer("", 0)}, wanted)
    assert found.mountpoints == {"tank": "none", "tank/a": str(place), "tank/b": str(place)}
    assert found.datasets["tank/a"].owner == (os.getuid(), os.getgid())
    assert found.datasets["tank/a"].mode == "750"
    assert found.datasets["tank/b"].owner is None


def test_what_a_declared_dataset_is_below_is_read_too() -> None:
    (probe,) = (each for each in probes((Dataset("tank/a/b"),), ()) if each.name == "datasets")
    assert " tank tank/a tank/a/b |" in probe.sh
