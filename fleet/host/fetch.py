"""Files of a node, streamed as a tar archive over the connection and unpacked here; never outside of DEST.

An archive of a guest is not to be trusted: links that lead out, devices and the like are left out and said
(tarfile's `data` filter). All is unpacked beside DEST first, so that a link that breaks leaves nothing.
"""

from __future__ import annotations

import base64
import binascii
import os
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from fleet.core.command import Command
from fleet.core.errors import HostError, LinkLost, Refused, UsageError
from fleet.host.guarded import prelude
from fleet.host.shell import Shell


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: where it is now, how many files and bytes, and what was left out and why."""

    path: Path
    files: int
    size: int
    left_out: tuple[str, ...] = ()


class Missing(UsageError):
    """The path is not there; `has` are the other snapshots that hold it."""

    def __init__(self, has: tuple[str, ...]) -> None:
        self.has = has
        super().__init__("the path is not there")


@dataclass(slots=True)
class _Said:
    """What the node said besides the archive."""

    begun: bool = False
    ended: bool = False
    missing: bool = False
    fault: str = ""
    has: list[str] = field(default_factory=list)


def target_of(dest: Path, name: str, *, replace: bool) -> Path:
    """Where a file or folder of this name goes; Refused where something is there and may not be replaced."""
    path = dest / name if dest.is_dir() else dest
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder")
    if os.path.lexists(path) and not replace:
        raise Refused(f"{path} is there already: --yes replaces it, or name another place")
    return path


def fetch(shell: Shell, call: Command, target: Path) -> Fetched:
    """Run a function of restore.sh that streams an archive, and make `target` of it.

    Missing: the node does not have it. HostError: it cannot be read, or the stream broke.
    """
    said = _Said()
    parts = [
        files("fleet.host").joinpath(name).read_text(encoding="utf-8") for name in ("backup.sh", "restore.sh")
    ]
    try:
        beside = tempfile.TemporaryDirectory(prefix=".fleet-get-", dir=target.parent)
    except OSError as error:
        raise UsageError(f"nothing can be written in {target.parent}: {error.strerror}") from error
    with beside as folder:
        unpacking = _Unpacking(Path(folder))
        try:
            output = shell.stream(
                "\n".join((prelude(), *parts, call.sh(), "")), lambda line: _take(line, said, unpacking)
            )
        finally:
            unpacking.end()
        if said.missing:
            raise Missing(tuple(said.has))
        if said.fault:
            raise HostError(said.fault)
        if not said.ended or "fleet: broken" in output.err:
            raise LinkLost(f"the archive broke off: {_last(output.err) or 'the node does not say why'}")
        unpacking.check()
        whole = Path(folder) / "got"
        if not os.path.lexists(whole):
            raise Refused("nothing of it could be unpacked: " + "; ".join(unpacking.left_out[:3]))
        _move(whole, target)
        return Fetched(target, unpacking.files, unpacking.size, tuple(unpacking.left_out))


def _take(line: str, said: _Said, unpacking: _Unpacking) -> None:
    if not line.startswith("fleet: "):
        if said.begun and not said.ended:
            try:
                unpacking.feed(base64.b64decode(line, validate=True))
            except binascii.Error:
                raise HostError("the archive came damaged") from None
        return
    word, _, rest = line.removeprefix("fleet: ").partition(" ")
    match word:
        case "begin":
            said.begun = True
        case "end":
            said.ended = True
        case "missing":
            said.missing = True
        case "has":
            said.has.append(rest)
        case "fault":
            said.fault = rest
        case "link":
            said.fault = (
                f"the way there is a link ({rest}), which is not followed: write the path that it leads to"
            )


class _Unpacking:
    """A thread that unpacks what it is fed, into `folder`/got."""

    def __init__(self, folder: Path) -> None:
        self.left_out: list[str] = []
        self.files = 0
        self.size = 0
        self._root = folder / "got"
        self._error: Exception | None = None
        out, self._in = os.pipe()
        self._open = True
        self._thread = threading.Thread(target=self._unpack, args=(out,), name="unpack", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> None:
        """The next bytes of the archive; the error of unpacking, if there was one."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._in, view) :]
        except BrokenPipeError:
            self._thread.join()
            self.check()

    def end(self) -> None:
        """No more bytes; waits until all is unpacked."""
        if self._open:
            self._open = False
            os.close(self._in)
        self._thread.join()

    def check(self) -> None:
        """Nothing; or the error of unpacking, as one for people."""
        if isinstance(self._error, OSError):
            raise HostError(f"unpacking failed: {self._error}") from None
        if self._error is not None:
            raise HostError(f"the archive is damaged: {self._error}") from None

    def _unpack(self, out: int) -> None:
        try:
            with os.fdopen(out, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    self._one(archive, member)
                while stream.read(1 << 16):  # what pads the last block
                    pass
        except (tarfile.TarError, OSError, EOFError) as error:
            self._error = error

    def _one(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """One member, below the top: the top itself is `got`."""
        shown = member.name.removeprefix("./") or "."
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        inside = "/".join(parts[0 if self._whole(member) else 1 :])
        if not inside:
            if member.isdir():
                self._root.mkdir(exist_ok=True)
                return
            top, inside = self._root.parent, "got"
        else:
            top = self._root
            top.mkdir(exist_ok=True)
        changed = {"name": inside}
        if member.islnk():
            linked = [part for part in member.linkname.split("/") if part not in ("", ".")]
            changed["linkname"] = "/".join(linked[0 if self._top == "." else 1 :])
        try:
            safe = tarfile.data_filter(member.replace(**changed, deep=False), str(top))  # type: ignore[arg-type]
            if safe.islnk() and not (top / safe.linkname).is_file():
                raise KeyError(safe.linkname)  # tarfile would look for it in what has gone by
            archive.extract(safe, top, filter="fully_trusted")
        except (tarfile.FilterError, KeyError) as error:
            what = f" -> {member.linkname}" if member.issym() or member.islnk() else ""
            self.left_out.append(f"{shown}{what}: {_reason(error)}")
            return
        if member.isreg():
            self.files += 1
            self.size += member.size

    _top = ""

    def _whole(self, member: tarfile.TarInfo) -> bool:
        """Whether the archive is of a whole file system, whose top is `.`: the first member says so."""
        if not self._top:
            self._top = "." if member.name.rstrip("/") == "." else "named"
        return self._top == "."


def _reason(error: Exception) -> str:
    kinds = {
        "AbsoluteLinkError": "an absolute link",
        "LinkOutsideDestinationError": "a link that leads out",
        "SpecialFileError": "a device or the like",
        "AbsolutePathError": "an absolute path",
        "OutsideDestinationError": "a path that leads out",
    }
    return kinds.get(type(error).__name__, "a link to what is not there")


def _move(source: Path, target: Path) -> None:
    """Make target of source; where there is a folder of the name, what is in both is replaced."""
    if not os.path.lexists(target):
        source.rename(target)
        return
    if source.is_dir() and not source.is_symlink():
        if not target.is_dir() or target.is_symlink():
            raise Refused(f"{target} is there and is no folder")
        for each in _children(source):
            _move(each, target / each.name)
        return
    if target.is_dir() and not target.is_symlink():
        raise Refused(f"{target} is there and is a folder")
    source.replace(target)


def _children(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.iterdir())


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("fleet: ")]
    return lines[-1] if lines else ""
