"""What must differ between a recording and its replay, put out of the way on both sides: times, addresses, keys, process numbers.

Random names (MACs, UUIDs, UPIDs) are numbered in the order of their first appearance, so that a replay agrees only if it repeats the
same one wherever the recording does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

_MAC = re.compile(r"\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_UPID = re.compile(r"UPID:\w+:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:")
_LINK_LOCAL = re.compile(r"fe80::[0-9a-f:]+")
_DIGEST = re.compile(r"\b[0-9a-f]{40}\b")
_HOST_KEY = re.compile(r"Creating SSH host key '(\w+)' - this may take some time \.\.\.\ndone: \S+ (\S+)\n")

# (pattern, what stands for it, why it must differ)
_REPLACED: tuple[tuple[str, str, str], ...] = (
    (r"SHA256:[A-Za-z0-9+/]{43}", "SHA256:KEY", "SSH keys are random"),
    (r"snaptime: \d+", "snaptime: TIME", "time of day"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE TIME", "time of day"),
    (r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d", "DATE-TIME", "time of day"),
    (r'"(ctime|snaptime|starttime|endtime|pstart|pid|uptime)":\d+', r'"\1":N', "time of day, process numbers"),
    (r"\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d\b", "DATE", "time of day"),
    (r"[\d.]+(?:MiB|kB|GiB)/s", "RATE", "speed of the machine"),
    (r"\(\d\d:\d\d:\d\d\)", "(DURATION)", "speed of the machine"),
    (r"(?m)^((?:cpu|disk|diskread|diskwrite|mem|netin|netout|pid|uptime|pressure\w+): ).*$", r"\1N", "load of the machine"),
    (r'"((?:cpu|disk|diskread|diskwrite|mem|memhost|netin|netout|pressure\w+))":"?[\d.e-]+"?', r'"\1":N', "load of the machine"),
    (r"@if\d+", "@ifN", "interface numbers"),
    (r"(SSH_(?:CONNECTION|CLIENT)=).*", r"\1ADDRESS", "ports of the connection"),
    (r"(?m)^((?:Number of|Total (?:file|transferred|bytes (?:sent|received))|Literal|Matched|File list|sent|total size)[^\n]*)$", "RSYNC", "files of the template"),
    (r"(?m)^(\S+: )\d+/(\d+) files \([\d.]+% non-contiguous\), \d+/(\d+) blocks$", r"\1N/\2 files, N/\3 blocks", "files of the template"),
    (r"/dev/loop\d+", "/dev/loopN", "loop device numbers"),
    (r"/proc/\d+/root", "/proc/PID/root", "process numbers"),
)  # fmt: skip


def _sorted_host_keys(text: str) -> str:
    """SSH host keys are made in random order: sort each run of them."""
    run = re.compile(rf"(?:{_HOST_KEY.pattern})+")
    return run.sub(lambda match: "".join(sorted(m[0] for m in _HOST_KEY.finditer(match[0]))), text)


@dataclass
class Normaliser:
    """One side of a comparison: texts in, texts with the random parts named alike out."""

    _names: dict[str, dict[str, str]] = field(default_factory=dict)

    def _numbered(self, kind: str) -> Callable[[re.Match[str]], str]:
        known = self._names.setdefault(kind, {})

        def name(match: re.Match[str]) -> str:
            return known.setdefault(match[0].lower(), f"{kind}-{len(known)}")

        return name

    def text(self, text: str) -> str:
        """The text as it is compared."""
        for pattern, kind in ((_UPID, "UPID"), (_MAC, "MAC"), (_UUID, "UUID"), (_LINK_LOCAL, "LINKLOCAL"), (_DIGEST, "DIGEST")):
            text = pattern.sub(self._numbered(kind), text)
        for pattern_text, replacement, _ in _REPLACED:
            text = re.sub(pattern_text, replacement, text)
        return _sorted_host_keys(text)


def reasons() -> list[str]:
    """What is put out of the way, for the documentation: one line each."""
    fixed = ["MAC addresses, UUIDs, UPIDs, link-local addresses and digests: numbered in order of appearance on both sides"]
    by_reason: dict[str, list[str]] = {}
    for pattern, _, reason in _REPLACED:
        by_reason.setdefault(reason, []).append(pattern)
    return fixed + [f"{reason}: " + ", ".join(f"`{p}`" for p in patterns) for reason, patterns in by_reason.items()]
