"""The optimisation of pictures too large for one pass of the network: by tiles, on the host.

Two passes over the tiles make one evaluation. The first adds up what the terms are made of, all
of it sums over positions; the last gives each tile's share of the gradient, halo included. With
`normalize_gradients` one between them adds up the norms that it needs.
Loss and gradient are those of the whole picture, at the edges of tiles too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.compiled.graphs import Graph
from nst_core.devices.tiles import Tile, tiles_of
from nst_core.engine.program import MASKS, ONE_IMAGE, Program, any_size
from nst_core.layers import halo, stride
from nst_core.objective.losses import per_matrix, sum_per_image
from nst_core.objective.objective import Aims, Objective, Sums, Targets
from nst_core.optimizers import loop

Tensor = Any
T = TypeVar("T")

# Top, bottom, left and right of a tile's interior.
WINDOW = tf.TensorSpec([4], tf.int32)
ZERO = tf.UnconnectedGradients.ZERO


class _Passes(NamedTuple):
    """Graphs for all tiles of all pictures."""

    sums: Any  # of a tile
    terms: Any  # of a picture, and what pulls at its sums
    norms: Any  # of a tile, for `normalize_gradients`
    gradient: Any  # of a tile


class TiledProgram(Program):
    """A `Program` whose evaluations need memory for one tile's features, not the picture's.

    It takes one picture at a time. Its content targets are lists, with a piece for each tile.

    Args:
        side: of the tiles' interiors, px.
    """

    def __init__(self, objective: Objective, optimizer: loop.Optimizer, side: int) -> None:
        super().__init__(objective, optimizer, xla=False)
        self.side = side
        self.halo = halo({*objective.content_layers, *objective.style_layers})
        self._content_inside = Graph(objective.content_targets, ONE_IMAGE, WINDOW)
        self._style_sums = Graph(objective.style_sums, ONE_IMAGE, WINDOW)
        regions = dict.fromkeys(objective.style_layers, MASKS)
        self._masked_style_sums = Graph(objective.style_sums, ONE_IMAGE, WINDOW, regions)
        self._passes: _Passes | None = None

    def content_targets(self, images: Tensor) -> dict[str, Any]:
        """Content features by layer, cut into the insides of the tiles."""
        layers = self.objective.content_layers
        tiles = self._tiles(images)
        found = [self._content_inside(tile.cut(images), tile.window) for tile in tiles]
        return {name: [piece[name] for piece in found] for name in layers}

    def style_targets(self, images: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """See `Objective.style_targets`; of one image."""
        return self.objective.statistics(self._whole_style_sums(images, mask))

    def _whole_style_sums(self, image: Tensor, mask: Tensor | None) -> Sums:
        tiles = self._tiles(image)
        if mask is None:
            return _added(self._style_sums(tile.cut(image), tile.window) for tile in tiles)
        regions = self.objective.regions(tf.convert_to_tensor(mask), [[1.0]])
        return _added(
            self._masked_style_sums(tile.cut(image), tile.window, self._inside(tile, regions))
            for tile in tiles
        )

    def _inside(self, tile: Tile, regions: dict[str, Tensor]) -> dict[str, Tensor]:
        """How much each position inside a tile counts, by style layer."""
        return {
            name: tile.inside(regions[name], stride(name)) for name in self.objective.style_layers
        }

    def advance(
        self,
        state: loop.State,
        targets: Targets,
        weights: dict[str, Tensor],
        learning_rate: float,
        count: int,
    ) -> tuple[loop.State, np.ndarray]:
        """See `Program.advance`. Empties the given state: a second one need not fit."""
        current = dict(state)
        state.clear()
        aims = self.objective.aims(targets)
        rate = tf.constant(learning_rate)
        log = []

        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            return self.evaluate(x, targets, aims, weights)

        stiffness_at = self.objective.stiffness_at(weights)
        for _ in range(count):
            current = self.optimizer.step(current, evaluate, rate, stiffness_at)
            log.append(current["terms"].numpy())
        log[-1] += loop.spoiled(self.optimizer.result(current))[:, None].numpy()
        return current, np.stack(log)

    def evaluate(
        self, x: Tensor, targets: Targets, aims: Aims, weights: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Terms `[1, T]` and the total's gradient `[1, H, W, 3]` at a picture.

        Args:
            aims: `Objective.aims` of the targets.
        """
        tiles = self._tiles(x)

        def parts() -> Iterator[tuple[Tile, Tensor, Targets, np.ndarray]]:
            for index, tile in enumerate(tiles):
                yield tile, tile.cut(x), self._piece(targets, tile, index), tile.window

        size = tf.constant(float(x.shape[1] * x.shape[2]))
        if self._passes is None:
            self._passes = self._traced_passes(self._piece(targets, tiles[0], 0), aims, weights)
        passes = self._passes
        sums = _added(passes.sums(*part) for _, *part in parts())
        terms, pulls = passes.terms(sums, aims, weights, size)
        if self.objective.unit_gradients:
            norms = _added(passes.norms(*part, pulls) for _, *part in parts())
            pulls = self._normalized(pulls, norms, weights)
        gradient = np.zeros(x.shape, np.float32)
        for tile, *part in parts():
            share = tile.cut(gradient)
            share += passes.gradient(*part, pulls).numpy()
        return terms, tf.constant(gradient)

    def _piece(self, targets: Targets, tile: Tile, index: int) -> Targets:
        """The targets that `Objective.sums` takes for a tile."""
        objective = self.objective
        content = targets["content"]
        piece = {"content": {name: content[name][index] for name in objective.content_layers}}
        if "regions" in targets:
            piece["regions"] = self._inside(tile, targets["regions"])
        if "kept" in targets:
            piece["kept"] = {name: tile.cut(one) for name, one in targets["kept"].items()}
        return piece

    def _traced_passes(self, piece: Targets, aims: Aims, weights: dict[str, Tensor]) -> _Passes:
        pieces = tf.nest.map_structure(any_size, piece)
        sums_of = Graph(self.objective.sums, ONE_IMAGE, pieces, WINDOW)
        sums = sums_of.outputs
        specs = tf.nest.map_structure(any_size, (sums, aims, weights, tf.constant(0.0)))
        tile = (ONE_IMAGE, pieces, WINDOW, specs[0])
        return _Passes(
            sums_of,
            Graph(self._terms_and_pulls, *specs),
            Graph(self._norms, *tile),
            Graph(self._gradient, *tile),
        )

    def _terms_and_pulls(self, sums: Sums, *others: Any) -> tuple[Tensor, Sums]:
        """The terms, and the derivatives of the total with respect to the sums."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tf.nest.flatten(sums))
            terms = self.objective.terms(sums, *others)
            total = terms[:, 0]
        return terms, tape.gradient(total, sums, unconnected_gradients=ZERO)

    def _norms(self, x: Tensor, piece: Targets, window: Tensor, pulls: Sums) -> Any:
        """L1 norms `[1]` of the gradient at every entrance to the terms, inside a tile."""
        objective = self.objective
        features = objective.entrances(objective.composed(x, piece), window)
        # A layer can be of content and style: with an entrance, and a norm, for each.
        features = tf.nest.map_structure(tf.identity, features)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tf.nest.flatten(features))
            sums = objective.feature_sums(features, piece)
        pulling = tf.nest.flatten({kind: pulls[kind] for kind in sums})
        gradients = tape.gradient(tf.nest.flatten(sums), features, output_gradients=pulling)
        return tf.nest.map_structure(
            lambda gradient: sum_per_image(tf.abs(tf.cast(gradient, tf.float32))), gradients
        )

    def _normalized(self, pulls: Sums, norms: Any, weights: dict[str, Tensor]) -> Sums:
        """The pulls with which the gradient at every entrance has its layer's weight as norm."""
        scales = {
            kind: {
                name: tf.math.divide_no_nan(weights[kind][i], norm)
                for i, (name, norm) in enumerate(layers.items())
            }
            for kind, layers in norms.items()
        }
        return {
            **pulls,
            "content": {
                name: pull * scales["content"][name] for name, pull in pulls["content"].items()
            },
            "moments": {
                name: tuple(pull * per_matrix(scales["style"][name]) for pull in regions)
                for name, regions in pulls["moments"].items()
            },
        }

    def _gradient(self, x: Tensor, piece: Targets, window: Tensor, pulls: Sums) -> Tensor:
        """The total's gradient with respect to a tile, through the sums of its inside."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            sums = self.objective.sums(x, piece, window)
        return tape.gradient(tf.nest.flatten(sums), x, output_gradients=tf.nest.flatten(pulls))

    def _tiles(self, images: Tensor) -> list[Tile]:
        return tiles_of(Size(images.shape[2], images.shape[1]), self.side, self.halo)


def _added(sums: Iterable[T]) -> T:
    """The sum of nested sums, one after the other: an iterator's are never all there."""
    return functools.reduce(functools.partial(tf.nest.map_structure, tf.add), sums)
