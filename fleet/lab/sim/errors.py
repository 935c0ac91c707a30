"""How a simulated Perl command fails: a message and an exit code.

Perl's `die` exits with errno if that is not zero, else with 255, and errno is whatever the last system call
left behind. The recordings show which: a failed look-up leaves 2 (ENOENT), opening a file that is no
terminal leaves 25 (ENOTTY), reading a file to its end or a successful answer of the cluster file system
leaves 0. `left` notes what the last step of that kind left. In a worker process it does not matter: a task
that fails is always 255.
"""

from __future__ import annotations

ENOENT = 2
ENOTTY = 25

_leftover = [ENOENT]  # loading Perl modules ends with a look-up that fails


def left(errno: int) -> None:
    """Note the errno that the step just simulated leaves behind."""
    _leftover[0] = errno


def leftover() -> int:
    """The exit code of a `die` at this moment."""
    return _leftover[0] or 255


class Die(Exception):
    """A `die`: its text without the final newline, and the exit code it has outside a worker."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = leftover() if code is None else code


class ParamError(Die):
    """`400 Parameter verification failed.`: what is wrong with which parameter.

    Printed with the usage line.
    """

    def __init__(self, errors: dict[str, str], code: int | None = None) -> None:
        super().__init__(
            "400 Parameter verification failed.\n"
            + "".join(f"{key}: {text}\n" for key, text in errors.items()),
            code,
        )
        self.errors = errors


class UsageError(Die):
    """`400 not enough arguments` and its kin: printed with the usage line."""

    def __init__(self, message: str) -> None:
        super().__init__(f"400 {message}\n")


class ConfigMissing(Die):
    """There is no configuration file for this VMID on this node."""

    def __init__(self, node: str, vmid: int, kind: str = "lxc") -> None:
        left(ENOENT)
        super().__init__(f"Configuration file 'nodes/{node}/{kind}/{vmid}.conf' does not exist")
