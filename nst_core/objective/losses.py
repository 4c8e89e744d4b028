"""The losses of Gatys et al. 2016, as pure functions over a batch: `[B, …]` in, `[B]` out.

The mathematics is that of the Keras example "Neural style transfer" (F. Chollet), which follows
Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks (CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla
from tensorflow.compiler.xla import xla_data_pb2

Tensor = Any

# Features [B, H, W, C] → inner products [B, C, C] float32: `gram_matrix` or `gram_matrices`.
GramMatrix = Callable[[Tensor], Tensor]

IMAGE_CHANNELS = 3
# Positions at the least that one of `gram_matrices`' products adds up.
PART = 2048


@tf.custom_gradient  # type: ignore[untyped-decorator]
def gram_matrix(x: Tensor) -> tuple[Tensor, Any]:
    """The plain inner products of channels over positions: `[B, H, W, C] → [B, C, C]` float32."""
    flat = _flat(tf.cast(x, tf.float32))

    def gradient(upstream: Tensor) -> Tensor:
        # One product with the symmetric sum, where differentiating the product gives two.
        symmetric = upstream + tf.linalg.matrix_transpose(upstream)
        return tf.cast(tf.reshape(tf.matmul(flat, symmetric), tf.shape(x)), x.dtype)

    def product(one: Tensor) -> Tensor:
        return tf.matmul(one, one, transpose_a=True)

    if x.shape[0] == 1:
        return tf.expand_dims(product(tf.squeeze(flat, 0)), 0), gradient
    # One by one: in a batch TensorFlow would add up in another order than for one image alone.
    return tf.map_fn(product, flat), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def gram_matrices(x: Tensor) -> tuple[Tensor, Any]:
    """`gram_matrix` as one product for the whole batch, of features as they are: for XLA only.

    bfloat16 goes in as such and is added up in float32; its gradient is a product of bfloat16.
    Positions are added up in parts, and these then: as products of a few channels over a hundred
    thousand positions they would keep a few of a GPU's processors busy, unless XLA cuts them.
    """
    batch, height, width, _ = tf.unstack(tf.shape(x))
    parts = tf.reshape(x, [batch, _parts(height * width), -1, x.shape[3]])

    def gradient(upstream: Tensor) -> Tensor:
        symmetric = tf.cast(upstream + tf.linalg.matrix_transpose(upstream), x.dtype)
        # cuBLAS would add it to the gradient from the next layer, for which that had to be written.
        (found,) = xla.optimization_barrier(tf.matmul(_flat(x), symmetric))
        return tf.reshape(found, tf.shape(x))

    axes = xla_data_pb2.DotDimensionNumbers(
        lhs_batch_dimensions=[0, 1],
        rhs_batch_dimensions=[0, 1],
        lhs_contracting_dimensions=[2],
        rhs_contracting_dimensions=[2],
    )
    found = xla.dot_general(parts, parts, axes, preferred_element_type=tf.float32)
    return tf.reduce_sum(found, axis=1), gradient


def _flat(x: Tensor) -> Tensor:
    """`[B, H, W, C] → [B, H · W, C]`."""
    return tf.reshape(x, [x.shape[0] or tf.shape(x)[0], -1, x.shape[3]])


def positions_of(x: Tensor) -> Tensor:
    """How many positions feature maps `[B, H, W, C]` have: float32 `[]`."""
    _, height, width, _ = tf.unstack(tf.shape(x))
    return tf.cast(height * width, tf.float32)


def _parts(positions: Tensor) -> Tensor:
    """The largest power of two that divides positions into parts of `PART` or more; else 1."""
    powers = 2 ** tf.range(16)
    fits = (positions % powers == 0) & (positions // powers >= PART)
    return tf.reduce_max(tf.where(fits, powers, 1))


def under_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Features scaled so that `mask [B, H, W, 1]` in 0…1 weights their products of two."""
    return x if mask is None else tf.cast(x, tf.float32) * tf.sqrt(mask)


def moments(x: Tensor, mask: Tensor | None = None, gram_matrix: GramMatrix = gram_matrix) -> Tensor:
    """Gram matrix, channels' sums as one more row: `[B, H, W, C] → [B, C + 1, C]` float32.

    `mask [B, H, W, 1]`, where given, is how much each position counts.
    """
    wide = tf.cast(x, tf.float32)
    total = tf.reduce_sum(wide if mask is None else wide * mask, axis=[1, 2])
    return tf.concat([gram_matrix(under_mask(x, mask)), total[:, None, :]], axis=1)


