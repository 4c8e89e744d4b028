"""L-BFGS over a batch of independent images: the direction and the trial points."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nst_core.objective.losses import StiffnessAt
from nst_core.optimizers import HISTORY, bands, curvature, history
from nst_core.optimizers.loop import (
    Bounds,
    Evaluate,
    Optimizer,
    State,
    dot,
    largest,
    of_names,
    per_image,
    where,
)

Tensor = Any


class Lbfgs(Optimizer):
    """L-BFGS (Nocedal, Wright: Numerical Optimization, algorithm 7.5), guarded by Armijo's rule.

    Every step evaluates one trial point. A trial that lowers the loss enough becomes the new
    point and a new direction follows from it; any other (also one whose loss is not a number)
    is drawn back towards the point, so the loss rises by no more than its rounding. Where a part
    of the objective's curvature is known, the direction starts from the estimate of the module
    `curvature`, else from that of `bands`.

    Args:
        bounds: applied to every trial point; curvature is that of the bounded move.
        rounding: of a loss, relative: trials this close are no ascent. Too small a value and the
            search ends at the noise, long before the minimum that float32 finds.
    """

    guarded = history.NAMES
    sufficient_decrease = 1e-4
    most_rejections = 8

    def __init__(self, bounds: Bounds = tf.identity, rounding: float = 1e-6) -> None:
        self.bounds = bounds
        self.rounding = rounding

    def start(self, x: Tensor, columns: int) -> State:
        """See `Optimizer.start`."""
        batch = tf.shape(x)[0]
        nothing = tf.zeros_like(x)
        return {
            "x": x,
            # No point is accepted yet: any finite loss lies below the first trial's bound.
            "terms": tf.fill([batch, columns], float("inf")),
            "active": tf.ones([batch], tf.bool),
            "gradient": nothing,
            "direction": nothing,
            "length": tf.zeros([batch]),
            "rejections": tf.zeros([batch], tf.int32),
            # The count of pairs of a move and a change of the gradient.
            "pairs": tf.zeros([batch], tf.int32),
            **history.start(x),
            **curvature.start(x),
            **bands.start(x),
        }

    def step(
        self,
        state: State,
        evaluate: Evaluate,
        learning_rate: Tensor,
        stiffness_at: StiffnessAt | None = None,
    ) -> State:
        """See `Optimizer.step`."""
        trial = self.bounds(
            state["x"] + per_image(state["length"], state["x"]) * state["direction"]
        )
        move = trial - state["x"]
        terms, gradient = evaluate(trial)
        before, after = state["terms"][:, 0], terms[:, 0]
        slope = dot(state["gradient"], state["direction"])
        # The bounds can turn a descent into an ascent: never ask for a rise.
        bound = before + self.sufficient_decrease * tf.minimum(dot(state["gradient"], move), 0.0)
        finite = tf.math.is_finite(after) & tf.math.is_finite(dot(gradient, gradient))
        accepted = finite & (after <= bound + self.rounding * tf.abs(before))
        known = _remembered(state, trial, move, gradient, accepted, stiffness_at)
        onward = self._advance(known, trial, terms, gradient, learning_rate, stiffness_at)
        backward = self._retreat(state, after, slope, learning_rate)
        others = state.keys() - self.guarded
        return {**known, **where(accepted, of_names(onward, others), of_names(backward, others))}

    def carried(self, state: State) -> State:
        """See `Optimizer.carried`: what was seen of the bands."""
        return of_names(state, bands.NAMES)

    def packed(self, state: State) -> State:
        """See `Optimizer.packed`."""
        return history.ring(state)

    def unpacked(self, state: State) -> State:
        """See `Optimizer.unpacked`."""
        return history.unrolled(state)

    def _advance(
        self,
        known: State,
        trial: Tensor,
        terms: Tensor,
        gradient: Tensor,
        learning_rate: Tensor,
        stiffness_at: StiffnessAt | None,
    ) -> State:
        """The trial becomes the point; a direction from what is known there."""
        pairs = known["pairs"]
        free = self.bounds(trial - tf.sign(gradient)) != trial
        direction = quasi_newton(known, gradient, trial, free, stiffness_at)
        slope = dot(gradient, direction)
        descends = tf.math.is_finite(slope) & (slope < 0) & (pairs > 0)
        return {
            **known,
            "x": trial,
            "terms": terms,
            "gradient": gradient,
            "direction": where(descends, direction, _cautious(gradient, learning_rate)),
            "length": tf.ones_like(slope),
            "rejections": tf.zeros_like(pairs),
            "pairs": tf.where(descends, pairs, 0),
        }

    def _retreat(self, state: State, after: Tensor, slope: Tensor, learning_rate: Tensor) -> State:
        """A shorter trial along the same direction; after many, steepest descent from here."""
        length, rejections = state["length"], state["rejections"] + 1
        # The minimum of the parabola through both losses and the slope.
        rise = after - state["terms"][:, 0] - slope * length
        best = -slope * length**2 / (2 * rise)
        best = tf.where(tf.math.is_finite(best), best, 0.1 * length)
        shorter = tf.clip_by_value(best, 0.1 * length, 0.5 * length)
        forget = rejections % self.most_rejections == 0
        restart = _cautious(state["gradient"], learning_rate)
        shrink = 0.1 ** tf.cast(rejections // self.most_rejections, tf.float32)
        return {
            **state,
            "direction": where(forget, restart, state["direction"]),
            "length": tf.where(forget, shrink, shorter),
            "rejections": rejections,
            "pairs": tf.where(forget, 0, state["pairs"]),
        }


def _cautious(gradient: Tensor, learning_rate: Tensor) -> Tensor:
    """Steepest descent in which the pixel that changes most changes by the learning rate."""
    return -learning_rate * gradient / largest(gradient)


def _remembered(
    state: State,
    trial: Tensor,
    move: Tensor,
    gradient: Tensor,
    accepted: Tensor,
    stiffness_at: StiffnessAt | None,
) -> State:
    """The state with the pair of an accepted trial that found positive curvature."""
    change = gradient - state["gradient"]
    rise = dot(move, change)
    positive = rise > 1e-10 * tf.sqrt(dot(move, move) * dot(change, change))
    useful = positive & accepted & state["active"]
    if stiffness_at is None:
        seen = bands.observed(state, move, change)
    else:
        old, new = (curvature.variation_gradient(x, stiffness_at(x)) for x in (state["x"], trial))
        seen = curvature.observed(state, move, change - (new - old), state["pairs"] == 0)
    return {
        **state,
        **where(useful, seen, of_names(state, seen)),
        **history.pushed(state, move, change, rise, useful),
        "pairs": tf.minimum(state["pairs"] + tf.cast(useful, tf.int32), HISTORY),
    }


def quasi_newton(
    known: State, gradient: Tensor, x: Tensor, free: Tensor, stiffness_at: StiffnessAt | None
) -> Tensor:
    """Minus the inverse Hessian's estimate times the gradient `[B, H, W, 3]` at `x`.

    `free`: which pixels bounds let move down the gradient.
    """

    def guess(direction: Tensor) -> Tensor:
        if stiffness_at is not None:
            return curvature.inverse(known, direction, stiffness_at(x))
        return bands.inverse(known, direction, tf.cast(free, tf.float32), *history.newest(known))

    return history.direction(known, gradient, guess)
