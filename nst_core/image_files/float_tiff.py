"""TIFF files of several floats a pixel, which Pillow does not open: renders, stacks, HDR.

Pillow (libtiff) does read a grey picture of floats. So the same strips or tiles are given a second
directory that calls them one: three times as wide where a pixel's values lie side by side, or one
plane after the other. Only the predictors, which go by pixels, are undone here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

# BigTIFF has places of 64 bits; Pillow knows it in this order of bytes.
_BIG_START = b"II+\0"
_STARTS = (b"II*\0", b"MM\0*", _BIG_START)
_FLOAT, _BITS = 3, 32
_RGB, _GREY = 2, 1
_SEPARATE = 2
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3
_SHORT, _LONG = 3, 4
_ENTRIES_AT_MOST = 1000

_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 274, 277, 278, 279
_PLANES, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT = 284, 317, 322, 323
_TILE_OFFSETS, _TILE_BYTES, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _PROFILE = 324, 325, 338, 339, 34675
# What a fourth value is: anything, or alpha that the colours are multiplied by.
_UNSPECIFIED, _ASSOCIATED = (0,), (1,)


@dataclasses.dataclass(frozen=True)
class FloatTiff:
    """The first picture of such a file.

    `size`: width and height as stored, px; `samples`: values of a pixel, 3 or 4.
    """

    tags: dict[int, Any]
    size: tuple[int, int]
    samples: int

    @property
    def orientation(self) -> int:
        """As in EXIF: 1 to 8."""
        value = self.tags.get(_ORIENTATION, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    @property
    def has_alpha(self) -> bool:
        """Whether there is a fourth value that is transparency, as it is where nothing is said."""
        return self.samples > 3 and self.tags.get(_EXTRA_SAMPLES) != _UNSPECIFIED

    @property
    def is_multiplied(self) -> bool:
        """Whether the colours are multiplied by alpha."""
        return self.tags.get(_EXTRA_SAMPLES) == _ASSOCIATED

    @property
    def profile(self) -> bytes | None:
        """The embedded colour profile."""
        value = self.tags.get(_PROFILE)
        return value if isinstance(value, bytes) else None

    def read(self, data: bytes) -> np.ndarray:
        """float32 `[H, W, samples]`, as stored.

        Raises:
            OSError, ValueError: the file is damaged, or stored in a way that is not read.
        """
        predictor = self.tags.get(_PREDICTOR, _NO_PREDICTOR)
        if predictor not in (_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES):
            raise ValueError(f"predictor {predictor}")
        if predictor != _NO_PREDICTOR and _TILE_WIDTH in self.tags:
            raise ValueError("floats in tiles with a predictor")
        is_separate = self.tags.get(_PLANES) == _SEPARATE
        planes = self.samples if is_separate else 1
        beside = self.samples // planes
        read = [self._plane(data, number, planes, beside) for number in range(planes)]
        width, height = self.size
        plain = [
            _undone(plane, predictor, beside, big=data.startswith(b"MM")).reshape(
                height, width, beside
            )
            for plane in read
        ]
        return np.concatenate(plain, axis=-1)

    def _plane(self, data: bytes, number: int, planes: int, beside: int) -> np.ndarray:
        """One plane as a grey picture, float32 `[H, W * beside]`, its predictor not undone."""
        width, height = self.size
        entries = {
            _WIDTH: width * beside,
            _HEIGHT: height,
            _BITS_PER_SAMPLE: _BITS,
            _COMPRESSION: self.tags.get(_COMPRESSION, 1),
            _PHOTOMETRIC: _GREY,
            _SAMPLES: 1,
            _SAMPLE_FORMAT: _FLOAT,
        }
        if _TILE_WIDTH in self.tags:
            entries[_TILE_WIDTH] = self.tags[_TILE_WIDTH] * beside
            entries[_TILE_HEIGHT] = self.tags[_TILE_HEIGHT]
            places, sizes = _TILE_OFFSETS, _TILE_BYTES
        else:
            entries[_ROWS_PER_STRIP] = self.tags.get(_ROWS_PER_STRIP, height)
            places, sizes = _STRIP_OFFSETS, _STRIP_BYTES
        lists: dict[int, Sequence[int]] = {}
        for tag in (places, sizes):
            values = tuple(self.tags[tag])
            share = len(values) // planes
            lists[tag] = values[number * share : (number + 1) * share]
        again = _with_directory(data, entries, lists)
        with Image.open(io.BytesIO(again), formats=("TIFF",)) as image:
            return np.asarray(image, np.float32)


def float_tiff(data: bytes) -> FloatTiff | None:
    """The first picture of a TIFF file of several 32-bit floats a pixel; None for any other."""
    with contextlib.suppress(Exception):  # Whatever is wrong, Pillow says it better.
        tags = _first_directory(data)
        samples = tags[_SAMPLES]
        is_float = set(tags[_SAMPLE_FORMAT]) == {_FLOAT} and set(tags[_BITS_PER_SAMPLE]) == {_BITS}
        if is_float and tags[_PHOTOMETRIC] == _RGB and samples in (3, 4):
            return FloatTiff(tags, (tags[_WIDTH], tags[_HEIGHT]), samples)
    return None


def kind_of_tiff(data: bytes) -> str | None:
    """What a TIFF file's first picture is by its tags; None where it is none, or not all there."""
    with contextlib.suppress(Exception):  # It is damaged then.
        tags = _first_directory(data)
        is_tiled = _TILE_OFFSETS in tags
        starts = tags[_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS]
        lengths = tags[_TILE_BYTES if is_tiled else _STRIP_BYTES]
        ends = [start + length for start, length in zip(starts, lengths, strict=True)]
        if tags[_WIDTH] and tags[_HEIGHT] and max(ends) <= len(data):
            return (
                f"PhotometricInterpretation {tags[_PHOTOMETRIC]:d}, "
                f"BitsPerSample {max(tags[_BITS_PER_SAMPLE]):d}, "
                f"SamplesPerPixel {tags.get(_SAMPLES, 1):d}"
            )
    return None


