"""Any value that hosts.yml accepts means to Proxmox what was written, in every form (hypothesis)."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.core.errors import InventoryError
from fleet.domains.guests.spec import Container
from fleet.tools.pct.keys import KEYS, family, normal, print_value, props_of
from tests.inventory.small import HEAD, load_text

quick = settings(max_examples=60, deadline=None)

names = st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True)
flags = st.sampled_from(["0", "1"])
hosts = st.integers(1, 2**32 - 2).map(IPv4Address)
cidrs = st.builds(lambda ip, bits: f"{ip}/{bits}", hosts, st.just(32))
macs = st.builds(
    lambda first, rest: ":".join(f"{byte:02x}" for byte in (first & 0xFE, *rest)),
    st.integers(0, 255),
    st.binary(min_size=5, max_size=5),
)
_parts = st.lists(st.from_regex(r"[A-Za-z0-9_. '\"$()#&;-]{1,8}", fullmatch=True), min_size=1, max_size=3)
paths = _parts.filter(lambda parts: not {".", ".."} & set(parts) and not parts[-1].endswith(" ")).map(
    lambda parts: "/" + "/".join(parts)
)
texts = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=("Cc", "Cs", "Cn"),
        exclude_characters="\u2028\u2029\ufeff\ufffe\uffff",
    ),
    max_size=60,
)
nets = st.fixed_dictionaries(
    {"name": st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)},
    optional={
        "bridge": names,
        "hwaddr": macs,
        "ip": cidrs | st.sampled_from(["dhcp", "manual"]),
        "ip6": st.sampled_from(["auto", "dhcp", "manual", "fd00::5/64", "2001:DB8::1/128"]),
        "mtu": st.integers(64, 1500).map(str),
        "tag": st.integers(1, 4094).map(str),
        "trunks": st.lists(st.integers(1, 4094).map(str), min_size=1, max_size=3, unique=True).map(";".join),
        "rate": st.decimals(0, 10**6, places=3).map(lambda rate: format(rate.normalize(), "f")),
        "firewall": flags,
        "link_down": flags,
        "type": st.just("veth"),
    },
)
features = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("nesting", "keyctl", "fuse", "mknod", "force_rw_sys"), flags),
        "mount": st.just("nfs;cifs"),
    },
).filter(bool)
devices = st.fixed_dictionaries(
    {"path": paths.map(lambda path: f"/dev{path}")},
    optional={
        "mode": st.from_regex(r"0[0-7]{3}", fullmatch=True),
        "uid": st.integers(0, 10**6).map(str),
        "deny-write": flags,
    },
)
startups = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("order", "up", "down"), st.integers(0, 10**6).map(str))
).filter(bool)


def loaded(said: dict[str, Any]) -> Container:
    """The container that says this, written as YAML by somebody else's writer."""
    body = {"containers": {"web": {"vmid": 100, "template": "debian", "rootfs": "guests:8", **said}}}
    (container,) = load_text(HEAD + yaml.safe_dump(body, allow_unicode=True, sort_keys=False)).containers
    return container


PROPS = st.one_of(
    st.tuples(st.just("net3"), nets),
    st.tuples(st.just("features"), features),
    st.tuples(st.just("dev7"), devices),
    st.tuples(st.just("startup"), startups),
)


@quick
@given(PROPS)
def test_a_property_string_and_its_mapping_mean_what_proxmox_would_read(
    item: tuple[str, dict[str, str]],
) -> None:
    key, props = item
    text = print_value(key, props)
    for said in (text, props, {name: _as_yaml(value) for name, value in props.items()}):
        assert normal(key, loaded({key: said}).config[key]) == normal(key, text)


def _as_yaml(value: str) -> object:
    """A number where it is one, as people write them."""
    return int(value) if value.isdigit() and (value == "0" or value[0] != "0") else value


@quick
@given(
    st.dictionaries(st.sampled_from(["cores", "cpuunits", "swap"]), st.integers(1, 8192))
    | st.dictionaries(st.sampled_from(["onboot", "protection", "console", "debug"]), st.booleans())
    | st.fixed_dictionaries({"cpulimit": st.decimals(0, 8192, places=2).map(float)})
)
def test_numbers_and_truths_mean_what_proxmox_would_read(said: dict[str, Any]) -> None:
    config = loaded(said).config
    for key, value in said.items():
        written = str(int(value)) if isinstance(value, bool) else str(value)
        assert normal(key, config[key]) == normal(key, written)


