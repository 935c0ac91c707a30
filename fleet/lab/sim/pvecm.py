"""`pvecm`: a node without a cluster (pve-cluster CLI/pvecm.pm)."""

from __future__ import annotations

import os
import sys

from . import costs, paths

_VERBS = (
    "add",
    "addnode",
    "apiver",
    "create",
    "delnode",
    "expected",
    "help",
    "keygen",
    "mtunnel",
    "nodes",
    "qdevice",
    "setup",
    "status",
    "updatecerts",
)
_USAGE = """USAGE: pvecm <COMMAND> [ARGS] [OPTIONS]

       pvecm add <hostname> [OPTIONS]
       pvecm addnode <node> [OPTIONS]
       pvecm apiver
       pvecm create <clustername> [OPTIONS]
       pvecm delnode <node>
       pvecm expected <expected>
       pvecm keygen <filename>
       pvecm nodes
       pvecm qdevice remove
       pvecm qdevice setup <address> [OPTIONS]
       pvecm status
       pvecm updatecerts  [OPTIONS]

       pvecm help [<extra-args>] [OPTIONS]
"""


def main(argv: list[str]) -> int:
    """The command `pvecm`: status and nodes fail without corosync, as they do on a single node."""
    costs.spend("pvecm start-up")
    words = argv[1:]
    hits = [verb for verb in _VERBS if words and verb.startswith(words[0])]
    verb = words[0] if words and words[0] in _VERBS else hits[0] if len(hits) == 1 else None
    if verb is None:
        reason = f"unknown command 'pvecm {words[0]}'" if words else "no command specified"
        sys.stderr.write(f"ERROR: {reason}\n{_USAGE}")
        return 255
    if verb == "help":
        sys.stdout.write(_USAGE)
        return 0
    if verb == "updatecerts":
        return 0
    if verb in ("status", "nodes", "expected", "delnode", "addnode") and not os.path.exists(
        paths.real("/etc/pve/corosync.conf")
    ):
        print(
            "Error: Corosync config '/etc/pve/corosync.conf' does not exist - is this node part of a "
            "cluster?",
            file=sys.stderr,
        )
        return 2
    print(f"clusters are not simulated: pvecm {verb}", file=sys.stderr)
    return 255
