"""Whatever a step says, `zfs destroy` gets one word that names one snapshot of fleet's, and no option."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.core.command import command
from fleet.host.guarded import prelude

HOST = Path(__file__).resolve().parents[2] / "fleet" / "host"
SCRIPTS = sorted(HOST.glob("*.sh"))
ONE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.:-]+)*@fleet-[a-z0-9_-]{1,34}")
GOOD = "tank/data@fleet-daily-20261123t070000z"
ID = "0123456789abcdef0123456789abcdef"

HOSTILE = (
    "tank/data",
    "tank",
    "tank/data@",
    "@fleet-a",
    "tank/data@fleet-a%fleet-b",
    "tank/data@%fleet-b",
    "tank/data@fleet-a,fleet-b",
    "tank/data@fleet-*",
    "tank/data@*",
    "tank/data@fleet-a@fleet-b",
    "tank/data@autosnap_2026-11-23_02:00:01_daily",
    "tank/data@fleet-A",
    "tank/data@fleet-",
    "tank/data@fleet-" + "a" * 35,
    "tank/data#fleet-a",
    "/tank/data@fleet-a",
    "tank//data@fleet-a",
    "tank/data/@fleet-a",
    "tank/data@fleet-a;reboot",
    "tank/data@fleet-$(reboot)",
    "tank/data@fleet-a\nx",
    "-r",
    "-R",
    "-rf",
    "-r@fleet-a",
    "-rtank/data@fleet-a",
)

# ── the text ──────────────────────────────────────────────────────────────────────────────────────


def code(script: Path) -> list[str]:
    return [line for line in script.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]


def lines(pattern: str) -> list[tuple[str, str]]:
    return [
        (script.name, line.strip()) for script in SCRIPTS for line in code(script) if re.search(pattern, line)
    ]


def test_only_two_functions_destroy_and_what_they_destroy_has_one_quoted_word_and_no_option() -> None:
    found = [
        (script.name, line.strip())
        for script in SCRIPTS
        for line in code(script)
        if re.search(r"zfs\W+destroy", line)
    ]
    assert found == [("backup.sh", 'zfs destroy "$1"')] * 2
    text = (HOST / "backup.sh").read_text("utf-8")
    for name, check in (("fleet_destroy", "fleet_one_snapshot"), ("fleet_destroy_bookmark", "fleet_named")):
        body = text.partition(f"\n{name}() {{\n")[2].partition("\n}")[0].split("\n")
        assert body[0].startswith(f"    {check} ") and "return 1" in body[0], body
        assert body[1:] == ['    zfs destroy "$1"'], body


def test_no_command_that_python_makes_destroys_a_dataset_or_snapshot() -> None:
    for file in sorted((HOST.parent).rglob("*.py")):
        if "lab" not in file.relative_to(HOST.parent).parts:
            assert not re.search(r"zfs\W+destroy", file.read_text("utf-8")), file


def test_a_guest_is_destroyed_by_one_function_which_looks_for_our_mark_directly_before() -> None:
    found = [
        line.strip() for script in SCRIPTS for line in code(script) if re.search(r"(pct|qm) destroy", line)
    ]
    assert found == ['pct destroy "$1"']
    text = (HOST / "restore.sh").read_text("utf-8")
    assert (
        text.partition('pct destroy "$1"')[0]
        .rstrip()
        .split("\n")[-1]
        .startswith('    fleet_marked "$1" "$2" || ')
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_nothing_in_the_text_forces_rolls_back_or_goes_down_a_tree(script: Path) -> None:
    for line in code(script):
        assert not re.search(r"\b(?:zfs|zpool)\s+destroy\s+-", line), line
        assert not re.search(r"\bzpool\s+destroy\b", line), line
        assert not re.search(r"\bzfs\s+rollback\b", line), line
        assert not re.search(r"\bzfs\s+(?:receive|recv)\b[^|;&]*\s-[a-zA-Z]*F", line), line
        assert not re.search(r"\bzfs\s+send\b[^|;&]*\s-[a-zA-Z]*R", line), line
        assert not re.search(r"delsnapshot\b.*--force", line), line


# ── the functions, under a real shell, before a zfs that says yes to everything ──────────────────

_ZFS = r"""#!/bin/sh
{ printf 'zfs'; for word; do printf '\037%s' "$word"; done; printf '\036'; } >>"$FAKE/calls"
case "$*" in
    *guid,userrefs,clones*)
        printf '%s\t%s\t%s\n' guid 123 - userrefs 0 - clones - - fleet:owner "$FAKE_ID" local \
            fleet:pinned - - ;;
    'get -Hp -o value userrefs'*) echo 0 ;;
    'get -Hp -o value clones'*) echo - ;;
    'get -Hp -o value guid'*) echo 123 ;;
    *fleet:replica*) cat "$FAKE/mark" ;;
    'list '*) cat "$FAKE/list" ;;