@quick
@given(texts | st.builds("\n".join, st.lists(texts.map(str.strip), min_size=2, max_size=4)))
def test_a_description_is_kept_to_the_character(text: str) -> None:
    stripped = text.rstrip("\n")
    if text.endswith("%0A"):
        return  # that is how `pct config` prints one, and it is decoded
    assert loaded({"description": text}).config.get("description", "") == stripped


@quick
@given(paths, paths, st.booleans())
def test_a_bind_mount_keeps_its_paths(source: str, mp: str, read_only: bool) -> None:
    (mount,) = loaded({"mp0": {"source": source, "mp": mp, "ro": read_only}}).mounts
    assert (mount.bind, mount.mp, mount.options) == (source, mp, (("ro", str(int(read_only))),))


@quick
@given(st.integers(1, 2**20), st.sampled_from(["M", "G"]))
def test_a_size_is_counted_in_bytes(count: int, unit: str) -> None:
    want = count * {"M": 1024**2, "G": 1024**3}[unit]
    assert loaded({"rootfs": f"guests:subvol-100-disk-0,size={count}{unit}"}).rootfs_size == want
    assert loaded({"rootfs": {"storage": "guests", "size": f"{count}{unit}"}}).rootfs_size == want


@quick
@given(st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,8}", fullmatch=True), max_size=5))
def test_tags_are_as_proxmox_stores_them(tags: list[str]) -> None:
    wanted = tuple(sorted({tag.lower() for tag in tags} - {"fleet"}))
    assert loaded({"tags": tags}).tags == wanted
    assert loaded({"tags": ";".join(tags)}).tags == wanted


@quick
@given(st.permutations(range(6)), st.permutations(["vmid", "template", "rootfs", "net0", "tags"]))
def test_the_order_of_containers_and_of_keys_is_irrelevant(order: list[int], keys: list[str]) -> None:
    def block(number: int) -> dict[str, object]:
        values: dict[str, object] = {
            "vmid": 100 + number,
            "template": "debian",
            "rootfs": "guests:8",
            "net0": "name=eth0,ip=dhcp",
            "tags": ["b", "a"],
        }
        return {key: values[key] for key in keys}

    def read(numbers: list[int]) -> list[object]:
        body = {"containers": {f"c{number}": block(number) for number in numbers}}
        text = HEAD + yaml.safe_dump(body, sort_keys=False)
        return [(each.name, each.vmid, each.config, each.tags) for each in load_text(text).containers]

    assert read(order) == read(sorted(order))


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KNOWN = st.sampled_from(
    "node network storage mounts defaults profiles containers firewall wireguard backup net0 rootfs mp0 dev0"
    " features tags raw env service vmid".split()
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(KNOWN | st.text(max_size=6), garbage, max_size=4),
    st.dictionaries(KNOWN, garbage, max_size=4),
)
def test_no_file_makes_reading_fail_otherwise_than_with_problems(
    top: dict[str, Any], web: dict[str, Any]
) -> None:
    body = {"node": {"name": "pve", "address": "lab"}, **top}
    body.setdefault("containers", {"web": web})
    try:
        load_text(yaml.safe_dump(body, allow_unicode=True))
    except InventoryError as error:
        assert error.problems
        assert all(problem.text for problem in error.problems)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text("{}[]:,-&*!|>'\"%@`#\n\t ab", max_size=60))
def test_no_text_makes_reading_fail_otherwise_than_with_problems(text: str) -> None:
    with pytest.raises(InventoryError):
        load_text(text.encode("utf-8", "surrogatepass"))


def test_every_key_of_proxmox_is_tried_here_or_in_the_tests_of_pasting() -> None:
    from tests.inventory.test_paste import PRINTED

    tried = {family(line.split(":")[0]) for line in PRINTED} | {
        "description",
        "console",
        "debug",
        "tags",
        "rootfs",
        "mp",
    }
    by_hand = {
        "hostname",
        "hookscript",
        "tty",
        "cmode",
        "unprivileged",
        "entrypoint",
        "env",
        "unused",
        "features",
    }
    assert set(KEYS) <= tried | by_hand
    assert props_of("startup", "3") == {"order": "3"}
