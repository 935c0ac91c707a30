"""Files of /proc that tell what the machine description says instead of what the kernel outside says."""

from __future__ import annotations


def meminfo(total: int, *, used: int, cached: int, swap: int = 0, shared: int = 0) -> str:
    """The lines of /proc/meminfo that tools read; all in KiB, `used` not counting the cache."""
    free = total - used - cached
    values = {
        "MemTotal": total,
        "MemFree": free,
        "MemAvailable": free + cached + min(1024, used),
        "Buffers": 0,
        "Cached": cached,
        "SwapCached": 0,
        "SwapTotal": swap,
        "SwapFree": swap,
        "Shmem": shared,
        "SReclaimable": 0,
    }
    return "".join(f"{key + ':':<16}{value:>8} kB\n" for key, value in values.items())
