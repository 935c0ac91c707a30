# ruff: noqa: E501 - lines as people write and see them
"""Lines of `pct config` paste in unchanged, and structured forms mean the same."""

from __future__ import annotations

import pytest

from fleet.tools.pct.keys import normal
from tests.inventory.small import HEAD, WEB, load_text, web, web_problems

#: Lines that a real Proxmox VE 9 printed (transcripts 02, 03 and 04).
PRINTED = [
    "arch: amd64",
    "cores: 2",
    "cpulimit: 0.5",
    "cpuunits: 50",
    "dev1: path=/dev/net/tun,mode=0666,uid=0,gid=44",
    "dev0: /dev/fuse",
    "features: nesting=1,keyctl=1,fuse=1",
    "memory: 512",
    "nameserver: 1.1.1.1 8.8.8.8",
    "net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:00:00:01,ip=10.10.10.101/24,mtu=1400,tag=5,type=veth",
    "net1: name=eth1,bridge=vmbr0,hwaddr=bc:24:11:aa:bb:cc,ip=dhcp,ip6=auto,type=veth",
    "onboot: 1",
    "ostype: debian",
    "protection: 1",
    "searchdomain: test.local",
    "startup: order=2,up=5,down=9",
    "swap: 0",
    "timezone: host",
]


@pytest.mark.parametrize("line", PRINTED, ids=lambda line: line.split(":")[0])
def test_a_printed_line_means_the_same_when_pasted(line: str) -> None:
    key, value = line.split(": ", 1)
    assert normal(key, web(line).config[key]) == normal(key, value)


def test_a_whole_config_pastes_in() -> None:
    lines = "".join(f"    {line}\n" for line in [*PRINTED, "tags: b;a", "hostname: www", "unprivileged: 1"])
    volumes = "    rootfs: guests:subvol-100-disk-0,size=12G\n"
    volumes += "    mp0: guests:subvol-100-disk-1,mp=/srv,backup=1,size=1G\n"
    text = HEAD + WEB.replace("    rootfs: guests:8\n", volumes) + lines
    (container,) = load_text(text).containers
    assert (container.rootfs_storage, container.rootfs_size) == ("guests", 12 * 1024**3)
    (mount,) = container.mounts
    assert (mount.storage, mount.size, mount.mp, mount.options) == (
        "guests",
        1024**3,
        "/srv",
        (("backup", "1"),),
    )
    assert (container.hostname, container.tags, container.unprivileged) == ("www", ("a", "b"), True)


def test_what_is_proxmoxs_own_pastes_in_and_is_read_over_with_a_warning() -> None:
    own = (
        "    parent: before\n    unused0: guests:subvol-100-disk-9\n    unused12: guests:x\n    digest: 1e7\n"
    )
    found = load_text(f"{HEAD}profiles:\n  p:\n    parent: x\n{WEB}{own}")
    assert found.containers[0].config == web().config
    says = "is Proxmox's own, not a setting; fleet does not manage it"
    assert [str(each).split(" ", 1)[1] for each in found.warnings] == [
        f"{path}: warning: {says}"
        for path in (
            "profiles.p.parent",
            "containers.web.parent",
            "containers.web.unused0",
            "containers.web.unused12",
            "containers.web.digest",
        )
    ]


def test_a_printed_description_is_decoded() -> None:
    printed = "line1%0Aline2%3A %C3%A4 %25%0A"
    assert web(f"description: '{printed}'").config["description"] == "line1\nline2: ä %"


def test_a_percent_sign_of_ones_own_is_kept() -> None:
    assert web("description: 100%25 sure").config["description"] == "100%25 sure"


