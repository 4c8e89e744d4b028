"""What is minimised: targets computed once, named terms, their weighted sum.

Gatys, Ecker, Bethge (CVPR 2016). Every function works on a batch `[B, …]` and gives one value
per image; images of a batch do not influence each other.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nst_core.config import StyleConfig
from nst_core.layers import block_of, stride
from nst_core.network.pooling import average_pool
from nst_core.network.vgg import Vgg19
from nst_core.objective import losses, quality
from nst_core.objective.losses import Stiffness, StiffnessAt
from nst_core.objective.style_term import LEAST_ENERGY, LEAST_VARIATION, StyleTerm

Tensor = Any
# By `content`, `style`, `regions` and `kept`, then by layer: see `Objective.evaluate`.
Targets = dict[str, dict[str, Any]]
# Features on their way into the terms, by `content` and `style`, then by layer.
Features = dict[str, dict[str, Tensor]]
# Sums over positions by kind, then by layer: those of a picture's tiles add up to the picture's.
Sums = dict[str, dict[str, Any]]
# What whole pictures' sums are compared with, and measured in: see `Objective.aims`.
Aims = dict[str, dict[str, Any]]

PIXEL_RANGE = 255.0
# The least difference of neighbours for the curvature of `tv_norm: l1`, in levels of 0…255.
LEAST_DIFFERENCE = 0.25


class Objective:
    """The terms of one configuration, for one network, which is on a GPU or not.

    Only names and kinds are fixed here (they shape the compiled graph); weights are tensors, so
    that changing a weight compiles nothing anew.
    """

    def __init__(self, network: Vgg19, config: StyleConfig, *, on_gpu: bool = False) -> None:
        self.network = network
        self.content_layers = tuple(sorted(config.content_layers))
        self.style_layers = tuple(sorted(config.style_layers))
        self.normalization = config.normalization
        self.relative = config.normalization == "energy"
        self.style_term = StyleTerm(config, on_gpu=on_gpu)
        self.varies = config.tv_weight > 0
        self.tv_norm = config.tv_norm
        self.unit_gradients = config.normalize_gradients

    def for_xla(self) -> Objective:
        """The same objective for the inside of what XLA compiles; elsewhere it does not run.

        What differs: `losses.gram_matrices`, `network.xla_kernels`.
        """
        found = copy.copy(self)
        found.network = self.network.for_xla()
        found.style_term = copy.copy(self.style_term)
        found.style_term.gram_matrix = losses.gram_matrices
        return found

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

    def weights(self, config: StyleConfig, scale: float = 1.0) -> dict[str, Tensor]:
        """The configuration's weights as tensors; layer weights become shares of their sum.

        At a coarse `scale` a plain sum over the content's positions has fewer of them, while the
        style's statistics stay: it counts so much more that the balance is that of full scale.
        """
        content_weight = config.content_weight
        if self.normalization == "none":
            content_weight /= scale**2
        return {
            "content": _shares(config.content_layers, self.content_layers, content_weight),
            "style": _shares(config.style_layers, self.style_layers, config.style_weight),
            "tv": tf.constant(config.tv_weight, tf.float32),
        }

    def stiffness_at(self, weights: dict[str, Tensor]) -> StiffnessAt | None:
        """What is known of the curvature: the total variation's, as optimisers take it.

        None where it is no great part of the whole: with relative terms it saved one step in ten
        at the cost of as much, and the pictures lost more of the content on the way.
        """
        if not self.varies or self.normalization != "none":
            return None

        def stiffness(x: Tensor) -> Stiffness:
            down, right = losses.variation_stiffness(x, self.tv_norm, LEAST_DIFFERENCE)
            return weights["tv"] * down, weights["tv"] * right

        return stiffness

    def content_targets(self, content: Tensor, window: Tensor | None = None) -> dict[str, Tensor]:
        """Content features by layer of images `[B, H, W, 3]`, or of their part inside `window`.

        A window is that of a tile: top, bottom, left and right of its interior, px.
        """
        found = self._features(content, self.content_layers, window)
        return {name: tf.cast(feature, tf.float32) for name, feature in found.items()}

    def style_targets(self, style: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Statistics per position by layer `[B, …]` of images `[B, H, W, 3]`.

        With a `mask [B, H, W, 1]` in 0…1, those of what is under it. Those of several styles can
        be `mixed`; `finished` makes of them what `evaluate` takes.
        """
        regions = None if mask is None else self.regions(mask, [[1.0]])
        return self.statistics(self.style_sums(style, regions=regions))

    def style_sums(
        self,
        style: Tensor,
        window: Tensor | None = None,
        regions: dict[str, Tensor] | None = None,
    ) -> Sums:
        """What `statistics` are made of, from images or the inside of their tiles.

        `regions`: how much each position counts, as `regions` gives it.
        """
        return self._style_sums(self._features(style, self.style_layers, window), regions)

    def statistics(self, sums: Sums) -> dict[str, Tensor]:
        """Per position, by layer: the Gram matrix, or covariance with the means as one more row."""
        return {
            name: self.style_term.statistics(sums["moments"][name][0], sums["covered"][name][0])
            for name in self.style_layers
        }

    def gram_errors(
        self, found: dict[str, Tensor], styles: dict[str, Tensor], shares: Tensor
    ) -> Tensor:
        """How far images are from their styles, by layer: `[B, len(style_layers)]`.

        Args:
            found: statistics of the images by layer, `[B, …]`.
            styles: those of each image's styles, one image after the other, `[B · S, …]`.
            shares: see `quality.gram_errors`.
        """
        gram = self.style_term.gram
        errors = []
        for name in self.style_layers:
            one = gram(found[name])
            each = tf.reshape(
                gram(styles[name]), tf.concat([tf.shape(shares), tf.shape(one)[1:]], 0)
            )
            errors.append(quality.gram_errors(one, each, shares))
        return tf.stack(errors, axis=1)

    def finished(self, *regions: dict[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """Style targets by layer, from the statistics for each region.

        What is the same in every step, done once.
        """
        return {
            name: tuple(self.style_term.target(one[name]) for one in regions)
            for name in self.style_layers
        }

    def regions(self, masks: Tensor, weights: Sequence[Sequence[float]]) -> dict[str, Tensor]:
        """Where each of several styles goes, as `evaluate` takes it; Gatys et al. 2017
        (arXiv 1611.07865), guided Gram matrices.

        Args:
            masks: `[B, H, W, S]` in 0…1; soft edges are weights of positions.
            weights: of the S styles of each image.

        Returns:
            By layer how much each position counts in the style's statistics, `[B, h, w, S]`,
            and `share`, the part of each style in the term, `[B, S]`.
        """
        shares = [[weight / sum(one) for weight in one] for one in weights]
        found = {"share": tf.constant(shares, tf.float32)}
        block = 1
        for name in self.style_layers:
            while block < block_of(name):
                masks = average_pool(masks)
                block += 1
            found[name] = masks
        return found

    def evaluate(
        self, x: Tensor, targets: Targets, aims: Aims, weights: dict[str, Tensor]
    ) -> Tensor:
        """The weighted terms of images `[B, H, W, 3]`, float32 `[B, len(columns)]`.

        All targets are of each image, `[B, …]`; those of `style` are tuples, with a tensor for
        each region. With `targets["kept"]` the terms are those of the images with that share of
        the content in them; with `targets["regions"]` each style counts where its region is.
        `aims` are those of the targets.
        """
        sums = self.sums(x, targets, weights=weights)
        return self.terms(sums, aims, weights, losses.positions_of(x))

    def sums(
        self,
        x: Tensor,
        targets: Targets,
        window: Tensor | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Sums:
        """What the terms of images are made of, or of the inside of their tiles.

        Args:
            x: images or tiles `[B, H, W, 3]`.
            targets: as in `evaluate`; for tiles `content` and `regions` of the window, `kept` of
                the tile.
            window: see `content_targets`.
            weights: of the layers, to which `normalize_gradients` brings the way back; without
                them that is left as it is.
        """
        x = self.composed(x, targets)
        features = self.entrances(x, window)
        if self.unit_gradients and weights is not None:
            features = self._with_unit_gradients(features, weights)
        return {
            **self.feature_sums(features, targets),
            "variation": {"image": self._variation(x, window)},
        }

    def composed(self, x: Tensor, targets: Targets) -> Tensor:
        """The images with what is kept of the content in them."""
        if "kept" not in targets:
            return x
        kept = targets["kept"]
        return kept["share"] * kept["content"] + (1 - kept["share"]) * x

    def entrances(self, x: Tensor, window: Tensor | None) -> Features:
        """Features of images, or of the inside of their tiles, on their way into the terms."""
        found = self._features(x, {*self.content_layers, *self.style_layers}, window)
        return {
            "content": {name: found[name] for name in self.content_layers},
            "style": {name: found[name] for name in self.style_layers},
        }

    def feature_sums(self, features: Features, targets: Targets) -> Sums:
        """The part of `sums` that is made of features."""
        content = targets["content"]
        distances = {
            name: losses.content_loss(content[name], feature)
            for name, feature in features["content"].items()
        }
        return {
            **self._style_sums(features["style"], targets.get("regions")),
            "content": distances,
        }

    def aims(self, targets: Targets) -> Aims:
        """What `terms` compares sums with.

        Args:
            targets: as in `evaluate`; content features whole or as lists of the tiles' pieces.

        Returns:
            `style` as in `targets`; `units`: what each layer's squared distance to the content is
            measured in, `[B]`; `share`: the part of each style in the term, `[B, S]`.
        """
        content = targets["content"]
        units = {name: self._content_unit(content[name]) for name in self.content_layers}
        if "regions" in targets:
            share = targets["regions"]["share"]
        else:
            share = tf.ones_like(units[self.content_layers[0]])[:, None]
        return {"style": targets["style"], "units": units, "share": {"style": share}}

    def terms(self, sums: Sums, aims: Aims, weights: dict[str, Tensor], size: Tensor) -> Tensor:
        """The weighted terms `[B, len(columns)]` from the `sums` of whole images of `size` px²."""
        content = tf.add_n(
            [
                weights["content"][i] * (sums["content"][name] / aims["units"][name])
                for i, name in enumerate(self.content_layers)
            ]
        )
        by_layer = [
            weights["style"][i] * self._style_layer(name, sums, aims, size)
            for i, name in enumerate(self.style_layers)
        ]
        style = tf.add_n(by_layer)
        variation = sums["variation"]["image"]
        variation = weights["tv"] * (variation / size if self.relative else variation)
        total = content + style + variation
        return tf.stack([total, content, style, variation, *by_layer], axis=1)

    def _features(self, x: Tensor, layers: Any, window: Tensor | None) -> dict[str, Tensor]:
        found = self.network.features(x, layers)
        if window is None:
            return found
        return {name: _inside(found[name], window // stride(name)) for name in found}

    def _with_unit_gradients(self, features: Features, weights: dict[str, Tensor]) -> Features:
        """The features; what `normalize_gradients` does to the way back."""
        return {
            kind: {
                name: losses.with_unit_gradient(feature, weights[kind][i])
                for i, (name, feature) in enumerate(layers.items())
            }
            for kind, layers in features.items()
        }

    def _style_sums(self, features: dict[str, Tensor], regions: dict[str, Tensor] | None) -> Sums:
        """For every layer `moments` and how many positions they `covered`, for each region one."""
        sums: Sums = {"moments": {}, "covered": {}, "positions": {}}
        for name, feature in features.items():
            positions = losses.positions_of(feature)
            masks = tf.split(regions[name], regions[name].shape[3], axis=3) if regions else [None]
            sums["positions"][name] = positions
            sums["moments"][name] = tuple(self.style_term.moments(feature, mask) for mask in masks)
            sums["covered"][name] = tuple(
                tf.expand_dims(positions, 0) if mask is None else losses.sum_per_image(mask)
                for mask in masks
            )
        return sums

    def _content_unit(self, target: Tensor | list[Tensor]) -> Tensor:
        pieces = tf.nest.flatten(target)
        ones = tf.ones(tf.shape(pieces[0])[:1])
        if self.normalization == "none":
            return ones
        count = tf.add_n([tf.cast(tf.size(piece[0]), tf.float32) for piece in pieces])
        if self.normalization == "mean":
            return count * ones
        mean = tf.add_n([losses.sum_per_image(piece) for piece in pieces]) / count
        squares = [
            losses.sum_per_image((piece - mean[:, None, None, None]) ** 2) for piece in pieces
        ]
        variance = tf.maximum(tf.add_n(squares) / count, LEAST_VARIATION * tf.square(mean))
        return count * (variance + LEAST_ENERGY)

    def _style_layer(self, name: str, sums: Sums, aims: Aims, size: Tensor) -> Tensor:
        """The distance from the style, or the mean of those from several under their masks."""
        shares, positions = tf.unstack(aims["share"]["style"], axis=1), sums["positions"][name]
        regions = zip(
            sums["moments"][name], sums["covered"][name], aims["style"][name], strict=True
        )
        found = []
        for share, (moments, covered, target) in zip(shares, regions, strict=True):
            one = self.style_term.statistics(moments, covered)
            found.append(share * self.style_term.distance(one, target, positions, size))
        return tf.add_n(found)

    def _variation(self, x: Tensor, window: Tensor | None) -> Tensor:
        if not self.varies:
            return tf.zeros(tf.shape(x)[:1])
        if window is not None:
            # With the row and the column behind the interior, to which its last differences lead.
            x = _inside(x, tf.add(window, [0, 1, 0, 1]))
        return losses.total_variation_loss(x / PIXEL_RANGE if self.relative else x, self.tv_norm)


def _inside(x: Tensor, window: Tensor) -> Tensor:
    """The part of `[B, H, W, C]` from the window's top to its bottom and from left to right."""
    return x[:, window[0] : window[1], window[2] : window[3]]


def _shares(layers: Any, names: tuple[str, ...], weight: float) -> Tensor:
    whole = sum(layers.values())
    return tf.constant([weight * layers[name] / whole for name in names], tf.float32)
