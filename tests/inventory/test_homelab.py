"""hosts.yml at the project's root is the reference homelab: homelab.csv is its owner's table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fleet.domains.guests.spec import Container
from fleet.inventory import Inventory, load
from fleet.inventory.figures import figures
from fleet.tools.props import parse_props

ROOT = Path(__file__).parents[2]
GIB = 1024**3
with (Path(__file__).parent / "homelab.csv").open(encoding="utf-8") as file:
    ROWS = {row["name"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def homelab() -> Inventory:
    return load(ROOT / "hosts.yml")


@pytest.fixture
def container(homelab: Inventory, name: str) -> Container:
    return next(each for each in homelab.containers if each.name == name)


each_row = pytest.mark.parametrize("name", ROWS)


def test_the_table_is_declared_whole(homelab: Inventory) -> None:
    assert {each.name for each in homelab.containers} == set(ROWS)
    assert homelab.warnings == ()


@each_row
def test_resources_are_as_the_table_says(container: Container, name: str) -> None:
    row = ROWS[name]
    assert container.vmid == int(row["vmid"])
    assert container.category == row["category"]
    assert container.template == row["os"]
    assert container.config["memory"] == row["memory_mib"]
    assert container.config["swap"] == row["swap_mib"]
    assert container.config["cores"] == row["cores"]
    assert container.rootfs_size == int(row["rootfs_gib"]) * GIB
    assert container.unprivileged == (row["unprivileged"] == "1")
    assert container.config["features"] == f"{row['features']}=1"
    assert container.config["onboot"] == row["onboot"]
    assert container.started == (row["started"] == "1")
    assert set(container.tags) == set(row["tags"].split())


@each_row
def test_networks_are_as_the_table_says(container: Container, name: str) -> None:
    row = ROWS[name]
    nets = {
        (props := parse_props(value))["bridge"]: props
        for key, value in container.config.items()
        if key[:3] == "net"
    }
    declared = {bridge: props["ip"].split("/")[0] for bridge, props in nets.items()}
    table = {"vmbr0": row["ip_vmbr0"], "vmbr1": row["ip_vmbr1"]}
    assert declared == {bridge: ip for bridge, ip in table.items() if ip}
    gateways = {bridge: props.get("gw") for bridge, props in nets.items()}
    if row["ip_vmbr0"] == "dhcp":
        assert gateways == {"vmbr0": None}
    elif row["ip_vmbr0"]:
        assert gateways["vmbr0"] == "192.168.0.1"
    else:
        assert gateways == {"vmbr1": "10.10.10.1"}


@each_row
def test_mounts_are_as_the_table_says(container: Container, name: str) -> None:
    mounts = {mount.mp.lstrip("/"): mount for mount in container.mounts}
    assert set(mounts) == set(ROWS[name]["mounts"].split())
    for kind, mount in mounts.items():
        assert (mount.storage, mount.bind) == (("docker", None) if kind == "docker" else (None, f"/{kind}"))


@each_row
def test_open_ports_are_as_the_table_says(homelab: Inventory, name: str) -> None:
    assert {each.port for each in homelab.declared[name].open_ports} == set(
        ROWS[name]["firewall_accept_in"].split()
    )


@each_row
def test_gpu_devices_are_mapped_where_the_table_says(
    homelab: Inventory, container: Container, name: str
) -> None:
    devices = {parse_props(value)["path"] for key, value in container.config.items() if key[:3] == "dev"}
    wanted = {"/dev/dri/card0", "/dev/dri/renderD128"} if ROWS[name]["gpu"] == "1" else set()
    assert devices == wanted
    assert homelab.declared[name].gpu == bool(wanted)


def test_the_figures_of_the_homelab_come_out(homelab: Inventory) -> None:
    counted = figures(homelab)
    assert counted.containers == 28
    assert counted.categories == {"media": 9, "monitoring": 9, "security": 4, "business": 6}
    assert (counted.running, counted.stopped) == (27, ("immich-backup",))
    assert counted.memory == 30.75 * GIB
    assert counted.node_memory == 32 * GIB
    assert counted.networks == {"vmbr0": 26, "vmbr1": 2}
    assert counted.log_days == 31
    assert counted.snapshot_days == 7
    assert counted.threshold == 90


def test_the_line_of_figures_says_them_all(homelab: Inventory) -> None:
    assert str(figures(homelab)) == (
        "28 containers (9 media, 9 monitoring, 4 security, 6 business); 27 to be running, 1 stopped; "
        "30.75 GiB of 32 GiB memory; 26 on vmbr0, 2 on vmbr1"
    )


def test_wireguard_is_dual_homed(homelab: Inventory) -> None:
    assert homelab.declared["wireguard"].bridges == ("vmbr0", "vmbr1")


def test_the_datasets_are_those_of_the_homelab(homelab: Inventory) -> None:
    by_mountpoint = {each.mountpoint: each for each in homelab.storage.datasets if each.mountpoint}
    assert set(by_mountpoint) == {"/data", "/monitoring", "/backups"}
    assert by_mountpoint["/data"].quota == 10 * 1024 * GIB
    assert by_mountpoint["/monitoring"].quota == 64 * GIB
    assert all(each.owner == (100000, 100000) for each in by_mountpoint.values())


def test_docker_volumes_fit_into_their_dataset(homelab: Inventory) -> None:
    dataset = next(each for each in homelab.storage.datasets if each.name == "tank/docker")
    volumes = [
        mount.size or 0 for each in homelab.containers for mount in each.mounts if mount.storage == "docker"
    ]
    assert len(volumes) == sum("docker" in row["mounts"].split() for row in ROWS.values())
    assert dataset.quota == 128 * GIB
    assert sum(volumes) <= dataset.quota


def test_critical_services_are_archived_daily_and_seven_are_kept(homelab: Inventory) -> None:
    archived = {each.name: each.archives for each in homelab.backups.subjects if each.archives}
    assert set(archived) == {"alpine-vaultwarden", "immich", "paperless-ngx", "odoo"}
    assert {(each.schedule, each.storage, str(each.keep)) for each in archived.values()} == {
        ("03:00", "backups", "keep-daily=7")
    }


def test_every_guest_and_dataset_has_daily_snapshots_or_a_reason_not_to(homelab: Inventory) -> None:
    spec = homelab.backups
    datasets = {each.name: each for each in spec.subjects if each.vmid is None}
    assert set(datasets) == {"tank/data", "tank/monitoring", "tank/backups"}
    assert datasets["tank/backups"].exclude == "holds the archives themselves"
    assert {each.name for each in spec.subjects if each.vmid is not None} == set(ROWS)
    policies = {
        (each.snapshots.schedule, str(each.snapshots.keep)) if each.snapshots else None
        for each in spec.subjects
        if each.exclude is None
    }
    assert policies == {("02:00", "keep-last=1,keep-daily=7")}
    assert spec.timezone == "America/New_York"


def test_restores_are_proven_on_vmids_that_nobody_has(homelab: Inventory) -> None:
    drill = homelab.backups.drill
    assert drill is not None
    assert drill.vmids[0] > max(each.vmid for each in homelab.containers)
    assert (drill.max_age, drill.bridge) == (30 * 86400, None)


def test_notices_go_to_the_four_topics(homelab: Inventory) -> None:
    topics = {severity: each.topic for severity, (each,) in homelab.channels.items()}
    assert topics == {name: f"homelab-{name}" for name in ("critical", "warning", "info", "success")}


def test_services_run_as_the_homelab_says(homelab: Inventory) -> None:
    services = {name: each.service for name, each in homelab.declared.items()}
    for name, row in ROWS.items():
        service = services[name]
        assert service is not None
        if row["os"].startswith("alpine"):
            assert (service.kind, service.directory) == ("openrc", None)
        elif row["category"] in ("media", "business") and service.kind == "compose":
            folder = "/docker" if "docker" in row["mounts"].split() else "/opt"
            assert service.directory == f"{folder}/{name}"
    ports = {name: service.ports for name, service in services.items() if service is not None}
    assert ports["alpine-prometheus"] == ("tcp/9090",)
    assert ports["prometheus-pve-exporter"] == ("tcp/9221",)
    assert ports["glance"] == ("tcp/8080",)
    assert "tcp/21115-21119" in ports["rustdeskserver"]
    assert ports["plex"] == ("tcp/32400",)


def test_what_no_domain_manages_yet_is_named(homelab: Inventory) -> None:
    assert {"firewall", "wireguard", "containers.*.service"} <= set(homelab.not_managed_yet)


def test_backups_and_notices_are_managed(homelab: Inventory) -> None:
    assert not [path for path in homelab.not_managed_yet if "backup" in path or "notif" in path]


def test_containers_come_sorted_by_vmid(homelab: Inventory) -> None:
    vmids = [each.vmid for each in homelab.containers]
    assert vmids == sorted(vmids)
