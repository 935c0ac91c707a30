"""A container's config file is read as Proxmox reads it."""

from hypothesis import given
from hypothesis import strategies as st

from fleet.tools.pct.config import encode_description, parse_config

RECORDED = """#line1
#line2%3A %C3%A4 %25 #x
#
#[sect]
arch: amd64
cores: 2
mp0: /srv,mp=/mnt/srv
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:EB:D9:4E,ip=dhcp,type=veth
rootfs: local-zfs:subvol-100-disk-0,size=1G
tags: a;B
unprivileged: 1
lxc.mount.entry: /srv mnt/raw none bind,create=dir 0 0
lxc.idmap = u 0 100000 1000

[pve:pending]
delete: mp1,!net1
mp0: /srv,mp=/mnt/srv,ro=1

[s1]
#of the snapshot
cores: 1
lxc.cap.drop: x
snaptime: 1795371501
"""


def test_the_recorded_forms_are_read() -> None:
    config = parse_config(RECORDED, "d")
    assert config.current["description"] == "line1\nline2: ä % #x\n\n[sect]"
    assert config.current["cores"] == "2"
    assert config.raw == (
        "lxc.mount.entry: /srv mnt/raw none bind,create=dir 0 0",
        "lxc.idmap: u 0 100000 1000",
    )
    assert config.pending == {"mp0": "/srv,mp=/mnt/srv,ro=1"}
    assert config.pending_delete == {"mp1", "net1"}
    assert [snapshot.name for snapshot in config.snapshots] == ["s1"]
    assert config.tags == {"a", "b"}


def test_a_pending_change_beats_a_pending_delete_beats_what_is_in_force() -> None:
    config = parse_config("a: 1\nb: 1\nc: 1\n[pve:pending]\ndelete: a,b\na: 2\n", "d")
    assert (config.effective("a"), config.effective("b"), config.effective("c")) == ("2", None, "1")
    assert config.waiting == ("a", "b")


def test_the_environment_is_a_key_of_its_own_and_no_raw_line() -> None:
    config = parse_config("lxc.environment.runtime: A=1 b\nlxc.cap.drop: x\n", "d")
    assert (config.current["env"], config.raw) == ("A=1 b", ("lxc.cap.drop: x",))


def test_a_line_that_does_not_parse_is_kept_apart() -> None:
    config = parse_config("cores: 2\nnet5 garbage\n", "d")
    assert config.unread == ("net5 garbage",)
    assert config.current == {"cores": "2"}


def test_a_description_is_encoded_as_recorded() -> None:
    assert (
        encode_description("line1\nline2: ä % #x\n\n[sect]\n")
        == "#line1\n#line2%3A %C3%A4 %25 #x\n#\n#[sect]"
    )


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=60))
def test_an_encoded_description_is_read_back(text: str) -> None:
    assert parse_config(encode_description(text) + "\n", "d").current["description"] == text


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    parse_config(text, "d")
