"""`pvesm`: storages and their volumes (pve-storage CLI/pvesm.pm and API2/Storage)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

from . import archives, cli, costs, errors, machine, prune, storage, storage_cfg, tasks
from .cli import Arguments
from .errors import Die, ParamError
from .storage_base import Volume
from .storage_cfg import KINDS, Section

_SUB_SCANS = ("cifs", "iscsi", "lvm", "lvmthin", "nfs", "pbs", "zfs")


def _kib(text: str) -> str:
    """A column title: `(KiB)` came with Proxmox VE 9.0.14."""
    version = [int(part) for part in re.findall(r"\d+", str(machine.facts().get("pve_version", "9.1")))]
    return f"{text} (KiB)" if version >= [9, 0, 14] or version[:2] >= [9, 1] else text


def info(section: Section) -> dict[str, object]:
    """What the API tells of a storage: type, content, enabled, active, total, used, avail in bytes."""
    found: dict[str, object] = {
        "active": 0,
        "avail": 0,
        "content": ",".join(section.content),
        "enabled": int(not section.disabled and section.here()),
        "shared": int(section.shared),
        "total": 0,
        "type": section.type,
        "used": 0,
    }
    if not found["enabled"]:
        return found
    try:
        total, available, used = storage.backend_of(section).status()
    except Die as error:
        print(error.message.rstrip("\n"), file=sys.stderr)
        return found
    return found | {"active": 1, "avail": available, "total": total, "used": used}


def chosen(contents: str | None, wanted: str | None) -> list[Section]:
    """The storages that hold one of these contents; a ParamError if `wanted` is not among them."""
    sections = list(storage_cfg.read(warn=True).values())
    if contents:
        kinds = re.split(r"[\s,;]+", contents)
        sections = [s for s in sections if set(kinds) & set(s.content) and not s.disabled and s.here()]
    if wanted is not None:
        sections = [s for s in sections if s.id == wanted]
        if not sections:
            raise ParamError({"storage": "No such storage."}, 255)
    return sections


def _status(arguments: Arguments) -> int:
    values = arguments.values
    sections = chosen(values.get("content"), values.get("storage"))
    if values.get("enabled") == "1":
        sections = [s for s in sections if not s.disabled]
    if values.get("target") not in (None, machine.node(), "localhost"):
        sections = [s for s in sections if s.shared]
    width = max((len(s.id) for s in sections), default=0) + 1
    print(
        f"{'Name':<{width}} {'Type':>10} {'Status':>10} {_kib('Total'):>15} {_kib('Used'):>15} "
        f"{_kib('Available'):>15} {'%':>8}"
    )
    for section in sorted(sections, key=lambda s: s.id):
        row = info(section)
        total, used, avail = (int(str(row[key])) for key in ("total", "used", "avail"))
        state = "active" if row["active"] else "inactive"
        share = f"{used * 100 / total if total else 0: 7.2f}%"
        if not row["enabled"]:
            state, share = "disabled", f"{'N/A':>8}"
        print(
            f"{section.id:<{width}} {section.type:>10} {state:>10} {total >> 10:15d} {used >> 10:15d} "
            f"{avail >> 10:15d} {share}"
        )
    return 0


def _list(arguments: Arguments) -> int:
    values = arguments.values
    vmid = int(values["vmid"]) if "vmid" in values else None
    kinds = (values["content"],) if "content" in values else None
    print_volumes(storage.volumes(values["storage"], vmid, kinds))
    return 0


def print_volumes(volumes: list[Volume]) -> None:
    """The table of `pvesm list`: those of guests first."""
    name = max((len(v.volid) for v in volumes), default=0)
    digits = len(str(max((v.size for v in volumes), default=0)))
    print(f"{'Volid':<{name}} {'Format':<7} {'Type':<9} {'Size':>{digits}} VMID")
    for volume in volumes:
        if volume.vmid is not None:
            print(
                f"{volume.volid:<{name}} {volume.format:<7} {volume.content:<9} {volume.size:>{digits}} "
                f"{volume.vmid}"
            )
    for volume in sorted((v for v in volumes if v.vmid is None), key=lambda v: v.format):
        print(f"{volume.volid:<{name}} {volume.format:<7} {volume.content:<9} {volume.size:>{digits}}")


def _path(arguments: Arguments) -> int:
    print(storage.path(arguments.values["volume"]))
    return 0


def _alloc(arguments: Arguments) -> int:
    values = arguments.values
    match = re.fullmatch(r"(\d+)([MG]?)", values["size"])
    if match is None:
        raise ParamError({"size": "value does not match the regex pattern"})
    size = int(match[1]) << {"": 10, "M": 20, "G": 30}[match[2]]
    name, kind = values["filename"], values.get("format")
    ending = re.search(r"\.(raw|qcow2|vmdk)$", name)
    if ending is not None:
        if kind not in (None, ending[1]):
            raise ParamError({"format": f"different storage formats ({kind} != {ending[1]})"})
        kind = ending[1]
    store = storage.backend(values["storage"])
    with storage.locked(values["storage"]):
        volume = store.alloc(
            int(values["vmid"]),
            kind or store.section.keys.get("format", "raw"),
            name or None,
            size,
            sys.stdout,
        )
    print(f"successfully created '{values['storage']}:{volume}'")
    return 0


def _free(arguments: Arguments) -> int:
    volid, given = arguments.values["volume"], arguments.values.get("storage")
    if ":" not in volid:
        if given is None:
            raise ParamError({"volume": "no storage specified - incomplete volume ID"})
        volid = f"{given}:{volid}"
    name, _ = storage.parse_volid(volid)
    if given is not None and given != name:
        raise ParamError({"volume": f"storage ID mismatch ({name} != {given})\n"})
    return free(volid)


def free(volid: str) -> int:
    """Delete a volume in a task, whose result nobody looks at."""
    name, _ = storage.parse_volid(volid)
    storage.path(volid)
    owner = storage.parse_name(volid).vmid

    def work(out: tasks.Out) -> None:
        storage.free(volid, out)
        out.write(f"Removed volume '{volid}'\n")

    return tasks.run_unchecked("imgdel", f"{owner}@{name}" if owner else name, work)


def check_keys(kind: str, given: dict[str, str], creating: bool) -> dict[str, str]:
    """The keys of a storage as given by the user, checked for its type."""
    rules = KINDS[kind]
    for key in given:
        if key not in (*rules.required, *rules.optional):
            raise Die(
                f"unexpected property '{key}'"
                if creating
                else f"can't change value of unknown parameter '{key}'"
            )
        if key in rules.fixed and not creating:
            raise Die(f"can't change value of fixed parameter '{key}'")
    if "content" in given:
        _check_content(kind, given["content"])
    for key in rules.required if creating else ():
        if key not in given:
            raise Die(f"missing value for required option '{key}'")
    path = given.get("path")
    if path is not None:
        if not re.fullmatch(r"/[-/a-zA-Z0-9_.@]+", path):
            raise Die(f"illegal path for directory storage: {path}")
        given["path"] = re.sub(r"/+", "/", path).rstrip("/")
    return given


def _check_content(kind: str, text: str) -> None:
    """Refuse contents that Proxmox does not know; those that the type cannot hold are only warned about."""
    words = re.split(r"[\s,;]+", text)
    for word in words:
        if word not in KINDS["dir"].content:
            raise ParamError({"content": f"invalid format - invalid content type '{word}'\n"})
    for word in words:
        if word not in KINDS[kind].content:
            print(f"storage does not support content type '{word}'", file=sys.stderr)
    if "none" in words and len(words) > 1:
        raise Die("unable to combine 'none' with other content types")


def _add(arguments: Arguments) -> int:
    kind, name = arguments.values.pop("type"), arguments.values.pop("storage")
    storage_cfg.check_id(name)
    if kind not in KINDS:
        raise Die(f"storage type '{kind}' is not simulated: this lab has {', '.join(KINDS)}")
    given = check_keys(kind, arguments.values, creating=True)
    section = Section(kind, name, given)
    with storage_cfg.locked():
        sections = storage_cfg.read()
        if name in sections:
            raise Die(f"create storage failed: storage ID '{name}' already defined", 255)
        if kind == "zfspool":
            _note_mountpoint(section)
        if kind != "pbs" and not section.disabled and section.here():
            try:
                storage.backend_of(section)
            except Die as error:
                raise Die(f"create storage failed: {error.message}", 255) from None
        storage_cfg.write({**sections, name: section})
    return 0


def _note_mountpoint(section: Section) -> None:
    """Write down where the pool is mounted.

    A differing one that is given is warned about (ZFSPoolPlugin on_add_hook).
    """
    from .zfs_tree import load

    tree = load()
    pool = section.keys["pool"]
    current = tree.mountpoint(pool) if pool in tree.datasets else None
    given = section.keys.get("mountpoint")
    if given is None:
        if current is not None and current.startswith("/"):
            section.keys["mountpoint"] = current
    elif current is not None and given.rstrip("/") != current:
        print(
            f"warning for {section.id} - mountpoint: {given} does not match current mount point: {current}",
            file=sys.stderr,
        )


def _set(arguments: Arguments) -> int:
    values = arguments.values
    name, digest = values.pop("storage"), values.pop("digest", None)
    gone = [key for key in re.split(r"[\s,;]+", values.pop("delete", "")) if key]
    with storage_cfg.locked():
        if digest is not None and digest != storage_cfg.digest():
            raise Die(
                "update storage failed: detected modified configuration - file changed by other user? Try "
                "again.",
                255,
            )
        sections = storage_cfg.read()
        try:
            section = storage_cfg.get(name, sections)
            given = check_keys(section.type, values, creating=False)
            rules = KINDS[section.type]
            for key in gone:
                if key not in (*rules.required, *rules.optional):
                    raise Die(f"no such option '{key}'")
                if key in rules.required:
                    raise Die(f"unable to delete required option '{key}'")
                if key in given:
                    raise Die(f"cannot set and delete property '{key}' at the same time!")
        except ParamError:
            raise
        except Die as error:
            raise Die(f"update storage failed: {error.message}", 255) from None
        section.keys = {key: value for key, value in section.keys.items() if key not in gone} | given
        storage_cfg.write(sections)
    return 0


def _remove(arguments: Arguments) -> int:
    name = arguments.values["storage"]
    with storage_cfg.locked():
        sections = storage_cfg.read()
        if name not in sections:
            raise Die(f"delete storage failed: storage '{name}' does not exist", 255)
        del sections[name]
        storage_cfg.write(sections)
    return 0


def _scan(arguments: Arguments) -> int:
    what = arguments.values["what"]
    if what == "zfs":
        from .zfs_tree import load

        tree = load()
        for name in sorted(tree.datasets):
            if tree.kind(name) == "filesystem" and not re.search(r"/(?:subvol|basevol)-\d+-[^/]+$", name):
                print(name)
        return 0
    if what in ("lvm", "lvmthin"):
        for pool in machine.facts().get("thinpools", ()):
            print(pool["vg" if what == "lvm" else "name"])
        return 0
    if what in _SUB_SCANS:
        raise Die(f"scanning for {what} is not simulated")
    sys.stderr.write(f"ERROR: unknown command 'pvesm scan {what}'\n")
    return 255


def _apiinfo(arguments: Arguments) -> int:
    del arguments
    print("APIAGE 5\nAPIVER 14")
    return 0


def _extractconfig(arguments: Arguments) -> int:
    volid = arguments.values["volume"]
    if storage.parse_name(volid).vtype != "backup":
        raise Die(f"unable to extract configuration from '{volid}': not a backup")
    sys.stdout.write(extracted(volid))
    return 0


def extracted(volid: str) -> str:
    """The configuration in an archive on a storage."""
    path = storage.real_path(volid)
    known = archives.info(os.path.basename(path))
    if known is None:
        raise Die(f"ERROR: couldn't determine archive info from '{storage.path(volid)}'")
    if not os.path.isfile(path):
        raise Die(f"ERROR: file '{storage.path(volid)}' does not exist")
    try:
        found = archives.Backup(path).config() if known.kind == "lxc" else None
    except ValueError:
        found = None
    if found is None:
        raise Die("ERROR: archive contains no configuration file")
    return found.decode("utf-8", "surrogateescape")


def _prune(arguments: Arguments) -> int:
    values = arguments.values
    name, dry = values["storage"], values.get("dry-run") == "1"
    given = {key: int(value) for key, value in values.items() if key in prune.KEYS}
    keep = prune.keep_of(name, prune.check(given) if given else None)
    vmid = int(values["vmid"]) if "vmid" in values else None
    if dry:
        _print_plan(prune.plan(name, keep, vmid, values.get("type")))
        return 0
    return prune_backups(name, keep, vmid, values.get("type"))


def prune_backups(name: str, given: prune.Keep | None, vmid: int | None, kind: str | None) -> int:
    """Prune a storage in a task, whose result nobody looks at."""
    keep = prune.keep_of(name, given)

    def work(out: tasks.Out) -> None:
        prune.prune(name, keep, vmid, kind, lambda _level, line: out.write(f"{line}\n"))

    return tasks.run_unchecked("prunebackups", f"{vmid}@{name}" if vmid else name, work)


def _print_plan(entries: list[prune.Entry]) -> None:
    """What pruning would do, by guest and time."""
    if not entries:
        print("No backups found")
        return
    print(
        "NOTE: this is only a preview and might not be what a subsequent\n"
        "prune call does if backups are removed/added in the meantime.\n"
    )
    width = max(len(entry.volid) for entry in entries) + 1
    print(f"{'Backup':<{width}} {'Backup-ID':>15} {'Prune-Mark':>10}")
    for entry in sorted(entries, key=lambda e: (e.vmid or 0, e.ctime)):
        owner = f"{entry.kind}/{entry.vmid}" if entry.vmid else entry.kind
        print(f"{entry.volid:<{width}} {owner:>15} {entry.mark:>10}")


def _help(arguments: Arguments) -> int:
    return cli.print_help("pvesm", arguments)


HANDLERS: dict[str, Callable[[Arguments], int]] = {
    "add": _add,
    "alloc": _alloc,
    "apiinfo": _apiinfo,
    "extractconfig": _extractconfig,
    "free": _free,
    "help": _help,
    "list": _list,
    "path": _path,
    "prune-backups": _prune,
    "remove": _remove,
    "scan": _scan,
    "set": _set,
    "status": _status,
}
_ALIASES = {"zfsscan": "scan", "lvmscan": "scan", "lvmthinscan": "scan"}


def main(argv: list[str]) -> int:
    """The command `pvesm`."""
    costs.spend("pvesm start-up")
    errors.left(errors.ENOENT)
    words = argv[1:]
    if words and words[0] in _ALIASES:
        words = ["scan", words[0].removesuffix("scan"), *words[1:]]
    return cli.run("pvesm", HANDLERS, {}, words)
