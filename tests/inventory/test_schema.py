"""The schema and the reference are made from the types, and current."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from fleet.inventory.reference import reference
from fleet.inventory.schema import schema, schema_text

ROOT = Path(__file__).parents[2]


def test_the_schema_in_the_project_is_current() -> None:
    assert (ROOT / "hosts.schema.json").read_text("utf-8") == schema_text(), (
        "run: inv inventory.schema --out hosts.schema.json"
    )


def test_the_reference_in_the_project_is_current() -> None:
    assert (ROOT / "docs/hosts-yml.md").read_text("utf-8") == reference(), (
        "run: inv inventory.reference --out docs/hosts-yml.md"
    )


def test_every_key_has_a_meaning() -> None:
    for name, model in schema()["$defs"].items():
        for branch in (model, *model.get("anyOf", ())):
            for key, each in branch.get("properties", {}).items():
                assert {"description", "$ref"} & set(each) or key in ("volume", "path"), f"{name}.{key}"


def test_every_link_of_the_reference_leads_somewhere() -> None:
    text = reference()
    titles = {title.lower() for title in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= titles


# What an editor makes of it, by way of a real validator of JSON Schema.


@pytest.fixture(scope="module")
def validator() -> object:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(json.loads(schema_text()))


def test_the_homelab_is_right(validator: object) -> None:
    homelab = yaml.safe_load((ROOT / "hosts.yml").read_text("utf-8"))
    assert [error.message for error in validator.iter_errors(homelab)] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "container",
    [
        {"vmid": 100, "memroy": 512},
        {"vmid": 99},
        {"vmid": 100, "net32": "name=eth0"},
        {"vmid": 100, "net0": {"bridg": "vmbr0"}},
        {"vmid": 100, "ostype": "windows"},
        {"memory": 512},
    ],
    ids=str,
)
def test_mistakes_are_underlined(validator: object, container: dict[str, object]) -> None:
    text = {"node": {"name": "pve", "address": "lab"}, "containers": {"web": container}}
    assert list(validator.iter_errors(text))  # type: ignore[attr-defined]


def test_pasted_lines_are_not_underlined(validator: object) -> None:
    container = {
        "vmid": 100,
        "net0": "name=eth0,ip=dhcp",
        "features": "nesting=1",
        "rootfs": "guests:8",
        "mp255": "/data,mp=/data",
        "dev0": "/dev/fuse",
        "startup": 3,
        "tags": "a;b",
        "nameserver": "1.1.1.1 8.8.8.8",
        "onboot": 1,
        "swap": None,
    }
    text = {"node": {"name": "pve", "address": "lab"}, "containers": {"web": container}}
    assert [error.message for error in validator.iter_errors(text)] == []  # type: ignore[attr-defined]
