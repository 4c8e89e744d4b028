"""What is minimised: targets computed once, named terms, their weighted sum.

Gatys, Ecker, Bethge (CVPR 2016). Every function works on a batch `[B, …]` and gives one value
per image; images of a batch do not influence each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nst_core import losses, wasserstein
from nst_core.config import StyleConfig
from nst_core.vgg import Vgg19, average_pool

Tensor = Any
Targets = dict[str, dict[str, Tensor]]

PIXEL_RANGE = 255.0
# Targets of flat images have next to no energy; this floor keeps their terms finite.
LEAST_ENERGY = 1e-12


class Objective:
    """The terms of one configuration, for one network.

    Only names and kinds are fixed here (they shape the compiled graph); weights are tensors, so
    that changing a weight compiles nothing anew.
    """

    def __init__(self, network: Vgg19, config: StyleConfig) -> None:
        self.network = network
        self.content_layers = tuple(sorted(config.content_layers))
        self.style_layers = tuple(sorted(config.style_layers))
        self.normalization = config.normalization
        self.relative = config.normalization == "energy"
        self.statistics = config.style_statistics
        self.varies = config.tv_weight > 0
        self.tv_norm = config.tv_norm
        self.unit_gradients = config.normalize_gradients

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what `evaluate` returns per image, in order."""
        return (
            "total",
            "content",
            "style",
            "tv",
            *(f"style/{name}" for name in self.style_layers),
        )

    def weights(self, config: StyleConfig) -> dict[str, Tensor]:
        """The configuration's weights as tensors; layer weights become shares of their sum."""
        return {
            "content": _shares(config.content_layers, self.content_layers, config.content_weight),
            "style": _shares(config.style_layers, self.style_layers, config.style_weight),
            "tv": tf.constant(config.tv_weight, tf.float32),
        }

    def content_targets(self, content: Tensor) -> dict[str, Tensor]:
        """Content features by layer of images `[B, H, W, 3]`."""
        found = self.network.features(content, self.content_layers)
        return {name: tf.cast(feature, tf.float32) for name, feature in found.items()}

    def style_targets(self, style: Tensor) -> dict[str, Tensor]:
        """Statistics per position by layer `[1, …]` of one style image `[1, H, W, 3]`.

        Those of several styles can be `mixed`; `finished` makes of them what `evaluate` takes.
        """
        found = self.network.features(style, self.style_layers)
        return {name: self._statistics(feature) for name, feature in found.items()}

    def finished(self, statistics: dict[str, Tensor]) -> dict[str, Tensor]:
        """Style targets by layer, from statistics: what is the same in every step, done once."""
        if self.statistics != "wasserstein":
            return statistics
        return {name: wasserstein.target(one) for name, one in statistics.items()}

    def regions(self, masks: Tensor, weights: Sequence[float]) -> dict[str, Tensor]:
        """Where each of several styles goes, as `evaluate` takes it; Gatys et al. 2017
        (arXiv 1611.07865), guided Gram matrices.

        Args:
            masks: `[B, H, W, S]` in 0…1; soft edges are weights of positions.
            weights: of the S styles.

        Returns:
            By layer each position's share in the style's statistics, `[B, h, w, S]`, and
            `share`, the part of each style in the term, `[S]`.
        """
        found = {"share": tf.constant([weight / sum(weights) for weight in weights], tf.float32)}
        block = 1
        for name in self.style_layers:
            for _ in range(block, int(name[len("block")])):
                masks = average_pool(masks)
            block = int(name[len("block")])
            whole = tf.reduce_sum(masks, axis=[1, 2], keepdims=True)
            found[name] = tf.math.divide_no_nan(masks, whole)
        return found

    def evaluate(self, x: Tensor, targets: Targets, weights: dict[str, Tensor]) -> Tensor:
        """The weighted terms of images `[B, H, W, 3]`, float32 `[B, len(columns)]`.

        With `targets["kept"]` they are those of the images with that share of the content in
        them; with `targets["regions"]` each style counts where its region is, on its own.
        """
        if "kept" in targets:
            kept = targets["kept"]
            x = kept["share"] * kept["content"] + (1 - kept["share"]) * x
        needed = {*self.content_layers, *self.style_layers}
        features = self.network.features(x, needed)
        content_terms = []
        for i, name in enumerate(self.content_layers):
            weight = weights["content"][i]
            feature = self._entrance(features[name], weight)
            content_terms.append(weight * self._content_term(feature, targets["content"][name]))
        content = tf.add_n(content_terms)
        size = tf.cast(tf.shape(x)[1] * tf.shape(x)[2], tf.float32)
        by_layer = []
        for i, name in enumerate(self.style_layers):
            weight = weights["style"][i]
            feature = self._entrance(features[name], weight)
            by_layer.append(weight * self._style_layer(name, feature, targets, size))
        style = tf.add_n(by_layer)
        variation = weights["tv"] * self._variation_term(x, size)
        total = content + style + variation
        return tf.stack([total, content, style, variation, *by_layer], axis=1)

    def _entrance(self, feature: Tensor, weight: Tensor) -> Tensor:
        """The feature on its way into a term; what `normalize_gradients` does to the way back."""
        return losses.with_unit_gradient(feature, weight) if self.unit_gradients else feature

    def _content_term(self, feature: Tensor, target: Tensor) -> Tensor:
        loss = losses.content_loss(target, feature)
        if self.normalization == "none":
            return loss
        count = tf.cast(tf.size(target[0]), tf.float32)
        if self.normalization == "mean":
            return loss / count
        mean = losses.sum_per_image(target) / count
        variance = losses.sum_per_image((target - mean[:, None, None, None]) ** 2) / count
        return loss / (count * (variance + LEAST_ENERGY))

    def _style_layer(self, name: str, feature: Tensor, targets: Targets, size: Tensor) -> Tensor:
        target = targets["style"][name]
        if "regions" not in targets:
            return self._style_term(feature, target, size)
        regions = targets["regions"]
        return tf.add_n(
            [
                regions["share"][i]
                * self._style_term(feature, target[i : i + 1], size, regions[name][..., i : i + 1])
                for i in range(target.shape[0])
            ]
        )

    def _statistics(self, feature: Tensor, share: Tensor | None = None) -> Tensor:
        """Per position: the Gram matrix, or covariance with the means as one more row."""
        if self.statistics == "gram":
            return losses.second_moment(feature, share)
        mean, covariance = losses.mean_and_covariance(feature, share)
        return tf.concat([covariance, mean[:, None, :]], axis=1)

    def _style_term(
        self, feature: Tensor, target: Tensor, size: Tensor, share: Tensor | None = None
    ) -> Tensor:
        found = self._statistics(feature, share)
        if self.statistics == "wasserstein":
            distance = wasserstein.distance(found, target)
            if self.relative:
                return distance / (wasserstein.energy(target) + LEAST_ENERGY)
            return distance / feature.shape[3] if self.normalization == "mean" else distance
        if self.statistics == "covariance" and self.relative:
            # Covariances grow with the square of the features, means with the features.
            covariances = _relative_distance(found[:, :-1], target[:, :-1])
            return (covariances + _relative_distance(found[:, -1:], target[:, -1:])) / 2
        if self.relative:
            return _relative_distance(found, target)
        if self.normalization == "mean":
            # Inner products per element of the features, then the mean over their differences.
            entries = target.shape[1] * target.shape[2]
            return losses.squared_distance(found, target) / (feature.shape[3] ** 2 * entries)
        shape = tf.shape(feature)
        positions = tf.cast(shape[1] * shape[2], tf.float32)
        return losses.gram_loss(target * positions, found * positions, size)

    def _variation_term(self, x: Tensor, size: Tensor) -> Tensor:
        if not self.varies:
            return tf.zeros(tf.shape(x)[:1])
        if not self.relative:
            return losses.total_variation_loss(x, self.tv_norm)
        return losses.total_variation_loss(x / PIXEL_RANGE, self.tv_norm) / size


def mixed(targets: Sequence[dict[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of several styles' targets."""
    shares = [weight / sum(weights) for weight in weights]
    return {
        name: tf.add_n([share * one[name] for share, one in zip(shares, targets, strict=True)])
        for name in targets[0]
    }


def _relative_distance(found: Tensor, target: Tensor) -> Tensor:
    """Squared distance over the target's energy: `[B, …]` twice `→ [B]`."""
    energy = tf.reduce_sum(tf.square(target), axis=[1, 2])
    return losses.squared_distance(found, target) / (energy + LEAST_ENERGY)


def _shares(layers: Any, names: tuple[str, ...], weight: float) -> Tensor:
    whole = sum(layers.values())
    return tf.constant([weight * layers[name] / whole for name in names], tf.float32)
