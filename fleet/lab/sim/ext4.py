"""What mke2fs and resize2fs 1.47 make of a size.

Groups, inodes, superblock copies, overhead, and what they print.

Rules of e2fsprogs (misc/mke2fs.c, lib/ext2fs/initialize.c) for 4 KiB blocks and the usual features
(sparse_super, 64bit, resize_inode).
"""

from __future__ import annotations

BLOCK = 4096
_GROUP = 32768  # blocks
_VERSION = "1.47.2 (1-Jan-2025)"


def _up(number: int, by: int) -> int:
    """A quotient, rounded up."""
    return -(-number // by)


def groups(blocks: int) -> int:
    """The number of block groups."""
    return _up(blocks, _GROUP)


def inodes(blocks: int) -> int:
    """The number of inodes: one for a number of bytes that the size decides.

    In whole blocks of the inode tables.
    """
    mib = blocks * BLOCK >> 20
    ratio = (
        8192
        if mib < 3
        else 4096
        if mib < 512
        else 16384
        if mib < 4 << 20
        else 32768
        if mib < 16 << 20
        else 65536
    )
    wanted = blocks * BLOCK // ratio
    per_group = _up(_up(wanted, groups(blocks)), 16) * 16
    return per_group * groups(blocks)


def super_groups(blocks: int) -> list[int]:
    """The block groups with a copy of the superblock: 1 and the powers of 3, 5 and 7."""
    count = groups(blocks)
    found = {1} if count > 1 else set()
    for base in (3, 5, 7):
        power = base
        while power < count:
            found.add(power)
            power *= base
    return sorted(found)


def _backup_lines(blocks: int) -> list[str]:
    """The lines of superblock copies, broken where mke2fs breaks them (72 columns)."""
    lines: list[str] = []
    left = 0
    numbers = [group * _GROUP for group in super_groups(blocks)]
    for index, number in enumerate(numbers):
        need = len(str(number)) + 2
        if need > left:
            lines.append("\t")
            left = 72
        left -= need
        lines[-1] += str(number) + (", " if index + 1 < len(numbers) else "")
    return lines


def mkfs_output(size: int, uuid: str) -> str:
    """What pve-container lets through of mkfs.ext4's output (LXC.pm mkfs).

    Lines of one number alone are dropped.
    """
    blocks = size // BLOCK
    lines = [
        f"Creating filesystem with {blocks} 4k blocks and {inodes(blocks)} inodes",
        f"Filesystem UUID: {uuid}",
    ]
    copies = _backup_lines(blocks)
    if copies:
        lines.append("Superblock backups stored on blocks: ")
        lines += [line for line in copies if "," in line.rstrip(", ")]
    return "\n".join(lines) + "\n"


def _journal(blocks: int) -> int:
    """Blocks of the journal."""
    for limit, size in (
        (2048, 0),
        (32768, 1024),
        (256 << 10, 4096),
        (512 << 10, 8192),
        (4096 << 10, 16384),
        (8192 << 10, 32768),
        (16384 << 10, 65536),
        (32768 << 10, 131072),
    ):
        if blocks < limit:
            return size
    return 262144


def total(size: int, made: int | None = None) -> int:
    """Bytes that df shows as the size of a file system: less tables, journal and superblocks.

    `made` is its size when it was made, if it has grown since: the journal and the room for group descriptors
    stay as they were.
    """
    blocks = size // BLOCK
    first = (made or size) // BLOCK
    descriptors = _up(groups(first), 64)
    reserved = min(_up(groups(min(first * 1024, 0xFFFFFFFF)), 64) - descriptors, 1024)
    copies = len(super_groups(blocks)) + 1
    overhead = (
        inodes(blocks) // 16 + _journal(first) + copies * (1 + descriptors + reserved) + 2 * groups(blocks)
    )
    return max(blocks - overhead, 0) * BLOCK


def available(size: int, used: int, made: int | None = None) -> int:
    """Bytes that df shows as available: less 5 % for root and 2 % (at most 16 MiB) that the kernel keeps."""
    blocks = size // BLOCK
    kept = blocks // 20 + min(blocks // 50, 4096)
    return max(total(size, made) - used - kept * BLOCK, 0)


def resize_offline(path: str, old: int, new: int, used: int, files: int) -> str:
    """The output of e2fsck and resize2fs on a file system that is not mounted."""
    before, after = old // BLOCK, new // BLOCK
    taken = before - (total(old) - used) // BLOCK
    head = (
        f"e2fsck {_VERSION}\nPass 1: Checking inodes, blocks, and sizes\nPass 2: Checking directory "
        f"structure\n"
        "Pass 3: Checking directory connectivity\nPass 4: Checking reference counts\n"
        "Pass 5: Checking group summary information\n"
        f"{path}: {files}/{inodes(before)} files (0.1% non-contiguous), {taken}/{before} blocks\n"
        f"resize2fs {_VERSION}\n"
    )
    if after == before:
        return head + f"The filesystem is already {before} (4k) blocks long.  Nothing to do!\n\n"
    return (
        head + f"Resizing the filesystem on {path} to {after} (4k) blocks.\n"
        f"The filesystem on {path} is now {after} (4k) blocks long.\n\n"
    )


def resize_online(device: str, old: int, new: int, denied: bool) -> str:
    """The output of resize2fs on a mounted file system; `denied` where the kernel refuses it."""
    before, after = old // BLOCK, new // BLOCK
    head = f"resize2fs {_VERSION}\n"
    if after == before:
        return head + f"The filesystem is already {before} (4k) blocks long.  Nothing to do!\n\n"
    head += (
        f"Filesystem at {device} is mounted on /tmp; on-line resizing required\n"
        f"old_desc_blocks = {_up(groups(before), 64)}, new_desc_blocks = {_up(groups(after), 64)}\n"
    )
    if denied:
        return head + "resize2fs: Permission denied to resize filesystem\n"
    return head + f"The filesystem on {device} is now {after} (4k) blocks long.\n\n"
