"""JPEG files that lack only their end marker, as some cameras and cut transfers leave them.

A decoder makes up what is missing, grey or noise. So such a file counts as whole only where all
its scans are there and nothing that could follow would change a pixel.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

_END = b"\xff\xd9"
# Bits that could follow: if the last scan is not over, it takes them for pixels.
_SEQUELS = (b"", b"\0" * 64, b"\xff\0" * 64, b"\xaa" * 64, b"\x55" * 64)
_COEFFICIENTS = range(64)
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_SCAN = 0xDA
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def with_end(data: bytes) -> bytes | None:
    """A JPEG file with the end marker that it lacks; None where more than that is missing."""
    cut = data.removesuffix(b"\xff")
    if not _has_all_scans(cut):
        return None
    first: np.ndarray | None = None
    for sequel in _SEQUELS:
        with Image.open(io.BytesIO(cut + sequel + _END), formats=("JPEG",)) as image:
            pixels = np.asarray(image)
        if first is None:
            first = pixels
        elif not np.array_equal(first, pixels):
            return None
    return cut + _END


def _has_all_scans(data: bytes) -> bool:
    """Whether every coefficient of every component comes in some scan with its last bit."""
    wanted: set[tuple[int, int]] = set()
    found: set[tuple[int, int]] = set()
    for kind, body in _segments(data):
        if kind in _FRAMES and len(body) > 5:
            components = body[6 : 6 + 3 * body[5] : 3]
            wanted = {(one, index) for one in components for index in _COEFFICIENTS}
        elif kind == _SCAN and body:
            count = body[0]
            components, band = body[1 : 1 + 2 * count : 2], body[1 + 2 * count :]
            if len(band) >= 3 and band[2] & 0x0F == 0:
                found |= {
                    (one, index)
                    for one in components
                    for index in _COEFFICIENTS[band[0] : band[1] + 1]
                }
    return bool(wanted) and wanted <= found


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of every segment; what lies between two of them is passed over."""
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        kind = data[place + 1]
        if kind == 0xFF:
            place += 1
        elif kind == 0 or kind in _NO_LENGTH:
            place += 2
        else:
            length = int.from_bytes(data[place + 2 : place + 4], "big")
            yield kind, data[place + 4 : place + 2 + length]
            place += 2 + max(length, 2)
