"""Properties of the road, on fleets made up by hypothesis: pure where possible, else against the lab."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fleet.converge import gather, make_plan
from fleet.core.command import Capture, command
from fleet.core.plan import Check, Step
from fleet.host.guarded import prelude
from fleet.run import connected
from tests import thorough
from tests.road import fleets, operator, picture
from tests.road.world import State, World

#: Against the lab: the same examples in each run, and none made smaller, which would take minutes.
LAB = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# ── fleets ────────────────────────────────────────────────────────────────────────────────────────

NAMES = ("web", "db", "mail")

#: A folder of the dataset at /data, as an operator makes it.
FOLDER = "papers"

#: Text that a shell, Perl, awk or Proxmox could take for something else.
AWKWARD = st.one_of(
    st.sampled_from(
        (
            'it\'s $(reboot) `id` "quoted" \\ back',
            "-leading dash",
            "--delete rootfs",
            "line one\nline two\n\n  indented: 100%",
            "ünïcödé ✓ 日本",
            "#hash; semi & amp | pipe > file",
            "lock: backup",
            "[pve:pending]",
            "a,b=c;d",
            "*? [a-z] ~ {x,y} !!",
            "$HOME ${PATH} %41 %0A",
        )
    ),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40).filter(str.strip),
)

_SETTINGS: Mapping[str, st.SearchStrategy[Any]] = {
    "memory": st.sampled_from((128, 256, 384)),
    "cores": st.integers(1, 4),
    "cpulimit": st.sampled_from(("0.5", "2", "1.25")),
    "description": AWKWARD,
    "features": st.sampled_from(("nesting=1", "nesting=1,fuse=1", "keyctl=1,nesting=1,mount=nfs;cifs")),
    "nameserver": st.sampled_from(("1.1.1.1", ["1.1.1.1", "9.9.9.9"])),
    "searchdomain": st.sampled_from(("home.arpa", ["home.arpa", "lan"])),
    "onboot": st.booleans(),
    "protection": st.just(False),
    "startup": st.sampled_from(("1", "order=2,up=5", "order=3,down=9")),
    "tags": st.sampled_from(("a", ["b", "a_1.x"], "web;db")),
    "tty": st.integers(0, 6),
    "rootfs": st.sampled_from(("guests:1", "guests:2", "guests:1.5")),
    "mp0": st.sampled_from(("mp=/data", "mp=/mnt/data,ro=1")),
    "mp1": st.sampled_from(("docker:1,mp=/docker", "docker:2,mp=/docker,backup=1", "docker:1,mp=/other")),
    "dev0": st.sampled_from(("/dev/dri/renderD128,gid=993", "/dev/dri/renderD128,gid=104,mode=0666")),
    "raw": st.sampled_from(([], ["lxc.cap.drop: sys_time"], ["lxc.log.level: 1", "lxc.cap.drop: x y"])),
    "started": st.booleans(),
    "template": st.sampled_from(("debian-13", "alpine")),
}


#: Where each dataset is mounted: (by its own mountpoint, or by what it inherits), directory.
_PLACES: Mapping[str, tuple[bool, str]] = {
    "tank/data": (True, "/data"),
    "tank/plain": (False, "/tank/plain"),
    "tank/shared": (True, "/shared"),
    "tank/shared/films": (False, "/shared/films"),
    "tank/other": (True, "/shared/other"),
}

#: Each with all that its datasets are below: what one fleet leaves out, the next could find in another place.
_SETS = (
    ("tank/data",),
    ("tank/data", "tank/plain"),
    ("tank/data", "tank/shared/films", "tank/shared"),
    ("tank/data", "tank/other", "tank/shared"),
    tuple(_PLACES),
)

_PROPERTIES: Mapping[str, st.SearchStrategy[Any]] = {
    "compression": st.sampled_from(("lz4", "gzip-6", "zstd-3", "zstd-fast-1", "off")),
    "recordsize": st.sampled_from(("64K", "1M")),
    "xattr": st.sampled_from(("on", "sa", "dir", "off")),
    "acltype": st.sampled_from(("off", "posix", "posixacl")),
    "atime": st.sampled_from(("on", "off")),
    "quota": st.sampled_from(("8G", "1.5T")),
    "owner": st.sampled_from(("7:8", "100000:100000")),  # others than what a new dataset has
    "mode": st.sampled_from(("750", "2775")),
}


@st.composite
def guests(draw: Callable[..., Any], vmid: int, sources: tuple[str, ...]) -> dict[str, Any]:
    """One container with some settings."""
    keys = draw(st.sets(st.sampled_from(sorted(_SETTINGS)), max_size=8))
    settings = {key: draw(_SETTINGS[key]) for key in sorted(keys)}
    if "mp0" in settings:
        settings["mp0"] = f"{draw(st.sampled_from(sources))},{settings['mp0']}"
    return fleets.guest(vmid, **settings)


@st.composite
def homelabs(draw: Callable[..., Any]) -> dict[str, Any]:
    """Up to three containers on some datasets; a name always has the same VMID, or mountpoint."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    datasets: dict[str, dict[str, Any]] = {}
    for name in draw(st.sampled_from(_SETS)):
        keys = draw(st.sets(st.sampled_from(sorted(_PROPERTIES)), max_size=3))
        own, place = _PLACES[name]
        datasets[name] = {key: draw(_PROPERTIES[key]) for key in sorted(keys)}
        datasets[name] |= {"mountpoint": place} if own else {}
    sources = (f"/data/{FOLDER}", *(_PLACES[name][1] for name in datasets))
    return fleets.fleet(
        {name: draw(guests(100 + NAMES.index(name), sources)) for name in names},
        storage=fleets.storage(datasets),
    )


