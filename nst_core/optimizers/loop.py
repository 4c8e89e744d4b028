"""Optimisers over a batch of independent images, as loops that run on the device, and Adam.

A state is a dict of tensors; every image has its own step sizes, history and acceptance, so its
path does not depend on its neighbours. One step is one evaluation of loss and gradient.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.objective.losses import StiffnessAt, sum_per_image

Tensor = Any
# Of tensors, and of tuples of them.
State = dict[str, Any]
# x [B, H, W, 3] → (terms [B, T] whose first column is the total, gradient [B, H, W, 3])
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]

Bounds = Callable[[Tensor], Tensor]

# The most steps of one call; its log is a buffer of this many rows, as XLA wants fixed shapes.
LONGEST_CALL = 64


def pixel_range(x: Tensor) -> Tensor:
    """Pixels within 0…255."""
    return tf.clip_by_value(x, 0.0, 255.0)


class Optimizer(abc.ABC):
    """What `run` needs of an optimiser."""

    # Tensors too large to be copied for inactive images: `step` leaves those rows alone itself.
    guarded: frozenset[str] = frozenset()

    @abc.abstractmethod
    def start(self, x: Tensor, columns: int) -> State:
        """The state before the first step from images `[B, H, W, 3]`."""

    @abc.abstractmethod
    def step(
        self,
        state: State,
        evaluate: Evaluate,
        learning_rate: Tensor,
        stiffness_at: StiffnessAt | None = None,
    ) -> State:
        """One evaluation and what follows from it; `state["terms"]` describes `state["x"]`.

        `stiffness_at` is what is known of the objective's curvature.
        """

    def result(self, state: State) -> Tensor:
        """The images `[B, H, W, 3]` that the state stands for."""
        return state["x"]

    def carried(self, _state: State) -> State:
        """What of the state an optimisation of the same images at a larger size starts with."""
        return {}

    def packed(self, state: State) -> State:
        """The state as XLA steps it best, for one loop of steps."""
        return state

    def unpacked(self, state: State) -> State:
        """A packed state as it was before."""
        return state


def run(
    optimizer: Optimizer,
    state: State,
    evaluate: Evaluate,
    count: Tensor,
    learning_rate: Tensor,
    stiffness_at: StiffnessAt | None = None,
) -> tuple[State, Tensor]:
    """`count` steps (at most `LONGEST_CALL`) in one loop on the device.

    Returns:
        The new state, and a log `[LONGEST_CALL, B, T]` whose first `count` rows are the terms
        after each step. Images whose `active` is false stay as they are. Those of which pixels
        are no numbers at the end have no numbers in the log: see `spoiled`.
    """
    batch, columns = tf.shape(state["x"])[0], state["terms"].shape[1]
    log = tf.zeros([LONGEST_CALL, batch, columns])

    def body(index: Tensor, state: State, log: Tensor) -> tuple[Tensor, State, Tensor]:
        stepped = optimizer.step(state, evaluate, learning_rate, stiffness_at)
        others = state.keys() - optimizer.guarded
        kept = where(state["active"], of_names(stepped, others), of_names(state, others))
        state = {**stepped, **kept}
        log = tf.tensor_scatter_nd_update(log, [[index]], state["terms"][None])
        return index + 1, state, log

    _, state, log = tf.while_loop(
        lambda index, *_: index < count, body, (tf.constant(0), state, log)
    )
    return state, log + spoiled(optimizer.result(state))[:, None]


def spoiled(images: Tensor) -> Tensor:
    """NaN for each image with pixels that are no numbers, 0 for others: `[B]`.

    A step's terms are those of the pixels before it: of the last step they alone would not tell.
    """
    finite = tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3])
    return tf.where(finite, 0.0, np.nan)


def where(condition: Tensor, yes: Any, no: Any) -> Any:
    """Rows of `yes` where the `[B]` condition holds, else rows of `no`: of tensors, or of nests."""
    by_rank = {len(one.shape): one for one in tf.nest.flatten(no)}
    shaped = {rank: per_image(condition, one) for rank, one in by_rank.items()}
    return tf.nest.map_structure(lambda a, b: tf.where(shaped[len(b.shape)], a, b), yes, no)


def of_names(state: State, names: Iterable[str]) -> State:
    """The part of a state that has these names."""
    return {name: state[name] for name in names}


def per_image(value: Tensor, like: Tensor) -> Tensor:
    """`[B]` with as many trailing ones as `like` has further axes, to be broadcast against it."""
    return tf.reshape(value, [-1] + [1] * (len(like.shape) - 1))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of the images of two batches `[B, H, W, 3] → [B]`."""
    return sum_per_image(a * b)


class Adam(Optimizer):
    """Adam (Kingma, Ba 2015, arXiv 1412.6980).

    Args:
        average_decay: where above 0, the result is the bias-corrected exponential average of the
            iterates.
        bounds: applied to the pixels after each step.
        betas: decays of the averages of gradients and of their squares.
    """

    epsilon = 1e-8

    def __init__(
        self,
        average_decay: float = 0.0,
        bounds: Bounds = tf.identity,
        betas: Sequence[float] = (0.9, 0.999),
    ) -> None:
        self.average_decay = average_decay
        self.bounds = bounds
        self.first_decay, self.second_decay = betas

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

    def step(
        self,
        state: State,
        evaluate: Evaluate,
        learning_rate: Tensor,
        _stiffness_at: StiffnessAt | None = None,
    ) -> State:
        """See `Optimizer.step`; the terms are those of the pixels before the step."""
        terms, gradient = evaluate(state["x"])
        count = state["count"] + 1
        first = self.first_decay * state["first"] + (1 - self.first_decay) * gradient
        second = self.second_decay * state["second"] + (1 - self.second_decay) * gradient**2
        first_corrected = first / per_image(1 - self.first_decay**count, first)
        second_corrected = second / per_image(1 - self.second_decay**count, second)
        # Relative to the gradient's own size: the objective's scale must not decide the step.
        change = first_corrected / (tf.sqrt(second_corrected) + self.epsilon * largest(gradient))
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


def largest(x: Tensor) -> Tensor:
    """The largest absolute value of each image, `[B, 1, 1, 1]`, never 0."""
    # The floor, times Adam's epsilon, is still a float32: no quotient 0 / 0 where nothing pulls.
    return tf.reduce_max(tf.abs(x), axis=[1, 2, 3], keepdims=True) + 1e-20
