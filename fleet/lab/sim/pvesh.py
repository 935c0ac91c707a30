"""`pvesh`: the API on the command line; reading by api.py, a few writing calls by the modules of pct."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any

from . import api, cli, costs, errors, helptext, paths, pvesh_storage, tables
from .cli import Arguments
from .errors import Die, ParamError, UsageError

_FORMAT_OPTIONS = ("output-format", "noborder", "noheader", "quiet", "human-readable", "noproxy")
_FLAGS = (
    "noborder",
    "noheader",
    "quiet",
    "human-readable",
    "noproxy",
    "current",
    "enabled",
    "errors",
    "format",
)
_FORMATS = ("text", "json", "json-pretty", "yaml")
_LXC = re.compile(r"/nodes/([^/]+)/lxc(?:/(\d+)(?:/(.+))?)?")
_SNAPSHOT = re.compile(r"/nodes/([^/]+)/(lxc|qemu)/(\d+)/snapshot/([^/]+)/config")
_PCT = {
    verb: f"pct_power.{verb}" for verb in ("start", "stop", "shutdown", "reboot", "suspend", "resume")
} | {
    "create": "pct_create.create",
    "clone": "pct_clone.clone",
    "template": "pct_clone.template",
    "destroy": "pct_destroy.destroy",
    "set": "pct_set.set_options",
    "resize": "pct_volumes.resize",
    "snapshot": "pct_snapshot.snapshot",
    "rollback": "pct_snapshot.rollback",
    "delsnapshot": "pct_snapshot.delsnapshot",
}
_USAGE = """USAGE: pvesh <COMMAND> [ARGS] [OPTIONS]

       pvesh create <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh delete <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh get <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh ls <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh set <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh usage <api_path> [OPTIONS]

       pvesh help [<extra-args>] [OPTIONS]
