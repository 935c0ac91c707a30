"""Secrets are references; one in clear is found wherever it stands, and never shown."""

from __future__ import annotations

import pytest

from fleet.inventory.document import read
from fleet.inventory.secret import SecretRef, in_clear, parse_ref
from tests.inventory.small import HEAD, WEB, load_text, problems

KEY = "4GgaQCy68nzNsyd+RzlKPSmUq0Zcd0ppTn8E1Sg0a0A="


@pytest.mark.parametrize(
    "line",
    [
        "password: hunter2",
        "db_password: hunter2",
        "apiToken: hunter2",
        "private-key: hunter2",
        "tokens: [a, hunter2]",
        "psk: 12345678",
        f"x: {KEY}",
        f"x: 'PrivateKey = {KEY}'",
        "x: |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n  hunter2\n",
        "x: https://discord.com/api/webhooks/1234567890/hunter2hunter2",
        "x: https://hooks.slack.com/services/T000/B000/hunter2hunter2",
        "x: https://api.telegram.org/bot123456:hunter2hunter2/sendMessage",
        "x: tgram://123456:hunter2hunter2/4711",
        "x: discord://4711471147/hunter2hunter2",
        "x: https://admin:hunter2@nas.lan/",
        "x: https://gotify.lan/message?token=hunter2",
        "x: tk_" + "hunter2" * 4 + "h",
        "x: ghp_" + "hunter2" * 6,
        "x: [A=1, DB_PASSWORD=hunter2]",
        "x: lxc.environment = API_TOKEN=hunter2",
    ],
)
def test_a_secret_in_clear_is_found_and_not_shown(line: str) -> None:
    top, _ = read(f"a: {{}}\n{line}\n".encode())
    found = in_clear(top)
    assert found
    assert not any("hunter2" in text or KEY in text for _, text in found)


@pytest.mark.parametrize(
    "line",
    [
        "password: env:DB_PASSWORD",
        "token: file:secrets/token",
        "private_key: 'command:pass show wg/key'",
        "password:",
        f"public-key: {KEY}",
        f"PublicKey: {KEY}",
        "x: https://ntfy.sh/",
        "x: https://example.com/path?page=2",
        "x: path=/dev/dri/renderD128,gid=993",
        "x: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop",
        "tags: [password-manager, token-ring]",
        "description: the password is in the safe",
        "x: DB_PASSWORD=env:DB_PASSWORD",
        "x: tank/data@snapshot",
    ],
)
def test_what_is_no_secret_is_left_alone(line: str) -> None:
    top, _ = read(f"{line}\n".encode())
    assert in_clear(top) == []


def test_a_reference_shows_only_where_the_secret_is_to_be_had() -> None:
    reference = parse_ref("env:WG_KEY")
    assert reference == SecretRef("env", "WG_KEY")
    assert str(reference) == "env:WG_KEY"


@pytest.mark.parametrize("text", ["hunter2", "env:", "env:9x", "env:A B", "vault:x", "https://x"])
def test_what_is_no_reference_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="env:") as caught:
        parse_ref(text)
    assert text not in str(caught.value) or text == "env:"


def test_other_complaints_about_a_secret_do_not_show_it() -> None:
    said = problems(f"{HEAD}{WEB}    password: hunter2\n    net0: {{name: eth0, psk: hunter2}}\n")
    assert len(said) == 2
    assert not any("hunter2" in line for line in said)


def test_a_channel_holds_where_its_url_is_to_be_had() -> None:
    topics = "{critical: a, warning: b, info: c, success: d}"
    (channel,) = load_text(f"{HEAD}{WEB}notifications: {{url: env:NTFY, topics: {topics}}}\n").channels[
        "info"
    ]
    assert (str(channel.url), channel.topic) == ("env:NTFY", "c")


def test_a_channel_in_clear_is_refused_without_being_shown() -> None:
    said = problems(f"{HEAD}{WEB}notifications: {{critical: [env:OPS, ntfys://ntfy.sh/mine]}}\n")
    assert len(said) == 1
    assert "notifications.critical[1]: a secret cannot stand here in clear" in said[0]
    assert "ntfy.sh" not in said[0]
