"""The command line of the simulated pct.

What is parsed how, and what is refused with which text (recordings 01 and 04).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.lab.sim import cli, errors, helptext, pct
from fleet.lab.sim.cli import Arguments

RECORDED = Path(__file__).parent / "conformance" / "recordings" / "01-empty.jsonl"


@pytest.fixture(autouse=True)
def _utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


FAILED = "400 Parameter verification failed.\n"


def parsed(verb: str, *words: str) -> Arguments:
    return cli.parse(helptext.verb("pct", verb), list(words))


def refusal(verb: str, *words: str) -> str:
    with pytest.raises(errors.Die) as caught:
        parsed(verb, *words)
    return caught.value.message


def test_every_verb_of_the_recorded_help_has_a_function_and_the_other_way_round() -> None:
    assert sorted([*pct._VERBS, "help"]) == sorted(helptext.verbs("pct"))


def test_the_help_is_what_was_recorded() -> None:
    recorded = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    by_command = {line["cmd"]: line for line in recorded}
    assert by_command["pct help"]["stdout"] == helptext.full_help("pct")
    assert by_command["pct"]["stderr"] == "ERROR: no command specified\n" + helptext.short_usage("pct")


def test_options_stand_anywhere_with_one_dash_or_two_or_an_equals_sign() -> None:
    assert parsed("set", "--memory", "512", "100", "-swap", "0", "--cores=2").values == {
        "vmid": "100",
        "memory": "512",
        "swap": "0",
        "cores": "2",
    }


def test_an_option_may_be_shortened_if_that_is_unique() -> None:
    assert parsed("set", "100", "--mem", "512").values["memory"] == "512"


def test_an_ambiguous_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal("set", "100", "--cpu", "1") == "400 unable to parse option\n"
    assert capsys.readouterr().err == "Option cpu is ambiguous (cpulimit, cpuunits)\n"


def test_a_boolean_takes_the_next_word_unless_that_is_an_option() -> None:
    assert parsed("set", "100", "--onboot", "0").values["onboot"] == "0"
    assert parsed("set", "100", "--onboot", "--memory", "16").values == {
        "vmid": "100",
        "onboot": "1",
        "memory": "16",
    }


def test_a_number_after_a_bare_boolean_is_swallowed() -> None:
    assert refusal("set", "--onboot", "100") == "400 not enough arguments\n"


def test_lists_may_be_given_in_parts_and_other_options_are_taken_last() -> None:
    assert parsed("set", "100", "--delete", "mp0", "--delete", "mp1").values["delete"] == "mp0,mp1"
    assert parsed("set", "100", "--memory", "256", "--memory", "300").values["memory"] == "300"


def test_all_after_two_dashes_is_left_alone() -> None:
    assert parsed("exec", "100", "--", "ls", "-la").extra == ["ls", "-la"]
    assert parsed("exec", "100", "--keep-env", "0", "--", "env").values["keep-env"] == "0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["config"], "400 not enough arguments\n"),
        (["list", "extra"], "400 too many arguments\n"),
        (
            ["config", "abc"],
            FAILED + "vmid: type check ('integer') failed - got 'abc'\n",
        ),
        (
            ["config", "5"],
            FAILED + "vmid: invalid format - value does not look like a valid VM ID\n\n",
        ),
        (
            ["set", "100", "--cores", "9999"],
            FAILED + "cores: value must have a maximum value of 8192\n",
        ),
        (
            ["resize", "100", "rootfs", "abc"],
            FAILED + "size: value does not match the regex pattern\n",
        ),
        (
            ["restore", "100", "x", "--arch", "z80"],
            FAILED + "arch: value 'z80' does not have a value in the enumeration "
            "'amd64, i386, arm64, armhf, riscv32, riscv64'\n",
        ),
        (
            ["create", "100", "x", "--unique", "1"],
            FAILED + "restore: missing property - 'unique' requires this property\n",
        ),
    ],
)
def test_wrong_arguments_are_refused_with_the_recorded_text(words: list[str], message: str) -> None:
    assert refusal(*words) == message


def test_what_the_locale_cannot_hold_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed("set", "100", "--description", "ä").values["description"] == "ä"
    monkeypatch.setenv("LC_ALL", "C")
    assert parsed("set", "100", "--description", "ä").values["description"] == "\ufffd\ufffd"


def test_a_verb_may_be_shortened_if_that_is_unique(capsys: pytest.CaptureFixture[str]) -> None:
    called: list[dict[str, str]] = []

    def handler(arguments: Arguments) -> int:
        called.append(arguments.values)
        return 0

    assert cli.run("pct", {"unlock": handler}, {}, ["unl", "100"]) == 0
    assert called == [{"vmid": "100"}]
    assert cli.run("pct", {}, {}, ["re", "100"]) == 255
    assert capsys.readouterr().err.startswith("ERROR: unknown command 'pct re'\nUSAGE: pct <COMMAND>")


def test_a_locale_that_the_host_lacks_makes_noise_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert cli.run("pct", {"list": lambda _: 0}, {}, ["list"]) == 0
    assert capsys.readouterr().err.startswith("perl: warning: Setting locale failed.\n")
