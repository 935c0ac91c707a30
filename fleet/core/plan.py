"""What a plan is: steps, each with its guard, and what was found but will not be done. Plain data.

Words, used everywhere in the same sense:

    desired   what hosts.yml says
    facts     what one read of the host says
    done      the checks that hold when a step has nothing (more) to do
    expect    the checks that hold while the host is still as the plan saw it
    plan      pure: desired + facts -> steps and notes
    apply     run the steps; then read again: the second plan must be empty
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleet.core.command import Command


class Impact(StrEnum):
    """What a step does to what runs; the order is the order of severity."""

    NONE = "none"  # nothing that runs notices
    LIVE = "live"  # applied to the running guest, which keeps running
    RESTART = "restart"  # pending until the guest's next restart
    OFFLINE = "offline"  # the guest has to be stopped for it
    RECREATE = "recreate"  # only a new guest could have it: said, never done
    CUTS_LINK = "cuts-link"  # may cut the connection that applies it
    DESTROYS_DATA = "destroys-data"  # needs the operator's explicit word


@dataclass(frozen=True, slots=True)
class Difference:
    """One attribute, both sides: `was` on the host and `want` in hosts.yml (None: not there)."""

    key: str
    was: str | None
    want: str | None
    impact: Impact = Impact.NONE
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A question to the host with a yes or no answer: a command whose exit code 0 means that it holds."""

    command: Command
    says: str


@dataclass(frozen=True, slots=True)
class Step:
    """One guarded action. Runs `do` only if not all of `done` hold and all of `expect` do."""

    id: str
    subject: str  # what it is shown under: "plex (120)", "storage"
    action: str  # the verb: create, update, grow, start, restart, download ...
    because: tuple[Difference, ...]
    done: tuple[Check, ...]
    expect: tuple[Check, ...]
    do: tuple[Command, ...]
    impact: Impact = Impact.NONE
    downtime: float = 0.0  # seconds that the guest is expected to be away
    needs: tuple[str, ...] = ()  # ids of the steps that must have succeeded before
    order: int = 0  # smaller is sooner among steps that are ready


class Why(StrEnum):
    """Why something was found and is not done."""

    UNCHANGED = "unchanged"  # as hosts.yml says
    PENDING = "pending"  # done on the host, effective after a restart
    NEEDS_RESTART = "needs restart"  # would be done with --restart
    BY_HAND = "by hand"  # fleet never does this: how to do it is said
    REFUSED = "refused"  # a safety rule stands against it
    LOCKED = "locked"  # Proxmox holds a lock on it
    UNMANAGED = "unmanaged"  # on the host, not in hosts.yml
    NOT_YET = "not managed yet"  # declared, no domain acts on it yet
    WARNING = "warning"


#: Notes that mean that the host is not as hosts.yml says, and that this run will not change that.
LEFT_OVER = frozenset({Why.REFUSED, Why.LOCKED, Why.BY_HAND})
#: Notes that mean that it is not yet as hosts.yml says, and that --restart does the rest.
WAITING = frozenset({Why.PENDING, Why.NEEDS_RESTART})


@dataclass(frozen=True, slots=True)
class Note:
    """What was found and is not done, with the reason."""

    subject: str
    why: Why
    text: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order in which they could run, notes, and the digests of what was read."""

    node: str
    steps: tuple[Step, ...] = ()
    notes: tuple[Note, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """True if there is something to do."""
        return bool(self.steps)

    @property
    def differs(self) -> bool:
        """True if the host is not as hosts.yml says, whether or not this plan does something about it."""
        return bool(self.steps) or any(note.why in LEFT_OVER | WAITING for note in self.notes)


@dataclass(frozen=True, slots=True)
class Part:
    """What one domain contributes to a plan."""

    steps: tuple[Step, ...] = ()
    notes: tuple[Note, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)


def join(node: str, parts: Iterable[Part]) -> Plan:
    """One plan of all parts, its steps sorted so that what is needed comes first."""
    parts = tuple(parts)
    return Plan(
        node=node,
        steps=in_order(step for part in parts for step in part.steps),
        notes=tuple(note for part in parts for note in part.notes),
        digests={key: value for part in parts for key, value in part.digests.items()},
    )


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps so that each comes after what it needs; otherwise by `order`, then by id."""
    waiting = {step.id: step for step in steps}
    sorted_steps: list[Step] = []
    while waiting:
        ready = [step for step in waiting.values() if not any(need in waiting for need in step.needs)]
        if not ready:
            raise ValueError(f"steps need each other in a circle: {', '.join(sorted(waiting))}")
        for step in sorted(ready, key=lambda step: (step.order, step.id)):
            sorted_steps.append(waiting.pop(step.id))
    return tuple(sorted_steps)
