"""Is this the host we know? known_hosts files read as OpenSSH reads them; an unknown key is never accepted.

paramiko's own table keeps one key a type, knows no patterns and stumbles over a damaged line
(paramiko/hostkeys.py), so the lines are matched here (format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") and its
client is left without a table: every key comes to `HostKeyPolicy`.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import paramiko

from fleet.core.errors import Unreachable

#: What ssh itself reads when nothing else is said (ssh_config(5), GlobalKnownHostsFile).
GLOBAL_FILES = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One key of a host: type, base64, and where it is written. `revoked`: it must never be trusted."""

    kind: str
    base64: str
    where: str
    revoked: bool = False


def known_keys(files: Iterable[Path], host: str, port: int) -> tuple[KnownKey, ...]:
    """The keys that the files know for a host, in order; unreadable files and damaged lines know none."""
    names = (host.lower(),) if port == 22 else (f"[{host.lower()}]:{port}",)
    return tuple(key for file in files for key in _keys_in(file, names))


def _keys_in(file: Path, names: tuple[str, ...]) -> Iterable[KnownKey]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker == "@cert-authority":
            continue
        if any(_matches(words[0], name) for name in names):
            yield KnownKey(words[1], words[2], f"{file}:{number}", revoked=marker == "@revoked")


def _matches(patterns: str, name: str) -> bool:
    """True if a known_hosts host field (hashed, or a list with `*`, `?` and `!`) means this name."""
    if patterns.startswith("|1|"):
        try:
            return paramiko.HostKeys.hash_host(name, patterns) == patterns
        except (ValueError, IndexError, AssertionError):
            return False
    wanted = False
    for pattern in patterns.lower().split(","):
        # In known_hosts a bracket is a bracket, not a set of characters.
        if fnmatch.fnmatchcase(name, pattern.removeprefix("!").replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            wanted = True
    return wanted


def fingerprint(key: paramiko.PKey) -> str:
    """A key's fingerprint as ssh prints it: SHA256:..."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def preferred(kinds: Iterable[str], offered: Iterable[str]) -> list[str]:
    """The host key algorithms to offer: those of known keys first, so that the host shows one of them."""
    known = {name for kind in kinds for name in _algorithms(kind)}
    offered = list(offered)
    return [each for each in offered if each in known] + [each for each in offered if each not in known]


def _algorithms(kind: str) -> tuple[str, ...]:
    return ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa") if kind == "ssh-rsa" else (kind,)


class HostKeyPolicy(paramiko.MissingHostKeyPolicy):
    """Decides on the key that a host shows: a known one passes, all others are Unreachable."""

    def __init__(self, node: str, files: tuple[Path, ...], host: str, port: int) -> None:
        self._node, self._files, self._host, self._port = node, files, host, port
        self.keys = known_keys(files, host, port)

    def missing_host_key(
        self,
        client: paramiko.SSHClient,  # noqa: ARG002 paramiko's signature
        hostname: str,  # noqa: ARG002
        key: paramiko.PKey,
    ) -> None:
        """Accept the key, or raise."""
        shown = (key.get_name(), key.get_base64())
        same = [known for known in self.keys if (known.kind, known.base64) == shown]
        if any(known.revoked for known in same):
            raise Unreachable(
                f"{self._node}: {same[0].where} marks the host key {self._said(key)} as @revoked"
            )
        if same:
            return
        trusted = [known for known in self.keys if not known.revoked]
        raise Unreachable(self._changed(key, trusted) if trusted else self._unknown(key))

    def _said(self, key: paramiko.PKey) -> str:
        return f"{key.get_name()} {fingerprint(key)}"

    def _unknown(self, key: paramiko.PKey) -> str:
        port = "" if self._port == 22 else f"-p {self._port} "
        kind = key.get_name().removeprefix("ssh-")
        kind = "ecdsa" if kind.startswith("ecdsa") else kind
        file = shlex.quote(str(self._files[0]))
        return (
            f"{self._node}: the host key of {self._where} is not known: {self._said(key)}.\n"
            "Compare it with what the host's console says to"
            f" `ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub`. If it is the same, trust it:\n"
            f"    ssh-keyscan {port}-t {kind} {self._host} >> {file}\n"
            "(or connect once with ssh and answer yes)"
        )

    def _changed(self, key: paramiko.PKey, trusted: list[KnownKey]) -> str:
        name = self._host if self._port == 22 else f"[{self._host}]:{self._port}"
        return (
            f"{self._node}: THE HOST KEY OF {self._where} HAS CHANGED. Nothing was sent to it.\n"
            f"It shows {self._said(key)}; {', '.join(known.where for known in trusted)} knows another."
            " Either the host was installed anew, or somebody else answers in its place.\n"
            "Find out which on the host's console. Only if it was installed anew, forget the old key with\n"
            f"    ssh-keygen -f {shlex.quote(trusted[0].where.rpartition(':')[0])} -R {shlex.quote(name)}\n"
            "and trust the new one when fleet next shows it"
        )

    @property
    def _where(self) -> str:
        return self._host if self._port == 22 else f"{self._host} port {self._port}"
