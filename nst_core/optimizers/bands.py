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
# Of the state.
NAMES = frozenset({"band_moves", "band_turns"})


def start(x: Tensor) -> State:
    """What `Lbfgs` keeps in its state of the bands, before the first step: shares `[B, GROUPS]`."""
    nothing = tf.zeros([tf.shape(x)[0], GROUPS])
    return {"band_moves": nothing, "band_turns": nothing}


def observed(state: State, move: Tensor, change: Tensor) -> State:
    """The state after a step: of the pixels' move, and of the change of the gradient."""
    waves = _Waves(state, move)
    return {
        "band_moves": MEMORY * state["band_moves"] + waves.shares(move),
        "band_turns": MEMORY * state["band_turns"] + waves.shares(change),
    }


def inverse(state: State, gradient: Tensor, free: Tensor, change: Tensor, rise: Tensor) -> Tensor:
    """The inverse of the guessed curvature times a gradient `[B, H, W, 3]`.

    Its size is that of the newest pair: `change` of the gradient, and its product with the move.
    `free`: 1 for pixels that can follow a wave, 0 for those that bounds hold.
    """
    waves = _Waves(state, gradient)
    factors = waves.factors(_softness(state)) - 1
    turned = waves.of(free * change)
    along = dot(change, change) + dot(factors * turned, turned)
    filtered = gradient + free * waves.back(factors * waves.of(free * gradient))
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

    Factors of images are `[B, U, V, 3]`, of the lowest U rows and V columns.
    """

    def __init__(self, state: State, like: Tensor) -> None:
        # What XLA compiles takes a batch at once; elsewhere an image has the same bits in any.
        self._together = "products" in state
        self._rows, self._columns = (_cosines(tf.shape(like)[axis]) for axis in (1, 2))
        frequencies = [_frequencies(tf.shape(like)[axis]) ** 2 for axis in (1, 2)]
        frequency = tf.sqrt(frequencies[0][:, None] + frequencies[1])
        # Which band each wave is in, `[U, V]`; the last number is none.
        self._band = tf.searchsorted(tf.constant(BANDS), tf.reshape(frequency, [-1]))
        self._shape = tf.shape(frequency)

    def of(self, images: Tensor) -> Tensor:
        """The factors of the waves in images."""
        return self._each(self._of, images)

    def back(self, factors: Tensor) -> Tensor:
        """The images that the factors are of."""

        def one(factors: Tensor) -> Tensor:
            waves = tf.einsum("dc,buvd->buvc", tf.constant(COLORS), factors)
            lines = tf.einsum("uy,buvc->byvc", self._rows, waves)
            return tf.einsum("vx,byvc->byxc", self._columns, lines)

        return self._each(one, factors)

    def shares(self, images: Tensor) -> Tensor:
        """The part of each image's square that lies in each group: `[B, GROUPS]`."""
        is_in = tf.cast(self._band[:, None] == tf.range(len(BANDS)), tf.float32)

        def one(images: Tensor) -> Tensor:
            squares = tf.reshape(self._of(images) ** 2, [tf.shape(images)[0], -1, 3])
            known = tf.reduce_sum(squares[:, :, None] * is_in[:, :, None], axis=1)
            known = tf.reshape(known, [-1, GROUPS - 1])
            whole = dot(images, images)[:, None]
            rest = tf.maximum(whole - tf.reduce_sum(known, axis=1, keepdims=True), 0.0)
            return tf.concat([known, rest], axis=1) / (whole + TINY)

        return self._each(one, images)

    def factors(self, groups: Tensor) -> Tensor:
        """A value for each group but the last, `[B, GROUPS - 1]`, at its waves; 1 at others."""
        by_band = tf.pad(
            tf.reshape(groups, [-1, len(BANDS), 3]), [[0, 0], [0, 1], [0, 0]], constant_values=1.0
        )
        rows, columns = tf.unstack(self._shape)
        return tf.reshape(tf.gather(by_band, self._band, axis=1), [-1, rows, columns, 3])

    def _of(self, images: Tensor) -> Tensor:
        lines = tf.einsum("uy,byxc->buxc", self._rows, images)
        waves = tf.einsum("vx,buxc->buvc", self._columns, lines)
        return tf.einsum("dc,buvc->buvd", tf.constant(COLORS), waves)

    def _each(self, function: Any, batch: Tensor) -> Tensor:
        if self._together or batch.shape[0] == 1:
            return function(batch)
        return tf.map_fn(lambda one: function(one[None])[0], batch)


def _count(side: Tensor) -> Tensor:
    """How many waves along a side of so many pixels are not finer than the last band."""
    return tf.cast(tf.math.ceil(2 * BANDS[-1] * tf.cast(side, tf.float32)), tf.int32)


def _frequencies(side: Tensor) -> Tensor:
    """Cycles per pixel of these waves."""
    return tf.range(tf.cast(_count(side), tf.float32)) / (2 * tf.cast(side, tf.float32))


def _cosines(side: Tensor) -> Tensor:
    """These waves, orthonormal: `[U, side]`."""
    places = tf.range(tf.cast(side, tf.float32)) + 0.5
    waves = tf.cos(2 * math.pi * _frequencies(side)[:, None] * places)
    length = tf.sqrt(tf.reduce_sum(waves**2, axis=1, keepdims=True))
    return waves / length
