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


def test_each_destroy_in_the_text_has_one_quoted_word_and_no_option() -> None:
    found = [
        (script.name, line.strip()) for script in SCRIPTS for line in code(script) if "zfs destroy" in line
    ]
    assert {name for name, _ in found} >= {"backup.sh", "send.sh"}
    for name, line in found:
        assert line.count("zfs destroy") == 1, (name, line)
        assert re.search(r'zfs destroy "[^"\s]+"(?= *(?:$|&&|\|\||;|\)|2>&1))', line), (name, line)


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
    fake: Path, words: Sequence[str], *, recorded: Sequence[str], listed: Sequence[str] = ()
) -> list[list[str]]:
    """The words of each zfs and pct that the function runs; the record says that fleet made all of these."""
    (fake / "calls").write_text("")
    (fake / "backups.log").write_text("".join(f"1 made set {path} 123\n" for path in recorded))
    (fake / "list").write_text("".join(f"{path}\t123\n" for path in listed) + "x@last\t999\n")
    conf = fake / "101.conf"
    names = {path.partition("@")[2] for path in recorded}
    conf.write_text("".join(f"[{name}]\n#fleet%3A owner={ID} set={name}\n" for name in sorted(names)))
    libraries = "\n".join((HOST / name).read_text("utf-8") for name in ("backup.sh", "send.sh"))
    script = f"{prelude()}\n{libraries}\nfleet_conf_file() {{ echo '{conf}'; }}\n{command(*words).sh()}\n"
    subprocess.run(
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
    text = (fake / "calls").read_bytes().decode("utf-8", "surrogateescape")
    return [call.split("\x1f") for call in text.split("\x1e") if call]


def destroys(found: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [call for call in found if "destroy" in call or "delsnapshot" in call]


def test_what_is_ours_is_destroyed_by_exactly_this_command(fake: Path) -> None:
    found = calls(fake, ["fleet_drop_zfs", f"- {GOOD} 123"], recorded=[GOOD])
    assert destroys(found) == [["zfs", "destroy", GOOD]]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_word_that_is_no_snapshot_of_fleet_s_is_never_destroyed(fake: Path, path: str) -> None:
    found = calls(fake, ["fleet_drop_zfs", f"- {path} 123", f"- {GOOD} 123"], recorded=[path, GOOD])
    assert destroys(found) == [["zfs", "destroy", GOOD]]


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
