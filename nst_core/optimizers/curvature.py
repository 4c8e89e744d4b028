"""The curvature that L-BFGS starts from: what is known of the objective's, and what was seen.

The total variation's curvature is known at every pixel and costs next to nothing; that of the
network's terms is guessed as a multiple of the identity, which differs from region to region.
Together they bring down the condition number that L-BFGS has to learn away, step by step.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from nst_core.objective.losses import Stiffness
from nst_core.optimizers.loop import State, dot, per_image

Tensor = Any

# Regions are about this many to a side.
REGIONS = 16
# How far the network's curvature in a region may be from the mean of the picture, and how much of
# that mean every region has at least.
SPREAD = 5.0
LEAST_SHARE = 0.01
# What is remembered of older steps: of the regions, and of the whole picture's curvature.
REGION_MEMORY = 0.92
LEVEL_MEMORY = 0.8
# The secants of a few steps overestimate: they see the directions of the steepest change most.
LEVEL = 0.4
# A secant along which the gradient turned much more than it rose tells little.
MOST_TURN = 20.0

MOST_SOLVER_STEPS = 12
SOLVER_TOLERANCE = 1e-3
TINY = 1e-30


def variation_gradient(x: Tensor, stiffness: Stiffness) -> Tensor:
    """The gradient of half the weighted sum of squared differences, `[B, H, W, C]`; linear in x."""
    corner = x[:, :-1, :-1]
    down = stiffness[0] * (x[:, 1:, :-1] - corner)
    right = stiffness[1] * (x[:, :-1, 1:] - corner)
    return _below(down) + _beside(right) - _at(down + right)


def _below(a: Tensor) -> Tensor:
    return tf.pad(a, [[0, 0], [1, 0], [0, 1], [0, 0]])


def _beside(a: Tensor) -> Tensor:
    return tf.pad(a, [[0, 0], [0, 1], [1, 0], [0, 0]])


def _at(a: Tensor) -> Tensor:
    return tf.pad(a, [[0, 0], [0, 1], [0, 1], [0, 0]])


def start(x: Tensor) -> State:
    """What `Lbfgs` keeps in its state of the network's curvature, before the first step."""
    nothing = tf.zeros_like(x[..., :1])
    return {"moved": nothing, "turned": nothing, "level": tf.zeros(tf.shape(x)[:1])}


def observed(state: State, move: Tensor, change: Tensor, is_first: Tensor) -> State:
    """The state after a step.

    Args:
        move: of the pixels.
        change: of the gradient of all terms but the known ones.
        is_first: `[B]`, whether nothing was seen before.
    """
    length, turn, rise = dot(move, move), dot(change, change), dot(move, change)
    mean = tf.sqrt(turn / (length + TINY))
    steepest = tf.where(rise > 0, tf.minimum(turn / (rise + TINY), MOST_TURN * mean), mean)
    level = tf.math.log(steepest + TINY)
    level = tf.where(is_first, level, LEVEL_MEMORY * state["level"] + (1 - LEVEL_MEMORY) * level)
    length = per_image(length, move) + TINY
    moved = tf.reduce_mean(tf.square(move), axis=3, keepdims=True) / length
    turned = tf.reduce_mean(tf.square(change), axis=3, keepdims=True) / length
    return {
        "moved": REGION_MEMORY * state["moved"] + moved,
        "turned": REGION_MEMORY * state["turned"] + turned,
        "level": level,
    }


def inverse(state: State, gradient: Tensor, stiffness: Stiffness) -> Tensor:
    """The inverse of the guessed curvature times a gradient `[B, H, W, C]`."""
    scale = LEVEL * per_image(tf.exp(state["level"]), gradient) * _by_region(state)[..., None]
    return _solved(gradient, scale, stiffness)


def _by_region(state: State) -> Tensor:
    """Each pixel's share of the network's curvature, `[B, H, W]`, about 1 on the average."""
    turned, moved = (_smooth_with_floor(state[name][..., 0]) for name in ("turned", "moved"))
    share = 0.5 * tf.math.log((turned + TINY) / (moved + TINY))
    share -= tf.reduce_mean(tf.reduce_mean(share, axis=2, keepdims=True), axis=1, keepdims=True)
    limit = math.log(SPREAD)
    return tf.exp(tf.clip_by_value(share, -limit, limit))


def _smooth_with_floor(x: Tensor) -> Tensor:
    mean = tf.reduce_mean(tf.reduce_mean(x, axis=2, keepdims=True), axis=1, keepdims=True)
    return _smooth(x) + LEAST_SHARE * mean


def _smooth(x: Tensor) -> Tensor:
    """Means over the regions of `[B, H, W]`, with linear passages between them."""
    height, width = tf.shape(x)[1], tf.shape(x)[2]
    means = tf.matmul(tf.matmul(_means(height), x), _means(width), transpose_b=True)
    return tf.matmul(tf.matmul(_passages(height), means), _passages(width), transpose_b=True)


def _regions(side: Tensor) -> Tensor:
    return tf.minimum(REGIONS, side)


def _means(side: Tensor) -> Tensor:
    """The matrix `[R, side]` that takes the mean over each region."""
    region = tf.range(side) * _regions(side) // side
    member = tf.cast(tf.range(_regions(side))[:, None] == region, tf.float32)
    return member / tf.reduce_sum(member, axis=1, keepdims=True)


def _passages(side: Tensor) -> Tensor:
    """The matrix `[side, R]` that interpolates between the middles of regions."""
    count = tf.cast(_regions(side), tf.float32)
    place = (tf.range(tf.cast(side, tf.float32)) + 0.5) * count / tf.cast(side, tf.float32) - 0.5
    place = tf.clip_by_value(place, 0.0, count - 1)
    return tf.maximum(1 - tf.abs(place[:, None] - tf.range(count)), 0.0)


def _solved(gradient: Tensor, scale: Tensor, stiffness: Stiffness) -> Tensor:
    """Conjugate gradients on scale + stiffness, preconditioned by the diagonal.

    Each image stops by itself, so that its bits do not depend on its neighbours.
    """
    down, right = stiffness
    inverse_diagonal = 1 / (scale + _below(down) + _beside(right) + _at(down + right))
    enough = SOLVER_TOLERANCE**2 * dot(gradient, gradient)

    def goes_on(index: Tensor, _x: Tensor, rest: Tensor, *_: Tensor) -> Tensor:
        return (index < MOST_SOLVER_STEPS) & tf.reduce_any(dot(rest, rest) > enough)

    def body(
        index: Tensor, x: Tensor, rest: Tensor, direction: Tensor, power: Tensor
    ) -> tuple[Tensor, ...]:
        open_ = tf.cast(dot(rest, rest) > enough, tf.float32)
        image = scale * direction + variation_gradient(direction, stiffness)
        length = open_ * tf.math.divide_no_nan(power, dot(direction, image))
        x += per_image(length, x) * direction
        rest -= per_image(length, x) * image
        scaled = inverse_diagonal * rest
        new_power = dot(rest, scaled)
        share = tf.math.divide_no_nan(new_power, power)
        turned = scaled + per_image(share, x) * direction
        is_open = per_image(open_ > 0, x)
        direction = tf.where(is_open, turned, direction)
        return index + 1, x, rest, direction, tf.where(open_ > 0, new_power, power)

    first = inverse_diagonal * gradient
    _, x, *_ = tf.while_loop(
        goes_on,
        body,
        (tf.constant(0), tf.zeros_like(gradient), gradient, first, dot(gradient, first)),
    )
    return x
