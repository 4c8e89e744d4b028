"""L-BFGS's directions: those of the textbook's recursion, from what is remembered and known."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.objective import losses
from nst_core.optimizers import HISTORY, bands, curvature, history
from nst_core.optimizers.lbfgs import Lbfgs, quasi_newton
from nst_core.optimizers.loop import State, run

SHAPE = (4, 5, 3)


def two_loops(
    gradient: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray
) -> np.ndarray:
    """Minus the inverse Hessian's estimate times the gradient: Nocedal, Wright, algorithm 7.4.

    `start` is the matrix that the estimate starts from.
    """
    q = gradient.astype(np.float64)
    alphas = []
    for move, change in reversed(pairs):
        alphas.append((move @ q) / (change @ move))
        q = q - alphas[-1] * change
    q = start @ q
    for (move, change), alpha in zip(pairs, reversed(alphas), strict=True):
        q = q + move * (alpha - (change @ q) / (change @ move))
    return -q


def random_stiffness(batch: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(4)
    shape = (batch, SHAPE[0] - 1, SHAPE[1] - 1, SHAPE[2])
    down, right = generator.uniform(0, 2, (2, *shape)).astype(np.float32)
    return tf.constant(down), tf.constant(right)


def as_matrix(function: Callable[[Any], Any]) -> np.ndarray:
    """The matrix of a linear function of one image `[1, H, W, 3]`."""
    units = np.eye(int(np.prod(SHAPE)), dtype=np.float32).reshape(-1, 1, *SHAPE)
    return np.array([function(tf.constant(unit)).numpy().ravel() for unit in units]).T


@pytest.mark.parametrize("is_stiff", [False, True])
def test_the_direction_is_that_of_the_two_loop_recursion(is_stiff: bool) -> None:
    counts = [1, 5, HISTORY, HISTORY + 7]
    generator = np.random.default_rng(8)
    size = int(np.prod(SHAPE))
    gradient = generator.normal(size=(len(counts), size))
    own = 10 ** generator.uniform(-1, 1, size)
    stiffness = random_stiffness(1)
    known_part = as_matrix(lambda x: curvature.variation_gradient(x, stiffness))
    moves, changes, expected = (np.zeros((HISTORY, len(counts), size)) for _ in range(3))
    expected = []
    level, regions = generator.normal(size=len(counts)), np.ones((len(counts), *SHAPE[:2], 1))
    for image, count in enumerate(counts):
        pairs = []
        for _ in range(count):
            move = generator.normal(size=size)
            pairs.append((move, own * move))
        for age, (move, change) in enumerate(reversed(pairs[-HISTORY:])):
            moves[age, image], changes[age, image] = move, change
        move, change = pairs[-1]
        start = np.eye(size) * (move @ change) / (change @ change)
        if is_stiff:
            own_part = curvature.LEVEL * np.exp(level[image]) * np.eye(size)
            start = np.linalg.inv(own_part + known_part)
        expected.append(two_loops(gradient[image], pairs[-HISTORY:], start))

    def tensors(values: np.ndarray) -> tuple[Any, ...]:
        return tuple(tf.constant(one.reshape(-1, *SHAPE), tf.float32) for one in values)

    known = {
        "moves": tensors(moves),
        "changes": tensors(changes),
        "rises": tuple(tf.constant(one, tf.float32) for one in (moves * changes).sum(axis=2)),
        "pairs": tf.minimum(tf.constant(counts), HISTORY),
        "moved": tf.constant(regions, tf.float32),
        "turned": tf.constant(regions, tf.float32),
        "level": tf.constant(level, tf.float32),
        # Nothing was seen of the bands: a multiple of the identity.
        **bands.start(tf.zeros([len(counts), *SHAPE])),
    }
    image = tf.constant(gradient.reshape(-1, *SHAPE), tf.float32)
    known_at = (lambda _: stiffness) if is_stiff else None
    found = quasi_newton(known, image, image, tf.ones_like(image, tf.bool), known_at)
    for one, wanted in zip(found.numpy().reshape(len(counts), size), expected, strict=True):
        # With a known part the start is found by a few conjugate gradients.
        assert np.linalg.norm(one - wanted) < (2e-2 if is_stiff else 1e-4) * np.linalg.norm(wanted)


@pytest.mark.parametrize("as_ring", [False, True])
def test_the_history_gives_the_directions_of_a_plain_list_of_pairs(as_ring: bool) -> None:
    size, steps = int(np.prod(SHAPE)), 2 * HISTORY + 7
    generator = np.random.default_rng(12)
    own = 10 ** generator.uniform(-1.5, 1.5, size)
    lists: list[list[tuple[np.ndarray, np.ndarray]]] = [[], []]
    state = {"pairs": tf.zeros([2], tf.int32), **history.start(tf.zeros([2, *SHAPE]))}
    if as_ring:
        state = history.ring(state)

    def tensor(values: np.ndarray) -> Any:
        return tf.constant(values.reshape(2, *SHAPE), tf.float32)

    for step in range(steps):
        move = generator.normal(size=(2, size)).astype(np.float32)
        change = (own * move).astype(np.float32)
        useful = np.array([step % 3 != 1, step % 4 != 0])
        for image in np.flatnonzero(useful):
            lists[image].append((move[image].astype(float), change[image].astype(float)))
        # What is not useful may be no number at all.
        given = np.where(useful[:, None], change, np.nan)
        rise = tf.constant((move * given).sum(axis=1))
        state |= history.pushed(state, tensor(move), tensor(given), rise, tf.constant(useful))
        state["pairs"] = tf.constant([min(len(one), HISTORY) for one in lists])
        if as_ring and step % 9 == 8:
            # As between two calls to the device.
            state = history.ring(history.unrolled(state))
        gradient = generator.normal(size=(2, size))
        found = history.direction(state, tensor(gradient), lambda x: 0.5 * x)
        for image, pairs in enumerate(lists):
            wanted = two_loops(gradient[image], pairs[-HISTORY:], 0.5 * np.eye(size))
            difference = found[image].numpy().ravel() - wanted
            assert np.linalg.norm(difference) < 1e-4 * np.linalg.norm(wanted)
    plain = history.unrolled(state) if as_ring else state
    for image, pairs in enumerate(lists):
        for age, (move, change) in enumerate(reversed(pairs[-HISTORY:])):
            np.testing.assert_array_equal(plain["moves"][age][image], move.reshape(SHAPE))
            np.testing.assert_array_equal(plain["changes"][age][image], change.reshape(SHAPE))
            np.testing.assert_allclose(plain["rises"][age][image], move @ change, rtol=1e-5)


def test_the_ring_keeps_its_digits_where_the_curvature_differs_a_lot() -> None:
    size = 192
    own = np.logspace(0, 6, size)
    state = {"pairs": tf.zeros([1], tf.int32), **history.start(tf.zeros([1, 8, 8, 3]))}
    state = history.ring(state)
    x = np.random.default_rng(13).normal(size=size).astype(np.float32)
    direction = -own * x
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    errors: dict[str, list[float]] = {"ring": [], "tuples": []}

    def tensor(values: np.ndarray) -> Any:
        return tf.constant(values.reshape(1, 8, 8, 3), tf.float32)

    for _ in range(5 * HISTORY):
        # To the minimum along the direction, as far as float32 tells.
        gradient = (own * x).astype(np.float32)
        length = -(gradient @ direction) / (direction @ (own * direction))
        move = (length * direction).astype(np.float32)
        x = x + move
        change = (own * x).astype(np.float32) - gradient
        pairs.append((move.astype(float), change.astype(float)))
        rise = tf.constant([move @ change])
        state |= history.pushed(state, tensor(move), tensor(change), rise, tf.constant([True]))
        state["pairs"] = tf.constant([min(len(pairs), HISTORY)])
        gradient = (own * x).astype(np.float32)
        direction = two_loops(gradient, pairs[-HISTORY:], np.eye(size))
        for name, known in (("ring", state), ("tuples", history.unrolled(state))):
            found = history.direction(known, tensor(gradient), tf.identity).numpy().ravel()
            errors[name].append(np.linalg.norm(found - direction) / np.linalg.norm(direction))
    # In float64 it loses less than the two loops in float32; in float32 it would lose more.
    assert np.median(errors["ring"]) < np.median(errors["tuples"])


@pytest.mark.parametrize("batch", [1, 2])
def test_for_xla_a_step_copies_no_history(batch: int) -> None:
    optimizer, image = Lbfgs(), [batch, 16, 24, 3]

    def evaluate(x: Any) -> tuple[Any, Any]:
        return tf.reduce_sum(tf.square(x), axis=[1, 2, 3])[:, None], 2 * x

    def stepped(state: State, count: Any) -> tuple[State, Any]:
        state, log = run(optimizer, optimizer.packed(state), evaluate, count, 1.0)
        return optimizer.unpacked(state), log

    compiled = tf.function(stepped, jit_compile=True, autograph=False)
    state = optimizer.start(tf.ones(image), 1)
    hlo = compiled.experimental_get_compiler_ir(state, tf.constant(3))(stage="optimized_hlo")
    bodies = [
        hlo.split(f"\n{name} ", 1)[1].split("\n}", 1)[0]
        for name in re.findall(r" while\(.*body=(%[\w.\-]+)", hlo)
    ]
    (body,) = (one for one in bodies if f"f32[{HISTORY},{batch},16,24,3]" in one)
    assert not re.search(rf"f32\[{HISTORY},{batch},16,24,3\]\S* copy\(", body)
    assert len(re.findall(rf"f32\[{batch},16,24,3\]\S* copy\(", body)) < HISTORY


def test_the_known_curvature_is_symmetric_and_that_of_the_total_variation() -> None:
    x = tf.random.stateless_normal([1, *SHAPE], [5, 5]) * 100
    for norm in ("notebook", "l2", "l1"):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = losses.total_variation_loss(x, norm)
        stiffness = losses.variation_stiffness(x, norm, 1e-6)
        found = curvature.variation_gradient(x, stiffness)
        np.testing.assert_allclose(found, tape.gradient(loss, x), rtol=1e-3, atol=1e-3)
        matrix = as_matrix(lambda v, s=stiffness: curvature.variation_gradient(v, s))
        np.testing.assert_allclose(matrix, matrix.T, rtol=1e-4, atol=1e-4)
        assert np.linalg.eigvalsh(matrix).min() > -1e-3 * np.linalg.eigvalsh(matrix).max()


def test_regions_that_turn_the_gradient_more_are_stepped_through_more_slowly() -> None:
    x = tf.zeros([1, 32, 48, 3])
    steep = np.ones((1, 32, 48, 3), np.float32)
    steep[:, :, 24:] = 9
    move = tf.constant(np.random.default_rng(1).normal(size=x.shape), tf.float32)
    seen = curvature.observed(curvature.start(x), move, steep * move, tf.constant([True]))
    nothing = tf.zeros([1, 31, 47, 3])
    step = curvature.inverse(seen, tf.ones_like(x), (nothing, nothing)).numpy()
    assert 6 < step[0, :, 4:16].mean() / step[0, :, 32:44].mean() < 12
