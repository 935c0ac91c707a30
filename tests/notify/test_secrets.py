"""Secrets: where they are to be had, and that nothing but `reveal` shows them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.core.secret import Secret, redact
from fleet.host.journal import plain
from fleet.host.secrets import Secrets
from fleet.inventory.secret import SecretRef, parse_ref

MARKER = "marker-3f9a7c51"


def get(text: str, folder: Path, **settings: float) -> Secret:
    return Secrets(folder, **settings).get(parse_ref(text))


def test_a_secret_is_shown_as_stars_however_it_is_printed() -> None:
    @dataclass
    class Holder:
        secret: Secret

    secret = Secret(MARKER, "env:X")
    shown = [
        str(secret),
        repr(secret),
        f"{secret:>20}",
        " ".join(map(str, [secret])),
        repr(Holder(secret)),
        str([secret]),
    ]
    assert all(MARKER not in text and "***" in text for text in shown)
    assert plain({"url": secret}) == {"url": "<Secret>"}
    assert secret.reveal() == MARKER


def test_a_secret_cannot_be_written_by_accident() -> None:
    secret = Secret(MARKER, "env:X")
    writers: tuple[Callable[[Secret], object], ...] = (pickle.dumps, json.dumps, copy.deepcopy)
    for write in writers:
        with pytest.raises(TypeError) as error:
            write(secret)
        assert MARKER not in str(error.value)


def test_an_environment_variable_a_file_and_a_command_give_the_same_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_TEST_SECRET", MARKER)
    (tmp_path / "s").write_text(f"{MARKER}\n")
    (tmp_path / "s").chmod(0o600)
    for text in ("env:FLEET_TEST_SECRET", "file:s", f"file:{tmp_path}/s", "command:cat s"):
        assert get(text, tmp_path).reveal() == MARKER, text


def test_a_file_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(MARKER)
    (tmp_path / "s").chmod(0o640)
    secrets = Secrets(tmp_path)
    secrets.get(parse_ref("file:s"))
    secrets.get(parse_ref("file:s"))
    [warning] = secrets.warnings
    assert "0640" in warning
    assert "chmod 600" in warning
    assert MARKER not in warning


def test_a_command_is_run_without_a_shell(tmp_path: Path) -> None:
    assert get("command:echo $HOME;touch x 'a  b'", tmp_path).reveal() == "$HOME;touch x a  b"
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_fetched_only_when_asked_for_and_only_once(tmp_path: Path) -> None:
    script = tmp_path / "count"
    script.write_text("#!/bin/sh\necho x >>calls\necho secret\n")
    script.chmod(0o700)
    secrets = Secrets(tmp_path)
    assert not (tmp_path / "calls").exists()
    assert not secrets.known
    assert secrets.get(parse_ref("command:./count")) is secrets.get(parse_ref("command:./count"))
    assert (tmp_path / "calls").read_text() == "x\n"
    assert [str(secret) for secret in secrets.known] == ["***"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("env:FLEET_NOT_SET", "not set"),
        ("file:missing", "No such file"),
        ("file:.", "Is a directory"),
        ("file:empty", "is empty"),
        ("file:binary", "no UTF-8"),
        ("command:false", "exit 1"),
        ("command:no-such-program-here", "cannot be run"),
        ("command:echo 'x", "no command line"),
        ("command:sleep 5", "within 0.2 seconds"),
        (f"command:sh -c 'echo {MARKER[:6]}; echo {MARKER} >&2; exit 3'", "exit 3"),
    ],
)
def test_an_error_names_the_reference_and_not_what_it_gave(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + MARKER.encode())
    with pytest.raises(FleetError) as error:
        get(text, tmp_path, command_seconds=0.2)
    assert str(error.value).startswith(f"{text}: ")
    assert says in str(error.value)
    assert error.value.__cause__ is None
    assert MARKER not in str(error.value).removeprefix(text)


def test_a_kind_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="vault"):
        Secrets(tmp_path).get(SecretRef("vault", "x"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (MARKER, f"it says {MARKER}!"),
        (f"https://me:{MARKER}@example.org/x", f"no login for {MARKER}"),
        (f"ntfys://{MARKER}@ntfy.sh", f"403 for {MARKER}"),
        (f"https://hc-ping.com/{MARKER}", f"https://hc-ping.com/{MARKER}/start: 404"),
        (f"discord://1234567890/{MARKER}", f"/api/webhooks/1234567890/{MARKER}"),
        (f"https://example.org/?token={MARKER}", f"token {MARKER}"),
        ("pass word/" + MARKER, f"GET /pass%20word%2F{MARKER}"),
        (f"[Interface]\nPrivateKey = {MARKER}\n", f"line 2: PrivateKey = {MARKER}"),
    ],
)
def test_what_others_say_of_a_secret_is_taken_out(value: str, text: str) -> None:
    redacted = redact(text, [Secret(value, "env:X")])
    assert MARKER not in redacted
    assert "***" in redacted


def test_what_is_no_secret_stays() -> None:
    secret = Secret("ntfys://tk_0123456789abcdefghijklmnopqrs@ntfy.example.org:8443", "env:X")
    said = "ntfy.example.org answered 403 on port 8443; user fleet"
    assert redact(said, [secret, Secret("abc", "env:SHORT")]) == said
