"""The curvature L-BFGS starts from where none is known: what was seen, by frequency and colour.

The network's terms are stiff where all pixels of a colour move together: along the coarsest
waves of the two colour differences their gradient turns up to twenty times as fast as along the
finest. A multiple of the identity takes that for one number, and the remembered pairs have to
learn it away. Here waves are told apart by bands of their frequency, in luma and in both
differences, and each group has the curvature that the moves and the changes of the gradient
show. Where these show no difference, the estimate is the multiple of the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.optimizers.loop import State, dot, per_image

Tensor = Any

# The bands' upper ends, cycles per pixel; what is finer is one group.
BANDS = (0.01, 0.02, 0.04, 0.08)
# Luma and two colour differences, orthonormal.
COLORS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float32) / np.sqrt(
    np.array([[3], [2], [6]], np.float32)
)
GROUPS = 3 * len(BANDS) + 1
# What is remembered of older steps.
MEMORY = 0.95
# How much stiffer and how much softer than the finest waves a group can be.
STIFFEST, SOFTEST = 32.0, 4.0
# What every group has of the finest waves' share, so that one that hardly moved tells little.
LEAST_SHARE = 1e-4
TINY = 1e-30
# Names of its part of the state.
NAMES = frozenset({"band_moves", "band_turns"})


def start(x: Tensor) -> State:
    """What `Lbfgs` keeps in its state of the bands, before the first step: shares `[B, GROUPS]`."""
    nothing = tf.zeros([tf.shape(x)[0], GROUPS])
    return {"band_moves": nothing, "band_turns": nothing}


def observed(state: State, move: Tensor, change: Tensor) -> State:
    """The state after a step: of the pixels' move, and of the change of the gradient."""
    moves, turns = _Waves(state, move).shares(move, change)
    return {
        "band_moves": MEMORY * state["band_moves"] + moves,
        "band_turns": MEMORY * state["band_turns"] + turns,
    }


def inverse(state: State, gradient: Tensor, free: Tensor, change: Tensor, rise: Tensor) -> Tensor:
    """The inverse of the guessed curvature times a gradient `[B, H, W, 3]`.

    Its size is that of the newest pair: `change` of the gradient, and its product with the move.
    `free`: 1 for pixels that can follow a wave, 0 for those that bounds hold.
    """
    waves = _Waves(state, gradient)
    factors = waves.factors(_softness(state)) - 1
    turned, steep = waves.of(free * change, free * gradient)
    along = dot(change, change) + dot(factors * turned, turned)
    filtered = gradient + free * waves.back(factors * steep)
    return per_image(tf.math.divide_no_nan(rise, along), gradient) * filtered


def _softness(state: State) -> Tensor:
    """One over each group's curvature, relative to that of the finest waves: `[B, GROUPS - 1]`."""
    moves, turns = (
        one[:, :-1] + LEAST_SHARE * one[:, -1:] + TINY
        for one in (state["band_moves"], state["band_turns"])
    )
    finest = (state["band_turns"][:, -1:] + TINY) / (state["band_moves"][:, -1:] + TINY)
    return tf.clip_by_value(tf.sqrt(finest * moves / turns), 1 / STIFFEST, SOFTEST)


