"""The course of an optimisation as an animated WebP or GIF."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from nst_core.canvas import Size, size_of
from nst_core.imaging.encoding import srgb_profile
from nst_core.imaging.images import resize, to_8_bit

MOST_FRAMES = 200
LONG_SIDE = 512
FRAME_MILLISECONDS = 100
LAST_MILLISECONDS = 2000


def frame(rgb: np.ndarray) -> np.ndarray:
    """An image `[H, W, 3]` as a frame: uint8, its long side at most `LONG_SIDE`."""
    size = size_of(rgb)
    longest = max(size.width, size.height, LONG_SIDE)
    small = Size(
        max(1, round(size.width * LONG_SIDE / longest)),
        max(1, round(size.height * LONG_SIDE / longest)),
    )
    return to_8_bit(resize(rgb, small.width, small.height, "lanczos"))


def chosen(count: int) -> list[int]:
    """Which of `count` frames an animation shows: all, or `MOST_FRAMES` from first to last."""
    picked = np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int)
    return [int(index) for index in picked]


def encode_animation(frames: Iterable[np.ndarray], kind: str, quality: int) -> bytes:
    """Frames (uint8 `[H, W, 3]` or, in WebP, `[H, W, 4]`, of one size) that repeat for ever.

    Each shows for a tenth of a second, the last for two. `kind`: `webp` (with `quality`, 1 to
    100) or `gif` (256 colours a frame).
    """
    first, *others = map(Image.fromarray, frames)
    durations = [FRAME_MILLISECONDS] * len(others) + [LAST_MILLISECONDS]
    buffer = io.BytesIO()
    if kind == "webp":
        first.save(
            buffer,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=durations,
            loop=0,
            quality=quality,
            icc_profile=srgb_profile(),
        )
    else:
        first, *others = map(_in_256_colors, (first, *others))
        first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return buffer.getvalue()


def _in_256_colors(image: Image.Image) -> Image.Image:
    """Dithered, which Pillow does only for a palette that is given: smooth areas stay smooth."""
    return image.quantize(palette=image.quantize(), dither=Image.Dither.FLOYDSTEINBERG)
