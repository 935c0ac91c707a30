"""~/.ssh/config and what it includes mean to fleet what they mean to ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.core.errors import Unreachable
from fleet.host.ssh import SshTransport
from fleet.host.ssh.config import read
from tests.host.conftest import Sshd


@pytest.fixture
def folder() -> Path:
    """~/.ssh, empty."""
    made = Path(os.environ["HOME"]) / ".ssh"
    made.mkdir(mode=0o700)
    return made


def written(folder: Path, **files: str) -> None:
    """Files of ~/.ssh; in their names `_` stands for a slash."""
    for name, text in files.items():
        file = folder / name.replace("_", "/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


def said(host: str) -> dict[str, object]:
    """What the files say of a host, as far as this is about it (the system has a file, too)."""
    keys = ("hostname", "user", "port", "identitiesonly")
    return {key: value for key, value in read().lookup(host).items() if key in keys}


def refusal(host: str) -> str:
    with pytest.raises(Unreachable) as refused:
        SshTransport("pve", host)
    return str(refused.value)


def test_an_alias_of_an_included_file_is_all_that_is_needed(sshd: Sshd, folder: Path) -> None:
    shutil.copy(sshd.known_hosts, folder / "elsewhere")
    written(
        folder,
        config="Include hosts.d/*.conf\nHost *\n  UserKnownHostsFile ~/.ssh/elsewhere\n",
        **{
            "hosts.d_10.conf": f"Host mynode\n  HostName 127.0.0.1\n  User {sshd.user}\n",
            "hosts.d_20.conf": f"Host *\n  Port {sshd.port}\n  IdentityFile {sshd.key}\n",
        },
    )
    transport = SshTransport("pve", "mynode")
    assert transport.name == f"pve ({sshd.user}@127.0.0.1 port {sshd.port})"
    pipe = transport.open("exit 0")
    pipe.close()
    transport.close()


def test_the_first_value_wins_wherever_it_stands(folder: Path) -> None:
    written(
        folder,
        config="Include one\nHost a\n  User mine\n  Port 3\n",
        one="Include ~/.ssh/two\nHost a\n  User one\n  Port 1\n",
        two="Host a\n  User two\n",
    )
    assert said("a") == {"hostname": "a", "user": "two", "port": "1"}


def test_what_a_block_includes_holds_only_there_and_the_block_goes_on_after_it(folder: Path) -> None:
    written(
        folder,
        config='Host a b\n  Include "for a" missing\n  Port 22\nMatch host c\n  Include rest\n',
        rest="User c\nHost *\n  Port 5\n",
    )
    (folder / "for a").write_text("User both\nHost b\n  HostName bee\nHost c\n  User never\n")
    assert said("a") == {"hostname": "a", "user": "both", "port": "22"}
    assert said("b") == {"hostname": "bee", "user": "both", "port": "22"}
    assert said("c") == {"hostname": "c", "user": "c", "port": "5"}
    assert said("d") == {"hostname": "d"}


def test_files_that_include_each_other_for_ever_are_an_error(folder: Path) -> None:
    written(folder, config="Include config\n")
    assert "config: files include each other more than 16 deep" in refusal("a")


def test_a_missing_file_a_folder_and_an_empty_glob_are_no_error(folder: Path) -> None:
    (folder / "hosts.d").mkdir()
    written(folder, config="Include no-such hosts.d no-*\nHost a\n  User me\n")
    assert said("a")["user"] == "me"


def test_a_comment_at_the_end_of_a_line_is_no_part_of_the_value(folder: Path) -> None:
    written(folder, config='Host a # the first\n  User "me # too"  # me\n  Port="8022" # odd\n')
    assert said("a") == {"hostname": "a", "user": "me # too", "port": "8022"}
    assert said("first") == {"hostname": "first"}


def test_the_criteria_of_match_are_read_in_any_case(folder: Path) -> None:
    written(folder, config="Match Host a,b !user nobody\n  Port 5\nMatch final\n  User last\n")
    assert said("a") == {"hostname": "a", "port": "5", "user": "last"}
    assert said("c") == {"hostname": "c", "user": "last"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Host a\n  Port ssh\n", "config:2: 'ssh' is no port"),
        ("Host a\n  User\n", "config:2: 'User' lacks a value"),
        ("\nHost 'a\n", "config:2: No closing quotation"),
        ("Match host\n", "config:1: Match host lacks a value"),
        ("Match tagged x\n  User y\n", "config:1: Match tagged x: only ssh can judge that"),
        ("Include %d/x\n", "config:1: fleet reads no % and no ${} in Include"),
        ("Host *\n  ProxyJump gate\nHost gate\n  HostName 127.0.0.1\n", "its jump hosts lead in a circle"),
        (
            "CanonicalizeHostname yes\nCanonicalDomains invalid\nCanonicalizeFallbackLocal no\n",
            "CanonicalizeHostname finds a in no domain of CanonicalDomains",
        ),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(folder: Path, text: str, says: str) -> None:
    written(folder, config=text)
    found = refusal("a")
    assert found.startswith("pve: ~/.ssh/config cannot be used for a: ")
    assert says in found


def test_a_criterion_that_only_ssh_can_judge_is_an_error_only_for_the_hosts_that_it_may_mean(
    folder: Path,
) -> None:
    written(folder, config="Match originalhost a localnetwork 10.0.0.0/8\n  User y\nHost *\n  User me\n")
    assert "only ssh can judge" in refusal("a")
    assert SshTransport("pve", "b").user == "me"


def test_values_that_fabric_does_not_know_do_no_harm(folder: Path) -> None:
    written(folder, config="ForwardAgent ~/agent.sock\nConnectTimeout 1m\nCanonicalizeHostname yes\n")
    assert SshTransport("pve", "a").user == "root"


def test_a_jump_host_none_ends_the_way_wherever_it_stands(folder: Path) -> None:
    written(folder, config="Host gate direct\n  ProxyJump None\nHost *\n  ProxyJump gate\n")
    assert [hop.connection.host for hop in SshTransport("pve", "a")._way] == ["a", "gate"]
    assert [hop.connection.host for hop in SshTransport("pve", "direct")._way] == ["direct"]


@pytest.mark.skipif(shutil.which("ssh") is None, reason="NO SSH CLIENT: nothing to compare with")
@pytest.mark.parametrize("host", ["a", "b", "c", "deep", "web1"])
def test_ssh_itself_says_the_same(folder: Path, host: str) -> None:
    written(
        folder,
        config=f"""Include {folder}/d/*
Host a b   # two
  Include {folder}/inner {folder}/missing
  Port 1001
Match originalhost deep
  Include {folder}/inner
Host *
  User last
  Port 1999
""",
        inner=f"Port 1500\nHost b\n  User bee\nMatch host a,deep\n  User inner\n  Include {folder}/deeper\n",
        deeper="Host c\n  User never\nHost deep\n  HostName deeper.invalid\n",
        d_1="Host web*\n  User web\nHost c\n  HostName see.invalid\n",
        d_2="Host !a *\n  IdentitiesOnly yes\n",
    )
    done = subprocess.run(
        ["ssh", "-G", "-F", folder / "config", host], capture_output=True, text=True, check=True
    )
    theirs = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    ours = {"identitiesonly": "no"} | said(host)
    assert {key: theirs[key] for key in ours} == ours
    assert set(ours) == {"hostname", "user", "port", "identitiesonly"}
