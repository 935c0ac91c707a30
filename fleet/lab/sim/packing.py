"""Archives as files: a tar stream packed with zstd, xz, gzip or not at all, as long as it is said to be.

The lab's trees are small where a guest's are large. What is missing to the length that Proxmox shows is a
hole at the end of the file that the format allows there, so that the real programs read these archives, too.
"""

from __future__ import annotations

import io
import os
import struct

_ZSTD_MAGIC, _SKIPPABLE, _BLOCK = 0xFD2FB528, 0x184D2A50, 128 << 10
_OURS = 0xC0  # frame header descriptor of _raw_frame()
_MOST = 256 << 20  # bytes of an archive that are read at once: what follows is a hole


class Damaged(ValueError):
    """An archive that cannot be read to its end: why, and what comes before."""

    def __init__(self, reason: str, before: bytes = b"") -> None:
        super().__init__(reason)
        self.before = before


def pack(raw: bytes, name: str) -> bytes:
    """A tar stream packed as the ending of an archive's name says.

    With the machine's zstd, which adds a checksum, where there is one; else as a frame of raw blocks.
    """
    if name.endswith(".zst"):
        import shutil
        import subprocess

        program = shutil.which("zstd")
        if program is None:
            return raw_frame(raw)
        return subprocess.run([program, "-q", "-1", "-c"], input=raw, capture_output=True, check=True).stdout
    if name.endswith(".xz"):
        import lzma

        return lzma.compress(raw, preset=0)
    if name.endswith(".gz"):
        import gzip

        return gzip.compress(raw, 1)
    return raw


def pad(file: io.BufferedWriter, name: str, missing: int) -> None:
    """Lengthen an archive with a hole that its format allows at the end."""
    if missing <= 8:
        return
    if name.endswith(".zst"):
        missing = min(missing, 0xFFFFFFFF)  # one skippable frame
        file.write(struct.pack("<II", _SKIPPABLE, missing - 8))
        missing -= 8
    elif name.endswith(".xz"):
        missing -= (file.tell() + missing) % 4  # stream padding comes in words
    file.truncate(file.tell() + missing)


def expand(path: str) -> bytes:
    """The tar stream in an archive, whose first bytes say how it is packed. OSError or Damaged."""
    with open(path, "rb") as file:
        head = file.read(6)
        file.seek(0)
        if head[:4] == struct.pack("<I", _ZSTD_MAGIC):
            return _unzstd(file)
        packed = file.read(_MOST)
    if head == b"\xfd7zXZ\0":
        import lzma

        try:
            return lzma.LZMADecompressor().decompress(packed)
        except lzma.LZMAError as error:
            raise Damaged(str(error)) from None
    if head[:2] == b"\x1f\x8b":
        return _gunzip(packed)
    return packed


def _gunzip(packed: bytes) -> bytes:
    import zlib

    stream = zlib.decompressobj(31)
    out = []
    try:
        for start in range(
            0, len(packed), _BLOCK
        ):  # piece by piece, so that what comes before a fault is there
            out.append(stream.decompress(packed[start : start + _BLOCK]))
            if stream.eof:
                return b"".join(out)
    except zlib.error:
        raise Damaged("gzip: stdin: invalid compressed data--format violated", b"".join(out)) from None
    raise Damaged("gzip: stdin: unexpected end of file", b"".join(out))


def raw_frame(raw: bytes) -> bytes:
    """A zstd frame (RFC 8878) of raw blocks: no window, no checksum, content size of 8 bytes."""
    blocks = [raw[i : i + _BLOCK] for i in range(0, len(raw), _BLOCK)]
    out = [struct.pack("<IBBQ", _ZSTD_MAGIC, _OURS, 0x38, len(raw))]
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        out += [(len(block) << 3 | last).to_bytes(3, "little"), block]
    return b"".join(out)


def _unzstd(file: io.BufferedReader) -> bytes:
    """What a zstd file holds; Damaged also where it needs a zstd that is not there."""
    descriptor = file.read(5)[4:5]
    if descriptor != bytes((_OURS,)):
        import shutil
        import subprocess

        program = shutil.which("zstd")
        if program is None:
            raise Damaged("not packed by the lab, and this machine has no zstd")
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # not file.seek(), which stays in its buffer
        done = subprocess.run(
            [program, "-q", "-d", "-c"], stdin=file.fileno(), capture_output=True, check=False
        )
        if done.returncode:
            raise Damaged(done.stderr.decode(errors="replace").strip(), done.stdout)
        return done.stdout
    file.seek(14)
    out: list[bytes] = []
    last = 0
    while not last:
        header = file.read(3)
        if len(header) < 3:
            raise Damaged("zstd: /*stdin*\\: unexpected end of file", b"".join(out))
        number = int.from_bytes(header, "little")
        last = number & 1
        block = file.read(number >> 3)
        if len(block) < number >> 3:
            raise Damaged("zstd: /*stdin*\\: unexpected end of file", b"".join([*out, block]))
        out.append(block)
    return b"".join(out)


def extract(raw: bytes, target: str) -> None:
    """Unpack a tar stream into a directory. ValueError if it is none or ends too early."""
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            # Python before 3.11.4 (Debian 12's is 3.11.2) has no filters, and needs none.
            tar.extraction_filter = getattr(tarfile, "tar_filter", None)
            tar.extractall(target)  # noqa: S202 - the archive is ours
    except tarfile.TarError as error:
        raise ValueError(str(error)) from None


def write(path: str, packed: bytes, size: int, name: str = "") -> None:
    """Write a packed archive, `size` bytes long (sparse; never shorter than it must be), at once."""
    temporary = f"{path}.tmp.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(packed)
        pad(file, name or path, size - len(packed))
    os.rename(temporary, path)
