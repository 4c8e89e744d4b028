"""Where an optimisation starts, and each scale of it from the coarser one before."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from nst_core.canvas import Size
from nst_core.compiled.graphs import graph

Tensor = Any

NOISE_DEVIATION = 40.0
# Tables of `_weights` that are kept: those of a few canvases and their scales.
TABLES = 16

CHANNELS = tf.TensorSpec([None, None, None, None], tf.float32)
MATRIX = tf.TensorSpec([None, None], tf.float32)
BOUNDS = tf.TensorSpec([2], tf.float32)
# Between what images are clipped.
PIXELS = np.array([0.0, 255.0], np.float32)
ANY = np.array([-np.inf, np.inf], np.float32)


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """Grey noise about the middle of the range, float32 `[H, W, 3]` in 0…255."""
    values = np.random.default_rng(seed).normal(127.5, NOISE_DEVIATION, size=(height, width, 3))
    return np.clip(values, 0, 255).astype(np.float32)


def finer(contents: Tensor, coarse: Tensor, stylized: Tensor, *, clip_pixels: bool) -> Tensor:
    """A scale's start from its contents, the coarser scale's contents, and that one's result.

    Only what the coarser scale has changed is enlarged, so that the content's own detail stays
    sharp.
    """
    height, width = contents.shape[1:3]
    tables = _tables(coarse, height, width, Image.Resampling.BICUBIC)
    return _added(contents, coarse, stylized, *tables, PIXELS if clip_pixels else ANY)


def shrunk(batch: Tensor, size: Size) -> Tensor:
    """A float32 batch `[B, H, W, C]` in 0…255 at a smaller size; itself where it has that size."""
    if batch.shape[1:3] == (size.height, size.width):
        return batch
    tables = _tables(batch, size.height, size.width, Image.Resampling.LANCZOS)
    return _weighed(batch, *tables, PIXELS)


def enlarged(batch: Tensor, height: int, width: int) -> Tensor:
    """A float32 batch `[B, H, W, C]` of any values at a larger size."""
    return _weighed(batch, *_tables(batch, height, width, Image.Resampling.BICUBIC), ANY)


def _tables(
    batch: Tensor, height: int, width: int, method: Image.Resampling
) -> tuple[np.ndarray, np.ndarray]:
    """For `_weigh`: how images `[B, H, W, C]` come to another size."""
    return _weights(batch.shape[1], height, method), _weights(batch.shape[2], width, method)


@functools.lru_cache(TABLES)
def _weights(source: int, target: int, method: Image.Resampling) -> np.ndarray:
    """How much each of `source` pixels of a line counts in each of `target`, as Pillow has it."""
    each = Image.fromarray(np.eye(source, dtype=np.float32))
    return np.asarray(each.resize((source, target), method))


def _weigh(batch: Tensor, rows: Tensor, columns: Tensor, bounds: Tensor) -> Tensor:
    """Images `[B, H, W, C]` whose lines are weighed by `[h, H]`, then by `[w, W]`: `[B, h, w, C]`.

    In float64: of products of float32, GPUs keep three digits.
    """
    rows, columns = (tf.cast(one, tf.float64) for one in (rows, columns))

    def one(image: Tensor) -> Tensor:
        lines = tf.einsum("hy,yxc->hxc", rows, tf.cast(image, tf.float64))
        return tf.cast(tf.einsum("wx,hxc->hwc", columns, lines), tf.float32)

    # One by one, so that an image has the same bits in every batch.
    return tf.clip_by_value(tf.map_fn(one, batch), bounds[0], bounds[1])


_weighed = graph(CHANNELS, MATRIX, MATRIX, BOUNDS)(_weigh)


@graph(CHANNELS, CHANNELS, CHANNELS, MATRIX, MATRIX, BOUNDS)
def _added(
    contents: Tensor,
    coarse: Tensor,
    stylized: Tensor,
    rows: Tensor,
    columns: Tensor,
    bounds: Tensor,
) -> Tensor:
    """The contents with what a coarser scale has changed in its own."""
    change = _weigh(stylized - coarse, rows, columns, ANY)
    return tf.clip_by_value(contents + change, bounds[0], bounds[1])
