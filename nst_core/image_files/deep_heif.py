"""HEIC files of 10 and 12 bits a channel, which Pillow would have with 8, cut off."""

from __future__ import annotations

import numpy as np
import pillow_heif
from PIL import Image
from PIL.ImageFile import ImageFile

from nst_core.image_files import coded_colors


def is_deep(image: ImageFile) -> bool:
    """Whether an image that is open has more than 8 bits a channel, and they can be had."""
    return image.format == "HEIF" and image.info.get("bit_depth", 8) > 8


def read(data: bytes, colors: tuple[int, int] | None) -> tuple[Image.Image, np.ndarray | None]:
    """Colours, 8 bits a channel, and the alpha channel or None, both as stored, upright.

    `colors`: primaries and transfer from which to go to sRGB; None leaves them as they are.

    Raises:
        OSError, ValueError, …: the file is damaged.
    """
    found = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    levels = 2 ** int(found.info["bit_depth"])
    values = np.asarray(found)
    values = np.minimum(values.reshape(*values.shape[:2], -1), levels - 1)
    alpha = None
    if values.shape[2] in (2, 4):
        opacity = values[..., -1].astype(np.float32) * (255 / (levels - 1))
        alpha = np.rint(opacity).astype(np.uint8)
    rgb = values[..., :3] if values.shape[2] >= 3 else np.repeat(values[..., :1], 3, axis=2)
    return Image.fromarray(coded_colors.to_srgb(rgb, colors, levels)), alpha
