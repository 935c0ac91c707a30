"""`inv` as a process: fast to start, one exit code for wrong usage, no tracebacks, help for everything."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit

from fleet.core.errors import ExitCode, FleetError, Locked, Refused, Unreachable, UsageError
from fleet.tasks import namespace
from fleet.tasks.cli import HELP, Options, Task, confirm, inventory_path, task

ROOT = Path(__file__).resolve().parents[2]
INV = Path(sys.executable).with_name("inv")


#: PyYAML is missing here since Invoke imports it by itself.
HEAVY = {
    "paramiko",
    "fabric",
    "rich",
    "pydantic",
    "tenacity",
    "cryptography",
    "fleet.converge",
    "fleet.inventory",
}


def inv(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([INV, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def tasks(collection: Collection, prefix: str = "") -> Iterator[tuple[str, Task]]:
    for name, each in collection.tasks.items():
        assert isinstance(each, Task)
        yield prefix + name, each
    for name, inner in collection.collections.items():
        yield from tasks(inner, f"{prefix}{name}.")


def test_listing_the_tasks_imports_no_heavy_library() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "invoke", "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "init" in done.stdout
    imported = {line.rsplit("|")[-1].strip() for line in done.stderr.splitlines() if line.count("|") == 2}
    assert "fleet.tasks" in imported
    assert not imported & HEAVY


def test_listing_the_tasks_takes_less_than_a_quarter_second_more_than_python_itself() -> None:
    def seconds(*words: str) -> float:
        """Processor time of the process: its wall time on a machine that does nothing else."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    inv("--list")  # byte code is written here
    more = [seconds(str(INV), "--list") - seconds(sys.executable, "-c", "pass") for _ in range(5)]
    assert min(more) < 0.25, more


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ini"], "Did you mean init?"),
        (["init"], "inv init FOLDER"),
        (["init", "x", "--folderr", "y"], "--folderr"),
        (["--help", "ini"], "Did you mean init?"),
        (["--xyzzy"], "inv --list"),
        (["plan", "--diffs"], "'--diffs' is! Did you mean --diff?\n"),
        (["inventory.schema", "--json"], "is!\n`inv --help inventory.schema` shows the options of"),
    ],
)
def test_wrong_usage_exits_64_and_says_what_is_near(words: list[str], says: str) -> None:
    done = inv(*words)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert says in done.stderr


def test_options_are_the_same_words_for_every_task_that_changes_the_node() -> None:
    takes = {name: set(each.common) for name, each in tasks(namespace)}
    every = {"inventory", "check", "diff", "commands", "json", "yes", "detailed_exitcode"}
    for name in ("plan", "apply", "provision.all", "provision.one", "provision.adopt", "provision.destroy"):
        assert every <= takes[name], name
    assert takes["plan"] == takes["provision.all"]
    assert "jobs" in takes["apply"]


