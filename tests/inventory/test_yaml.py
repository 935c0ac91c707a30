"""YAML's guesses change nothing: the key decides what a value means."""

from __future__ import annotations

import pytest

from fleet.inventory.document import MAX_BYTES, line_of, read
from tests.inventory.small import HEAD, WEB, load_text, problems, web, web_problems


@pytest.mark.parametrize("written", ["1", "true", "True", "yes", "on", "ON", '"1"', "'yes'"])
def test_truth_is_read_in_every_form(written: str) -> None:
    assert web(f"onboot: {written}").config["onboot"] == "1"


@pytest.mark.parametrize("written", ["0", "false", "no", "off", '"0"'])
def test_untruth_is_read_in_every_form(written: str) -> None:
    assert web(f"onboot: {written}").config["onboot"] == "0"


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("memory: '2048'", "memory", "2048"),
        ("cpulimit: 1.50", "cpulimit", "1.5"),
        ("dev0: {path: /dev/fuse, mode: 0660}", "dev0", "path=/dev/fuse,mode=0660"),
        ("net0: {name: eth0, hwaddr: 02:11:22:33:44:55}", "net0", "name=eth0,hwaddr=02:11:22:33:44:55"),
        ("description: 2025-01-01", "description", "2025-01-01"),
        ("description: 1:30", "description", "1:30"),
        ("description: 9.10", "description", "9.10"),
        ("description: on", "description", "on"),
        ("description: 'null'", "description", "null"),
        ("startup: 3", "startup", "order=3"),
    ],
)
def test_a_value_stays_what_was_typed(line: str, key: str, value: str) -> None:
    assert web(line).config[key] == value


def test_a_hostname_may_be_a_word_that_yaml_takes_for_truth() -> None:
    assert web("hostname: no").hostname == "no"


def test_a_container_may_be_called_on() -> None:
    text = HEAD + WEB.replace("  web:", "  on:")
    assert [each.name for each in load_text(text).containers] == ["on"]


def test_an_octal_looking_number_is_no_guess_but_an_error() -> None:
    (said,) = web_problems("cores: 010")
    assert said.startswith("containers.web.cores: '010' begins with 0, which some read as octal; write 10")


def test_a_base_60_number_is_an_error() -> None:
    assert web_problems("cores: 1:30") == [
        "containers.web.cores: '1:30' is no whole number; write a number from 1 to 8192"
    ]


@pytest.mark.parametrize("written", ["", "~", "null", "Null"])
def test_nothing_and_null_are_the_same(written: str) -> None:
    assert "memory" not in web(f"memory: {written}").config


def test_a_byte_order_mark_and_crlf_are_read() -> None:
    text = (HEAD + WEB).replace("\n", "\r\n").encode("utf-8-sig")
    assert load_text(text).containers[0].name == "web"


def test_anchors_and_merge_keys_work() -> None:
    text = HEAD + WEB.replace("  web:\n", "  web: &web\n") + "  copy: {<<: *web, vmid: 101}\n"
    copy = load_text(text).containers[1]
    assert (copy.name, copy.vmid, copy.template) == ("copy", 101, "debian")


def test_a_merge_key_overrides_nothing_that_is_written() -> None:
    top, faults = read(b"a: &a {x: 1, y: 2}\nb: &b {y: 3}\nc: {y: 4, <<: [*a, *b]}\nd: {<<: [*b, *a]}\n")
    assert (top["c"], top["d"], faults) == ({"x": "1", "y": "4"}, {"x": "1", "y": "3"}, ())


def test_a_chain_of_aliases_cannot_nest_without_end() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [[[[*a{n - 1}]]]]" for n in range(1, 200)]
    assert "nested more than 40 levels deep" in problems("\n".join(lines))[0]


def test_a_file_without_end_is_not_read_whole() -> None:
    assert problems(b"a: b\n" * (MAX_BYTES // 4)) == ["hosts.yml the file is larger than 16 MiB"]


def test_every_key_knows_its_line() -> None:
    top, _ = read(b"a:\n  b: 1\n  c:\n    - x\n    - d: 2\n")
    assert [line_of(top, path) for path in [("a",), ("a", "b"), ("a", "c", 1, "d"), ("a", "nowhere")]] == [
        1,
        2,
        5,
        1,
    ]


def test_a_folded_property_string_is_one() -> None:
    assert web("net0: >-\n  name=eth0,\n  mtu=1400").config["net0"] == "name=eth0,mtu=1400"
    said = problems(f"{HEAD}{WEB}    net0: >-\n      name=eth0,\n      bogus=1\n")
    assert said[0].startswith("hosts.yml:19 containers.web.net0.bogus: unknown key")
