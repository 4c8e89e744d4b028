"""Adam and L-BFGS: they minimise, each image by itself, and never do harm."""

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
from nst_core.optimizers.loop import (
    LONGEST_CALL,
    Adam,
    Evaluate,
    Optimizer,
    State,
    pixel_range,
    run,
)

SHAPE = (4, 5, 3)
Loss = Callable[[Any], Any]


def evaluation(loss: Loss) -> Evaluate:
    """Terms `[B, 1]` and gradient of a loss `[B, H, W, 3] → [B]`."""

    def evaluate(x: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        return value[:, None], tape.gradient(value, x)

    return evaluate


def advanced(
    optimizer: Optimizer, state: State, loss: Loss, steps: int, learning_rate: float
) -> tuple[State, np.ndarray]:
    """The state after many steps, and the losses `[steps, B]`."""
    evaluate = evaluation(loss)
    loop = tf.function(
        lambda state, count: run(optimizer, state, evaluate, count, learning_rate),
        autograph=False,
    )
    rows = []
    while len(rows) < steps:
        count = min(LONGEST_CALL, steps - len(rows))
        state, log = loop(state, tf.constant(count))
        rows += list(log.numpy()[:count, :, 0])
    return state, np.array(rows)


def minimised(
    optimizer: Optimizer, x: np.ndarray, loss: Loss, steps: int, learning_rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Final images and the losses `[steps, B]`."""
    start = optimizer.start(tf.constant(x, tf.float32), 1)
    state, losses = advanced(optimizer, start, loss, steps, learning_rate)
    return optimizer.result(state).numpy(), losses


def random(seed: int, batch: int = 1, deviation: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, (batch, *SHAPE)).astype(np.float32)


def quadratic(target: np.ndarray, curvature: np.ndarray) -> Loss:
    return lambda x: tf.reduce_sum(curvature * (x - target) ** 2, axis=[1, 2, 3])


def stretched(seed: int, batch: int = 1) -> np.ndarray:
    """Curvatures from 0.1 to 10."""
    exponents = np.random.default_rng(seed).uniform(-1, 1, (batch, *SHAPE))
    return (10**exponents).astype(np.float32)


def rosenbrock(x: Any) -> Any:
    """Curved, narrow valleys between neighbouring pixels; the minimum is 1 everywhere."""
    flat = tf.reshape(x, [tf.shape(x)[0], 30, 2])
    first, second = flat[..., 0], flat[..., 1]
    return tf.reduce_sum(100 * (second - first**2) ** 2 + (1 - first) ** 2, axis=1)


def test_lbfgs_finds_the_minimum_of_a_quadratic() -> None:
    target = random(1, deviation=5)
    found, losses = minimised(Lbfgs(), random(2), quadratic(target, stretched(3)), 60, 1.0)
    np.testing.assert_allclose(found, target, atol=1e-3)
    assert losses[-1] < 1e-6 * losses[0]


def test_adam_finds_the_minimum_of_a_quadratic() -> None:
    target = random(1, deviation=5)
    found, losses = minimised(Adam(), random(2), quadratic(target, stretched(3)), 640, 0.1)
    np.testing.assert_allclose(found, target, atol=0.05)
    assert losses[-1] < 1e-4 * losses[0]


def test_lbfgs_follows_curved_valleys() -> None:
    found, losses = minimised(Lbfgs(), random(5, batch=2), rosenbrock, 384, 0.5)
    assert (losses[-1] < 1e-4).all()
    np.testing.assert_allclose(found, np.ones_like(found), atol=0.02)


@pytest.mark.parametrize("bounds", [tf.identity, pixel_range])
def test_the_loss_of_lbfgs_never_rises(bounds: Any) -> None:
    start = np.abs(random(5, batch=3, deviation=2))
    for loss in (rosenbrock, quadratic(random(1, 3, 90), stretched(3, 3))):
        _, losses = minimised(Lbfgs(bounds), start, loss, 128, 4.0)
        before, after = losses[:-1], losses[1:]
        assert (after <= before + 1e-6 * np.abs(before)).all()
        assert (losses[-1] < losses[0]).all()


def test_lbfgs_goes_on_below_the_rounding_of_a_loss_that_it_is_told_of() -> None:
    target, curvature = random(1, deviation=5), stretched(3)
    exact = quadratic(target, curvature)

    def rough(x: Any) -> Any:
        """To three digits: what is left of the minimum is far less than one of them."""
        value = exact(x) + 1e4
        return value * (1 + 5e-4 * tf.sin(1e5 * tf.reduce_sum(x, axis=[1, 2, 3])))

    def evaluate_with_exact_gradient(x: Any) -> Any:
        return exact(x) + tf.stop_gradient(rough(x) - exact(x))

    left = []
    for rounding in (1e-6, 1e-3):
        optimizer = Lbfgs(rounding=rounding)
        found, _ = minimised(optimizer, random(2), evaluate_with_exact_gradient, 60, 1.0)
        left.append(float(exact(found)[0]))
    assert left[1] < 1e-4 < 1 < left[0]


@pytest.mark.parametrize(
    ("optimizer", "learning_rate"), [(Lbfgs(), 1.0), (Adam(), 0.2), (Adam(0.9), 0.2)]
)
def test_an_image_in_a_batch_takes_the_path_it_takes_alone(
    optimizer: Optimizer, learning_rate: float
) -> None:
    start, target, curvature = random(2, 3), random(1, 3, 5), stretched(3, 3)
    together, losses = minimised(optimizer, start, quadratic(target, curvature), 30, learning_rate)
    for index in range(3):
        one = slice(index, index + 1)
        loss = quadratic(target[one], curvature[one])
        alone, its_losses = minimised(optimizer, start[one], loss, 30, learning_rate)
        np.testing.assert_allclose(together[one], alone, atol=1e-4)
        np.testing.assert_allclose(losses[:, one], its_losses, rtol=1e-3, atol=1e-4)


def test_a_trial_whose_loss_is_no_number_is_drawn_back() -> None:
    # A logarithm's wall: the first steps of 20 px end behind it.
    def barrier(x: Any) -> Any:
        return tf.reduce_sum(x - tf.math.log(x), axis=[1, 2, 3])

    start = 2 + np.abs(random(2, 2))
    found, losses = minimised(Lbfgs(), start, barrier, 64, 20.0)
    assert np.isfinite(losses).all()
    assert (np.diff(losses, axis=0) <= 1e-6 * np.abs(losses[:-1])).all()
    assert (losses[1] == losses[0]).all()
    np.testing.assert_allclose(found, np.ones_like(found), atol=5e-3)


def test_a_neighbour_whose_loss_is_no_number_changes_nothing() -> None:
    start, target, curvature = random(2, 2), random(1, 2, 5), stretched(3, 2)
    broken = target.copy()
    broken[1] = np.nan
    for optimizer in (Lbfgs(), Adam()):
        fine, _ = minimised(optimizer, start, quadratic(target, curvature), 20, 1.0)
        found, losses = minimised(optimizer, start, quadratic(broken, curvature), 20, 1.0)
        np.testing.assert_allclose(found[0], fine[0], atol=1e-5)
        assert np.isfinite(losses[:, 0]).all()
        assert not np.isfinite(losses[-1, 1])


def test_pixels_that_are_no_numbers_after_the_last_step_are_in_its_log() -> None:
    def broken_second(x: Any) -> Any:
        return tf.where(tf.constant([False, True])[:, None, None, None], np.nan, x)

    # The loss of the only step is that of its start, which is fine.
    optimizer = Adam(bounds=broken_second)
    _, losses = advanced(
        optimizer,
        optimizer.start(tf.constant(random(2, 2)), 1),
        quadratic(random(1, 2, 5), stretched(3, 2)),
        1,
        0.5,
    )
    assert np.isfinite(losses[0]).tolist() == [True, False]


@pytest.mark.parametrize("optimizer", [Lbfgs(), Adam(), Adam(0.9)])
def test_an_inactive_image_stays_bit_for_bit(optimizer: Optimizer) -> None:
    loss = quadratic(random(1, 3, 5), stretched(3, 3))
    start = optimizer.start(tf.constant(random(2, 3)), 1)
    before, _ = advanced(optimizer, start, loss, 10, 0.5)
    before["active"] = tf.constant([True, False, True])
    after, losses = advanced(optimizer, before, loss, 10, 0.5)
    for name in before:
        for one, other in zip(
            tf.nest.flatten(after[name]), tf.nest.flatten(before[name]), strict=True
        ):
            np.testing.assert_array_equal(one[1], other[1], err_msg=name)
    assert (losses[:, 1] == losses[0, 1]).all()
    assert np.abs(after["x"][0] - before["x"][0]).max() > 1e-3


@pytest.mark.parametrize("optimizer", [Lbfgs(), Adam(), Adam(0.9), Lbfgs(pixel_range)])
def test_ten_and_ten_steps_are_twenty(optimizer: Optimizer) -> None:
    loss = quadratic(random(1, 2, 5), stretched(3, 2))
    start = optimizer.start(tf.constant(random(2, 2)), 1)
    whole, losses = advanced(optimizer, start, loss, 20, 0.5)
    half, first = advanced(optimizer, start, loss, 10, 0.5)
    again, second = advanced(optimizer, half, loss, 10, 0.5)
    np.testing.assert_array_equal(np.concatenate([first, second]), losses)
    for name in whole:
        np.testing.assert_array_equal(again[name], whole[name], err_msg=name)


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
    loss = evaluation(lambda x: tf.reduce_sum(tf.square(x), axis=[1, 2, 3]))

    def stepped(state: State, count: Any) -> tuple[State, Any]:
        state, log = run(optimizer, optimizer.packed(state), loss, count, 1.0)
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
    x = tf.constant(random(5)) * 100
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


@pytest.mark.parametrize(("decay", "squares_decay"), [(0.9, 0.999), (0.99, 0.95)])
def test_adam_takes_the_steps_of_its_paper(decay: float, squares_decay: float) -> None:
    target, curvature = random(1).astype(np.float64), stretched(3).astype(np.float64)
    x = random(2).astype(np.float64)
    first = second = np.zeros_like(x)
    adam = Adam(betas=(decay, squares_decay))
    found, _ = minimised(adam, x, quadratic(*map(np.float32, (target, curvature))), 25, 0.3)
    for count in range(1, 26):
        gradient = 2 * curvature * (x - target)
        first = decay * first + (1 - decay) * gradient
        second = squares_decay * second + (1 - squares_decay) * gradient**2
        root = np.sqrt(second / (1 - squares_decay**count))
        x = x - 0.3 * (first / (1 - decay**count)) / root
    np.testing.assert_allclose(found, x, atol=1e-4)


def test_the_average_is_the_bias_corrected_mean_of_the_iterates() -> None:
    decay, steps = 0.8, 12
    loss = quadratic(random(1, 2, 5), stretched(3, 2))
    optimizer = Adam(decay)
    state = optimizer.start(tf.constant(random(2, 2)), 1)
    average = np.zeros((2, *SHAPE))
    for _ in range(steps):
        state, _ = advanced(optimizer, state, loss, 1, 0.5)
        average = decay * average + (1 - decay) * state["x"].numpy().astype(np.float64)
    np.testing.assert_allclose(optimizer.result(state), average / (1 - decay**steps), atol=1e-5)


def test_the_average_of_one_iterate_is_that_iterate() -> None:
    optimizer = Adam(0.99)
    start = optimizer.start(tf.constant(random(2)), 1)
    state, _ = advanced(optimizer, start, quadratic(random(1), stretched(3)), 1, 0.5)
    np.testing.assert_allclose(optimizer.result(state), state["x"], rtol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "steps", "learning_rate"),
    [(Lbfgs(pixel_range), 128, 4.0), (Adam(0.0, pixel_range), 640, 2.0)],
)
def test_bounded_pixels_stay_within_0_and_255_and_find_the_best_there(
    optimizer: Optimizer, steps: int, learning_rate: float
) -> None:
    target = 128 + random(1, 2, 150)
    assert target.min() < 0
    assert target.max() > 255
    start = np.clip(128 + random(2, 2, 30), 0, 255)
    found, _ = minimised(optimizer, start, quadratic(target, stretched(3, 2)), steps, learning_rate)
    assert found.min() >= 0
    assert found.max() <= 255
    np.testing.assert_allclose(found, np.clip(target, 0, 255), atol=0.5)


def test_the_first_step_of_lbfgs_changes_a_pixel_by_the_learning_rate() -> None:
    start, loss = random(2, 2), quadratic(random(1, 2, 5), stretched(3, 2))
    found, _ = minimised(Lbfgs(), start, loss, 2, 0.25)
    np.testing.assert_allclose(np.abs(found - start).max(axis=(1, 2, 3)), [0.25, 0.25], rtol=1e-4)


def test_at_the_minimum_nothing_moves() -> None:
    target = random(1, 2)
    for optimizer in (Lbfgs(), Adam()):
        found, losses = minimised(optimizer, target, quadratic(target, stretched(3, 2)), 10, 1.0)
        np.testing.assert_array_equal(found, target)
        assert (losses == 0).all()
