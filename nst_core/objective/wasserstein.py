"""The Wasserstein-2 distance of normal distributions of features, as a distance of styles.

Squared, for means m and covariances C (Olkin, Pukelsheim 1982, after Bures):
|m₁ - m₂|² + tr C₁ + tr C₂ - 2 tr (C₁^½ C₂ C₁^½)^½, as in crowsonkb/style-transfer-pytorch.
Batched: `[B, …]` in, `[B]` out.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nst_core.objective.losses import per_matrix, squared_distance, sum_per_image

Tensor = Any

# Both distributions are blurred by this share of the target's whole variance, in every direction.
# Features have directions without any variance, in which roots have no derivative; float32 tells
# eigenvalues of the product apart down to about the square of this.
BLUR = 2e-4
# Variance of the blur at the least: the features of flat images have none at all, only what
# float32 rounds of their means, which is of this share of the means' squares, of either sign.
LEAST_BLUR = 1e-6
ROUNDING = 1e-5


def target(statistics: Tensor) -> Tensor:
    """A target for `distance` from its statistics `[1, C + 1, C]`: covariance, row of means.

    Returns:
        `[1, C + 2, C]`: the root of the blurred covariance, the means, the blur in every entry.
    """
    # In float64, so that equal distributions are at distance nothing.
    covariance, mean = tf.cast(statistics[:, :-1], tf.float64), statistics[:, -1:]
    rounding = ROUNDING * tf.reduce_sum(tf.square(tf.cast(mean, tf.float64)), axis=[1, 2])
    blur = tf.maximum(BLUR * tf.linalg.trace(covariance) + LEAST_BLUR, rounding)[:, None]
    values, vectors = _eigen(covariance)
    roots = tf.sqrt(tf.maximum(values, 0) + blur)
    root = tf.matmul(vectors * roots[:, None, :], vectors, transpose_b=True)
    rows = [tf.cast(root, tf.float32), mean, tf.zeros_like(mean) + tf.cast(blur, tf.float32)]
    return tf.concat(rows, axis=1)


def energy(target: Tensor) -> Tensor:
    """The squared distance of a target from features that are all nothing: `[1]`."""
    root, mean, blur = target[:, :-2], target[:, -2:-1], target[:, -1:]
    return sum_per_image(tf.square(root)) + sum_per_image(tf.square(mean) - blur)


def distance(found: Tensor, target: Tensor, exact: tf.DType = tf.float32) -> Tensor:
    """The squared distance of statistics `[B, C + 1, C]` from one target `[1, C + 2, C]`.

    `exact`: in which matrices are multiplied; on GPUs, where products of float32 keep three digits,
    float64.
    """
    root, mean, blur = target[:, :-2], target[:, -2:-1], target[0, -1]
    covariance = found[:, :-1] + tf.linalg.diag(blur)
    variances = tf.linalg.trace(covariance) + sum_per_image(tf.square(root))
    common = _trace_of_root(covariance, root[0], tf.square(blur[0]), exact)
    return squared_distance(found[:, -1:], mean) + variances - 2 * common


def _trace_of_root(covariance: Tensor, root: Tensor, least: Tensor, exact: tf.DType) -> Tensor:
    """Traces of (R C R)^½, whose eigenvalues are `least` or more but for rounding: `[B]`.

    The derivative is ½ R (R C R)^-½ R. Eigenvalues that rounding has pushed below go on along
    the root's tangent, so that value and derivative stay finite and belong together.
    """

    def product(one: Tensor, other: Tensor, *, transposed: bool = False) -> Tensor:
        found = tf.matmul(tf.cast(one, exact), tf.cast(other, exact), transpose_b=transposed)
        return tf.cast(found, tf.float32)

    def one(covariance: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = _eigen(product(product(root, covariance), root))
        roots = tf.sqrt(tf.maximum(values, least))
        slope = product(vectors / roots, vectors, transposed=True)
        return tf.reduce_sum(values / roots + roots) / 2, product(product(root, slope), root)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def traces(covariance: Tensor) -> tuple[Tensor, Any]:
        # One by one, so that an image has the same bits in every batch.
        found, slopes = tf.map_fn(one, covariance, fn_output_signature=(tf.float32, tf.float32))

        def gradient(upstream: Tensor) -> Tensor:
            return per_matrix(upstream) * slopes / 2

        return found, gradient

    return traces(covariance)


def _eigen(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors; for matrices with entries that are no numbers, no numbers.

    TensorFlow would stop the whole batch.
    """
    finite = tf.reduce_all(tf.math.is_finite(matrices), axis=[-2, -1], keepdims=True)
    values, vectors = tf.linalg.eigh(tf.where(finite, matrices, tf.zeros_like(matrices)))
    return tf.where(finite[..., 0], values, float("nan")), vectors
