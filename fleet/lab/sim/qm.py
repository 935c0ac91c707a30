"""`qm`: listing, configuration and simple disks of virtual machines.

Of qemu-server's CLI/qm.pm and API2/Qemu.pm. They never run in the lab.

Verbs: list, config, pending, status, create, set, start, stop, shutdown, destroy, unlock, and those of
qm_snapshot.py. What `qm create` may set is what stands in _PLAIN and _NUMBERED; anything else fails as an
option that Proxmox does not know.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from uuid import uuid4

from . import (
    clock,
    conf,
    costs,
    errors,
    files,
    machine,
    network,
    qm_conf,
    qm_snapshot,
    storage,
    storage_cfg,
    tasks,
    vmlist,
)
from .api_guests import boot_disk
from .errors import Die, ParamError, UsageError
from .sizes import format_size
from .storage_base import Writer

_PLAIN = (
    "acpi agent arch args autostart balloon bios boot bootdisk cicustom cipassword citype ciuser cores "
    "cpu cpulimit cpuunits description freeze hookscript hotplug hugepages keyboard kvm localtime lock "
    "machine memory name nameserver numa onboot ostype protection reboot rng0 scsihw searchdomain "
    "shares smbios1 sockets sshkeys startdate startup tablet tags tdf template tpmstate0 vcpus vga "
    "vmgenid vmstatestorage watchdog efidisk0"
).split()
_NUMBERED = {
    "net": 32,
    "scsi": 31,
    "virtio": 16,
    "sata": 6,
    "ide": 4,
    "hostpci": 16,
    "usb": 14,
    "serial": 4,
    "parallel": 3,
    "unused": 256,
    "ipconfig": 32,
    "numa": 8,
}
_DISKS = ("scsi", "virtio", "sata", "ide")
_INTEGERS = {"cores": 1, "sockets": 1, "memory": 16, "vcpus": 1, "balloon": 0, "shares": 0}
_BOOLEANS = (
    "acpi",
    "autostart",
    "freeze",
    "kvm",
    "localtime",
    "onboot",
    "protection",
    "reboot",
    "tablet",
    "tdf",
    "template",
)
_OSTYPES = (
    "other",
    "wxp",
    "w2k",
    "w2k3",
    "w2k8",
    "wvista",
    "win7",
    "win8",
    "win10",
    "win11",
    "l24",
    "l26",
    "solaris",
)
_NEW_DISK = re.compile(r"([a-zA-Z][\w.-]*):(\d+(?:\.\d+)?)((?:,.*)?)")
_USAGE = {
    "list": "qm list  [OPTIONS]",
    "config": "qm config <vmid> [OPTIONS]",
    "pending": "qm pending <vmid>",
    "status": "qm status <vmid> [OPTIONS]",
    "create": "qm create <vmid> [OPTIONS]",
    "set": "qm set <vmid> [OPTIONS]",
    "start": "qm start <vmid> [OPTIONS]",
    "stop": "qm stop <vmid> [OPTIONS]",
    "shutdown": "qm shutdown <vmid> [OPTIONS]",
    "destroy": "qm destroy <vmid> [OPTIONS]",
    "unlock": "qm unlock <vmid>",
    "snapshot": "qm snapshot <vmid> <snapname> [OPTIONS]",
    "listsnapshot": "qm listsnapshot <vmid>",
    "rollback": "qm rollback <vmid> <snapname> [OPTIONS]",
    "delsnapshot": "qm delsnapshot <vmid> <snapname> [OPTIONS]",
    "resize": "qm resize <vmid> <disk> <size> [OPTIONS]",
}
_OPTIONS = {
    "list": ("full",),
    "config": ("current", "snapshot"),
    "status": ("verbose",),
    "start": ("skiplock", "timeout"),
    "stop": ("skiplock", "timeout", "keepActive", "overrule-shutdown"),
    "shutdown": ("skiplock", "timeout", "forceStop", "keepActive"),
    "destroy": ("purge", "skiplock", "destroy-unreferenced-disks"),
    "snapshot": ("description", "vmstate"),
    "rollback": ("start",),
    "delsnapshot": ("force",),
    "resize": ("digest", "skiplock"),
}

Values = dict[str, str]


def _known(verb: str, name: str) -> bool:
    if verb in ("create", "set"):
        match = re.fullmatch(r"([a-z]+?)(\d+)", name)
        numbered = match is not None and int(match[2]) < _NUMBERED.get(match[1], 0)
        return (
            name in _PLAIN
            or numbered
            or name
            in (
                {
                    "create": ("start", "force", "storage", "pool", "ha-managed"),
                    "set": ("delete", "digest", "revert", "force", "skiplock"),
                }[verb]
            )
        )
    return name in _OPTIONS.get(verb, ())


def _parse(verb: str, words: list[str]) -> tuple[list[str], Values]:
    """(plain words, options) of a call."""
    plain: list[str] = []
    given: Values = {}
    rest, failed = list(words), False
    while rest:
        word = rest.pop(0)
        name, sign, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or word == "-":
            plain.append(word)
            continue
        if not _known(verb, name):
            print(f"Unknown option: {name}", file=sys.stderr)
            failed = True
            continue
        if not sign:
            value = rest.pop(0) if rest and (not rest[0].startswith("-") or name == "description") else "1"
        given[name] = value
    if failed:
        raise UsageError("unable to parse option")
    return plain, given


def _check(given: Values) -> None:
    """Refuse values that Proxmox refuses."""
    problems: dict[str, str] = {}
    for key, value in sorted(given.items()):
        if key in _INTEGERS:
            if not re.fullmatch(r"-?\d+", value):
                problems[key] = f"type check ('integer') failed - got '{value}'"
            elif int(value) < _INTEGERS[key]:
                problems[key] = f"value must have a minimum value of {_INTEGERS[key]}"
        elif key in _BOOLEANS:
            if value.lower() not in ("0", "1", "on", "off", "yes", "no", "true", "false"):
                problems[key] = f"type check ('boolean') failed - got '{value}'"
            else:
                given[key] = "1" if value.lower() in ("1", "on", "yes", "true") else "0"
        elif key == "name" and not re.fullmatch(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?", value):
            problems[key] = "invalid format - value does not look like a valid DNS name\n"
        elif key == "ostype" and value not in _OSTYPES:
            problems[key] = (
                f"value '{value}' does not have a value in the enumeration '{', '.join(_OSTYPES)}'"
            )
    if problems:
        raise ParamError(problems)


def _list(vmids: list[str], given: Values) -> int:
    del vmids, given
    ids = vmlist.local("qemu")
    if ids:
        print(f"{'VMID':>10} {'NAME':<20} {'STATUS':<10} {'MEM(MB)':<10} {'BOOTDISK(GB)':>12} {'PID':<10}")
    for vmid in ids:
        keys = qm_conf.read(vmid)
        print(
            f"{vmid:>10} {keys.get('name', f'VM {vmid}'):<20} {'stopped':<10} "
            f"{keys.get('memory', '512'):<10} "
            f"{boot_disk(keys) / (1 << 30):>12.2f} {0:<10}"
        )
    return 0


def _shown(key: str, value: str) -> str:
    return conf.encode_text(value) if key == "description" else "**********" if key == "cipassword" else value


def _config(words: list[str], given: Values) -> int:
    vmid = int(words[0])
    keys = qm_conf.read(vmid)
    if "snapshot" in given and f"\n[{given['snapshot']}]\n" not in qm_conf.raw(vmid):
        raise Die(f"snapshot '{given['snapshot']}' does not exist")
    for key in sorted(keys):
        print(f"{key}: {_shown(key, keys[key])}")
    return 0


def _pending(words: list[str], given: Values) -> int:
    del given
    keys = qm_conf.read(int(words[0]))
    for key in sorted(keys):
        print(f"cur {key}: {_shown(key, keys[key])}")
    return 0


def _status(words: list[str], given: Values) -> int:
    vmid = int(words[0])
    qm_conf.read(vmid)
    if given.get("verbose") == "1":
        from .api_guests import vm_status

        for key, value in sorted({**vm_status(vmid), "qmpstatus": "stopped"}.items()):
            if key != "cpu":
                print(f"{key}: {value}")
    else:
        print("status: stopped")
    return 0


def _net(value: str) -> str:
    """A network device with its address: `virtio,bridge=…` becomes `virtio=MAC,bridge=…`."""
    first, comma, rest = value.partition(",")
    model = first.partition("=")[2] if first.startswith("model=") else first
    return f"{model}={network.random_mac()}{comma}{rest}" if "=" not in model else value


def _disk(vmid: int, key: str, value: str, out: Writer) -> str:
    """A disk: STORAGE:GIB makes a new volume."""
    match = _NEW_DISK.fullmatch(value)
    if match is None:
        return value
    section = storage_cfg.get(match[1])
    if "images" not in section.content:
        raise Die(f"storage '{match[1]}' does not support content-type 'images'")
    size = int(float(match[2]) * (1 << 30))
    store = storage.backend_of(section)
    with storage.locked(match[1]):
        volume = store.alloc(vmid, "raw", None, size, out)
    made = f"{match[1]}:{volume}{match[3]},size={format_size(size)}"
    out.write(f"{key}: successfully created disk '{made}'\n")
    return made


def _filled(vmid: int, given: Values, out: Writer) -> Values:
    """The values with new disks made and addresses filled in."""
    result: Values = {}
    for key, value in given.items():
        kind = re.sub(r"\d+$", "", key)
        result[key] = (
            _disk(vmid, key, value, out)
            if kind in _DISKS and key != kind
            else _net(value)
            if kind == "net"
            else value
        )
    return result


def _create(words: list[str], given: Values) -> int:
    vmid = int(words[0])
    _check(given)
    for name in ("start", "force", "storage", "pool", "ha-managed"):
        given.pop(name, None)
    other = vmlist.guests().get(vmid)
    if other is not None:
        raise Die(
            f"unable to create VM {vmid} - {other.title} {vmid} already exists on node '{other.node}'", 255
        )

    def work(out: tasks.Out) -> None:
        keys = _filled(vmid, given, out)
        order = [k for k in keys if re.fullmatch(r"(?:scsi|virtio|sata|ide)\d+", k)] + [
            k for k in keys if re.fullmatch(r"net\d+", k)
        ]
        keys.setdefault("boot", f"order={';'.join(order)}" if order else " ")
        qemu = str(machine.facts().get("packages", {}).get("pve-qemu-kvm", "10.0.13")).partition("-")[0]
        keys |= {
            "meta": f"creation-qemu={qemu},ctime={int(clock.now())}",
            "smbios1": f"uuid={uuid4()}",
            "vmgenid": str(uuid4()),
        }
        qm_conf.save(vmid, keys)

    return tasks.run("qmcreate", str(vmid), work)


def _set(words: list[str], given: Values) -> int:
    vmid = int(words[0])
    shown = " ".join(f"-{key} {value}" for key, value in sorted(given.items()))
    gone = [key for key in re.split(r"[\s,;]+", given.pop("delete", "")) if key]
    for name in ("digest", "revert", "force", "skiplock"):
        given.pop(name, None)
    if not given and not gone:
        raise Die("no options specified")
    _check(given)
    for key in gone:
        if not _known("set", key):
            raise ParamError({"delete": f"unknown option '{key}'"})
    keys = qm_conf.read(vmid)
    qm_conf.check_lock(keys)
    with files.locked(f"/var/lock/qemu-server/lock-{vmid}.conf", 10):
        print(f"update VM {vmid}: {shown}")
        keys = {key: value for key, value in keys.items() if key not in gone} | _filled(
            vmid, given, sys.stdout
        )
        qm_conf.save(vmid, keys)
    return 0


def _start(words: list[str], given: Values) -> int:
    """The lab has no QEMU: a start fails as it does on a host without virtualisation."""
    del given
    vmid = int(words[0])

    def work(_out: tasks.Out) -> None:
        qm_conf.check_lock(qm_conf.read(vmid))
        raise Die(qm_conf.NO_KVM)

    return tasks.run("qmstart", str(vmid), work)


def _stop(words: list[str], given: Values) -> int:
    """Stopping what does not run is no error."""
    del given
    vmid = int(words[0])
    return tasks.run("qmstop", str(vmid), lambda _out: qm_conf.check_lock(qm_conf.read(vmid)))


def _shutdown(words: list[str], given: Values) -> int:
    del given
    vmid = int(words[0])

    def work(_out: tasks.Out) -> None:
        qm_conf.check_lock(qm_conf.read(vmid))
        raise Die(f"VM {vmid} not running")

    return tasks.run("qmshutdown", str(vmid), work)


def _destroy(words: list[str], given: Values) -> int:
    del given
    vmid = int(words[0])
    keys = qm_conf.read(vmid)
    if keys.get("protection") == "1":
        raise Die(f"can't remove VM {vmid} - protection mode enabled", 255)

    def work(out: tasks.Out) -> None:
        qm_conf.check_lock(keys)
        for key, value in keys.items():
            volume = value.partition(",")[0]
            if re.fullmatch(r"(?:scsi|virtio|sata|ide|unused|efidisk|tpmstate)\d+", key) and ":" in volume:
                storage.free(volume, out)
        qm_conf.remove(vmid)

    return tasks.run("qmdestroy", str(vmid), work)


def _unlock(words: list[str], given: Values) -> int:
    del given
    vmid = int(words[0])
    keys = qm_conf.read(vmid)
    if "lock" not in keys:
        raise Die("no lock found trying to remove any lock", 255)
    del keys["lock"]
    qm_conf.save(vmid, keys)
    return 0


_VERBS: dict[str, Callable[[list[str], Values], int]] = {
    "list": _list,
    "config": _config,
    "pending": _pending,
    "status": _status,
    "create": _create,
    "set": _set,
    "start": _start,
    "stop": _stop,
    "shutdown": _shutdown,
    "destroy": _destroy,
    "unlock": _unlock,
    "snapshot": qm_snapshot.snapshot,
    "listsnapshot": qm_snapshot.listsnapshot,
    "rollback": qm_snapshot.rollback,
    "delsnapshot": qm_snapshot.delsnapshot,
    "resize": qm_snapshot.resize,
}


def _usage() -> str:
    return "USAGE: qm <COMMAND> [ARGS] [OPTIONS]\n\n" + "".join(
        f"       {line}\n" for line in _USAGE.values()
    )


def main(argv: list[str]) -> int:
    """The command `qm`."""
    costs.spend("qm start-up")
    errors.left(errors.ENOENT)
    words = argv[1:]
    if words[:1] == ["help"]:
        sys.stdout.write(_usage())
        return 0
    hits = [verb for verb in _VERBS if words and verb.startswith(words[0])]
    verb = words[0] if words and words[0] in _VERBS else hits[0] if len(hits) == 1 else ""
    if not verb:
        reason = f"unknown command 'qm {words[0]}'" if words else "no command specified"
        sys.stderr.write(f"ERROR: {reason}\n{_usage()}")
        return 255
    try:
        return _run(verb, words[1:])
    except Die as error:
        sys.stdout.flush()
        sys.stderr.write(error.message if error.message.endswith("\n") else error.message + "\n")
        if isinstance(error, ParamError | UsageError):
            sys.stderr.write(_USAGE[verb] + "\n")
        return error.code


def _run(verb: str, words: list[str]) -> int:
    plain, given = _parse(verb, words)
    wanted = len(re.findall(r"<\w+>", _USAGE[verb]))
    if len(plain) < wanted:
        raise UsageError("not enough arguments")
    if len(plain) > wanted:
        raise UsageError("too many arguments")
    if wanted and not re.fullmatch(r"[1-9]\d{2,8}", plain[0]):
        raise ParamError({"vmid": "invalid format - value does not look like a valid VM ID\n"})
    return _VERBS[verb](plain, given)
