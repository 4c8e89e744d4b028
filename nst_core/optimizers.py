"""Adam and L-BFGS over a batch of independent images, as loops that run on the device.

A state is a dict of tensors; every image has its own step sizes, history and acceptance, so its
path does not depend on its neighbours. One step is one evaluation of loss and gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from nst_core.losses import sum_per_image

Tensor = Any
State = dict[str, Tensor]
# x [B, H, W, 3] → (terms [B, T] whose first column is the total, gradient [B, H, W, 3])
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]

Bounds = Callable[[Tensor], Tensor]

# Pairs of moves and gradient changes that L-BFGS remembers.
HISTORY = 12
# The most steps of one call; its log is a buffer of this many rows, as XLA wants fixed shapes.
LONGEST_CALL = 64


def pixel_range(x: Tensor) -> Tensor:
    """Pixels within 0…255."""
    return tf.clip_by_value(x, 0.0, 255.0)


class Optimizer(Protocol):
    """What `run` needs of an optimiser."""

    # Tensors too large to be copied for inactive images: `step` leaves those rows alone itself.
    guarded: frozenset[str]

    def start(self, x: Tensor, columns: int) -> State:
        """The state before the first step from images `[B, H, W, 3]`."""

    def step(self, state: State, evaluate: Evaluate, learning_rate: Tensor) -> State:
        """One evaluation and what follows from it; `state["terms"]` describes `state["x"]`."""

    def result(self, state: State) -> Tensor:
        """The images `[B, H, W, 3]` that the state stands for."""


def run(
    optimizer: Optimizer, state: State, evaluate: Evaluate, count: Tensor, learning_rate: Tensor
) -> tuple[State, Tensor]:
    """`count` steps (at most `LONGEST_CALL`) in one loop on the device.

    Returns:
        The new state, and a log `[LONGEST_CALL, B, T]` whose first `count` rows are the terms
        after each step. Images whose `active` is false stay as they are.
    """
    batch, columns = tf.shape(state["x"])[0], state["terms"].shape[1]
    log = tf.zeros([LONGEST_CALL, batch, columns])

    def body(index: Tensor, state: State, log: Tensor) -> tuple[Tensor, State, Tensor]:
        stepped = optimizer.step(state, evaluate, learning_rate)
        state = {
            name: stepped[name]
            if name in optimizer.guarded
            else where(state["active"], stepped[name], state[name])
            for name in state
        }
        log = tf.tensor_scatter_nd_update(log, [[index]], state["terms"][None])
        return index + 1, state, log

    _, state, log = tf.while_loop(
        lambda index, *_: index < count, body, (tf.constant(0), state, log)
    )
    return state, log


def where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Rows of `yes` where the `[B]` condition holds, else rows of `no`."""
    return tf.where(per_image(condition, yes), yes, no)


