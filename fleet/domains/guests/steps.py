"""The steps of the guests domain: each carries its own idempotence check and what it expects to find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fleet.core.command import Command, Word, command
from fleet.core.plan import Check, Difference, Impact, Step
from fleet.domains.guests.compare import (
    TAG,
    Change,
    Growth,
    desired_values,
    is_mount,
    mount_value,
    new_volume,
)
from fleet.domains.guests.facts import Guest
from fleet.domains.guests.spec import Container
from fleet.tools.pct import commands as pct
from fleet.tools.pct.config import encode_description
from fleet.tools.pct.keys import family, join_tags, print_value, props_of

#: Seconds that a restart takes, the median of observed.md.
REBOOT_SECONDS = 5.6
#: Seconds that a guest gets to end by itself before `pct shutdown` fails and `pct reboot` kills it.
PATIENCE = 120

#: The top of every distribution's file tree (hier(7)).
_TREE = frozenset(
    "bin boot dev etc home lib lib32 lib64 media mnt opt proc root run sbin srv sys tmp usr var".split()
)

_LATE = 100_000  # starts come after everything that only writes configuration


def subject(want: Container) -> str:
    """What a container's steps and notes are shown under."""
    return f"{want.name} ({want.vmid})"


def step_id(want: Container, what: str) -> str:
    """The id of a container's step."""
    return f"containers.{want.name}.{what}"


def create(want: Container, template: Word, needs: Iterable[str]) -> Step:
    """Makes the container, stopped; it carries the tag fleet from its first moment.

    The template is unpacked with all mounts in place: what is bound where it has files would get them, and
    their owners and modes. Such a bind is mounted afterwards.
    """
    later = tuple(each for each in want.mounts if each.bind is not None and _in_template(each.mp))
    options: dict[str, str] = {
        "hostname": want.hostname,
        "unprivileged": str(int(want.unprivileged)),
        "rootfs": print_value(
            "rootfs",
            {"volume": new_volume(want.rootfs_storage, want.rootfs_size), **dict(want.rootfs_options)},
        ),
        **{key: value for key, value in sorted(desired_values(want).items()) if key != "hostname"},
        **{mount.slot: mount_value(mount) for mount in want.mounts if mount not in later},
    }
    make = pct.create(want.vmid, template, options)
    do: tuple[Command, ...] = (make,)
    if want.ssh_public_keys:
        keys = f"/run/fleet/ssh-public-keys-{want.vmid}"
        do = (
            command("fleet_put", keys, "\n".join(want.ssh_public_keys)),
            pct.create(want.vmid, template, {**options, "ssh-public-keys": keys}),
            command("rm", "-f", keys),
        )
    bound = {mount.slot: mount_value(mount) for mount in later}
    if bound:
        do = (*do, pct.set_(want.vmid, bound))
    return Step(
        id=step_id(want, "create"),
        subject=subject(want),
        action="create",
        because=tuple(
            Difference(key, None, value)
            for key, value in {"template": _shown(template), **options, **bound}.items()
        ),
        done=(_ours(want), *(_has_value(want.vmid, slot, value, ()) for slot, value in bound.items())),
        expect=(Check(command("fleet_free", str(want.vmid)), f"no guest has the VMID {want.vmid}"),),
        do=do,
        needs=tuple(needs),
        order=want.vmid,
    )


def raw(
    want: Container, lines: tuple[str, ...], was: tuple[str, ...], waits: bool, needs: Iterable[str]
) -> Step:
    """Writes the container's lxc.* lines, for which pct has no option. `waits`: it runs with others."""
    difference = raw_difference(was, lines, waits=waits)
    return Step(
        id=step_id(want, "raw"),
        subject=subject(want),
        action="update",
        because=(difference,),
        done=(
            Check(command("fleet_raw_is", str(want.vmid), "\n".join(lines)), "the lxc.* lines are as wanted"),
        ),
        expect=(
            _ours(want),
            Check(
                command("fleet_raw_is", str(want.vmid), "\n".join(was)),
                "the lxc.* lines are as the plan saw them",
            ),
            _unlocked(want),
        ),
        do=(command("fleet_raw", str(want.vmid), "\n".join(lines)),),
        impact=difference.impact,
        needs=tuple(needs),
        order=want.vmid,
    )


def raw_difference(was: tuple[str, ...], lines: tuple[str, ...], *, waits: bool) -> Difference:
    """The lxc.* lines of both sides. `waits`: the container runs with others."""
    impact, reason = Impact.NONE, "the container is stopped, or runs with them already"
    if waits:
        impact, reason = Impact.RESTART, "read by LXC at the next start"
    return Difference("raw", "\n".join(was) or None, "\n".join(lines) or None, impact, reason)


