"""Where a stream goes, whether it may, and the state that marks a dataset as being received."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from . import clock, zfs_content, zfs_streams, zfs_token
from . import zfs_ops as ops
from .zfs_names import check_name, valid_props
from .zfs_props import PROPS, canonical, is_user
from .zfs_tree import Tree, ZfsError, first_block, new_dataset
from .zfs_usage import UsageError, properties

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .zfs_stream import Begin

_SPECIAL = ("version", "volsize")  # settable, but not by a receive


class Options(NamedTuple):
    """How `zfs receive` was called."""

    target: str
    resumable: bool
    unmounted: bool
    verbose: bool
    dry: bool
    force: bool
    head: str  # d: all of the sent name but its pool, e: only its last part, or nothing
    local: dict[str, str]  # -o
    without: tuple[str, ...]  # -x

    @property
    def hidden(self) -> tuple[str, ...]:
        """The properties whose received values are not to count."""
        return tuple(key for key in self.without if is_user(key) or PROPS[key].how == "i")

    def given(self, kind: str, what: str) -> dict[str, str]:
        """The values of -o as they are kept."""
        return valid_props(what, kind, self.local, creating=True)


class Into(NamedTuple):
    """Where one snapshot of a stream goes."""

    snapshot: str
    dataset: str
    guid: str
    what: str  # how messages begin
    there: bool  # the snapshot has come before
    full: str | None  # what is said once something has come, where it does not fit
    overwrite: bool  # -F: a whole stream takes the place of what is there
    back_to: str | None  # -F: the snapshot to go back to first


def commandline(target: str, flags: set[str], found: list[tuple[str, str]]) -> Options:
    """The options; ZfsError for properties that cannot be set or left out by a receive."""
    local: dict[str, str] = {}
    for key, value in properties([value for letter, value in found if letter == "o"]).items():
        local[_known(key)] = value
    without = tuple(_known(value) for letter, value in found if letter == "x")
    twice = next((key for key in without if key in local), None)
    if twice:
        raise UsageError("receive", f"property '{twice}' specified multiple times")
    return Options(
        target=target,
        resumable="s" in flags,
        unmounted="u" in flags,
        verbose="v" in flags,
        dry="n" in flags,
        force="F" in flags,
        head="e" if "e" in flags else "d" if "d" in flags else "",
        local=local,
        without=without,
    )


def _known(key: str) -> str:
    """The full name of a property that may stand behind -o or -x."""
    if is_user(key):
        return key
    name = canonical(key)
    if name is None or name == "name" or PROPS[name].how == "r" or name in _SPECIAL:
        raise ZfsError(f"cannot receive: cannot receive: invalid property '{key}'")
    return name


def _snapshot_name(tree: Tree, sent: str, top: str | None, wanted: Options) -> str:
    """The full name of the snapshot to be: what was asked for, and what of the sent name is added to it.

    `top` is the dataset of a package, None for a stream of one dataset.
    """
    target = wanted.target
    if top and "@" in target:
        raise ZfsError("cannot receive: cannot specify snapshot name for multi-snapshot stream")
    top = top or sent.partition("@")[0]
    if not wanted.head:
        return target if "@" in target else target + sent[len(top) :]
    if "@" in target:
        raise ZfsError(f"cannot receive: invalid argument - snapshot not allowed with -{wanted.head}")
    if target not in tree.datasets:
        raise ZfsError(f"cannot receive: specified fs ({target}) does not exist")
    if wanted.head == "e":
        return f"{target}/{sent[len(top.rpartition('/')[0]) :].lstrip('/')}"
    return target + (sent[sent.index("/") :] if "/" in sent else sent[sent.index("@") :])


def begin(tree: Tree, first: Begin, wanted: Options, say: Callable[[str], None]) -> Into:
    """Where a stream goes; the dataset is made or marked unless this is a dry run.

    `say` is told the snapshot's name between what libzfs checks and what the kernel does.
    """
    if "top" in first and wanted.force:
        raise ZfsError("this lab does not simulate `zfs receive -F` of a package, which destroys snapshots")
    snapshot = _snapshot_name(tree, str(first["toname"]), first.get("top"), wanted)
    name = snapshot.partition("@")[0]
    whole = first["fromguid"] == "0" or bool(first["clone"])
    resuming = bool(first["resuming"])
    kind = "resume" if resuming else "new filesystem" if whole else "incremental"
    what = f"cannot receive {kind} stream"
    try:
        check_name("", snapshot, "s")
    except ZfsError:
        raise ZfsError("cannot receive: invalid name") from None
    into = Into(snapshot, name, "", what, there=False, full=None, overwrite=False, back_to=None)
    if name in tree.datasets:
        if whole and not resuming:
            _may_replace(tree, wanted, into)
        say(snapshot)
        into = _existing(tree, first, wanted, into, whole=whole, resuming=resuming)
    elif not whole or resuming or "/" not in name:
        raise ZfsError(f"{what}: destination '{name}' does not exist")
    else:
        _new(tree, first, wanted, into)
        say(snapshot)
    if not into.there and not wanted.dry:
        wanted.given(str(first["type"]), what)
        full = _full(tree, first, into)
        _mark(tree, first, wanted, into)
        into = into._replace(guid=tree.datasets[name]["guid"], full=full)
    return into


def _existing(tree: Tree, first: Begin, wanted: Options, into: Into, *, whole: bool, resuming: bool) -> Into:
    """Check a stream into a dataset that exists."""
    name, what, node = into.dataset, into.what, tree.datasets[into.dataset]
    state = node.get("receiving")
    if resuming:
        _resumable(tree, first, wanted, into)
        return into
    if state and state["resumable"]:
        raise ZfsError(f'{what}: destination {name} contains partially-complete state from "zfs receive -s".')
    if state or zfs_streams.sending(node["guid"]):
        raise ZfsError(f"{what}: dataset is busy")
    if into.snapshot in tree.snapshots:
        if tree.snapshots[into.snapshot]["guid"] == first["toguid"]:
            return into._replace(there=True)
        raise ZfsError(f"cannot restore to {into.snapshot}: destination already exists")
    if whole:
        return into._replace(overwrite=True)
    base = next((s for s in tree.snaps(name) if tree.snapshots[s]["guid"] == first["fromguid"]), None)
    if base is None:
        raise ZfsError(f"{what}: most recent snapshot of {name} does not", "match incremental source")
    if wanted.force:
        return into._replace(back_to=base)
    if _modified(tree, name, base):
        raise ZfsError(f"{what}: destination {name} has been modified", "since most recent snapshot")
    return into


def _may_replace(tree: Tree, wanted: Options, into: Into) -> None:
    """Refuse a whole stream into a dataset that it may not take the place of."""
    name, what = into.dataset, into.what
    if not wanted.force:
        raise ZfsError(f"{what}: destination '{name}' exists", "must specify -F to overwrite it")
    if tree.snaps(name):
        raise ZfsError(
            f"{what}: destination has snapshots (eg. {tree.snaps(name)[0]})",
            "must destroy them to overwrite it",
        )
    if tree.datasets[name]["origin"]:
        raise ZfsError(f"{what}: destination '{name}' is a clone", "must destroy it to overwrite it")


def _modified(tree: Tree, name: str, base: str) -> bool:
    """Whether a dataset is not what it was at a snapshot; later snapshots alone are no change."""
    node, then = tree.datasets[name], tree.snapshots[base]
    if node["blocks"] != then["blocks"]:
        live = {block: size for block, size in node["blocks"].items() if size}
        if live != {block: size for block, size in then["blocks"].items() if size}:
            return True
    newest = tree.snapshots[tree.snaps(name)[-1]]
    same = newest.get("files") == then.get("files")
    return not same or (node["type"] == "filesystem" and zfs_content.changed(tree, name))


def _resumable(tree: Tree, first: Begin, wanted: Options, into: Into) -> None:
    """Refuse the rest of a stream where the state it continues is not."""
    node = tree.datasets[into.dataset]
    state = node.get("receiving")
    more = (
        "kernel modules must be upgraded to receive this stream."
        if wanted.resumable
        else "invalid backup stream"
    )
    if state is None or not state["resumable"]:
        raise ZfsError(f"{into.what}: {more}")
    if any(state["begin"][key] != first[key] for key in ("toguid", "fromguid")):
        raise ZfsError(f"{into.what}: {more}")
    if zfs_streams.sending(node["guid"]):
        raise ZfsError(f"{into.what}: dataset is busy")
    spool = zfs_token.spool(node["guid"])
    there = os.path.getsize(spool) if os.path.exists(spool) else 0
    if there < int(first["offset"]):
        raise ZfsError(f"{into.what}: {more}")


def _new(tree: Tree, first: Begin, wanted: Options, into: Into) -> None:
    """Check a stream into a dataset that is to be."""
    parent = into.dataset.rpartition("/")[0]
    if wanted.head == "d" and not wanted.dry:
        ops.create_ancestors(tree, into.dataset)
    if parent not in tree.datasets:
        raise ZfsError(
            f"cannot open '{parent}': dataset does not exist",
            f"{into.what}: unable to restore to destination",
        )
    if tree.datasets[parent]["type"] != "filesystem":
        raise ZfsError(f"{into.what}: parent '{parent}' is not a filesystem")
    if first["clone"] and _origin(tree, first, into) is None:
        raise ZfsError(f"{into.what}: local origin for clone {into.snapshot} does not exist")


def _origin(tree: Tree, first: Begin, into: Into) -> str | None:
    """The snapshot that a sent clone is to be a clone of here."""
    pool = into.dataset.partition("/")[0]
    for name, node in tree.snapshots.items():
        if name.partition("/")[0].partition("@")[0] == pool and node["guid"] == first["fromguid"]:
            return name
    return None


def _full(tree: Tree, first: Begin, into: Into) -> str | None:
    """What is said of a stream that does not fit; None of one that does."""
    parent = into.dataset if into.dataset in tree.datasets else into.dataset.rpartition("/")[0]
    there = tree.datasets[into.dataset]["blocks"] if into.dataset in tree.datasets else {}
    needed = sum(size for block, size in first["blocks"].items() if block not in there)
    pool = into.dataset.partition("/")[0]
    if ops.full(into.dataset) or needed > tree.pool_usable(pool) - tree.used(pool):
        return f"{into.what}: out of space"
    if needed > tree.available(parent):
        return f"{into.what}: destination {into.dataset} space quota exceeded."
    return None


def _mark(tree: Tree, first: Begin, wanted: Options, into: Into) -> None:
    """Let the dataset be one that is being received."""
    node = tree.datasets.get(into.dataset)
    if node is None:
        origin = _origin(tree, first, into) if first["clone"] else None
        blocks = dict(tree.snapshots[origin]["blocks"]) if origin else first_block()
        props = {"volsize": first["volsize"]} if first["volsize"] else {}
        node = tree.datasets[into.dataset] = new_dataset(tree, str(first["type"]), props, blocks, origin)
        node["created"] = int(clock.now())
        new = True
    else:
        new = bool(node.get("receiving", {}).get("new"))
    keep = {key: first[key] for key in ("toguid", "fromguid", "toname", "raw", "embed", "compress", "large")}
    node["receiving"] = {"new": new, "resumable": wanted.resumable, "begin": keep}
    spool = zfs_token.spool(node["guid"])
    if os.path.exists(spool):
        os.truncate(spool, int(first["offset"]))
    tree.touched()
