"""The process 1 of a running guest: namespaces and a file tree of its own, made from /var/lib/lxc/ID/config.

A guest sees its root file system and mount points at `/`, the machine's programs under /run/host (its own
/usr/bin links there), and itself in /proc. Killing this process ends all that runs in the guest.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from . import linux

NAMESPACES = linux.NEWNS | linux.NEWPID | linux.NEWUTS | linux.NEWIPC
NODE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
}
FACTS = "/var/lib/fleet-lab/guest"  # FACTS/ID/: meminfo, uid_map, guest.json; written by runtime.py
_MACHINE = "/usr/local/lib/fleet-lab/machine"
_NEW_ROOT = "/run/fleet-lab/newroot"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

Config = list[tuple[str, str]]


def config_file(vmid: int) -> str:
    """Where the LXC configuration of a container that was started is."""
    return f"/var/lib/lxc/{vmid}/config"


def read_config(vmid: int) -> Config:
    """The lines of an LXC configuration as (key, value)."""
    with open(config_file(vmid), encoding="utf-8") as file:
        lines = (line.partition("=") for line in file if "=" in line and not line.startswith("#"))
        return [(key.strip(), value.strip()) for key, _, value in lines]


def start_init(vmid: int) -> int:
    """Make process 1 of a guest, and say its PID. Called by the monitor, whose child it becomes."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            _between(vmid, writing)
        except BaseException as error:  # noqa: BLE001 - nothing may return into the monitor's code
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read().decode()
    os.waitpid(middle, 0)
    pid, _, problem = answer.partition(" ")
    if not pid.isdigit() or problem:
        raise OSError(0, f"the tree of container {vmid} could not be built: {answer}")
    return int(pid)


def _between(vmid: int, writing: int) -> NoReturn:
    """New namespaces; the child is process 1 of the new PID namespace and outlives this process."""
    os.dup2(writing, 3)
    os.closerange(4, 1 << 20)  # the monitor's sockets are none of a guest's business
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    linux.unshare(NAMESPACES)
    if os.fork() == 0:
        try:
            pid = os.readlink("/proc/self")  # as the node sees it
            build(vmid, read_config(vmid))
            os.write(3, pid.encode())
            os.close(3)
            _be_init()
        except BaseException as error:  # noqa: BLE001 - as above
            os.write(3, f" {type(error).__name__}: {error}".encode())
        os._exit(1)
    os._exit(0)


def _be_init() -> NoReturn:
    """Reap the guest's orphans for ever."""
    linux.set_process_name("systemd")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        signal.sigwait({signal.SIGCHLD})
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def build(vmid: int, config: Config) -> None:
    """Mount the guest's tree and make it `/`."""
    values = dict(config)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    os.makedirs(_NEW_ROOT, exist_ok=True)
    linux.bind(values["lxc.rootfs.path"], _NEW_ROOT)
    for name in ("dev", "proc", "run", "sys", "tmp"):
        os.makedirs(f"{_NEW_ROOT}/{name}", exist_ok=True)
    _mount_run(vmid)
    _mount_dev()
    for key, value in config:
        if key == "lxc.mount.entry":
            source, target, _, options, *_ = value.split()
            mount_entry(
                source.replace("\\040", " "),
                f"{_NEW_ROOT}/{target.replace(chr(92) + '040', ' ')}",
                options.split(","),
            )
    linux.mount("proc", f"{_NEW_ROOT}/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    for source, target in (
        ("meminfo", "meminfo"),
        ("uid_map", "1/uid_map"),
        ("uid_map", "1/gid_map"),
        ("profile", "1/attr/current"),
    ):
        linux.bind(f"{FACTS}/{vmid}/{source}", f"{_NEW_ROOT}/proc/{target}", read_only=True)
    linux.enter_root(_NEW_ROOT)
    linux.set_hostname(values["lxc.uts.name"])


def mount_entry(source: str, target: str, options: list[str]) -> None:
    """One lxc.mount.entry: a bind mount of a directory or of a device node."""
    if not os.path.exists(source) and "optional" in options:
        return
    make_target(target, directory=os.path.isdir(source))
    linux.bind(source, target, read_only="ro" in options)


def make_target(path: str, *, directory: bool) -> None:
    """Make what a mount is to lie on, if it is not there."""
    if directory:
        os.makedirs(path, exist_ok=True)
    elif not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "ab"):
            pass


def _mount_run(vmid: int) -> None:
    """An empty /run, with the machine's programs and the facts about this guest in it."""
    run = f"{_NEW_ROOT}/run"
    linux.mount("tmpfs", run, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
    os.mkdir(f"{run}/host")
    linux.bind(_MACHINE, f"{run}/host", read_only=True)
    os.mkdir(f"{run}/guest")
    linux.bind(f"{FACTS}/{vmid}", f"{run}/guest", read_only=True)


def _mount_dev() -> None:
    dev = f"{_NEW_ROOT}/dev"
    linux.mount("none", dev, "tmpfs", 0, "mode=755,size=492k")
    for name in _DEVICES:
        with open(f"{dev}/{name}", "ab"):
            linux.bind(f"/dev/{name}", f"{dev}/{name}")
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        os.symlink(target, f"{dev}/{name}")
    os.mkdir(f"{dev}/shm")
    os.mkdir(f"{dev}/pts")
    linux.bind("/dev/pts", f"{dev}/pts")
    os.symlink("pts/ptmx", f"{dev}/ptmx")
