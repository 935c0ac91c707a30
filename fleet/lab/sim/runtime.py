"""Containers that run: starting and stopping them, running programs in them, reading and writing their files.

What runs is held by the monitor (fleet/lab/monitor.py); a container's namespaces are made when somebody
first looks into it. Everything that a guest can see of itself is written here, into /var/lib/lxc/ID/config
and /var/lib/fleet-lab/guest/ID.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from .mounts import Mount

_ATTACH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LISTED = "@/var/lib/lxc/"


def unpack_template(archive: str, directory: str) -> int:
    """Unpack a template; gives the bytes of its tar stream. OSError or ValueError if that cannot be."""
    from . import templates

    return templates.unpack(archive, directory)


def running() -> set[int]:
    """The containers that run, as Proxmox finds them: by their command sockets in /proc/net/unix."""
    found = set()
    with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
        for line in file:
            if _LISTED in line and line.rstrip().endswith("/command"):
                found.add(int(line.rstrip().split("/")[-2]))
    return found


def start(vmid: int) -> None:
    """Let a container run with its configuration as it is now. The caller has checked that it can."""
    from . import container, guest_facts, guest_files, mounts, storage

    config = container.load(vmid)
    root = storage.root_dir(mounts.parse("rootfs", config.keys["rootfs"]).volume)
    guest_files.write(root, config)
    guest_facts.begin(vmid, config, root)
    _ask(f"start {vmid}")


def stop(vmid: int) -> None:
    """End a container and all that runs in it."""
    _ask(f"stop {vmid}")
    stopped(vmid)


def stopped(vmid: int) -> None:
    """Tidy up after a container that stopped: its interfaces on the node are gone."""
    from . import guest_facts

    guest_facts.forget_interfaces(vmid)


def init_pid(vmid: int) -> int:
    """The PID of a container's process 1; of the monitor, which holds it, until somebody looks into it."""
    return int(_ask(f"pid {vmid}"))


def _ask(line: str) -> str:
    """The monitor's answer to a command."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/fleet-lab/monitor.sock")
        connection.sendall(f"{line}\n".encode())
        word, _, rest = connection.makefile().readline().strip().partition(" ")
    if word != "ok":
        raise OSError(0, rest)
    return rest


# --- running programs in a guest ---


def exec_in_guest(vmid: int, argv: list[str], keep_env: bool) -> int:
    """Run a program in a running container as lxc-attach does; its exit code, 128+N for signal N."""
    from . import cgroup, guest, linux

    init = look_into(vmid)
    cgroup.wait_until_thawed(vmid)
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    directory = os.getcwd()  # joining a mount namespace forgets it
    waiter = os.fork()
    if waiter == 0:
        try:
            linux.join(init, guest.NAMESPACES)
        except OSError as error:
            sys.stderr.write(f"lxc-attach: {vmid}: ../src/lxc/attach.c: lxc_attach: {error}\n")
            os._exit(1)
        _attach(vmid, directory, argv, environment(keep_env))
    return _code(os.waitpid(waiter, 0)[1])


def look_into(vmid: int) -> int:
    """The PID of a guest's process 1, made if need be; what it knows of itself is brought up to date."""
    from . import guest_facts

    guest_facts.describe(vmid)
    return int(_ask(f"init {vmid}"))


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def environment(keep_env: bool) -> dict[str, str]:
    """The variables that the program gets (pve-facts 4)."""
    if not keep_env:
        return {"PATH": _ATTACH_PATH, "container": "lxc", "TERM": "linux"}
    kept = dict(os.environ)
    if kept.get("_", "").startswith(
        "/usr/local/sbin/"
    ):  # where the lab has the command that Proxmox has in /usr/sbin
        kept["_"] = kept["_"].replace("/usr/local/", "/usr/")
    kept.pop("FLEET_LAB_USER", None)
    return {**kept, "container": "lxc", "TERM": kept.get("TERM", "linux")}


def _attach(vmid: int, directory: str, argv: list[str], variables: dict[str, str]) -> NoReturn:
    """In a child that is in the guest's namespaces: run the program, and end as it ends."""
    pid = os.fork()
    if pid == 0:
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        _become(vmid, directory, argv, variables)
    os._exit(_code(os.waitpid(pid, 0)[1]))


