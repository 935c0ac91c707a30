"""`ip` on the node, and what the lab's links look like to it."""

from __future__ import annotations

import json
from collections.abc import Callable

from fleet import lab as labs

Ok = Callable[[labs.Lab, str], str]


def test_a_new_wireguard_link_is_as_recorded(shared: labs.Lab, ok: Ok) -> None:
    said = ok(shared, "ip link add wg0 type wireguard && ip -br link show wg0 && ip link del wg0")
    assert said == "wg0              DOWN           <POINTOPOINT,NOARP> \n"
    assert shared.run("ip link show wg0") == (1, "", 'Device "wg0" does not exist.\n')


def test_a_link_can_be_put_into_a_bridge(shared: labs.Lab, ok: Ok) -> None:
    ok(shared, "ip link add dum0 type dummy; ip link set dum0 master vmbr0 mtu 1400 up")
    shown = json.loads(ok(shared, "ip -j link show master vmbr0"))
    assert [(link["ifname"], link["mtu"], link["operstate"]) for link in shown] == [("dum0", 1400, "UP")]
    assert "dum0" in ok(shared, "ls /sys/class/net/vmbr0/brif")
    ok(shared, "ip link del dum0; ! ls /sys/class/net/vmbr0/brif | grep dum0")


def test_what_cannot_be_is_refused(shared: labs.Lab) -> None:
    assert shared.run("ip link add vmbr0 type bridge") == (2, "", "RTNETLINK answers: File exists\n")
    assert shared.run("ip link add x0 type nosuch") == (2, "", "Error: Unknown device type.\n")
    assert shared.run("ip link set nosuch up") == (1, "", 'Cannot find device "nosuch"\n')
    assert shared.run("ip nosuch") == (1, "", 'Object "nosuch" is unknown, try "ip help".\n')


def test_the_nodes_addresses_are_those_of_its_interfaces_file(shared: labs.Lab, ok: Ok) -> None:
    assert "vmbr0            UP             10.10.10.1/24 fe80::" in ok(shared, "ip -br a")
    assert ok(shared, "ip r") == "10.10.10.0/24 dev vmbr0 proto kernel scope link src 10.10.10.1 \n"
    addresses = json.loads(ok(shared, "ip -4 -j addr show dev vmbr0"))[0]["addr_info"]
    assert [(entry["local"], entry["prefixlen"]) for entry in addresses] == [("10.10.10.1", 24)]
