"""The optimisation of pictures too large for one pass of the network: by tiles, on the host.

Two passes over the tiles make one evaluation. The first adds up what the terms are made of, all
of it sums over positions; the second gives each tile's share of the gradient, halo included.
Loss and gradient are those of the whole picture, at the edges of tiles too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from nst_core import optimizers
from nst_core.canvas import Size
from nst_core.layers import halo
from nst_core.objective import Objective, Sums, Targets
from nst_core.program import IMAGES, Program, any_size, traced
from nst_core.tiles import Tile, tiles_of

Tensor = Any

# Top, bottom, left and right of a tile's interior.
WINDOW = tf.TensorSpec([4], tf.int32)
ZERO = tf.UnconnectedGradients.ZERO


class TiledProgram(Program):
    """A `Program` whose evaluations need memory for one tile's features, not the picture's.

    It takes one picture at a time. Its content targets are lists, with a piece for each tile.

    Args:
        side: of the tiles' interiors, px.
    """

    def __init__(self, objective: Objective, optimizer: optimizers.Optimizer, side: int) -> None:
        super().__init__(objective, optimizer, xla=False)
        self.side = side
        self.halo = halo({*objective.content_layers, *objective.style_layers})
        self._content_inside = traced(objective.content_targets, IMAGES, WINDOW)
        self._style_sums = traced(objective.style_sums, IMAGES, WINDOW)
        self._passes: tuple[Any, Any, Any] | None = None

    def content_targets(self, images: Tensor) -> dict[str, Any]:
        """Content features by layer, cut into the insides of the tiles."""
        layers = self.objective.content_layers
        tiles = self._tiles(images)
        found = [self._content_inside(tile.cut(images), tile.window) for tile in tiles]
        return {name: [piece[name] for piece in found] for name in layers}

    def style_targets(self, image: Tensor) -> dict[str, Tensor]:
        """See `Objective.style_targets`."""
        sums = (self._style_sums(tile.cut(image), tile.window) for tile in self._tiles(image))
        return self.objective.statistics(_added(sums))

    def advance(
        self,
        state: optimizers.State,
        targets: Targets,
        weights: dict[str, Tensor],
        learning_rate: float,
        count: int,
    ) -> tuple[optimizers.State, np.ndarray]:
        """See `Program.advance`. Empties the given state: a second one need not fit."""
        current = dict(state)
        state.clear()
        units = self.objective.content_units(targets["content"])
        rate = tf.constant(learning_rate)
        log = []

        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            return self.evaluate(x, targets, units, weights)

        for _ in range(count):
            current = self.optimizer.step(current, evaluate, rate)
            log.append(current["terms"].numpy())
        return current, np.stack(log)

    def evaluate(
        self, x: Tensor, targets: Targets, units: dict[str, Tensor], weights: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Terms `[1, T]` and the total's gradient `[1, H, W, 3]` at a picture."""
        objective = self.objective
        tiles = self._tiles(x)
        pieces = [
            {name: targets["content"][name][index] for name in objective.content_layers}
            for index in range(len(tiles))
        ]
        size = tf.constant(float(x.shape[1] * x.shape[2]))
        if self._passes is None:
            self._passes = self._traced_passes(pieces[0], units, targets["style"], weights)
        sums_of, terms_of, gradient_of = self._passes
        sums = _added(
            sums_of(tile.cut(x), piece, tile.window)
            for tile, piece in zip(tiles, pieces, strict=True)
        )
        terms, pulls = terms_of(sums, units, targets["style"], weights, size)
        gradient = np.zeros(x.shape, np.float32)
        for tile, piece in zip(tiles, pieces, strict=True):
            share = tile.cut(gradient)
            share += gradient_of(tile.cut(x), piece, tile.window, pulls).numpy()
        return terms, tf.constant(gradient)

    def _traced_passes(
        self,
        piece: dict[str, Tensor],
        units: dict[str, Tensor],
        style_targets: dict[str, Tensor],
        weights: dict[str, Tensor],
    ) -> tuple[Any, Any, Any]:
        """Graphs for all tiles: their sums; terms, and what pulls at the sums; gradient."""
        content = tf.nest.map_structure(any_size, piece)
        sums_of = traced(self.objective.sums, IMAGES, content, WINDOW)
        sums = sums_of.get_concrete_function().structured_outputs
        specs = (sums, units, style_targets, weights, tf.constant(0.0))
        terms_of = traced(self._terms_and_pulls, *tf.nest.map_structure(any_size, specs))
        pulls = tf.nest.map_structure(any_size, sums)
        return sums_of, terms_of, traced(self._gradient, IMAGES, content, WINDOW, pulls)

    def _terms_and_pulls(self, sums: Sums, *others: Any) -> tuple[Tensor, Sums]:
        """The terms, and the derivatives of the total with respect to the sums."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tf.nest.flatten(sums))
            terms = self.objective.terms(sums, *others)
            total = terms[:, 0]
        return terms, tape.gradient(total, sums, unconnected_gradients=ZERO)

    def _gradient(
        self, x: Tensor, content: dict[str, Tensor], window: Tensor, pulls: Sums
    ) -> Tensor:
        """The total's gradient with respect to a tile, through the sums of its inside."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            sums = self.objective.sums(x, content, window)
        return tape.gradient(tf.nest.flatten(sums), x, output_gradients=tf.nest.flatten(pulls))

    def _tiles(self, images: Tensor) -> list[Tile]:
        return tiles_of(Size(images.shape[2], images.shape[1]), self.side, self.halo)


def _added(sums: Any) -> Sums:
    """The sum of nested sums, one after the other: an iterator's are never all there."""
    total = None
    for one in sums:
        total = one if total is None else tf.nest.map_structure(tf.add, total, one)
    return total  # type: ignore[return-value]
