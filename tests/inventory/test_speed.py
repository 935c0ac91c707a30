"""A file of 2,800 containers is read and checked in well under a second of CPU time."""

from __future__ import annotations

import time

from fleet.inventory import Inventory
from tests.inventory.small import load_text, problems

GUEST = """\
  guest-{number}:
    vmid: {vmid}
    profiles: [web]
    tags: [group-{group}]
    memory: 1024
    rootfs: guests:8
    net0: ip=10.{group}.{host}.1/8,hwaddr=02:00:00:{group:02X}:{host:02X}:01
    mounts: [data, {{docker: {{size: 16G}}}}]
    firewall: {{accept_in: [tcp/443]}}
"""
HEAD = """\
node: {name: pve, address: lab}
network: {bridges: {vmbr0: {address: 10.255.0.1/8, gateway: 10.255.255.254, ports: [eno1]}}}
storage:
  storages: {local: {given: true}, guests: {given: true}}
  templates: {debian: {storage: local, prefix: debian-13-standard}}
mounts:
  data: {source: /data, mp: /data, slot: mp0}
  docker: {storage: guests, size: 8G, mp: /docker, slot: mp1}
defaults: {template: debian, features: nesting=1, net0: "name=eth0,bridge=vmbr0,gw=10.255.255.254"}
profiles: {web: {category: web, onboot: 1}}
containers:
"""


def fleet(count: int) -> str:
    """hosts.yml of so many containers."""
    numbers = range(count)
    return HEAD + "".join(
        GUEST.format(number=number, vmid=100 + number, group=number // 100, host=number % 100)
        for number in numbers
    )


def test_reading_takes_time_by_the_number_of_containers_and_not_by_its_square() -> None:
    def seconds(number: int) -> float:
        text = fleet(number)
        start = time.process_time()
        inventory: Inventory = load_text(text)
        assert len(inventory.containers) == number
        return time.process_time() - start

    seconds(10)  # what is made once: the types' validators
    few, many = min(seconds(280) for _ in range(3)), seconds(2800)
    assert many < 40 * few, (few, many)


def test_2800_mistakes_are_all_said_in_a_few_seconds() -> None:
    text = fleet(2800).replace("memory: 1024", "memory: 4G").replace("profiles: [web]", "profile: web")
    start = time.process_time()
    assert sum("guest-" in said for said in problems(text)) == 2 * 2800
    assert time.process_time() - start < 10
