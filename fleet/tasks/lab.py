"""`inv lab.*`: the simulated Proxmox VE node on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from fleet.core.errors import UsageError
from fleet.tasks.cli import Options, task

if TYPE_CHECKING:
    from fleet.lab import Lab

_Value = TypeVar("_Value", str, int)

_NAME = "which lab, for several side by side: the node.name of a hosts.yml (default: pve)"
_MACHINE = (
    "what it is like: homelab (a new node with the pool `tank`), replica (a second one, with the pool "
    "`backup`), recording-btr or recording-zfs"
)
_VERSION = "the Proxmox VE it simulates, 8 or 9 (default: 9)"
_PEERS = "which labs `ssh` on its node reaches: HOST=LAB[,...] (default: the machine's own; `nas` is lab nas)"
_REALISTIC = "let each command take as long as on a real node, instead of being fast"
_MADE: Mapping[str, str] = {
    "name": _NAME,
    "machine": _MACHINE,
    "pve_version": _VERSION,
    "realistic": _REALISTIC,
    "peers": _PEERS,
}


@task("json", help=_MADE)
def up(
    options: Options,
    name: str = "pve",
    machine: str = "",
    pve_version: int = 0,
    realistic: bool = False,
    peers: str = "",
) -> int:
    """Bring the lab up and say how to log in. With `address: lab` in hosts.yml this happens by itself."""
    from fleet import lab

    return _show(
        lab.up(
            name,
            machine=machine or None,
            pve_version=pve_version or None,
            realistic=realistic or None,
            peers=_peers(peers),
        ),
        options,
    )


@task(help={"name": _NAME})
def down(_options: Options, name: str = "pve") -> int:
    """Stop the lab; its containers, storage and configuration are there again after the next `lab.up`."""
    from fleet import lab

    print(f"lab {name!r} is down" if lab.down(name) else f"lab {name!r} was not up")
    return 0


@task("json", "yes", help=_MADE)
def reset(
    options: Options,
    name: str = "pve",
    machine: str = "",
    pve_version: int = 0,
    realistic: bool = False,
    peers: str = "",
) -> int:
    """Throw away everything in the lab and bring it up as new, or as another machine. Port and keys stay."""
    from fleet import lab
    from fleet.tasks.cli import confirm

    if name in lab.known():
        confirm(f"Throw away all containers and data of lab {name!r}?", options)
    return _show(
        lab.reset(
            name,
            machine=machine or None,
            pve_version=pve_version or None,
            realistic=realistic or None,
            peers=_peers(peers),
        ),
        options,
    )


@task("json", help={"name": _NAME})
def status(options: Options, name: str = "pve") -> int:
    """Show whether the lab is up (exit 1 if not) and how to log in: host, port, user, key, known_hosts."""
    import json

    from fleet import lab

    found = lab.status(name)
    if found is not None:
        return _show(found, options)
    others = [other for other in lab.known() if other != name]
    if options.json:
        print(json.dumps({"name": name, "up": False, "others": others}))
    else:
        print(f"lab {name!r} is not up" + (f"; there are also {', '.join(others)}" if others else ""))
    return 1


@task(help={"name": _NAME, "user": "log in as this user (default: root)"})
def shell(_options: Options, name: str = "pve", user: str = "root") -> int:
    """Open a shell on the lab's node."""
    import subprocess

    from fleet import lab
    from fleet.lab import inside

    found = lab.up(name)
    return subprocess.run(
        inside.words(found.pid, inside.shell(None, user)),
        env={**inside.environment(user), **_terminal()},
        check=False,
    ).returncode


@task(
    name="exec",
    help={
        "command": "what to run, quoted as one word for the shell of the node",
        "name": _NAME,
        "user": "as this user (default: root)",
    },
)
def exec_(_options: Options, command: str, name: str = "pve", user: str = "root") -> int:
    """Run a command on the lab's node and exit with its code, as `ssh` would."""
    import subprocess

    from fleet import lab
    from fleet.lab import inside

    found = lab.up(name)
    code = subprocess.run(
        inside.words(found.pid, inside.shell(command, user)), env=inside.environment(user), check=False
    ).returncode
    return code if code >= 0 else 128 - code


