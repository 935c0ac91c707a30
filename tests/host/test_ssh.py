"""SSH: host keys, logins, ~/.ssh/config, limits of sshd, and how often it is tried."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.errors import Unreachable
from fleet.host.local import LocalTransport
from fleet.host.script import ScriptShell
from fleet.host.ssh import SshTransport
from fleet.host.ssh.knownhosts import known_keys
from tests.host.conftest import Sshd, free_port, keygen, start_sshd, until


def answer(transport: SshTransport, script: str = "echo ok") -> str:
    shell = ScriptShell(transport)
    try:
        return shell.run(script).out
    finally:
        shell.close()


def refusal(transport: SshTransport) -> str:
    with pytest.raises(Unreachable) as refused:
        answer(transport)
    assert refused.value.exit_code == 4
    return str(refused.value)


# Host keys


def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_how_to_trust_it(
    sshd: Sshd, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    said = refusal(sshd.transport(known_hosts=known))
    listed = subprocess.run(
        ["ssh-keygen", "-lf", sshd.folder / "host_key.pub"], capture_output=True, text=True
    )
    assert listed.stdout.split()[1] in said
    command = next(line.strip() for line in said.splitlines() if "ssh-keyscan" in line)
    assert not known.exists()
    # What it says really is the way: do it, and it works.
    subprocess.run(["sh", "-c", command], check=True, stderr=subprocess.DEVNULL)
    assert answer(sshd.transport(known_hosts=known)) == "ok\n"


def test_a_changed_host_key_is_refused_sternly_and_stays_refused(sshd: Sshd, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other").with_suffix(".pub").read_text()
    known = tmp_path / "known_hosts"
    known.write_text(f"# mine\n[127.0.0.1]:{sshd.port} {other}")
    before = known.read_bytes()
    for _ in range(2):
        said = refusal(sshd.transport(known_hosts=known))
        assert "HAS CHANGED" in said
        assert f"{known}:2" in said
        assert known.read_bytes() == before
    command = next(line.strip() for line in said.splitlines() if "ssh-keygen -f" in line)
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert "not known" in refusal(sshd.transport(known_hosts=known))


def test_a_host_key_is_never_asked_for_twice(sshd: Sshd, tmp_path: Path) -> None:
    began = time.monotonic()
    refusal(sshd.transport(known_hosts=tmp_path / "none", patience=30.0))
    assert time.monotonic() - began < 20


def test_hashed_names_patterns_and_second_keys_are_known(sshd: Sshd, tmp_path: Path) -> None:
    key = (sshd.folder / "host_key.pub").read_text()
    other = keygen(tmp_path / "other").with_suffix(".pub").read_text()
    hashed = tmp_path / "hashed"
    hashed.write_text(f"[127.0.0.1]:{sshd.port} {key}")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", hashed], check=True, capture_output=True)
    assert "127.0.0.1" not in hashed.read_text()
    pattern = tmp_path / "pattern"
    pattern.write_text(
        f"garbage\n[127.0.0.*]:{sshd.port} ssh-ed25519 not-base64!\n[127.0.0.*]:{sshd.port},x {key}"
    )
    second = tmp_path / "second"
    second.write_text(f"[127.0.0.1]:{sshd.port} {other}[127.0.0.1]:{sshd.port} {key}")
    for known in (hashed, pattern, second):
        assert answer(sshd.transport(known_hosts=known)) == "ok\n"


def test_a_revoked_key_is_refused_though_it_is_known(sshd: Sshd, tmp_path: Path) -> None:
    key = (sshd.folder / "host_key.pub").read_text()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {key}@revoked * {key}")
    assert "@revoked" in refusal(sshd.transport(known_hosts=known))


def test_the_host_is_asked_for_the_kind_of_key_that_is_known(tmp_path: Path) -> None:
    rsa = keygen(tmp_path / "rsa_key", kind="rsa")
    server = start_sshd(tmp_path, extra=f"HostKey {rsa}\n")
    try:
        for kind in ("rsa_key.pub", "host_key.pub"):
            server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {(tmp_path / kind).read_text()}")
            assert answer(server.transport()) == "ok\n"
    finally:
        server.process.terminate()
        server.process.wait()


@pytest.mark.parametrize(
    ("field", "host", "port", "known"),
    [
        ("pve", "pve", 22, True),
        ("pve", "PVE", 22, True),
        ("pve", "pve", 2222, False),
        ("[pve]:2222", "pve", 2222, True),
        ("[pve]:2222", "pve", 22, False),
        ("a,pve,b", "pve", 22, True),
        ("pv?", "pve", 22, True),
        ("*.lan,!pve.lan", "pve.lan", 22, False),
        ("*.lan,!pve.lan", "nas.lan", 22, True),
        ("[*]:2222", "pve", 2222, True),
        ("pve2", "pve", 22, False),
        ("2001:db8::1", "2001:db8::1", 22, True),
    ],
)
def test_known_hosts_is_read_as_ssh_reads_it(
    tmp_path: Path, field: str, host: str, port: int, known: bool
) -> None:
    key = keygen(tmp_path / "key").with_suffix(".pub").read_text()
    file = tmp_path / "known_hosts"
    file.write_text(f"{field} {key}")
    assert bool(known_keys([file], host, port)) is known
    name = host if port == 22 else f"[{host}]:{port}"
    found = subprocess.run(["ssh-keygen", "-F", name, "-f", file], capture_output=True)
    assert (found.returncode == 0) is known


# Logins


def test_an_encrypted_key_without_an_agent_is_said(sshd: Sshd, tmp_path: Path) -> None:
    key = keygen(tmp_path / "locked", passphrase="secret words")
    said = refusal(sshd.transport(identity_file=key))
    assert f"{key} is encrypted and not in the SSH agent (ssh-add {key})" in said


@pytest.fixture
def agent(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of an agent that has the key, and of which the environment says nothing."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent")
    sock = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
    try:
        until(sock.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        subprocess.run(["ssh-add", "-q", sshd.key], check=True, stderr=subprocess.DEVNULL)
        monkeypatch.delenv("SSH_AUTH_SOCK")
        yield sock
    finally:
        process.terminate()
        process.wait()


def test_an_encrypted_key_is_used_from_the_agent(
    sshd: Sshd, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    locked = tmp_path / "locked"
    shutil.copy(sshd.key, locked)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", "words", "-f", locked], check=True, capture_output=True
    )
    assert answer(sshd.transport(identity_file=locked)) == "ok\n"


def test_the_agent_that_the_ssh_config_names_is_asked(sshd: Sshd, agent: Path, ssh_config: Path) -> None:
    others = f"Host homeserver\n  IdentitiesOnly yes\n  IdentityFile {sshd.key}.pub\n"
    text = ssh_config.read_text().replace(f"  IdentityFile {sshd.key}\n", "")
    ssh_config.write_text(f"{others}{text}")
    assert "no key to log in with" in refusal(SshTransport("pve", "homeserver"))
    ssh_config.write_text(f"{others}{text}  IdentityAgent {agent}\n")
    assert answer(SshTransport("pve", "homeserver")) == "ok\n"
    ssh_config.write_text(f"{others}  IdentityAgent none\n{text}")
    assert "no key to log in with" in refusal(SshTransport("pve", "homeserver"))


def test_a_key_that_others_can_read_is_not_used(sshd: Sshd, tmp_path: Path) -> None:
    key = tmp_path / "open"
    shutil.copy(sshd.key, key)
    key.chmod(0o644)
    assert f"{key} is open to others (mode 0644), so ssh would not use it (chmod 600 {key})" in refusal(
        sshd.transport(identity_file=key)
    )


def test_a_key_that_is_missing_is_said(sshd: Sshd, tmp_path: Path) -> None:
    assert f"the key {tmp_path / 'none'} does not exist" in refusal(
        sshd.transport(identity_file=tmp_path / "none")
    )


def test_a_key_that_the_host_refuses_is_said_once_and_never_retried(sshd: Sshd, tmp_path: Path) -> None:
    key = keygen(tmp_path / "stranger")
    began = time.monotonic()
    said = refusal(sshd.transport(identity_file=key, patience=30.0))
    assert f"the host refused {key}" in said
    assert f"ssh-copy-id -i {key} -p {sshd.port} {sshd.user}@127.0.0.1" in said
    assert time.monotonic() - began < 20


def test_no_key_at_all_says_how_to_make_one(sshd: Sshd) -> None:
    said = refusal(sshd.transport(identity_file=None))
    assert "no key to log in with" in said
    assert "ssh-keygen -t ed25519, then ssh-copy-id" in said


# The way there


@pytest.fixture
def ssh_config(sshd: Sshd) -> Path:
    """~/.ssh/config with an alias for the server."""
    folder = Path(os.environ["HOME"]) / ".ssh"
    folder.mkdir(mode=0o700)
    shutil.copy(sshd.known_hosts, folder / "elsewhere")
    file = folder / "config"
    file.write_text(
        f"Host homeserver\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
        f"  IdentityFile {sshd.key}\n  UserKnownHostsFile ~/.ssh/elsewhere\n"
    )
    return file


def test_an_alias_of_the_ssh_config_is_all_that_is_needed(ssh_config: Path) -> None:
    assert answer(SshTransport("pve", "homeserver")) == "ok\n"


def test_a_jump_host_is_gone_through_and_its_key_is_checked_too(sshd: Sshd, ssh_config: Path) -> None:
    ssh_config.write_text(
        ssh_config.read_text()
        + f"Host behind\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
        f"  IdentityFile {sshd.key}\n  UserKnownHostsFile ~/.ssh/elsewhere\n  ProxyJump gate\n"
        f"Host gate\n  HostName localhost\n  Port {sshd.port}\n  User {sshd.user}\n"
        f"  IdentityFile {sshd.key}\n  UserKnownHostsFile ~/.ssh/gates\n"
    )
    assert f"the host key of localhost port {sshd.port} is not known" in refusal(
        SshTransport("pve", "behind")
    )
    gates = ssh_config.with_name("gates")
    gates.write_text(f"[localhost]:{sshd.port} {(sshd.folder / 'host_key.pub').read_text()}")
    assert (
        answer(SshTransport("pve", "behind"), "head -c 3000000 /dev/zero | tr '\\0' x").count("x")
        == 3_000_000
    )


def test_a_proxy_command_is_used_and_the_alias_of_the_host_key(
    sshd: Sshd, ssh_config: Path, tmp_path: Path
) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\n"
        "peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536): peer.sendall(data)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := peer.recv(65536): os.write(1, data)\n"
    )
    ssh_config.write_text(
        f"Host behind\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
        f"  IdentityFile {sshd.key}\n  HostKeyAlias mypve\n  ProxyCommand {sys.executable} {relay} %h %p\n"
    )
    (ssh_config.parent / "known_hosts").write_text(f"mypve {(sshd.folder / 'host_key.pub').read_text()}")
    assert answer(SshTransport("pve", "behind")) == "ok\n"


def test_a_name_that_does_not_resolve_is_said() -> None:
    assert "the name does not resolve" in refusal(SshTransport("pve", "no-such-host.invalid", patience=0.5))


def test_a_host_that_refuses_is_tried_a_few_times() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        said = refusal(SshTransport("pve", "127.0.0.1", port=taken.getsockname()[1], patience=1.0))
    assert "Connection refused" in said
    assert "tries)" in said


def test_a_host_that_comes_up_late_is_reached(tmp_path: Path) -> None:
    port = free_port()
    started: list[Sshd] = []
    starter = threading.Timer(0.7, lambda: started.append(start_sshd(tmp_path, port=port)))
    first = start_sshd(tmp_path, port=port)  # makes the keys
    first.process.terminate()
    first.process.wait()
    starter.start()
    try:
        assert answer(first.transport(patience=20.0)) == "ok\n"
    finally:
        starter.join()
        started[0].process.terminate()
        started[0].process.wait()


def test_a_killed_server_is_reached_again_when_it_is_back(tmp_path: Path) -> None:
    server = start_sshd(tmp_path)
    shell = ScriptShell(server.transport(patience=20.0))
    assert shell.run("echo one").out == "one\n"
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    for child in children:
        subprocess.run(["kill", "-9", child], check=True)
    server.process.kill()
    server.process.wait()
    again = start_sshd(tmp_path, port=server.port)
    try:
        assert shell.run("echo two").out == "two\n"
        assert (shell.connections, shell.executions) == (2, 2)
    finally:
        shell.close()
        again.process.terminate()
        again.process.wait()


# What sshd allows


def test_a_host_that_allows_two_sessions_still_serves_eight_threads(tmp_path: Path) -> None:
    server = start_sshd(tmp_path, extra="MaxSessions 2\n")
    shell = ScriptShell(server.transport())
    answers: list[str] = []
    try:
        threads = [
            threading.Thread(target=lambda n=n: answers.append(shell.run(f"sleep 0.1; echo {n}").out))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(int, answers)) == list(range(8))
        assert shell.connections == 1
    finally:
        shell.close()
        server.process.terminate()
        server.process.wait()


def test_a_connection_that_is_cut_in_the_banner_is_tried_again(tmp_path: Path) -> None:
    server = start_sshd(tmp_path, extra="MaxStartups 1\n")
    try:
        squatter = socket.create_connection(("127.0.0.1", server.port))
        squatter.recv(64)
        threading.Timer(0.8, squatter.close).start()
        assert answer(server.transport(patience=20.0)) == "ok\n"
    finally:
        server.process.terminate()
        server.process.wait()


def test_an_account_that_may_run_nothing_is_explained_in_the_hosts_words(tmp_path: Path) -> None:
    server = start_sshd(tmp_path, extra="ForceCommand echo 'This account is not available.'; exit 1\n")
    try:
        said = refusal(server.transport())
        assert "the host runs no scripts for us (exit code 1): This account is not available." in said
    finally:
        server.process.terminate()
        server.process.wait()


# Becoming root


@pytest.fixture
def fake_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sudo of our own, first in PATH."""
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text(f'#!/bin/sh\necho "$1 $2 $3" >>{tmp_path}/asked\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    return sudo


def test_another_user_than_root_runs_scripts_through_sudo(fake_sudo: Path, tmp_path: Path) -> None:
    shell = ScriptShell(LocalTransport("pve"), sudo=True)
    assert shell.run("cat; exit 9", stdin=b"data").out == "data"
    assert (tmp_path / "asked").read_text() == "-n sh -c\n"


def test_a_sudo_that_wants_a_password_is_explained(fake_sudo: Path) -> None:
    fake_sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    with pytest.raises(Unreachable, match=r"without a password: sudo: a password is required.*NOPASSWD"):
        ScriptShell(LocalTransport("pve"), sudo=True).run("echo never")


def test_a_host_without_sudo_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="sudo"):
        ScriptShell(LocalTransport("pve"), sudo=True).run("echo never")


def test_the_real_sudo_passes_script_and_stdin_on(sshd: Sshd) -> None:
    if shutil.which("sudo") is None or os.geteuid() != 0:
        pytest.skip("no sudo that lets us through")
    shell = ScriptShell(sshd.transport(), sudo=True)
    try:
        output = shell.run("id -u; cat; exit 3", stdin=b"x" * 3_000_000)
    finally:
        shell.close()
    assert (output.code, output.out) == (3, "0\n" + "x" * 3_000_000)
