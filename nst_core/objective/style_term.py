"""One layer's style term: which statistics are taken of features, and how they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nst_core.config import StyleConfig
from nst_core.objective import losses, wasserstein

Tensor = Any

# Features that are all nothing have no energy; this floor keeps terms finite.
LEAST_ENERGY = 1e-12
# What varies counts as at least this share of the energy of the means: flat pictures have next to
# no variance, and a term measured in it would drown all others. Paintings have a tenth and more.
LEAST_VARIATION = 0.01


class StyleTerm:
    """The statistics of `style_statistics`, and their distance under `normalization`."""

    def __init__(self, config: StyleConfig, *, on_gpu: bool = False) -> None:
        self.kind = config.style_statistics
        self.exact = tf.float64 if on_gpu else tf.float32
        self.normalization = config.normalization
        self.relative = config.normalization == "energy"
        self.gram_matrix: losses.GramMatrix = losses.gram_matrix

    def moments(self, feature: Tensor, mask: Tensor | None) -> Tensor:
        """Sums over positions of features `[B, H, W, C]`, each counted by `mask [B, H, W, 1]`."""
        if self.kind == "gram":
            return self.gram_matrix(losses.under_mask(feature, mask))
        return losses.moments(feature, mask, self.gram_matrix)

    def statistics(self, moments: Tensor, covered: Tensor) -> Tensor:
        """Per position, from the moments of so many `[B]`: the Gram matrix, or covariance with
        the means as one more row."""
        if self.kind == "gram":
            return tf.math.divide_no_nan(moments, losses.per_matrix(covered))
        mean, covariance = losses.mean_and_covariance(moments, covered)
        return tf.concat([covariance, mean[:, None, :]], axis=1)

    def gram(self, statistics: Tensor) -> Tensor:
        """The Gram matrices per position `[B, C, C]` in `statistics`."""
        if self.kind == "gram":
            return statistics
        mean = statistics[:, -1]
        return statistics[:, :-1] + mean[:, :, None] * mean[:, None, :]

    def target(self, statistics: Tensor) -> Tensor:
        """What `distance` takes of a style: what is the same in every step, done once."""
        return wasserstein.target(statistics) if self.kind == "wasserstein" else statistics

    def distance(self, found: Tensor, target: Tensor, positions: Tensor, size: Tensor) -> Tensor:
        """Of statistics from a style's, `[B]`; positions of the layer, size of the image in px²."""
        channels = target.shape[2]
        if self.kind == "wasserstein":
            distance = wasserstein.distance(found, target, self.exact)
            if self.relative:
                return distance / (wasserstein.energy(target) + LEAST_ENERGY)
            return distance / channels if self.normalization == "mean" else distance
        if self.kind == "covariance" and self.relative:
            # Covariances grow with the square of the features, means with the features.
            least = LEAST_VARIATION * tf.reduce_sum(tf.square(target[:, -1]), axis=1) ** 2
            covariances = _relative_distance(found[:, :-1], target[:, :-1], least)
            return (covariances + _relative_distance(found[:, -1:], target[:, -1:])) / 2
        if self.relative:
            return _relative_distance(found, target)
        if self.normalization == "mean":
            # Inner products per element of the features, then the mean over their differences.
            entries = target.shape[1] * channels
            return losses.squared_distance(found, target) / (channels**2 * entries)
        return losses.gram_loss(target * positions, found * positions, size)


def mixed(targets: Sequence[dict[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of several styles' targets."""
    if len(targets) == 1:
        return targets[0]
    shares = [weight / sum(weights) for weight in weights]
    return {
        name: tf.add_n([share * one[name] for share, one in zip(shares, targets, strict=True)])
        for name in targets[0]
    }


def _relative_distance(found: Tensor, target: Tensor, least: Tensor | float = 0.0) -> Tensor:
    """Squared distance over the target's energy, `least` at the least: `[B, …]` twice `→ [B]`."""
    energy = tf.maximum(tf.reduce_sum(tf.square(target), axis=[1, 2]), least)
    return losses.squared_distance(found, target) / (energy + LEAST_ENERGY)