def _first_directory(data: bytes) -> dict[int, Any]:
    """The tags of a TIFF file's first picture.

    Raises:
        ValueError: it is none, or has too many.
        Exception: what Pillow raises where they are damaged.
    """
    if not data.startswith(_STARTS):
        raise ValueError("no TIFF")
    header, width = (16, 8) if data.startswith(_BIG_START) else (8, 2)
    directory = ImageFileDirectory_v2(data[:header])
    stream = io.BytesIO(data)
    stream.seek(directory.next)
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    count = int.from_bytes(data[directory.next : directory.next + width], order)
    if not 0 < count <= _ENTRIES_AT_MOST:
        raise ValueError("no directory")
    directory.load(stream)
    return dict(directory)


def _with_directory(data: bytes, entries: dict[int, int], lists: dict[int, Sequence[int]]) -> bytes:
    """The file with a new first directory at its end.

    It is little-endian whatever the file is, so that nobody swaps the bytes of the values.
    """
    body = data + bytes(len(data) % 2)
    packed = {tag: (_LONG, 1, struct.pack("<I", value)) for tag, value in entries.items()}
    shorts = (_BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT)
    for tag in shorts:
        packed[tag] = (_SHORT, 1, struct.pack("<HH", entries[tag], 0))
    for tag, values in lists.items():
        content = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            place = struct.pack("<I", len(body))
            body += content
            content = place
        packed[tag] = (_LONG, len(values), content)
    directory = struct.pack("<H", len(packed)) + b"".join(
        struct.pack("<HHI", tag, kind, count) + content
        for tag, (kind, count, content) in sorted(packed.items())
    )
    return b"II*\0" + struct.pack("<I", len(body)) + body[8:] + directory + bytes(4)


def _undone(plane: np.ndarray, predictor: int, beside: int, *, big: bool) -> np.ndarray:
    """The values of a plane `[H, W * beside]` from what its predictor made of them.

    Adobe Photoshop TIFF Technical Note 3, 2005 (floating point predictor); TIFF 6.0, 14.
    """
    height, wide = plane.shape
    if predictor != _FLOAT_DIFFERENCES and big:
        plane = plane.byteswap()
    if predictor == _NO_PREDICTOR:
        return plane
    if predictor == _DIFFERENCES:
        steps = plane.view(np.uint32).reshape(height, -1, beside)
        return np.cumsum(steps, axis=1, dtype=np.uint32).view(np.float32)
    changes = plane.view(np.uint8).reshape(height, -1, beside)
    bytes_of_rank = np.cumsum(changes, axis=1, dtype=np.uint8).reshape(height, 4, wide)
    # The highest bytes of a whole row come first.
    joined = np.ascontiguousarray(bytes_of_rank.transpose(0, 2, 1))
    return joined.view(">f4").astype(np.float32).reshape(height, wide)
