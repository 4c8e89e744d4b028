"""What Pillow does not read or check in a file's bytes: sizes before it allocates, checksums."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG; Pillow reads on behind the header, to wherever a file is cut."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def psd_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a Photoshop document; Pillow reads on behind the header."""
    if not data.startswith(b"8BPS\0\1") or len(data) < 26:
        return None
    return int.from_bytes(data[18:22], "big"), int.from_bytes(data[14:18], "big")


def psd_has_transparency(data: bytes) -> bool:
    """Whether the channel behind the colours of a Photoshop document is its transparency.

    Else it is a saved selection. By Adobe's specification of the format the count of layers is
    negative where the first of these channels is transparency; without layers there is none.
    """
    start = 26
    for _ in ("colours", "resources"):
        start += 4 + int.from_bytes(data[start : start + 4], "big")
    section, layers = (int.from_bytes(data[at : at + 4], "big") for at in (start, start + 4))
    count = int.from_bytes(data[start + 8 : start + 10], "big", signed=True)
    return bool(section and layers) and count < 0


def png_is_damaged(data: bytes) -> bool:
    """Whether a checksum of a PNG's pixels is wrong: Pillow checks those of other chunks only."""
    return data.startswith(_PNG) and any(
        zlib.crc32(data[start - 4 : start + length])
        != int.from_bytes(data[start + length : start + length + 4], "big")
        for start, length in _png_pixels(data)
    )


def _png_pixels(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and length of each piece of the first picture."""
    start = len(_PNG)
    while (kind := data[start + 4 : start + 8]) not in (b"IEND", b""):
        length = int.from_bytes(data[start : start + 4], "big")
        if kind == b"IDAT":
            yield start + 8, length
        start += 12 + length


def webp_header(data: bytes) -> tuple[int, int, int] | None:
    """Width, height and feature flags of a WebP file; Pillow reads them from whole files only."""
    if len(data) < 30 or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    width = height = flags = 0
    if data[12:16] == b"VP8X":
        flags = data[20]
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
    elif data[12:16] == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width = int.from_bytes(data[26:28], "little") & 0x3FFF
        height = int.from_bytes(data[28:30], "little") & 0x3FFF
    return (width, height, flags) if width and height else None
