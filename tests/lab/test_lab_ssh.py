"""The lab's SSH server, through a real OpenSSH client and through paramiko."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from fleet import lab as labs

REPO = Path(__file__).resolve().parents[2]
openssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client")


def ssh(
    lab: labs.Lab, command: str, *, options: tuple[str, ...] = (), stdin: bytes = b"", user: str = "root"
) -> tuple[int, str, str]:
    """What OpenSSH's client gives for a command."""
    program, *given = lab.ssh_words()[:-1]
    words = [program, *options, "-F", "none", "-o", "BatchMode=yes", *given, f"{user}@{lab.host}", command]
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=30)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def client(shared: labs.Lab) -> Iterator[paramiko.SSHClient]:
    client = paramiko.SSHClient()
    client.load_host_keys(str(shared.known_hosts))
    client.connect(
        shared.host, shared.port, "root", key_filename=str(shared.key), allow_agent=False, look_for_keys=False
    )
    yield client
    client.close()


def run(client: paramiko.SSHClient, command: str) -> tuple[int, bytes, bytes]:
    _, stdout, stderr = client.exec_command(command, timeout=30)
    out, err = stdout.read(), stderr.read()
    return stdout.channel.recv_exit_status(), out, err


@openssh
def test_streams_are_apart_and_the_code_is_the_commands(shared: labs.Lab) -> None:
    assert ssh(shared, "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")


@openssh
def test_stdin_reaches_the_command(shared: labs.Lab) -> None:
    assert ssh(shared, "cat; echo end", stdin=b"a\nb\n")[1] == "a\nb\nend\n"


@openssh
def test_the_environment_is_that_of_sshd(shared: labs.Lab) -> None:
    names = {line.partition("=")[0] for line in ssh(shared, "env")[1].splitlines()}
    assert names >= {
        "SHELL",
        "PWD",
        "LOGNAME",
        "HOME",
        "LANG",
        "SSH_CONNECTION",
        "USER",
        "SSH_CLIENT",
        "PATH",
    }
    assert not {"PYTHONPATH", "LD_LIBRARY_PATH", "FLEET_LAB_HOME", "FLEET_LAB_USER"} & names
    assert ssh(shared, "pwd; tty; ulimit -c >/dev/null")[1] == "/root\nnot a tty\n"


@openssh
def test_large_output_comes_whole(shared: labs.Lab) -> None:
    began = time.monotonic()
    assert ssh(shared, "seq 2000000 | tail -c 12000000")[1].endswith("1999999\n2000000\n")
    assert time.monotonic() - began < 60


@openssh
def test_a_terminal_is_one_of_the_nodes_own(shared: labs.Lab) -> None:
    code, out, _ = ssh(shared, "tty; stty -echo; echo $TERM; test -t 1", options=("-tt",))
    assert code == 0 and out.startswith("/dev/pts/")


@openssh
def test_a_shell_without_a_command_reads_stdin(shared: labs.Lab) -> None:
    words = [*shared.ssh_words(), "-F", "none", "-o", "BatchMode=yes", "-T"]
    done = subprocess.run(words, input=b"hostname\nexit 3\n", capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (3, b"pve\n")


@openssh
def test_a_server_with_another_key_is_refused(shared: labs.Lab, tmp_path: Path) -> None:
    wrong = tmp_path / "known_hosts"
    key = paramiko.ECDSAKey.generate()
    wrong.write_text(f"[{shared.host}]:{shared.port} {key.get_name()} {key.get_base64()}\n")
    code, _, err = ssh(
        shared, "true", options=("-o", f"UserKnownHostsFile={wrong}", "-o", "StrictHostKeyChecking=yes")
    )
    assert code == 255 and "ost key verification failed" in err


def test_another_key_may_not_log_in(shared: labs.Lab) -> None:
    client = paramiko.SSHClient()
    client.load_host_keys(str(shared.known_hosts))
    key = paramiko.RSAKey.generate(2048)
    with pytest.raises(paramiko.AuthenticationException):
        client.connect(shared.host, shared.port, "root", pkey=key, allow_agent=False, look_for_keys=False)
    with pytest.raises(paramiko.AuthenticationException):
        client.connect(
            shared.host, shared.port, "root", password="root", allow_agent=False, look_for_keys=False
        )
    client.close()


def test_an_unknown_user_may_not_log_in(shared: labs.Lab) -> None:
    client = paramiko.SSHClient()
    client.load_host_keys(str(shared.known_hosts))
    with pytest.raises(paramiko.AuthenticationException):
        client.connect(
            shared.host,
            shared.port,
            "guest",
            key_filename=str(shared.key),
            allow_agent=False,
            look_for_keys=False,
        )
    client.close()


@openssh
def test_a_signal_that_ends_the_shell_is_reported_as_one(shared: labs.Lab) -> None:
    code, _, err = ssh(shared, "kill -KILL $$", options=("-v",))
    assert code == 255 and "rtype exit-signal" in err


def test_the_eleventh_session_on_a_connection_is_refused(client: paramiko.SSHClient) -> None:
    transport = client.get_transport()
    assert transport
    channels = [transport.open_session() for _ in range(10)]
    with pytest.raises(paramiko.ChannelException) as refusal:
        transport.open_session()
    assert refusal.value.code == 2
    channels[0].close()
    channels[1].exec_command("true")
    assert channels[1].recv_exit_status() == 0
    time.sleep(0.2)
    transport.open_session().close()


def test_sessions_of_one_connection_run_side_by_side(client: paramiko.SSHClient) -> None:
    run(client, "rm -f /tmp/gate; mkdir -p /tmp/waiting; rm -f /tmp/waiting/*")
    wait = "touch /tmp/waiting/{0}; until [ -e /tmp/gate ]; do sleep 0.02; done; echo {0}"
    with ThreadPoolExecutor(7) as pool:
        waiting = [pool.submit(run, client, wait.format(number)) for number in range(7)]
        run(client, "until [ $(ls /tmp/waiting | wc -l) = 7 ]; do sleep 0.02; done; touch /tmp/gate")
        assert [result.result(20)[1] for result in waiting] == [f"{number}\n".encode() for number in range(7)]


def test_many_connections_at_once(shared: labs.Lab) -> None:
    def connect(number: int) -> bytes:
        client = paramiko.SSHClient()
        client.load_host_keys(str(shared.known_hosts))
        client.connect(
            shared.host,
            shared.port,
            "root",
            key_filename=str(shared.key),
            allow_agent=False,
            look_for_keys=False,
        )
        try:
            return run(client, f"echo {number}")[1]
        finally:
            client.close()

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(connect, range(12))) == [f"{number}\n".encode() for number in range(12)]


