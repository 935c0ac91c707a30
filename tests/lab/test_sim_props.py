"""Property strings and value formats, with Proxmox's messages (pve-facts 1.2, the recordings 02 and 03)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.lab.sim import formats, network, props, schema, sizes
from fleet.lab.sim.props import FormatError

NOT_LIKE = "value does not look like a valid"
UNDEFINED = "property is not defined in schema and the schema does not allow additional properties"


def refusal(property_schema: props.Schema, text: str, path: str) -> str:
    with pytest.raises(FormatError) as caught:
        props.parse(property_schema, text, path)
    return caught.value.text


def test_the_default_key_may_stand_bare() -> None:
    assert props.parse(schema.DEV, "/dev/fuse") == {"path": "/dev/fuse"}
    assert props.parse(schema.DEV, "mode=0666,path=/dev/fuse") == {"mode": "0666", "path": "/dev/fuse"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bridge=vmbr0", "format error\nnet0.name: property is missing and it is not optional\n"),
        (
            "name=eth0,ip=1.2.3.4",
            f"format error\nnet0.ip: invalid format - {NOT_LIKE} ipv4 network configuration\n\n",
        ),
        (
            "name=eth0,gw=xx",
            "format error\nnet0.gw: invalid format - value does not look like a valid IPv4 address\n\n",
        ),
        ("garbage", "value without key, but schema does not define a default key\n"),
        ("name=eth0,name=eth1", "duplicate key in comma-separated list property: name\n"),
        ("=x", "missing key in comma-separated list property\n"),
        (
            "name=eth0,x=1",
            f"format error\nnet0.x: {UNDEFINED}\n",
        ),
        ("name=eth0,mtu=1", "format error\nnet0.mtu: value must have a minimum value of 64\n"),
        ("name=eth0,firewall=2", "format error\nnet0.firewall: type check ('boolean') failed - got '2'\n"),
    ],
)
def test_a_wrong_interface_is_refused_with_the_reason(text: str, message: str) -> None:
    assert refusal(schema.NET, text, "net0") == message


def test_booleans_are_read_in_all_their_spellings() -> None:
    for text in ("1", "on", "YES", "true"):
        assert props.parse(schema.FEATURES, f"nesting={text}") == {"nesting": "1"}
    for text in ("0", "off", "No", "false"):
        assert props.parse(schema.FEATURES, f"nesting={text}") == {"nesting": "0"}


def test_an_interface_is_printed_with_its_name_first_and_the_rest_sorted() -> None:
    net = network.parse("ip=10.0.0.2/24,hwaddr=bc:24:11:aa:bb:cc,bridge=vmbr0,name=eth0,gw=10.0.0.1")
    assert (
        network.render(net)
        == "name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=bc:24:11:aa:bb:cc,ip=10.0.0.2/24,type=veth"
    )


def test_an_interface_without_an_address_gets_a_new_one_each_time() -> None:
    first, second = (network.parse("name=eth0")["hwaddr"] for _ in range(2))
    assert first != second
    assert first.startswith("BC:24:11:")


def test_a_mount_point_is_printed_with_volume_and_target_first_and_its_size_in_the_largest_unit() -> None:
    found = props.parse(schema.MP, "btr:100/a.raw,size=1024M,backup=1,mp=/data")
    assert props.render(schema.MP, found) == "btr:100/a.raw,mp=/data,backup=1,size=1G"


@given(st.integers(0, 2**52))
def test_a_size_is_read_as_it_was_printed(size: int) -> None:
    assert sizes.parse_size(sizes.format_size(size)) == size


def test_nothing_is_zero_terabytes() -> None:
    assert sizes.format_size(0) == "0T"


def accepted(check: props.FormatCheck, value: str) -> bool:
    try:
        check(value)
    except FormatError:
        return False
    return True


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (formats.vmid, ["100", "999999999"], ["99", "0100", "1000000000", "abc"]),
        (formats.dns_name, ["a", "web-1.lan", "1a"], ["-a", "a-", "a_b", "a b", "", "a..b"]),
        (
            formats.ipv4_config,
            ["10.0.0.1/24", "dhcp", "manual"],
            ["10.0.0.1", "10.0.0.300/24", "10.0.0.1/33", "auto"],
        ),
        (formats.ipv6_config, ["fd00::1/64", "auto", "dhcp"], ["fd00::1", "10.0.0.1/24", "fd00::1/129"]),
        (
            formats.mac_addr,
            ["BC:24:11:00:00:01", "bc:24:11:aa:bb:cc"],
            ["01:00:5e:00:00:01", "BC:24:11", "xx"],
        ),
        (formats.config_id, ["s1", "with-dash_ok"], ["x", "1bad", "with.dot", "bad name"]),
        (formats.tag, ["a", "prod_1", "a.b+c-d"], ["bad!", "-a", ""]),
        (formats.startup, ["3", "order=3", "order=2,up=5,down=9", "up=1"], ["bogus", "order=x", "3,4", ""]),
        (formats.ip_with_link_local, ["1.1.1.1", "fe80::1%eth0"], ["x", "1.1.1", "2001:db8::1%eth0"]),
        (formats.mount_path, ["/srv", "btr:1", "relative"], ["/a/../b", "/a/.", "../x"]),
        (formats.disk_size, ["8G", "1.5T", "100"], ["8g", "x", "-1G"]),
    ],
)
def test_a_format_accepts_and_refuses(check: props.FormatCheck, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if not accepted(check, value)] == []
    assert [value for value in bad if accepted(check, value)] == []


def test_a_list_is_separated_by_commas_semicolons_or_blanks() -> None:
    assert formats.split_list(" a;b,c  d") == ["a", "b", "c", "d"]
    assert formats.split_list("a b\0c") == ["a b", "c"]
