"""The container configuration file: what is read, what is lost, what is written (pve-facts 1.1)."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from fleet.lab.sim import conf, pending
from fleet.lab.sim.conf import Config, Section

VALUES = (
    st.text(string.ascii_letters + string.digits + ":/=,.-_ ", min_size=1, max_size=30)
    .map(str.strip)
    .filter(bool)
)
DESCRIPTIONS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=80)
FREE_KEYS = st.sampled_from(["hostname", "tags", "nameserver", "searchdomain", "startup", "cmode", "arch"])
RAW = st.tuples(
    st.sampled_from(["lxc.mount.entry", "lxc.cap.drop", "lxc.cgroup2.devices.allow", "lxc.idmap"]), VALUES
)
NAMES = st.from_regex(r"[a-z][a-z0-9_\-]{1,20}", fullmatch=True)


def section() -> st.SearchStrategy[Section]:
    return st.builds(Section, st.dictionaries(FREE_KEYS, VALUES, max_size=5), st.lists(RAW, max_size=3))


def parsed(text: str, warnings: list[str] | None = None) -> Config:
    return conf.parse(text.encode(), 100, (warnings if warnings is not None else []).append)


def rendered(config: Config) -> str:
    return conf.render(config).decode()


@given(
    section(),
    st.dictionaries(FREE_KEYS, VALUES, max_size=3),
    st.dictionaries(NAMES, section(), max_size=3),
    DESCRIPTIONS,
)
def test_what_is_written_is_read_again(
    main: Section, waiting: dict[str, str], snapshots: dict[str, Section], text: str
) -> None:
    config = Config(main.keys, main.lxc)
    config.pending, config.snapshots = waiting, snapshots
    if text.rstrip("\n"):
        config.keys["description"] = text.rstrip("\n") + "\n"
    again = parsed(rendered(config))
    assert again.keys == config.keys
    assert again.lxc == config.lxc
    assert again.pending == waiting
    assert {name: (s.keys, s.lxc) for name, s in again.snapshots.items()} == {
        name: (s.keys, s.lxc) for name, s in snapshots.items()
    }


@given(DESCRIPTIONS)
def test_a_description_survives_its_encoding(text: str) -> None:
    assert conf.decode_text(conf.encode_text(text)) == text
    assert all(" " <= char <= "~" for char in conf.encode_text(text))


def test_a_description_gains_a_final_newline() -> None:
    config = Config({"description": "line1\nline2: ä % #x\n\n[sect]"})
    assert rendered(config) == "#line1\n#line2%3A %C3%A4 %25 #x\n#\n#[sect]\n"
    assert parsed(rendered(config)).keys["description"] == "line1\nline2: ä % #x\n\n[sect]\n"


def test_keys_are_sorted_and_snapshots_come_last() -> None:
    config = Config({"swap": "64", "arch": "amd64"}, [("lxc.cap.drop", "sys_time")])
    config.pending = {"nameserver": "1.1.1.1"}
    config.snapshots = {"zz": Section({"memory": "1"}), "aa": Section({"memory": "2"})}
    assert rendered(config) == (
        "arch: amd64\nswap: 64\nlxc.cap.drop: sys_time\n\n"
        "[pve:pending]\nnameserver: 1.1.1.1\n\n[aa]\nmemory: 2\n\n[zz]\nmemory: 1\n"
    )


def test_a_line_that_is_none_is_warned_about_and_lost() -> None:
    warnings: list[str] = []
    config = parsed("memory: 512\nNo-Such Line\nbogus: 1\nlxc.nosuch: 1\n", warnings)
    assert config.keys == {"memory": "512"}
    assert warnings == [
        "vm 100 - unable to parse config: No-Such Line",
        "vm 100 - unable to parse value of 'bogus' - unknown setting 'bogus'",
        "vm 100 - unable to parse config: lxc.nosuch: 1",
    ]


def test_a_bad_value_is_warned_about_and_kept() -> None:
    warnings: list[str] = []
    assert parsed("net5: garbage\n", warnings).keys == {"net5": "garbage"}
    reason = "value without key, but schema does not define a default key"
    assert warnings == [f"vm 100 - unable to parse value of 'net5' - {reason}"]


def test_a_raw_line_at_the_end_belongs_to_the_last_snapshot() -> None:
    config = parsed("memory: 512\n\n[s1]\nmemory: 256\nlxc.cap.drop: sys_time\n")
    assert config.lxc == []
    assert config.snapshots["s1"].lxc == [("lxc.cap.drop", "sys_time")]


def test_a_raw_line_with_an_equals_sign_is_rewritten_with_a_colon() -> None:
    assert (
        rendered(parsed("lxc.mount.entry = /a b none bind 0 0\n")) == "lxc.mount.entry: /a b none bind 0 0\n"
    )


def test_an_empty_value_grows_a_blank_once() -> None:
    first = rendered(Config({"tags": ""}))
    second = rendered(parsed(first))
    assert (first, second, rendered(parsed(second))) == ("tags: \n", "tags:  \n", "tags:  \n")


def test_an_unused_volume_that_is_in_use_is_dropped() -> None:
    config = Config(
        {
            "mp0": "btr:100/vm-100-disk-1.raw,mp=/x",
            "unused0": "btr:100/vm-100-disk-1.raw",
            "unused1": "btr:100/b.raw",
        }
    )
    assert rendered(config) == "mp0: btr:100/vm-100-disk-1.raw,mp=/x\nunused1: btr:100/b.raw\n"


def test_env_is_written_as_runtime_environment() -> None:
    config = Config({"env": "A=1\0B=x y", "memory": "16"}, [("lxc.cap.drop", "a")])
    text = rendered(config)
    assert (
        text == "memory: 16\nlxc.environment.runtime: A=1\nlxc.environment.runtime: B=x y\nlxc.cap.drop: a\n"
    )
    assert parsed(text).keys["env"] == "A=1\0B=x y"


def test_the_digest_is_the_sha1_of_the_raw_file() -> None:
    assert parsed("memory: 512\n").digest == "21b62d471309a3f7474fdb8b45e9ae722dfe5e51"


def test_a_change_that_is_pending_and_a_deletion_of_the_same_key_stand_side_by_side() -> None:
    config = parsed("mp0: /srv,mp=/a\n\n[pve:pending]\ndelete: mp0\nmp0: /srv,mp=/a,ro=1\n")
    assert pending.deletions(config.pending) == {"mp0": False}
    assert config.pending["mp0"] == "/srv,mp=/a,ro=1"
    assert "mp0" not in pending.merged(config)


def test_a_pending_value_that_changes_nothing_is_dropped() -> None:
    config = Config({"memory": "512"})
    config.pending = {"memory": "512", "delete": "swap,!memory"}
    pending.clean(config)
    assert config.pending == {"delete": "!memory"}


def test_the_table_of_pending_changes_names_old_and_new() -> None:
    config = Config({"memory": "512", "swap": "0", "tags": "a"})
    config.pending = {"memory": "256", "nameserver": "1.1.1.1", "delete": "swap"}
    assert pending.table(config) == [
        "cur memory: 512",
        "new memory: 256",
        "new nameserver: 1.1.1.1",
        "del swap: 0",
        "cur tags: a",
    ]