@task(
    "json",
    help={
        "kind": "drop, hang, slow, disk-full, quorum-lost, quorum-back, lock, unlock, kill, "
        "freeze, no-freeze, pool-health, zfs-busy, zfs-slow, zfs-rate, clock, link, clear or show",
        "name": _NAME,
        "when": "drop, hang: before, during or after the execution (default: before)",
        "nth": "drop, hang, kill: the how-manieth from now (default: 1, the next one)",
        "match": "drop, hang: instead of --nth, every one whose command matches this regular expression",
        "ms": "drop during, kill: milliseconds after the beginning; freeze: after it was asked (default: 50)",
        "factor": "slow: how many times as long (default: 10)",
        "storage": "disk-full: the storage or ZFS pool",
        "vmid": "lock, unlock: the guest whose config lock is held; freeze, no-freeze: the container",
        "command": "kill: the simulated command, as pct or zfs; zfs-slow: its verb, as snapshot",
        "pool": "pool-health: the ZFS pool",
        "state": "pool-health: DEGRADED or ONLINE (default: DEGRADED)",
        "dataset": "zfs-busy: the dataset that is in use; empty: none is any more",
        "seconds": "zfs-slow: how much longer it takes; clock: how far the node's clock is ahead (or behind)",
        "rate": "zfs-rate: bytes a second of `zfs send`; 0: as fast as it can",
        "peer": "link: the host that `ssh` on the node goes to (default: any)",
        "after": "link: cut the next connection after so many bytes",
        "refuse": "link: hostkey, publickey, refused, timeout or unreachable",
    },
)
def fault(
    options: Options,
    kind: str,
    name: str = "pve",
    when: str = "before",
    nth: int = 1,
    match: str = "",
    ms: int = 50,
    factor: float = 10.0,
    storage: str = "",
    vmid: int = 0,
    command: str = "",
    pool: str = "",
    state: str = "DEGRADED",
    dataset: str = "",
    seconds: float = 0.0,
    rate: int = 0,
    peer: str = "",
    after: int = 0,
    refuse: str = "",
) -> int:
    """Make the lab fail on demand: cut or hang the link, be slow, fill a disk, lose quorum, and more."""
    import json

    from fleet import lab

    faults = lab.up(name).faults
    try:
        if kind == "drop":
            faults.drop(when, nth=None if match else nth, match=match or None, ms=ms)
        elif kind == "hang":
            faults.hang(when, nth=None if match else nth, match=match or None)
        elif kind == "slow":
            faults.slow(factor)
        elif kind == "disk-full":
            faults.disk_full(_needed("storage", storage))
        elif kind in ("quorum-lost", "quorum-back"):
            faults.quorum(lost=kind == "quorum-lost")
        elif kind in ("lock", "unlock"):
            (faults.hold_config_lock if kind == "lock" else faults.release_config_lock)(_needed("vmid", vmid))
        elif kind == "kill":
            faults.kill(_needed("command", command), nth=nth, ms=ms)
        elif kind in ("freeze", "no-freeze"):
            faults.freeze(_needed("vmid", vmid), ms=ms if kind == "freeze" else None)
        elif kind == "pool-health":
            faults.pool_health(_needed("pool", pool), state)
        elif kind == "zfs-busy":
            faults.zfs_busy(*([dataset] if dataset else []))
        elif kind == "zfs-slow":
            faults.zfs_slow(_needed("command", command), seconds)
        elif kind == "zfs-rate":
            faults.zfs_rate(rate)
        elif kind == "clock":
            faults.clock(seconds)
        elif kind == "link":
            faults.link(peer or None, after=after or None, refuse=refuse or None)
        elif kind == "clear":
            faults.clear()
        elif kind != "show":
            raise UsageError(f"there is no fault {kind!r}; see `inv --help lab.fault`")
    except ValueError as error:
        raise UsageError(str(error)) from None
    current = faults.current()
    print(
        json.dumps(current)
        if options.json
        else json.dumps(current, indent=2)
        if current
        else "nothing is set to fail"
    )
    return 0


def _peers(text: str) -> dict[str, str] | None:
    """{host: name of a lab} of `HOST=LAB,...`; None for nothing said."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not all(host and equals and name for host, equals, name in pairs):
        raise UsageError(f"--peers is HOST=LAB[,HOST=LAB...], not {text!r}")
    return {host: name for host, _, name in pairs} or None


def _needed(option: str, value: _Value) -> _Value:
    if not value:
        raise UsageError(f"this fault needs --{option}")
    return value


def _terminal() -> dict[str, str]:
    import os

    return {"TERM": os.environ.get("TERM", "dumb")}


def _show(found: Lab, options: Options) -> int:
    """Print how to log in."""
    import json
    import shlex

    facts = {
        "name": found.name,
        "up": True,
        "host": found.host,
        "port": found.port,
        "user": found.user,
        "key": str(found.key),
        "known_hosts": str(found.known_hosts),
        "known_hosts_line": found.known_hosts_line,
        "machine": found.machine,
        "pve_version": found.pve_version,
        "realistic": found.realistic,
        "root": str(found.root),
    }
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(
        f"lab {found.name!r} is up: {found.machine}, Proxmox VE {found.pve_version}"
        + (", realistic" if found.realistic else "")
    )
    print(f"  log in   {shlex.join(found.ssh_words())}")
    print(f"  files    {found.root}")
    return 0
