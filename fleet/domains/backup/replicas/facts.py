"""What replicas hold: their datasets and snapshots, read where they are; and the bookmarks of the sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fleet.core.command import command
from fleet.core.probe import Answer, Probe
from fleet.domains.backup.facts import STATE
from fleet.domains.backup.replicas import names
from fleet.domains.backup.spec import Replica

#: How long a replica on another host may take to answer (seconds): 20,000 snapshots on cold disks take some.
PATIENCE = 50
#: How the node logs in to another host: with the key that it has, never asking.
SSH = ("ssh", "-n", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")


@dataclass(frozen=True, slots=True)
class Copy:
    """A snapshot on a replica."""

    name: str  # after the @
    guid: str
    createtxg: int
    creation: int
    used: int
    userrefs: int  # holds
    clones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A stream that was interrupted. `stale`: why it cannot be resumed; empty where it can."""

    token: str
    snapshot: str = ""  # as the source named it
    guid: str = ""
    base: str = ""  # guid of what it started from
    stale: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A dataset on a replica. `copies`: its snapshots, oldest first."""

    dataset: str
    mark: str  # fleet:replica as it holds for it, inherited or its own
    readonly: bool = False
    token: Token | None = None  # of a receive that was interrupted
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """What one read of a replica says. `problem`: why it could not be read; then `targets` is empty."""

    targets: Mapping[str, Target] = field(default_factory=dict)  # by dataset
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A bookmark of a dataset of this node."""

    dataset: str
    name: str  # after the #
    guid: str
    createtxg: int

    @property
    def path(self) -> str:
        """As ZFS writes it: `tank/data#fleet-usb-20261123t070000z`."""
        return f"{self.dataset}#{self.name}"


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """What one read says of all replicas. `sent`: what the record says that fleet sent, `(path, guid)`."""

    places: Mapping[str, Place] = field(default_factory=dict)  # by the replica's name
    bookmarks: Mapping[str, tuple[Bookmark, ...]] = field(default_factory=dict)  # by dataset, oldest first
    encrypted: frozenset[str] = frozenset()  # datasets of this node
    volumes: frozenset[str] = frozenset()  # those that are zvols
    sent: frozenset[tuple[str, str]] = frozenset()
    sending: frozenset[tuple[str, str]] = frozenset()  # those whose end is not in the record: `(path, guid)`
    complete: bool = True  # the node's own listings came to their end


_TARGETS = ("name", "receive_resume_token", "fleet:replica", "readonly")
_COPIES = ("name", "guid", "createtxg", "creation", "used", "userrefs", "clones")

# Its word is the replica's dataset; run by sh there. Only what is directly below it is fleet's business. A
# pool that is suspended (a disk that was pulled out) would answer nothing, and all would wait for it.
_LIST = (
    "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH; pool=${1%%/*}; "
    'health=$(zpool list -H -o health -- "$pool") || exit; '
    'case $health in ONLINE | DEGRADED) ;; *) echo "its pool $pool is $health"; exit 1 ;; esac; '
    f'zfs list -Hp -d 1 -t filesystem,volume -o {",".join(_TARGETS)} -- "$1" || exit; echo copies; '
    f'zfs list -Hp -d 2 -t snapshot -s createtxg -o {",".join(_COPIES)} -- "$1" || exit; echo end'
)

# What the interrupted streams are of, this node says: only it has their snapshots.
_WITH_TOKENS = r"""
said=$(LISTING 2>&1)
printf '%s\n' "$said"
printf '%s\n' "$said" | awk -F '\t' '$2 ~ /^[0-9]+-/ { print $2 }' | while read -r token; do
  echo "token $token"
  zfs send -nvP -t "$token" 2>&1
  echo "token ends $?"
done
"""

# The pools that answer.
_ALIVE = '$(zpool list -H -o name,health | awk \'$2 == "ONLINE" || $2 == "DEGRADED" { print $1 }\')'