def turned(data: Mapping[str, Any], order: Callable[[list[Any]], list[Any]]) -> dict[str, Any]:
    """The same data with the keys of all its mappings in another order."""
    return {
        key: turned(data[key], order) if isinstance(data[key], Mapping) else data[key]
        for key in order(list(data))
    }


# ── converging ────────────────────────────────────────────────────────────────────────────────────


def holds(world: World, check: Check) -> bool:
    """Whether a check of a step holds on the node."""
    code, _, _ = world.lab.run(f"{prelude()}\n{check.command.sh()}", timeout=30)
    return code == 0


def begin(world: World, prepared: State) -> None:
    """The node with its storage made, and a folder in it."""
    world.restore(prepared)
    world.run(f"mkdir /data/{FOLDER}")


def converge(world: World, folder: Path, data: Mapping[str, Any]) -> None:
    """To this fleet, with all that a run has to keep."""
    inventory = fleets.read(folder, data)
    volumes, names = world.volumes(), world.names()
    for _ in range(2):  # the first may find something pending that a stop of its own makes effective
        run = operator.apply(inventory, restart=True)
        assert not run.left.steps, [(each.step.id, each.outcome, each.log) for each in run.results]
    assert run.results == (), "a second apply sends no action"
    assert operator.plan(inventory, restart=True).steps == ()
    assert volumes <= world.volumes()
    wanted = {settings["vmid"]: name for name, settings in data["containers"].items()}
    assert world.names() == {**names, **wanted}
    assert world.leftovers() == []


def guards_are_honest(world: World, folder: Path, data: Mapping[str, Any]) -> None:
    """Each step of a plan: not all of `done` and all of `expect` hold before it, all of `done` after it."""
    inventory = fleets.read(folder, data)
    steps = operator.plan(inventory, restart=True).steps
    for step in steps:
        assert not all(holds(world, check) for check in step.done), f"{step.id} is done before it runs"
        dishonest = [check.says for check in step.expect if not holds(world, check)]
        assert not dishonest, f"{step.id} expects what does not hold: {dishonest}"
        words = " && ".join(each.sh() for each in step.do)
        world.lab.run(f"{prelude()}\n{{ {words}; }} </dev/null", timeout=60)
        missing = [check.says for check in step.done if not holds(world, check)]
        assert not missing, f"{step.id} is not done after it has run: {missing}\n{words}"


