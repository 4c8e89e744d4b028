"""Values of other depths than 8 bits: which of them is white, and what they are in 0…255."""

from __future__ import annotations

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

_WHITE_12, _WHITE_16, _WHITE_SIGNED_16 = 4095.0, 65535.0, 32767.0
# Resampling goes a little beyond 0…1, and lights several times; what is in 0…255 goes further.
_MOST_BEYOND = 16
# Tags of a TIFF file, and what they say.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_TWELVE, _SIXTEEN, _WHITE_IS_ZERO, _UNSIGNED, _SIGNED = (12,), (16,), 0, (1,), (2,)


def grey(image: Image.Image) -> np.ndarray:
    """float32 `[H, W]` of a picture of Pillow's modes `I…` and `F`, see `scaled`.

    Pillow leaves the values of a TIFF as they are in the file, and takes 32 bits for signed ones.
    """
    values = np.asarray(image)
    if not isinstance(image, TiffImageFile):
        return scaled(values, white(values))
    tags = image.tag_v2
    bits, kind = tags.get(_BITS_PER_SAMPLE), tags.get(_SAMPLE_FORMAT, _UNSIGNED)
    if image.mode == "I" and kind == _UNSIGNED:
        values = values.view(np.uint32)
    if bits == _TWELVE:
        highest = _WHITE_12
    elif bits == _SIXTEEN and kind == _SIGNED:
        highest = _WHITE_SIGNED_16
    else:
        highest = white(values)
    found = scaled(values, highest)
    return 255 - found if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else found


def white(values: np.ndarray) -> float:
    """The value that is white in a picture of these.

    Integers have 16 bits, or all if they need them. Floats are in 0…1, or in 0…255 where one is
    over 16 or all are whole numbers, one of them over 1.
    """
    if values.dtype.kind != "f":
        return _WHITE_16 if values.max() <= _WHITE_16 else float(np.iinfo(values.dtype).max)
    known = values[np.isfinite(values)]
    highest = known.max(initial=0)
    is_of_bytes = highest > _MOST_BEYOND or (highest > 1 and bool((known == np.rint(known)).all()))
    return 255.0 if is_of_bytes else 1.0


def scaled(values: np.ndarray, highest: float) -> np.ndarray:
    """float32 with 255 for `highest`, beyond 0…255 where the values are; 0 for what is none."""
    wide = np.nan_to_num(values.astype(np.float32), posinf=np.inf, neginf=-np.inf)
    return wide * np.float32(255 / highest)


def straight(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours `[H, W, C]` that were multiplied by alpha (`[H, W]` in 0…255), as they were before.

    What shows less than a level has none.
    """
    shows = alpha[..., None] > 0.5
    divided = np.zeros_like(colors)
    np.divide(colors, alpha[..., None] / 255, out=divided, where=shows)
    return divided
