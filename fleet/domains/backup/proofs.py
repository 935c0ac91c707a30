"""Is it proven that the backups of a subject can be restored? Each kind for itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fleet.domains.backup.items import BackupFacts, Item, Of
from fleet.domains.backup.method import method_of
from fleet.domains.backup.spec import BackupSpec, Subject


@dataclass(frozen=True, slots=True)
class Proven:
    """How long ago a drill restored a backup of this kind (None: never), and what that proved."""

    of: Of
    age: int | None
    what: str  # files, boots or service; empty where the record does not say
    due: bool  # longer ago than the policy allows


def of_item(item: Item) -> Of:
    """The kind of a backup, as proofs are counted."""
    return Of.SNAPSHOT if item.archive is None else Of.ARCHIVE


def to_prove(subject: Subject, facts: BackupFacts) -> Iterator[Of]:
    """The kinds of backups that hosts.yml wants of a subject, where there is a way to make them."""
    if subject.exclude is not None:
        return
    guest = facts.guests.get(subject.vmid) if subject.vmid is not None else None
    if subject.snapshots is not None and (guest is None or method_of(guest, subject.snapshots).kind):
        yield Of.SNAPSHOT
    if subject.archives is not None:
        yield Of.ARCHIVE


def proofs(subject: Subject, spec: BackupSpec, facts: BackupFacts) -> tuple[Proven, ...]:
    """The last proof of each kind: a restored snapshot says nothing of the archive, nor the reverse."""
    found = []
    for of in to_prove(subject, facts):
        proof = facts.proven.get((subject.name, of))
        age = facts.now - proof.at if proof else None
        due = spec.drill is not None and (age is None or age > spec.drill.max_age)
        found.append(Proven(of, age, proof.what if proof else "", due))
    return tuple(found)
