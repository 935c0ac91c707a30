"""Replicas on values: what is sent from where, when nothing is, and what may be removed there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.plan import Step
from fleet.core.probe import Answer
from fleet.domains.backup import replicas
from fleet.domains.backup.items import BackupFacts, ZfsSnapshot
from fleet.domains.backup.replicas import names
from fleet.domains.backup.replicas.facts import Bookmark, Copy, Place, ReplicaFacts, Target, Token
from fleet.domains.backup.spec import BackupSpec, Brake, Keep, Replica, Subject
from tests.domains.backup_values import ID, at, bind, daily, facts, guest, spec, volume, zfs

DATA = "tank/data"
USB = Replica("usb", "usb/replica", None, "04:00", Keep(last=2))
NAS = Replica("nas", "backup/pve", "root@nas", "04:00", Keep(last=2))
SUBJECT = Subject(DATA, None, replicas=("usb",))
THERE = "usb/replica/tank:data"
MARK = f"{ID}:{DATA}"


def copy_of(snapshot: ZfsSnapshot, **changes: object) -> Copy:
    """The snapshot as a replica has it: the guid is the same, the transaction another."""
    made = Copy(snapshot.name, snapshot.guid, snapshot.createtxg // 7, snapshot.creation, 500, 0)
    return replace(made, **changes)  # type: ignore[arg-type]


def foreign_copy(name: str, days_ago: int) -> Copy:
    """A snapshot that was made on the replica itself."""
    return Copy(name, f"9{days_ago}", at(days_ago) // 7, at(days_ago), 500, 0)


def target(*copies: Copy, mark: str = MARK, token: Token | None = None, dataset: str = THERE) -> Target:
    """The dataset on the replica."""
    return Target(dataset, mark, True, token, tuple(sorted(copies, key=lambda each: each.createtxg)))


def bookmark(snapshot: ZfsSnapshot, replica: Replica = USB) -> Bookmark:
    """What the source remembers of a snapshot that it sent."""
    path = names.bookmark(replica, snapshot.dataset, snapshot.name)
    return Bookmark(snapshot.dataset, path.partition("#")[2], snapshot.guid, snapshot.createtxg)


def found(
    *targets: Target,
    marks: Iterable[Bookmark] = (),
    problem: str = "",
    replica: Replica = USB,
    **changes: object,
) -> ReplicaFacts:
    """What was read of one replica; everything that is there was sent by fleet."""
    by_dataset: dict[str, tuple[Bookmark, ...]] = {}
    for each in marks:
        by_dataset[each.dataset] = (*by_dataset.get(each.dataset, ()), each)
    made = ReplicaFacts(
        places={replica.name: Place({each.dataset: each for each in targets}, problem)},
        bookmarks=by_dataset,
        sent=frozenset(
            (f"{names.place(replica)}{each.dataset}@{copy.name}", copy.guid)
            for each in targets
            for copy in each.copies
            if copy.name.startswith("fleet-")
        ),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def policy(*subjects: Subject, replica: Replica = USB, **changes: object) -> BackupSpec:
    """The wish for one replica."""
    return spec(*(subjects or (SUBJECT,)), replicas={replica.name: replica}, **changes)


def sending(
    host: BackupFacts, there: ReplicaFacts, *subjects: Subject, replica: Replica = USB
) -> replicas.Sending:
    """The plan of a run."""
    made = policy(*subjects, replica=replica)
    return replicas.send(made, made.subjects, host, there)


def words(step: Step, number: int = 0) -> tuple[str, ...]:
    return tuple(map(str, step.do[number].words))


# ── names ─────────────────────────────────────────────────────────────────────────────────────────

_COMPONENT = st.text("abz09._:-", min_size=1, max_size=6)
_PATHS = st.lists(_COMPONENT, min_size=1, max_size=4).map("/".join)


@given(_PATHS)
def test_a_flat_name_is_one_level_and_leads_back(path: str) -> None:
    assert "/" not in names.flat(path)
    assert names.unflat(names.flat(path)) == path


def test_a_flat_name_can_be_read() -> None:
    assert names.target(USB, "tank/guests/subvol-107-disk-0") == "usb/replica/tank:guests:subvol-107-disk-0"


def test_a_bookmark_says_its_replica_and_time() -> None:
    made = names.bookmark(replace(USB, name="usb-2"), DATA, "fleet-daily-20261123t070000z")
    assert made == "tank/data#fleet-usb-2-20261123t070000z"
    assert names.replica_of(made.partition("#")[2]) == "usb-2"
    assert names.replica_of("by-hand") == ""


# ── sending ───────────────────────────────────────────────────────────────────────────────────────


def test_the_first_one_is_whole() -> None:
    (step,) = sending(facts(snapshots=[daily(DATA, 1), daily(DATA, 0)]), found()).part.steps
    newest = daily(DATA, 0)
    assert words(step)[:5] == ("fleet_send", "-", "usb/replica", THERE, MARK)
    assert words(step)[5:] == ("filesystem", "plain", "0", newest.path, newest.guid, "full")
    assert words(step, 1) == ("fleet_remember", "usb", newest.path, bookmark(newest).path, newest.guid)


def test_the_next_one_follows_what_the_replica_has_last_by_guid() -> None:
    old, new = daily(DATA, 3), daily(DATA, 0)
    there = target(copy_of(old, name="renamed-there"))
    (step,) = sending(facts(snapshots=[old, daily(DATA, 2), new]), found(there)).part.steps
    assert words(step)[-2:] == ("from", old.path)


def test_a_snapshot_of_the_same_name_and_another_guid_is_no_base() -> None:
    old, new = daily(DATA, 3), daily(DATA, 0)
    there = target(copy_of(old, guid="1"))
    planned = sending(facts(snapshots=[old, new]), found(there))
    assert not planned.part.steps
    assert "no snapshot and no bookmark in common" in planned.refused["tank/data to usb"]


def test_a_bookmark_is_a_base_after_the_source_lost_the_snapshot() -> None:
    old, new = daily(DATA, 30), daily(DATA, 0)
    there = found(target(copy_of(old)), marks=[bookmark(old)])
    (step,) = sending(facts(snapshots=[new]), there).part.steps
    assert words(step)[-2:] == ("from", bookmark(old).path)


def test_the_second_plan_is_empty() -> None:
    new = daily(DATA, 0)
    there = found(target(copy_of(daily(DATA, 1)), copy_of(new)), marks=[bookmark(new)])
    planned = sending(facts(snapshots=[daily(DATA, 1), new]), there)
    assert not planned.part.steps
    assert not planned.refused


def test_what_arrived_and_is_not_remembered_yet_is_bookmarked() -> None:
    new = daily(DATA, 0)
    (step,) = sending(facts(snapshots=[new]), found(target(copy_of(new)))).part.steps
    assert step.action == "bookmark"


def test_only_snapshots_of_ours_are_sent() -> None:
    mine, foreign = daily(DATA, 1), zfs(DATA, "autosnap_x", at(0), ours=False)
    (step,) = sending(facts(snapshots=[mine, foreign]), found()).part.steps
    assert mine.path in words(step)
    nothing = sending(facts(snapshots=[foreign]), found())
    assert "no snapshot of ours" in nothing.refused["tank/data to usb"]


def test_a_newer_snapshot_that_was_made_on_the_replica_is_divergence_and_both_sides_are_named() -> None:
    old, new = daily(DATA, 3), daily(DATA, 0)
    there = target(copy_of(old), foreign_copy("by-hand", 1))
    planned = sending(facts(snapshots=[old, new]), found(there))
    why = planned.refused["tank/data to usb"]
    assert not planned.part.steps
    for text in ("diverged", "by-hand", new.path, f"@{old.name}", "UTC", "nothing was changed"):
        assert text in why


def test_a_dataset_that_is_not_marked_as_ours_is_refused() -> None:
    old, new = daily(DATA, 3), daily(DATA, 0)
    for mark in ("", f"{'f' * 32}:{DATA}", f"{ID}:tank/other"):
        planned = sending(facts(snapshots=[old, new]), found(target(copy_of(old), mark=mark)))
        assert not planned.part.steps
        assert "not ours" in planned.refused["tank/data to usb"]


def test_a_replica_that_already_has_something_newer_of_the_source_is_left_alone() -> None:
    mine, newer = daily(DATA, 1), zfs(DATA, "by-hand", at(0), ours=False)
    there = found(target(copy_of(newer)))
    planned = sending(facts(snapshots=[mine, newer]), there)
    assert not planned.part.steps
    assert not planned.refused


def test_a_replica_that_cannot_be_read_is_a_failure() -> None:
    planned = sending(facts(snapshots=[daily(DATA, 0)]), found(problem="ssh: no route to host"))
    assert "no route to host" in planned.refused["tank/data to usb"]


def test_each_volume_of_a_guest_is_sent_and_a_bind_mount_is_not() -> None:
    state = guest(101, volume(), volume("mp1", number=1), bind())
    subject = Subject("ct101", 101, replicas=("usb",))
    host = facts([state], [daily(each.dataset, 0) for each in state.volumes if each.dataset])
    planned = sending(host, found(), subject)
    assert [step.subject for step in planned.part.steps] == [
        "tank/guests/subvol-101-disk-0 to usb",
        "tank/guests/subvol-101-disk-1 to usb",
    ]
    assert not planned.refused


def test_a_volume_that_is_not_zfs_cannot_have_a_replica_and_that_is_said() -> None:
    state = guest(101, volume(), volume("mp1", number=1, kind="lvmthin", storage="thin"))
    subject = Subject("ct101", 101, replicas=("usb",))
    planned = sending(facts([state], [daily("tank/guests/subvol-101-disk-0", 0)]), found(), subject)
    assert len(planned.part.steps) == 1
    assert "thin:subvol-101-disk-1" in planned.refused["ct101 to usb"]


def test_encrypted_data_goes_raw_and_a_zvol_as_a_volume() -> None:
    there = found(encrypted=frozenset({DATA}), volumes=frozenset({DATA}))
    (step,) = sending(facts(snapshots=[daily(DATA, 0)]), there).part.steps
    assert words(step)[5:7] == ("volume", "raw")


def test_a_bandwidth_limit_needs_cstream() -> None:
    slow = replace(USB, bwlimit=2048)
    (step,) = sending(facts(snapshots=[daily(DATA, 0)]), found(replica=slow), replica=slow).part.steps
    assert words(step)[7] == "2048"
    assert ("fleet_can", "cstream") in [check.command.words for check in step.expect]


# ── an interrupted transfer ───────────────────────────────────────────────────────────────────────


def token(of: ZfsSnapshot, base: ZfsSnapshot | None = None, stale: str = "") -> Token:
    return Token("1-abc-de-f00", of.path, of.guid, base.guid if base else "", stale)


def test_an_interrupted_transfer_goes_on_and_then_comes_the_newest() -> None:
    one, two, three = daily(DATA, 3), daily(DATA, 2), daily(DATA, 0)
    there = found(target(copy_of(one), token=token(two, one)))
    rest, last = sending(facts(snapshots=[one, two, three]), there).part.steps
    assert words(rest)[-2:] == ("resume", "1-abc-de-f00")
    assert words(last)[-2:] == ("from", two.path)
    assert last.needs == (rest.id,)


def test_an_interrupted_transfer_of_the_newest_is_all_there_is_to_do() -> None:
    one, two = daily(DATA, 3), daily(DATA, 0)
    there = found(target(copy_of(one), token=token(two, one)))
    (step,) = sending(facts(snapshots=[one, two]), there).part.steps
    assert "resume" in words(step)


def test_what_an_interrupted_first_transfer_left_is_ours_by_its_token() -> None:
    new = daily(DATA, 0)
    (step,) = sending(facts(snapshots=[new]), found(target(mark="", token=token(new)))).part.steps
    assert "resume" in words(step)


def test_an_unmarked_beginning_of_something_else_is_refused() -> None:
    other = Token("1-abc", "tank/else@x", "77")
    planned = sending(facts(snapshots=[daily(DATA, 0)]), found(target(mark="", token=other)))
    assert not planned.part.steps
    assert "not ours" in planned.refused["tank/data to usb"]


def test_a_stale_token_is_reported_with_the_command_that_drops_it() -> None:
    old = daily(DATA, 9)
    there = found(target(token=token(old, stale=f"'{old.path}' used in the initial send no longer exists")))
    planned = sending(facts(snapshots=[daily(DATA, 0)]), there)
    assert not planned.part.steps
    assert f"zfs receive -A {THERE}" in planned.refused["tank/data to usb"]


# ── what the sources must keep ────────────────────────────────────────────────────────────────────


def needed(host: BackupFacts, there: ReplicaFacts) -> dict[str, str]:
    made = policy()
    return dict(replicas.common(made, made.subjects, host, there).get(DATA, {}))


def test_the_newest_common_snapshot_is_needed() -> None:
    one, two, three = daily(DATA, 3), daily(DATA, 2), daily(DATA, 0)
    there = found(target(copy_of(one), copy_of(two)))
    assert needed(facts(snapshots=[one, two, three]), there) == {two.name: "newest common with usb"}


def test_what_an_interrupted_transfer_is_of_and_starts_from_is_needed() -> None:
    one, two, three = daily(DATA, 3), daily(DATA, 2), daily(DATA, 0)
    there = found(target(copy_of(one), token=token(two, one)))
    assert set(needed(facts(snapshots=[one, two, three]), there)) == {one.name, two.name}


def test_what_is_being_sent_is_needed_whatever_the_replica_says_of_it() -> None:
    one, two, three = daily(DATA, 3), daily(DATA, 2), daily(DATA, 0)
    sending = frozenset({(f"{THERE}@{two.name}", two.guid), ("usb/replica/tank:else@x", three.guid)})
    for there in (found(target(copy_of(one)), sending=sending), found(sending=sending)):
        said = needed(facts(snapshots=[one, two, three]), there)
        assert said.get(two.name) == "it is being sent to usb"
        assert three.name not in said


def test_of_a_replica_that_does_not_answer_everything_since_the_last_bookmark_may_be_needed() -> None:
    one, two, three = daily(DATA, 3), daily(DATA, 2), daily(DATA, 0)
    there = found(problem="timed out", marks=[bookmark(two)])
    assert set(needed(facts(snapshots=[one, two, three]), there)) == {two.name, three.name}


def test_without_a_bookmark_all_may_be_needed_once_something_was_sent() -> None:
    one, two = daily(DATA, 3), daily(DATA, 2)
    sent = frozenset({(f"{THERE}@{one.name}", one.guid)})
    assert len(needed(facts(snapshots=[one, two]), found(problem="timed out", sent=sent))) == 2
    assert needed(facts(snapshots=[one, two]), found(problem="timed out")) == {}


# ── removing there ────────────────────────────────────────────────────────────────────────────────


def pruned(there: ReplicaFacts, host: BackupFacts, **options: object) -> list[str]:
    """The copies that would go."""
    made = policy(brake=Brake(count=100, percent=100))
    sides = replicas.sides(made, made.subjects, host, there)
    pruning = replicas.prune(made, sides, host, there, **options)  # type: ignore[arg-type]
    return [word.partition("=")[0] for step in pruning.part.steps for word in words(step)[6:]]


def test_the_replicas_own_policy_decides_there() -> None:
    made = [daily(DATA, n) for n in range(5)]
    there = found(target(*map(copy_of, made)))
    assert set(pruned(there, facts(snapshots=made))) == {each.name for each in made[2:]}


def test_what_fleet_did_not_send_is_never_removed_there() -> None:
    made = [daily(DATA, n) for n in range(3)]
    there = found(
        target(*map(copy_of, made), foreign_copy("fleet-daily-20200101t000000z", 9), foreign_copy("x", 8))
    )
    ours = {each.name for each in made}
    sent = frozenset((path, guid) for path, guid in there.sent if path.partition("@")[2] in ours)
    host = facts(snapshots=made)
    assert pruned(replace(there, sent=sent), host) == [made[2].name]
    assert pruned(replace(there, sent=frozenset()), host) == []


def test_a_copy_with_another_guid_than_the_record_says_is_not_removed() -> None:
    made = [daily(DATA, n) for n in range(4)]
    there = found(target(*map(copy_of, made)))
    wrong = frozenset((path, f"{guid}0") for path, guid in there.sent)
    assert pruned(replace(there, sent=wrong), facts(snapshots=made)) == []


def test_held_and_cloned_copies_stay() -> None:
    made = [daily(DATA, n) for n in range(5)]
    there = found(
        target(
            copy_of(made[0]),
            copy_of(made[1]),
            copy_of(made[2], userrefs=1),
            copy_of(made[3], clones=("usb/x",)),
            copy_of(made[4]),
        )
    )
    assert pruned(there, facts(snapshots=made)) == [made[4].name]


def test_the_newest_copy_and_the_newest_common_one_always_stay() -> None:
    made = [daily(DATA, n) for n in range(4)]
    there = found(target(copy_of(made[3]), foreign_copy("a", 2), foreign_copy("b", 1)))
    assert pruned(there, facts(snapshots=made)) == []


def test_nothing_goes_where_the_source_was_not_brought_up_to_date() -> None:
    made = [daily(DATA, n) for n in range(5)]
    there = found(target(*map(copy_of, made)))
    assert pruned(there, facts(snapshots=made), failed={"tank/data to usb"}) == []
    assert pruned(there, facts(snapshots=made, complete=False)) == []


def test_nothing_goes_from_a_dataset_that_is_not_marked_as_ours() -> None:
    made = [daily(DATA, n) for n in range(5)]
    assert pruned(found(target(*map(copy_of, made), mark="")), facts(snapshots=made)) == []


def test_the_brake_stops_a_flood_there_too() -> None:
    made = [daily(DATA, n) for n in range(8)]
    host, there = facts(snapshots=made), found(target(*map(copy_of, made)))
    wish = policy(brake=Brake(count=3))
    sides = replicas.sides(wish, wish.subjects, host, there)
    pruning = replicas.prune(wish, sides, host, there)
    assert not pruning.part.steps
    assert "tank/data to usb" in pruning.braked
    assert replicas.prune(wish, sides, host, there, allowed=6).part.steps


# ── reading ───────────────────────────────────────────────────────────────────────────────────────

LISTED = f"""\
Welcome to nas!
usb/replica\t-\t-\toff
{THERE}\t-\t{MARK}\ton
usb/replica/tank:else\t1-f19-d0-aa\t-\ton
copies
{THERE}@fleet-daily-20261120t070000z\t111\t10\t1795158000\t500\t0\t
{THERE}@fleet-daily-20261121t070000z\t222\t20\t1795244400\t500\t1\tusb/clone
end
token 1-f19-d0-aa
resume token contents:
nvlist version: 0
\tobject = 0x2
\toffset = 0x0
\tbytes = 0x1d6f0
\ttoguid = 0xff
\ttoname = tank/else@fleet-daily-20261121t070000z
cannot resume send: 'tank/else@fleet-daily-20261121t070000z' used in the initial send no longer exists
token ends 255
"""


def answers(text: str = LISTED, code: int = 0) -> dict[str, Answer]:
    return {
        "replica-bookmarks": Answer(f"{DATA}#fleet-usb-20261120t070000z\t111\t5", 0),
        "replica-sources": Answer("tank\tfilesystem\toff\ntank/vm\tvolume\taes-256-gcm", 0),
        "replica-record": Answer(f"{THERE}@fleet-daily-20261120t070000z 111\n{THERE}@x -", 0),
        "replica-sending": Answer(f"{THERE}@fleet-daily-20261122t070000z 333\n", 0),
        "replica-usb": Answer(text, code),
    }


def test_a_replica_is_read_with_its_marks_copies_and_tokens() -> None:
    read = replicas.read(answers(), [USB])
    place = read.places["usb"]
    assert place.problem == ""
    assert [copy.guid for copy in place.targets[THERE].copies] == ["111", "222"]
    assert place.targets[THERE].mark == MARK
    assert place.targets[THERE].copies[1].clones == ("usb/clone",)
    left = place.targets["usb/replica/tank:else"].token
    assert left is not None
    assert (left.guid, left.snapshot) == ("255", "tank/else@fleet-daily-20261121t070000z")
    assert "no longer exists" in left.stale
    assert read.encrypted == read.volumes == {"tank/vm"}
    assert read.sent == {(f"{THERE}@fleet-daily-20261120t070000z", "111")}
    assert read.sending == {(f"{THERE}@fleet-daily-20261122t070000z", "333")}
    assert read.bookmarks[DATA][0].guid == "111"


@pytest.mark.parametrize("cut", range(0, len(LISTED.splitlines()) - 11, 1))
def test_an_answer_that_was_cut_short_is_no_answer(cut: int) -> None:
    text = "\n".join(LISTED.splitlines()[:cut])
    assert replicas.read(answers(text), [USB]).places["usb"].problem


def test_a_line_that_does_not_belong_there_makes_the_answer_unknown() -> None:
    broken = LISTED.replace("copies\n", "Warning: something\ncopies\n")
    assert "Warning" in replicas.read(answers(broken), [USB]).places["usb"].problem


def test_a_replica_without_its_dataset_says_how_to_make_it() -> None:
    text = "cannot open 'backup/pve': dataset does not exist"
    given = {**answers(), "replica-nas": Answer(text, 0)}
    problem = replicas.read(given, [NAS]).places["nas"].problem
    assert "zfs create" in problem
    assert "root@nas" in problem


def test_without_replicas_nothing_is_read() -> None:
    assert replicas.probes([]) == ()
    assert replicas.read({}, []) == ReplicaFacts()


def test_another_host_is_asked_in_the_same_execution_and_not_for_long() -> None:
    (probe,) = (each for each in replicas.probes([NAS]) if each.name == "replica-nas")
    assert "timeout -k 5 50 ssh -n -o BatchMode=yes -o ConnectTimeout=10 -- root@nas" in probe.sh


# ── what is never said to ZFS ─────────────────────────────────────────────────────────────────────


def _calls(name: str) -> list[str]:
    """Each call of zfs in a file of the host's functions, up to what ends it; comments are left out."""
    text = files("fleet.host").joinpath(name).read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return re.findall(r"\bzfs (?:receive|recv|send|destroy|rollback) [^;|&\n)]*", code)