_RECORD = rf"""
awk '($2 == "making" || $2 == "made") && $4 ~ /@/ && $5 != "-" {{ made[$4 " " $5] = 1 }}
  $2 == "removed" {{ delete made[$4 " " $5] }}
  END {{ for (each in made) print each }}' "{STATE}/backups.log"
"""


# Of each dataset of a replica the transfer that was begun last, where its end is not in the record.
_SENDING = rf"""
awk '$4 !~ /@/ || $5 == "-" {{ next }}
  {{ target = $4; sub(/@[^@]*$/, "", target); this = $4 " " $5 }}
  $2 == "making" {{ open[target] = this }}
  $2 ~ /^(made|failed|removed)$/ && target in open && open[target] == this {{ delete open[target] }}
  END {{ for (target in open) print open[target] }}' "{STATE}/backups.log"
"""


def probes(replicas: Iterable[Replica]) -> tuple[Probe, ...]:
    """The reads for replicas; none where there are none. Another host is given `PATIENCE` seconds."""
    replicas = tuple(replicas)
    if not replicas:
        return ()
    return (
        Probe("replica-bookmarks", f"zfs list -rHp -t bookmark -s createtxg -o name,guid,createtxg {_ALIVE}"),
        Probe("replica-sources", f"zfs list -rHp -t filesystem,volume -o name,type,encryption {_ALIVE}"),
        Probe("replica-record", _RECORD),
        Probe("replica-sending", _SENDING),
        *map(_probe, replicas),
    )


def sent_probes(replicas: Iterable[Replica]) -> tuple[Probe, ...]:
    """The read for `sent`, which asks no replica; none where there are none."""
    listing = f"zfs list -rHp -t bookmark -o name,creation {_ALIVE}"
    return (Probe("replica-sent", listing),) if tuple(replicas) else ()


def sent(answers: Mapping[str, Answer]) -> Mapping[tuple[str, str], int]:
    """By dataset and replica, of when (epoch seconds) the newest is that was sent: as bookmarks say it."""
    found: dict[tuple[str, str], int] = {}
    for name, creation in _rows(answers["replica-sent"], 2):
        dataset, _, short = name.partition("#")
        if (replica := names.replica_of(short)) and creation.isdigit():
            found[dataset, replica] = max(int(creation), found.get((dataset, replica), 0))
    return found


def _probe(replica: Replica) -> Probe:
    listing = command("sh", "-c", _LIST, "sh", replica.dataset)
    if replica.host:
        listing = command("timeout", "-k", "5", str(PATIENCE), *SSH, "--", replica.host, listing.sh())
    return Probe(f"replica-{replica.name}", _WITH_TOKENS.replace("LISTING", listing.sh()))


def read(answers: Mapping[str, Answer], replicas: Iterable[Replica]) -> ReplicaFacts:
    """The facts in the probes' answers."""
    replicas = tuple(replicas)
    if not replicas:
        return ReplicaFacts()
    bookmarks: dict[str, list[Bookmark]] = {}
    for name, guid, txg in _rows(answers["replica-bookmarks"], 3):
        dataset, _, short = name.partition("#")
        bookmarks.setdefault(dataset, []).append(Bookmark(dataset, short, guid, int(txg)))
    sources = _rows(answers["replica-sources"], 3)
    return ReplicaFacts(
        places={each.name: _place(answers[f"replica-{each.name}"], each) for each in replicas},
        bookmarks={dataset: tuple(found) for dataset, found in bookmarks.items()},
        encrypted=frozenset(name for name, _, encryption in sources if encryption not in ("off", "-")),
        volumes=frozenset(name for name, kind, _ in sources if kind == "volume"),
        sent=_recorded(answers["replica-record"]),
        sending=_recorded(answers["replica-sending"]),
        complete=answers["replica-bookmarks"].code == 0 and answers["replica-sources"].code == 0,
    )