@given(first=homelabs(), second=homelabs())
@settings(LAB, max_examples=3)
def test_any_fleet_becomes_any_other_and_nothing_is_destroyed(
    world: World, prepared: State, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    _any_to_any(world, prepared, tmp_path, first, second)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(first=homelabs(), second=homelabs())
@settings(LAB, max_examples=thorough.examples(8))
def test_many_fleets_become_many_others_and_nothing_is_destroyed(
    world: World, prepared: State, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    _any_to_any(world, prepared, tmp_path, first, second)


def _any_to_any(
    world: World, prepared: State, folder: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    begin(world, prepared)
    converge(world, folder, first)
    converge(world, folder, second)


@given(first=homelabs(), second=homelabs())
@settings(LAB, max_examples=3)
def test_a_guard_is_false_before_its_step_and_true_after_it(
    world: World, prepared: State, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    _honest(world, prepared, tmp_path, first, second)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(first=homelabs(), second=homelabs())
@settings(LAB, max_examples=thorough.examples(8))
def test_many_guards_are_false_before_their_steps_and_true_after_them(
    world: World, prepared: State, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    _honest(world, prepared, tmp_path, first, second)


def _honest(
    world: World, prepared: State, folder: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    begin(world, prepared)
    guards_are_honest(world, folder, first)
    guards_are_honest(world, folder, second)


#: What an operator may do by hand to container 100; what cannot be done just now fails.
BY_HAND = (
    "pct set 100 --features nesting=1,mknod=1",
    "pct set 100 --delete features",
    "pct set 100 --mp5 docker:1,mp=/theirs",
    "pct set 100 --mp0 /data,mp=/theirs",
    "pct set 100 --delete mp0",
    "pct set 100 --delete mp1",
    "pct set 100 --net0 name=eth0,bridge=vmbr1,ip=dhcp",
    "pct set 100 --net3 name=eth3,bridge=vmbr1",
    "pct set 100 --tags 'fleet;theirs'",
    "pct set 100 --memory 700 --swap 64 --cores 3",
    "pct set 100 --nameserver 8.8.8.8 --searchdomain example.com",
    "pct set 100 --description 'by hand'",
    "pct resize 100 rootfs +512M",
    "pct resize 100 mp1 +512M",
    "pct stop 100",
    "pct start 100",
    "pct reboot 100",
    "pct snapshot 100 before",
    "zfs set quota=64G tank/docker",
    "zfs set compression=gzip-9 xattr=off tank/data",
    "zfs inherit acltype tank/shared",
    "chown 0:0 /data",
    "chmod 700 /shared/films",
)


@given(first=homelabs(), hands=st.lists(st.sampled_from(BY_HAND), min_size=1, max_size=4), second=homelabs())
@settings(LAB, max_examples=2)
def test_what_was_done_by_hand_is_taken_in_and_nothing_is_destroyed(
    world: World,
    prepared: State,
    tmp_path: Path,
    first: dict[str, Any],
    hands: list[str],
    second: dict[str, Any],
) -> None:
    _by_hand(world, prepared, tmp_path, first, hands, second)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(first=homelabs(), hands=st.lists(st.sampled_from(BY_HAND), min_size=1, max_size=4), second=homelabs())
@settings(LAB, max_examples=thorough.examples(10))
def test_much_that_was_done_by_hand_is_taken_in_and_nothing_is_destroyed(
    world: World,
    prepared: State,
    tmp_path: Path,
    first: dict[str, Any],
    hands: list[str],
    second: dict[str, Any],
) -> None:
    _by_hand(world, prepared, tmp_path, first, hands, second)


def _by_hand(
    world: World,
    prepared: State,
    folder: Path,
    first: dict[str, Any],
    hands: list[str],
    second: dict[str, Any],
) -> None:
    begin(world, prepared)
    web = fleets.guest(100, mp0="/data,mp=/data", mp1="docker:1,mp=/docker")
    first["containers"].setdefault("web", web)
    converge(world, folder, first)
    for hand in hands:
        world.lab.run(hand, timeout=30)
    converge(world, folder, second)


@given(data=homelabs())
@settings(LAB, max_examples=10)
def test_the_order_in_hosts_yml_changes_nothing_in_the_plan(
    world: World, tmp_path: Path, data: dict[str, Any]
) -> None:
    with connected(fleets.read(tmp_path, data)) as shell:
        facts = gather(shell, fleets.read(tmp_path, data))
    plans = [
        make_plan(fleets.read(tmp_path, turned(data, order)), facts)
        for order in (list, lambda keys: keys[::-1], sorted)
    ]
    assert {plan.steps for plan in plans} == {plans[0].steps}
    assert {plan.notes for plan in plans} == {plans[0].notes}


def test_reading_changes_nothing_on_the_host(world: World, tmp_path: Path) -> None:
    data = fleets.fleet(
        {"web": fleets.guest(100, mp0="/data,mp=/data"), "db": fleets.guest(101, started=False)}
    )
    for inventory in (fleets.read(tmp_path, data), fleets.read(tmp_path, data)):
        before = picture.take(world.root)
        assert operator.plan(inventory, restart=True).steps
        assert picture.differences(before, picture.take(world.root)) == []
    operator.settle(inventory)
    before = picture.take(world.root)
    assert operator.plan(inventory).steps == ()
    assert picture.differences(before, picture.take(world.root)) == []


# ── quoting ───────────────────────────────────────────────────────────────────────────────────────


def _words(step: Step) -> list[str]:
    return [word for each in step.do for word in each.words if not isinstance(word, Capture)]


@given(texts=st.lists(AWKWARD | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
@settings(deadline=None, max_examples=60)
def test_any_words_reach_a_program_through_a_real_sh_unchanged(texts: list[str]) -> None:
    sent = command("printf", "%s\\0", *texts).sh()
    done = subprocess.run(["sh", "-c", sent], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == (texts or [""])


@given(
    description=AWKWARD,
    path=st.sampled_from(
        ("/mnt/it's", "/mnt/a b", "/mnt/$(id)", "/mnt/-x", '/mnt/"q"', "/mnt/ä", "/mnt/a\\b", "/mnt/*")
    ),
    raw=AWKWARD.filter(lambda text: "\n" not in text),
)
@settings(LAB, max_examples=4)
def test_every_text_of_hosts_yml_reaches_the_hosts_configuration_unchanged(
    world: World, prepared: State, tmp_path: Path, description: str, path: str, raw: str
) -> None:
    world.restore(prepared)
    texts = {"description": description, "mp2": f"/data,mp={path}", "raw": [f"lxc.log.file: {raw}"]}
    data = fleets.fleet({"web": fleets.guest(100, **texts, started=False)})
    inventory = fleets.read(tmp_path, data)
    operator.settle(inventory)
    with connected(inventory) as shell:
        found = gather(shell, inventory).guests.guests[100].config
    assert found.current["description"] == inventory.containers[0].config["description"]
    assert found.current["mp2"] == f"/data,mp={path}"
    assert found.raw == inventory.containers[0].raw
    changed = fleets.read(
        tmp_path, fleets.fleet({"web": fleets.guest(100, description=f"{description}.", started=False)})
    )
    run = operator.settle(changed)
    assert [each.outcome.value for each in run.results] == ["done"]
