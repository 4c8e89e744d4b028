"""Files of the formats that came later: AVIF, HEIC, JPEG 2000, PSD and the rarer ones."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from nst_core.image_files import formats
from tests.corpus import exif_of, file_of, texture

formats.register()

# A wide gamut, and television's range: primaries and transfer of ITU-T H.273.
DISPLAY_P3, PQ, HLG = (12, 13), (9, 16), (9, 18)


def good_files() -> dict[str, bytes]:
    """A file of every format and kind, each 96×64 px when it is upright."""
    return {**_boxed_files(), **_plain_files(), **_rare_files()}


def _boxed_files() -> dict[str, bytes]:
    colour = Image.fromarray(texture())
    turned = colour.transpose(Image.Transpose.ROTATE_90)
    alpha = colour.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(colour.size))
    deep = texture().astype(np.uint16) * 257
    grey = np.asarray(colour.convert("L")).astype(np.uint16) * 257
    frames: dict[str, Any] = {"save_all": True, "append_images": [colour.rotate(180)]}
    return {
        "colour.avif": file_of(colour, "AVIF", quality=90),
        "grey.avif": file_of(colour.convert("L"), "AVIF"),
        "alpha.avif": file_of(alpha, "AVIF"),
        "turned.avif": file_of(turned, "AVIF", exif=exif_of(6)),
        "animated.avif": file_of(colour, "AVIF", **frames),
        "colour.heic": heic(texture()),
        "grey.heic": heic(texture()[..., 0]),
        "alpha.heic": file_of(alpha, "HEIF"),
        "turned.heic": file_of(turned, "HEIF", exif=exif_of(6).tobytes()),
        "several.heic": file_of(colour, "HEIF", **frames),
        "deep.heic": heic(deep),
        "deep12.heic": heic(deep, bits=12),
        "deep_grey.heic": heic(grey),
        "deep_pq.heic": heic(deep, colors=PQ),
        "colour.jp2": file_of(colour, "JPEG2000"),
        "alpha.jp2": file_of(alpha, "JPEG2000"),
        "grey16.jp2": file_of(Image.fromarray(grey), "JPEG2000"),
        "lossy.j2k": file_of(colour, "JPEG2000", no_jp2=True, quality_layers=[8]),
    }


def _plain_files() -> dict[str, bytes]:
    colour = Image.fromarray(texture())
    grey = colour.convert("L")
    alpha = colour.copy()
    alpha.putalpha(99)
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    icon: dict[str, Any] = {"sizes": [colour.size]}
    return {
        "colour.ppm": file_of(colour, "PPM"),
        "grey.pgm": file_of(grey, "PPM"),
        "grey16.pgm": file_of(wide, "PPM"),
        "bilevel.pbm": file_of(colour.convert("1"), "PPM"),
        "floats.pfm": file_of(Image.fromarray(np.asarray(grey) / np.float32(255)), "PPM"),
        "colour.tga": file_of(colour, "TGA"),
        "packed.tga": file_of(alpha, "TGA", compression="tga_rle"),
        "grey.tga": file_of(grey, "TGA"),
        "colour.ico": file_of(colour, "ICO", **icon),
        "bitmap.ico": file_of(alpha, "ICO", bitmap_format="bmp", **icon),
        "colour.psd": psd(texture()),
        "grey.psd": psd(texture()[..., :1]),
    }


def _rare_files() -> dict[str, bytes]:
    colour = Image.fromarray(texture())
    palette, bilevel = colour.quantize(64), colour.convert("1")
    return {
        "colour.qoi": file_of(colour, "QOI"),
        "colour.dds": file_of(colour, "DDS"),
        "colour.sgi": file_of(colour, "SGI"),
        "colour.pcx": file_of(colour, "PCX"),
        "bilevel.xbm": file_of(bilevel, "XBM"),
        "colour.im": file_of(colour, "IM"),
        "palette.im": file_of(palette, "IM"),
        "bilevel.msp": file_of(bilevel, "MSP"),
        "palette.blp": file_of(palette, "BLP"),
        "colour.dib": file_of(colour, "DIB"),
        "floats.spider": file_of(Image.fromarray(texture()[..., 0] / np.float32(255)), "SPIDER"),
    }


def heic(
    pixels: np.ndarray,
    *,
    bits: int = 10,
    colors: tuple[int, int] | None = None,
    quality: int = 95,
) -> bytes:
    """uint8 or, with so many `bits`, uint16 `[H, W]` or `[H, W, 3]` as HEIC without subsampling."""
    mode = "L" if pixels.ndim == 2 else "RGB"
    mode += ";16" if pixels.dtype == np.uint16 else ""
    mode = {"L;16": "I;16"}.get(mode, mode)
    size = pixels.shape[1], pixels.shape[0]
    options: dict[str, Any] = {}
    if colors is not None:
        options = {
            "color_primaries": colors[0],
            "transfer_characteristics": colors[1],
            "matrix_coefficients": 9 if colors[0] == 9 else 6,
        }
    file = pillow_heif.from_bytes(mode=mode, size=size, data=pixels.tobytes())
    stream = io.BytesIO()
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    try:
        file.save(stream, quality=quality, chroma=444, **options)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    return stream.getvalue()


def with_colors(data: bytes, colors: tuple[int, int]) -> bytes:
    """An AVIF or HEIC file that names other primaries and another transfer."""
    place = data.index(b"nclx") + 4
    return data[:place] + struct.pack(">HH", *colors) + data[place + 4 :]


def psd(
    pixels: np.ndarray,
    *,
    bits: int = 8,
    resources: tuple[tuple[int, bytes], ...] = (),
    layers: int | None = None,
) -> bytes:
    """A Photoshop document whose flattened image `[H, W, 1, 3 or 4]` is as it is.

    `layers`: the count of layers that it tells, without any.
    """
    height, width, channels = pixels.shape
    mode = 1 if channels == 1 else 3
    held = b"".join(
        b"8BIM" + struct.pack(">HHI", kind, 0, len(body)) + body + bytes(len(body) % 2)
        for kind, body in resources
    )
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, bits, mode)
    planes = pixels.transpose(2, 0, 1).astype(np.uint8 if bits == 8 else ">u2")
    return (
        head
        + struct.pack(">I", 0)
        + struct.pack(">I", len(held))
        + held
        + (struct.pack(">I", 0) if layers is None else struct.pack(">IIhH", 8, 4, layers, 0))
        + struct.pack(">H", 0)
        + planes.tobytes()
    )