def test_a_number_that_is_none_exits_64_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "from fleet.tasks import namespace\nfrom fleet.tasks.cli import task\n"
        "@task('jobs')\ndef work(options):\n    'Work.'\n    print(options.jobs)\n"
        "namespace.add_task(work)\n"
    )
    assert inv("work", "--jobs", "3", cwd=tmp_path).stdout == "3\n"
    done = inv("work", "--jobs", "x", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (ExitCode.USAGE, False)
    assert "'x'" in done.stderr
    assert inv("work", "--jobs", "0", cwd=tmp_path).returncode == ExitCode.USAGE
    assert inv("--dry", "work", cwd=tmp_path).returncode == ExitCode.USAGE


def test_every_task_says_what_it_does_and_what_each_option_means() -> None:
    for name, each in tasks(namespace):
        assert (each.__doc__ or "").strip(), name
        for argument in each.get_arguments():
            assert argument.help, f"{name}: --{argument.name} has no help text"
            assert len(argument.help) > 15, f"{name}: --{argument.name}: {argument.help}"


def test_an_option_of_one_task_never_has_the_name_of_a_common_one() -> None:
    for name, each in tasks(namespace):
        own = set(each.argspec(each.body).parameters)
        assert not own & set(HELP), f"{name}: use the common option"


def run(body: object, *common: str, **given: object) -> int:
    """The exit code of a task of this body."""
    try:
        task(*common)(body)(Context(), **given)  # type: ignore[arg-type]
    except Exit as end:
        return end.code
    return 0


@pytest.mark.parametrize(
    ("error", "code"),
    [(FleetError, 1), (UsageError, 64), (Unreachable, 4), (Refused, 6), (Locked, 8)],
)
def test_an_error_is_its_message_on_stderr_and_its_exit_code(
    error: type[FleetError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(options: Options) -> int:
        raise error("plex (100) is locked")

    assert run(body) == code
    assert capsys.readouterr() == ("", "plex (100) is locked\n")


def test_an_unexpected_error_is_two_lines_and_a_file_with_the_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("FLEET_DEBUG", raising=False)

    def body(options: Options) -> int:
        raise ZeroDivisionError("one over nothing")

    assert run(body) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    [log] = (tmp_path / "fleet" / "errors").iterdir()
    assert str(log) in err
    assert "in body" in log.read_text()


def test_an_unexpected_error_stays_two_lines_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.devnull)
    monkeypatch.delenv("FLEET_DEBUG", raising=False)

    def body(options: Options) -> int:
        raise ZeroDivisionError("one over nothing")

    assert run(body) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert "FLEET_DEBUG=1" in err


def test_ctrl_c_is_one_line_and_130(capsys: pytest.CaptureFixture[str]) -> None:
    def body(options: Options) -> int:
        raise KeyboardInterrupt

    assert run(body) == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    done = subprocess.run(["sh", "-c", f"{INV} --list | true"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_the_common_options_arrive_typed_and_lists_are_split_at_commas() -> None:
    seen: list[Options] = []

    def body(options: Options) -> int:
        seen.append(options)
        return ExitCode.CHANGES_PENDING

    assert run(body, "limit", "json", limit=["plex, arr*", "110"], json=True) == ExitCode.CHANGES_PENDING
    assert seen == [Options(limit=("plex", "arr*", "110"), json=True)]


@pytest.mark.parametrize("option", ["limit", "exclude"])
@pytest.mark.parametrize("given", [[""], [","], ["plex", " "]])
def test_a_selection_without_a_selector_is_wrong_usage_and_never_all_guests(
    option: str, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def body(options: Options) -> int:
        raise AssertionError("it must not get here")

    assert run(body, option, **{option: given}) == ExitCode.USAGE
    assert f"--{option} {given[-1]!r} names no guest" in capsys.readouterr().err


def test_an_empty_limit_plans_nothing() -> None:
    for words in (["--limit", ""], ["--limit="], ["--exclude", ","]):
        done = inv("plan", *words)
        assert (done.returncode, done.stdout) == (ExitCode.USAGE, ""), words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "--limit", "--yes"], "--limit needs a value"),
        (["provision.all", "--exclude"], "--exclude needs a value"),
        (["backup.pin"], "inv backup.pin SNAPSHOT"),
        (["plan", "--jobs", "x"], "'x' is no number"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_plain_words(words: list[str], said: str) -> None:
    done = inv(*words)
    assert done.returncode == ExitCode.USAGE
    assert said in done.stderr
    assert "Argument" not in done.stderr


def test_a_common_option_that_does_not_exist_is_found_when_the_task_is_made() -> None:
    with pytest.raises(TypeError, match="limt"):
        task("limt")


def test_without_a_terminal_nothing_is_done_unless_yes_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    confirm("Go on?", Options(yes=True))
    with pytest.raises(Refused, match="--yes"):
        confirm("Go on?", Options())


def test_hosts_yml_is_found_in_the_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    with pytest.raises(UsageError, match="inv init"):
        inventory_path(Options())
    (tmp_path / "hosts.yml").touch()
    assert inventory_path(Options()) == tmp_path / "hosts.yml"
    assert inventory_path(Options(inventory="other.yml")) == Path("other.yml")


def test_the_tasks_are_listed_as_json_for_other_programs() -> None:
    listed = json.loads(inv("--list", "--list-format", "json").stdout)
    assert {each["name"] for each in listed["tasks"]} >= {"init"}