esac
exit 0
"""
_PCT = r"""#!/bin/sh
{ printf 'pct'; for word; do printf '\037%s' "$word"; done; printf '\036'; } >>"$FAKE/calls"
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zfs and a pct that write down their words and agree to everything."""
    folder = tmp_path_factory.mktemp("fake")
    for name, text in (("zfs", _ZFS), ("pct", _PCT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "installation").write_text(f"{ID}\n")
    (folder / "mark").write_text("mark\n")
    return folder


def calls(
    fake: Path, words: Sequence[str], *, recorded: Sequence[str], listed: Sequence[str] = (), by: str = ""
) -> list[list[str]]:
    """The words of each zfs and pct that the function runs; the record says that fleet made all of these."""
    (fake / "calls").write_text("")
    (fake / "backups.log").write_text("".join(f"1 made set {path} 123\n" for path in recorded))
    (fake / "list").write_text("".join(f"{path}\t123\n" for path in listed) + "x@last\t999\n")
    conf = fake / "101.conf"
    names = {path.partition("@")[2] for path in recorded}
    conf.write_text("".join(f"[{name}]\n#fleet%3A owner={ID} set={name}\n" for name in sorted(names)))
    run(fake, words, by)
    text = (fake / "calls").read_bytes().decode("utf-8", "surrogateescape")
    return [call.split("\x1f") for call in text.split("\x1e") if call]


def run(fake: Path, words: Sequence[str], by: str = "") -> subprocess.CompletedProcess[bytes]:
    """One call of a function."""
    libraries = "\n".join((HOST / name).read_text("utf-8") for name in ("backup.sh", "send.sh"))
    conf = f"fleet_conf_file() {{ echo '{fake}/101.conf'; }}"
    script = f"{prelude()}\n{libraries}\nfleet_by={by}\n{conf}\n{command(*words).sh()}\n"
    return subprocess.run(
        ["sh"],
        input=script.encode("utf-8", "surrogateescape"),
        env={
            "PATH": f"{fake}:/usr/bin:/bin",
            "FAKE": str(fake),
            "FAKE_ID": ID,
            "FLEET_STATE": str(fake),
            "FLEET_RUN": str(fake / "run"),
        },
        capture_output=True,
        timeout=60,
        check=False,
        cwd=fake,
    )


def destroys(found: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [call for call in found if "destroy" in call or "delsnapshot" in call]


def test_what_is_ours_is_destroyed_by_exactly_this_command(fake: Path) -> None:
    found = calls(fake, ["fleet_drop_zfs", f"- {GOOD} 123"], recorded=[GOOD])
    assert destroys(found) == [["zfs", "destroy", GOOD]]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_word_that_is_no_snapshot_of_fleet_s_is_never_destroyed(fake: Path, path: str) -> None:
    found = calls(fake, ["fleet_drop_zfs", f"- {path} 123", f"- {GOOD} 123"], recorded=[path, GOOD])
    assert destroys(found) == [["zfs", "destroy", GOOD]]


@pytest.mark.parametrize("path", HOSTILE)
def test_the_function_that_destroys_takes_no_other_word(fake: Path, path: str) -> None:
    for name in ("fleet_destroy", "fleet_destroy_bookmark"):
        assert destroys(calls(fake, [name, path], recorded=[path.replace("\n", "")])) == []
    assert destroys(calls(fake, ["fleet_destroy", GOOD], recorded=[])) == [["zfs", "destroy", GOOD]]


def test_the_rule_and_the_run_of_a_removal_stand_in_the_record(fake: Path) -> None:
    why = "createtxg=77 superseded in daily 2026-11-23"
    entry = f"- {GOOD} 123 {why}\tnot a\x1bline"
    calls(fake, ["fleet_drop_zfs", entry], recorded=[GOOD], by="20261123T070000-1-2")
    lines = [line.split(" ", 1)[1] for line in (fake / "backups.log").read_text().splitlines()]
    assert lines[1].startswith(f"removing {GOOD.partition('@')[2]} {GOOD} 123 run=20261123T070000-1-2 {why}")
    assert "\x1b" not in lines[1]


def test_a_record_without_rules_and_runs_is_read_as_before(fake: Path) -> None:
    ask = ["fleet_recorded", GOOD, "123"]
    for text in (f"1 made set {GOOD} 123\n", f"1 made set {GOOD} 123 run=20261123T070000-1-2\n"):
        (fake / "backups.log").write_text(text)
        assert run(fake, ask).returncode == 0
        assert run(fake, ["fleet_recorded", GOOD, "124"]).returncode != 0


@pytest.mark.parametrize("path", [path for path in HOSTILE if "@" in path and "\n" not in path])
def test_a_copy_that_is_no_snapshot_of_fleet_s_is_never_destroyed(fake: Path, path: str) -> None:
    target, _, name = path.partition("@")
    words = ["fleet_drop_copies", "-", "usb", target, "mark", "999", f"{name}=123"]
    assert destroys(calls(fake, words, recorded=[path], listed=[path])) == []
    words = ["fleet_drop_copies", "-", "usb", "tank/data", "mark", "999", f"{GOOD.partition('@')[2]}=123"]
    assert destroys(calls(fake, words, recorded=[GOOD], listed=[GOOD])) == [["zfs", "destroy", GOOD]]


@pytest.mark.parametrize(
    "name", ["--force", "-f", "current", "vzdump", "before-upgrade", "fleet-a --force", "*"]
)
def test_a_guest_s_snapshot_goes_by_its_name_alone(fake: Path, name: str) -> None:
    good = GOOD.partition("@")[2]
    words = ["fleet_drop_pct", "4", f"101 pct {name}", f"101 pct {good}"]
    found = calls(fake, words, recorded=[f"101@{name.split(maxsplit=1)[0]}", f"101@{good}"])
    assert destroys(found) == [["pct", "delsnapshot", "101", good]]


def test_a_guest_s_snapshot_that_the_record_says_is_pinned_stays_until_it_is_unpinned(fake: Path) -> None:
    name = GOOD.partition("@")[2]
    drop = command("fleet_drop_pct", "4", f"101 pct {name}").sh()
    pin = command("fleet_pin", "2099-01-31", f"101@{name}").sh()
    unpin = command("fleet_pin", "-", f"101@{name}").sh()
    for script, gone in ((f"{pin}\n{unpin}\n{drop}", True), (f"{pin}\n{drop}", False)):
        found = calls(fake, ["eval", script], recorded=[f"101@{name}"])
        assert destroys(found) == ([["pct", "delsnapshot", "101", name]] if gone else [])
    assert run(fake, ["fleet_pinned", "2099-01-31", f"101@{name}"]).returncode == 0
    assert run(fake, ["fleet_pinned", "-", f"101@{name}"]).returncode != 0


def test_only_bookmarks_of_the_replica_are_destroyed_when_a_new_one_is_made(fake: Path) -> None:
    mark = "tank/data#fleet-usb-20261123t070000z"
    old = "tank/data#fleet-usb-20261122t070000z"
    others = [
        "tank/data#mine",
        "tank/data#fleet-nas-20261122t070000z",
        "tank/data",
        "tank/data@fleet-usb-20261122t070000z",
    ]
    found = calls(
        fake, ["fleet_remember", "usb", GOOD, mark, "123"], recorded=[old, *others], listed=[old, *others]
    )
    assert destroys(found) == [["zfs", "destroy", old]]


texts = st.text(st.sampled_from("tank/dafleet-01@@%,*-rRf#:;. \n$'\""), min_size=1, max_size=40)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(st.one_of(texts, texts.map("tank/data@fleet-{}".format)), min_size=8, max_size=20))
def test_no_text_at_all_becomes_a_wider_destroy(fake: Path, paths: list[str]) -> None:
    recorded = [path for path in paths if "\n" not in path]
    found = calls(fake, ["fleet_drop_zfs", *(f"- {path} 123" for path in paths)], recorded=recorded)
    for call in destroys(found):
        assert len(call) == 3, call
        assert call[1] == "destroy", call
        assert ONE.fullmatch(call[2]), call
