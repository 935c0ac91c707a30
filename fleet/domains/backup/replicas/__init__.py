"""Replicas: snapshots sent to another dataset or host, by guid, never by force; and what is kept there."""

from fleet.domains.backup.replicas.compare import Side, common, divergence, held, sides
from fleet.domains.backup.replicas.facts import ReplicaFacts, probes, read, sent, sent_probes
from fleet.domains.backup.replicas.plan import Pruning, Sending, prune, send, shown

__all__ = [
    "Pruning",
    "ReplicaFacts",
    "Sending",
    "Side",
    "common",
    "divergence",
    "held",
    "probes",
    "prune",
    "read",
    "send",
    "sent",
    "sent_probes",
    "shown",
    "sides",
]
