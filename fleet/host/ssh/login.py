"""Which keys may log in, and if none did, why? As OpenSSH chooses them, said in one sentence."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import fabric  # type: ignore[import-untyped]
import paramiko

#: The keys that are tried when nothing else is said (paramiko reads no others from files).
DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")


class Logins:
    """The key files of one connection, judged before they are used."""

    def __init__(self, node: str, connection: fabric.Connection) -> None:
        self._node = node
        self._connection = connection
        named = connection.connect_kwargs.get("key_filename") or []
        named = [named] if isinstance(named, str) else list(named)
        files = [Path(file).expanduser() for file in named] or _default_files()
        public = [file for file in files if file.suffix == ".pub"]  # its private half is in the agent
        self._faults = {file: fault for file in files if file not in public and (fault := _fault(file))}
        self._tried = [file for file in files if file not in public and file not in self._faults]
        only = connection.ssh_config.get("identitiesonly", "no").lower() == "yes"
        none = connection.ssh_config.get("identityagent", "").lower() == "none"
        self.usable = [str(file) for file in self._tried]
        self.agent = not none and (not only or bool(public) or any(_encrypted(file) for file in self._tried))

    def explain(self, error: BaseException) -> str:
        """Why no login succeeded, and what to do about it; asks the agent which keys it has."""
        locked = [file for file in self._tried if _encrypted(file)]
        agent = _agent_keys() if self.agent else 0
        tried = [str(file) for file in self._tried if file not in locked]
        if agent:
            tried.append(f"{agent} {'key' if agent == 1 else 'keys'} of the SSH agent")
        said = f"{self._node}: {self._connection.user}@{self._connection.host} could not log in"
        said += f"; the host refused {', '.join(tried)}" if tried else ": no key to log in with"
        faults = list(self._faults.values())
        for file in locked:
            faults.append(f"the key {file} is encrypted and not in the SSH agent (ssh-add {_quoted(file)})")
        if faults:
            return f"{said}; {'; '.join(faults)}"
        key = f"-i {_quoted(self._tried[0])} " if self._tried else ""
        make = "" if tried else "ssh-keygen -t ed25519, then "
        place = f"{key}-p {self._connection.port} {self._connection.user}@{self._connection.host}"
        return f"{said} ({error}). Let a key in with: {make}ssh-copy-id {place}"


def choose_agent(connection: fabric.Connection) -> None:
    """Let this process ask the agent that IdentityAgent names: paramiko finds one by the environment only."""
    named = connection.ssh_config.get("identityagent", "none")
    if named.lower() not in ("none", "ssh_auth_sock"):
        socket = os.path.expandvars(named).replace("%d", str(Path.home()))
        os.environ["SSH_AUTH_SOCK"] = str(Path(socket).expanduser())


def _default_files() -> list[Path]:
    files = [Path("~/.ssh").expanduser() / name for name in DEFAULTS]
    return [file for file in files if file.exists()]


def _fault(file: Path) -> str:
    """Why a key file cannot be used at all; empty if it can."""
    try:
        state = file.stat()
        with file.open("rb"):
            pass
    except FileNotFoundError:
        return f"the key {file} does not exist"
    except OSError as error:
        return f"the key {file} cannot be read: {error.strerror}"
    if state.st_uid == os.getuid() and state.st_mode & 0o077:
        mode = f"mode {state.st_mode & 0o777:04o}"
        return (
            f"the key {file} is open to others ({mode}), so ssh would not use it (chmod 600 {_quoted(file)})"
        )
    return ""


def _encrypted(file: Path) -> bool:
    """True if the key needs a passphrase."""
    try:
        paramiko.RSAKey.from_private_key_file(str(file))
    except paramiko.PasswordRequiredException:
        return True
    except (paramiko.SSHException, ValueError, OSError):
        return False  # a key of another type, or no key at all: the login says which
    return False


def _agent_keys() -> int:
    """How many keys the SSH agent has; none without an agent."""
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return 0
    try:
        return len(agent.get_keys())
    finally:
        agent.close()


def _quoted(file: Path) -> str:
    return shlex.quote(str(file))
