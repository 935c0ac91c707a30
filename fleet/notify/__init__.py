"""Who hears of how a run ended: notices by severity, and a watcher that misses the runs that never were."""

from __future__ import annotations

from fleet.notify.contacts import Contacts, contacts, keep, kept
from fleet.notify.deadman import Signal, ping, tell
from fleet.notify.notice import Notice, Report, Severity, grouped, notices
from fleet.notify.send import Answer, Channel, channels, complaints, send
from fleet.notify.terminated import terminated_is_an_error

__all__ = [
    "Answer",
    "Channel",
    "Contacts",
    "Notice",
    "Report",
    "Severity",
    "Signal",
    "channels",
    "complaints",
    "contacts",
    "grouped",
    "keep",
    "kept",
    "notices",
    "ping",
    "send",
    "tell",
    "terminated_is_an_error",
]