def mean_and_covariance(moments: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Means `[B, C]` and covariances `[B, C, C]` of channels from `moments` over `positions [B]`.

    Over no positions at all they are nothing.
    """
    found = tf.math.divide_no_nan(moments, per_matrix(positions))
    mean = found[:, -1]
    return mean, found[:, :-1] - mean[:, :, None] * mean[:, None, :]


def per_matrix(value: Tensor) -> Tensor:
    """`[B]` to be broadcast against matrices `[B, …, …]`."""
    return tf.reshape(value, [-1, 1, 1])


def sum_per_image(x: Tensor) -> Tensor:
    """The sum over all axes but the first: `[B, R, …] → [B]`.

    Row by row, then over the rows: added up so, an image's sum has the same bits in any batch.
    """
    return tf.reduce_sum(tf.reduce_sum(x, axis=list(range(2, x.shape.rank))), axis=1)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def with_unit_gradient(x: Tensor, weight: Tensor) -> tuple[Tensor, Any]:
    """`x [B, H, W, C]` itself; each image's gradient on its way through gets the L1 norm `weight`.

    As `-normalize_gradients` of jcjohnson/neural-style does to each layer's loss. No gradient
    stays none.
    """

    def gradient(upstream: Tensor) -> tuple[Tensor, None]:
        norm = sum_per_image(tf.abs(tf.cast(upstream, tf.float32)))
        scale = tf.math.divide_no_nan(weight, norm)[:, None, None, None]
        return upstream * tf.cast(scale, upstream.dtype), None

    return tf.identity(x), gradient


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """The sum of squared differences of each batch entry: `[B, …]` twice `→ [B]` float32."""
    difference = tf.cast(a, tf.float32) - tf.cast(b, tf.float32)
    return sum_per_image(tf.square(difference))


def content_loss(base: Tensor, combination: Tensor) -> Tensor:
    """The sum of squared differences of two feature maps `[B, H, W, C]` `→ [B]`."""
    return squared_distance(combination, base)


def gram_loss(style_gram: Tensor, combination_gram: Tensor, size: Tensor) -> Tensor:
    """`style_loss` for Gram matrices `[B, C, C]` that are already there."""
    scale = 4.0 * IMAGE_CHANNELS**2 * tf.cast(size, tf.float32) ** 2
    return squared_distance(combination_gram, style_gram) / scale


def style_loss(style: Tensor, combination: Tensor, size: Tensor) -> Tensor:
    """Squared Gram differences of two feature maps, over 4 · 3² · size² `→ [B]`.

    Args:
        style: feature maps `[B, H, W, C]`.
        combination: feature maps of as many channels; H and W may be others.
        size: height × width of the combination image, pixels.
    """
    return gram_loss(gram_matrix(style), gram_matrix(combination), size)


def total_variation_loss(x: Tensor, norm: str = "notebook") -> Tensor:
    """Σ (dx² + dy²)^1.25 of images `[B, H, W, C] → [B]`.

    Forward differences, on the (H-1)×(W-1) grid where both exist. `norm`: `notebook` for that
    sum, `l1` for Σ |dx| + |dy|, `l2` for Σ dx² + dy².
    """
    corner = x[:, :-1, :-1]
    down, right = corner - x[:, 1:, :-1], corner - x[:, :-1, 1:]
    if norm == "l1":
        return sum_per_image(tf.abs(down) + tf.abs(right))
    squared = tf.square(down) + tf.square(right)
    return sum_per_image(squared if norm == "l2" else tf.pow(squared, 1.25))


def variation_stiffness(x: Tensor, norm: str, floor: float) -> tuple[Tensor, Tensor]:
    """Weights of the squared differences downwards and to the right, each `[B, H-1, W-1, C]`.

    Half the sum of squared differences so weighted has the gradient of `total_variation_loss` at
    `x`, and for `l1` and `notebook` about its curvature. For `l1` no difference counts as less
    than `floor`: the weight would be infinite, and equal pixels could never part.
    """
    corner = x[:, :-1, :-1]
    down, right = corner - x[:, 1:, :-1], corner - x[:, :-1, 1:]
    if norm == "l1":
        return 1 / tf.maximum(tf.abs(down), floor), 1 / tf.maximum(tf.abs(right), floor)
    if norm == "l2":
        both = tf.fill(tf.shape(down), 2.0)
    else:
        both = 2.5 * tf.pow(tf.square(down) + tf.square(right), 0.25)
    return both, both


# Weights of the squared differences downwards and to the right, each [B, H-1, W-1, 3].
Stiffness = tuple[Tensor, Tensor]
# x [B, H, W, 3] → the stiffness there: the gradient of the part of the objective that is known
# for next to nothing is that of half the weighted sum of squared differences.
StiffnessAt = Callable[[Tensor], Stiffness]