"""


def _split(words: list[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """(path and other plain words, format options, the words of all other options)."""
    plain: list[str] = []
    form: dict[str, str] = {}
    others: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, sign, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or word == "-":
            plain.append(word)
        elif name in _FORMAT_OPTIONS:
            form[name] = value if sign else _value(name, rest)
        else:
            others.append(word)
            if not sign and rest and not rest[0].startswith("-"):
                others.append(rest.pop(0))
    if form.get("output-format", "text") not in _FORMATS:
        raise ParamError(
            {
                "output-format": f"value '{form['output-format']}' does not have a value in the enumeration "
                f"'{', '.join(_FORMATS)}'"
            }
        )
    return plain, form, others


def _value(name: str, rest: list[str]) -> str:
    if name in _FLAGS:
        return rest.pop(0) if rest and rest[0] in ("0", "1", "yes", "no", "on", "off") else "1"
    if not rest:
        print(f"Option {name} requires an argument", file=sys.stderr)
        raise UsageError("unable to parse option")
    return rest.pop(0)


def _params(words: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """The parameters of a call; UsageError for one that it does not have."""
    found: dict[str, str] = {}
    rest, failed = list(words), False
    while rest:
        name, sign, value = rest.pop(0).lstrip("-").partition("=")
        if not sign:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "1"
        if name not in known:
            print(f"Unknown option: {name}", file=sys.stderr)
            failed = True
        found[name] = value
    if failed:
        raise UsageError("unable to parse option")
    return found


def _get(path: str, form: dict[str, str], words: list[str]) -> int:
    found = _find("get", path)
    if found is None:
        return 1
    route, parts = found
    _show(route.get(parts, _params(words, route.params)), form, route)
    return 0


def _find(verb: str, path: str) -> tuple[api.Route, api.Parts] | None:
    found = api.find(path)
    if found is None:
        print(f"No '{verb}' handler defined for '{path}'", file=sys.stderr)
    return found


def _show(data: object, form: dict[str, str], route: api.Route | None = None) -> None:
    """Print a result in the format asked for."""
    kind = form.get("output-format", "text")
    if form.get("quiet", "0") == "1":
        return
    if kind == "json":
        print(tables.dump(data))
    elif kind == "json-pretty":
        print(tables.dump(data, pretty=True))
    elif kind == "yaml":
        print("---\n" + _yaml(data), end="")
    elif isinstance(data, dict):
        rows = [{"key": key, "value": value} for key, value in data.items() if value is not None]
        print(_table(rows, ["key", "value"], form), end="")
    elif isinstance(data, list):
        _show_list(data, form, route)
    elif data is not None:
        print(data)


def _table(rows: list[dict[str, Any]], columns: list[str], form: dict[str, str]) -> str:
    numbers = [
        c for c in columns if c != "value" and all(isinstance(row.get(c, 0), int | float) for row in rows)
    ]
    return tables.table(
        rows,
        columns,
        border=form.get("noborder", "0") != "1",
        header=form.get("noheader", "0") != "1",
        numbers=numbers,
    )


def _show_list(data: list[Any], form: dict[str, str], route: api.Route | None) -> None:
    if not data:
        return
    if not isinstance(data[0], dict):
        print("\n".join(str(entry) for entry in data))
        return
    first = [c for c in (route.first if route else ()) if any(c in row for row in data)]
    others = sorted({key for row in data for key in row} - set(first))
    print(_table(data, [*first, *others], form), end="")


def _yaml(data: object, indent: str = "") -> str:
    """YAML of plain data; scalars as JSON where they would be read as something else."""
    if isinstance(data, dict):
        return (
            "".join(f"{indent}{key}:{_yaml_value(value, indent)}" for key, value in sorted(data.items()))
            or f"{indent}{{}}\n"
        )
    if isinstance(data, list):
        return "".join(f"{indent}-{_yaml_item(value, indent)}" for value in data) or f"{indent}[]\n"
    return f"{indent}{_scalar(data)}\n"


def _yaml_value(value: object, indent: str) -> str:
    if isinstance(value, dict | list) and value:
        return "\n" + _yaml(value, indent if isinstance(value, list) else indent + "  ")
    return f" {_yaml(value).strip()}\n"


def _yaml_item(value: object, indent: str) -> str:
    if isinstance(value, dict | list) and value:
        return " " + _yaml(value, indent + "  ")[len(indent) + 2 :]
    return f" {_yaml(value).strip()}\n"


def _scalar(value: object) -> str:
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z/_][\w./@ -]*", value)
        and value.lower() not in ("null", "true", "false", "yes", "no")
    ):
        return value
    return "~" if value is None else tables.dump(value)


def _ls(path: str, form: dict[str, str], words: list[str]) -> int:
    del form
    found = api.find(path)
    if found is None:
        raise Die(f"no such resource '{path}'")
    route, parts = found
    if route.child is None:
        raise Die(f"resource '{path}' does not define child links")
    rows = []
    for entry in route.get(parts, _params(words, route.params)):
        name = str(entry[route.child])
        below = api.find(f"{path}/{name}")
        child = below[0] if below else None
        mark = ("D" if child.child else "-") + child.capabilities if child else "-----"
        rows.append({"capabilities": mark, "name": name})
    rows.sort(key=lambda row: row["name"])
    width = len("capabilities")
    for row in rows:
        print(f"{row['capabilities']:<{width}} {row['name']}")
    return 0


def _last_upid() -> str:
    """The UPID of the task that this process has just finished."""
    mine = f":{os.getpid():08X}:"
    with open(paths.real(f"{paths.TASKS}/index"), encoding="utf-8", errors="surrogateescape") as file:
        return next(line.split(" ", 1)[0] for line in reversed(file.read().splitlines()) if mine in line)


def _pct(verb: str, words: list[str]) -> int:
    """Run a verb of pct with API parameters."""
    from importlib import import_module

    module, _, name = _PCT[verb].partition(".")
    handler: Callable[[Arguments], int] = getattr(import_module(f".{module}", __package__), name)
    return handler(cli.parse(helptext.verb("pct", verb), words))


def _worker(verb: str, words: list[str], form: dict[str, str]) -> int:
    """Run a verb of pct that makes a task.

    Whatever becomes of it, the UPID is printed and the exit code is 0.
    """
    _pct(verb, words)
    sys.stdout.flush()
    _show(_last_upid(), form)
    return 0


def _create(path: str, form: dict[str, str], words: list[str]) -> int:
    node = re.fullmatch(r"/nodes/([^/]+)/vzdump", path.rstrip("/"))
    if node is not None:
        api.check_node(node[1])
        return _vzdump(words, form)
    match = _LXC.fullmatch(path.rstrip("/"))
    if match is None:
        return _no_handler("create", path)
    api.check_node(match[1])
    vmid, rest = match[2], match[3]
    if vmid is None:
        given = _params(words, _option_names("create"))
        first = [given.pop("vmid", ""), given.pop("ostemplate", "")]
        return _worker("create", [*first, *(f"--{key}={value}" for key, value in given.items())], form)
    status = re.fullmatch(r"status/(start|stop|shutdown|reboot|suspend|resume)", rest or "")
    if status is not None:
        return _worker(status[1], [vmid, *words], form)
    if rest == "snapshot":
        given = _params(words, ("snapname", "description"))
        more = [f"--description={given['description']}"] if "description" in given else []
        if "snapname" not in given:
            raise ParamError({"snapname": "property is missing and it is not optional"})
        return _worker("snapshot", [vmid, given["snapname"], *more], form)
    rollback = re.fullmatch(r"snapshot/([^/]+)/rollback", rest or "")
    if rollback is not None:
        return _worker("rollback", [vmid, rollback[1], *words], form)
    if rest == "clone":
        given = _params(words, ("newid", *_option_names("clone")))
        return _worker(
            "clone", [vmid, given.pop("newid", ""), *(f"--{k}={v}" for k, v in given.items())], form
        )
    if rest == "template":
        _pct("template", [vmid])
        return 0
    return _no_handler("create", path)


def _vzdump(words: list[str], form: dict[str, str]) -> int:
    """Back guests up as vzdump does, which is the same call; the UPID is printed."""
    from . import vzdump

    vzdump.call(words)
    sys.stdout.flush()
    _show(_last_upid(), form)
    return 0


def _option_names(verb: str) -> tuple[str, ...]:
    """The parameters of a verb of pct, numbered ones included."""
    from . import schema

    options = helptext.verb("pct", verb).options.values()
    names = [f"{o.name}{i}" for o in options if o.indexed for i in range(schema.INDEXED[o.name])]
    return (*names, *(o.name for o in options if not o.indexed))


def _set(path: str, form: dict[str, str], words: list[str]) -> int:
    volume = pvesh_storage.VOLUME.fullmatch(path.rstrip("/"))
    if volume is not None:
        api.check_node(volume[1])
        return pvesh_storage.set_volume(volume[2], volume[3], _params(words, ("notes", "protected")))
    snap = _SNAPSHOT.fullmatch(path.rstrip("/"))
    if snap is not None:
        from . import pct_snapshot, qm_snapshot

        api.check_node(snap[1])
        description = _params(words, ("description",)).get("description")
        describe = pct_snapshot.describe if snap[2] == "lxc" else qm_snapshot.describe
        return describe(int(snap[3]), snap[4], description)
    match = _LXC.fullmatch(path.rstrip("/"))
    if match is None or match[2] is None or match[3] not in ("config", "resize"):
        return _no_handler("set", path)
    api.check_node(match[1])
    if match[3] == "config":
        return _pct("set", [match[2], *words])
    given = _params(words, ("disk", "size", "digest"))
    return _worker("resize", [match[2], given.get("disk", ""), given.get("size", "")], form)


def _delete(path: str, form: dict[str, str], words: list[str]) -> int:
    below = pvesh_storage.VOLUME.fullmatch(path.rstrip("/")) or pvesh_storage.PRUNE.fullmatch(
        path.rstrip("/")
    )
    if below is not None:
        api.check_node(below[1])
        pvesh_storage.delete(below, _params(words, ("prune-backups", "type", "vmid")))
        sys.stdout.flush()
        _show(_last_upid(), form)
        return 0
    match = _LXC.fullmatch(path.rstrip("/"))
    if match is None or match[2] is None:
        return _no_handler("delete", path)
    api.check_node(match[1])
    snap = re.fullmatch(r"snapshot/([^/]+)", match[3] or "")
    if snap is not None:
        return _worker("delsnapshot", [match[2], snap[1], *words], form)
    return _worker("destroy", [match[2], *words], form) if match[3] is None else _no_handler("delete", path)


def _no_handler(verb: str, path: str) -> int:
    """An API call that the lab does not have fails as one that Proxmox does not have."""
    print(f"No '{verb}' handler defined for '{path}'", file=sys.stderr)
    return 1


_VERBS: dict[str, Callable[[str, dict[str, str], list[str]], int]] = {
    "create": _create,
    "delete": _delete,
    "get": _get,
    "ls": _ls,
    "set": _set,
}


def main(argv: list[str]) -> int:
    """The command `pvesh`."""
    costs.spend("start-up")
    errors.left(errors.ENOENT)
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    words = argv[1:]
    while words and words[0] in ("--noproxy", "--nooutput"):
        words.pop(0)
    if words[:1] == ["help"]:
        sys.stdout.write(_USAGE)
        return 0
    hits = [verb for verb in (*_VERBS, "usage") if words and verb.startswith(words[0])]
    verb = words[0] if words and words[0] in hits else hits[0] if len(hits) == 1 else ""
    if verb not in _VERBS:
        reason = f"unknown command 'pvesh {words[0]}'" if words else "no command specified"
        sys.stderr.write(f"ERROR: {reason}\n{_USAGE}")
        return 255
    try:
        plain, form, others = _split(words[1:])
        if not plain:
            raise UsageError("not enough arguments")
        if len(plain) > 1:
            raise UsageError("too many arguments")
        return _VERBS[verb](plain[0], form, others)
    except Die as error:
        sys.stdout.flush()
        sys.stderr.write(
            error.message.rstrip("\n") + "\n" if not isinstance(error, ParamError) else error.message
        )
        if isinstance(error, ParamError | UsageError):
            sys.stderr.write(f"pvesh {verb} <api_path> [OPTIONS] [FORMAT_OPTIONS]\n")
        return error.code