def update(
    want: Container,
    guest: Guest,
    changes: tuple[Change, ...],
    reverts: tuple[str, ...],
    needs: Iterable[str],
) -> Step:
    """Sets and deletes all keys that differ; the first command refuses if the file has changed since."""
    digest = guest.config.digest
    do = [pct.revert(want.vmid, reverts, digest)] if reverts else []
    for group in _one_by_one(changes):
        values = {change.key: change.value for change in group if change.value is not None}
        gone = [change.key for change in group if change.value is None]
        do.append(pct.set_(want.vmid, values, gone, "" if do else digest))
    dropped = tuple(
        Difference(
            key,
            guest.config.effective(key),
            guest.config.current.get(key),
            Impact.NONE,
            "drops a pending change",
        )
        for key in reverts
        if all(change.key != key for change in changes)
    )
    because = (*(change.difference for change in changes), *dropped)
    return Step(
        id=step_id(want, "set"),
        subject=subject(want),
        action="update",
        because=because,
        done=(
            *(_has(want.vmid, change) for change in changes),
            *(_has_value(want.vmid, each.key, each.want, ()) for each in dropped),
        ),
        expect=(
            Check(
                command("fleet_digest", str(want.vmid), digest),
                "its configuration is the one that the plan saw",
            ),
            _unlocked(want),
        ),
        do=tuple(do),
        impact=max((each.impact for each in because), key=list(Impact).index, default=Impact.NONE),
        needs=tuple(needs),
        order=want.vmid,
    )


def _one_by_one(changes: tuple[Change, ...]) -> Iterator[tuple[Change, ...]]:
    """The changes by the `pct set` that does them: one for all; protection and new volumes have their own.

    Proxmox refuses mount points while protection is on, even if the same call takes it off. And a call
    of which one key fails writes nothing, not even the volume that it has made for another.
    """
    mounts = any(is_mount(change.key) for change in changes)
    first = tuple(each for each in changes if mounts and each.key == "protection" and each.value == "0")
    alone = tuple(each for each in changes if "volume" in each.generated)
    together = tuple(each for each in changes if each not in first and each not in alone)
    yield from (group for group in (first, together, *((each,) for each in alone)) if group)


def grow(want: Container, growth: Growth, needs: Iterable[str]) -> Step:
    """Grows one volume to its wanted size."""
    return Step(
        id=step_id(want, f"grow.{growth.key}"),
        subject=subject(want),
        action="grow",
        because=(growth.difference,),
        done=(_size(want, growth.key, growth.want),),
        expect=(_size(want, growth.key, growth.was), _unlocked(want)),
        do=(pct.resize(want.vmid, growth.key, growth.want),),
        impact=Impact.LIVE,
        needs=tuple(needs),
        order=want.vmid,
    )


def start(want: Container, startup_order: int, needs: Iterable[str]) -> Step:
    """Starts a container that hosts.yml wants running."""
    return Step(
        id=step_id(want, "start"),
        subject=subject(want),
        action="start",
        because=(Difference("status", "stopped", "running"),),
        done=(_running(want),),
        expect=(_ours(want), _unlocked(want)),
        do=(pct.start(want.vmid), _await_ha(want, "fleet_running")),
        needs=tuple(needs),
        order=_LATE + startup_order,
    )


def shut_down(want: Container, needs: Iterable[str]) -> Step:
    """Shuts down a container that hosts.yml wants stopped."""
    return Step(
        id=step_id(want, "shutdown"),
        subject=subject(want),
        action="shutdown",
        because=(Difference("status", "running", "stopped", Impact.OFFLINE),),
        done=(_stopped(want),),
        expect=(_ours(want), _unlocked(want)),
        do=(pct.shutdown(want.vmid, PATIENCE), _await_ha(want, "fleet_stopped")),
        impact=Impact.OFFLINE,
        needs=tuple(needs),
        order=_LATE,
    )


def restart(want: Container, guest: Guest, waiting: tuple[Difference, ...], needs: Iterable[str]) -> Step:
    """Restarts a container so that what is pending takes effect."""
    return Step(
        id=step_id(want, "restart"),
        subject=subject(want),
        action="restart",
        because=waiting,
        done=(
            Check(command("fleet_settled", str(want.vmid)), "nothing is pending"),
            Check(
                command("fleet_started_anew", str(want.vmid), guest.socket),
                "it was started after the plan was made",
            ),
        ),
        expect=(_ours(want), _running(want), _unlocked(want)),
        do=(pct.reboot(want.vmid, PATIENCE),),
        impact=Impact.OFFLINE,
        downtime=REBOOT_SECONDS,
        needs=tuple(needs),
        order=_LATE,
    )


def adopt(want: Container, guest: Guest) -> Step:
    """Puts the tag fleet on a guest that exists: from then on hosts.yml rules it. Nothing else changes."""
    was = guest.config.current.get("tags")
    tags = ";".join(join_tags(was or "", TAG))
    return Step(
        id=step_id(want, "adopt"),
        subject=subject(want),
        action="adopt",
        because=(Difference("tags", was, tags),),
        done=(_ours(want),),
        expect=(
            Check(
                command("fleet_digest", str(want.vmid), guest.config.digest),
                "its configuration is the one that the plan saw",
            ),
            _unlocked(want),
        ),
        do=(pct.set_(want.vmid, {"tags": tags}, digest=guest.config.digest),),
    )


