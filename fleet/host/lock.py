"""One run at a time on a node: a lock that a process on the node holds for as long as it hears from us.

The kernel frees it when that process ends: with the connection, when it is killed, or when it has heard
nothing for `PATIENCE` seconds, as behind a connection that only looks open. The host's side is lock.sh.
"""

from __future__ import annotations

import contextlib
import getpass
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Self

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from fleet.core.command import command
from fleet.core.errors import FleetError, HostError, LinkLost, Locked
from fleet.host.shell import Session, Shell

#: How often the holder hears from us, and after what silence it lets go (seconds).
HEARTBEAT = 10.0
PATIENCE = 45

#: The locks of a node. Transfers to replicas, which may take days, have one of their own: what only takes
#: snapshots and removes such runs beside them.
NODE, TRANSFERS = "lock", "transfers"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a node's lock, as the holder's record on the node says."""

    pid: int
    since: datetime
    who: str
    what: str

    def __str__(self) -> str:
        since = self.since.strftime("%Y-%m-%d %H:%M:%S")
        return f"{self.who}, running `{self.what}` since {since} (process {self.pid} on the node)"


class NodeLock:
    """Holds the node's lock from `with` to its end; Locked if another run has it.

    A broken connection is noticed within `HEARTBEAT` seconds and the lock taken again; `check` says if that
    failed.
    """

    def __init__(
        self,
        shell: Shell,
        what: str,
        *,
        name: str = NODE,
        who: str | None = None,
        notice: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
        heartbeat: float = HEARTBEAT,
        patience: int = PATIENCE,
    ) -> None:
        """`what`: the command that runs; `notice` is told when the lock of a dead holder is taken over."""
        self._shell = shell
        self._words = (secrets.token_hex(8), "_".join((who or _who()).split()), " ".join(what.split()))
        self._name = name
        self._notice = notice
        self._heartbeat = heartbeat
        self._patience = patience
        self._session: Session | None = None
        self._failure: FleetError | None = None
        self._talking = threading.Lock()
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="node lock", daemon=True)

    def __enter__(self) -> Self:
        """The lock, taken."""
        self._session = self._take()
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go, and wait until the node has."""
        self._over.set()
        with self._talking:
            self._let_go()
        self._beating.join()

    def check(self) -> None:
        """Nothing, if the lock is ours, taken again if need be; Locked or LinkLost if it could not be."""
        with self._talking:
            self._sign_of_life()
            if self._failure is not None:
                raise self._failure

    def _beat(self) -> None:
        while not self._over.wait(self._heartbeat):
            with self._talking:
                if not self._over.is_set():
                    self._sign_of_life()

    def _sign_of_life(self) -> None:
        if self._failure is not None:
            return
        try:
            if not self._is_heard():
                self._drop()
                self._session = self._take()
        except FleetError as error:
            self._failure = _lost(error)

    def _is_heard(self) -> bool:
        """Tells the holder that we live; False if it is gone."""
        if self._session is None:
            return False
        try:
            self._session.send(b".")
            return self._session.line(0) is not None
        except TimeoutError:
            return True
        except LinkLost:
            return False

    def _take(self) -> Session:
        """A session whose process holds the lock. Taking it twice is harmless: our own holder makes way."""
        attempts = Retrying(
            stop=stop_after_attempt(5),
            wait=wait_exponential(multiplier=0.2, max=3),
            retry=retry_if_exception_type(LinkLost),
            reraise=True,
        )
        return attempts(self._take_once)

    def _take_once(self) -> Session:
        mark = f"fleet-lock-{secrets.token_hex(8)}"
        hold = command("fleet_hold", *self._words, mark, str(self._patience), self._name).sh()
        session = self._shell.open(f"{_functions()}{hold}\n")
        try:
            while (line := session.line()) is not None:
                _, _, said = line.partition(f"{mark} ")
                verb, _, record = said.partition(" ")
                if verb == "held":
                    return session
                if verb == "locked":
                    raise Locked(_locked(record))
                if verb == "dead" and record.split()[4:5] != [self._words[0]]:
                    self._notice(
                        f"taking over the node's lock; its holder is dead: {_holder(record) or record}"
                    )
            said = session.output().err.strip()
            raise HostError(f"the node's lock cannot be taken: {said or 'the node does not say why'}")
        except BaseException:
            session.close()
            raise

    def _let_go(self) -> None:
        if self._session is not None:
            with contextlib.suppress(
                LinkLost, TimeoutError
            ):  # where the link is gone, the holder lets go by itself
                self._session.send(b"!")
                while self._session.line(2) is not None:
                    pass
        self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


def _holder(record: str) -> Holder | None:
    """The holder that a record names; None if it is no record."""
    words = record.split(" ", 6)
    if len(words) < 7 or not (words[0].isdigit() and words[3].isdigit()):
        return None
    return Holder(int(words[0]), datetime.fromtimestamp(int(words[3])).astimezone(), words[5], words[6])


def _locked(record: str) -> str:
    holder = _holder(record)
    if holder is None:
        return "another run holds the node, and its record is not readable (/run/fleet on the node)"
    return (
        f"another run holds the node: {holder}. Wait for it to end; if its machine is gone,"
        f" the node lets go {PATIENCE} seconds after it last heard from it"
    )


def _lost(error: FleetError) -> FleetError:
    """The same kind of error, which says that we had the lock before."""
    return type(error)(f"the node's lock was lost with the connection and cannot be taken again: {error}")


def _who() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


@cache
def _functions() -> str:
    """The functions of the host's side."""
    here = files("fleet.host")
    return "".join(here.joinpath(name).read_text(encoding="utf-8") for name in ("process.sh", "lock.sh"))