def per_image(value: Tensor, like: Tensor) -> Tensor:
    """`[B]` with as many trailing ones as `like` has further axes, to be broadcast against it."""
    return tf.reshape(value, [-1] + [1] * (len(like.shape) - 1))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of the images of two batches `[B, H, W, 3] → [B]`."""
    return sum_per_image(a * b)


class Adam:
    """Adam (Kingma, Ba 2015, arXiv 1412.6980).

    Args:
        average_decay: where above 0, the result is the bias-corrected exponential average of the
            iterates.
        bounds: applied to the pixels after each step.
    """

    guarded: frozenset[str] = frozenset()
    first_decay = 0.9
    second_decay = 0.999
    epsilon = 1e-8

    def __init__(self, average_decay: float = 0.0, bounds: Bounds = tf.identity) -> None:
        self.average_decay = average_decay
        self.bounds = bounds

    def start(self, x: Tensor, columns: int) -> State:
        """See `Optimizer.start`."""
        batch = tf.shape(x)[0]
        state = {
            "x": x,
            "terms": tf.zeros([batch, columns]),
            "active": tf.ones([batch], tf.bool),
            "count": tf.zeros([batch]),
            "first": tf.zeros_like(x),
            "second": tf.zeros_like(x),
        }
        if self.average_decay:
            state["average"] = tf.zeros_like(x)
        return state

    def step(self, state: State, evaluate: Evaluate, learning_rate: Tensor) -> State:
        """See `Optimizer.step`; the terms are those of the pixels before the step."""
        terms, gradient = evaluate(state["x"])
        count = state["count"] + 1
        first = self.first_decay * state["first"] + (1 - self.first_decay) * gradient
        second = self.second_decay * state["second"] + (1 - self.second_decay) * gradient**2
        first_corrected = first / per_image(1 - self.first_decay**count, first)
        second_corrected = second / per_image(1 - self.second_decay**count, second)
        # Relative to the gradient's own size: the objective's scale must not decide the step.
        change = first_corrected / (tf.sqrt(second_corrected) + self.epsilon * _largest(gradient))
        x = self.bounds(state["x"] - learning_rate * change)
        stepped = {
            **state,
            "x": x,
            "terms": terms,
            "count": count,
            "first": first,
            "second": second,
        }
        if self.average_decay:
            decay = self.average_decay
            stepped["average"] = decay * state["average"] + (1 - decay) * x
        return stepped

    def result(self, state: State) -> Tensor:
        """See `Optimizer.result`."""
        if not self.average_decay:
            return state["x"]
        weight = 1 - self.average_decay ** state["count"]
        return state["average"] / per_image(weight, state["x"])


class Lbfgs:
    """L-BFGS (Nocedal, Wright: Numerical Optimization, algorithm 7.5), guarded by Armijo's rule.

    Every step evaluates one trial point. A trial that lowers the loss enough becomes the new
    point and a new direction follows from it; any other (also one whose loss is not a number)
    is drawn back towards the point, so the loss never rises.

    Args:
        bounds: applied to every trial point; curvature is that of the bounded move.
    """

    guarded = frozenset({"history"})
    sufficient_decrease = 1e-4
    # Rounding of float32 sums: trials this close are no ascent.
    rounding = 1e-6
    most_rejections = 8

    def __init__(self, bounds: Bounds = tf.identity) -> None:
        self.bounds = bounds

    def start(self, x: Tensor, columns: int) -> State:
        """See `Optimizer.start`."""
        batch = tf.shape(x)[0]
        pixels = tf.reduce_prod(tf.shape(x)[1:])
        return {
            "x": x,
            # No point is accepted yet: any finite loss lies below the first trial's bound.
            "terms": tf.fill([batch, columns], float("inf")),
            "active": tf.ones([batch], tf.bool),
            "gradient": tf.zeros_like(x),
            "direction": tf.zeros_like(x),
            "length": tf.zeros([batch]),
            "rejections": tf.zeros([batch], tf.int32),
            "pairs": tf.zeros([batch], tf.int32),
            # Rows 0 … m-1 are moves, rows m … 2m-1 the gradient changes of the same slots.
            "history": tf.zeros(tf.stack([batch, 2 * HISTORY, pixels])),
        }

    def step(self, state: State, evaluate: Evaluate, learning_rate: Tensor) -> State:
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
        onward = self._advance(state, trial, move, terms, gradient, accepted, learning_rate)
        backward = self._retreat(state, after, slope, learning_rate)
        stepped = {
            name: where(accepted, onward[name], backward[name])
            for name in state
            if name not in self.guarded
        }
        return {**stepped, "history": onward["history"]}

    def result(self, state: State) -> Tensor:
        """See `Optimizer.result`."""
        return state["x"]

    def _advance(
        self,
        state: State,
        trial: Tensor,
        move: Tensor,
        terms: Tensor,
        gradient: Tensor,
        accepted: Tensor,
        learning_rate: Tensor,
    ) -> State:
        """The trial becomes the point; its curvature joins the history."""
        change = gradient - state["gradient"]
        curvature = dot(move, change)
        positive = curvature > 1e-10 * tf.sqrt(dot(move, move) * dot(change, change))
        useful = positive & accepted & state["active"]
        history = _remember(state["history"], state["pairs"] % HISTORY, move, change, useful)
        pairs = state["pairs"] + tf.cast(useful, tf.int32)
        direction = _quasi_newton(gradient, history, pairs)
        slope = dot(gradient, direction)
        descends = tf.math.is_finite(slope) & (slope < 0) & (pairs > 0)
        return {
            **state,
            "x": trial,
            "terms": terms,
            "gradient": gradient,
            "direction": where(descends, direction, _cautious(gradient, learning_rate)),
            "length": tf.ones_like(curvature),
            "rejections": tf.zeros_like(pairs),
            "pairs": tf.where(descends, pairs, 0),
            "history": history,
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


def _largest(x: Tensor) -> Tensor:
    # The floor, times Adam's epsilon, is still a float32: no quotient 0 / 0 where nothing pulls.
    return tf.reduce_max(tf.abs(x), axis=[1, 2, 3], keepdims=True) + 1e-20


def _cautious(gradient: Tensor, learning_rate: Tensor) -> Tensor:
    """Steepest descent in which the pixel that changes most changes by the learning rate."""
    return -learning_rate * gradient / _largest(gradient)


def _remember(
    history: Tensor, slot: Tensor, move: Tensor, change: Tensor, useful: Tensor
) -> Tensor:
    """`history [B, 2m, N]` with move and change in each useful image's slot."""
    batch, rows, pixels = tf.unstack(tf.shape(history))
    image = tf.range(batch)
    where_to = tf.stack(
        [tf.stack([image, slot], 1), tf.stack([image, slot + rows // 2], 1)], axis=1
    )
    old = tf.gather_nd(history, where_to)
    new = tf.reshape(tf.stack([move, change], axis=1), [batch, 2, pixels])
    return tf.tensor_scatter_nd_update(history, where_to, where(useful, new, old))


def _quasi_newton(gradient: Tensor, history: Tensor, pairs: Tensor) -> Tensor:
    """Minus the inverse Hessian's estimate times the gradient.

    The two-loop recursion (Nocedal, Wright, algorithm 7.4). Forms that work on inner products of
    the history alone lose their digits in float32 to cancellation.
    """

    def remembered(age: Tensor) -> tuple[Tensor, Tensor]:
        slot = (pairs - 1 - age) % HISTORY
        move, change = (
            tf.reshape(tf.gather(history, row, axis=1, batch_dims=1), tf.shape(gradient))
            for row in (slot, slot + HISTORY)
        )
        return tf.ensure_shape(move, gradient.shape), tf.ensure_shape(change, gradient.shape)

    def to_older(age: Tensor, direction: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        move, change = remembered(age)
        share = tf.where(age < pairs, dot(move, direction) / dot(move, change), 0.0)
        shares = tf.tensor_scatter_nd_update(shares, [[age]], share[None])
        return age + 1, direction - per_image(share, change) * change, shares

    def to_newer(age: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        move, change = remembered(age)
        rest = shares[age] - dot(change, direction) / dot(move, change)
        rest = tf.where(age < pairs, rest, 0.0)
        return age - 1, direction + per_image(rest, move) * move

    _, direction, shares = tf.while_loop(
        lambda age, *_: age < HISTORY,
        to_older,
        (tf.constant(0), -gradient, tf.zeros([HISTORY, tf.shape(gradient)[0]])),
    )
    move, change = remembered(tf.constant(0))
    scale = tf.where(pairs > 0, dot(move, change) / dot(change, change), 1.0)
    _, direction = tf.while_loop(
        lambda age, _: age >= 0,
        to_newer,
        (tf.constant(HISTORY - 1), per_image(scale, direction) * direction),
    )
    return direction
