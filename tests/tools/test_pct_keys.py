"""Values are compared by what they mean to Proxmox."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.tools.pct.keys import KEYS, normal, print_value, props_of


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("onboot", "yes", "1"),
        ("onboot", None, "0"),
        ("memory", None, "512"),
        ("cpulimit", "1.0", "1"),
        ("cpulimit", None, "0"),
        ("tags", "b;a;B", "a b"),
        ("tags", None, ""),
        ("features", "nesting=1,keyctl=1", "keyctl=on,nesting=yes,fuse=0"),
        ("features", None, "nesting=0"),
        (
            "net0",
            "name=eth0,bridge=vmbr0,hwaddr=bc:24:11:aa:bb:cc",
            "bridge=vmbr0,name=eth0,hwaddr=BC:24:11:AA:BB:CC,type=veth,firewall=0",
        ),
        ("mp0", "/srv,mp=/data", "volume=/srv,mp=/data,backup=0,ro=no"),
        ("rootfs", "s:v,size=1024M", "volume=s:v,size=1G"),
        ("dev0", "/dev/fuse", "path=/dev/fuse,mode=0660,uid=0"),
        ("startup", "3", "order=3"),
        ("nameserver", "1.1.1.1,8.8.8.8", "1.1.1.1 8.8.8.8"),
        ("description", "x\n", "x"),
    ],
)
def test_these_mean_the_same(key: str, one: str | None, other: str) -> None:
    assert normal(key, one) == normal(key, other)


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("onboot", "1", "0"),
        ("net0", "name=eth0,ip=dhcp", "name=eth0,ip=10.0.0.1/24"),
        ("mp0", "/srv,mp=/data,ro=1", "/srv,mp=/data"),
        ("features", "nesting=1", None),
        ("cores", None, "1"),
    ],
)
def test_these_differ(key: str, one: str, other: str | None) -> None:
    assert normal(key, one) != normal(key, other)


@given(st.sampled_from(sorted(KEYS)), st.text(max_size=60))
def test_no_text_makes_the_comparison_fail(key: str, text: str) -> None:
    assert normal(key, text) == normal(key, text)


def test_a_net_is_printed_as_proxmox_prints_it() -> None:
    recorded = (
        "name=eth0,bridge=vmbr0,firewall=1,gw=10.10.10.1,hwaddr=BC:24:11:00:00:01,"
        "ip=10.10.10.101/24,mtu=1400,rate=10,tag=5,type=veth"
    )
    assert print_value("net0", dict(reversed(props_of("net0", recorded).items()))) == recorded


def test_a_mount_point_is_printed_as_proxmox_prints_it() -> None:
    recorded = "btr:101/vm-101-disk-1.raw,mp=/data,backup=1,size=1G"
    assert print_value("mp0", dict(reversed(props_of("mp0", recorded).items()))) == recorded
