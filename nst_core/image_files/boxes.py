"""Boxes of the ISO base media format: what AVIF and HEIC files say before their pixels, JP2 too.

ISO/IEC 14496-12 and 23008-12 (HEIF), ISO/IEC 15444-1, Annex I (JP2). Libraries read these files
from whole bytes only; a size is found in the first thousand.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

# Boxes in one another, and properties of an item: more is no picture.
_MOST = 10_000
_SEQUENCES = (b"avis", b"msf1", b"hevc", b"hevx")
_JP2 = b"\0\0\0\x0cjP  "
_JP2_PROFILE = 2


@dataclasses.dataclass(frozen=True)
class Still:
    """The first picture of an AVIF or HEIC file.

    `size`: width and height, px, upright; None where it is cropped (`clap`) or tells no size.
    `colors`: primaries and transfer of its `nclx` box (ITU-T H.273), None without one.
    """

    size: tuple[int, int] | None = None
    colors: tuple[int, int] | None = None


def still(data: bytes) -> Still | None:
    """What a file, or its first bytes, says of its first picture; None where it is not told."""
    if data[4:8] != b"ftyp" or data[8:12] in _SEQUENCES:
        return None
    try:
        meta = _first(data, 0, len(data), b"meta")
        inside = meta[0] + 4, meta[1]
        item = _primary(data, *_first(data, *inside, b"pitm"))
        iprp = _first(data, *inside, b"iprp")
        held = list(_boxes(data, *_first(data, *iprp, b"ipco")))
        numbers = _associated(data, *_first(data, *iprp, b"ipma"), item)
        return _described(data, [held[number - 1] for number in numbers if number])
    except (IndexError, KeyError, struct.error):
        return None


def jp2_profile(data: bytes) -> bytes | None:
    """The ICC profile of a JP2 file, which Pillow leaves out."""
    if not data.startswith(_JP2):
        return None
    try:
        for kind, start, end in _boxes(data, *_first(data, 0, len(data), b"jp2h")):
            if kind == b"colr" and data[start] == _JP2_PROFILE:
                return data[start + 3 : end]
    except (IndexError, KeyError, struct.error):
        pass
    return None


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box, and where its content begins and ends.

    Raises:
        IndexError: one is cut off.
    """
    for _ in range(_MOST):
        if start + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, content)
            content += 8
        stop = start + length if length else end
        if stop < content:
            raise IndexError
        yield kind, content, stop
        start = stop


def _first(data: bytes, start: int, end: int, wanted: bytes) -> tuple[int, int]:
    """Where the content of the first box of a kind begins and ends, which is there whole."""
    for kind, content, stop in _boxes(data, start, end):
        if kind == wanted:
            if stop > end:
                raise IndexError
            return content, stop
    raise KeyError(wanted)


def _primary(data: bytes, start: int, _: int) -> int:
    form = ">H" if data[start] == 0 else ">I"
    return int(struct.unpack_from(form, data, start + 4)[0])


def _associated(data: bytes, start: int, end: int, wanted: int) -> list[int]:
    """The numbers of the properties of an item, from 1, in their order."""
    is_long, is_wide = data[start] > 0, data[start + 3] & 1
    (count,) = struct.unpack_from(">I", data, start + 4)
    place = start + 8
    for _ in range(min(count, _MOST)):
        (item,) = struct.unpack_from(">I" if is_long else ">H", data, place)
        place += 4 if is_long else 2
        several = data[place]
        size = 2 if is_wide else 1
        marks = [
            int.from_bytes(data[place + 1 + size * index :][:size], "big")
            for index in range(several)
        ]
        place += 1 + size * several
        if place > end:
            raise IndexError
        if item == wanted:
            return [mark & (0x7FFF if is_wide else 0x7F) for mark in marks]
    raise KeyError(wanted)


def _described(data: bytes, properties: list[tuple[bytes, int, int]]) -> Still:
    size: tuple[int, int] | None = None
    colors: tuple[int, int] | None = None
    is_turned = is_cropped = False
    for kind, start, _ in properties:
        if kind == b"ispe":
            width, height = struct.unpack_from(">II", data, start + 4)
            size = int(width), int(height)
        elif kind == b"irot":
            is_turned ^= bool(data[start] & 1)
        elif kind == b"clap":
            is_cropped = True
        elif kind == b"colr" and data[start : start + 4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", data, start + 4)
            colors = int(primaries), int(transfer)
    if size and (is_cropped or not size[0] * size[1]):
        size = None
    return Still((size[1], size[0]) if size and is_turned else size, colors)
