"""The sandbox: a node's file tree as `/` of its own namespaces, with the monitor as its process 1.

Works the same for root and for an ordinary user: a new user namespace maps the caller, and only the caller,
to root. Of the machine outside, `/usr` (and what belongs to it), the interpreter and five harmless device
nodes are visible, all of it read-only.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fleet.lab import layout
from fleet.lab.sim import linux

_NAMESPACES = linux.NEWUSER | linux.NEWNS | linux.NEWPID | linux.NEWNET | linux.NEWUTS | linux.NEWIPC
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # links into /usr, or directories of their own
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_FROM_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d")

NOT_PERMITTED = """\
the lab needs user, mount and PID namespaces, and this machine does not permit them ({why}). \
On Ubuntu 23.10 and newer: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`. \
On an older Debian: `sudo sysctl -w kernel.unprivileged_userns_clone=1`. \
Where user namespaces are turned off: `sudo sysctl -w user.max_user_namespaces=15000`. \
In Docker or Podman: start the container with `--privileged`, or with `--security-opt seccomp=unconfined \
--security-opt apparmor=unconfined --security-opt systempaths=unconfined`. \
Otherwise give a real host's address in hosts.yml instead of `address: lab`."""


class SandboxError(Exception):
    """The sandbox could not be made; the message says what to do."""


@dataclass(frozen=True)
class Spec:
    """What a sandbox is made of."""

    root: Path
    hostname: str
    devices: Sequence[str]  # simulated device nodes, as /dev/dri/card0


def start(spec: Spec, monitor: Callable[[int], NoReturn]) -> int:
    """Process 1 of a new sandbox, by its PID outside; it runs `monitor`.

    `monitor` writes b"ready" to the descriptor it is given. The caller must have one thread only.
    The sandbox ends with its caller. Raises SandboxError.
    """
    reading, writing = os.pipe()
    if os.fork() == 0:
        _die_on_error(writing, lambda: _outer(spec, monitor, writing))
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        first = answers.readline().decode()
        if not first.startswith("pid "):
            raise SandboxError(first.removeprefix("error ").strip() or "the sandbox ended before it began")
        second = answers.readline().decode()
    if not second.startswith("ready"):
        raise SandboxError(
            second.removeprefix("error ").strip() or "the sandbox ended while it was being built"
        )
    return int(first.split()[1])


def _die_on_error(writing: int, action: Callable[[], NoReturn]) -> NoReturn:
    try:
        action()
    except OSError as error:
        os.write(writing, f"error {NOT_PERMITTED.format(why=error.strerror or error)}\n".encode())
    except BaseException:  # noqa: BLE001 - nothing may return into the caller's code in the child
        os.write(writing, f"error {' | '.join(traceback.format_exc().splitlines())}\n".encode())
    os._exit(1)


def _outer(spec: Spec, monitor: Callable[[int], NoReturn], writing: int) -> NoReturn:
    """Make the namespaces; the child is process 1, this process waits for it."""
    linux.die_with_parent()
    os.setsid()
    uid, gid = os.getuid(), os.getgid()
    linux.unshare(_NAMESPACES)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    child = os.fork()
    if child == 0:
        _die_on_error(writing, lambda: _inner(spec, monitor, writing))
    os.close(writing)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _inner(spec: Spec, monitor: Callable[[int], NoReturn], writing: int) -> NoReturn:
    linux.die_with_parent()
    os.write(writing, f"pid {Path('/proc/self').readlink()}\n".encode())  # as it is seen outside
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.umask(0o022)
    build(spec)
    linux.set_hostname(spec.hostname)
    os.chdir("/root")
    monitor(writing)


def build(spec: Spec) -> None:
    """Mount the tree and make it `/`."""
    root = str(spec.root)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.bind(root, root)
    local = os.open(f"{root}/usr/local", os.O_PATH)  # found again when /usr lies over it
    linux.bind("/usr", f"{root}/usr", read_only=True)
    linux.bind(f"/proc/self/fd/{local}", f"{root}/usr/local")
    os.close(local)
    for name in _MERGED:
        if is_own_directory(name):
            linux.bind(f"/{name}", f"{root}/{name}", read_only=True)
    for name in _FROM_ETC:
        if Path(f"/etc/{name}").exists():
            linux.bind(f"/etc/{name}", f"{root}/etc/{name}", read_only=True)
    _bind_code(root)
    _mount_proc(root)
    _mount_dev(root, spec.devices)
    linux.bind(
        f"{root}/etc/pve", f"{root}/etc/pve"
    )  # a mount of its own, so that lost quorum can make it read-only
    linux.enter_root(root)


def _bind_code(root: str) -> None:
    """The simulated commands, the interpreter that runs them, and what guests see of the machine."""
    for target in (layout.SIM, f"{layout.MACHINE}/sim"):
        linux.bind(str(Path(__file__).resolve().parent / "sim"), root + target, read_only=True)
    if own_interpreter():
        linux.bind(sys.base_prefix, f"{root}{layout.PYTHON}", read_only=True)
    for name in ("usr", *(name for name in _MERGED if is_own_directory(name))):
        linux.bind(f"/{name}", f"{root}{layout.MACHINE}/{name}", read_only=True)


def _mount_proc(root: str) -> None:
    linux.mount("proc", f"{root}/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    for name in layout.FAKED_PROC:
        linux.bind(f"{root}{layout.STATE}/proc/{Path(name).name}", f"{root}/proc/{name}", read_only=True)


def _mount_dev(root: str, devices: Sequence[str]) -> None:
    dev = f"{root}/dev"
    linux.mount("udev", dev, "tmpfs", linux.MS_NOSUID, "mode=755")
    for name in _DEVICES:
        Path(dev, name).touch()
        linux.bind(f"/dev/{name}", f"{dev}/{name}")
    for device in devices:
        node = Path(root + device)
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
        linux.bind("/dev/null", str(node))
    for name in ("pts", "shm"):
        Path(dev, name).mkdir()
    linux.mount(
        "devpts",
        f"{dev}/pts",
        "devpts",
        linux.MS_NOSUID | linux.MS_NOEXEC,
        "newinstance,ptmxmode=0666,mode=620",
    )
    linux.mount("tmpfs", f"{dev}/shm", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV)
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        Path(dev, name).symlink_to(target)


def is_own_directory(name: str) -> bool:
    """Whether `/NAME` is a directory that is no link into /usr, as on systems without a merged /usr."""
    path = Path("/", name)
    return path.is_dir() and not path.is_symlink()


def own_interpreter() -> bool:
    """Whether the interpreter's files lie outside what `/usr` of the machine brings along."""
    return sys.base_prefix != "/usr"


def interpreter() -> list[str]:
    """What runs this Python inside a sandbox: its path, after the variable that a shared library needs."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not own_interpreter():
        return [f"/usr/bin/{version}"]
    words = [f"{layout.PYTHON}/bin/{version}"]
    shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
    return [f"LD_LIBRARY_PATH={layout.PYTHON}/lib", *words] if shared else words
