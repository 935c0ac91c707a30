"""Which shell a node of hosts.yml gets, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.host.connect import connect
from tests.host.conftest import Sshd


@dataclass
class Node:
    address: str
    name: str = "pve"
    user: str | None = None
    port: int | None = None
    identity_file: str | Path | None = None
    known_hosts: str | Path | None = None


def test_local_is_this_machine_without_a_connection() -> None:
    shell = connect(Node("local"))
    if os.geteuid() != 0:
        pytest.skip("becoming root on the machine that runs the tests is not asked for")
    assert shell.run("echo $PPID").out == f"{os.getpid()}\n"
    assert shell.connections == 0


def test_an_address_is_reached_over_ssh_as_hosts_yml_says(sshd: Sshd) -> None:
    if sshd.user != "root":
        pytest.skip("another user than root would need sudo on the machine that runs the tests")
    shell = connect(Node("127.0.0.1", "pve", sshd.user, sshd.port, sshd.key, sshd.known_hosts))
    assert shell.connections == 0
    assert shell.run("echo there").out == "there\n"
    assert shell.connections == 1
    shell.close()


def test_nothing_of_ssh_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys; import fleet.host.connect, fleet.host.jobs, fleet.host.lock, fleet.host.journal;"
        "print([name for name in ('fabric', 'paramiko', 'rich', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
