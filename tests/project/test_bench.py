"""The benchmarks: their command lines, and the fleets that they measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleet.inventory import load

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


@pytest.mark.parametrize("script", ["noop.py", "listing.py", "backup.py"])
def test_a_benchmark_explains_its_options(script: str) -> None:
    done = subprocess.run([sys.executable, BENCH / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--runs" in done.stdout


def test_sizes_are_numbers_with_commas(bench: None) -> None:
    import noop

    assert noop.arguments(["--sizes", "28,280", "--runs", "3"]).sizes == (28, 280)
    with pytest.raises(SystemExit):
        noop.arguments(["--sizes", "many"])


def test_copies_of_the_reference_homelab_are_a_valid_fleet(bench: None, tmp_path: Path) -> None:
    import homelab

    file = tmp_path / "hosts.yml"
    file.write_text(homelab.hosts_yml((ROOT / "hosts.yml").read_text(encoding="utf-8"), 3), encoding="utf-8")
    containers = {each.name: each for each in load(file).containers}
    assert len(containers) == 3 * 28
    assert containers["grafana-2"].vmid == containers["grafana"].vmid + 200
    assert containers["grafana-2"].depends_on == ("alpine-prometheus-2", "loki-2")


def test_a_copied_configuration_file_is_another_container(bench: None) -> None:
    import homelab

    text = (
        "hostname: plex\n"
        "net0: name=eth0,bridge=vmbr0,gw=192.168.0.1,hwaddr=BC:24:11:AA:BB:CC,ip=192.168.0.207/16\n"
        "rootfs: guests:subvol-120-disk-0,size=8G\n"
    )
    assert homelab.config_of(text, 120, 3) == (
        "hostname: plex-3\n"
        "net0: name=eth0,bridge=vmbr0,gw=192.168.0.1,hwaddr=BC:24:11:03:14:CC,ip=192.168.3.207/16\n"
        "rootfs: guests:subvol-420-disk-0,size=8G\n"
    )
