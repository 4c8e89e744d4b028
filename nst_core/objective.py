"""What is minimised: targets computed once, named terms, their weighted sum.

Gatys, Ecker, Bethge (CVPR 2016). Every function works on a batch `[B, …]` and gives one value
per image; images of a batch do not influence each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nst_core import losses
from nst_core.config import StyleConfig
from nst_core.layers import stride
from nst_core.vgg import Vgg19

Tensor = Any
Targets = dict[str, dict[str, Tensor]]
# Sums over positions by kind, then by layer: those of a picture's tiles add up to the picture's.
Sums = dict[str, dict[str, Tensor]]

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
        self.relative = config.normalization == "energy"
        self.covariance = config.style_statistics == "covariance"
        self.varies = config.tv_weight > 0

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

    def content_targets(self, content: Tensor, window: Tensor | None = None) -> dict[str, Tensor]:
        """Content features by layer of images `[B, H, W, 3]`, or of their part inside `window`.

        A window is that of a tile: top, bottom, left and right of its interior, px.
        """
        found = self._features(content, self.content_layers, window)
        return {name: tf.cast(feature, tf.float32) for name, feature in found.items()}

    def style_targets(self, style: Tensor) -> dict[str, Tensor]:
        """Statistics per position by layer `[1, …]` of one style image `[1, H, W, 3]`."""
        return self.statistics(self.style_sums(style))

    def style_sums(self, style: Tensor, window: Tensor | None = None) -> Sums:
        """What `statistics` are made of, from one style image or the inside of its tile."""
        return self._style_sums(self._features(style, self.style_layers, window))

    def statistics(self, sums: Sums) -> dict[str, Tensor]:
        """Per position, by layer: the Gram matrix, or covariance with the means as one more row."""
        return {
            name: self._statistics(sums["moments"][name], sums["positions"][name])
            for name in self.style_layers
        }

    def evaluate(self, x: Tensor, targets: Targets, weights: dict[str, Tensor]) -> Tensor:
        """The weighted terms of images `[B, H, W, 3]`, float32 `[B, len(columns)]`."""
        content = targets["content"]
        units = self.content_units({name: [content[name]] for name in self.content_layers})
        size = tf.cast(tf.shape(x)[1] * tf.shape(x)[2], tf.float32)
        return self.terms(self.sums(x, content), units, targets["style"], weights, size)

    def sums(self, x: Tensor, content: dict[str, Tensor], window: Tensor | None = None) -> Sums:
        """What the terms of images are made of, or of the inside of their tiles.

        Args:
            x: images or tiles `[B, H, W, 3]`.
            content: `content_targets` of the same window.
            window: see `content_targets`.
        """
        found = self._features(x, {*self.content_layers, *self.style_layers}, window)
        distances = {
            name: losses.content_loss(content[name], found[name]) for name in self.content_layers
        }
        return {
            **self._style_sums({name: found[name] for name in self.style_layers}),
            "content": distances,
            "variation": {"image": self._variation(x, window)},
        }

    def terms(
        self,
        sums: Sums,
        units: dict[str, Tensor],
        style_targets: dict[str, Tensor],
        weights: dict[str, Tensor],
        size: Tensor,
    ) -> Tensor:
        """The weighted terms `[B, len(columns)]` from the `sums` of whole images of `size` px²."""
        content = tf.add_n(
            [
                weights["content"][i] * sums["content"][name] / units[name]
                for i, name in enumerate(self.content_layers)
            ]
        )
        statistics = self.statistics(sums)
        by_layer = [
            weights["style"][i]
            * self._style_term(statistics[name], style_targets[name], sums["positions"][name], size)
            for i, name in enumerate(self.style_layers)
        ]
        style = tf.add_n(by_layer)
        variation = weights["tv"] * sums["variation"]["image"]
        if self.relative:
            variation /= size
        total = content + style + variation
        return tf.stack([total, content, style, variation, *by_layer], axis=1)

    def content_units(self, targets: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """What each layer's squared distance to the content is measured in, `[B]`.

        Args:
            targets: content features by layer, whole or in the pieces of tiles.
        """
        return {name: self._content_unit(pieces) for name, pieces in targets.items()}

    def _content_unit(self, pieces: list[Tensor]) -> Tensor:
        if not self.relative:
            return tf.ones(tf.shape(pieces[0])[:1])
        count = tf.add_n([tf.cast(tf.size(piece[0]), tf.float32) for piece in pieces])
        mean = tf.add_n([losses.sum_per_image(piece) for piece in pieces]) / count
        squares = [
            losses.sum_per_image((piece - mean[:, None, None, None]) ** 2) for piece in pieces
        ]
        return count * (tf.add_n(squares) / count + LEAST_ENERGY)

    def _features(self, x: Tensor, layers: Any, window: Tensor | None) -> dict[str, Tensor]:
        found = self.network.features(x, layers)
        if window is None:
            return found
        return {name: _inside(found[name], window // stride(name)) for name in found}

    def _style_sums(self, features: dict[str, Tensor]) -> Sums:
        return {
            "moments": {name: self._moments(feature) for name, feature in features.items()},
            "positions": {
                name: tf.cast(tf.shape(feature)[1] * tf.shape(feature)[2], tf.float32)
                for name, feature in features.items()
            },
        }

    def _moments(self, feature: Tensor) -> Tensor:
        """The Gram matrix; for covariances the channels' sums as one more row."""
        gram = losses.gram_matrix(feature)
        if not self.covariance:
            return gram
        total = tf.reduce_sum(tf.cast(feature, tf.float32), axis=[1, 2])
        return tf.concat([gram, total[:, None, :]], axis=1)

    def _statistics(self, moments: Tensor, positions: Tensor) -> Tensor:
        found = moments / positions
        if not self.covariance:
            return found
        mean = found[:, -1:]
        centred = found[:, :-1] - tf.linalg.matrix_transpose(mean) * mean
        return tf.concat([centred, mean], axis=1)

    def _style_term(self, found: Tensor, target: Tensor, positions: Tensor, size: Tensor) -> Tensor:
        if self.covariance and self.relative:
            # Covariances grow with the square of the features, means with the features.
            covariances = _relative_distance(found[:, :-1], target[:, :-1])
            return (covariances + _relative_distance(found[:, -1:], target[:, -1:])) / 2
        if self.relative:
            return _relative_distance(found, target)
        return losses.gram_loss(target * positions, found * positions, size)

    def _variation(self, x: Tensor, window: Tensor | None) -> Tensor:
        if not self.varies:
            return tf.zeros(tf.shape(x)[:1])
        if window is not None:
            # With the row and the column behind the interior, to which its last differences lead.
            x = _inside(x, tf.add(window, [0, 1, 0, 1]))
        return losses.total_variation_loss(x / PIXEL_RANGE if self.relative else x)


def _inside(x: Tensor, window: Tensor) -> Tensor:
    """The part of `[B, H, W, C]` from the window's top to its bottom and from left to right."""
    return x[:, window[0] : window[1], window[2] : window[3]]


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
