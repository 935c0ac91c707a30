"""Defaults, profiles, container: what overrides, what merges, what adds up, what null does."""

from __future__ import annotations

import pytest

from tests.inventory.small import HEAD, WEB, load_text, problems, web

GIB = 1024**3


def test_a_single_value_overrides() -> None:
    layers = "defaults: {memory: 512, swap: 512}\nprofiles: {p: {memory: 1024, cores: 1}}\n"
    config = web("profiles: [p]\ncores: 2", layers=layers).config
    assert (config["memory"], config["swap"], config["cores"]) == ("1024", "512", "2")


def test_later_profiles_override_earlier_ones() -> None:
    layers = "profiles: {a: {cores: 1, swap: 0}, b: {cores: 2}}\n"
    assert web("profiles: [a, b]", layers=layers).config["cores"] == "2"
    assert web("profiles: [b, a]", layers=layers).config["cores"] == "1"


def test_profiles_stand_on_profiles() -> None:
    layers = "profiles: {base: {cores: 1, swap: 0}, top: {profiles: [base], cores: 2}}\n"
    config = web("profiles: top", layers=layers).config
    assert (config["cores"], config["swap"]) == ("2", "0")


def test_defaults_may_name_profiles() -> None:
    layers = "defaults: {profiles: [p], cores: 2}\nprofiles: {p: {cores: 1, swap: 0}}\n"
    config = web(layers=layers).config
    assert (config["cores"], config["swap"]) == ("2", "0")


def test_property_strings_merge_property_by_property() -> None:
    layers = "defaults: {net0: 'name=eth0,bridge=vmbr0,gw=10.0.0.1', features: nesting=1, startup: order=1}\n"
    config = web("net0: ip=10.0.0.5/24\nfeatures: {keyctl: yes}\nstartup: {up: 10}", layers=layers).config
    assert config["net0"] == "name=eth0,bridge=vmbr0,gw=10.0.0.1,ip=10.0.0.5/24"
    assert config["features"] == "keyctl=1,nesting=1"
    assert config["startup"] == "order=1,up=10"


def test_the_volume_of_rootfs_and_its_options_merge() -> None:
    text = f"{HEAD}defaults: {{rootfs: {{storage: guests, acl: 1}}}}\n{WEB}".replace(
        "guests:8", "{size: 12G}"
    )
    (container,) = load_text(text).containers
    assert (container.rootfs_storage, container.rootfs_size) == ("guests", 12 * GIB)
    assert container.rootfs_options == (("acl", "1"),)


def test_tags_and_mounts_add_up() -> None:
    layers = "defaults: {tags: [b]}\nprofiles: {p: {tags: 'c;A', mounts: [data]}}\n"
    container = web("profiles: [p]\ntags: [b, d, fleet]\nmounts: [docker]", layers=layers)
    assert container.tags == ("a", "b", "c", "d")
    assert [mount.slot for mount in container.mounts] == ["mp0", "mp1"]


def test_null_unsets_a_value_a_property_and_a_mount() -> None:
    layers = """\
defaults:
  swap: 0
  net0: name=eth0,bridge=vmbr0,gw=10.0.0.1
  net1: name=eth1,bridge=vmbr1
  mounts: [data, docker]
"""
    container = web("swap: null\nnet0: {ip: dhcp, gw: null}\nnet1:\nmounts: [{docker: null}]", layers=layers)
    assert container.config == {"net0": "name=eth0,bridge=vmbr0,ip=dhcp"}
    assert [mount.mp for mount in container.mounts] == ["/data"]


def test_a_shared_mount_is_changed_in_the_guest() -> None:
    (mount,) = web("mounts: [{docker: {size: 24G, backup: 0, mp: /srv/docker}}]").mounts
    assert (mount.slot, mount.mp, mount.size) == ("mp1", "/srv/docker", 24 * GIB)
    assert mount.options == (("backup", "0"),)


def test_a_bind_replaces_an_inherited_volume() -> None:
    layers = "defaults: {mp0: 'guests:8,mp=/srv,backup=1'}\n"
    (mount,) = web("mp0: /data", layers=layers).mounts
    assert (mount.bind, mount.storage, mount.size, mount.mp) == ("/data", None, None, "/srv")


def test_a_profile_that_is_named_twice_counts_once() -> None:
    layers = "profiles: {base: {cores: 1}, a: {profiles: [base], cores: 2}, b: {profiles: [base]}}\n"
    assert web("profiles: [a, b]", layers=layers).config["cores"] == "2"


def test_sections_merge_key_by_key() -> None:
    text = f"{HEAD}defaults: {{service: {{kind: systemd, package: a}}}}\n{WEB}    service: {{package: b}}\n"
    service = load_text(text).declared["web"].service
    assert service is not None
    assert (service.kind, service.package) == ("systemd", "b")


@pytest.mark.parametrize(
    "order",
    [("web", "mail", "db"), ("db", "mail", "web"), ("mail", "web", "db")],
    ids="-".join,
)
def test_the_order_in_the_file_changes_nothing(order: tuple[str, ...]) -> None:
    blocks = {
        "web": "{vmid: 100, template: debian, rootfs: guests:8, tags: [b, a], mounts: [docker, data]}",
        "mail": "{rootfs: guests:8, tags: [a, b], mounts: [data, docker], template: debian, vmid: 101}",
        "db": "{vmid: 102, template: debian, rootfs: guests:8}",
    }
    lines = "".join(f"  {name}: {blocks[name]}\n" for name in order)
    containers = load_text(f"{HEAD}containers:\n{lines}").containers
    assert [each.name for each in containers] == ["web", "mail", "db"]
    assert containers[0].mounts == containers[1].mounts
    assert containers[0].tags == containers[1].tags


def test_a_problem_is_said_where_it_is_written_and_once() -> None:
    layers = (
        "network: {bridges: {vmbr0: {subnet: 10.0.0.0/24}}}\ndefaults: {net0: 'name=eth0,bridge=vmbr9'}\n"
    )
    said = problems(f"{HEAD}{layers}{WEB}  mail: {{vmid: 101, template: debian, rootfs: guests:8}}\n")
    assert said == [
        "hosts.yml:15 defaults.net0.bridge: 'vmbr9' is no bridge of network.bridges; did you mean vmbr0?"
    ]
