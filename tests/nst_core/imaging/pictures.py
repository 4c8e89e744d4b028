"""Pictures and files for the tests of this room."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from PIL import ImageCms

from nst_core.imaging import encoding, images
from tests.corpus import file_of

HEAD = 64 * 1024
# Red, green / blue, yellow in quarters: its eight orientations all differ.
QUARTERS = (
    np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
    .repeat(16, axis=0)
    .repeat(24, axis=1)
)
GRADIENT = np.dstack(
    [
        np.broadcast_to(np.linspace(0, 255, 40), (24, 40)),
        np.broadcast_to(np.linspace(0, 255, 24)[:, None], (24, 40)),
        np.full((24, 40), 90),
    ]
).astype(np.uint8)


def decode(data: bytes, **limits: int) -> images.Picture:
    return images.decode(
        data, name="gs://b/x", **({"max_pixels": 10**6, "max_bytes": 10**7} | limits)
    )


def header(data: bytes, **options: Any) -> tuple[int, int] | None:
    return images.header_size(data, name="gs://b/x", **({"max_pixels": 10**6} | options))


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def oriented(rgb: np.ndarray, orientation: int) -> np.ndarray:
    """How the camera stores an upright picture under an orientation (the table in EXIF 2.3)."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](rgb)


def s15(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC 2.1 profile of these tags."""
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for signature, data in tags.items():
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    start = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"lcms", 0x02100000, kind, space, connection
    )
    start += bytes(12) + b"acsp" + bytes(28) + s15(0.9642, 1.0, 0.8249)
    return start.ljust(128, b"\0") + table + body


def common_tags() -> dict[bytes, bytes]:
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    return {
        b"desc": description,
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + s15(0.9642, 1.0, 0.8249),
    }


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and green exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        data.replace(b"rXYZ", b"\1\2\3\4").replace(b"gXYZ", b"rXYZ").replace(b"\1\2\3\4", b"gXYZ")
    )


def linear_rgb_profile() -> bytes:
    """sRGB's primaries with a gamma of 1."""
    primaries = {
        b"rXYZ": (0.4361, 0.2225, 0.0139),
        b"gXYZ": (0.3851, 0.7169, 0.0971),
        b"bXYZ": (0.1431, 0.0606, 0.7141),
    }
    tags = {name: b"XYZ " + bytes(4) + s15(*xyz) for name, xyz in primaries.items()}
    curves = {name: gamma(1) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return icc(b"RGB ", b"XYZ ", common_tags() | tags | curves)


def linear_grey_profile() -> bytes:
    return icc(b"GRAY", b"XYZ ", common_tags() | {b"kTRC": gamma(1)})


def ink_profile() -> bytes:
    """CMYK whose every ink is the same mid grey (L* = 50): no naive conversion gives that."""
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += ramp * 4 + bytes([128, 128, 128]) * 2**4 + ramp * 3
    return icc(b"CMYK", b"Lab ", common_tags() | {b"A2B0": table})


def faded_profile() -> bytes:
    """RGB whose black is a dark grey (L* = 20), and grey between."""
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([3, 3, 2, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lightness = (51 + 68 * number.bit_count() for number in range(8))
    table += ramp * 3 + b"".join(bytes([one, 128, 128]) for one in lightness) + ramp * 3
    return icc(b"RGB ", b"Lab ", common_tags() | {b"A2B0": table, b"A2B1": table})


def srgb_from_linear(linear: float) -> float:
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


def whole_files() -> dict[str, bytes]:
    picture = noise(60, 80)
    return {
        "jpeg": file_of(picture, "JPEG"),
        "progressive": file_of(picture, "JPEG", progressive=True),
        "png": file_of(picture, "PNG"),
        "webp": file_of(picture, "WEBP"),
        "tiff": file_of(picture, "TIFF"),
        "tiff-deflate": file_of(picture, "TIFF", compression="tiff_adobe_deflate"),
        "bmp": file_of(picture, "BMP"),
        "gif": file_of(picture, "GIF"),
    }


METADATA = {"nst:id": "Ümläut/図-1", "nst:sources": '["gs://a b/ç.jpg"]', "nst:fingerprint": "0a"}


def encode(rgb: np.ndarray, alpha: np.ndarray | None = None, **options: Any) -> bytes:
    return encoding.encode(
        rgb, alpha, **({"output_format": "png", "quality": 95, "metadata": METADATA} | options)
    )