@pytest.mark.parametrize("name", ["send.sh", "dump.sh", "backup.sh"])
def test_no_function_on_the_host_forces_anything(name: str) -> None:
    for call in _calls(name):
        verb, *options = call.split()[1:]
        flags = "".join(option[1:] for option in options if re.fullmatch(r"-[A-Za-z]+", option))
        assert verb != "rollback", call
        assert not set(flags) & set("FRrfd"), call
        if verb == "destroy":  # one path, held by one word, that a check before has seen to be a snapshot
            assert re.fullmatch(r"zfs destroy \"\$[^ ]+\"( 2>)?", call.strip()), call


def test_send_receive_and_destroy_are_among_the_calls_that_were_looked_at() -> None:
    assert {call.split()[1] for call in _calls("send.sh")} == {"send", "receive"}
    assert {call.split()[1] for call in _calls("backup.sh")} == {"destroy"}


# ── how old they are ──────────────────────────────────────────────────────────────────────────────


def test_what_a_replica_holds_counts_by_the_copies_that_fleet_sent_there() -> None:
    old, new = daily(DATA, 5), daily(DATA, 0)
    there = target(copy_of(old), foreign_copy("byhand", 1))
    wanted = policy()
    here = replicas.sides(wanted, wanted.subjects, facts(snapshots=[old, new]), found(there))
    assert replicas.held(here, ID) == {(DATA, "usb"): at(5)}
    assert replicas.held(here, "of another installation") == {}


def test_bookmarks_say_what_was_sent_without_asking_the_replica() -> None:
    rows = f"{DATA}#fleet-usb-20261121t070000z\t{at(2)}\n{DATA}#fleet-usb-20261120t070000z\t{at(3)}\n"
    answers = {"replica-sent": Answer(f"{rows}{DATA}#byhand\t{at(0)}\n", 0)}
    assert replicas.sent(answers) == {(DATA, "usb"): at(2)}