def test_a_background_process_that_keeps_the_pipes_does_not_hold_back_the_status(
    client: paramiko.SSHClient,
) -> None:
    _, stdout, _ = client.exec_command("sleep 60 & echo $!")
    began = time.monotonic()
    assert stdout.channel.recv_exit_status() == 0
    assert time.monotonic() - began < 30
    assert not stdout.channel.eof_received
    run(client, f"kill {stdout.readline()}")
    assert stdout.read() == b""
    assert time.monotonic() - began < 30


def test_what_was_started_goes_on_when_the_client_goes(shared: labs.Lab) -> None:
    client = paramiko.SSHClient()
    client.load_host_keys(str(shared.known_hosts))
    client.connect(
        shared.host, shared.port, "root", key_filename=str(shared.key), allow_agent=False, look_for_keys=False
    )
    shared.run("rm -f /tmp/survived; mkfifo /tmp/go")
    _, stdout, _ = client.exec_command("echo begun; read -r x < /tmp/go; echo yes > /tmp/survived")
    assert stdout.readline() == "begun\n"
    client.close()
    assert (
        shared.run(
            "echo now > /tmp/go; rm /tmp/go; "
            "for i in 1 2 3 4 5 6 7 8 9; do [ -s /tmp/survived ] && break; sleep 0.1; done; "
            "cat /tmp/survived"
        )[1]
        == "yes\n"
    )


def test_a_writer_dies_of_sigpipe_when_the_client_goes(shared: labs.Lab) -> None:
    client = paramiko.SSHClient()
    client.load_host_keys(str(shared.known_hosts))
    client.connect(
        shared.host, shared.port, "root", key_filename=str(shared.key), allow_agent=False, look_for_keys=False
    )
    _, stdout, _ = client.exec_command("yes fleet-writer")
    stdout.read(1000)
    client.close()
    gone = (
        "for i in $(seq 300); do pgrep -f '^yes fleet-writer' >/dev/null || exit 0; sleep 0.1; done; exit 1"
    )
    assert shared.run(gone)[0] == 0


def test_no_signal_is_blocked_or_ignored(client: paramiko.SSHClient) -> None:
    assert run(client, "grep -E 'Sig(Blk|Ign)' /proc/self/status")[1].split()[1::2] == [b"0" * 16, b"0" * 16]


def test_every_execution_is_logged(fresh: labs.Lab) -> None:
    client = paramiko.SSHClient()
    client.load_host_keys(str(fresh.known_hosts))
    client.connect(
        fresh.host, fresh.port, "root", key_filename=str(fresh.key), allow_agent=False, look_for_keys=False
    )
    run(client, "exit 3")
    run(client, "kill -9 $$")
    client.close()
    assert fresh.exec_count() == 2
    assert [(entry["n"], entry["user"], entry["command"], entry["rc"]) for entry in fresh.execs()] == [
        (1, "root", "exit 3", 3),
        (2, "root", "kill -9 $$", -9),
    ]


@openssh
def test_a_user_with_sudo_is_root_only_with_it(lab_home: object) -> None:
    lab = labs.reset("withadmin", machine="homelab")
    try:
        assert ssh(lab, "pct list", user="admin") == (255, "", "please run as root\n")
        assert ssh(lab, "pwd; echo $USER", user="admin")[1] == "/home/admin\nadmin\n"
        assert ssh(lab, "sudo -n pct list; sudo -n sh -c 'id -un; echo $HOME'", user="admin")[:2] == (
            0,
            "root\n/root\n",
        )
        assert ssh(lab, "id -u; id -un; whoami", user="admin")[1] == "1000\nadmin\nadmin\n"
    finally:
        labs.down("withadmin")


def test_the_status_says_all_that_a_client_needs(shared: labs.Lab) -> None:
    done = subprocess.run(
        [f"{Path(sys.executable).parent}/inv", "lab.status", "--name", "shared", "--json"],
        capture_output=True,
        text=True,
        cwd=REPO,
    )
    facts = json.loads(done.stdout)
    assert facts["port"] == shared.port and facts["known_hosts_line"] == shared.known_hosts_line


def test_nothing_is_left_when_thirty_sessions_have_come_and_gone(
    client: paramiko.SSHClient, shared: labs.Lab
) -> None:
    before = threading.active_count()
    for _ in range(30):
        assert run(client, "true")[0] == 0
    assert threading.active_count() <= before + 1
    assert shared.run("ps ax -o stat= | grep -c Z")[1] == "0\n"
