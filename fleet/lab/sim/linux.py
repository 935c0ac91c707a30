"""System calls for namespaces and mounts that Python 3.11 has no function for; OSError when they fail.

The constants are of linux/sched.h, linux/mount.h and linux/prctl.h. System calls as
young as mount_setattr(2) (Linux 5.12) have the same number on all architectures.
"""

from __future__ import annotations

import ctypes
import os

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000,
    0x02000000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _O_CLOEXEC, _MOVE_MOUNT_F_EMPTY_PATH = 1, 0o2000000, 4
_AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = -100, 0x8000, 1
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move the process into new namespaces."""
    _check(_libc.unshare(flags), "unshare")


def join(pid: int, flags: int) -> None:
    """Move the process into the namespaces of another (the PID namespace: its future children)."""
    fd = os.pidfd_open(pid)
    try:
        _check(_libc.setns(fd, flags), "setns")
    finally:
        os.close(fd)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    """Mount something somewhere."""
    _check(
        _libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            data.encode(),
        ),
        f"mount {source} on {target}",
    )


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show a tree or file at another place, with everything mounted below it."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        make_read_only(target)


def make_read_only(target: str) -> None:
    """Make a mount and all below it read-only, other flags kept."""
    attr = _MountAttr(_ATTR_RDONLY, 0, 0, 0)
    _check(
        _libc.syscall(
            _SYS_MOUNT_SETATTR,
            _AT_FDCWD,
            target.encode(),
            _AT_RECURSIVE,
            ctypes.byref(attr),
            ctypes.c_size_t(ctypes.sizeof(attr)),
        ),
        f"read-only mount of {target}",
    )


def make_writable(target: str) -> None:
    """Take back make_read_only on a mount of our own."""
    attr = _MountAttr(0, _ATTR_RDONLY, 0, 0)
    _check(
        _libc.syscall(
            _SYS_MOUNT_SETATTR,
            _AT_FDCWD,
            target.encode(),
            0,
            ctypes.byref(attr),
            ctypes.c_size_t(ctypes.sizeof(attr)),
        ),
        f"writable mount of {target}",
    )


def unmount(target: str) -> None:
    """Take a mount away, at once, even if it is in use."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"unmount {target}")


def open_tree(source: str) -> int:
    """A descriptor of a new bind mount that is nowhere yet."""
    fd: int = _libc.syscall(
        _SYS_OPEN_TREE, _AT_FDCWD, source.encode(), _OPEN_TREE_CLONE | _O_CLOEXEC | _AT_RECURSIVE
    )
    _check(fd, f"open_tree {source}")
    return fd


def move_mount(tree: int, target: str) -> None:
    """Put the mount of open_tree() somewhere, maybe in another mount namespace."""
    _check(
        _libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH),
        f"mount on {target}",
    )


def enter_root(root: str) -> None:
    """Make a mount point the root of this mount namespace and let go of the old one."""
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), f"pivot_root to {root}")
    unmount(".")
    os.chdir("/")


def set_hostname(name: str) -> None:
    """Name this host."""
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def die_with_parent() -> None:
    """Ask for SIGKILL when the parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl")


def set_process_name(name: str) -> None:
    """What ps shows as the name of this process (15 bytes)."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode()[:15] + b"\0", 0, 0, 0), "prctl")
