"""~/.ssh/config as OpenSSH reads it (ssh_config(5)), said in words that paramiko and Fabric understand.

paramiko takes `Include` and a trailing comment for values, and lets a `Match` hold whose criterion it does
not know. So the files are flattened here: every block becomes one `Match`, a block of an included file holds
only together with the block that includes it, and a block that nobody here can judge is marked as such.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import fabric  # type: ignore[import-untyped]
import paramiko

#: How deep files may include each other (OpenSSH, READCONF_MAX_DEPTH).
DEPTH = 16
#: The criteria of `Match` that have no argument, and those that paramiko can judge.
_ALONE = {"all", "canonical", "final"}
_JUDGED = _ALONE | {"host", "originalhost", "user", "localuser", "exec"}
#: Keys whose value is a command up to the end of the line.
_COMMANDS = {"proxycommand", "localcommand", "remotecommand", "knownhostscommand"}
#: The words of a value, up to a comment.
_WORDS = re.compile(r"""(?:"[^"]*"|'[^']*'|["'].*|[^\s#]\S*|\s+(?!#))+""")
#: The key of a mark: the line that nobody here can judge.
_MARK = "fleetcannotjudge"
#: What Fabric and paramiko lack: a jump host `none` is no host, and names may be canonical without domains.
_FIRST = "Match originalhost none\nHostName none\nProxyJump none"
_LAST = 'Match all\nCanonicalDomains ""'


def read() -> paramiko.SSHConfig:
    """What the user's file says, then the system's; ValueError with file and line for what cannot be read."""
    home, system = Path("~/.ssh").expanduser(), Path("/etc/ssh")
    lines = [*_lines(home / "config", home), *_lines(system / "ssh_config", system)]
    return paramiko.SSHConfig.from_text("\n".join([_FIRST, *lines, _LAST]))


def judged(connection: fabric.Connection) -> fabric.Connection:
    """The connection, without a gateway that is none; ValueError if a mark is on what is said of it."""
    if mark := connection.ssh_config.get(_MARK):
        raise ValueError(
            f"{mark}: only ssh can judge that; put `host` or `originalhost` before it, so that it is"
            f" not asked for {connection.original_host}"
        )
    if isinstance(connection.gateway, fabric.Connection) and connection.gateway.original_host == "none":
        connection.gateway = None
    return connection


def _lines(file: Path, base: Path, outer: tuple[str, ...] = (), depth: int = 0) -> Iterator[str]:
    """A file's lines for paramiko, those of included files in their place; `outer`: the block it is in."""
    if depth > DEPTH:
        raise ValueError(f"{file}: files include each other more than {DEPTH} deep")
    if not file.is_file():
        return
    block = outer
    yield _match(block)
    for number, line in enumerate(file.read_text("utf-8", "surrogateescape").split("\n"), 1):
        where = f"{file}:{number}"
        key, value = _parts(line, where)
        if key == "host":
            block = (*outer, "originalhost", ",".join(_split(value, where)))
            yield _match(block)
        elif key == "match":
            criteria, unknown = _criteria(_split(value, where), where)
            block = (*outer, *criteria)
            yield _match(block)
            if unknown:
                yield f"{_MARK} {where}: {line.strip()}"
        elif key == "include":
            for pattern in _split(value, where):
                if re.search(r"%[A-Za-z]|\$\{", pattern):
                    raise ValueError(f"{where}: fleet reads no % and no ${{}} in Include; write the path out")
                # As in a shell, and not in pathlib, a star means no hidden file.
                for name in sorted(glob.glob(str(base / Path(pattern).expanduser()))):  # noqa: PTH207
                    yield from _lines(Path(name), base, block, depth + 1)
            yield _match(block)
        elif key == "port" and not value.strip('"').isdigit():
            raise ValueError(f"{where}: {value!r} is no port")
        elif key == "proxyjump" and value.lower() == "none":
            yield "ProxyJump none"
        elif key == "forwardagent" or (key == "connecttimeout" and not value.isdigit()):
            pass  # Fabric knows less than all their values, and we can do without them
        elif key:
            yield f"{key} {value}"


def _parts(line: str, where: str) -> tuple[str, str]:
    """Key and value of a line, the key in lower case; two empty texts if it says nothing."""
    line = line.strip()
    if not line or line.startswith("#"):
        return "", ""
    found = re.fullmatch(r"(\w+)(?:\s*=\s*|\s+)(.+)", line)
    if not found:
        raise ValueError(f"{where}: {line!r} lacks a value")
    key, value = found[1].lower(), found[2]
    if key in _COMMANDS:
        return key, value
    words = _WORDS.match(value)
    if not words:
        raise ValueError(f"{where}: {line!r} lacks a value")
    return key, words[0].strip()


def _split(value: str, where: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _criteria(words: list[str], where: str) -> tuple[tuple[str, ...], bool]:
    """The criteria of a `Match` that paramiko can judge, and whether there are others."""
    kept: list[str] = []
    unknown = False
    while words:
        name, equals, value = words.pop(0).partition("=")
        name = name.lower()
        criterion = [name]
        if name.lstrip("!") not in _ALONE:
            if not equals and not words:
                raise ValueError(f"{where}: Match {name} lacks a value")
            criterion.append(value if equals else words.pop(0))
        if name.lstrip("!") not in _JUDGED or name == "!all":
            unknown = True
        elif name != "all":
            kept += criterion
    return tuple(kept), unknown


def _match(criteria: tuple[str, ...]) -> str:
    return f"Match {shlex.join(criteria) or 'all'}"
