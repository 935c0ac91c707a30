"""Files that come as a tar stream: what is unpacked, what is left out, what is an error."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from fleet.core.command import command
from fleet.core.errors import FleetError, HostError, LinkLost, Refused, UsageError
from fleet.host.fetch import Missing, fetch, target_of
from fleet.host.shell import Output, Session


class Node:
    """A Shell whose node says these lines."""

    executions = connections = 0

    def __init__(self, lines: Iterable[str], err: str = "") -> None:
        self.lines = list(lines)
        self.err = err
        self.script = ""

    def run(self, script: str, *, stdin: bytes = b"", timeout: float | None = None) -> Output:
        raise NotImplementedError

    def stream(self, script: str, on_line: Callable[[str], None], *, timeout: float | None = None) -> Output:
        self.script = script
        for line in self.lines:
            on_line(line)
        return Output(0, "", self.err)

    def open(self, script: str) -> Session:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


Entry = tuple[str, bytes, str, bytes]  # name, kind, link, data


def tar(*entries: Entry) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, link, data in entries:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, len(data)
            member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o6644
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def file(name: str, data: bytes = b"x") -> Entry:
    return (name, tarfile.REGTYPE, "", data)


def folder(name: str) -> Entry:
    return (name, tarfile.DIRTYPE, "", b"")


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> Entry:
    return (name, kind, to, b"")


def said(data: bytes, *, width: int = 4096) -> list[str]:
    cut = range(0, len(data), width)
    return ["fleet: begin", *(base64.b64encode(data[at : at + width]).decode() for at in cut), "fleet: end"]


def got(tmp_path: Path, *entries: Entry, name: str = "got") -> tuple[Path, tuple[str, ...]]:
    fetched = fetch(Node(said(tar(*entries))), command("fleet_get"), tmp_path / name)
    return fetched.path, fetched.left_out


def names(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def test_a_folder_takes_the_name_that_was_asked_for(tmp_path: Path) -> None:
    path, left_out = got(
        tmp_path, folder("./etc"), folder("./etc/a"), file("./etc/a/b", b"\0\xff"), name="mine"
    )
    assert names(tmp_path) == ["mine", "mine/a", "mine/a/b"]
    assert (path / "a/b").read_bytes() == b"\0\xff"
    assert left_out == ()


def test_a_whole_file_system_is_what_is_in_it(tmp_path: Path) -> None:
    path, _ = got(tmp_path, folder("."), folder("./etc"), file("./etc/x"))
    assert names(path) == ["etc", "etc/x"]


def test_one_file_is_one_file(tmp_path: Path) -> None:
    path, _ = got(tmp_path, file("./hosts", b"127.0.0.1"))
    assert path.read_bytes() == b"127.0.0.1"
    assert not path.stat().st_mode & 0o6000  # neither setuid nor setgid comes along


def test_hard_links_and_links_inside_come_along(tmp_path: Path) -> None:
    entries = (
        folder("./d"),
        file("./d/a", b"1"),
        link("./d/b", "./d/a", tarfile.LNKTYPE),
        link("./d/c", "a"),
    )
    path, left_out = got(tmp_path, *entries)
    assert (path / "b").read_bytes() == (path / "c").read_bytes() == b"1"
    assert left_out == ()


@pytest.mark.parametrize(
    "bad",
    [
        link("./d/x", "/etc/passwd"),
        link("./d/x", "../../out"),
        link("./d/x", "../out"),
        link("./d/x", "/etc/passwd", tarfile.LNKTYPE),
        link("./d/x", "./never/was", tarfile.LNKTYPE),
        ("./d/x", tarfile.CHRTYPE, "", b""),
        ("./d/x", tarfile.FIFOTYPE, "", b""),
        file("./d/../../x"),
    ],
)
def test_what_leads_out_or_is_no_file_is_left_out_and_said(tmp_path: Path, bad: Entry) -> None:
    path, left_out = got(tmp_path, folder("./d"), bad, file("./d/good"))
    assert names(path) == ["good"]
    assert len(left_out) == 1
    assert names(tmp_path) == ["got", "got/good"]


def test_nothing_is_written_through_a_link_of_the_archive(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    got(tmp_path, folder("./d"), link("./d/x", str(outside)), file("./d/x/y"))
    assert names(outside) == []


def test_the_path_that_is_not_there_says_who_has_it(tmp_path: Path) -> None:
    with pytest.raises(Missing) as error:
        fetch(Node(["fleet: missing", "fleet: has a", "fleet: has b"]), command("fleet_get"), tmp_path / "x")
    assert error.value.has == ("a", "b")


@pytest.mark.parametrize(
    ("lines", "err", "kind"),
    [
        (["fleet: fault it is gone"], "", HostError),
        (["fleet: link /bin -> usr/bin"], "", HostError),
        (said(tar(file("./a")))[:-1], "", LinkLost),
        ([], "", LinkLost),
        (said(tar(file("./a"))), "tar: ./b: Cannot read\nfleet: broken", LinkLost),
        (["fleet: begin", "no base64!", "fleet: end"], "", HostError),
        (said(b"no tar" * 1000), "", HostError),
        (said(tar(file("./a", b"y" * 9000))[:5000]), "", HostError),
        (said(tar(link("./a", "/etc/passwd"))), "", Refused),
    ],
)
def test_what_did_not_come_whole_leaves_nothing(
    tmp_path: Path, lines: Sequence[str], err: str, kind: type[FleetError]
) -> None:
    with pytest.raises(kind):
        fetch(Node(lines, err), command("fleet_get"), tmp_path / "x")
    assert names(tmp_path) == []


def test_folders_that_are_there_are_filled_and_files_replaced(tmp_path: Path) -> None:
    (tmp_path / "got").mkdir()
    (tmp_path / "got/a").write_text("old")
    (tmp_path / "got/mine").write_text("mine")
    path, _ = got(tmp_path, folder("./d"), file("./d/a", b"new"), folder("./d/b"), file("./d/b/c"))
    assert names(path) == ["a", "b", "b/c", "mine"]
    assert (path / "a").read_text() == "new"


@pytest.mark.parametrize("there", ["link", "file"])
def test_a_folder_takes_the_place_of_no_link_and_no_file(tmp_path: Path, there: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if there == "link":
        (tmp_path / "got").symlink_to(outside)
    else:
        (tmp_path / "got").write_text("mine")
    with pytest.raises(Refused):
        got(tmp_path, folder("./d"), file("./d/a"))
    assert names(outside) == []


def test_where_it_goes_is_a_folder_that_is_there_or_a_new_name(tmp_path: Path) -> None:
    assert target_of(tmp_path, "hosts", replace=False) == tmp_path / "hosts"
    assert target_of(tmp_path / "new", "hosts", replace=False) == tmp_path / "new"
    with pytest.raises(UsageError, match="no folder"):
        target_of(tmp_path / "no/where", "hosts", replace=False)
    (tmp_path / "hosts").symlink_to("/nowhere")
    with pytest.raises(Refused, match="--yes"):
        target_of(tmp_path, "hosts", replace=False)
    assert target_of(tmp_path, "hosts", replace=True) == tmp_path / "hosts"


def test_a_folder_that_takes_no_files_is_an_error_before_anything_is_asked_of_the_node() -> None:
    node = Node([])
    with pytest.raises(UsageError, match=r"nothing can be written in /proc: "):
        fetch(node, command("fleet_get"), Path("/proc/hosts"))
    assert not node.script


def test_the_node_is_sent_the_functions_and_the_words_quoted(tmp_path: Path) -> None:
    node = Node(said(tar(file("./a b"))))
    fetch(node, command("fleet_get", "t@s", "1", "a b; rm x"), tmp_path / "x")
    assert node.script.endswith("fleet_get t@s 1 'a b; rm x'\n")
    assert "fleet_stream()" in node.script
