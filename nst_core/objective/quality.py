"""Numbers for finished images: how near they are to their style, how much of the content is left.

As graphs over a batch, on the device: only the numbers come to the host.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nst_core.imaging.colors import LUMA
from nst_core.objective.losses import sum_per_image

Tensor = Any

# Constants of Wang et al. 2004, for values in 0…255.
WINDOW = 11
DEVIATION = 1.5
PIXEL_RANGE = 255.0
# Gram matrices of flat images have next to no energy; this floor keeps their errors finite.
LEAST_NORM = 1e-12


def gram_errors(found: Tensor, styles: Tensor, shares: Tensor) -> Tensor:
    """|G(x) − G(style)| / |G(style)| of Gram matrices, Frobenius norms: `[B]`.

    Args:
        found: of the images, `[B, C, C]`.
        styles: of each image's styles, `[B, S, C, C]`.
        shares: the part of each style in each image, `[B, S]`: their weighted mean counts.
    """
    shares = shares / tf.reduce_sum(shares, axis=1, keepdims=True)
    # No matrix product: on GPUs those of float32 keep three digits.
    target = tf.reduce_sum(shares[:, :, None, None] * styles, axis=1)
    return _norm(found - target) / tf.maximum(_norm(target), LEAST_NORM)


def _norm(matrices: Tensor) -> Tensor:
    """Frobenius norms `[B]` of matrices `[B, C, C]`."""
    return tf.sqrt(sum_per_image(tf.square(matrices)))


def structural_similarity(one: Tensor, other: Tensor) -> Tensor:
    """SSIM of the luminances of RGB images `[B, H, W, 3]` in 0…255, sides of at least 11 px: `[B]`.

    Wang, Bovik, Sheikh, Simoncelli 2004: Image quality assessment: from error visibility to
    structural similarity; the mean over all whole 11×11 Gaussian windows, as TensorFlow takes it.
    """
    pair = luminance(one), luminance(other)
    return tf.image.ssim(*pair, PIXEL_RANGE, filter_size=WINDOW, filter_sigma=DEVIATION)


def luminance(rgb: Tensor) -> Tensor:
    """Luma `[B, H, W, 1]` of images `[B, H, W, 3]`; see `colors.LUMA`."""
    red, green, blue = tf.split(rgb, 3, axis=3)
    return float(LUMA[0]) * red + float(LUMA[1]) * green + float(LUMA[2]) * blue
