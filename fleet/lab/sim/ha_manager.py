"""`ha-manager`: a node without HA resources (pve-ha-manager CLI/ha_manager.pm)."""

from __future__ import annotations

import sys

from . import costs, machine

_USAGE = """USAGE: ha-manager <COMMAND> [ARGS] [OPTIONS]

       ha-manager add <sid> [OPTIONS]
       ha-manager config  [OPTIONS]
       ha-manager crm-command migrate <sid> <node>
       ha-manager crm-command node-maintenance disable <node>
       ha-manager crm-command node-maintenance enable <node>
       ha-manager crm-command relocate <sid> <node>
       ha-manager crm-command stop <sid> <timeout>
       ha-manager remove <sid> [OPTIONS]
       ha-manager set <sid> [OPTIONS]
       ha-manager status  [OPTIONS]

       ha-manager help [<extra-args>] [OPTIONS]
"""


def main(argv: list[str]) -> int:
    """The command `ha-manager`."""
    costs.spend("start-up")
    words = argv[1:]
    if words[:1] == ["help"]:
        sys.stdout.write(_USAGE)
        return 0
    if words == ["config"]:
        return 0
    if words in (["status"], ["status", "--verbose"], ["status", "--verbose", "0"]):
        version = [int(part) for part in str(machine.facts().get("pve_version", "9.1")).split(".")[:2]]
        print("no quorum" if machine.faults().get("quorum_lost") else "quorum OK")
        if version >= [9, 2]:
            print("fencing standby (CRM watchdog standby)")
        return 0
    if words[:1] in (["add"], ["set"], ["remove"], ["crm-command"]):
        print(f"high availability is not simulated: ha-manager {' '.join(words)}", file=sys.stderr)
        return 255
    reason = f"unknown command 'ha-manager {words[0]}'" if words else "no command specified"
    sys.stderr.write(f"ERROR: {reason}\n{_USAGE}")
    return 255
