"""Where an optimisation starts, and each scale of it from the coarser one before."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.imaging import images

NOISE_DEVIATION = 40.0


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """Grey noise about the middle of the range, float32 `[H, W, 3]` in 0…255."""
    values = np.random.default_rng(seed).normal(127.5, NOISE_DEVIATION, size=(height, width, 3))
    return np.clip(values, 0, 255).astype(np.float32)


def finer(
    contents: np.ndarray, coarse: np.ndarray, stylized: np.ndarray, *, clip_pixels: bool
) -> np.ndarray:
    """A scale's start from its contents, the coarser scale's contents, and that one's result.

    Only what the coarser scale has changed is enlarged, so that the content's own detail stays
    sharp.
    """
    start: np.ndarray = contents + enlarged(stylized - coarse, *contents.shape[1:3])
    return np.clip(start, 0, 255) if clip_pixels else start


def shrunk(batch: np.ndarray, size: Size) -> np.ndarray:
    """A float32 batch `[B, H, W, 3]` at a smaller size; itself where it has that size."""
    if batch.shape[1:3] == (size.height, size.width):
        return batch
    return np.stack([images.resize(image, size.width, size.height, "lanczos") for image in batch])


def enlarged(batch: np.ndarray, height: int, width: int) -> np.ndarray:
    """A float32 batch `[B, H, W, 3]` of any values at a larger size."""
    result: np.ndarray = tf.image.resize(batch, [height, width], "bicubic").numpy()
    return result
