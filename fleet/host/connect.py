"""How is a node of hosts.yml reached? By its address: `lab`, `local`, or any name that SSH knows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from fleet.host.local import LocalTransport
from fleet.host.script import ScriptShell
from fleet.host.shell import Shell


class Node(Protocol):
    """What hosts.yml says about reaching a node. None: as ~/.ssh/config says, or SSH's own default."""

    @property
    def name(self) -> str:
        """The node's name, as messages call it."""

    @property
    def address(self) -> str:
        """`lab`, `local`, or a host name, address or alias of ~/.ssh/config."""

    @property
    def user(self) -> str | None:
        """Who logs in; default root."""

    @property
    def port(self) -> int | None:
        """SSH's port; default 22."""

    @property
    def identity_file(self) -> str | Path | None:
        """The private key to log in with."""

    @property
    def known_hosts(self) -> str | Path | None:
        """The file that says which host keys are trusted."""


def connect(node: Node) -> Shell:
    """The node's shell. The first script makes the connection; only a lab that is down is started at once."""
    if node.address == "local":
        return ScriptShell(LocalTransport(node.name), sudo=os.geteuid() != 0)
    # Both cost some 0.2 s to import: whoever only reads hosts.yml need not pay that.
    from fleet.host.ssh import SshTransport  # noqa: PLC0415

    if node.address == "lab":
        from fleet import lab  # noqa: PLC0415

        up = lab.up(node.name)
        at_lab = SshTransport(
            node.name, up.host, user=up.user, port=up.port, identity_file=up.key, known_hosts=up.known_hosts
        )
        return ScriptShell(at_lab, sudo=at_lab.user != "root")
    there = SshTransport(
        node.name,
        node.address,
        user=node.user,
        port=node.port,
        identity_file=node.identity_file,
        known_hosts=node.known_hosts,
    )
    return ScriptShell(there, sudo=there.user != "root")