def _recorded(answer: Answer) -> frozenset[tuple[str, str]]:
    """The paths and guids in lines of the record."""
    lines = (line.rpartition(" ") for line in answer.text.split("\n"))
    return frozenset((path, guid) for path, _, guid in lines if path and guid != "-")


def _rows(answer: Answer, columns: int) -> list[list[str]]:
    rows = (line.split("\t") for line in answer.text.split("\n"))
    return [row for row in rows if len(row) == columns]


def _place(answer: Answer, replica: Replica) -> Place:
    lines = answer.text.split("\n")
    if "copies" not in lines or "end" not in lines:
        return Place(problem=_why(lines, replica))
    end, middle = lines.index("end"), lines.index("copies")
    tokens = {token.token: token for token in _tokens(lines[end + 1 :])}
    targets: dict[str, Target] = {}
    copies: dict[str, list[Copy]] = {}
    for line in lines[middle + 1 : end]:
        cells = line.split("\t")
        if len(cells) != len(_COPIES):
            return Place(problem=f"its answer was not understood: {line}")
        dataset, _, name = cells[0].partition("@")
        clones = tuple(each for each in cells[6].split(",") if each not in ("", "-"))
        txg, creation, used, userrefs = (int(cell) if cell.isdigit() else 0 for cell in cells[2:6])
        copy = Copy(name, cells[1], txg, creation, used, userrefs, clones)
        copies.setdefault(dataset, []).append(copy)
    none = "-"
    # A login's greeting may come before; the dataset itself is always the first of the listing.
    first = next((n for n, line in enumerate(lines) if line.startswith(f"{replica.dataset}\t")), middle)
    for line in lines[first:middle]:
        cells = line.split("\t")
        if len(cells) != len(_TARGETS):
            return Place(problem=f"its answer was not understood: {line}")
        name, token, mark, readonly = cells
        if name != replica.dataset:
            targets[name] = Target(
                dataset=name,
                mark="" if mark == "-" else mark,
                readonly=readonly == "on",
                token=tokens.get(token, Token(token, stale="it cannot be read")) if token != none else None,
                copies=tuple(copies.get(name, ())),
            )
    return Place(targets)


def _why(lines: list[str], replica: Replica) -> str:
    """Why a replica gave no listing, in the words of what failed."""
    said = [line.strip() for line in lines if line.strip()]
    if said and "dataset does not exist" in said[-1]:
        where = f" on {replica.host}" if replica.host else ""
        return (
            f"there is no dataset {replica.dataset}{where}; make it:"
            f" zfs create -p -o canmount=off -o readonly=on {replica.dataset}"
        )
    return said[-1] if said else f"it did not answer within {PATIENCE} seconds"


def _tokens(lines: list[str]) -> Iterable[Token]:
    """What `zfs send -nvP -t TOKEN` says of each token."""
    text = "\n".join(lines)
    for match in re.finditer(
        r"^token (?P<token>\d+-\S+)\n(?P<said>.*?)^token ends (?P<code>\d+)$", text, re.MULTILINE | re.DOTALL
    ):
        values = dict(re.findall(r"^\s*(\w+) = (\S+)\s*$", match["said"], re.MULTILINE))
        # What stands in the token comes on another output than why it is no good: in either order.
        lines = [line for line in match["said"].splitlines() if line.strip()]
        why = [line for line in lines if line.startswith("cannot ")] or lines
        yield Token(
            token=match["token"],
            snapshot=values.get("toname", ""),
            guid=_guid(values.get("toguid", "")),
            base=_guid(values.get("fromguid", "")),
            stale="" if match["code"] == "0" else "".join(why[-1:]) or "it cannot be resumed",
        )


def _guid(text: str) -> str:
    """A guid as `zfs get` prints it, of one as a token holds it (hexadecimal)."""
    return str(int(text, 16)) if re.fullmatch(r"0x[0-9a-f]+", text) else text
