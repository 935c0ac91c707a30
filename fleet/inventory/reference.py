"""docs/hosts-yml.md: every key of hosts.yml, its type and meaning, written from the types that read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fleet.inventory.schema import schema

_INTRO = """\
# hosts.yml, key by key

This page is made from the types that read hosts.yml (`inv inventory.reference --out docs/hosts-yml.md`); a
test keeps it current. For editors the same is in `hosts.schema.json`: begin the file with

```yaml
# yaml-language-server: $schema=hosts.schema.json
```

`inv check` reads the file without contacting anything and reports all that is wrong with it at once, each as
`hosts.yml:LINE path: what is wrong, what would be right`.

## Rules

- **Three layers.** `defaults`, then the `profiles` of a container in their order, then the container itself.
  A single value overrides; property strings (`netN`, `rootfs`, `mpN`, `devN`, `features`, `startup`) and
  sections merge key by key; `tags` and `mounts` add up; `null` unsets what a weaker layer says. Profiles may
  name `profiles` of their own, which are merged below them.
- **Backups have one layer more.** The section `backup` of the file is the weakest: what it says of snapshots
  and archives holds for every container, and of snapshots for every dataset, unless their own `backup` says
  otherwise. `prune-backups` merges number by number; 0 or `null` unsets one, `keep-all=1` replaces them all,
  and any number replaces `keep-all`. Without the section nothing is backed up: fleet makes no policy up.
- **Proxmox's own names and values.** A line of `pct config` pastes in unchanged. Property strings may be
  written as mappings: `features: {nesting: true}` is `features: nesting=1`, and
  `rootfs: {storage: guests, size: 8G}` is `rootfs: guests:8`. A volume's name
  (`guests:subvol-100-disk-0,size=8G`) is Proxmox's business and is not compared; nor are `parent`, `digest`
  and `unusedN`, which `inv check` warns of.
- **No YAML surprises.** What a value means is decided by its key: `mode: 0660`, `on`, `1:30`,
  `11:22:33:44:55:66` and `25.10` stay what you typed, with or without quotes. Truth is written 1, on, yes,
  true or 0, off, no, false.
- **Secrets are references**: `env:NAME`, `file:PATH` or `command:...`, found on your side when they are
  needed. A secret in clear is an error, wherever it stands.
- **What fleet does not manage yet** is checked all the same, and every plan names it as "declared, not
  managed yet".

"""


def reference() -> str:
    """The whole page."""
    whole = schema()
    models: Mapping[str, Any] = whole["$defs"]
    parts = [_INTRO, "## The file\n\n", *_table(whole, models)]
    seen: list[str] = []
    queue = list(_models(whole))
    while queue:
        name = queue.pop(0)
        if name in seen:
            continue
        seen.append(name)
        if name == "ContainerLayer":  # the same keys as Layer, and few of its own
            layer = models["Layer"]["properties"]
            own = {key: each for key, each in models[name]["properties"].items() if key not in layer}
            parts += [
                _heading(name),
                "Everything of [Layer](#layer), and:\n\n",
                *_table({**models[name], "properties": own, "patternProperties": {}}, models),
            ]
            continue
        parts += [_heading(name), f"{_said(models[name])}\n\n", *_table(models[name], models)]
        queue += _models(models[name])
    return "".join(parts).rstrip() + "\n"


def _heading(name: str) -> str:
    return f"\n## {_title(name)}\n\n"


def _title(name: str) -> str:
    return name.removesuffix("Section") if name != "ContainerLayer" else "Container"


def _mapping(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping of a model that may be written as a text, too."""
    return next((each for each in model.get("anyOf", ()) if each.get("type") == "object"), model)


def _said(model: Mapping[str, Any]) -> str:
    return str(model.get("description", "")).strip()


def _models(model: Mapping[str, Any]) -> Iterator[str]:
    model = _mapping(model)
    for each in (*model.get("properties", {}).values(), *model.get("patternProperties", {}).values()):
        yield from _references(each)


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rsplit("/", 1)[-1]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _table(model: Mapping[str, Any], models: Mapping[str, Any]) -> Iterator[str]:
    model = _mapping(model)
    required = set(model.get("required", ()))
    yield "| Key | Value | Meaning |\n|---|---|---|\n"
    for key, each in model.get("properties", {}).items():
        name = f"`{key}`{' *' if key in required else ''}"
        yield f"| {name} | {_kind(each)} | {_cell(_meaning(each, models))} |\n"
    names = {"net": "netN", "mp": "mpN", "dev": "devN"}
    for pattern, each in model.get("patternProperties", {}).items():
        family = pattern.lstrip("^").split("(")[0]
        if family in names:  # not what is read over
            yield f"| `{names[family]}` | {_kind(each)} | {_cell(_meaning(each, models))} |\n"
    if required:
        yield "\n\\* required\n"


def _kind(each: Mapping[str, Any]) -> str:
    """The value that a key takes, in a few words."""
    if "$ref" in each:
        name = each["$ref"].rsplit("/", 1)[-1]
        return f"[{_title(name)}](#{_title(name).lower()})"
    if "anyOf" in each:
        return " or ".join(dict.fromkeys(_kind(one) for one in each["anyOf"] if one.get("type") != "null"))
    if "const" in each:
        return f"`{each['const']}`"
    if "enum" in each:
        if True in each["enum"]:
            return "yes or no"
        return ", ".join(f"`{one}`" for one in each["enum"])
    kind = each.get("type", "")
    kinds = kind if isinstance(kind, list) else [kind]
    if kind == "object" and "patternProperties" in each:
        return f"names, each {_kind(next(iter(each['patternProperties'].values())))}"
    if (
        "object" in kinds
        and "additionalProperties" in each
        and isinstance(each["additionalProperties"], dict)
    ):
        return f"names, each {_kind(each['additionalProperties'])}" if kind == "object" else "text or mapping"
    if kind == "array":
        return f"list of {_kind(each.get('items', {}))}"
    if kind == "integer":
        low, high = each.get("minimum"), each.get("maximum")
        return f"{low} to {high}" if high is not None else f"{low} or more"
    if kind == "number":
        return "number"
    if "array" in kinds:
        return "text or list"
    return "text"


def _meaning(each: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """What a key means; pydantic leaves out what is the meaning of its model anyway."""
    name = each.get("$ref", "").rsplit("/", 1)[-1]
    return str(each.get("description") or models.get(name, {}).get("description", ""))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
