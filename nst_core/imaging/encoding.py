"""Pixels to image files: five formats, sRGB, with what the file says of itself."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from nst_core.config import PIXELS_CEILING
from nst_core.image_files import opening
from nst_core.imaging.credits import Credits, detail
from nst_core.imaging.images import to_8_bit
from nst_core.imaging.transparency import onto_white

EXTENSIONS: dict[str, str] = {
    "png": "png",
    "jpeg": "jpg",
    "webp": "webp",
    "tiff": "tiff",
    "avif": "avif",
}
CONTENT_TYPES: dict[str, str] = {name: f"image/{name}" for name in EXTENSIONS}

# What Pillow is told of each format, beside quality, colours and metadata.
_OPTIONS: dict[str, dict[str, Any]] = {
    # Stylized pictures hardly compress: half the time of zlib's own 6, 4 % larger.
    "png": {"compress_level": 1},
    "jpeg": {"subsampling": "4:4:4"},
    "webp": {},
    "tiff": {"compression": "tiff_adobe_deflate"},
    "avif": {
        "subsampling": "4:4:4",
        "codec": "aom",
        # Of 0 to 10: files of the same size as at Pillow's own 6, in less than half the time.
        "speed": 8,
        # Several pictures are written at once, and the bytes are the same everywhere.
        "max_threads": 1,
        # What is opaque must stay so: transparency loses nothing, as in WebP.
        "advanced": {"alpha:lossless": "1"},
    },
}
# EXIF's user comment begins with the name of its alphabet.
_ASCII = b"ASCII\0\0\0"
# Bytes of metadata in a JPEG, where all of EXIF has 64 KiB.
_JPEG_LIMIT = 40_000


def encode(
    rgb: np.ndarray,
    alpha: np.ndarray | None,
    *,
    output_format: str,
    quality: int,
    metadata: Mapping[str, str],
    credits: Credits | None = None,
) -> bytes:
    """An image file in sRGB, its profile and `metadata` inside; equal input gives equal bytes.

    rgb: straight colours, float32 [H, W, 3] in 0..255, rounded to 8 bits; alpha: [H, W] in 0..255
    or None, in a JPEG composited onto white. `output_format`: a key of `EXTENSIONS`; `quality`
    (1 to 100) is for WebP and, without chroma subsampling, JPEG and AVIF. PNG holds the metadata as
    iTXt chunks, the others as JSON in EXIF's user comment, of which a JPEG leaves out what is
    longer than its header can hold. `credits` go to where EXIF has them.
    """
    pixels = to_8_bit(rgb)
    if alpha is not None:
        opacity = to_8_bit(alpha)
        if output_format == "jpeg":
            pixels = onto_white(pixels, opacity)
        else:
            pixels = np.dstack([pixels, opacity])
    options = {"icc_profile": srgb_profile(), **_OPTIONS[output_format]}
    exif = Image.Exif()
    # libtiff writes no directory of details; in TIFF/EP they stand in the main one.
    is_tiff = output_format == "tiff"
    details: MutableMapping[int, Any] = exif if is_tiff else exif.get_ifd(ExifTags.IFD.Exif)
    if credits:
        credits.put_into(exif, details)
        if credits.resolution:
            options["dpi"] = credits.resolution
    if output_format == "png":
        text = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            text.add_itxt(key, value)
        options["pnginfo"] = text
    elif metadata:
        fitting = _fitting(metadata) if output_format == "jpeg" else dict(metadata)
        comment = _ASCII + json.dumps(fitting).encode()
        details[ExifTags.Base.UserComment] = comment
    if exif or details:
        # Pillow's AVIF writer takes an EXIF directory of details alone for none.
        options["exif"] = exif.tobytes() if output_format == "avif" else exif
    if not is_tiff:
        options["quality"] = quality
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, output_format.upper(), **options)
    return buffer.getvalue()


def _fitting(metadata: Mapping[str, str]) -> dict[str, str]:
    """Without the longest entries, until the rest fits into a JPEG."""
    kept = dict(metadata)
    while kept and len(json.dumps(kept)) > _JPEG_LIMIT:
        del kept[max(kept, key=lambda key: len(kept[key]))]
    return kept


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB profile, the same bytes every time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The creation date: it would make the bytes differ from run to run.
    return profile[:24] + bytes(12) + profile[36:]


def read_metadata(data: bytes) -> dict[str, str]:
    """What `encode` wrote as `metadata`; empty for an image that holds none.

    Raises:
        InputTooLarge: more pixels than Pillow decodes.
        InputUnreadable: the bytes are not an image.
    """
    with opening.guarded("The image", PIXELS_CEILING, on_warning="ignore"):
        image = opening.opened(data, "The image", PIXELS_CEILING)
        if image.format == "PNG":
            texts = image.info.items()
            return {str(k): str(v) for k, v in texts if isinstance(v, PngImagePlugin.iTXt)}
        exif = opening.exif_of(image)
        comment = detail(exif, ExifTags.Base.UserComment)
        # Where it was written as long as it held no description of the content.
        description = exif.get(ExifTags.Base.ImageDescription)
    for written in (comment, description):
        text = written.removeprefix(_ASCII) if isinstance(written, bytes) else written
        try:
            return {str(key): str(value) for key, value in json.loads(text or "").items()}
        except (AttributeError, TypeError, ValueError):
            continue
    return {}
