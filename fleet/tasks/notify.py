"""notify.test: whether notices get to whom they should."""

from __future__ import annotations

import json

from fleet.core.errors import ExitCode, FleetError, UsageError
from fleet.tasks.cli import Options, inventory_path, task


@task(
    "inventory",
    "json",
    help={"severity": "only this channel: critical, warning, info or success (default: all four)"},
)
def test(options: Options, severity: str = "") -> int:
    """Send a test notice to the channels of hosts.yml, and say what each of them answered."""
    from fleet.host.secrets import Secrets
    from fleet.inventory import load
    from fleet.notify import Notice, Severity, channels, send
    from fleet.render.lines import Line, show

    if severity and severity not in set(Severity):
        raise UsageError(f"--severity {severity}: one of {', '.join(Severity)}")
    inventory = load(inventory_path(options))
    chosen = [each for each in channels(inventory) if severity in ("", each.severity)]
    if not chosen:
        which = f" for {severity}" if severity else ""
        raise FleetError(f"{inventory.path}: `notifications` has no channel{which}")
    secrets = Secrets(inventory.path.parent)
    told = [
        Notice(each, f"{inventory.node.name}: a test of {each} notices", ("Sent by `inv notify.test`.",))
        for each in Severity
    ]
    answers = send(told, chosen, secrets)
    if options.json:
        data = [
            {
                "channel": each.channel,
                "severity": each.severity.value,
                "delivered": each.delivered,
                "said": each.said,
                "seconds": round(each.seconds, 2),
            }
            for each in answers
        ]
        print(json.dumps({"answers": data, "warnings": secrets.warnings}, indent=1))
    else:
        show(Line(f"! {warning}", "yellow") for warning in secrets.warnings)
        for each in answers:
            said = "delivered" if each.delivered else f"not delivered: {each.said}"
            show([Line(f"{each.channel}: {said}", "green" if each.delivered else "red")])
    return ExitCode.DONE if all(each.delivered for each in answers) else ExitCode.SOME_FAILED
