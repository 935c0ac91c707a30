"""The keys of a lab and its known_hosts file."""

from __future__ import annotations

import re
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def make(file: Path) -> paramiko.Ed25519Key:
    """The key in a file, made if it is not there, with its public half beside it."""
    if not file.exists():
        private = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        file.touch(mode=0o600)
        file.write_bytes(private)
    key = paramiko.Ed25519Key.from_private_key_file(str(file))
    file.with_suffix(".pub").write_text(f"{key.get_name()} {key.get_base64()} fleet-lab\n", encoding="ascii")
    return key


def write_known_hosts(file: Path, port: int, key: paramiko.PKey) -> None:
    """Say which key the lab's server has on its port."""
    file.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n", encoding="ascii")


def known_port(file: Path) -> int:
    """The port that the lab had last time, 0 if it never had one."""
    found = re.match(r"\[127\.0\.0\.1\]:(\d+) ", file.read_text(encoding="ascii")) if file.exists() else None
    return int(found[1]) if found else 0
