"""The fleet at a glance: each declared container, where it stands, and what of it differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet.converge import Facts
from fleet.core.plan import LEFT_OVER, WAITING, Plan, Why
from fleet.domains.guests.spec import Container
from fleet.render.lines import Line, counted
from fleet.tools.pct.keys import family, props_of

_STYLES = {"running": "green", "stopped": "yellow", "absent": "red"}


def status_data(wanted: Sequence[Container], facts: Facts, plan: Plan) -> dict[str, object]:
    """The status as JSON-ready data: a list of containers, and the guests that hosts.yml does not know."""
    return {
        "node": facts.guests.node,
        "containers": [
            {
                "name": want.name,
                "vmid": want.vmid,
                "category": want.category,
                "status": _status(want, facts),
                "wanted": "running" if want.started else "stopped",
                "memory": int(want.config.get("memory", "512")),
                "address": _address(want),
                "state": _state(want, plan),
            }
            for want in wanted
        ],
        "unmanaged": [note.subject for note in plan.notes if note.why is Why.UNMANAGED],
    }


def status_lines(wanted: Sequence[Container], facts: Facts, plan: Plan) -> Iterator[Line]:
    """The status as a table whose columns fit their contents, and one line of figures."""
    rows = [
        (
            str(want.vmid),
            want.name,
            _status(want, facts),
            want.config.get("memory", "512"),
            _address(want),
            _state(want, plan),
        )
        for want in wanted
    ]
    titles = ("VMID", "NAME", "STATUS", "MEMORY", "ADDRESS", "STATE")
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]
    yield Line(
        "  ".join(title.ljust(width) for title, width in zip(titles, widths, strict=True)).rstrip(), "bold"
    )
    for row in rows:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield Line(text, _STYLES.get(row[2], ""))
    yield Line("")
    running = [want for want in wanted if _status(want, facts) == "running"]
    memory = sum(int(want.config.get("memory", "512")) for want in running) / 1024
    node = facts.guests.memory / 1024**3
    yield Line(
        f"{facts.guests.node}: {counted(len(wanted), 'container')}, {len(running)} running with "
        f"{memory:.2f} GiB of {node:.1f} GiB; {counted(len(plan.steps), 'step')} to do"
    )
    foreign = [note.subject for note in plan.notes if note.why is Why.UNMANAGED]
    if foreign:
        yield Line(f"not in hosts.yml, never changed: {', '.join(foreign)}")


def _status(want: Container, facts: Facts) -> str:
    guest = facts.guests.guests.get(want.vmid)
    return "absent" if guest is None else "running" if guest.running else "stopped"


def _state(want: Container, plan: Plan) -> str:
    """In words: what there is to do, or why nothing is."""
    subject = f"{want.name} ({want.vmid})"
    actions = dict.fromkeys(step.action for step in plan.steps if step.subject == subject)
    whys = dict.fromkeys(
        note.why.value for note in plan.notes if note.subject == subject and note.why in LEFT_OVER | WAITING
    )
    return ", ".join((*(f"to {action}" for action in actions), *whys)) or "as hosts.yml says"


def _address(want: Container) -> str:
    nets = sorted(key for key in want.config if family(key) == "net")
    addresses = [props_of(key, want.config[key]).get("ip", "") for key in nets]
    return ", ".join(address.split("/")[0] for address in addresses if address) or "-"
