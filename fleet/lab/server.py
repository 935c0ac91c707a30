"""The SSH server of one lab: what sshd of a Proxmox node does, as far as a client can tell.

Public keys only, ten sessions on a connection, commands run by the user's shell with pipes (or a terminal),
exit status or exit signal; a lost connection closes the pipes and kills nothing. The faults of faults.py
strike here.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import paramiko

from fleet.lab import keys, layout
from fleet.lab.session import Node, Request, serve

_MAX_SESSIONS = 10  # of sshd_config(5), MaxSessions
_ACCEPTED_VARIABLES = ("LANG", "LC_", "COLORTERM", "NO_COLOR")  # AcceptEnv of Debian's sshd_config


class Server:
    """The listening side."""

    def __init__(self, files: layout.Files, pid: int) -> None:
        self._files = files
        self._host_key = keys.make(files.host_key)
        self._client_key = keys.make(files.client_key)
        self._node = Node(files, pid)

    def start(self) -> int:
        """Listen on 127.0.0.1, on the port of last time if it is free, serve in the background; the port."""
        listener = self._listen()
        port: int = listener.getsockname()[1]
        keys.write_known_hosts(self._files.known_hosts, port, self._host_key)
        self._node.port = port
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return port

    def _listen(self) -> socket.socket:
        for port in (keys.known_port(self._files.known_hosts), 0):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                listener.close()
                continue
            listener.listen(128)
            return listener
        raise OSError("no free port on 127.0.0.1")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.add_server_key(self._host_key)
        session = _Connection(self._node, self._client_key, transport, connection)
        try:
            transport.start_server(server=session)
        except (paramiko.SSHException, EOFError, OSError):
            transport.close()
            return
        while transport.is_active():
            channel = transport.accept(60)
            if channel is not None:
                session.opened(channel)


class _Connection(paramiko.ServerInterface):
    """One client: who it is, and what its channels ask for."""

    def __init__(
        self, node: Node, client_key: paramiko.PKey, transport: paramiko.Transport, connection: socket.socket
    ) -> None:
        self._node = node
        self._client_key = client_key
        self._transport = transport
        self._connection = connection
        self._lock = threading.Lock()
        self._channels: dict[int, paramiko.Channel | None] = {}
        self._requests: dict[int, Request] = {}

    def opened(self, channel: paramiko.Channel) -> None:
        """Remember a channel, so that it is counted until it is closed."""
        with self._lock:
            self._channels[channel.chanid] = channel

    # --- what paramiko asks ---

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username in self._node.users and key.asbytes() == self._client_key.asbytes()
        return paramiko.common.AUTH_SUCCESSFUL if good else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session":
            return paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        with self._lock:
            open_ones = {
                number: channel
                for number, channel in self._channels.items()
                if channel is None or not channel.closed
            }
            if len(open_ones) >= _MAX_SESSIONS:
                return paramiko.common.OPEN_FAILED_CONNECT_FAILED
            self._channels = {**open_ones, chanid: None}
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_env_request(self, channel: paramiko.Channel, name: bytes, value: bytes) -> bool:
        if not name.decode().startswith(_ACCEPTED_VARIABLES):
            return False
        self._request(channel).variables[name.decode()] = value.decode()
        return True

    def check_channel_pty_request(
        self,
        channel: paramiko.Channel,
        term: bytes,
        width: int,
        height: int,
        pixelwidth: int,  # noqa: ARG002
        pixelheight: int,  # noqa: ARG002
        modes: bytes,  # noqa: ARG002
    ) -> bool:
        self._request(channel).terminal = (term.decode(), width, height)
        return True

    def check_channel_window_change_request(
        self,
        channel: paramiko.Channel,
        width: int,
        height: int,
        pixelwidth: int,  # noqa: ARG002
        pixelheight: int,  # noqa: ARG002
    ) -> bool:
        self._request(channel).resize(width, height)
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        return self._serve(channel, None)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return self._serve(channel, command.decode(errors="surrogateescape"))

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        program = next(
            (
                path
                for path in (
                    "/usr/lib/openssh/sftp-server",
                    "/usr/libexec/openssh/sftp-server",
                    "/usr/lib/ssh/sftp-server",
                )
                if Path(path).exists()
            ),
            None,
        )
        return name == "sftp" and program is not None and self._serve(channel, f"exec {program}")

    def _request(self, channel: paramiko.Channel) -> Request:
        return self._requests.setdefault(channel.chanid, Request())

    def _serve(self, channel: paramiko.Channel, command: str | None) -> bool:
        request = self._request(channel)
        del self._requests[channel.chanid]
        request.user, request.command = self._transport.get_username() or "root", command
        request.client = self._connection.getpeername()[1]
        threading.Thread(
            target=serve, args=(self._node, channel, request, self._connection), daemon=True
        ).start()
        return True
