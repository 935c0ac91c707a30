"""What fleet/host/backup.sh does and refuses on real OpenZFS, function by function."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet.core.command import command
from fleet.host.guarded import library
from tests.zfs.machine import Machine
from tests.zfs.node import Node

pytestmark = [pytest.mark.zfs, pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]

SET = "fleet-daily-20261101t070000z"
G = "tank/guests/g"
MINE = "id=$(cat /var/lib/fleet/installation)"

#: A shell script run there after fleet's functions were read: exit code, stdout.
Call = Callable[[str], tuple[int, str]]


@pytest.fixture(scope="module")
def empty(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A node without guests, with this installation's id."""
    Node(machine, tmp_path_factory.mktemp("node")).make(())
    return machine


@pytest.fixture
def call(empty: Machine) -> Call:
    """On a dataset with one snapshot that fleet made of it."""

    def run(script: str) -> tuple[int, str]:
        code, out, err = empty.run(f"{library('prelude.sh')}\n{library('backup.sh')}\n{script}")
        return code, out + err

    empty.ok(
        f"zfs list -H -o name {G} >/dev/null 2>&1 && zfs destroy -R {G}; rm -f /var/lib/fleet/backups.log"
    )
    empty.ok(f"zfs create {G}; zfs create {G}/below")
    code, said = run(command("fleet_take_zfs", SET, "10", f"- - {G}").sh())
    assert code == 0, said
    return run


def drop(path: str = f"{G}@{SET}", vmid: str = "-") -> str:
    """The call that removes a snapshot whose guid is read before anything else is done."""
    return f'guid=$(zfs get -Hp -o value guid {G}@{SET}); CHANGE\nfleet_drop_zfs "{vmid} {path} $guid"'


def test_what_is_ours_and_free_is_removed_and_recorded(call: Call, empty: Machine) -> None:
    code, said = call(drop().replace("CHANGE", ":"))
    assert code == 0, said
    assert empty.run(f"zfs list {G}@{SET}")[0] != 0
    verbs = empty.ok("awk '{ print $2 }' /var/lib/fleet/backups.log").split()
    assert verbs == ["making", "made", "removing", "removed"]
    assert call(f"fleet_gone_zfs '- {G}@{SET} 1'")[0] == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (f"zfs hold keep {G}@{SET}", "is held"),
        (f"zfs clone {G}@{SET} {G}/clone", f"has clones: {G}/clone"),
        (f"zfs set fleet:pinned=2100-01-01 {G}@{SET}", "is pinned until 2100-01-01"),
        (
            f"{MINE}; zfs destroy {G}@{SET} && zfs snapshot -o fleet:owner=$id {G}@{SET}",
            "is another snapshot than the one that was planned",
        ),
        (
            f"{MINE}; zfs inherit fleet:owner {G}@{SET}; zfs set fleet:owner=$id {G}",
            "does not carry our mark",
        ),
        (f"zfs set fleet:owner=0123456789abcdef {G}@{SET}", "does not carry our mark"),
        ("rm /var/lib/fleet/backups.log", "is not in the record of what fleet made"),
    ],
    ids=["held", "cloned", "pinned", "made anew", "mark inherited", "another's mark", "not recorded"],
)
def test_what_is_not_ours_or_not_free_stays(call: Call, empty: Machine, change: str, why: str) -> None:
    code, said = call(drop().replace("CHANGE", f"{{ {change}; }} >/dev/null"))
    assert code == 1
    assert f"fleet: kept {G}@{SET} it {why}" in said
    assert empty.run(f"zfs list {G}@{SET}")[0] == 0
    empty.run(f"zfs release keep {G}@{SET}")


@pytest.mark.parametrize("path", [f"{G}@{SET}%other", f"{G}@{SET},other", f"{G}@autosnap", G, "-r", f"{G}@%"])
def test_no_other_word_reaches_zfs_destroy(call: Call, empty: Machine, path: str) -> None:
    before = empty.ok("zfs list -H -o name -t all")
    call(f"zfs snapshot {G}@other; echo '1 made {SET} {path} 1' >>/var/lib/fleet/backups.log")
    call(drop(path).replace("CHANGE", ":"))
    assert set(before.splitlines()) <= set(empty.ok("zfs list -H -o name -t all").splitlines())


def test_a_set_is_one_transaction_and_a_dataset_that_is_gone_stops_no_other(
    call: Call, empty: Machine
) -> None:
    code, said = call(
        command(
            "fleet_take_zfs",
            "fleet-two-20261102t070000z",
            "10",
            f"- - {G}",
            f"- - {G}/below",
            "- - tank/gone",
        ).sh()
    )
    assert code == 1
    assert "fleet: failed tank/gone" in said
    assert "dataset does not exist" in said
    listed = empty.ok("zfs list -H -o name -t snapshot -r tank")
    assert f"{G}@fleet-two-20261102t070000z" in listed
    assert f"{G}/below@fleet-two-20261102t070000z" in listed


def test_a_second_call_takes_only_what_is_lacking(call: Call, empty: Machine) -> None:
    guid = empty.ok(f"zfs get -Hp -o value guid {G}@{SET}")
    code, said = call(command("fleet_take_zfs", SET, "10", f"- - {G}", f"- - {G}/below").sh())
    assert code == 0, said
    assert empty.ok(f"zfs get -Hp -o value guid {G}@{SET}") == guid
    assert empty.run(f"zfs list {G}/below@{SET}")[0] == 0
