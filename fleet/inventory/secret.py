"""Secrets are references, never values; and what gives away a value that is one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from fleet.inventory.document import List, Map, Path, Value

FORMS = "env:NAME, file:PATH or command:..."


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is to be had, on the operator's side: a variable, a file or a command's output."""

    kind: str  # env, file or command
    target: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"


def parse_ref(text: str) -> SecretRef:
    """The reference of env:NAME, file:PATH or command:...; ValueError, not showing it, for other texts."""
    kind, colon, target = text.partition(":")
    if not colon or kind not in ("env", "file", "command") or not target.strip():
        raise ValueError(f"a secret cannot stand here in clear; write where it is to be had: {FORMS}")
    if kind == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", target):
        raise ValueError("env: takes the name of an environment variable: letters, digits and _")
    return SecretRef(kind, target)


_NAMED = r"(?:password|passwd|passphrase|secret|token|psk|(?:api|private|preshared|auth|access)_?key)"
_SECRET_KEY = re.compile(rf"(?:^|_){_NAMED}s?$")
_PUBLIC_KEY = re.compile(r"(?:^|_)public_?keys?$")
_REFERENCE = re.compile(r"(?:env|file|command):\s*\S")

#: Values that are secrets whatever their key is called, and what to call them.
_SECRET_VALUES = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), "a private key"),
    (re.compile(r"\bAGE-SECRET-KEY-1[A-Z0-9]{20}"), "a private key"),
    (re.compile(r"https?://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d+/[\w-]{8}"), "a Discord webhook"),
    (re.compile(r"https?://hooks\.slack\.com/services/\w+/\w+/\w{8}"), "a Slack webhook"),
    (re.compile(r"https?://api\.telegram\.org/bot\d+:[\w-]{8}"), "a Telegram bot's token"),
    (
        re.compile(r"\b(?:discord|tgram|slack|gotify|pover|mailtos?|ntfys?)://[^\s/]*[\w-]{8}[^\s]*[:/@]\S"),
        "a notification URL with its token",
    ),
    (re.compile(r"\btk_[a-z0-9]{29}\b"), "an ntfy access token"),
    (
        re.compile(
            r"\b(?:gh[pousr]_\w{30}|github_pat_\w{30}|glpat-[\w-]{20}|tskey-[\w-]{16}|xox[abprs]-[\w-]{10})"
        ),
        "an access token",
    ),
    (re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\."), "an access token"),
    (re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@"), "a URL with a password"),
    (
        re.compile(r"[?&](?:token|auth|key|apikey|password|secret)=[^&\s]{6}", re.IGNORECASE),
        "a URL with a token",
    ),
)
_WIREGUARD_KEY = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=(?![A-Za-z0-9+/=])")
_ASSIGNED = re.compile(rf"(?:^|[\s,;_]){_NAMED}s?=(?!(?:env|file|command):)[^\s,;$]", re.IGNORECASE)

#: One cheap look that every text without a secret fails: only what passes it is looked at more closely.
_SUSPECT = re.compile(
    r"-----BEGIN|SECRET-KEY|://|[A-Za-z0-9+/]{42}|tk_|gh[a-z]_|github_pat|glpat-|tskey-|xox|eyJ|[a-zA-Z]="
)


def in_clear(top: Map) -> list[tuple[Path, str]]:
    """Path and complaint of every secret that stands in clear; the complaint never shows the value."""
    found: list[tuple[Path, str]] = []
    _search(top, (), "", found)
    return found


def _search(value: Value, path: Path, key: str, found: list[tuple[Path, str]]) -> None:
    if isinstance(value, Map):
        for name, each in value.items():
            if not isinstance(each, str):
                _search(each, (*path, name), name, found)
            elif text := _complaint(name, each):
                found.append(((*path, name), text))
    elif isinstance(value, List):
        for number, each in enumerate(value):
            if not isinstance(each, str):
                _search(each, (*path, number), key, found)
            elif text := _complaint(key, each):
                found.append(((*path, number), text))


def _complaint(key: str, text: str) -> str | None:
    if _names_secret(key) and not _REFERENCE.match(text):
        return f"a secret stands here in clear; write where it is to be had: {FORMS}"
    if _SUSPECT.search(text) and (what := _what(key, text)):
        return f"this looks like {what}; write where it is to be had: {FORMS}"
    return None


@lru_cache(maxsize=1024)
def _names_secret(key: str) -> bool:
    return bool(_SECRET_KEY.search(re.sub(r"(?<=[a-z])(?=[A-Z])|-", "_", key).lower()))


def _what(key: str, text: str) -> str | None:
    for pattern, what in _SECRET_VALUES:
        if pattern.search(text):
            return what
    public = _PUBLIC_KEY.search(key.replace("-", "_").lower()) or re.search(r"ssh-|ecdsa-|sk-", text)
    if _WIREGUARD_KEY.search(text) and not public:
        return "a WireGuard key (a public one goes under public-key)"
    if _ASSIGNED.search(text) and not _REFERENCE.match(text):
        return "a secret given to a variable"
    return None