def _become(vmid: int, directory: str, argv: list[str], variables: dict[str, str]) -> NoReturn:
    try:
        os.chdir(directory)
    except OSError:
        os.chdir("/")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, variables)  # noqa: S606 - the point of it
    except OSError as error:
        sys.stderr.write(
            f"lxc-attach: {vmid}: ../src/lxc/attach.c: lxc_attach_run_command: 1841 {error.strerror} - "
            f'Failed to exec "{argv[0]}"\n'
        )
        sys.stderr.flush()
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


# --- files of a guest, and changes while it runs ---


def user_id(vmid: int, name: str) -> int | None:
    """The number of a user of the guest, None if it has no such user."""
    return _id(vmid, "passwd", name)


def group_id(vmid: int, name: str) -> int | None:
    """The number of a group of the guest, None if it has no such group."""
    return _id(vmid, "group", name)


def _id(vmid: int, table: str, name: str) -> int | None:
    if name.isdecimal():
        return int(name)
    try:
        lines = read_file(vmid, f"/etc/{table}").decode().splitlines()
    except OSError:
        return None
    return next(
        (
            int(fields[2])
            for fields in (line.split(":") for line in lines)
            if fields[0] == name and len(fields) > 2
        ),
        None,
    )


def write_file(vmid: int, path: str, content: bytes, mode: int, uid: int, gid: int) -> None:
    """Write a file in a running guest, owned by these of its users. OSError as its system calls fail."""
    from . import container, owners

    shift = 100000 if container.unprivileged(container.load(vmid)) else 0

    def write() -> bytes:
        if not path.startswith("/"):
            raise IsADirectoryError(21, "Is a directory", path)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        if uid or gid or owners.owner(path) != (0, 0):
            owners.chown(path, uid + shift, gid + shift)
        return b""

    _inside(vmid, write)


def read_file(vmid: int, path: str) -> bytes:
    """The content of a file in a running guest. OSError as its system calls fail."""

    def read() -> bytes:
        with open(path, "rb") as file:
            return file.read()

    return _inside(vmid, read)


def attach_mount(vmid: int, point: Mount) -> None:
    """Mount a mount point into a running guest."""
    from . import guest_facts

    _attach_entry(vmid, guest_facts.mount_entry(point))


def attach_device(vmid: int, value: str) -> None:
    """Show a device of the node (a devN value) in a running guest."""
    from . import guest_facts

    _attach_entry(vmid, guest_facts.device_entry(value))


def _attach_entry(vmid: int, entry: str) -> None:
    from . import files, guest, linux

    with open(guest.config_file(vmid), encoding="utf-8") as file:
        begin, rootfs, rest = file.read().partition("lxc.rootfs.path")  # the raw lines stay the last ones
    files.write(guest.config_file(vmid), f"{begin}lxc.mount.entry = {entry}\n{rootfs}{rest}".encode())
    if int(_ask(f"pid {vmid}")) == 1:
        return  # it has no namespaces yet; they will be made with this entry
    source, target, _, options, *_ = (word.replace("\\040", " ") for word in entry.split())
    tree, directory = linux.open_tree(source), os.path.isdir(source)

    def move() -> bytes:
        guest.make_target(f"/{target}", directory=directory)
        linux.move_mount(tree, f"/{target}")
        if "ro" in options.split(","):
            linux.make_read_only(f"/{target}")
        return b""

    try:
        _inside(vmid, move)
    finally:
        os.close(tree)


def _inside(vmid: int, action: Callable[[], bytes]) -> bytes:
    """What a function gives when run in a guest's file tree; its OSError is raised here."""
    from . import linux

    init = look_into(vmid)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as answers:
            try:
                linux.join(init, linux.NEWNS)
                result = b"\0" + action()
            except OSError as error:
                result = b"\1" + str(error.errno).encode()
            answers.write(result)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    if answer[:1] != b"\0":
        number = int(answer[1:] or b"5")
        raise OSError(number, os.strerror(number))
    return answer[1:]
