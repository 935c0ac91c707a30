"""Guests: containers as hosts.yml says them."""

from fleet.domains.guests.facts import GuestFacts, probes, read, snapshots_probe
from fleet.domains.guests.plan import plan, plan_adopt, plan_destroy, unmanaged, watched_paths

__all__ = [
    "GuestFacts",
    "plan",
    "plan_adopt",
    "plan_destroy",
    "probes",
    "read",
    "snapshots_probe",
    "unmanaged",
    "watched_paths",
]
