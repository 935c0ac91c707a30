"""How a script travels, byte by byte, over a transport that we hold in our hands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import LinkLost
from fleet.host.script import DELIVERIES, Exchange, Pipe, ScriptShell
from fleet.host.shell import Output


@dataclass
class Host:
    """A host that answers every script with the same bytes, in pieces of the given sizes."""

    out: bytes = b""
    err: bytes = b""
    code: int = 0
    sizes: list[int] = field(default_factory=lambda: [1 << 20])
    noise: bytes = b""
    breaks: int = 0  # so many links break before the script has arrived
    name: str = "pve"
    connections: int = 1
    opened: int = 0

    def open(self, command: str) -> Pipe:
        self.opened += 1
        mark = re.search(r'echo "(\w+) begin"', command)
        assert mark
        return _Replay(self, mark[1].encode(), broken=self.opened <= self.breaks)

    def close(self) -> None:
        pass


class _Replay:
    def __init__(self, host: Host, mark: bytes, *, broken: bool) -> None:
        self._broken = broken
        framed = [
            host.noise + mark + b" begin\n" + body + b"\n" + mark + b" end %d\n" % host.code
            for body in (host.out, host.err)
        ]
        self._out, self._err = (_pieces(each, host.sizes) for each in framed)

    def exchange(self, data: memoryview, timeout: float | None) -> Exchange:
        if self._broken:
            return Exchange(min(len(data), 10), b"", b"", ended=True)
        return Exchange(len(data), next(self._out, b""), next(self._err, b""), ended=False)

    def end_input(self) -> None:
        pass

    def status(self) -> int | None:
        return None

    def close(self) -> None:
        pass


def _pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at, turn = 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


bodies = st.lists(st.sampled_from([b"\n", b"\n\n", b"a", b" end 0", b" begin\n", b"\xff", "é".encode()])).map(
    b"".join
)
sizes = st.lists(st.integers(1, 50), min_size=1, max_size=5)


@given(out=bodies, err=bodies, code=st.integers(0, 255), sizes=sizes, noise=bodies)
def test_output_is_the_same_however_it_is_cut_into_pieces(
    out: bytes, err: bytes, code: int, sizes: list[int], noise: bytes
) -> None:
    lines: list[str] = []
    output = ScriptShell(Host(out, err, code, sizes, noise)).stream("true", lines.append)
    shown = out.decode("utf-8", "backslashreplace")
    assert output == Output(code, shown, err.decode("utf-8", "backslashreplace"))
    assert lines == (shown[:-1] if shown.endswith("\n") else shown).split("\n") * bool(shown)


def test_a_script_whose_link_breaks_before_it_arrives_is_sent_again() -> None:
    host = Host(b"ok", breaks=DELIVERIES - 1)
    shell = ScriptShell(host)
    assert shell.run("a long enough script").out == "ok"
    assert (host.opened, shell.executions) == (DELIVERIES, 1)


def test_a_link_that_breaks_again_and_again_is_given_up_with_nothing_run() -> None:
    host = Host(b"ok", breaks=99)
    shell = ScriptShell(host)
    with pytest.raises(LinkLost, match="nothing was run"):
        shell.run("a long enough script")
    assert (host.opened, shell.executions) == (DELIVERIES, 0)