def destroy(
    want: Container, guest: Guest, zfs: Mapping[str, Sequence[str]], *, stop_first: bool
) -> tuple[Step, ...]:
    """Destroys a container that fleet manages, with its volumes. `zfs`: snapshots of these, by dataset."""
    gone = Check(command("fleet_free", str(want.vmid)), "it is gone")
    same = Check(
        command("fleet_digest", str(want.vmid), guest.config.digest),
        "its configuration is the one that the plan saw",
    )
    volumes = tuple(
        Difference(key, value, None, Impact.DESTROYS_DATA)
        for key, value in sorted(guest.config.current.items())
        if holds_volume(key, value)
    )
    own = [snapshot.name for snapshot in guest.config.snapshots]
    names = {**({"snapshots": own} if own else {}), **{f"snapshots of {each}": zfs[each] for each in zfs}}
    snapshots = tuple(
        Difference(key, ", ".join(each), None, Impact.DESTROYS_DATA) for key, each in names.items()
    )
    stopping = Step(
        id=step_id(want, "stop"),
        subject=subject(want),
        action="shutdown",
        because=(Difference("status", "running", "stopped", Impact.OFFLINE),),
        done=(_stopped(want),),
        expect=(same, _unlocked(want)),
        do=(pct.shutdown(want.vmid, PATIENCE), _await_ha(want, "fleet_stopped")),
        impact=Impact.OFFLINE,
    )
    destroying = Step(
        id=step_id(want, "destroy"),
        subject=subject(want),
        action="destroy",
        because=(*volumes, *snapshots),
        done=(gone,),
        expect=(_ours(want), _stopped(want), _unlocked(want))
        if stop_first
        else (same, _stopped(want), _unlocked(want)),
        do=(pct.destroy(want.vmid),),
        impact=Impact.DESTROYS_DATA,
        needs=(stopping.id,) if stop_first else (),
    )
    return (stopping, destroying) if stop_first else (destroying,)


def holds_volume(key: str, value: str) -> bool:
    """True where a key of the configuration is a volume, which goes with the container."""
    return (key == "rootfs" or family(key) in ("mp", "unused")) and not value.startswith("/")


def _in_template(path: str) -> bool:
    """True where the file tree of a distribution may hold something."""
    return path.split("/")[1] in _TREE


def _await_ha(want: Container, check: str) -> Command:
    return command("fleet_await_ha", str(want.vmid), check, str(want.vmid))


# ── checks ────────────────────────────────────────────────────────────────────────────────────────


def _ours(want: Container) -> Check:
    return Check(
        command("fleet_ours", str(want.vmid), want.hostname),
        f"{want.vmid} is {want.hostname} and carries the tag fleet",
    )


def _unlocked(want: Container) -> Check:
    return Check(command("fleet_unlocked", str(want.vmid)), "Proxmox holds no lock on it")


def _running(want: Container) -> Check:
    return Check(command("fleet_running", str(want.vmid)), "it is running")


def _stopped(want: Container) -> Check:
    return Check(command("fleet_stopped", str(want.vmid)), "it is stopped")


def _size(want: Container, key: str, size: str) -> Check:
    return Check(command("fleet_size", str(want.vmid), key, _literal(size)), f"{key} has {size}")


def _has(vmid: int, change: Change) -> Check:
    return _has_value(vmid, change.key, change.value, change.generated)


def _has_value(vmid: int, key: str, value: str | None, generated: tuple[str, ...]) -> Check:
    """The check that a key has the value which Proxmox stores after being given this one."""
    number = str(vmid)
    if value is None:
        return Check(command("fleet_unset", number, key), f"{key} is not set")
    if key == "description":
        return Check(command("fleet_is", number, key, encode_description(value)), f"{key} is as wanted")
    if key == "tags":
        return Check(command("fleet_tags", number, value), f"{key} is {value}")
    if family(key) not in ("net", "mp"):
        return Check(command("fleet_is", number, key, value), f"{key} is {value}")
    stored = props_of(key, value)
    if family(key) == "net":
        stored.setdefault("type", "veth")
    holes = {"hwaddr": "[0-9A-Fa-f:]{17}", "volume": "[^,]+", "size": "[^,]+"}
    wild = {name: f"\0{name}\0" for name in generated}
    text = _literal(print_value(key, {**stored, **wild}))
    for name in generated:
        text = text.replace(_literal(f"\0{name}\0"), holes[name])
    return Check(command("fleet_like", number, key, text), f"{key} is {value}")


def _shown(template: Word) -> str:
    return template if isinstance(template, str) else f"$({template.command.sh()})"


def _literal(text: str) -> str:
    """The extended regular expression that matches exactly this text."""
    return "".join("\\" + char if char in r"\.[]*^$+?{}|()" else char for char in text)
