"""What `rsync --stats` prints after a full copy (pct clone, move-volume)."""

from __future__ import annotations

import os
import stat

from . import zfs_control


def statistics(directory: str, used: int) -> str:
    """The statistics of copying a tree into an empty one.

    `used` is what the guest's files are said to take, in bytes.
    """
    regular, directories, links, real = 0, 1, 0, 0
    for top, dirs, names in os.walk(directory):
        for name in (*dirs, *names):
            if name == zfs_control.NAME:
                continue
            info = os.lstat(os.path.join(top, name))
            regular += stat.S_ISREG(info.st_mode)
            directories += stat.S_ISDIR(info.st_mode)
            links += stat.S_ISLNK(info.st_mode)
            real += info.st_size if stat.S_ISREG(info.st_mode) else 0
    total = max(real, used)
    count = regular + directories + links
    sent, received = total + 66 * count, 15 * count + 19
    kinds = f"reg: {regular:,}, dir: {directories:,}, link: {links:,}"
    created = f"reg: {regular:,}, dir: {max(directories - 1, 0):,}, link: {links:,}"
    return (
        f"\nNumber of files: {count:,} ({kinds})\n"
        f"Number of created files: {max(count - 1, 0):,} ({created})\n"
        "Number of deleted files: 0\n"
        f"Number of regular files transferred: {regular:,}\n"
        f"Total file size: {total:,} bytes\n"
        f"Total transferred file size: {total:,} bytes\n"
        f"Literal data: {total:,} bytes\n"
        "Matched data: 0 bytes\n"
        f"File list size: {23 * count:,}\n"
        "File list generation time: 0.001 seconds\n"
        "File list transfer time: 0.000 seconds\n"
        f"Total bytes sent: {sent:,}\n"
        f"Total bytes received: {received:,}\n"
        f"\nsent {sent:,} bytes  received {received:,} bytes  {(sent + received) / 2.5:,.2f} bytes/sec\n"
        f"total size is {total:,}  speedup is {total / (sent + received):.2f}\n"
    )