@pytest.mark.parametrize(
    ("text", "structured"),
    [
        ("features: nesting=1,mount=nfs;cifs", "features: {nesting: true, mount: [nfs, cifs]}"),
        ("startup: order=3,up=10", "startup: {order: 3, up: 10}"),
        ("startup: 3", "startup: {order: 3}"),
        ("net0: name=eth0,bridge=vmbr0,trunks=20;10", "net0: {name: eth0, bridge: vmbr0, trunks: [10, 20]}"),
        ("dev0: /dev/fuse,gid=44", "dev0: {path: /dev/fuse, gid: 44}"),
        ("tags: b;a", "tags: [a, b]"),
        ("nameserver: 1.1.1.1 8.8.8.8", "nameserver: [1.1.1.1, 8.8.8.8]"),
        ("mp0: guests:4,mp=/srv,mountoptions=noatime;discard", "mp0: {storage: guests, size: 4G, mp: /srv, mountoptions: [discard, noatime]}"),
        ("mp0: /data,mp=/srv,ro=1", "mp0: {source: /data, mp: /srv, ro: yes}"),
        ("rootfs: guests:8", "rootfs: {storage: guests, size: 8G}"),
        ("rootfs: guests:0.5", "rootfs: {storage: guests, size: 512M}"),
        ("rootfs: volume=guests:8,acl=1", "rootfs: {volume: 'guests:8', acl: true}"),
        ("raw: 'lxc.idmap = u 0 100000 65536'", "raw: ['lxc.idmap: u 0 100000 65536']"),
        ("mounts: data docker", "mounts: [data, docker]"),
        ("env: A=1", "env: {A: 1}"),
    ],
)  # fmt: skip
def test_both_forms_mean_the_same(text: str, structured: str) -> None:
    def read(line: str) -> object:
        added = WEB.replace("    rootfs: guests:8\n", "") if line.startswith("rootfs") else WEB
        return load_text(f"{HEAD}{added}    {line}\n").containers

    assert read(text) == read(structured)


def test_raw_lines_keep_their_order() -> None:
    lines = "raw:\n  - 'lxc.mount.entry: /srv srv none bind'\n  - lxc.cgroup2.devices.allow = c 226:* rwm\n  - lxc.cap.drop ="
    assert web(lines).raw == (
        "lxc.mount.entry: /srv srv none bind",
        "lxc.cgroup2.devices.allow: c 226:* rwm",
        "lxc.cap.drop: ",
    )


def test_a_guest_without_raw_leaves_what_is_there() -> None:
    assert web().raw is None
    assert web("raw: []").raw == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("net0: name=eth0,mtu=63", "containers.web.net0.mtu: is 63; write a number from 64 to 65535"),
        ("cpulimit: 8193", "containers.web.cpulimit: '8193' is no number from 0 to 8192"),
        ("net0: name=eth0,ip=10.0.0.1/7", "containers.web.net0.ip: '10.0.0.1/7': the prefix length goes from /8 to /32"),
        ("net0: name=eth0,ip=010.0.0.1/8", "containers.web.net0.ip: '010.0.0.1/8' is no IPv4 address with prefix length; write it like 192.168.0.10/24"),
        ("features: nesting", "containers.web.features: 'nesting' lacks a value; write it like nesting=..."),
        ("net0: name=eth0,name=eth1", "containers.web.net0: 'name' is given twice"),
        ("features: {mount: 'nfs,cifs'}", "containers.web.features: mount holds a comma, which Proxmox cannot write in a property string"),
        ("mp0: {source: /data, mp: '/a,b'}", "containers.web.mp0: mp holds a comma, which Proxmox cannot write in a property string"),
        ("mp0: /data,mp=/", "containers.web.mp0.mp: '/' is the guest's rootfs; mount below it"),
        ("rootfs: /data", "containers.web.rootfs: a rootfs is a volume of a storage: write it like guests:8"),
    ],
)  # fmt: skip
def test_what_proxmox_refuses_or_should_is_refused_here(line: str, says: str) -> None:
    text = (
        f"{HEAD}{WEB}    {line}\n"
        if not line.startswith("rootfs")
        else f"{HEAD}{WEB.replace('rootfs: guests:8', line)}"
    )
    assert says in [each.split(" ", 1)[1] for each in _said(text)]


def _said(text: str) -> list[str]:
    from tests.inventory.small import problems

    return problems(text)


def test_a_template_may_be_a_volume_id() -> None:
    assert web_problems("hookscript: nostore:snippets/x.sh") == [
        "containers.web.hookscript: 'nostore' is no storage of storage.storages; known are guests, local"
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("mp0: {source: '/data ', mp: /x}", "'/data ' ends in a blank, which Proxmox loses; drop it"),
        ("env: 'A=1 '", "'A=1 ' begins or ends in a blank, which Proxmox loses; drop it"),
        ("raw: ['lxc.environment.runtime: A=1']", "lxc.environment.runtime is what Proxmox writes for the key env; write env: NAME=VALUE"),
    ],
)  # fmt: skip
def test_what_proxmox_would_change_behind_ones_back_is_refused(line: str, says: str) -> None:
    assert any(each.endswith(says) for each in web_problems(line))


def test_an_empty_description_is_none() -> None:
    assert "description" not in web("description: ''").config