class _Waves:
    """The waves of images `[B, H, W, 3]` in the bands: cosines, orthonormal, of DCT-II.

    Factors of images are `[B, U, 3, V]`, of the lowest U rows and V columns.
    """

    def __init__(self, state: State, like: Tensor) -> None:
        # What XLA compiles takes a batch at once; elsewhere an image has the same bits in any.
        self._together = "products" in state
        _, *sides, _ = tf.unstack(tf.shape(like))
        sides = [tf.cast(side, tf.float32) for side in sides]
        along = [_frequencies(side) for side in sides]
        self._rows, self._columns = map(_cosines, along, sides)
        frequency = tf.sqrt(along[0][:, None] ** 2 + along[1] ** 2)
        # Which band each wave is in; the last number is none.
        self._band = tf.searchsorted(tf.constant(BANDS), tf.reshape(frequency, [-1]))
        of_color = 3 * tf.reshape(self._band, tf.shape(frequency))[:, None] + tf.range(3)[:, None]
        # And which group, `[U, 3, V]`.
        self._group = tf.minimum(of_color, GROUPS - 1)

    def of(self, *images: Tensor) -> list[Tensor]:
        """The factors of the waves in each of some batches of images of one shape."""
        if self._together:
            return list(tf.split(self._of(tf.concat(images, axis=0)), len(images)))
        return self._each(self._of, images)

    def back(self, factors: Tensor) -> Tensor:
        """The images that the factors are of."""
        return self._each(self._back, [factors])[0]

    def shares(self, *images: Tensor) -> list[Tensor]:
        """The part of each image's square that lies in each group: `[B, GROUPS]`."""
        is_in = tf.one_hot(self._band, len(BANDS))

        def one(waves: Tensor) -> Tensor:
            squares = tf.transpose(waves**2, [2, 0, 1, 3])
            sums = tf.matmul(tf.reshape(squares, [-1, tf.shape(is_in)[0]]), is_in)
            sums = tf.transpose(tf.reshape(sums, [3, -1, len(BANDS)]), [1, 2, 0])
            return tf.reshape(sums, [-1, GROUPS - 1])

        found = []
        for batch, known in zip(images, self._each(one, self.of(*images)), strict=True):
            whole = dot(batch, batch)[:, None]
            rest = tf.maximum(whole - tf.reduce_sum(known, axis=1, keepdims=True), 0.0)
            found.append(tf.concat([known, rest], axis=1) / (whole + TINY))
        return found

    def factors(self, groups: Tensor) -> Tensor:
        """A value for each group but the last, `[B, GROUPS - 1]`, at its waves; 1 at others."""
        return tf.gather(tf.pad(groups, [[0, 0], [0, 1]], constant_values=1.0), self._group, axis=1)

    def _of(self, images: Tensor) -> Tensor:
        batch, height, width, _ = tf.unstack(tf.shape(images))
        lines = tf.matmul(self._rows, tf.reshape(images, [batch, height, 3 * width]))
        lines = tf.transpose(tf.reshape(lines, [-1, width, 3]), [0, 2, 1])
        waves = tf.matmul(tf.reshape(lines, [-1, width]), self._columns, transpose_b=True)
        return _mixed(COLORS, tf.reshape(waves, [batch, *tf.unstack(tf.shape(self._group))]))

    def _back(self, factors: Tensor) -> Tensor:
        batch, rows, _, columns = tf.unstack(tf.shape(factors))
        height, width = (tf.shape(one)[1] for one in (self._rows, self._columns))
        waves = tf.reshape(_mixed(COLORS.T, factors), [-1, columns])
        lines = tf.reshape(tf.matmul(waves, self._columns), [-1, 3, width])
        lines = tf.reshape(tf.transpose(lines, [0, 2, 1]), [batch, rows, 3 * width])
        images = tf.matmul(self._rows, lines, transpose_a=True)
        return tf.reshape(images, [batch, height, width, 3])

    def _each(self, function: Any, batches: Sequence[Tensor]) -> list[Tensor]:
        """The function of each of some batches, on processors of one image after the other."""
        if self._together or batches[0].shape[0] == 1:
            return [function(batch) for batch in batches]
        return list(
            tf.map_fn(
                lambda ones: [tf.squeeze(function(tf.expand_dims(one, 0)), 0) for one in ones],
                list(batches),
            )
        )


def _mixed(matrix: np.ndarray, colors: Tensor) -> Tensor:
    """The matrix times the colours of `[B, U, 3, V]`."""
    return tf.reduce_sum(matrix[:, :, None] * colors[:, :, None], axis=3)


def _frequencies(side: Tensor) -> Tensor:
    """Cycles per pixel of the waves along a side of so many pixels up to the last band: `[U]`."""
    return tf.range(tf.math.ceil(2 * BANDS[-1] * side)) / (2 * side)


def _cosines(frequencies: Tensor, side: Tensor) -> Tensor:
    """The waves of these frequencies along the side, orthonormal: `[U, side]`."""
    waves = tf.cos(2 * math.pi * frequencies[:, None] * (tf.range(side) + 0.5))
    length = tf.sqrt(tf.reduce_sum(waves**2, axis=1, keepdims=True))
    return waves / length
