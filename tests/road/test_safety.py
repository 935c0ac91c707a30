"""Whatever stands on the host, no plan of provision.all holds a command that could lose data. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.core.plan import Part, Step
from fleet.domains.guests import plan
from fleet.domains.guests.facts import Guest
from fleet.domains.guests.spec import Container
from fleet.tools.pct.config import Config, parse_config
from fleet.tools.pct.keys import family
from tests.builders import GIB, bind, container, facts, volume

_MOUNTS = st.sampled_from(
    (
        "docker:subvol-100-disk-1,mp=/docker,size=8G",
        "docker:subvol-100-disk-2,mp=/old,size=4G",
        "guests:subvol-100-disk-3,mp=/docker,size=16G",
        "/data,mp=/data",
        "/data,mp=/docker",
        "/dev/sdb1,mp=/disk",
        "docker:subvol-100-disk-4",
        "garbage",
        "mp=/docker",
        "a=b,a=b",
    )
)
_LINES = st.one_of(
    st.builds(lambda key, value: f"{key}: {value}", st.sampled_from(("mp0", "mp1", "mp2", "mp10")), _MOUNTS),
    st.builds(
        lambda text: f"rootfs: {text}", st.sampled_from(("guests:subvol-100-disk-0,size=8G", "x", "guests:1"))
    ),
    st.sampled_from(
        (
            "memory: 1024",
            "memory: lots",
            "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:12:94:79",
            "net0: garbage",
            "net12: name=e,bridge=vmbr0",
            "features: nesting=1",
            "features: a=b,a=c",
            "unused0: docker:subvol-100-disk-9",
            "tags: fleet",
            "tags: Fleet x;y",
            "lock: snapshot",
            "protection: 1",
            "unprivileged: 1",
            "startup: 5",
            "description: a key",
            "lxc.cap.drop: x",
            "# a note",
            "nonsense",
            "entrypoint: /sbin/init",
            "dev0: /dev/fuse",
        )
    ),
)
_DELETES = st.builds(
    lambda keys: f"delete: {','.join(keys)}",
    st.lists(st.sampled_from(("mp0", "mp1", "!mp1", "memory", "net0", "features", "tags")), min_size=1),
)


@st.composite
def hosts(draw: Callable[..., Any]) -> tuple[str, bool]:
    """A config file of container 100, however broken, and whether it runs."""
    main = draw(st.lists(_LINES, max_size=10))
    pending = draw(st.lists(_LINES | _DELETES, max_size=4))
    lines = ["hostname: web", "tags: fleet", *main, *(["", "[pve:pending]", *pending] if pending else [])]
    return "\n".join(lines) + "\n", draw(st.booleans())


WANTED = st.builds(
    container,
    config=st.fixed_dictionaries(
        {},
        optional={
            "memory": st.sampled_from(("1024", "2048", None)),
            "features": st.sampled_from(("nesting=1,fuse=1", None)),
            "net1": st.just("name=eth1,bridge=vmbr1"),
            "nameserver": st.just("1.1.1.1"),
        },
    ),
    mounts=st.sampled_from(
        (
            (),
            (bind(),),
            (volume(),),
            (volume(slot="mp0"), bind(slot="mp1")),
            (volume(size=16 * GIB, slot="mp10"), bind(mp="/disk", source="/dev/sdb1", slot="mp2")),
        )
    ),
    rootfs_size=st.sampled_from((4 * GIB, 8 * GIB, 12 * GIB)),
    rootfs_storage=st.sampled_from(("guests", "other")),
    unprivileged=st.booleans(),
    started=st.booleans(),
    raw=st.sampled_from((None, (), ("lxc.cap.drop: y",))),
)


def planned(want: Container, text: str, running: bool, restart: bool) -> tuple[Config, Part]:
    config = parse_config(text, "0" * 40)
    guest = Guest(100, "lxc", config, running, "7" if running else "")
    return config, plan([want], facts(guest), {"debian-13": "local:vztmpl/d.tar.zst"}, {}, restart=restart)


@given(want=WANTED, host=hosts(), restart=st.booleans())
@settings(deadline=None, max_examples=300)
@example(
    container(mounts=(volume(),)),
    (
        "hostname: web\ntags: fleet\nmp1: docker:v,mp=/docker,size=8G\n\n[pve:pending]\ndelete: mp1\n",
        True,
    ),
    False,
)
@example(
    container(),
    ("hostname: web\ntags: fleet\nmp0: docker:v,mp=/x,size=8G\n\n[pve:pending]\nmp0: /data,mp=/y\n", True),
    False,
)
def test_no_command_of_a_plan_can_lose_data(want: Container, host: tuple[str, bool], restart: bool) -> None:
    config, part = planned(want, *host, restart)
    for step in part.steps:
        assert step.done, step.id
        for each in step.do:
            words = [str(word) for word in each.words]
            assert words[0] in ("pct", "fleet_raw", "fleet_await_ha"), words
            assert words[1] not in ("destroy", "stop", "rollback", "move-volume", "restore", "create"), words
            _keeps_volumes(words, config)


def _keeps_volumes(words: list[str], config: Config) -> None:
    options = dict(zip(words[3::2], words[4::2], strict=False)) if words[1:2] == ["set"] else {}
    for key in options.get("--delete", "").split(","):
        there = {config.current.get(key, "/"), config.pending.get(key, "/")}
        assert family(key) not in ("rootfs", "unused"), f"deletes {key}"
        assert family(key) != "mp" or all(value.startswith("/") for value in there), (
            f"detaches {key}: {there}"
        )
    for option, value in options.items():
        key = option.removeprefix("--")
        if family(key) in ("rootfs", "mp") and re.match(r"[a-z]+:[0-9.]+(,|$)", value):
            assert key not in config.current, f"{key} gets a new volume in place of {config.current[key]}"
            assert key not in config.pending, f"{key} gets a second volume beside {config.pending[key]}"


@given(want=WANTED, host=hosts())
@settings(deadline=None, max_examples=200)
def test_nothing_that_runs_is_interrupted_without_restart(want: Container, host: tuple[str, bool]) -> None:
    _, part = planned(want, *host, restart=False)
    offline: list[Step] = [step for step in part.steps if step.action in ("restart", "shutdown", "stop")]
    assert offline == []


@given(want=WANTED, host=hosts(), lock=st.sampled_from(("backup", "migrate", "create", "disk")))
@settings(deadline=None, max_examples=100)
def test_a_locked_guest_has_no_steps_whatever_else_is_true(
    want: Container, host: tuple[str, bool], lock: str
) -> None:
    text, running = host
    _, part = planned(
        want, f"lock: {lock}\n" + re.sub(r"^lock: .*\n", "", text, flags=re.MULTILINE), running, restart=True
    )
    assert part.steps == ()
    assert len(part.notes) == 1
