"""What must differ between a recording and its replay, put out of the way on both sides.

Times, addresses, keys, process numbers.

Random names (MACs, UUIDs, UPIDs) are numbered in the order of their first appearance, so that a replay
agrees only if it repeats the same one wherever the recording does.
"""

from __future__ import annotations

import json
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
_FIGURES = "cpu|disk|diskread|diskwrite|mem|memhost|netin|netout|pressure\\w+"
_RSYNC = (
    "Number of|Total (?:file|transferred|bytes (?:sent|received))|Literal|Matched|File list|sent|total size"
)
_REPLACED: tuple[tuple[str, str, str], ...] = (
    (r"SHA256:[A-Za-z0-9+/]{43}", "SHA256:KEY", "SSH keys are random"),
    (r"snaptime: \d+|ctime=\d+", "TIME", "time of day"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE TIME", "time of day"),
    (r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d", "DATE-TIME", "time of day"),
    (r'"(ctime|snaptime|starttime|endtime)": ?\d+', r'"\1":N', "time of day"),
    (r"\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d\b", "DATE", "time of day"),
    (r"(UPID-\d+\S+ )[0-9A-F]{8}", r"\1TIME", "time of day"),
    (r'"(pstart|pid|uptime)": ?\d+', r'"\1":N', "process numbers and uptimes"),
    (r"[\d.]+(?:MiB|kB|GiB)/s", "RATE", "speed of the machine"),
    (r"\(\d\d:\d\d:\d\d\)", "(DURATION)", "speed of the machine"),
    (rf"(?m)^((?:{_FIGURES}|pid|uptime): ).*$", r"\1N", "load of the machine"),
    (rf'"({_FIGURES})": ?"?[\d.e-]+"?', r'"\1":N', "load of the machine"),
    (
        r'"(avail|available|free|used|used_fraction)": ?[\d.e-]+',
        r'"\1":N',
        "free space and memory of the machine",
    ),
    (r"(?m)^(\S+ +\S+ +active +\d+) .*$", r"\1 N", "free space and memory of the machine"),
    (
        r'"(loadavg|ssl_fingerprint|mhz|flags)": ?("[^"]*"|\[[^]]*\])',
        r'"\1":X',
        "processor and certificate of the machine",
    ),
    (r'"version": \d+', '"version": N', "how often the cluster's files changed before"),
    (r"@if\d+", "@ifN", "interface numbers"),
    (r"(SSH_(?:CONNECTION|CLIENT)=).*", r"\1ADDRESS", "ports of the connection"),
    (rf"(?m)^((?:{_RSYNC})[^\n]*)$", "RSYNC", "files of the template"),
    (
        r"(?m)^INFO: (Total bytes written|archive file size|(?:first|final) sync finished - transferred).*$",
        r"INFO: \1 N",
        "files of the template, and those that the guest has written since",
    ),
    (
        r"(?<='\n)(?<=\.tar\.zst'\n)Total bytes read: [^\n]*(?=\nmerging)",
        "Total bytes read: N",
        "files of the template, and those that the guest has written since",
    ),
    (r"(tar(?:\.zst)?) +backup +\d+ ", r"\1 backup N ", "size of that archive"),
    (
        r"\d+/(\d+) files \([\d.]+% non-contiguous\), \d+/(\d+) blocks",
        r"N/\1 files, N/\2 blocks",
        "files of the template",
    ),
    (r"/dev/loop\d+", "/dev/loopN", "loop device numbers"),
    (r"/proc/\d+/root", "/proc/PID/root", "process numbers and uptimes"),
)


def _sorted_json(text: str) -> str:
    """JSON from Perl's hashes: lists of objects sorted, and the words of `content`, which is a set."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return text
    for entry in value:
        if isinstance(entry.get("content"), str):
            entry["content"] = ",".join(sorted(entry["content"].split(",")))
    return json.dumps(sorted(value, key=_identity), sort_keys=True)


def _identity(entry: dict[str, object]) -> tuple[str, str]:
    """What an entry is sorted by: first its words, since numbers like times depend on the machine's speed."""
    words = {name: word for name, word in entry.items() if isinstance(word, str) and name != "upid"}
    return json.dumps(words, sort_keys=True), json.dumps(entry, sort_keys=True)


def _sorted_host_keys(text: str) -> str:
    """SSH host keys are made in random order: sort each run of them."""
    run = re.compile(rf"(?:{_HOST_KEY.pattern})+")
    return run.sub(lambda match: "".join(sorted(m[0] for m in _HOST_KEY.finditer(match[0]))), text)


def _sorted_options(text: str) -> str:
    """vzdump names its options in the order of a Perl hash: sort them."""
    return re.sub(
        r"(?m)^(INFO: starting new backup job: vzdump [\d ]*)(--.*)$",
        lambda match: match[1] + " ".join(sorted(re.findall(r"--\S+ \S+", match[2]))),
        text,
    )


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
        text = _sorted_json(text)
        for pattern, kind in (
            (_UPID, "UPID"),
            (_MAC, "MAC"),
            (_UUID, "UUID"),
            (_LINK_LOCAL, "LINKLOCAL"),
            (_DIGEST, "DIGEST"),
        ):
            text = pattern.sub(self._numbered(kind), text)
        for pattern_text, replacement, _ in _REPLACED:
            text = re.sub(pattern_text, replacement, text)
        return _sorted_options(_sorted_host_keys(text))


def reasons() -> list[str]:
    """What is put out of the way, for the documentation: one line each."""
    numbered = (
        "MAC addresses, UUIDs, UPIDs, link-local addresses, digests: numbered as they appear, on both sides"
    )
    by_reason: dict[str, list[str]] = {}
    for pattern, _, reason in _REPLACED:
        by_reason.setdefault(reason, []).append(pattern)
    ordered = (
        "lists in JSON, the words of a storage's content and the options that vzdump prints have no order "
        "(Perl's hashes): sorted"
    )
    return [numbered, ordered] + [
        f"{reason}: " + ", ".join(f"`{p}`" for p in patterns) for reason, patterns in by_reason.items()
    ]
